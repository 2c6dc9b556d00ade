//! Bounds on kept publications: recovery answers, and the history of a worker (rule 13).

use crate::client::Client;
use crate::server::limits;
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    recovery,
    pages_of_history,
    oldest_history_goes,
    channels_without_history_in_front
);

fn data(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes))
}

fn recover(client: &mut Client, channel: &str, epoch: &str, offset: u64) -> Value {
    let since = json!({"channel": channel, "recover": true, "epoch": epoch, "offset": offset});
    let answer = client.ask("subscribe", since);
    assert!(answer["subscribe"].is_object(), "{answer}");
    answer["subscribe"].clone()
}

fn epoch_of(answer: &Value) -> String {
    answer["epoch"].as_str().expect("an epoch").to_owned()
}

fn recovery(driver: &str) {
    let server = serve!(driver, limits("recovery_bytes = 10000"));
    let neighbour = server.neighbour();
    let mut live = server.client();
    let epoch = epoch_of(&live.subscribe("h:a")["subscribe"]);
    for _ in 0..5 {
        server.publish("h:a", &data(3_000));
    }
    let mut late = server.client();
    let all = recover(&mut late, "h:a", &epoch, 0);
    assert_eq!((&all["recovered"], &all["was_recovering"]), (&Value::Null, &json!(true)), "{all}");
    assert!(all["publications"].is_null(), "never a part: {all}");
    assert_eq!(
        (&all["epoch"], &all["offset"]),
        (&json!(epoch), &json!(5)),
        "the channel's position"
    );
    let mut less = server.client();
    let rest = recover(&mut less, "h:a", &epoch, 2);
    assert_eq!(rest["recovered"], true, "{rest}");
    assert_eq!(rest["publications"].as_array().map(Vec::len), Some(3));
    let page = less.ask("history", json!({"channel": "h:a", "limit": -1}));
    let got = page["history"]["publications"].as_array().expect("a page");
    assert_eq!((got.len(), &got[0]["offset"]), (3, &json!(1)), "cut to the bound");
    server.publish("h:a", "1");
    for client in [&mut live, &mut late, &mut less] {
        while client.publication()["offset"] != 6 {}
    }
    neighbour.end();
    server.end();
}

/// Offsets of an answer's publications, and the channel's position.
fn page(answer: &Value) -> (Vec<u64>, Value) {
    let told = answer["publications"].as_array().map_or(&[][..], Vec::as_slice);
    let offsets = told.iter().map(|it| it["offset"].as_u64().expect("an offset")).collect();
    (offsets, json!({"offset": answer["offset"], "epoch": answer["epoch"]}))
}

fn pages_of_history(driver: &str) {
    const COUNT: u64 = 150;
    let server = serve!(driver, limits("recovery_bytes = 130000\nbacklog_bytes = 4000000"));
    let call = |body: Value| {
        let answer = Client::post(server.addr, "/api/history", &body.to_string());
        serde_json::from_str::<Value>(&answer.body).expect("JSON")
    };
    for _ in 0..COUNT / 2 {
        server.publish("h:a", &data(60_000));
    }
    let half = page(&call(json!({"channel": "h:a", "limit": -1}))["result"]);
    assert_eq!(half.0, (1..=COUNT / 2).collect::<Vec<_>>(), "all that is kept");
    for _ in COUNT / 2..COUNT {
        server.publish("h:a", &data(60_000));
    }
    // 9 MB do not fit into an answer of 8 MiB, and are never shortened silently.
    for body in [
        json!({"channel": "h:a", "limit": -1}),
        json!({"channel": "h:a", "limit": COUNT, "reverse": true}),
    ] {
        assert_eq!(call(body)["error"]["code"], 106);
    }
    let rest =
        json!({"channel": "h:a", "limit": -1, "since": {"offset": COUNT - 100, "epoch": ""}});
    assert_eq!(page(&call(rest)["result"]).0, (COUNT - 99..=COUNT).collect::<Vec<_>>());

    // A client's answers are shortened; by asking for further pages it reaches either end.
    let mut client = server.client();
    for reverse in [false, true] {
        let (mut read, mut since) = (Vec::<u64>::new(), Value::Null);
        loop {
            let body = json!({"channel": "h:a", "limit": -1, "since": since, "reverse": reverse});
            let (offsets, top) = page(&client.ask("history", body)["history"]);
            assert_eq!(top["offset"], COUNT);
            assert!(offsets.len() <= 2, "cut to the bound");
            let Some(last) = offsets.last() else { break };
            since = json!({"offset": last, "epoch": top["epoch"]});
            read.extend(&offsets);
            if !reverse && since == top {
                break;
            }
        }
        if reverse {
            read.reverse();
        }
        assert_eq!(read, (1..=COUNT).collect::<Vec<_>>(), "reverse: {reverse}");
    }
    server.end();

    // Publications that each exceed the bound are returned one by one.
    let server = serve!(driver, limits("recovery_bytes = 10000"));
    for _ in 0..3 {
        server.publish("h:a", &data(20_000));
    }
    let mut client = server.client();
    for offset in 0..3 {
        let since = json!({"offset": offset, "epoch": ""});
        let answer = client.ask("history", json!({"channel": "h:a", "limit": -1, "since": since}));
        assert_eq!(page(&answer["history"]).0, [offset + 1]);
    }
    server.end();
}

fn oldest_history_goes(driver: &str) {
    let server = serve!(driver, limits("history_bytes_per_worker = 100000"));
    let neighbour = server.neighbour();
    let mut live = server.client();
    let epoch = epoch_of(&live.subscribe("h:old")["subscribe"]);
    for _ in 0..3 {
        server.publish("h:old", &data(20_000));
    }
    let kept = recover(&mut server.client(), "h:old", &epoch, 0);
    assert_eq!(kept["recovered"], true);
    for _ in 0..3 {
        server.publish("h:new", &data(20_000));
    }
    crate::server::until("it is trimmed", || server.metric("corecast_history_bytes{") < 100_000);
    let old = recover(&mut server.client(), "h:old", &epoch, 0);
    assert!(old["recovered"].is_null() && old["publications"].is_null(), "{old}");
    assert_eq!((&old["epoch"], &old["offset"]), (&json!(epoch), &json!(3)), "rule 13");
    let current = recover(&mut server.client(), "h:old", &epoch, 3);
    assert_eq!(current["recovered"], true, "nothing was missed: {current}");
    let page = live.ask("history", json!({"channel": "h:new", "limit": -1}));
    assert_eq!(
        page["history"]["publications"].as_array().map(Vec::len),
        Some(3),
        "the newest stays"
    );
    server.publish("h:old", "4");
    let offsets: Vec<Value> = (0..4).map(|_| live.publication()["offset"].clone()).collect();
    assert_eq!(offsets, [1, 2, 3, 4].map(|offset| json!(offset)), "and the numbering continues");
    neighbour.end();
    server.end();
}

/// Channels without history are in the same order of expiry; they must not hide those with history.
fn channels_without_history_in_front(driver: &str) {
    let server = serve!(driver, limits("history_bytes_per_worker = 100000"));
    let neighbour = server.neighbour();
    let mut visitor = server.client();
    for number in 0..200 {
        let channel = format!("h:empty-{number}");
        assert_eq!(visitor.subscribe_error(&channel), 0);
        assert!(visitor.ask("unsubscribe", json!({"channel": channel}))["error"].is_null());
    }
    for number in 0..20 {
        server.publish(&format!("h:full-{number}"), &data(20_000));
    }
    crate::server::until("history is within its bound", || {
        server.metric("corecast_history_bytes{") <= 100_000
    });
    neighbour.end();
    server.end();
}
