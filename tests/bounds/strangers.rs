//! What clients without a session hold does not affect newcomers, health and the internal API: half
//! messages and silent connections, up to the bound and beyond.

use crate::client::{Client, Event, FIN, TEXT, UPGRADE, frame, header};
use crate::server::{API_KEY, PATIENCE, Server, Setup, free_port, limits, until};
use crate::{on_both_drivers, serve};
use std::net::SocketAddr;
use std::time::Instant;

on_both_drivers!(
    the_internal_listener_has_slots_of_its_own,
    silent_connections_make_room,
    half_messages_leave_newcomers_alone,
    half_heads_leave_sessions_alone,
    who_holds_most_unread_goes_first,
);

fn internal() -> (SocketAddr, String) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (addr, format!("internal_listen = \"{addr}\""))
}

fn serves_internally(at: SocketAddr) {
    let started = Instant::now();
    for path in ["/health", "/ready", "/metrics"] {
        let answer = Client::get(at, path).unwrap_or_else(|| panic!("{path}: no answer"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    let answer = Client::post(at, "/api/publish", r#"{"channel":"n:a","data":1}"#);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(started.elapsed() < PATIENCE / 4, "after {:?}", started.elapsed());
}

/// One slot, used by a session; and the most silent connections that the server can have.
fn the_internal_listener_has_slots_of_its_own(driver: &str) {
    let (at, top) = internal();
    let setup = Setup { top: &top, limits: "connections_per_worker = 1", ..Setup::default() };
    let server = serve!(driver, setup);
    // The connection that asked for /health may still hold its place.
    let mut session = None;
    until("the one slot", || {
        session = Client::try_connected(server.addr);
        session.is_some()
    });
    serves_internally(at);
    let silent: Vec<Client> = (0..300).map(|_| Client::open(server.addr)).collect();
    serves_internally(at);
    let half: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = Client::open(at);
            client.send(b"GET /health HTTP/1.1\r\n");
            client
        })
        .collect();
    drop((silent, half));
    until("it serves again", || Client::get(at, "/health").is_some_and(|it| it.status == 200));
    assert!(session.expect("it was taken").lives());
    server.end();
}

/// Silent connections in all slots: a client that sends something gets one, and sessions stay.
fn silent_connections_make_room(driver: &str) {
    const PLACES: usize = 8;
    let server = serve!(driver, limits("connections_per_worker = 8"));
    until("a place for the neighbour", || Client::try_connected(server.addr).is_some());
    let neighbour = server.neighbour();
    let mut silent: Vec<Client> = (0..3 * PLACES).map(|_| Client::open(server.addr)).collect();
    let mut upgraded: Vec<Client> = (0..2 * PLACES)
        .filter_map(|_| {
            let mut client = Client::open(server.addr);
            client.send(UPGRADE.as_bytes());
            (client.answer()?.status == 101).then_some(client)
        })
        .collect();
    assert_eq!(upgraded.len(), 2 * PLACES, "each found room");
    let started = Instant::now();
    let mut sessions: Vec<Client> = (1..PLACES).map(|_| server.client()).collect();
    assert!(started.elapsed() < PATIENCE / 4, "after {:?}", started.elapsed());
    assert!(sessions.iter_mut().all(Client::lives));
    assert!(silent.iter_mut().all(|client| client.answer().is_none()), "closed, the oldest first");
    assert!(upgraded.iter_mut().all(|client| client.close_code().is_none()));
    // Now all are sessions, and a further one is refused.
    let mut late = Client::open(server.addr);
    late.send(UPGRADE.as_bytes());
    assert_eq!(late.answer().map(|answer| answer.status), Some(503));
    neighbour.end();
    let said = server.end();
    assert!(said.contains("made room"), "{said}");
}

/// Half a message of this many bytes.
fn half(bytes: usize) -> Vec<u8> {
    let mut part = header(FIN | TEXT, 60_000);
    part.extend(vec![b' ' ^ 0x11; bytes]);
    part
}

/// Sessions fill the bound on their waiting bytes; heads, upgrades and the internal listener are
/// not affected.
fn half_messages_leave_newcomers_alone(driver: &str) {
    let (at, top) = internal();
    let setup = Setup { top: &top, limits: "spill_bytes_per_worker = 2097152", ..Setup::default() };
    let server = serve!(driver, setup);
    let neighbour = server.neighbour();
    let mut holding: Vec<Client> = Vec::new();
    for number in 0..60 {
        let mut client = server.client();
        client.send(&half(50_000));
        holding.push(client);
        if number % 20 == 0 {
            slowly_connected(server.addr);
            serves_internally_in_pieces(at);
        }
    }
    until("some were told 1013", || {
        let page = Client::get(at, "/metrics").expect("a page").body;
        page.lines().any(|line| line.contains("code=\"1013\"") && !line.ends_with(" 0"))
    });
    slowly_connected(server.addr);
    serves_internally_in_pieces(at);
    drop(holding);
    neighbour.end();
    let said = server.end();
    assert!(said.contains("limits.spill_bytes_per_worker"), "{said}");
}

/// Connects in pieces, so that each of them waits on the server.
fn slowly_connected(addr: SocketAddr) {
    let mut client = Client::open(addr);
    let (first, second) = UPGRADE.split_at(60);
    client.send(first.as_bytes());
    client.send(second.as_bytes());
    assert_eq!(client.answer().map(|answer| answer.status), Some(101));
    let connect = format!(r#"{{"id":1,"connect":{{}}}}{}"#, " ".repeat(20_000));
    let connect = frame(FIN | TEXT, connect.as_bytes());
    let (first, second) = connect.split_at(10_000);
    client.send(first);
    client.send(second);
    assert!(matches!(client.next(), Event::Message(_)), "connected");
    assert!(client.lives());
}

fn serves_internally_in_pieces(at: SocketAddr) {
    let body = r#"{"channel":"n:a","data":1}"#;
    let request = format!(
        "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\nContent-Length: {}\r\n\r\n\
         {body}",
        body.len()
    );
    let mut client = Client::open(at);
    for piece in request.as_bytes().chunks(40) {
        client.send(piece);
    }
    assert_eq!(client.answer().map(|answer| answer.status), Some(200));
}

/// Unfinished heads, over the bound: sessions' long messages are not affected, and the heads that
/// hold most are closed.
fn half_heads_leave_sessions_alone(driver: &str) {
    let bounds = "spill_bytes_per_worker = 65536\nmessage_bytes = 32768";
    let server: Server = serve!(driver, limits(bounds));
    let neighbour = server.neighbour();
    let mut session = server.client();
    let (first, rest) = in_two(30_000, 20_000);
    session.send(&first);
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "y".repeat(7_000));
    let mut heads: Vec<Client> = (0..40)
        .map(|_| {
            let mut client = Client::open(server.addr);
            client.send(head.as_bytes());
            client
        })
        .collect();
    until("some are gone", || {
        server.metric("corecast_refusals_total{worker=\"0\",cause=\"spill\"}") > 0
    });
    session.send(&rest);
    assert!(session.answer_to(99)["error"].is_null());
    assert_eq!(server.disconnects(1013), 0);
    assert!(heads.iter_mut().any(|client| client.answer().is_none()));
    neighbour.end();
    server.end();
}

/// A ping of this many bytes, in two parts: the first has `part` bytes.
fn in_two(bytes: usize, part: usize) -> (Vec<u8>, Vec<u8>) {
    let ping = format!("{:bytes$}", r#"{"id":99,"ping":{}}"#);
    let mut first = frame(FIN | TEXT, ping.as_bytes());
    let rest = first.split_off(part);
    (first, rest)
}

/// The connection that holds most is closed, not the one that came last.
fn who_holds_most_unread_goes_first(driver: &str) {
    let server = serve!(driver, limits("spill_bytes_per_worker = 131072"));
    let neighbour = server.neighbour();
    let mut heavy = server.client();
    heavy.send(&half(59_000));
    until("it waits", || server.metric("corecast_spill_bytes{") >= 59_000);
    let mut light: Vec<Client> = (0..12).map(|_| server.client()).collect();
    let (first, rest) = in_two(10_000, 7_000);
    light.iter_mut().for_each(|client| assert!(client.send(&first)));
    assert_eq!(heavy.close_code(), Some(1013));
    for client in &mut light {
        client.send(&rest);
        assert!(client.answer_to(99)["error"].is_null());
    }
    neighbour.end();
    server.end();
}
