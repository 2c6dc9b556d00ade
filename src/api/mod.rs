//! The server API, which is Centrifugo's: its methods, its key, its bodies and its answers.
//!
//! A call becomes the same requests as clients' commands. Must not know connections or channel
//! permissions. Invariant: a body is read in full before any of it is carried out.

pub mod answer;
mod batch;
mod body;
mod key;
mod request;
#[cfg(test)]
mod tests;
mod unfit;
mod values;

pub use batch::{Batch, Extent, NO_PARAMS};
pub use body::{explain, read};
pub use key::authorized;
pub use request::{
    ApiDisconnect, ApiRefresh, ApiRequest, ApiSelection, ApiSubscribe, Published, Switches,
};

/// The API in OpenAPI 3.1, served at `/api/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

listed! {
    /// A method of the server API.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ApiMethod {
        Publish = "publish",
        Broadcast = "broadcast",
        Subscribe = "subscribe",
        Unsubscribe = "unsubscribe",
        Disconnect = "disconnect",
        Refresh = "refresh",
        Presence = "presence",
        PresenceStats = "presence_stats",
        History = "history",
        HistoryRemove = "history_remove",
        Channels = "channels",
        Info = "info",
        Rpc = "rpc",
        Batch = "batch",
        /// Any of the methods about maps (`map_publish` and others), which this version does not
        /// have: 108.
        Map = "map",
        /// Commands of `POST /api`, in sequence: `{"method", "params"}`, which Centrifugo accepts
        /// besides the path of each method.
        Commands = "commands",
    }
}

const _: () = assert!(ApiMethod::ALL.len() <= crate::metrics::API_METHODS);

impl ApiMethod {
    /// The methods that are served, under the names that are the last part of the path and the
    /// field of a batch.
    pub fn served() -> impl Iterator<Item = ApiMethod> {
        let others = [ApiMethod::Map, ApiMethod::Commands];
        ApiMethod::ALL.into_iter().filter(move |method| !others.contains(method))
    }

    /// The method of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<ApiMethod> {
        let map = name.starts_with("map_").then_some(ApiMethod::Map);
        ApiMethod::served().find(|known| known.name() == name).or(map)
    }
}
