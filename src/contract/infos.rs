//! What tokens say about somebody in a channel, for the others there: immutable, with one
//! allocation that the home, its answers and its joins share. Most have nothing, and cost a word.

use std::sync::Arc;

/// What others are told of a connection and of its subscription, as JSON; empty for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Infos(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    connection: Box<[u8]>,
    subscription: Box<[u8]>,
}

impl Infos {
    /// None where there is nothing to tell.
    #[must_use]
    pub fn new(connection: &[u8], subscription: &[u8]) -> Option<Infos> {
        let some = !connection.is_empty() || !subscription.is_empty();
        let parts = || Parts { connection: connection.into(), subscription: subscription.into() };
        some.then(|| Infos(Arc::new(parts())))
    }

    /// The connection's (`conn_info`).
    #[must_use]
    pub fn connection(&self) -> &[u8] {
        &self.0.connection
    }

    /// The subscription's (`chan_info`).
    #[must_use]
    pub fn subscription(&self) -> &[u8] {
        &self.0.subscription
    }
}
