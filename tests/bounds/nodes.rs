//! Two nodes that share a Redis: publications cross from one to the other, recovery works on
//! either, and a Redis that is away costs clients an answer, never a silent loss.

use crate::client::Client;
use crate::redis::{Redis, redis};
use crate::server::{Server, Setup, until};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_drivers!(
    publications_reach_both_nodes_in_one_order,
    few_reads_where_both_nodes_publish,
    what_is_not_kept_crosses_once,
    whoever_is_subscribed_hears_what_is_published_elsewhere,
    a_client_recovers_on_another_node,
    without_redis_what_is_not_kept_goes_on,
    a_frozen_redis_answers_with_an_error_in_time,
    an_empty_redis_is_declared,
    what_expired_is_no_loss_to_who_listens,
    a_node_is_ready_while_its_redis_is,
    who_may_not_hear_is_not_ready,
    what_is_sealed_is_understood_and_strangers_are_not_believed,
);

const PUBLICATIONS: u64 = 500;

pub fn node<'a>(config: &'a str) -> Setup<'a> {
    Setup { workers: 2, top: config, ..Setup::default() }
}

/// A publish through the server API that must succeed; its offset.
fn published(server: &Server, channel: &str, data: u64) -> u64 {
    let answer = server.publish(channel, &data.to_string());
    answer["result"]["offset"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// Publishes until it succeeds again.
fn publishes_again(server: &Server, channel: &str) {
    until("a publish succeeds", || server.publish(channel, "0")["error"].is_null());
}

fn publications_reach_both_nodes_in_one_order(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    publishes_again(&one, "h:warm");
    let mut listeners = [one.client(), two.client()];
    for listener in &mut listeners {
        assert!(listener.subscribe("h:x")["error"].is_null());
    }
    let publish = |server: &Server, first: u64| {
        let mut client = server.client();
        for data in (first..).step_by(2).take(PUBLICATIONS as usize / 2) {
            let answer = client.ask("publish", json!({"channel": "h:x", "data": data}));
            assert!(answer["error"].is_null(), "{answer}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&one, 0));
        scope.spawn(|| publish(&two, 1));
    });
    let heard = listeners.map(|mut listener| {
        let all = (0..PUBLICATIONS).map(|_| listener.publication());
        all.map(|it| (it["offset"].as_u64(), it["data"].clone())).collect::<Vec<_>>()
    });
    assert_eq!(heard[0], heard[1], "both nodes deliver the same order");
    let offsets: Vec<_> = heard[0].iter().map(|(offset, _)| *offset).collect();
    let expected: Vec<_> = (1..=PUBLICATIONS).map(Some).collect();
    assert_eq!(offsets, expected, "each once, without a hole");
}

/// The answer to a publish overtakes the copies of what was put in order before it. That is no
/// reason to read the stream.
fn few_reads_where_both_nodes_publish(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    publishes_again(&one, "h:warm");
    let mut listeners = [one.client(), two.client()];
    for listener in &mut listeners {
        assert!(listener.subscribe("h:x")["error"].is_null());
    }
    let (before, began) = (redis.calls("xrange"), Instant::now());
    let publish = |server: &Server| {
        let mut client = server.client();
        for data in 0..PUBLICATIONS {
            let answer = client.ask("publish", json!({"channel": "h:x", "data": data}));
            assert!(answer["error"].is_null(), "{answer}");
        }
    };
    std::thread::scope(|scope| {
        for server in [&one, &one, &two, &two] {
            scope.spawn(|| publish(server));
        }
    });
    for listener in &mut listeners {
        for offset in 1..=4 * PUBLICATIONS {
            assert_eq!(listener.publication()["offset"], offset);
        }
    }
    // Each node compares the channel's tail every quarter of a second, for it has no other.
    let compared = 2 * (1 + began.elapsed().as_millis() as u64 / 250);
    let read = redis.calls("xrange") - before;
    assert!(read <= compared + PUBLICATIONS / 10, "{read} reads, {compared} of them of tails");
}

fn what_is_not_kept_crosses_once(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    let mut listeners = [one.client(), two.client()];
    for listener in &mut listeners {
        assert!(listener.subscribe("n:x")["error"].is_null());
    }
    // Interest is announced to Redis by itself, so the first may come before it.
    let mut arrived = false;
    until("a publication crosses", || {
        two.publish("n:x", "-1");
        arrived |= listeners[0].arrives(Duration::from_millis(100));
        arrived
    });
    for data in 0..100 {
        two.publish("n:x", &data.to_string());
    }
    for listener in &mut listeners {
        let heard = std::iter::repeat_with(|| listener.publication()["data"].clone());
        let heard: Vec<Value> = heard.skip_while(|data| *data == -1).take(100).collect();
        let expected: Vec<Value> = (0..100).map(Value::from).collect();
        assert_eq!(heard, expected);
        assert!(!listener.arrives(Duration::from_millis(200)), "each comes once");
    }
}

/// A subscription is answered when other nodes are heard, in a channel without history too, of
/// which Redis then has nothing to keep.
fn whoever_is_subscribed_hears_what_is_published_elsewhere(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    for server in [&one, &two] {
        publishes_again(server, "h:warm");
    }
    let mut client = two.client();
    for number in 0..50 {
        let channel = format!("n:{number}");
        assert!(client.subscribe(&channel)["error"].is_null());
        one.publish(&channel, &number.to_string());
        assert_eq!(client.publication()["data"], number, "{channel}");
    }
    assert_eq!(redis.ask("KEYS cc:*n:*"), Some("*0\r\n".into()));
}

fn a_client_recovers_on_another_node(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    publishes_again(&one, "h:warm");
    publishes_again(&two, "h:warm");
    let mut client = one.client();
    let answer = client.subscribe("h:x");
    let epoch = answer["subscribe"]["epoch"].clone();
    assert_eq!(published(&one, "h:x", 1), 1);
    assert_eq!(client.publication()["offset"], 1);
    drop(client);
    for data in 2..=20 {
        let server = if data % 2 == 0 { &one } else { &two };
        assert_eq!(published(server, "h:x", data), data);
    }
    for server in [&two, &one] {
        let mut client = server.client();
        let request = json!({"channel": "h:x", "recover": true, "offset": 1, "epoch": epoch});
        let answer = &client.ask("subscribe", request)["subscribe"];
        assert_eq!(answer["recovered"], true, "{answer}");
        let missed = answer["publications"].as_array().expect("publications");
        let offsets: Vec<_> = missed.iter().map(|it| it["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, (2..=20).collect::<Vec<_>>());
        let history = client.ask("history", json!({"channel": "h:x", "limit": 5}));
        assert_eq!(history["history"]["publications"].as_array().map(Vec::len), Some(5));
    }
}

fn without_redis_what_is_not_kept_goes_on(driver: &str) {
    let mut redis = redis!();
    let config = redis.config();
    let server = serve!(driver, node(&config));
    publishes_again(&server, "h:x");
    redis.kill();
    until("the loss is noticed", || server.publish("h:x", "1")["error"]["code"] == 100);
    let mut client = server.client();
    assert!(client.subscribe("n:x")["error"].is_null());
    for data in 0..50 {
        server.publish("n:x", &data.to_string());
        assert_eq!(client.publication()["data"], data);
    }
    redis.replace();
    publishes_again(&server, "h:x");
}

fn a_frozen_redis_answers_with_an_error_in_time(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let server = serve!(driver, node(&config));
    publishes_again(&server, "h:x");
    redis.freeze();
    let asked = Instant::now();
    let answer = server.publish("h:x", "1");
    assert_eq!(answer["error"]["code"], 100, "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert!(server.client().lives(), "a connect does not wait for Redis");
    redis.thaw();
    publishes_again(&server, "h:x");
}

/// Another Redis has nothing of what was published: whoever had a position is told so.
fn an_empty_redis_is_declared(driver: &str) {
    let mut redis = redis!();
    let config = redis.config();
    let server = serve!(driver, node(&config));
    publishes_again(&server, "h:x");
    let mut client = server.client();
    let before = client.subscribe("h:x")["subscribe"]["epoch"].clone();
    redis.replace();
    publishes_again(&server, "h:x");
    // Its subscription ends with 2500 (insufficient state), and the SDK subscribes again.
    let told = client.next_push();
    assert_eq!(told["push"]["unsubscribe"]["code"], 2500, "{told}");
    let request = json!({"channel": "h:x", "recover": true, "offset": 1, "epoch": before});
    let answer = &client.ask("subscribe", request)["subscribe"];
    assert!(answer["recovered"].is_null() || answer["recovered"] == false, "{answer}");
    assert_ne!(answer["epoch"], before);
}

impl Client {
    /// The next push that is not a publication with data 0.
    fn next_push(&mut self) -> Value {
        loop {
            match self.next() {
                crate::client::Event::Message(message) if message["push"]["pub"]["data"] == 0 => {}
                crate::client::Event::Message(message) => return message,
                other => panic!("{other:?} instead of a push"),
            }
        }
    }
}

fn what_expired_is_no_loss_to_who_listens(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let namespace = "[[namespace]]\nname = \"brief\"\nhistory_size = 10\nhistory_ttl_s = 1\n\
                     recovery = \"force\"\nallow_subscribe = \"anyone\"\n\
                     allow_publish = \"anyone\"";
    let node = || Setup { limits: namespace, ..node(&config) };
    let (one, two) = (serve!(driver, node()), serve!(driver, node()));
    publishes_again(&one, "brief:warm");
    let mut listeners = [one.client(), two.client()];
    let before =
        listeners.each_mut().map(|it| it.subscribe("brief:x")["subscribe"]["epoch"].clone());
    assert_eq!(before[0], before[1]);
    let keys = redis.ask("KEYS cc:{*brief:x").expect("it answers");
    let key = keys.lines().last().expect("it was opened");
    for data in 1..=3 {
        assert_eq!(published(&one, "brief:x", data), data, "the numbering goes on");
        for listener in &mut listeners {
            assert_eq!(listener.publication()["offset"], data);
        }
        // It is opened anew as soon as somebody reads it, which may be at once.
        let entries = format!("XLEN {key}");
        until("what was kept expires", || redis.ask(&entries) == Some(":0\r\n".into()));
    }
    // Who comes back missed nothing, and learns that.
    for (server, epoch) in [(&one, &before[0]), (&two, &before[1])] {
        let request = json!({"channel": "brief:x", "recover": true, "offset": 3, "epoch": epoch});
        let answer = &server.client().ask("subscribe", request)["subscribe"];
        assert_eq!(
            (&answer["recovered"], &answer["offset"]),
            (&json!(true), &json!(3)),
            "{answer}"
        );
    }
}

fn is_ready(server: &Server) -> bool {
    Client::get(server.addr, "/ready").is_some_and(|answer| answer.status == 200)
}

fn a_node_is_ready_while_its_redis_is(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let own = format!("{config}\nredis.ready = \"self\"");
    let (one, other) = (serve!(driver, node(&config)), serve!(driver, node(&own)));
    until("what is published comes back", || is_ready(&one));
    let healthy = |server: &Server| {
        Client::get(server.addr, "/health").is_some_and(|answer| answer.status == 200)
    };
    for _ in 0..2 {
        redis.freeze();
        let frozen = Instant::now();
        until("it is not ready", || !is_ready(&one));
        assert!(frozen.elapsed() < Duration::from_secs(4), "{:?}", frozen.elapsed());
        assert!(healthy(&one) && is_ready(&other), "which does not mind");
        redis.thaw();
        let thawed = Instant::now();
        until("it is ready again", || is_ready(&one));
        assert!(thawed.elapsed() < Duration::from_secs(2), "{:?}", thawed.elapsed());
    }
}

/// A Redis that does not let anything be heard, and then does again.
fn who_may_not_hear_is_not_ready(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let server = serve!(driver, node(&config));
    until("what is published comes back", || is_ready(&server));
    let mut client = server.client();
    assert!(client.subscribe("h:x")["error"].is_null());
    assert!(redis.ask("ACL SETUSER default resetchannels").is_some());
    until("it is not ready", || !is_ready(&server));
    assert!(redis.ask("ACL SETUSER default allchannels").is_some());
    until("it is ready again", || is_ready(&server));
    published(&server, "h:x", 1);
    assert_eq!(client.publication()["data"], 1);
}

fn what_is_sealed_is_understood_and_strangers_are_not_believed(driver: &str) {
    let Some(redis) = Redis::start_with_tls() else { return };
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    let config = |host: &str, port: u16, authority: &str| {
        let url = format!("redis.url = \"rediss://{host}:{port}\"");
        format!("engine = \"redis\"\n{url}\nredis.tls_ca_file = \"{data}/{authority}.pem\"")
    };
    let (plain, sealed) = (redis.config(), config("localhost", redis.tls_port, "authority"));
    let (one, two) = (serve!(driver, node(&plain)), serve!(driver, node(&sealed)));
    until("both are ready", || is_ready(&one) && is_ready(&two));
    let mut listener = two.client();
    assert!(listener.subscribe("h:x")["error"].is_null());
    // Larger than a record (RFC 8446 section 5.1).
    let large = format!("\"{}\"", "x".repeat(60_000));
    assert!(one.publish("h:x", &large)["error"].is_null());
    assert!(two.publish("h:x", &large)["error"].is_null());
    for offset in 1..=2 {
        let heard = listener.publication();
        assert_eq!((&heard["offset"], heard["data"].to_string()), (&json!(offset), large.clone()));
    }
    let wrong = [
        ("another authority", config("localhost", redis.tls_port, "stranger"), "UnknownIssuer"),
        ("another name", config("127.0.0.2", redis.tls_port, "authority"), "not valid for name"),
        ("no TLS", config("localhost", redis.port, "authority"), "no connection in time"),
        ("nobody", config("localhost", 1, "authority"), "refused"),
    ];
    for (why, config, says) in wrong {
        let server = serve!(driver, node(&config));
        let tried = "corecast_redis_events_total{event=\"unreachable\"}";
        until("a dial has failed", || server.metric(tried) > 0);
        assert_eq!(server.publish("h:x", "1")["error"]["code"], 100, "{why}");
        assert!(!is_ready(&server), "{why}");
        let log = server.end();
        assert!(log.contains("cannot reach Redis") && log.contains(says), "{why}: {log}");
    }
}
