//! Ends: what came before a peer's FIN is answered, what came before its close frame takes effect,
//! and a server that stops says whom it cut off.

use crate::client::{CLOSE, Client, Event, FIN, TEXT, UPGRADE, frame};
use crate::server::{Server, Setup};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    commands_before_a_fin_are_answered,
    commands_before_a_close_frame_take_effect,
    a_connect_before_a_fin_is_answered,
    requests_before_a_fin_are_answered,
    a_shutdown_that_cuts_somebody_off_says_so,
    a_shutdown_waits_for_who_reads,
);

const WORKERS: [usize; 2] = [1, 4];
const ROUNDS: usize = 40;

/// Commands with ids from 10 on, each in a message of its own.
fn frames(commands: &[(&str, Value)]) -> Vec<u8> {
    let commands = (10..).zip(commands);
    let one = |(id, (method, body)): (u32, &(&str, Value))| {
        frame(FIN | TEXT, json!({"id": id, *method: body}).to_string().as_bytes())
    };
    commands.flat_map(one).collect()
}

/// Everything until the end: the ids of answers without an error, and the number of publications.
fn rest(client: &mut Client) -> (Vec<u64>, usize) {
    let (mut answered, mut heard) = (Vec::new(), 0);
    loop {
        match client.next() {
            Event::Message(message) if message["id"].is_u64() => {
                assert!(message["error"].is_null(), "{message}");
                answered.push(message["id"].as_u64().unwrap());
            }
            Event::Message(message) if message["push"]["pub"].is_object() => heard += 1,
            Event::Message(_) | Event::Pong(_) => {}
            Event::Close(_) | Event::End => return (answered, heard),
        }
    }
}

/// Commands that wait for each other, then FIN in the same packet.
fn commands_before_a_fin_are_answered(driver: &str) {
    for workers in WORKERS {
        let server = serve!(driver, Setup { workers, ..Setup::default() });
        for round in 0..ROUNDS {
            let mut client = server.client();
            let channel = format!("m:{round}");
            let about = json!({ "channel": channel });
            let publish = json!({"channel": channel, "data": {"n": round}});
            client.send(&frames(&[
                ("subscribe", about.clone()),
                ("publish", publish.clone()),
                ("history", json!({"channel": channel, "limit": 10})),
                ("publish", publish),
                ("presence", about),
            ]));
            client.half_close();
            let (answered, heard) = rest(&mut client);
            assert_eq!(answered, [10, 11, 12, 13, 14], "workers {workers}, round {round}");
            assert_eq!(heard, 2, "workers {workers}, round {round}");
        }
        // A client without further commands is gone too.
        server.client().half_close();
        server.settles("connections", 0);
        server.settles("subscriptions", 0);
        server.end();
    }
}

/// A publication that waits for its subscribe, then a close frame in the same packet, as SDKs send
/// when an application publishes and disconnects.
fn commands_before_a_close_frame_take_effect(driver: &str) {
    for workers in WORKERS {
        let server = serve!(driver, Setup { workers, ..Setup::default() });
        let mut listener = server.client();
        assert_eq!(listener.subscribe_error("m:farewells"), 0);
        for round in 0..ROUNDS {
            let mut client = server.client();
            let about = json!({"channel": "m:farewells"});
            let publish = json!({"channel": "m:farewells", "data": {"n": round}});
            let mut bytes = frames(&[("subscribe", about), ("publish", publish)]);
            bytes.extend(frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
            // What follows a close frame is nobody's.
            bytes.extend(frame(FIN | TEXT, b"no command"));
            client.send(&bytes);
            // Every other one sends its FIN as well, which then takes the place of an answer.
            let ends = round % 2 == 1;
            if ends {
                client.half_close();
            }
            let heard = loop {
                match listener.next() {
                    Event::Message(message) => break message,
                    Event::Pong(_) => {}
                    other => panic!("{other:?} instead of publication {round}"),
                }
            };
            assert_eq!(heard["push"]["pub"]["data"]["n"], round, "workers {workers}");
            let end = loop {
                match client.next() {
                    Event::Message(_) | Event::Pong(_) => {}
                    end => break end,
                }
            };
            let closed = end == Event::Close(1000) || ends && end == Event::End;
            assert!(closed, "workers {workers}, round {round}: {end:?}");
        }
        server.settles("connections", 1);
        server.settles("subscriptions", 1);
        server.end();
    }
}

/// The same after an upgrade and a connect in the same packet.
fn a_connect_before_a_fin_is_answered(driver: &str) {
    for workers in WORKERS {
        let server = serve!(driver, Setup { workers, ..Setup::default() });
        for round in 0..ROUNDS {
            let about = json!({"channel": format!("m:{round}")});
            let publish = json!({"channel": format!("m:{round}"), "data": 1});
            let commands = [("connect", json!({})), ("subscribe", about), ("publish", publish)];
            let mut client = Client::open(server.addr);
            client.send(&[UPGRADE.as_bytes(), &frames(&commands)].concat());
            client.half_close();
            assert_eq!(client.answer().map(|answer| answer.status), Some(101), "round {round}");
            let (answered, _) = rest(&mut client);
            assert_eq!(answered, [10, 11, 12], "workers {workers}, round {round}");
        }
        server.settles("connections", 0);
        server.end();
    }
}

/// More responses than may wait unread, and calls, followed by a FIN.
fn requests_before_a_fin_are_answered(driver: &str) {
    let server = serve!(driver, Setup::default());
    for request in ["GET /api/openapi.json", "GET /health"] {
        let mut client = Client::open(server.addr);
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n");
        client.send(request.repeat(20).as_bytes());
        client.half_close();
        for number in 0..20 {
            let answer = client.answer().unwrap_or_else(|| panic!("no answer {number}"));
            assert_eq!(answer.status, 200);
        }
        assert!(client.is_ended());
    }
    server.end();
}

/// Data of each publication to a late reader.
const DATA: usize = 50_000;

/// A client that subscribes and stops reading while bytes wait for it; and the number of
/// publications.
fn stalled(server: &Server) -> (Client, usize) {
    let mut client = server.client();
    assert_eq!(client.subscribe_error("n:big"), 0);
    let data = format!("\"{}\"", "x".repeat(DATA));
    let mut published = 0;
    // The kernel's buffers take megabytes first.
    while server.metric("corecast_backlog_bytes{") < 500_000 {
        for _ in 0..4 {
            server.publish("n:big", &data);
        }
        published += 4;
    }
    (client, published)
}

fn with_time_to_stop<'a>(top: &'a str, workers: usize) -> Setup<'a> {
    // Publications arrive several at a time, and the bound is not what is tested here.
    Setup { workers, top, limits: "backlog_bytes = 1073741824", ..Setup::default() }
}

fn a_shutdown_that_cuts_somebody_off_says_so(driver: &str) {
    for workers in WORKERS {
        let server = serve!(driver, with_time_to_stop("shutdown_timeout_ms = 300", workers));
        let (mut deaf, published) = stalled(&server);
        let (code, said) = server.end_with();
        assert_eq!(code, Some(1), "{said}");
        let stopped = said.lines().last().expect("it says how it ended");
        assert!(stopped.contains("clean=false connections=1 bytes="), "{stopped}");
        let bytes = stopped.split("bytes=").nth(1).expect("just seen");
        let cut: usize = bytes.split(' ').next().unwrap_or(bytes).parse().expect("a number");
        // Bytes that it was not sent are missing; all bytes of a chunk under way are counted.
        let (got, chunk) = (deaf.everything().len(), 64 << 10);
        let sent = published * DATA;
        let more = published * 100 + chunk;
        assert!((sent..sent + more).contains(&(got + cut)), "{got} and {cut} of {sent} bytes");
    }
}

fn a_shutdown_waits_for_who_reads(driver: &str) {
    let server = serve!(driver, with_time_to_stop("shutdown_timeout_ms = 600000", 1));
    let (mut late, _) = stalled(&server);
    let reading = std::thread::spawn(move || late.close_code());
    let said = server.end();
    assert!(said.lines().last().is_some_and(|line| line.contains("clean=true")), "{said}");
    assert_eq!(reading.join().expect("it reads"), Some(3001));
}
