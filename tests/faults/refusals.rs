//! Redis answers, and says no.

use crate::client::Client;
use crate::crowd::{Crowd, USUAL};
use crate::loss::stream;
use crate::node::Node;
use crate::redis::{Redis, free_port};
use crate::until;
use serde_json::json;
use std::time::{Duration, Instant};

fn nodes(port: u16) -> Vec<Node> {
    (0..2).map(|_| Node::start(port)).collect()
}

/// Channels that keep nothing go on, on this node.
pub fn local_goes_on(node: &Node) {
    let mut client = Client::connect(node.addr).expect("it serves");
    let mut ask = |method: &str, parameters| client.ask(method, parameters).expect("an answer");
    assert!(ask("subscribe", json!({"channel": "n:x"}))["error"].is_null());
    assert!(ask("publish", json!({"channel": "n:x", "data": 1}))["error"].is_null());
    let push = ask("publish", json!({"channel": "n:x", "data": 2}));
    assert!(push["error"].is_null(), "{push}");
}

/// Publications fail while `begin` was said, and go on after `end`; returns what was declared.
fn while_refused(name: &str, begin: impl Fn(&Redis), end: impl Fn(&Redis)) -> u64 {
    let redis = Redis::start_with(&["--enable-protected-configs", "yes"]);
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(200);
    begin(&redis);
    crowd.fails();
    nodes.iter().for_each(local_goes_on);
    end(&redis);
    crowd.goes_on(300);
    crowd.finish(name)
}

fn config(redis: &Redis, name: &str, value: &str) {
    redis.must(&["CONFIG", "SET", name, value]);
}

#[test]
fn it_becomes_a_replica() {
    let port = free_port().to_string();
    let begin = |redis: &Redis| drop(redis.must(&["REPLICAOF", "127.0.0.1", &port]));
    let end = |redis: &Redis| drop(redis.must(&["REPLICAOF", "NO", "ONE"]));
    // Promoted again it may have lost a suffix, for all that anyone knows.
    while_refused("READONLY", begin, end);
}

#[test]
fn its_primary_is_down() {
    let port = free_port().to_string();
    let begin = |redis: &Redis| {
        config(redis, "replica-serve-stale-data", "no");
        redis.must(&["REPLICAOF", "127.0.0.1", &port]);
    };
    let end = |redis: &Redis| drop(redis.must(&["REPLICAOF", "NO", "ONE"]));
    while_refused("MASTERDOWN", begin, end);
}

#[test]
fn a_password_is_required_later() {
    let begin = |redis: &Redis| {
        config(redis, "requirepass", "later");
        redis.with_password(&["CLIENT", "KILL", "TYPE", "normal"]);
        redis.with_password(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    };
    let end = |redis: &Redis| redis.with_password(&["CONFIG", "SET", "requirepass", ""]);
    assert_eq!(while_refused("NOAUTH", begin, end), 0, "nothing was lost");
}

#[test]
fn it_is_out_of_memory() {
    let begin = |redis: &Redis| config(redis, "maxmemory", "1");
    let end = |redis: &Redis| config(redis, "maxmemory", "0");
    assert_eq!(while_refused("OOM", begin, end), 0, "nothing was lost");
}

#[test]
fn it_cannot_save() {
    let begin = |redis: &Redis| {
        std::fs::create_dir_all(redis.directory().join("taken/in")).expect("a directory");
        config(redis, "dbfilename", "taken");
        config(redis, "save", "3600 1");
        redis.ask(&["BGSAVE"]);
    };
    let end = |redis: &Redis| config(redis, "save", "");
    assert_eq!(while_refused("MISCONF", begin, end), 0, "nothing was lost");
}

#[test]
fn it_permits_no_scripts() {
    let begin = |redis: &Redis| drop(redis.must(&["ACL", "SETUSER", "default", "-evalsha"]));
    let end = |redis: &Redis| drop(redis.must(&["ACL", "SETUSER", "default", "+@all"]));
    assert_eq!(while_refused("NOPERM", begin, end), 0, "nothing was lost");
}

#[test]
fn one_key_is_no_stream() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(200);
    assert!(nodes[0].publish("kept:bad", "1")["error"].is_null());
    let key = stream(&redis, "kept:bad");
    redis.must(&["SET", &key, "text"]);
    for _ in 0..50 {
        let answer = nodes[0].publish("kept:bad", "1");
        assert_eq!(answer["error"]["code"], 100, "{answer}");
    }
    crowd.goes_on(200);
    let lines = nodes[0].log().matches("WRONGTYPE").count();
    assert!((1..=2).contains(&lines), "one line a minute, not {lines}");
    assert_eq!(crowd.errors(), 0, "others go on");
    assert_eq!(crowd.finish("WRONGTYPE"), 0);
}

#[test]
fn scripts_are_flushed() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    for _ in 0..10 {
        crowd.goes_on(100);
        redis.must(&["SCRIPT", "FLUSH"]);
    }
    crowd.goes_on(100);
    assert_eq!(crowd.errors(), 0, "they are loaded, and publications sent again");
    assert_eq!(crowd.finish("SCRIPT FLUSH"), 0);
}

#[test]
fn a_script_takes_long() {
    let redis = Redis::start();
    config(&redis, "busy-reply-threshold", "100");
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(200);
    let end = Instant::now() + Duration::from_secs(6);
    std::thread::scope(|scope| {
        scope.spawn(|| redis.ask(&["EVAL", "while true do end", "0"]));
        until("Redis is busy", || redis.ask(&["GET", "x"]).starts_with("-BUSY"));
        while Instant::now() < end {
            nodes.iter().for_each(local_goes_on);
            std::thread::sleep(Duration::from_millis(100));
        }
        redis.must(&["SCRIPT", "KILL"]);
    });
    crowd.goes_on(200);
    assert_eq!(crowd.finish("BUSY for 6 s"), 0, "nothing was lost");
}
