//! Requests that are invalid before they are WebSockets: 4xx with a reason, and the connection
//! ends.

use crate::client::{Client, UPGRADE};
use crate::server::{API_KEY, Server, Setup, limits};
use crate::{on_both_drivers, serve};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

on_both_drivers!(
    malformed_upgrades,
    large_heads_and_bodies,
    a_dripping_head,
    origins,
    open_origins,
    own_pages,
    heads_as_long_as_configured,
    bodies_have_a_time_of_their_own,
    kept_connections,
    head_requests,
    transfer_codings,
    empty_lines_and_absolute_targets,
    dates,
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

/// A head has five seconds, however steadily its bytes arrive, and so does a head without any byte.
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
        assert!(started.elapsed() < Duration::from_secs(9), "the head never timed out");
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

/// The status of an upgrade by a page of this origin, with this Host.
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

/// `null` and `*` are admitted only if the list contains them.
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

/// With `--dev` the page that the server serves may connect, at whatever address it was opened.
/// Other pages may not, and a name that resolves here for a moment does not open the API without a
/// key.
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

/// A request without a body, of this length.
fn long_get(bytes: usize) -> Vec<u8> {
    let frame = "GET /health HTTP/1.1\r\nHost: x\r\nCookie: \r\n\r\n";
    let cookie = "c".repeat(bytes - frame.len());
    frame.replace("Cookie: ", &format!("Cookie: {cookie}")).into_bytes()
}

fn status_of(server: &Server, request: &[u8]) -> u16 {
    let mut client = Client::open(server.addr);
    client.send(request);
    client.answer().expect("an answer").status
}

fn heads_as_long_as_configured(driver: &str) {
    let server = serve!(driver, limits(""));
    assert_eq!(status_of(&server, &long_get(16 << 10)), 200, "as long as may be");
    answers(&server, &long_get((16 << 10) + 1), 431, "a byte more");
    server.end();
    let server = serve!(driver, limits("http_head_bytes = 2048"));
    assert_eq!(status_of(&server, &long_get(2048)), 200, "as long as may be here");
    answers(&server, &long_get(2049), 431, "a byte more");
    server.end();
}

/// A body has its own time, from the end of its head: neither the head's time nor that of an idle
/// connection applies.
fn bodies_have_a_time_of_their_own(driver: &str) {
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\nContent-Length: 29\r\n\r\n"
    );
    let (begin, rest) = (r#"{"channel":"n:a","#, r#""data":1}   "#);
    let times = "http_head_timeout_ms = 300\nhttp_body_timeout_ms = 3000\n";
    let server = serve!(driver, limits(times));
    let begun = Instant::now();
    let mut unfinished = [0, 1].map(|served| {
        let mut client = Client::open(server.addr);
        for _ in 0..served {
            client.send(format!("{head}{begin}{rest}").as_bytes());
            assert_eq!(client.answer().map(|answer| answer.status), Some(200));
        }
        client.send(format!("{head}{begin}").as_bytes());
        client
    });
    let mut slow = Client::open(server.addr);
    slow.send(format!("{head}{begin}").as_bytes());
    std::thread::sleep(Duration::from_millis(600));
    slow.send(rest.as_bytes());
    let answer = slow.answer().expect("an answer");
    assert_eq!(answer.status, 200, "longer than a head may take: {}", answer.body);
    for client in &mut unfinished {
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.status, 408, "{}", answer.body);
        let after = begun.elapsed();
        assert!(after >= Duration::from_millis(2_900), "after {after:?}");
        client.half_close();
        assert!(client.is_ended());
    }
    let refused = r#"corecast_refusals_total{worker="0",cause="body_timeout"}"#;
    assert_eq!(server.metric(refused), 2);
    server.settles("spill_bytes", 0);
    server.settles("api_bytes", 0);
    server.end();
}

fn kept_connections(driver: &str) {
    let get = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let server = serve!(driver, limits("http_keep_alive_ms = 1000"));
    let mut client = Client::open(server.addr);
    for _ in 0..3 {
        client.send(get);
        let answer = client.answer().expect("an answer");
        assert!(answer.head.contains("\r\nconnection: keep-alive\r\n"), "{}", answer.head);
    }
    // What old clients send after a body does not begin a request.
    client.send(b"\r\n");
    let started = Instant::now();
    assert!(client.answer().is_none(), "it ends without a word");
    let after = started.elapsed();
    assert!(after >= Duration::from_millis(900) && after < Duration::from_secs(9), "{after:?}");
    server.end();
    let server = serve!(driver, limits("http_keep_alive_ms = 0"));
    let head = answers(&server, get, 200, "the only request");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    server.end();
}

/// The answer to HEAD is only a head, also for errors.
fn head_requests(driver: &str) {
    let server = serve!(driver, limits(""));
    let long = format!("HEAD /{} HTTP/1.1\r\n", "a".repeat(20_000));
    for (request, status) in [
        ("HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("HEAD /api/publish HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("HEAD /connection/websocket HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("HEAD /health HTTP/1.1\r\n\r\n", "400"),
        ("\r\nHEAD /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x, chunked\r\n\r\n", "501"),
        (&long, "431"),
        ("HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"),
    ] {
        let mut client = Client::open(server.addr);
        client.send(request.as_bytes());
        client.half_close();
        let said = client.everything();
        let said = String::from_utf8(said).expect("text");
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {said}");
        let (_, body) = said.split_once("\r\n\r\n").expect("a whole head");
        assert_eq!(body, "", "{request:.60}");
        assert!(!said.contains("Content-Length: 0"), "the length that GET's answer has: {said}");
    }
    server.end();
}

fn transfer_codings(driver: &str) {
    let server = serve!(driver, limits(""));
    let post = |lines: &str| {
        format!(
            "POST /api/info HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n{lines}\r\n\r\n\
             2\r\n{{}}\r\n0\r\n\r\n"
        )
    };
    assert_eq!(status_of(&server, post("Transfer-Encoding: chunked").as_bytes()), 200);
    for (lines, status) in [
        ("Transfer-Encoding: gzip, chunked", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", 501),
        ("Transfer-Encoding: gzip", 400),
        ("Transfer-Encoding: chunked, gzip", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: gzip, chunked\r\nContent-Length: 2", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", 400),
    ] {
        answers(&server, post(lines).as_bytes(), status, lines);
    }
    server.end();
}

fn empty_lines_and_absolute_targets(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let get = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = Client::open(server.addr);
    client.send(format!("\r\n{get}\r\n{get}{get}\r\n").as_bytes());
    for _ in 0..3 {
        assert_eq!(client.answer().map(|answer| answer.status), Some(200));
    }
    client.send(get.as_bytes());
    assert_eq!(client.answer().map(|answer| answer.status), Some(200), "behind a line alone");
    answers(&server, format!("\r\n\r\n{get}").as_bytes(), 400, "two empty lines");
    answers(&server, format!("\n{get}").as_bytes(), 400, "an LF alone");

    for target in ["ws://x", "wss://x:8000", "http://x", "HTTPS://x"] {
        let target = format!("{target}/connection/websocket");
        let request = UPGRADE.replacen("/connection/websocket", &target, 1);
        assert_eq!(status_of(&server, request.as_bytes()), 101, "{target}");
    }
    let target = "http://x/health?a";
    assert_eq!(status_of(&server, get.replacen("/health", target, 1).as_bytes()), 200);
    answers(&server, get.replacen("/health", "ftp://x/health", 1).as_bytes(), 404, "ftp");
    neighbour.end();
    server.end();
}

/// Every response has a date, by the host's clock.
fn dates(driver: &str) {
    let server = serve!(driver, limits(""));
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let date = |second: u64| {
        let format = "+%a, %d %b %Y %H:%M:%S GMT";
        let mut command = Command::new("date");
        command.env("LC_ALL", "C").args(["-u", "-d", &format!("@{second}"), format]);
        let text = command.output().expect("coreutils").stdout;
        String::from_utf8(text).unwrap().trim().to_lowercase()
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for (request, status) in [
        (UPGRADE.to_owned(), 101),
        (get("/health"), 200),
        (get("/nowhere"), 404),
        (get("/connection/websocket"), 426),
        ("nonsense\r\n\r\n".into(), 400),
        ("POST /api/info HTTP/1.1\r\nHost: x\r\n\r\n".into(), 401),
    ] {
        let before = second();
        let mut client = Client::open(server.addr);
        client.send(request.as_bytes());
        let answer = client.answer().expect("an answer");
        let after = second();
        assert_eq!(answer.status, status);
        let lines: Vec<&str> =
            answer.head.lines().filter_map(|line| line.strip_prefix("date: ")).collect();
        assert_eq!(lines.len(), 1, "{}", answer.head);
        assert!((before..=after).any(|second| date(second) == lines[0]), "{}", answer.head);
    }
    server.end();
}
