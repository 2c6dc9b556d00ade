//! Invalid commands: 3501, 3502, and errors after which the connection stays usable.

use crate::client::Client;
use crate::server::{Server, Setup, limits};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    order_of_a_session,
    depth_and_grammar,
    what_is_not_available,
    names,
    ten_thousand_channels
);

fn ends(server: &Server, code: u16, message: &str) {
    let mut client = server.client();
    client.text(message);
    assert_eq!(client.close_code(), Some(code), "{}", &message[..message.len().min(80)]);
}

fn order_of_a_session(driver: &str) {
    let setup = Setup { connect_timeout_ms: 300, ..Setup::default() };
    let server = serve!(driver, setup);
    let neighbour = server.neighbour();
    let mut silent = Client::upgraded(server.addr);
    let mut dripping = Client::upgraded(server.addr);
    dripping.send(&[0x81]);
    for message in [r#"{"id":1,"subscribe":{"channel":"n:a"}}"#, r#"{"id":1,"ping":{}}"#] {
        let mut client = Client::upgraded(server.addr);
        client.text(message);
        assert_eq!(client.close_code(), Some(3501), "{message} before connect");
    }
    ends(&server, 3501, r#"{"id":2,"connect":{}}"#);
    assert_eq!(silent.close_code(), Some(3502), "no command");
    assert_eq!(dripping.close_code(), Some(3502), "half a frame");
    let mut client = server.client();
    assert!(client.lives(), "connected in time");
    neighbour.end();
    server.end();
}

/// Arrays nested this deep.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

fn depth_and_grammar(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    for message in [
        "hello".to_owned(),
        r#"{"id":2,"#.to_owned(),
        r#"[{"id":2,"ping":{}}]"#.to_owned(),
        r#"{"id":"two","ping":{}}"#.to_owned(),
        r#"{"id":2}"#.to_owned(),
        r#"{"ping":{}}"#.to_owned(),
        r#"{"id":2,"ping":{},"presence":{"channel":"n:a"}}"#.to_owned(),
        r#"{"attributes":{"set":{"a":"b"}}}"#.to_owned(),
        r#"{"id":2,"subscribe":{"channel":"n:a","delta":"of a kind"}}"#.to_owned(),
        // The command's own object is the first level.
        format!(r#"{{"id":2,"ping":{{}},"other":{}}}"#, nested(64)),
        format!(r#"{{"id":2,"ping":{{}},"other":{}}}"#, nested(10_000)),
        format!(r#"{{"id":2,"ping":{{}},"other":{}"#, "[".repeat(10_000)),
    ] {
        ends(&server, 3501, &message);
    }
    let mut client = server.client();
    client.text(&format!(r#"{{"id":2,"ping":{{}},"other":{}}}"#, nested(63)));
    assert!(client.answer_to(2)["error"].is_null(), "63 and the command's own");
    assert!(client.subscribe("n:deep")["error"].is_null());
    client.text(r#"{"id":899,"publish":{"channel":"n:deep"}}"#);
    assert_eq!(client.answer_to(899)["error"]["code"], 107, "no data");
    for (depth, code) in [(64, 0), (65, 107), (10_000, 107)] {
        let data: String = nested(depth);
        client.text(&format!(r#"{{"id":900,"publish":{{"channel":"n:deep","data":{data}}}}}"#));
        let answer = client.answer_to(900);
        assert_eq!(answer["error"]["code"].as_u64().unwrap_or(0), code, "{depth} deep: {answer}");
    }
    assert!(client.publication()["data"].is_array(), "64 levels arrive");
    neighbour.end();
    server.end();
}

/// A filter with this many nested nodes.
fn filter(nodes: usize) -> String {
    let around = r#"{"op":"not","nodes":["#.repeat(nodes - 1);
    around + r#"{"key":"a","cmp":"ex"}"# + &"]}".repeat(nodes - 1)
}

/// The code of the answer to a command, given without its id; 0 for no error.
fn code(client: &mut Client, id: u32, members: &str) -> u64 {
    client.text(&format!(r#"{{"id":{id},{members}}}"#));
    client.answer_to(id)["error"]["code"].as_u64().unwrap_or(0)
}

fn what_is_not_available(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let mut client = Client::upgraded(server.addr);
    let attributes = r#""attributes":{"set":{"a":"b"}}"#;
    for (id, first, expected) in [(1, attributes, 108), (2, r#""x":1,"attributes":{}"#, 0)] {
        assert_eq!(code(&mut client, id, &format!(r#""connect":{{}},{first}"#)), expected);
    }
    assert_eq!(code(&mut client, 3, attributes), 108, "alone");
    assert_eq!(code(&mut client, 4, &format!(r#""send":{{"data":1}},{attributes}"#)), 108);
    client.text(&format!(r#"{{"send":{{"data":1}},{attributes}}}"#));
    assert_eq!(client.subscribe_error("n:a"), 0, "a send without an id has no answer");
    let wishes = [
        (r#""users":["a"]"#, 108),
        (r#""prio":2"#, 108),
        (r#""audience":{"key":"a","cmp":"ex"}"#, 108),
        (r#""ttl_ms":5"#, 108),
        (r#""key":"k""#, 108),
        (r#""drop":true"#, 108),
        (r#""users":[],"prio":0,"audience":null,"ttl_ms":0,"key":"","drop":false"#, 0),
        (r#""flag":255,"unheard":{"of":[1]}"#, 0),
    ];
    for (id, (wish, expected)) in (100..).zip(wishes) {
        let publish = format!(r#""publish":{{"channel":"n:a","data":{id},{wish}}}"#);
        assert_eq!(code(&mut client, id, &publish), expected, "{wish}");
        if expected == 0 {
            assert_eq!(client.publication()["data"], id, "refused publications reach no client");
        }
    }
    let subscribes = [
        (r#""type":1"#.to_owned(), 108),
        (r#""type":-1"#.to_owned(), 108),
        (r#""type":0,"flag":255,"unheard":{"of":[1]}"#.to_owned(), 0),
        (format!(r#""tf":{}"#, filter(40)), 107),
        (format!(r#""tf":{}"#, filter(1_000)), 107),
    ];
    for (id, (wish, expected)) in (200..).zip(subscribes) {
        let subscribe = format!(r#""subscribe":{{"channel":"n:{id}",{wish}}}"#);
        assert_eq!(code(&mut client, id, &subscribe), expected, "{wish}");
    }
    neighbour.end();
    server.end();
}

fn names(driver: &str) {
    let server = serve!(driver, limits("channel_name_bytes = 20"));
    let neighbour = server.neighbour();
    let mut client = server.client();
    let (fits, long) = (format!("n:{}", "x".repeat(18)), format!("n:{}", "x".repeat(19)));
    assert_eq!(client.subscribe_error(&fits), 0);
    assert_eq!(client.subscribe_error(&long), 107);
    let publish = |channel: &str| json!({"channel": channel, "data": 1});
    assert_eq!(client.ask("publish", publish(&long))["error"]["code"], 107);
    assert_eq!(client.ask("publish", publish("nowhere:x"))["error"]["code"], 102);
    assert!(client.ask("publish", publish(&fits))["error"].is_null());
    assert_eq!(client.publication()["data"], 1);
    let long_by_api = server.publish(&long, "1");
    assert_eq!(long_by_api["error"]["code"], 107, "{long_by_api}");
    neighbour.end();
    server.end();
}

/// Names that an attacker would choose: they collide in the low bits of the hash with seed 0.
fn colliding(count: usize) -> Vec<String> {
    use std::hash::BuildHasher;
    let known = foldhash::quality::FixedState::with_seed(0);
    (0_u64..)
        .map(|number| format!("n:{number:x}"))
        .filter(|name| known.hash_one(name.as_str()).trailing_zeros() >= 5)
        .take(count)
        .collect()
}

fn ten_thousand_channels(driver: &str) {
    const PER_CONNECTION: usize = 100;
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let mut clients = Vec::new();
    for names in colliding(10_000).chunks(PER_CONNECTION) {
        let mut client = server.client();
        // All in one frame, as the SDKs send them at every reconnect.
        let command = |(id, name): (usize, &String)| {
            json!({"id": id + 2, "subscribe": {"channel": name}}).to_string()
        };
        client.text(&names.iter().enumerate().map(command).collect::<Vec<_>>().join("\n"));
        for id in 0..names.len() {
            let answer: Value = client.answer_to(id as u32 + 2);
            assert!(answer["error"].is_null(), "{answer}");
        }
        clients.push(client);
    }
    // One more is the neighbour's.
    server.settles("channels", 10_001);
    neighbour.receives();
    drop(clients);
    server.settles("channels", 1);
    server.settles("home_channels", 1);
    neighbour.end();
    server.end();
}
