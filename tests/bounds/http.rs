//! Requests that are wrong before they are WebSockets: 4xx in words, and the connection ends.

use crate::client::{Client, UPGRADE};
use crate::server::{API_KEY, Server, Setup, limits};
use crate::{on_both_drivers, serve};
use std::time::{Duration, Instant};

on_both_drivers!(
    malformed_upgrades,
    large_heads_and_bodies,
    a_dripping_head,
    origins,
    open_origins,
    own_pages,
);

fn answers(server: &Server, request: &[u8], status: u16, what: &str) -> String {
    let mut client = Client::open(server.addr);
    client.send(request);
    let answer = client.answer().unwrap_or_else(|| panic!("{what}: no answer"));
    assert_eq!(answer.status, status, "{what}: {}", answer.body);
    client.half_close();
    assert!(client.is_ended(), "{what}: the connection ends");
    answer.head
}

fn malformed_upgrades(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let changes: [(&str, &str, u16); 16] = [
        ("GET ", "POST ", 405),
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Upgrade: websocket\r\n", "", 400),
        ("Upgrade: websocket", "Upgrade: h2c", 400),
        ("Connection: Upgrade", "Connection: keep-alive", 400),
        ("Version: 13", "Version: 8", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("Host: x\r\n", "", 400),
        ("Host: x\r\n", "Host: x\r\nHost: y\r\n", 400),
        ("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("\r\n\r\n", "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("Host: x\r\n", "Host: x\r\n folded\r\n", 400),
        ("Host: x\r\n", "Host: x\n", 400),
        ("GET ", "\u{1}GET ", 400),
    ];
    for (from, to, status) in changes {
        let request = UPGRADE.replacen(from, to, 1);
        assert_ne!(request, UPGRADE);
        let head = answers(&server, request.as_bytes(), status, &request);
        assert!(status != 426 || head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
        assert!(status != 405 || head.contains("\r\nallow: get\r\n"), "{head}");
    }
    answers(&server, UPGRADE.replace("/connection/websocket", "/x").as_bytes(), 404, "elsewhere");
    neighbour.end();
    server.end();
}

fn large_heads_and_bodies(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let with = |extra: &str| UPGRADE.replacen("\r\n\r\n", &format!("\r\n{extra}\r\n"), 1);
    let lines = |count: usize| (0..count).map(|at| format!("X-{at}: y\r\n")).collect::<String>();
    let long = format!("X-Long: {}\r\n", "y".repeat(16 << 10));
    answers(&server, with(&lines(65)).as_bytes(), 431, "more lines than may be");
    answers(&server, with(&lines(20_000)).as_bytes(), 431, "20,000 lines");
    answers(&server, with(&long).as_bytes(), 431, "a long line");
    let endless = format!("GET /{}", "a".repeat(1 << 20));
    answers(&server, endless.as_bytes(), 431, "a target without end");

    let post = |framing: &str, body: &[u8]| {
        let head = format!(
            "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n{framing}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    answers(&server, &post("Content-Length: 1048577", b""), 413, "announced");
    let chunk = [&b"80000\r\n"[..], &vec![b' '; 0x80000], b"\r\n"].concat();
    let chunked = "Transfer-Encoding: chunked";
    answers(&server, &post(chunked, &chunk.repeat(3)), 413, "chunks over in sum");
    let one = post("Content-Length: 1", b"x");
    let keyless = String::from_utf8(one).unwrap().replace(API_KEY, "another");
    answers(&server, keyless.as_bytes(), 401, "without the key");
    server.settles("spill_bytes", 0);
    neighbour.end();
    server.end();
}

/// However lively the drip, a head has five seconds; a head without any byte has them too.
fn a_dripping_head(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let started = Instant::now();
    let mut silent = Client::open(server.addr);
    let mut dripping = Client::open(server.addr);
    dripping.send(b"GET / HTTP/1.1\r\nHost: x\r\n");
    dripping.stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    while dripping.stream.peek(&mut byte).is_err() {
        assert!(started.elapsed() < Duration::from_secs(9), "it drips for ever");
        dripping.send(b"X: y\r\n");
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = started.elapsed();
    assert!(after >= Duration::from_millis(4_900), "after {after:?}");
    dripping.stream.set_nonblocking(false).unwrap();
    assert_eq!(dripping.answer().expect("an answer").status, 408);
    dripping.half_close();
    assert!(dripping.is_ended());
    assert!(silent.answer().is_none_or(|answer| answer.status == 408));
    server.settles("spill_bytes", 0);
    neighbour.end();
    server.end();
}

/// The status of an upgrade by a page of this origin, which asked for this Host.
fn upgrade_from(server: &Server, origin: &str, host: &str) -> u16 {
    let lines = format!("Host: {host}\r\nOrigin: {origin}\r\n");
    let mut client = Client::open(server.addr);
    client.send(UPGRADE.replacen("Host: x\r\n", &lines, 1).as_bytes());
    client.answer().unwrap_or_else(|| panic!("{origin}: no answer")).status
}

fn origins(driver: &str) {
    let top = "allowed_origins = [\"https://app.example:443\", \"https://*.team.example\", \
               \"http://localhost:*\", \"capacitor://localhost\", \"chrome-extension://abc\"]";
    let server = serve!(driver, Setup { top, ..Setup::default() });
    let neighbour = server.neighbour();
    let from = |origin: &str| {
        UPGRADE.replacen("Host: x\r\n", &format!("Host: x\r\nOrigin: {origin}\r\n"), 1)
    };
    for origin in [
        "null",
        "",
        "*",
        "http://x",
        "https://evil.example",
        "https://app.example.evil.example",
        "https://app.example:8443",
        "http://app.example",
        "https://app.example, https://evil.example",
        "https://app.example https://evil.example",
        "https://team.example",
        "https://evilteam.example",
        "https://a.team.example.evil.example",
        "https://evil.example@a.team.example",
        "https://evil.example/.team.example",
        "https://evil.example#.team.example",
        "https://a.team.example.",
        "https://a.team.example:444",
        "https://\u{430}.team.example",
        "https://localhost",
        "http://localhost.evil.example",
        "tauri://localhost",
        "chrome-extension://abcd",
    ] {
        answers(&server, from(origin).as_bytes(), 403, origin);
    }
    for origin in [
        "https://app.example",
        "https://app.example:443",
        "https://APP.example",
        "https://a.team.example",
        "https://a.b.team.example",
        "http://localhost:5173",
        "capacitor://localhost",
        "chrome-extension://abc",
    ] {
        assert_eq!(upgrade_from(&server, origin, "x"), 101, "{origin}");
    }
    neighbour.end();
    server.end();
}

/// `null`, and everybody, are let in where the list says so in so many words.
fn open_origins(driver: &str) {
    for (listed, null, other) in [("null", 101, 403), ("*", 101, 101)] {
        let top = format!("allowed_origins = [\"{listed}\"]");
        let server = serve!(driver, Setup { top: &top, ..Setup::default() });
        assert_eq!(upgrade_from(&server, "null", "x"), null, "{listed}");
        for origin in ["https://evil.example", "nonsense", "\u{430}"] {
            assert_eq!(upgrade_from(&server, origin, "x"), other, "{listed}: {origin}");
        }
        server.end();
    }
}

/// With `--dev` the page that the server hands out may connect, at whatever address it was opened;
/// other pages may not, and a name that leads here for a moment does not open the keyless API.
fn own_pages(driver: &str) {
    let Some(server) = Server::start_dev(driver) else { return };
    for (origin, host, status) in [
        ("http://192.168.7.7:8000", "192.168.7.7:8000", 101),
        ("http://box.local", "box.local:80", 101),
        ("https://Tunnel.example", "tunnel.example", 101),
        ("http://[fe80::1]:8000", "[fe80::1]:8000", 101),
        ("http://localhost:5173", "192.168.7.7:8000", 101),
        ("http://evil.example:8000", "192.168.7.7:8000", 403),
        ("http://192.168.7.7", "192.168.7.7:8000", 403),
        ("http://192.168.7.7:8000@evil.example", "192.168.7.7:8000", 403),
        ("null", "null", 403),
    ] {
        assert_eq!(upgrade_from(&server, origin, host), status, "{origin} at {host}");
    }
    let call = "POST /api/info HTTP/1.1\r\nHost: evil.example:8000\r\n\
                Origin: http://evil.example:8000\r\nContent-Length: 2\r\n\r\n{}";
    answers(&server, call.as_bytes(), 403, "the API without a key");
    server.end();
}
