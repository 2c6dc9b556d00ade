//! The order that clients and backends rely on: commands about a channel, awaited calls, and own
//! publications (rules 32 to 34), with one worker and with four.

use crate::client::{Client, Event};
use crate::server::{Server, Setup};
use crate::tokens::{SECRET, hs256, now_s};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    commands_of_one_message_take_turns,
    commands_about_other_channels_do_not_wait,
    own_publications_come_before_answers,
    awaited_calls_have_taken_effect,
    farewells_are_heard,
);

const WORKERS: [usize; 2] = [1, 4];
const ROUNDS: usize = 40;

fn with_workers(workers: usize) -> Setup<'static> {
    Setup { workers, ..Setup::default() }
}

/// Commands of one message, with ids from 10 on.
fn message(commands: &[(&str, Value)]) -> String {
    let line =
        |(id, (method, body)): (u32, &(&str, Value))| json!({"id": id, *method: body}).to_string();
    (10..).zip(commands).map(line).collect::<Vec<_>>().join("\n")
}

/// The next answer, and the pushes before it.
fn answer(client: &mut Client) -> (Value, Vec<Value>) {
    let mut pushes = Vec::new();
    loop {
        match client.next() {
            Event::Message(message) if message["id"].is_u64() => return (message, pushes),
            Event::Message(message) => pushes.push(message["push"].clone()),
            end => panic!("{end:?} instead of an answer"),
        }
    }
}

fn commands_of_one_message_take_turns(driver: &str) {
    for workers in WORKERS {
        let server = serve!(driver, with_workers(workers));
        for round in 0..ROUNDS {
            let mut client = server.client();
            let channel = format!("m:{round}");
            let about = json!({ "channel": channel });
            let publish = json!({"channel": channel, "data": {"n": round}});
            client.text(&message(&[
                ("publish", publish.clone()),
                ("subscribe", about.clone()),
                ("publish", publish.clone()),
                ("presence", about.clone()),
                ("history", json!({"channel": channel, "limit": 10})),
                ("presence_stats", about.clone()),
                ("unsubscribe", about.clone()),
                ("publish", publish.clone()),
                ("history", about.clone()),
                ("subscribe", about.clone()),
                ("publish", publish),
            ]));
            let codes = [103, 0, 0, 0, 0, 0, 0, 103, 103, 0, 0];
            for (id, code) in (10..).zip(codes) {
                let (answer, _) = answer(&mut client);
                assert_eq!(answer["id"], id, "workers {workers}, round {round}: {answer}");
                let told = answer["error"]["code"].as_u64().unwrap_or(0);
                assert_eq!(told, code, "workers {workers}, round {round}: {answer}");
                match id {
                    13 => assert_eq!(answer["presence"]["presence"].as_object().unwrap().len(), 1),
                    14 => {
                        let kept = answer["history"]["publications"].as_array().unwrap();
                        assert_eq!(kept.len(), 1, "{answer}");
                    }
                    15 => assert_eq!(answer["presence_stats"]["num_clients"], 1),
                    _ => {}
                }
            }
        }
        server.end();
    }
}

fn commands_about_other_channels_do_not_wait(driver: &str) {
    let server = serve!(driver, with_workers(4));
    for round in 0..ROUNDS {
        let mut client = server.client();
        let (one, other) = (format!("m:one-{round}"), format!("n:other-{round}"));
        client.text(&message(&[
            ("subscribe", json!({ "channel": one })),
            ("publish", json!({"channel": one, "data": 1})),
            ("publish", json!({"channel": other, "data": 1})),
            ("rpc", json!({"method": "nothing", "data": 1})),
        ]));
        let mut ids = Vec::new();
        for _ in 0..4 {
            let (answer, _) = answer(&mut client);
            assert!(answer["id"] == 13 || answer["error"].is_null(), "{answer}");
            ids.push(answer["id"].as_u64().unwrap());
        }
        // The rpc needs no home, so nothing may delay it.
        assert_eq!(ids[0], 13, "{ids:?}");
        let place = |id| ids.iter().position(|it| *it == id).unwrap();
        assert!(place(10) < place(11), "{ids:?}");
    }
    server.end();
}

fn own_publications_come_before_answers(driver: &str) {
    for workers in WORKERS {
        let server = serve!(driver, with_workers(workers));
        for round in 0..ROUNDS {
            let mut client = server.client();
            let channel = format!("m:own-{round}");
            assert!(client.subscribe(&channel)["error"].is_null());
            client.tell("publish", json!({"channel": channel, "data": {"n": round}}));
            let (told, pushes) = answer(&mut client);
            assert!(told["error"].is_null(), "{told}");
            let heard: Vec<&Value> = pushes.iter().map(|push| &push["pub"]["data"]["n"]).collect();
            assert_eq!(heard, [&json!(round)], "workers {workers}: heard before the answer");
        }
        server.end();
    }
}

fn call(server: &Server, method: &str, body: &Value) -> Value {
    let answer = Client::post(server.addr, &format!("/api/{method}"), &body.to_string());
    assert_eq!(answer.status, 200, "{method}: {}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert!(answer["error"].is_null(), "{method}: {answer}");
    answer["result"].clone()
}

/// A server with users, and a client of one of them.
fn with_user(driver: &str, workers: usize) -> Option<Server> {
    let client = format!("token_hmac_secret = \"{SECRET}\"");
    Server::start(driver, Setup { workers, client: &client, ..Setup::default() })
}

fn user(server: &Server, name: &str) -> Client {
    let mut client = Client::upgraded(server.addr);
    let token = hs256(&json!({"sub": name, "exp": now_s() + 600}), SECRET);
    client.text(&json!({"id": 1, "connect": {"token": token}}).to_string());
    let (answer, _) = answer(&mut client);
    assert!(answer["connect"]["client"].is_string(), "{answer}");
    client
}

/// The pushes up to the answer of a ping, abbreviated.
fn heard(client: &mut Client, ping: u32) -> Vec<String> {
    client.text(&json!({"id": ping, "ping": {}}).to_string());
    let (answer, pushes) = answer(client);
    assert_eq!(answer["id"], ping);
    let short = |push: &Value| {
        let push = push.as_object().expect("a push");
        let (kind, what) = push.iter().find(|(name, _)| *name != "channel").expect("a kind");
        match kind.as_str() {
            "pub" => what["data"].as_str().unwrap_or("?").to_owned(),
            kind => kind.to_owned(),
        }
    };
    pushes.iter().map(short).collect()
}

fn awaited_calls_have_taken_effect(driver: &str) {
    for workers in WORKERS {
        let Some(server) = with_user(driver, workers) else { return };
        for round in 0..ROUNDS {
            let name = format!("alice-{round}");
            let mut clients = [user(&server, &name), user(&server, &name)];
            let channel = format!("p:{round}");
            let whom = json!({"user": name, "channel": channel});
            let about = json!({ "channel": channel });
            let say = |what: &str| {
                call(&server, "publish", &json!({"channel": channel, "data": what}));
            };
            call(&server, "subscribe", &whom);
            let stats = call(&server, "presence_stats", &about);
            assert_eq!(stats["num_clients"], 2, "workers {workers}, round {round}");
            say("in");
            call(&server, "unsubscribe", &whom);
            let stats = call(&server, "presence_stats", &about);
            assert_eq!(stats["num_clients"], 0, "workers {workers}, round {round}");
            say("out");
            for client in &mut clients {
                let told = heard(client, 77);
                assert_eq!(told, ["subscribe", "in", "unsubscribe"], "workers {workers}");
            }
            call(&server, "disconnect", &json!({ "user": name }));
            for client in &mut clients {
                assert_eq!(client.close_code(), Some(3503));
            }
        }
        server.end();
    }
}

fn farewells_are_heard(driver: &str) {
    for workers in WORKERS {
        let Some(server) = with_user(driver, workers) else { return };
        for round in 0..ROUNDS {
            let name = format!("bob-{round}");
            let mut client = user(&server, &name);
            let channel = format!("p:{round}");
            let commands = json!({"commands": [
                {"subscribe": {"user": name, "channel": channel}},
                {"publish": {"channel": channel, "data": "hello"}},
                {"presence_stats": {"channel": channel}},
                {"publish": {"channel": channel, "data": "farewell"}},
                {"disconnect": {"user": name}},
            ]});
            let answer = Client::post(server.addr, "/api/batch", &commands.to_string());
            let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
            let stats = &answer["replies"][2]["presence_stats"];
            assert_eq!(stats["num_clients"], 1, "workers {workers}, round {round}: {answer}");
            let mut told = Vec::new();
            loop {
                match client.next() {
                    Event::Message(message) => {
                        told.extend(message["push"]["pub"]["data"].as_str().map(str::to_owned));
                    }
                    Event::Close(code) => {
                        assert_eq!(code, 3503);
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(told, ["hello", "farewell"], "workers {workers}, round {round}");
        }
        server.end();
    }
}
