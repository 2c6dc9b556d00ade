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
mod unfit;
mod values;

pub use batch::{Batch, Extent};
pub use body::{explain, read};
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
    /// Any of those about maps (`map_publish` and others), which this version does not have: 108.
    Map,
}

const _: () = assert!(ApiMethod::ALL.len() <= crate::metrics::API_METHODS);

impl ApiMethod {
    /// All that there are, by name: the last part of the path, and the field of a batch.
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
        let found = ApiMethod::ALL.iter().find(|(known, _)| *known == name);
        let map = name.starts_with("map_").then_some(ApiMethod::Map);
        found.map(|(_, method)| *method).or(map)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        ApiMethod::ALL.get(self as usize).map_or("map", |(name, _)| name)
    }
}
