//! The server API, as Centrifugo's: what may be called, who may, what a body says, and what is
//! answered.
//!
//! A call becomes the requests that clients' commands become. Must not know connections, or who may
//! do what in a channel. Invariant: a body is read in full before anything of it is done.

pub mod answer;
mod batch;
mod body;
mod key;
mod request;
#[cfg(test)]
mod tests;
mod values;

pub use batch::{Batch, Extent};
pub use body::read;
pub use key::authorized;
pub use request::{
    ApiDisconnect, ApiRefresh, ApiRequest, ApiSelection, ApiSubscribe, Published, Switches,
};

/// The API in OpenAPI 3.1, served at `/api/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

/// A call of the server API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiMethod {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Info,
    Rpc,
    Batch,
}

impl ApiMethod {
    /// All of them, by name: the last part of the path, and the field of a batch.
    pub const ALL: [(&'static str, ApiMethod); 14] = [
        ("publish", ApiMethod::Publish),
        ("broadcast", ApiMethod::Broadcast),
        ("subscribe", ApiMethod::Subscribe),
        ("unsubscribe", ApiMethod::Unsubscribe),
        ("disconnect", ApiMethod::Disconnect),
        ("refresh", ApiMethod::Refresh),
        ("presence", ApiMethod::Presence),
        ("presence_stats", ApiMethod::PresenceStats),
        ("history", ApiMethod::History),
        ("history_remove", ApiMethod::HistoryRemove),
        ("channels", ApiMethod::Channels),
        ("info", ApiMethod::Info),
        ("rpc", ApiMethod::Rpc),
        ("batch", ApiMethod::Batch),
    ];

    /// The method of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<ApiMethod> {
        ApiMethod::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        ApiMethod::ALL[self as usize].0
    }
}
