//! Channels of all nodes that share a Redis, whichever of them is called; and what is answered when
//! a node is silent, or Redis is.

use crate::client::Client;
use crate::redis::{Redis, redis};
use crate::server::{Server, Setup, until};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

on_both_drivers!(
    channels_of_two_nodes_are_one_list,
    channels_of_three_nodes_are_one_list,
    a_node_that_is_silent_is_left_out_in_time_and_named,
    without_redis_a_node_lists_its_own,
    a_long_list_comes_whole_and_one_that_is_too_long_is_refused,
);

/// Letters of a long name.
const LONG: usize = 1_000;
/// Channels with such names of each node in the test of long lists: less than 8 MiB for one of
/// them, and more for two.
const MANY: usize = 5_000;

fn node(config: &str) -> Setup<'_> {
    let limits = "channels_per_connection = 10000\nchannel_name_bytes = 1000\n\
                  new_channels_per_s = 0";
    Setup { workers: 2, top: config, limits, ..Setup::default() }
}

fn call(server: &Server, pattern: &str) -> Value {
    let body = json!({ "pattern": pattern }).to_string();
    let answer = Client::post(server.addr, "/api/channels", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// Channels and the numbers of their clients, by name; none where it is an error.
fn listed(server: &Server, pattern: &str) -> Option<BTreeMap<String, u64>> {
    let answer = call(server, pattern);
    let channels = answer["result"]["channels"].as_object()?;
    let count = |info: &Value| info["num_clients"].as_u64().expect("a number");
    Some(channels.iter().map(|(name, info)| (name.clone(), count(info))).collect())
}

fn list(of: &[(&str, u64)]) -> Option<BTreeMap<String, u64>> {
    Some(of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect())
}

/// A client of this node that is subscribed to these channels.
fn subscribed(server: &Server, channels: &[&str]) -> Client {
    let mut client = server.client();
    for channel in channels {
        let answer = client.subscribe(channel);
        assert!(answer["error"].is_null(), "{answer}");
    }
    client
}

/// Subscribes to many channels.
fn subscribe_many(client: &mut Client, channels: &[String]) {
    for (run, channels) in channels.chunks(50).enumerate() {
        let first = run * 50 + 2;
        let command = |(at, channel): (usize, &String)| {
            json!({"id": first + at, "subscribe": {"channel": channel}}).to_string()
        };
        client.text(&channels.iter().enumerate().map(command).collect::<Vec<_>>().join("\n"));
        for at in 0..channels.len() {
            let answer = client.answer_to((first + at) as u32);
            assert!(answer["error"].is_null(), "{answer}");
        }
    }
}

/// Lists that lacked a node, as this node counts them.
fn lacking(server: &Server) -> u64 {
    server.metric("corecast_redis_events_total{event=\"not_listed\"}")
}

/// Waits until a node knows as many others: one is known when both have beaten.
fn knows(servers: &[&Server]) {
    for server in servers {
        until("it knows the others", || {
            let answer = Client::post(server.addr, "/api/info", "{}");
            let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
            answer["result"]["nodes"].as_array().map(Vec::len) == Some(servers.len())
        });
    }
}

fn channels_of_two_nodes_are_one_list(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    knows(&[&one, &two]);
    let mut here = subscribed(&one, &["n:both", "h:both", "n:one"]);
    let there = [
        subscribed(&two, &["n:both", "h:both", "n:two"]),
        subscribed(&two, &["n:both", "n:\u{e9}"]),
    ];
    let all = [("h:both", 2), ("n:both", 3), ("n:one", 1), ("n:two", 1), ("n:\u{e9}", 1)];
    for server in [&one, &two] {
        // Whoever is subscribed is listed by the next call.
        assert_eq!(listed(server, ""), list(&all));
        assert_eq!(listed(server, "*"), list(&all));
        assert_eq!(listed(server, "n:*o*"), list(&[("n:both", 3), ("n:one", 1), ("n:two", 1)]));
        assert_eq!(listed(server, "[h]:both"), list(&[("h:both", 2)]));
        assert_eq!(listed(server, "nothing"), list(&[]));
        assert_eq!(call(server, "[a")["error"]["code"], 107);
    }
    here.ask("unsubscribe", json!({"channel": "n:both"}));
    assert_eq!(listed(&two, "n:both"), list(&[("n:both", 2)]));
    drop(there);
    let rest = list(&[("h:both", 1), ("n:one", 1)]);
    until("who left is not counted", || listed(&one, "") == rest && listed(&two, "") == rest);
    assert_eq!((lacking(&one), lacking(&two)), (0, 0), "all were there");
    // As a part of a batch, and several at once.
    let command = json!({"channels": {"pattern": "n:*"}});
    let batch = json!({"parallel": true, "commands": vec![command; 40]}).to_string();
    let answer = Client::post(two.addr, "/api/batch", &batch);
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    let replies = answer["replies"].as_array().expect("replies");
    assert_eq!(replies.len(), 40);
    for reply in replies {
        assert_eq!(reply["channels"]["channels"], json!({"n:one": {"num_clients": 1}}), "{reply}");
    }
    assert_eq!(lacking(&two), 0, "those that waited were whole as well");
}

fn channels_of_three_nodes_are_one_list(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    let three = serve!(driver, node(&config));
    knows(&[&one, &two, &three]);
    let _clients = [
        subscribed(&one, &["n:all", "n:one"]),
        subscribed(&two, &["n:all", "n:pair"]),
        subscribed(&three, &["n:all", "n:pair"]),
    ];
    let all = list(&[("n:all", 3), ("n:one", 1), ("n:pair", 2)]);
    for server in [&one, &two, &three] {
        assert_eq!(listed(server, ""), all);
    }
    three.kill();
    let rest = list(&[("n:all", 2), ("n:one", 1), ("n:pair", 1)]);
    assert_eq!(listed(&one, ""), rest, "one that was killed is left out");
    assert_eq!(lacking(&one), 1);
    until("it is known that it died", || {
        let asked = Instant::now();
        assert_eq!(listed(&two, ""), rest);
        asked.elapsed() < Duration::from_millis(500)
    });
}

fn a_node_that_is_silent_is_left_out_in_time_and_named(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    let three = serve!(driver, node(&config));
    knows(&[&one, &two, &three]);
    let _clients = [&one, &two, &three].map(|server| subscribed(server, &["n:all"]));
    two.freeze();
    let asked = Instant::now();
    assert_eq!(listed(&one, ""), list(&[("n:all", 2)]));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert_eq!((lacking(&one), lacking(&three)), (1, 0));
    two.thaw();
    until("all are listed again", || listed(&one, "") == list(&[("n:all", 3)]));
    let name = format!("_{}", two.addr.port());
    let log = one.end();
    let line = log.lines().find(|line| line.contains("channels were listed without"));
    assert!(line.is_some_and(|line| line.contains(&name)), "{log}");
}

fn without_redis_a_node_lists_its_own(driver: &str) {
    let mut redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    knows(&[&one, &two]);
    let _clients = [&one, &two].map(|server| subscribed(server, &["n:all"]));
    assert_eq!(listed(&one, ""), list(&[("n:all", 2)]));
    redis.freeze();
    let asked = Instant::now();
    assert_eq!(listed(&one, ""), list(&[("n:all", 1)]));
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    redis.thaw();
    until("both are listed again", || listed(&one, "") == list(&[("n:all", 2)]));
    redis.kill();
    until("the loss is noticed", || one.publish("h:x", "1")["error"]["code"] == 100);
    assert_eq!(listed(&one, ""), list(&[("n:all", 1)]));
    redis.replace();
    until("both are listed again", || listed(&one, "") == list(&[("n:all", 2)]));
}

/// Bytes that Redis keeps of what nodes have left for this one.
fn kept(redis: &Redis) -> u64 {
    let keys = redis.ask("KEYS cc:control*").expect("it answers");
    let keys = keys.lines().filter(|line| line.starts_with("cc:"));
    let memory =
        |key: &str| redis.ask(&format!("MEMORY USAGE {key} SAMPLES 0")).expect("it answers");
    let number = |text: String| text.trim_start_matches(':').trim().parse().unwrap_or(0);
    keys.map(|key| number(memory(key))).sum()
}

fn a_long_list_comes_whole_and_one_that_is_too_long_is_refused(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    knows(&[&one, &two]);
    let name = |kind: &str, number: usize| {
        let head = format!("n:{kind}{number}");
        let rest = "x".repeat(LONG - head.len());
        head + &rest
    };
    let names = |kind: &str| -> Vec<String> { (0..MANY).map(|it| name(kind, it)).collect() };
    let (mut here, mut there) = (one.client(), two.client());
    subscribe_many(&mut there, &names("there"));
    for server in [&one, &two] {
        let all = listed(server, "").expect("it is within the bound");
        assert_eq!(all.into_keys().collect::<Vec<_>>(), {
            let mut names = names("there");
            names.sort_unstable();
            names
        });
    }
    until("Redis forgets what was read", || kept(&redis) < 1 << 20);
    subscribe_many(&mut here, &names("here"));
    for server in [&one, &two] {
        assert_eq!(call(server, "")["error"]["code"], 106, "the whole is too long");
        assert_eq!(listed(server, "n:here*").map(|it| it.len()), Some(MANY));
        assert_eq!(listed(server, "n:there*").map(|it| it.len()), Some(MANY));
        assert_eq!(lacking(server), 0);
        server.settles("api_bytes", 0);
    }
    // One of them alone has too much.
    subscribe_many(&mut there, &names("more"));
    for server in [&one, &two] {
        assert_eq!(call(server, "n:[tm]*")["error"]["code"], 106);
        assert_eq!(listed(server, "n:here*").map(|it| it.len()), Some(MANY));
    }
}
