//! What is told of another node that shares the store.
//!
//! Must not know how it is found out. Invariant: it is as the node last said it.

/// One node, for `info` of the server API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInfo {
    pub uid: Box<str>,
    pub name: Box<str>,
    /// Of Corecast.
    pub version: Box<str>,
    pub clients: u64,
    pub users: u64,
    pub subscriptions: u64,
    pub channels: u64,
    pub uptime_s: u64,
    /// CPU time over uptime, 100 for one core.
    pub cpu_percent: f64,
    pub resident_bytes: u64,
}
