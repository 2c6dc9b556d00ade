//! Redis is slow, hangs, or is none; a node dies.

use crate::client::Client;
use crate::crowd::{Crowd, Shape, USUAL};
use crate::loss::are_red;
use crate::node::Node;
use crate::proxy::Proxy;
use crate::redis::Redis;
use crate::refusals::local_goes_on;
use crate::until;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

fn nodes(port: u16) -> Vec<Node> {
    (0..2).map(|_| Node::start(port)).collect()
}

#[test]
fn it_hangs_for_ten_seconds() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(300);
    redis.freeze();
    let frozen = Instant::now();
    let end = frozen + Duration::from_secs(10);
    are_red(&nodes, frozen);
    crowd.fails();
    while Instant::now() < end {
        nodes.iter().for_each(local_goes_on);
        std::thread::sleep(Duration::from_millis(100));
    }
    redis.thaw();
    let thawed = Instant::now();
    until("all are ready again", || nodes.iter().all(Node::is_ready));
    crowd.goes_on(1);
    // A loaded machine gets a second more than the two that are promised.
    assert!(thawed.elapsed() < Duration::from_secs(3), "{:?}", thawed.elapsed());
    crowd.goes_on(300);
    assert_eq!(crowd.finish("SIGSTOP for 10 s"), 0, "nothing was lost");
}

#[test]
fn it_is_far_away_and_its_connections_are_reset() {
    let redis = Redis::start();
    let front = Proxy::start(redis.port);
    let nodes = nodes(front.port);
    let crowd = Crowd::start(&nodes, Shape { window: 64, ..USUAL });
    crowd.goes_on(200);
    let before = nodes.iter().map(Node::rss).max();
    front.delay(250);
    crowd.goes_on(500);
    for _ in 0..10 {
        crowd.goes_on(33);
        front.reset_one();
    }
    crowd.goes_on(200);
    front.delay(0);
    let after = nodes.iter().map(Node::rss).max();
    assert!(after < before.map(|it| it + (64 << 20)), "{before:?} bytes became {after:?}");
    assert_eq!(crowd.finish("500 ms there and back, a reset every 33"), 0);
}

#[test]
fn a_node_is_killed() {
    let redis = Redis::start();
    let mut nodes: Vec<Node> = (0..3).map(|_| Node::start(redis.port)).collect();
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(500);
    crowd.avoid(&nodes[0]);
    nodes[0].kill();
    crowd.goes_on(500);
    assert_eq!(crowd.finish("kill -9 of a node"), 0, "its clients recover on others");
}

/// A key is kept with what it published, so that a retry elsewhere publishes nothing.
#[test]
fn a_retry_with_a_key_publishes_once() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let publish = |node: &Node| {
        let body = r#"{"channel":"kept:key","data":1,"idempotency_key":"once"}"#;
        node.post("publish", body)["result"].clone()
    };
    let first = publish(&nodes[0]);
    assert_eq!(first["offset"], 1, "{first}");
    redis.must(&["CLIENT", "KILL", "TYPE", "normal"]);
    until("the other node publishes", || nodes[1].publish("n:x", "1")["error"].is_null());
    until("it answers as before", || publish(&nodes[1]) == first);
    redis.must(&["SAVE"]);
    let answer = nodes[0].publish("kept:key", "2");
    assert_eq!(answer["result"]["offset"], 2, "nothing was published in between");
}

/// Raises the soft limit of open files, which nodes that are started later inherit.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit everybody may");
}

#[test]
fn many_recover_at_once() {
    const CLIENTS: usize = 5_000;
    allow_many_files();
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let mut first = Client::connect(nodes[0].addr).expect("it serves");
    let answer = first.ask("subscribe", json!({"channel": "kept:x"})).expect("an answer");
    let epoch = &answer["subscribe"]["epoch"];
    for data in 0..20 {
        assert!(nodes[0].publish("kept:x", &data.to_string())["error"].is_null());
    }
    let connect = |_| Client::connect(nodes[1].addr).expect("it serves");
    let mut clients: Vec<Client> = (0..CLIENTS).map(connect).collect();
    let commands = || ["xrevrange", "xrange", "xread"].map(|it| redis.calls(it));
    let (began, before) = (Instant::now(), commands());
    let request = json!({"channel": "kept:x", "recover": true, "offset": 0, "epoch": epoch});
    for client in &mut clients {
        client.tell("subscribe", request.clone()).expect("it lives");
    }
    let end = Instant::now() + crate::PATIENCE;
    for client in &mut clients {
        let answer = client.next(end).expect("it lives").expect("an answer");
        assert_eq!(answer["subscribe"]["recovered"], true, "{answer}");
        let missed = answer["subscribe"]["publications"].as_array().map(Vec::len);
        assert_eq!(missed, Some(20));
    }
    let took = began.elapsed();
    let after = commands();
    let [down, up, tails] = std::array::from_fn(|at| after[at] - before[at]);
    println!("{CLIENTS} recover at once: in {took:?} XREVRANGE {down}, XRANGE {up}, XREAD {tails}");
    // Those of the channel; besides, a node reads some by itself each second.
    assert!(down <= 4, "{down} reads of one channel");
    assert!(up + tails <= 64, "as many as clients would be 5,000");
}

/// What stands where Redis should be, and what the log has to say about it.
fn unfit(name: &str, url: &str, says: &str) -> Node {
    let node = Node::start_alone(url);
    local_goes_on(&node);
    until("the log says why", || node.log().to_lowercase().contains(says));
    assert_eq!(node.publish("kept:x", "1")["error"]["code"], 100);
    println!("{name}: the node serves what it can");
    node
}

#[test]
fn it_is_unfit() {
    let redis = Redis::start_with(&["--requirepass", "right"]);
    let at = |user: &str, path: &str| format!("redis://{user}localhost:{}{path}", redis.port);
    unfit("a wrong password", &at(":wrong@", ""), "wrongpass");
    unfit("no password", &at("", ""), "noauth");
    unfit("a wrong database", &at(":right@", "/99"), "out of range");
    let renamed = Redis::start_with(&["--rename-command", "EVALSHA", "none"]);
    let url = format!("redis://localhost:{}", renamed.port);
    unfit("a renamed command", &url, "unknown command");
}

#[test]
fn it_is_too_old() {
    let program = std::env::var("CORECAST_TEST_OLD_REDIS").unwrap_or_default();
    if program.is_empty() {
        return println!("SKIPPED: CORECAST_TEST_OLD_REDIS names no program");
    }
    let redis = Redis::start_program(&program, &[]);
    let _node = unfit("Redis 6.2", &format!("redis://localhost:{}", redis.port), "6.2");
}

#[test]
fn it_is_no_redis() {
    for (name, says) in [
        ("HTTP", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        ("garbage", &[0xff, 0, 1, 2, 3, 0x0d, 0x0a][..]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let dials = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&dials);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Relaxed);
                let _ = stream.write_all(says);
            }
        });
        let began = Instant::now();
        let _node = unfit(name, &format!("redis://localhost:{port}"), "redis");
        until("it was dialled often", || dials.load(Relaxed) >= 12);
        let (dials, took) = (dials.load(Relaxed), began.elapsed());
        println!("{name}: {dials} dials in {took:?}");
        assert!(took > Duration::from_secs(2), "{dials} dials in {took:?}: without rest");
    }
}

/// A node that was not run for a while has answers of Redis in its sockets. Redis has done nothing
/// wrong; only calls that are overdue by the node's own clock may fail.
#[test]
fn a_node_stands_still_for_six_seconds() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(200);
    let mut listener = Client::connect(nodes[1].addr).expect("it serves");
    let answer = listener.ask("subscribe", json!({"channel": "n:filler"})).expect("an answer");
    assert!(answer["error"].is_null(), "{answer}");
    nodes[1].freeze();
    let frozen = Instant::now();
    // So much that it is not read at once.
    let filler = format!("\"{}\"", "x".repeat(20_000));
    (0..200).for_each(|_| drop(nodes[0].publish("n:filler", &filler)));
    std::thread::sleep(Duration::from_secs(6).saturating_sub(frozen.elapsed()));
    nodes[1].thaw();
    crowd.goes_on(300);
    let log = nodes[1].log();
    assert!(!log.contains("lost Redis"), "Redis was there all the time: {log}");
    assert_eq!(crowd.finish("SIGSTOP of a node for 6 s"), 0, "nothing was lost");
}
