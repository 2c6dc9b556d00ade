//! Shared tables have shares: when one client fills a table the others are still served, and what
//! is kept of clients that have left is small and counted.

use crate::client::Client;
use crate::server::{Setup, limits, until};
use crate::tokens::{SECRET, hs256, now_s};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    names_that_were_left,
    new_channels_of_one_connection,
    new_channels_of_one_user,
    histories_make_room,
    numbering_outlives_history,
    filters_are_counted,
    keys_of_the_server_api_stay,
    who_fills_the_history_loses_his_own,
    leaving_is_linear,
);

/// Bytes that the server may keep for a channel without subscribers.
const KEPT_BYTES: u64 = 64;
/// Other growth of a server: buffers, and memory that its allocator keeps.
const BESIDES_BYTES: u64 = 3 << 20;

/// Subscribes to names and leaves them again.
fn visit(client: &mut Client, names: std::ops::Range<u32>) {
    let first = names.start;
    in_lots(client, 2 * (names.end - names.start), |at| {
        let channel = json!({"channel": format!("h:a-name-like-any-other-{}", first + at / 2)});
        if at % 2 == 0 { json!({"subscribe": channel}) } else { json!({"unsubscribe": channel}) }
    });
}

fn names_that_were_left(driver: &str) {
    const NAMES: u32 = 30_000;
    let setup = "new_channels_per_s = 0\nchannels_per_worker = 1000";
    let server = serve!(driver, limits(setup));
    let neighbour = server.neighbour();
    let mut client = server.client();
    visit(&mut client, 0..3_000);
    let before = server.rss();
    visit(&mut client, 3_000..3_000 + NAMES);
    let grown = server.rss().saturating_sub(before);
    let bound = KEPT_BYTES * u64::from(NAMES) + BESIDES_BYTES;
    assert!(grown <= bound, "{grown} bytes for {NAMES} names, bound {bound}");
    server.settles("home_channels", 1);
    server.settles("numberings", u64::from(NAMES) + 3_000);
    assert_eq!(server.client().subscribe_error("h:of-somebody-else"), 0);
    neighbour.end();
    server.end();
}

/// The code of the answer to subscribing to a name, and leaving it again.
fn visited(client: &mut Client, channel: &str) -> u64 {
    let code = client.subscribe_error(channel);
    if code == 0 {
        assert!(client.ask("unsubscribe", json!({"channel": channel}))["error"].is_null());
    }
    code
}

fn new_channels_of_one_connection(driver: &str) {
    const LATER: u64 = 111;
    let rates = "channels_per_connection = 4\nnew_channels_per_s = 1\nnew_channels_burst = 20";
    for workers in [1, 4] {
        let server = serve!(driver, Setup { workers, ..limits(rates) });
        let neighbour = server.neighbour();
        let mut greedy = server.client();
        let names: Vec<String> = (0..200).map(|number| format!("n:{number}")).collect();
        let codes: Vec<u64> = names.iter().map(|name| visited(&mut greedy, name)).collect();
        let had = codes.iter().filter(|code| **code == 0).count();
        // A burst at each home, and what was refilled meanwhile.
        assert!((20..120).contains(&had), "{had} of 200: {codes:?}");
        assert!(codes.iter().all(|code| [0, LATER].contains(code)), "{codes:?}");
        let said = |it: &Value| it["error"]["code"].as_u64().unwrap_or(0);
        let asked = |greedy: &mut Client, method: &str| {
            let of = |number| json!({"channel": format!("h:{method}-{number}"), "data": 1});
            let codes = (0..100).map(|number| said(&greedy.ask(method, of(number))));
            codes.collect::<Vec<u64>>()
        };
        for method in ["publish", "history"] {
            let codes = asked(&mut greedy, method);
            assert!(codes.contains(&LATER), "{method}: {codes:?}");
        }
        // Others are not refused, and neither is this client in an existing channel.
        let mut other = server.client();
        assert_eq!(other.subscribe_error("n:new"), 0);
        assert_eq!(greedy.subscribe_error("n:new"), 0);
        assert!(server.metric("corecast_channels_refused_total{") > 100);
        until("it may again", || visited(&mut greedy, "n:again") == 0);
        neighbour.end();
        server.end();
    }
}

fn new_channels_of_one_user(driver: &str) {
    let client = format!("allow_anonymous = true\ntoken_hmac_secret = \"{SECRET}\"");
    let rates = "channels_per_connection = 4\nnew_channels_burst = 1000\n\
                 new_channels_per_user_per_s = 1\nnew_channels_per_user_burst = 30";
    let server = serve!(driver, Setup { client: &client, ..limits(rates) });
    let connect = |user: &str| {
        let token = hs256(&json!({"sub": user, "exp": now_s() + 600}), SECRET);
        let mut client = Client::upgraded(server.addr);
        assert!(client.ask("connect", json!({"token": token}))["error"].is_null());
        client
    };
    let mut had = 0;
    for number in 0..5 {
        let mut client = connect("alice");
        for name in 0..20 {
            had += u32::from(visited(&mut client, &format!("n:{number}-{name}")) == 0);
        }
    }
    assert!((30..60).contains(&had), "{had} of 100");
    let mut bob = connect("bob");
    assert_eq!(visited(&mut bob, "n:of-bob"), 0);
    server.end();
}

/// Publications in many names fill a table; new ones take the place of the oldest.
fn histories_make_room(driver: &str) {
    let server = serve!(driver, limits("channels_per_worker = 50"));
    let neighbour = server.neighbour();
    let mut heard = server.client();
    assert_eq!(heard.subscribe_error("h:heard"), 0);
    for number in 0..200 {
        assert!(server.publish(&format!("h:{number}"), "1")["error"].is_null());
    }
    server.settles("home_channels", 50);
    let mut client = server.client();
    for number in 0..10 {
        assert_eq!(client.subscribe_error(&format!("n:{number}")), 0);
    }
    server.settles("home_channels", 50);
    assert!(server.metric("corecast_history_evictions_total{") >= 150);
    server.publish("h:heard", "7");
    assert_eq!(heard.publication()["data"], 7);
    // The last of the others is still there.
    let page = client.ask("history", json!({"channel": "h:199", "limit": -1}));
    assert_eq!(page["history"]["publications"].as_array().map(Vec::len), Some(1), "{page}");
    neighbour.end();
    server.end();
}

/// History has expired, and the only subscriber is away: a client that missed nothing recovers.
fn numbering_outlives_history(driver: &str) {
    let namespace = "[[namespace]]\nname = \"s\"\nhistory_size = 10\nhistory_ttl_s = 1\n\
                     recovery = \"force\"\nallow_subscribe = \"anyone\"\n\
                     allow_publish = \"anyone\"\nallow_history = \"anyone\"";
    for workers in [1, 4] {
        let server = serve!(driver, Setup { workers, ..limits(namespace) });
        let mut client = server.client();
        let first = client.subscribe("s:a")["subscribe"].clone();
        for data in ["1", "2"] {
            server.publish("s:a", data);
            client.publication();
        }
        // And one in which nothing was ever published.
        let silent = client.subscribe("s:silent")["subscribe"].clone();
        drop(client);
        server.settles("history_bytes", 0);
        server.settles("home_channels", 0);
        server.settles("numberings", 2);
        let mut back = server.client();
        let mut recovered = |channel: &str, epoch: &Value, offset: u64| {
            let since =
                json!({"channel": channel, "recover": true, "epoch": epoch, "offset": offset});
            let answer = back.ask("subscribe", since)["subscribe"].clone();
            assert_eq!((&answer["epoch"], &answer["was_recovering"]), (epoch, &json!(true)));
            back.ask("unsubscribe", json!({"channel": channel}));
            answer["recovered"] == true
        };
        assert!(recovered("s:a", &first["epoch"], 2), "it missed nothing");
        assert!(!recovered("s:a", &first["epoch"], 1), "it missed one");
        assert!(recovered("s:silent", &silent["epoch"], 0), "it missed nothing");
        let since = json!({"epoch": first["epoch"], "offset": 2});
        let page = back.ask("history", json!({"channel": "s:a", "limit": 5, "since": since}));
        assert_eq!(
            (&page["history"]["epoch"], &page["history"]["offset"]),
            (&first["epoch"], &json!(2))
        );
        server.publish("s:a", "3");
        let page = back.ask("history", json!({"channel": "s:a", "limit": 5, "since": since}));
        assert_eq!(page["history"]["offset"], 3, "the numbering goes on: {page}");
        server.end();
    }
}

/// Filters with many values: their memory is counted, for the connection and for the worker.
fn filters_are_counted(driver: &str) {
    const OVER: u64 = 106;
    let namespace = "filter_bytes_per_connection = 40000\nfilter_bytes_per_worker = 1000000\n\
                     [[namespace]]\nname = \"tagged\"\nallow_tags_filter = true\n\
                     allow_subscribe = \"anyone\"\nallow_publish = \"anyone\"";
    let server = serve!(driver, limits(namespace));
    let neighbour = server.neighbour();
    let mut number = 0;
    let mut subscribe = |client: &mut Client, values: usize| {
        number += 1;
        let values: Vec<String> = (0..values).map(|at| format!("{number}-{at}")).collect();
        let tf = json!({"key": "k", "cmp": "in", "vals": values});
        let asked = json!({"channel": format!("tagged:{number}"), "tf": tf});
        client.ask("subscribe", asked)["error"]["code"].as_u64().unwrap_or(0)
    };
    let mut greedy: Vec<Client> = (0..200).map(|_| server.client()).collect();
    let mut had = Vec::new();
    for client in &mut greedy {
        let codes: Vec<u64> = (0..6).map(|_| subscribe(client, 100)).collect();
        assert!(codes.iter().all(|code| [0, OVER].contains(code)), "{codes:?}");
        had.push(codes.iter().filter(|code| **code == 0).count());
    }
    assert!((1..6).contains(&had[0]), "a connection has its bound: {had:?}");
    assert!(server.metric("corecast_filter_bytes{") <= 1_000_000);
    assert_eq!(*had.last().unwrap(), 0, "there is no room for large filters: {had:?}");
    let mut modest = server.client();
    assert_eq!(subscribe(&mut modest, 2), 0, "but for small ones there is");
    drop(greedy);
    until("they are gone", || server.metric("corecast_filter_bytes{") < 1_000);
    assert_eq!(subscribe(&mut server.client(), 100), 0);
    neighbour.end();
    server.end();
}

/// A client that publishes with many keys forgets its own, not those of the server API.
fn keys_of_the_server_api_stay(driver: &str) {
    let server = serve!(driver, limits("idempotency_keys_per_worker = 20"));
    let neighbour = server.neighbour();
    let order = || {
        let body = r#"{"channel":"h:orders","data":1,"idempotency_key":"order-1"}"#;
        let answer = Client::post(server.addr, "/api/publish", body).body;
        serde_json::from_str::<Value>(&answer).expect("JSON")["result"]["offset"].clone()
    };
    assert_eq!(order(), 1);
    let mut greedy = server.client();
    in_lots(
        &mut greedy,
        500,
        |at| json!({"publish": {"channel": "h:own", "data": at, "idempotency_key": at.to_string()}}),
    );
    assert_eq!(order(), 1, "it was carried out before");
    let page = greedy.ask("history", json!({"channel": "h:orders", "limit": -1}));
    assert_eq!(page["history"]["publications"].as_array().map(Vec::len), Some(1), "{page}");
    neighbour.end();
    server.end();
}

/// If a client publishes much, the bound drops its own history, not that of a quiet channel.
fn who_fills_the_history_loses_his_own(driver: &str) {
    let server = serve!(driver, limits("history_bytes_per_worker = 200000"));
    let neighbour = server.neighbour();
    let mut quiet = server.client();
    let epoch = quiet.subscribe("h:quiet")["subscribe"]["epoch"].clone();
    drop(quiet);
    server.publish("h:quiet", "1");
    let mut greedy = server.client();
    let text = "x".repeat(4_000);
    for at in 0..300 {
        let channel = format!("h:own-{}", at % 3);
        let answer = greedy.ask("publish", json!({"channel": channel, "data": text}));
        assert!(answer["error"].is_null(), "{answer}");
    }
    until("history is within its bound", || server.metric("corecast_history_bytes{") <= 200_000);
    assert!(server.metric("corecast_history_evictions_total{") > 0);
    let since = json!({"channel": "h:quiet", "recover": true, "epoch": epoch, "offset": 0});
    let back = server.client().ask("subscribe", since)["subscribe"].clone();
    assert_eq!(back["recovered"], true, "{back}");
    assert_eq!(back["publications"][0]["data"], 1, "{back}");
    neighbour.end();
    server.end();
}

/// Leaving many subscriptions takes time in proportion to their number.
fn leaving_is_linear(driver: &str) {
    let server = serve!(driver, limits("channels_per_connection = 40000"));
    let begin = |count: u32| {
        let mut client = server.client();
        let name = |at| format!("n:of-{count}-{at}");
        in_lots(&mut client, count, |at| json!({"subscribe": {"channel": name(at)}}));
        server.settles("channels", u64::from(count));
        client
    };
    let rest = |before: std::time::Duration| {
        server.settles("channels", 0);
        server.settles("home_channels", 0);
        server.cpu() - before
    };
    // Either the connection is gone, or the client leaves one by one, in order.
    let gone = |count: u32| {
        let client = begin(count);
        let before = server.cpu();
        drop(client);
        rest(before)
    };
    let one_by_one = |count: u32| {
        let mut client = begin(count);
        let before = server.cpu();
        let name = |at| format!("n:of-{count}-{at}");
        in_lots(&mut client, count, |at| json!({"unsubscribe": {"channel": name(at)}}));
        rest(before)
    };
    for (way, leave) in [("gone", &gone as &dyn Fn(u32) -> _), ("one by one", &one_by_one)] {
        let (few, many) = (leave(2_000), leave(32_000));
        // Sixteen times as many; a linear search for each would take 256 times as long.
        assert!(
            many < 48 * few.max(std::time::Duration::from_millis(4)),
            "{way}: {few:?}, {many:?}"
        );
    }
    server.end();
}

/// Sends a command for each number, many in a message, and awaits the answers.
fn in_lots(client: &mut Client, count: u32, command: impl Fn(u32) -> Value) {
    for first in (0..count).step_by(100) {
        let numbers = first..count.min(first + 100);
        let line = |at: u32| {
            let mut command = command(at);
            command["id"] = json!(at + 10);
            command.to_string()
        };
        client.text(&numbers.clone().map(line).collect::<Vec<_>>().join("\n"));
        for at in numbers {
            let answer = client.answer_to(at + 10);
            assert!(answer["error"].is_null(), "{answer}");
        }
    }
}
