//! A host's bridge with what lies beyond it: a store that is made up, or the Redis of all hosts.
//!
//! Must not know what is asked. Invariant: it acts only when it is awake, rung, or its time has
//! come.

use super::bridge::Bridge;
use super::redis::node::Node;
use crate::clock::Now;

/// See the module's page.
pub enum Beyond {
    Store(Box<Bridge>),
    Redis(Box<Node>),
}

impl Beyond {
    /// The store that is made up; none where there is a Redis.
    #[must_use]
    pub fn store(&self) -> Option<&Bridge> {
        match self {
            Beyond::Store(bridge) => Some(bridge),
            Beyond::Redis(_) => None,
        }
    }

    /// The same, to be used.
    pub fn store_mut(&mut self) -> Option<&mut Bridge> {
        match self {
            Beyond::Store(bridge) => Some(bridge),
            Beyond::Redis(_) => None,
        }
    }

    /// Publications from a Redis that a worker had no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        match self {
            Beyond::Store(_) => 0,
            Beyond::Redis(node) => node.dropped(),
        }
    }

    /// Is it awake, or would it wake?
    #[must_use]
    pub fn is_runnable(&self, now_us: u64) -> bool {
        match self {
            Beyond::Store(bridge) => bridge.is_runnable(now_us),
            Beyond::Redis(node) => node.is_runnable(now_us),
        }
    }

    /// When it does something next by itself, in simulated time.
    #[must_use]
    pub fn deadline_us(&self) -> u64 {
        match self {
            Beyond::Store(bridge) => bridge.deadline_us(),
            Beyond::Redis(node) => node.deadline_us(),
        }
    }

    /// Does what waits for it wait for time to pass?
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        match self {
            Beyond::Store(bridge) => bridge.is_frozen(),
            Beyond::Redis(node) => !node.is_ready() || !node.is_idle(),
        }
    }

    /// Are calls carried out?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            Beyond::Store(bridge) => !bridge.is_frozen(),
            Beyond::Redis(node) => node.is_ready(),
        }
    }

    /// Is every call answered, and everything sent?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match self {
            Beyond::Store(bridge) => bridge.is_idle(),
            Beyond::Redis(node) => node.is_idle(),
        }
    }

    /// Does one thing; sleeps when there is nothing to do.
    pub fn step(&mut self, now: Now) {
        match self {
            Beyond::Store(bridge) => bridge.step(now),
            Beyond::Redis(node) => node.step(now),
        }
    }
}
