//! Redis loses what it held, in whole or in part.

use crate::client::Client;
use crate::crowd::{Crowd, USUAL};
use crate::node::Node;
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::refusals::local_goes_on;
use crate::until;
use serde_json::json;
use std::time::{Duration, Instant};

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
    are_red(&nodes, Instant::now());
    crowd.fails();
    redis.start_again();
    crowd.goes_on(500);
    crowd.all_declared();
    assert!(crowd.finish("killed, started empty") >= SUBSCRIBERS);
}

/// The nodes say within four seconds that what they need is away.
pub fn are_red(nodes: &[Node], since: Instant) {
    until("no node is ready", || nodes.iter().all(|node| !node.is_ready()));
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
}

/// While it reads its file it answers everything with LOADING.
#[test]
fn it_reads_its_file_for_seconds() {
    let mut redis = Redis::start_with(&["--enable-debug-command", "yes"]);
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(300);
    redis.must(&["DEBUG", "POPULATE", "3000", "filler", "100"]);
    redis.must(&["SAVE"]);
    redis.kill();
    // A millisecond for each key, between which it answers.
    redis.launch_again(&[
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
    ]);
    until("it reads its file", || redis.ask(&["PING"]).starts_with("-LOADING"));
    nodes.iter().for_each(local_goes_on);
    assert!(redis.ask(&["PING"]).starts_with("-LOADING"), "it still reads");
    crowd.goes_on(300);
    crowd.all_declared();
    assert!(crowd.finish("LOADING for 3 s") >= SUBSCRIBERS);
}

/// A key that was saved still stands for what it published.
#[test]
fn a_key_outlives_a_restart() {
    let mut redis = Redis::start();
    let nodes = nodes(redis.port);
    let publish = |node: &Node| {
        let body = r#"{"channel":"kept:key","data":1,"idempotency_key":"once"}"#;
        node.post("publish", body)["result"].clone()
    };
    let first = publish(&nodes[0]);
    assert_eq!(first["offset"], 1, "{first}");
    redis.must(&["SAVE"]);
    redis.kill();
    redis.start_again();
    until("nodes publish again", || {
        nodes.iter().all(|node| node.publish("kept:warm", "1")["error"].is_null())
    });
    for node in &nodes {
        assert_eq!(publish(node), first, "it is not published again");
    }
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
    are_red(&nodes, Instant::now());
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
        redis.must(&["DEL", &stream(&redis, "kept:ledger1")]);
    }
    crowd.goes_on(200);
    crowd.finish("DEL of a stream");
    who_was_away_is_told(&redis, &nodes, &["DEL"], &[]);
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
        redis.must(&["XTRIM", &stream(&redis, "kept:ledger1"), "MAXLEN", "0"]);
        crowd.goes_on(50);
    }
    crowd.finish("XTRIM of a stream");
    who_was_away_is_told(&redis, &nodes, &["XTRIM"], &["MAXLEN", "0"]);
}

/// A subscriber that missed what is not there any more comes back to a node that never heard its
/// channel.
fn who_was_away_is_told(redis: &Redis, nodes: &[Node], command: &[&str], options: &[&str]) {
    const CHANNEL: &str = "kept:away";
    let answer = nodes[0].publish(CHANNEL, "0");
    let (epoch, offset) = (&answer["result"]["epoch"], &answer["result"]["offset"]);
    let position = json!({"channel": CHANNEL, "recover": true, "epoch": epoch, "offset": offset});
    let comes_back = || {
        let newcomer = Node::start(redis.port);
        let mut client = Client::connect(newcomer.addr).expect("it serves");
        let answer = client.ask("subscribe", position.clone()).expect("an answer");
        assert!(answer["error"].is_null(), "{answer}");
        let result = &answer["subscribe"];
        (result["recovered"] == true, result["publications"].as_array().map_or(0, Vec::len))
    };
    assert_eq!(comes_back(), (true, 0), "it missed nothing");
    for data in 1..=5 {
        assert!(nodes[0].publish(CHANNEL, &data.to_string())["error"].is_null());
    }
    assert_eq!(comes_back(), (true, 5), "it is given what it missed");
    let key = stream(redis, CHANNEL);
    redis.must(&[command, &[key.as_str()], options].concat());
    assert_eq!(comes_back(), (false, 0), "it is told that it may have missed something");
}
