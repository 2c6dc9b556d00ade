//! The script by which nodes beat, on a real Redis.

use crate::rig::{Client, Redis};
use corecast::bridge::redis::directory::{Change, Directory, NodeRecord};
use corecast::bridge::redis::resp::Value;
use corecast::bridge::redis::script::By;
use corecast::contract::wire::NodeId;
use corecast::limits::{NODE_DEAD_MS, NODE_FORGOTTEN_MS, NODES};

const ONE: NodeId = NodeId([1; 16]);
const TWO: NodeId = NodeId([2; 16]);

fn lease(client: &mut Client, node: NodeId, record: &[u8]) -> Value {
    let mut out = Vec::new();
    client.scripts.lease(&mut out, By::Text, node, record);
    client.send(&out);
    client.answer()
}

/// A node's beat, and what it has shown.
fn beat(client: &mut Client, directory: &mut Directory, connections: u64) -> Vec<Change> {
    let at_us = directory.deadline_us().expect("none is in flight");
    // Some bytes are no text, and some are what ends the time in the hash.
    let record = NodeRecord { name: "a b\0".into(), connections, ..NodeRecord::default() };
    let data = directory.beat(record, at_us);
    let answer = lease(client, directory.own(), &data);
    directory.answered(&answer, at_us).expect("an answer")
}

/// Has a node have beaten so long ago.
fn turn_back(client: &mut Client, node: &str, by_ms: u64) {
    let Value::Array(time) = client.ask(&["TIME"]) else { panic!("no time") };
    let Value::Blob(seconds) = &time[0] else { panic!("no seconds") };
    let now_s: u64 = std::str::from_utf8(seconds).unwrap().parse().expect("a number");
    let beat = format!("{} x", now_s * 1_000 - by_ms);
    client.ask(&["HSET", "cc:nodes{460}", node, &beat]);
}

#[test]
fn nodes_see_each_other_live_and_die() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let (mut one, mut two) = (Directory::new(ONE), Directory::new(TWO));
    assert_eq!(beat(&mut client, &mut one, 5), []);
    assert_eq!(beat(&mut client, &mut two, 6), [Change::Appeared(ONE)]);
    assert_eq!(beat(&mut client, &mut one, 5), [Change::Appeared(TWO)]);
    let seen: Vec<_> = one.living().map(|(node, it)| (node, it.connections)).collect();
    assert_eq!(seen, [(TWO, 6)]);
    assert_eq!(one.record(TWO).expect("it lives").name, "a b\0");
    turn_back(&mut client, &TWO.text(), NODE_DEAD_MS + 1_000);
    // What was set there cannot be read; what matters is the time.
    assert_eq!(beat(&mut client, &mut one, 5), [Change::Died(TWO)]);
    assert_eq!(beat(&mut client, &mut two, 6), [Change::Lapsed]);
    assert_eq!(beat(&mut client, &mut one, 5), [Change::Appeared(TWO)]);
    // As a node that stops does.
    assert_eq!(client.integer(&["HDEL", "cc:nodes{460}", &TWO.text()]), 1);
    assert_eq!(beat(&mut client, &mut one, 5), [Change::Left(TWO, "a b\0".into())]);
    assert!(client.integer(&["PTTL", "cc:nodes{460}"]) > 0);
}

#[test]
fn records_are_forgotten_and_their_number_is_bounded() {
    let redis = Redis::start();
    let mut client = redis.connect();
    turn_back(&mut client, "old", NODE_FORGOTTEN_MS + 1_000);
    lease(&mut client, ONE, b"x");
    assert_eq!(client.integer(&["HLEN", "cc:nodes{460}"]), 1, "what is old is forgotten");
    for number in 1..NODES {
        turn_back(&mut client, &format!("n{number}"), 0);
    }
    let Value::Error(text) = lease(&mut client, TWO, b"x") else { panic!("one too many") };
    assert_eq!(&*text, "ERR too many nodes");
    assert!(matches!(lease(&mut client, ONE, b"x"), Value::Array(_)), "who is there stays");
    turn_back(&mut client, "n1", NODE_DEAD_MS + 1_000);
    assert!(matches!(lease(&mut client, TWO, b"x"), Value::Array(_)), "the dead make room");
    assert_eq!(client.integer(&["HLEN", "cc:nodes{460}"]), i64::try_from(NODES).unwrap());
}
