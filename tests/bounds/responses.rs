//! Responses that are read slowly or not at all: they are bounded before the next request is
//! served, complete for every client that keeps reading, and sent before a WebSocket begins.

use crate::client::{Client, Event, FIN, PING, UPGRADE, frame};
use crate::server::{API_KEY, Server, limits, until};
use crate::{on_both_drivers, serve};
use std::io::Read;
use std::time::{Duration, Instant};

on_both_drivers!(
    unread_responses_are_bounded,
    nothing_comes_before_the_upgrade,
    a_slow_reader_gets_all_of_a_response,
    who_does_not_read_is_closed,
    a_slow_reader_gets_its_close_frame,
);

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// A client with a small receive buffer, which sends without reading.
fn narrow(server: &Server, bytes: Vec<u8>) -> Client {
    let client = Client::open(server.addr);
    rustix::net::sockopt::set_socket_recv_buffer_size(&client.stream, 128 << 10).unwrap();
    let mut sending = client.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        // It stops when the server stops reading, and ends with the stream.
        let _ = std::io::Write::write_all(&mut sending, &bytes);
    });
    client
}

/// 2,000 requests of 45 bytes are answered with 84 MB; the response under way may wait, and 4 KiB.
fn unread_responses_are_bounded(driver: &str) {
    const COUNT: usize = 2_000;
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let length = Client::get(server.addr, "/api/openapi.json").expect("it is served").body.len();
    let mut client = narrow(&server, get("/api/openapi.json").repeat(COUNT).into_bytes());
    until("something waits", || server.metric("corecast_backlog_bytes{") > 0);
    for _ in 0..20 {
        neighbour.receives();
        let held = server.metric("corecast_backlog_bytes{") as usize;
        assert!(held < 2 * length + (8 << 10), "{held} bytes wait, one response has {length}");
    }
    for number in 0..COUNT {
        let answer = client.answer().unwrap_or_else(|| panic!("no answer {number}"));
        assert_eq!((answer.status, answer.body.len()), (200, length));
    }
    drop(client);
    server.settles("backlog_bytes", 0);
    server.settles("spill_bytes", 0);
    neighbour.end();
    server.end();
}

/// 200 requests, an upgrade and a ping at once, read late: the pong must not be within HTTP.
fn nothing_comes_before_the_upgrade(driver: &str) {
    const COUNT: usize = 200;
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let bytes = [
        get("/api/openapi.json").repeat(COUNT).as_bytes(),
        UPGRADE.as_bytes(),
        &frame(FIN | PING, b"?"),
        &frame(FIN | 1, br#"{"id":1,"connect":{}}"#),
    ]
    .concat();
    let mut client = narrow(&server, bytes);
    until("something waits", || server.metric("corecast_backlog_bytes{") > 0);
    for number in 0..COUNT {
        let answer = client.answer().unwrap_or_else(|| panic!("no answer {number}"));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(client.answer().map(|answer| answer.status), Some(101));
    assert_eq!(client.next(), Event::Pong(b"?".to_vec()));
    let Event::Message(answer) = client.next() else { panic!("no answer to connect") };
    assert!(answer["connect"]["client"].is_string(), "{answer}");
    neighbour.end();
    server.end();
}

/// Time in which a client has to make progress, and the shorter one for a close that was used
/// before.
const READ_ON: Duration = Duration::from_secs(30);
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// An answer of the server API over 7 MB, and a link of 400 KB/s.
fn a_slow_reader_gets_all_of_a_response(driver: &str) {
    let server = serve!(driver, limits("recovery_bytes = 10000000"));
    let neighbour = server.neighbour();
    for _ in 0..120 {
        server.publish("h:big", &format!("\"{}\"", "x".repeat(60_000)));
    }
    let reading: Vec<_> = ["close", "keep-alive"]
        .into_iter()
        .map(|connection| {
            let body = r#"{"channel":"h:big","limit":1000}"#;
            let length = body.len();
            let request = format!(
                "POST /api/history HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nX-API-Key: \
                 {API_KEY}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let mut client = narrow(&server, request.into_bytes());
            std::thread::spawn(move || {
                let started = Instant::now();
                let mut read = 0;
                let mut bytes = vec![0; 64 << 10];
                while read < 7_200_000 {
                    let more = client.stream.read(&mut bytes).expect("it is whole");
                    let after = started.elapsed();
                    assert!(more > 0, "{connection}: cut after {read} bytes and {after:?}");
                    read += more;
                    keep_pace(started, read);
                }
                assert!(started.elapsed() > CLOSE_WAIT + Duration::from_secs(3));
            })
        })
        .collect();
    reading.into_iter().for_each(|reading| reading.join().expect("all of it is read"));
    neighbour.end();
    server.end();
}

/// The link carries 400 KB/s, so this sleeps instead of waiting for a condition.
fn keep_pace(started: Instant, read: usize) {
    let due = Duration::from_secs_f64(read as f64 / 400e3);
    std::thread::sleep(due.saturating_sub(started.elapsed()));
}

/// A response of which nothing more is read is abandoned, and counted.
fn who_does_not_read_is_closed(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let started = Instant::now();
    let client = narrow(&server, get("/api/openapi.json").repeat(200).into_bytes());
    until("something waits", || server.metric("corecast_backlog_bytes{") > 0);
    let unread = "corecast_refusals_total{worker=\"0\",cause=\"unread\"}";
    while server.metric(unread) == 0 {
        assert!(started.elapsed() < READ_ON + Duration::from_secs(10), "it is kept");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(started.elapsed() >= READ_ON - Duration::from_millis(100));
    server.settles("backlog_bytes", 0);
    drop(client);
    neighbour.end();
    let said = server.end();
    assert!(said.contains("cause=\"unread\""), "{said}");
}

/// A connection that is closed with much to send reads all of it, and the close code.
fn a_slow_reader_gets_its_close_frame(driver: &str) {
    let server = serve!(driver, limits("backlog_bytes = 16777216"));
    let neighbour = server.neighbour();
    let mut client = narrow(&server, Vec::new());
    client.send(UPGRADE.as_bytes());
    assert_eq!(client.answer().map(|answer| answer.status), Some(101));
    client.text(r#"{"id":1,"connect":{}}"#);
    assert!(matches!(client.next(), Event::Message(_)));
    assert_eq!(client.subscribe_error("n:slow"), 0);
    let data = format!("\"{}\"", "x".repeat(60_000));
    while server.metric("corecast_backlog_bytes{") < 5_000_000 {
        for _ in 0..8 {
            server.publish("n:slow", &data);
        }
    }
    // An unreadable command: closed with 3501, after everything that waits.
    client.text("{");
    let started = Instant::now();
    let mut read = 0;
    let code = loop {
        match client.next() {
            Event::Message(_) => read += data.len(),
            Event::Close(code) => break Some(code),
            Event::Pong(_) => {}
            Event::End => break None,
        }
        keep_pace(started, read);
    };
    assert_eq!(code, Some(3501), "after {read} bytes and {:?}", started.elapsed());
    assert!(started.elapsed() > CLOSE_WAIT);
    neighbour.end();
    server.end();
}
