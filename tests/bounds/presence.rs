//! Presence, joins and leaves over two nodes that share a Redis, also when one of them dies, and
//! when Redis does.

use crate::client::{Client, Event};
use crate::redis::redis;
use crate::server::{Server, Setup, until};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_drivers!(
    presence_counts_the_clients_of_both_nodes,
    joins_and_leaves_cross_once,
    a_node_that_is_killed_leaves,
    a_node_that_was_frozen_joins_again,
    what_redis_loses_is_written_anew,
);

const NAMESPACE: &str = "[[namespace]]\nname = \"j\"\npresence = true\njoin_leave = \"force\"\n\
                         allow_subscribe = \"anyone\"\nallow_presence = \"anyone\"";

pub fn node<'a>(config: &'a str) -> Setup<'a> {
    Setup { workers: 2, top: config, limits: NAMESPACE, ..Setup::default() }
}

fn ask(server: &Server, method: &str, channel: &str) -> Value {
    let body = json!({ "channel": channel }).to_string();
    let answer = Client::post(server.addr, &format!("/api/{method}"), &body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// Clients and users that a node counts; none if it cannot.
pub fn stats(server: &Server, channel: &str) -> Option<(u64, u64)> {
    let answer = ask(server, "presence_stats", channel);
    let number = |name: &str| answer["result"][name].as_u64();
    Some((number("num_clients")?, number("num_users")?))
}

/// Clients that a node lists, in order.
pub fn listed(server: &Server, channel: &str) -> Vec<String> {
    let answer = ask(server, "presence", channel);
    let clients = answer["result"]["presence"].as_object();
    let mut names: Vec<String> =
        clients.into_iter().flat_map(|clients| clients.keys().cloned()).collect();
    names.sort_unstable();
    names
}

/// Waits until both nodes know of each other: one is seen by the other when it beats.
pub fn know_each_other(one: &Server, two: &Server) {
    let mut clients = [one.client(), two.client()];
    for client in &mut clients {
        assert!(client.subscribe("p:warm")["error"].is_null());
    }
    for server in [one, two] {
        until("both are counted", || stats(server, "p:warm") == Some((2, 1)));
    }
}

/// A connected client, and its id.
pub fn named(server: &Server) -> (Client, String) {
    let mut client = Client::upgraded(server.addr);
    client.text(r#"{"id":1,"connect":{}}"#);
    let Event::Message(answer) = client.next() else { panic!("no answer to connect") };
    let id = answer["connect"]["client"].as_str().expect("an id").to_owned();
    (client, id)
}

impl Client {
    /// The next join or leave: its kind, and the client it is about.
    pub fn membership(&mut self) -> (&'static str, String) {
        loop {
            let message = match self.take_kept(|it| it["push"].is_object()) {
                Some(message) => message,
                None => match self.next() {
                    Event::Message(message) => message,
                    other => panic!("{other:?} instead of a push"),
                },
            };
            for kind in ["join", "leave"] {
                if let Some(client) = message["push"][kind]["info"]["client"].as_str() {
                    return (kind, client.to_owned());
                }
            }
        }
    }
}

fn presence_counts_the_clients_of_both_nodes(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    know_each_other(&one, &two);
    let (mut here, here_id) = named(&one);
    let (mut there, there_id) = named(&two);
    let mut both = [here_id, there_id.clone()];
    both.sort_unstable();
    for round in 0..20 {
        let channel = format!("p:{round}");
        for client in [&mut here, &mut there] {
            assert!(client.subscribe(&channel)["error"].is_null());
            // Who subscribes sees itself.
            let seen = client.ask("presence_stats", json!({ "channel": channel }));
            assert!(seen["presence_stats"]["num_clients"].as_u64() >= Some(1), "{seen}");
        }
        for server in [&one, &two] {
            until("both are listed", || listed(server, &channel) == both);
            assert_eq!(stats(server, &channel), Some((2, 1)), "they are one user");
        }
        here.ask("unsubscribe", json!({ "channel": channel }));
        assert_eq!(stats(&one, &channel), Some((1, 1)));
        until("the other node hears of it", || stats(&two, &channel) == Some((1, 1)));
        assert_eq!(listed(&one, &channel), [there_id.as_str()]);
    }
    drop(there);
    until("the connection's end is heard of", || stats(&one, "p:0") == Some((0, 0)));
}

fn joins_and_leaves_cross_once(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    know_each_other(&one, &two);
    let (mut here, here_id) = named(&one);
    assert!(here.subscribe("j:x")["error"].is_null());
    assert_eq!(here.membership(), ("join", here_id));
    // Interest is announced to Redis by itself, so the first may come before it.
    until("the channel is heard", || {
        redis.ask("PUBSUB CHANNELS cc:{*j:x").is_some_and(|it| it.starts_with("*1"))
    });
    for _ in 0..10 {
        let (mut there, there_id) = named(&two);
        assert!(there.subscribe("j:x")["error"].is_null());
        assert_eq!(here.membership(), ("join", there_id.clone()));
        drop(there);
        assert_eq!(here.membership(), ("leave", there_id));
    }
}

fn a_node_that_is_killed_leaves(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    know_each_other(&one, &two);
    let (mut here, here_id) = named(&one);
    assert!(here.subscribe("j:x")["error"].is_null());
    assert_eq!(here.membership(), ("join", here_id.clone()));
    let (mut there, there_id) = named(&two);
    assert!(there.subscribe("j:x")["error"].is_null());
    until("both are counted", || stats(&one, "j:x") == Some((2, 1)));
    two.kill();
    let killed = Instant::now();
    loop {
        let (kind, client) = here.membership();
        if kind == "leave" {
            assert_eq!(client, there_id);
            break;
        }
    }
    assert!(killed.elapsed() < Duration::from_millis(9_300), "{:?}", killed.elapsed());
    assert_eq!(stats(&one, "j:x"), Some((1, 1)));
    assert_eq!(listed(&one, "j:x"), [here_id]);
}

fn a_node_that_was_frozen_joins_again(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    know_each_other(&one, &two);
    let (mut here, here_id) = named(&one);
    assert!(here.subscribe("j:x")["error"].is_null());
    assert_eq!(here.membership(), ("join", here_id));
    let (mut there, there_id) = named(&two);
    assert!(there.subscribe("j:x")["error"].is_null());
    until("both are counted", || stats(&one, "j:x") == Some((2, 1)));
    two.freeze();
    while here.membership() != ("leave", there_id.clone()) {}
    assert_eq!(stats(&one, "j:x"), Some((1, 1)));
    two.thaw();
    assert_eq!(here.membership(), ("join", there_id));
    for server in [&one, &two] {
        until("both are counted", || stats(server, "j:x") == Some((2, 1)));
    }
}

fn what_redis_loses_is_written_anew(driver: &str) {
    let mut redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    know_each_other(&one, &two);
    let (mut here, _) = named(&one);
    let (mut there, there_id) = named(&two);
    for channel in ["p:a", "p:b", "p:c"] {
        assert!(here.subscribe(channel)["error"].is_null());
        assert!(there.subscribe(channel)["error"].is_null());
        until("both are counted", || stats(&one, channel) == Some((2, 1)));
    }
    redis.kill();
    until("presence is not known", || ask(&one, "presence_stats", "p:a")["error"]["code"] == 100);
    // Who comes and goes meanwhile is known afterwards.
    there.ask("unsubscribe", json!({"channel": "p:a"}));
    assert!(there.subscribe("p:d")["error"].is_null(), "it does not wait for Redis");
    redis.replace();
    let expected = [("p:a", (1, 1)), ("p:b", (2, 1)), ("p:c", (2, 1)), ("p:d", (1, 1))];
    for (channel, counts) in expected {
        until("it is written anew", || stats(&one, channel) == Some(counts));
    }
    assert_eq!(listed(&one, "p:d"), [there_id]);
}
