//! What Redis announces does not arrive.

use crate::client::Client;
use crate::crowd::{Crowd, USUAL};
use crate::node::Node;
use crate::redis::Redis;
use crate::until;
use serde_json::json;
use std::time::{Duration, Instant};

fn nodes(port: u16) -> Vec<Node> {
    (0..2).map(|_| Node::start(port)).collect()
}

#[test]
fn subscriptions_are_killed() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    let mut killed = 0;
    while killed < 10 {
        crowd.goes_on(100);
        let answer = redis.must(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        killed += answer.trim_start_matches(':').trim().parse::<u64>().expect("a number");
    }
    crowd.goes_on(100);
    assert_eq!(crowd.finish("CLIENT KILL TYPE pubsub"), 0, "the streams have everything");
}

/// What is published while a subscription is away is found though nothing follows it.
#[test]
fn the_last_before_a_silence_arrives() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let mut listener = Client::connect(nodes[1].addr).expect("it serves");
    // A node looks after the tails of some channels each second: with so many it does not come by
    // this one in time.
    let others = (0..100).map(|number| format!("kept:other{number}"));
    for channel in others.chain(["kept:last".to_owned()]) {
        let answer = listener.ask("subscribe", json!({"channel": channel})).expect("an answer");
        assert!(answer["error"].is_null(), "{answer}");
    }
    for number in 0..10 {
        redis.must(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let answer = nodes[0].publish("kept:last", &number.to_string());
        assert!(answer["error"].is_null(), "{answer}");
        let soon = Instant::now() + Duration::from_secs(3);
        let push = listener.next(soon).expect("it serves");
        let push = push.unwrap_or_else(|| panic!("{number} does not arrive"));
        assert_eq!(push["push"]["pub"]["data"], number, "{push}");
    }
}

/// A node that does not read for a while has its subscriptions ended by Redis.
#[test]
fn a_subscription_overflows() {
    let redis = Redis::start();
    redis.must(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1048576 0 0"]);
    let nodes = nodes(redis.port);
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(50);
    let mut listener = Client::connect(nodes[1].addr).expect("it serves");
    let answer = listener.ask("subscribe", json!({"channel": "n:filler"})).expect("an answer");
    assert!(answer["error"].is_null(), "{answer}");
    until("a publication crosses", || {
        drop(nodes[0].publish("n:filler", "0"));
        let soon = Instant::now() + Duration::from_millis(100);
        listener.next(soon).expect("it serves").is_some_and(|it| it["push"]["pub"].is_object())
    });
    let connections = || redis.must(&["CLIENT", "LIST", "TYPE", "pubsub"]).matches("id=").count();
    until("both nodes hear", || connections() == 2);
    crowd.avoid(&nodes[1]);
    nodes[1].freeze();
    let filler = format!("\"{}\"", "x".repeat(20_000));
    until("Redis ends the node's subscriptions", || {
        (0..20).for_each(|_| drop(nodes[0].publish("n:filler", &filler)));
        connections() == 1
    });
    nodes[1].thaw();
    until("they are there again", || connections() == 2);
    crowd.goes_on(50);
    assert_eq!(crowd.finish("a subscription overflowed"), 0, "the streams have everything");
}

/// A channel that nobody listens to on a node is not announced to it.
#[test]
fn nobody_listens_on_the_other_node() {
    let redis = Redis::start();
    let nodes = nodes(redis.port);
    let mut clients = Vec::new();
    for first in (0..1_000).step_by(50) {
        let mut client = Client::connect(nodes[0].addr).expect("it serves");
        for channel in first..first + 50 {
            let request = json!({"channel": format!("n:{channel}")});
            let answer = client.ask("subscribe", request).expect("an answer");
            assert!(answer["error"].is_null(), "{answer}");
        }
        clients.push(client);
    }
    let heard = || {
        let list = redis.must(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let counts = list.split(' ').filter_map(|it| it.strip_prefix("sub="));
        let mut counts: Vec<u64> = counts.map(|it| it.parse().expect("a number")).collect();
        counts.sort_unstable();
        counts
    };
    until("Redis knows of 1,000 channels", || heard().last().is_some_and(|it| *it >= 1_000));
    let heard = heard();
    println!("interest: 1000 channels on one node: the nodes hear {heard:?} channels");
    // Each hears a few of its own: of all nodes, and what `Node::start` published to.
    assert!(heard.len() == 2 && heard[0] < 100, "{heard:?}");
    for channel in 0..1_000 {
        let answer = nodes[0].publish(&format!("n:{channel}"), "1");
        assert!(answer["error"].is_null(), "{answer}");
    }
    assert!(redis.receivers_at_most("n:", 1), "only the node that has the subscribers hears");
}
