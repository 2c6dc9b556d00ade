//! Infos from tokens about a client in a channel, for the other clients there: immutable, in one
//! allocation that the home, its answers and its joins share. Most clients have none, which takes
//! one word.

use std::sync::Arc;

/// Info about a connection and about its subscription, as JSON; empty for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Infos(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    connection: Box<[u8]>,
    subscription: Box<[u8]>,
}

impl Infos {
    /// `None` if both are empty.
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
