//! Nodes that share a Redis which fails in every known way, under load, with a ledger.
//!
//! Each scenario runs real servers, a real Redis and clients of its own, and prints one line. What
//! it proves: whatever is acknowledged reaches every subscriber once and in order, or the
//! subscriber was told that it may have missed something. Must not know the server's code.
//! Invariant: every wait is for a condition, and has an end.
//!
//! `CORECAST_TEST_REDIS` names the program to run as Redis (`redis-server`), `CORECAST_BIN` the
//! server, `CORECAST_TEST_PUBLICATIONS` how many `three_nodes` publishes, and
//! `CORECAST_TEST_CENTRIFUGO` a Centrifugo to which some of the same is done.

mod answers;
mod book;
mod client;
mod control;
mod crowd;
mod loss;
mod node;
mod proxy;
mod pubsub;
mod redis;
mod refusals;
mod three_nodes;

use std::time::{Duration, Instant};

/// Longest time of anything that the scenario does not bound otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
