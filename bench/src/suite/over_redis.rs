//! The cases of servers over Redis, beside the script alone and the memory engine.
//!
//! Must not know how a run is made. Invariant: everybody has all cores, for a node, its bridge,
//! Redis and the generator are more threads than there are.

use super::contender::{OURS, OVER_REDIS};
use super::planned::{Planned, case};
use super::results::Metric;

const BOTH: [&str; 2] = [OVER_REDIS, "centrifugo-redis"];

#[must_use]
pub fn cases() -> Vec<Planned> {
    let mut cases = vec![history(), plain(), latency(), nodes(), recover(), interest()];
    for planned in &mut cases {
        (planned.spread, planned.cores) = (true, 2);
    }
    cases
}

/// The clients of one node publish as much as it takes; each publication is heard by one other.
fn history() -> Planned {
    let mut history = case(
        "redis-history",
        "Redis: publishes with history over one node, 16 channels, as many as go through; beside \
         what the script alone does",
        "rooms",
        "--rooms 16 --publishers 1 --subscribers 1 --channel kept:redis --payload-bytes 64 \
         --closed --depth 64",
        &[&BOTH[..], &["script-1", "script-4", "script-16"]].concat(),
    );
    history.metric = Metric::DeliveriesPerSecond;
    history
}

fn plain() -> Planned {
    let mut plain = case(
        "redis-plain",
        "Redis: publishes without history over one node, 16 channels, as many as go through",
        "rooms",
        "--rooms 16 --publishers 1 --subscribers 1 --channel plain:redis --payload-bytes 64 \
         --closed --depth 64",
        &BOTH,
    );
    plain.metric = Metric::DeliveriesPerSecond;
    plain
}

fn latency() -> Planned {
    let mut latency = case(
        "redis-latency",
        "Redis: latency of 1,000 publishes/s with history, beside the memory engine",
        "fanout",
        "--publishers 1 --subscribers 1 --channel kept:redis --payload-bytes 64 --rate 1000",
        &[OVER_REDIS, OURS, "centrifugo-redis", "centrifugo"],
    );
    latency.metric = Metric::Latency;
    latency
}

fn nodes() -> Planned {
    let mut nodes = case(
        "redis-nodes",
        "Redis: 1 publisher on one node to 1,000 subscribers on another, 20,000 deliveries/s",
        "fanout",
        "--publishers 1 --subscribers 1000 --channel plain:redis --payload-bytes 64 --rate 20",
        &BOTH,
    );
    (nodes.nodes, nodes.metric) = (2, Metric::Latency);
    nodes
}

/// A thousand are under way at a time: a generator on two cores does not keep up more.
fn recover() -> Planned {
    let mut recover = case(
        "redis-recover",
        "Redis: 5,000 clients of one channel recover at once",
        "recover",
        "--connections 5000 --channels 1 --missed 20 --depth 1000 --rounds 1 \
         --channel kept:recover",
        &[OVER_REDIS, OURS, "centrifugo-redis"],
    );
    (recover.fresh, recover.windowed) = (true, false);
    recover
}

/// Publishers and subscribers are on one node, and nobody is on the other.
fn interest() -> Planned {
    let mut interest = case(
        "redis-interest",
        "Redis: 1,000 channels on one node and none on another, 2,000 publishes/s",
        "rooms",
        "--rooms 1000 --publishers 1 --subscribers 1 --channel plain:redis --payload-bytes 64 \
         --rate 2000 --nobody-elsewhere",
        &BOTH,
    );
    interest.nodes = 2;
    interest
}
