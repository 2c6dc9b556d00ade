//! Redis loses what it held, in whole or in part.

use crate::crowd::{Crowd, USUAL};
use crate::node::Node;
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::until;

const SUBSCRIBERS: u64 = (USUAL.channels * USUAL.subscribers) as u64;

fn nodes(port: u16) -> Vec<Node> {
    (0..2).map(|_| Node::start(port)).collect()
}

#[test]
fn killed_and_empty() {
    let mut redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(500);
    redis.kill();
    redis.start_again();
    crowd.goes_on(500);
    crowd.all_declared();
    assert!(crowd.finish("killed, started empty") >= SUBSCRIBERS);
}

#[test]
fn killed_with_an_older_snapshot() {
    let mut redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(300);
    redis.must(&["SAVE"]);
    crowd.goes_on(500);
    redis.kill();
    redis.start_again();
    crowd.goes_on(500);
    crowd.all_declared();
    assert!(crowd.finish("killed, started from an older snapshot") >= SUBSCRIBERS);
}

#[test]
fn a_replica_without_the_newest_is_promoted() {
    let primary = Redis::start();
    let port = primary.port.to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
    let front = Proxy::start(primary.port);
    let nodes = nodes(front.port);
    let crowd = Crowd::start(&nodes, USUAL);
    until("it replicates", || {
        replica.ask(&["INFO", "replication"]).contains("master_link_status:up")
    });
    crowd.goes_on(300);
    // What comes now is acknowledged, and only the primary has it.
    replica.must(&["REPLICAOF", "NO", "ONE"]);
    crowd.goes_on(500);
    front.turn_to(replica.port);
    crowd.goes_on(500);
    crowd.all_declared();
    assert!(crowd.finish("a replica without the newest was promoted") >= SUBSCRIBERS);
}

#[test]
fn flushed() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(500);
    redis.must(&["FLUSHALL"]);
    crowd.goes_on(500);
    crowd.all_declared();
    assert!(crowd.finish("FLUSHALL") >= SUBSCRIBERS);
}

/// The name of a channel's stream.
pub fn stream(redis: &Redis, channel: &str) -> String {
    let keys = redis.must(&["KEYS", &format!("cc:{{*}}{channel}")]);
    keys.split("\r\n").find(|it| it.starts_with("cc:")).expect("a stream").to_owned()
}

/// Its numbering outlives it: who listens has missed nothing, and who was away is told.
#[test]
fn a_stream_is_deleted() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.cut_at_random();
    for _ in 0..20 {
        crowd.goes_on(50);
        redis.must(&["DEL", &stream(&redis, "h:ledger1")]);
    }
    crowd.goes_on(200);
    crowd.finish("DEL of a stream");
}

/// Who is away while entries are trimmed by others is told; who listens needs none of them.
#[test]
fn a_stream_is_trimmed() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.cut_at_random();
    crowd.goes_on(500);
    for _ in 0..20 {
        redis.must(&["XTRIM", &stream(&redis, "h:ledger1"), "MAXLEN", "0"]);
        crowd.goes_on(50);
    }
    crowd.finish("XTRIM of a stream");
}
