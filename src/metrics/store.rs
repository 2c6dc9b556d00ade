//! What the bridge counts of the store that homes call.
//!
//! Must not know the store. Invariant: the bridge is its only writer.

use super::{Counter, Histogram};
use crate::limits::REDIS_LIVE_MS;
use std::sync::Arc;

listed! {
    /// What homes ask of a store.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StoreCall {
        Watch = "watch",
        Unwatch = "unwatch",
        Publish = "publish",
        Pass = "pass",
        Read = "read",
        Remove = "remove",
        Users = "users",
        ToUser = "to_user",
        Nodes = "nodes",
        CommandDone = "command_done",
        Channels = "channels",
        Listed = "listed",
        Announce = "announce",
        Note = "note",
        Members = "members",
        Count = "count",
    }
}

listed! {
    /// What happens to a store.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StoreEvent {
        /// A connection came up.
        Connected = "connected",
        /// A connection that was up ended.
        Disconnected = "disconnected",
        /// A dial or a greeting failed.
        Unreachable = "unreachable",
        /// What was published did not come back: the connection that hears was ended.
        Deaf = "deaf",
        /// The floor of epochs was raised: the store may have lost what it held.
        FloorRaised = "floor_raised",
        /// The other nodes took this one for dead, because it was frozen or cut off.
        Lapsed = "lapsed",
        /// A position was given twice.
        Forked = "forked",
        /// Scripts were loaded again.
        ScriptsLost = "scripts_lost",
        /// The store ran another script for long.
        Busy = "busy",
        /// A call was refused.
        Refused = "refused",
        /// What came was no publication.
        Unreadable = "unreadable",
        /// A list of channels lacks those of a node that did not tell them in time.
        NotListed = "not_listed",
    }
}

/// See the module's page.
#[derive(Debug)]
#[repr(align(128))]
pub struct StoreMetrics {
    /// Gauge: 1 while calls are carried out and what is published comes back.
    pub up: Counter,
    /// When something that was published came back last, in milliseconds of the process; 0: never.
    pub echo_ms: Counter,
    /// Gauge: calls that are not answered.
    pub unanswered: Counter,
    /// Gauge: channels that are heard.
    pub channels: Counter,
    /// Commands that published, and publications in them.
    pub batches: Counter,
    pub batched: Counter,
    /// Publications heard, of this node too.
    pub heard: Counter,
    /// Publications heard that a worker had no room for.
    pub dropped: Counter,
    /// Calls that failed.
    pub failed: Counter,
    /// From a call to its answer.
    pub call: Histogram,
    /// From publishing something to its return.
    pub echo: Histogram,
    /// From the moment at which another node received a publication to the moment at which it
    /// was heard here, by the clocks of both hosts.
    pub lag: Histogram,
    pub(super) calls: [Counter; StoreCall::ALL.len()],
    pub(super) events: [Counter; StoreEvent::ALL.len()],
}

impl Default for StoreMetrics {
    fn default() -> Self {
        StoreMetrics {
            up: Counter::default(),
            echo_ms: Counter::default(),
            unanswered: Counter::default(),
            channels: Counter::default(),
            batches: Counter::default(),
            batched: Counter::default(),
            heard: Counter::default(),
            dropped: Counter::default(),
            failed: Counter::default(),
            call: Histogram::from(4),
            echo: Histogram::from(4),
            lag: Histogram::from(7),
            calls: Default::default(),
            events: Default::default(),
        }
    }
}

impl StoreMetrics {
    /// Counts a call of a home's.
    pub fn call(&self, call: StoreCall) {
        self.calls[call as usize].add(1);
    }

    /// Counts what happened.
    pub fn event(&self, event: StoreEvent) {
        self.events[event as usize].add(1);
    }

    /// How often this happened.
    #[must_use]
    pub fn events_of(&self, event: StoreEvent) -> u64 {
        self.events[event as usize].get()
    }

    /// Did what was published come back within the last `within_ms`?
    #[must_use]
    pub fn is_live(&self, now_ms: u64, within_ms: u64) -> bool {
        let echo_ms = self.echo_ms.get();
        echo_ms > 0 && now_ms.saturating_sub(echo_ms) <= within_ms
    }
}

/// What an edge shows of the store.
#[derive(Clone)]
pub struct StoreHealth {
    pub metrics: Arc<StoreMetrics>,
    /// This node is only ready while the store is.
    pub decides_ready: bool,
}

impl StoreHealth {
    /// Does it let this node be ready now, in milliseconds of the process?
    #[must_use]
    pub fn lets_be_ready(&self, now_ms: u64) -> bool {
        !self.decides_ready || self.metrics.is_live(now_ms, REDIS_LIVE_MS)
    }
}
