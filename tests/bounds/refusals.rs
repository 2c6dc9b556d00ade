//! Refusals in the log: each cause once, over real sockets, as text and as JSON, with the client
//! and the reason, and without a token or a key.
//!
//! Tokens are made by hand, as in `tokens`.

use crate::client::{Client, Event, UPGRADE};
use crate::server::{API_KEY, Server, Setup, until};
use crate::tokens::{SECRET, hs256, now_s};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    every_refusal_leaves_a_line,
    a_full_server_says_so,
    a_flood_leaves_few_lines_and_a_number,
    closed_lines_say_who,
    what_a_home_refuses_names_the_command,
    a_trusted_proxy_says_who_is_refused,
    metrics_take_the_key,
    the_start_is_one_line,
    namespaces_and_calls_are_counted,
);

const CLIENT: &str = "allow_anonymous = true\ntoken_hmac_secret = \
    \"a-secret-of-the-tests-a-secret-of-the-tests\"\ntoken_audience = \"us\"\n\
    token_issuer = \"them\"";
const JSON: &str = "log.format = \"json\"";
const WRONG_KEY: &str = "a-key-that-somebody-guessed";

/// A request, and the status of its answer.
fn ask(server: &Server, request: &str) -> u16 {
    let mut client = Client::open(server.addr);
    client.send(request.as_bytes());
    client.answer().expect("an answer").status
}

/// Refuses one connect because of its token.
fn connect_with(server: &Server, token: &str) {
    let mut client = Client::upgraded(server.addr);
    client.text(&json!({"id": 1, "connect": {"token": token}}).to_string());
    match client.next() {
        Event::Close(3500) => {}
        Event::Message(answer) => assert_eq!(answer["error"]["code"], 109, "{answer}"),
        other => panic!("{other:?}"),
    }
}

/// A user connected with a token: the client, and its client id.
fn connected_as(server: &Server, user: &str) -> (Client, String) {
    let mut client = Client::upgraded(server.addr);
    let token = hs256(&json!({"sub": user, "aud": "us", "iss": "them"}), SECRET);
    client.text(&json!({"id": 1, "connect": {"token": token}}).to_string());
    let Event::Message(answer) = client.next() else { panic!("no answer to connect") };
    let id = answer["connect"]["client"].as_str().expect("a client id").to_owned();
    (client, id)
}

/// Causes every refusal once; returns the client id of the client that sent commands.
fn refuse_all(server: &Server) -> String {
    let origin = UPGRADE
        .replace(" HTTP/1.1\r\n", "?token=hidden HTTP/1.1\r\nOrigin: https://evil.example\r\n");
    assert_eq!(ask(server, &origin), 403);
    assert_eq!(ask(server, &UPGRADE.replace("Version: 13", "Version: 8")), 426);
    assert_eq!(ask(server, &format!("GET /x HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(70_000))), 431);
    assert_eq!(ask(server, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_eq!(ask(server, "GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), 400);
    assert_eq!(ask(server, "GET /health HTTP/1.1\r\nHost: x\r\nExpect: y\r\n\r\n"), 417);
    let call = |key: &str, body: &str| {
        let length = body.len();
        ask(
            server,
            &format!(
                "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nConnection: close\
                 \r\nContent-Length: {length}\r\n\r\n{body}"
            ),
        )
    };
    assert_eq!(call(WRONG_KEY, "{}"), 401);
    assert_eq!(call(API_KEY, r#"{"chanel":"n:a","data":1}"#), 200);
    assert_eq!(call(API_KEY, r#"{"channel":"typo:a","data":1}"#), 200);
    let us = json!({"sub": "al", "aud": "us", "iss": "them"});
    let with = |name: &str, value: Value| {
        let mut claims = us.clone();
        claims[name] = value;
        claims
    };
    connect_with(server, &hs256(&with("exp", json!(now_s() - 10)), SECRET));
    connect_with(server, &hs256(&us, "another secret, another secret, "));
    connect_with(server, &hs256(&with("aud", json!("others")), SECRET));
    connect_with(server, &hs256(&with("iss", json!("others")), SECRET));
    connect_with(server, &hs256(&with("exp", json!({})), SECRET));
    let rs256 = crate::tokens::signed_as(&json!({"alg": "RS256", "kid": "k-7"}), &us, SECRET);
    connect_with(server, &rs256);
    let (mut al, id) = connected_as(server, "al");
    for (method, channel, code) in
        [("subscribe", "$n:private", 103), ("publish", "h:#bo", 103), ("subscribe", "typo:a", 102)]
    {
        let answer = al.ask(method, json!({"channel": channel, "data": {}}));
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    let token = hs256(&json!({"sub": "al", "channel": "$n:x", "aud": "us", "iss": "them"}), SECRET);
    let answer = al.ask("subscribe", json!({"channel": "$n:y", "token": token}));
    assert_eq!(answer["error"]["code"], 103, "{answer}");
    id
}

/// Cause, a part of the reason, and other fields of the line.
fn expected(id: &str) -> Vec<(&'static str, &'static str, Value)> {
    let path = "/connection/websocket";
    let al = |channel: &str| json!({"user": "al", "client": id, "channel": channel});
    vec![
        ("origin", "not allowed", json!({"path": path, "origin": "https://evil.example"})),
        ("handshake", "", json!({"path": path})),
        ("head_size", "", json!({})),
        ("head", "exactly one Host expected", json!({})),
        ("head", "unknown expectation", json!({})),
        ("http", "not found", json!({"path": "/nowhere"})),
        ("api_key", "a wrong key", json!({"path": "/api/publish"})),
        (
            "api_body",
            "unknown field chanel; did you mean channel?",
            json!({"path": "/api/publish"}),
        ),
        (
            "namespace",
            "no namespace \"typo\"",
            json!({"path": "/api/publish", "channel": "typo:a"}),
        ),
        ("token", "expired: ", json!({"claimed_user": "al", "method": "connect"})),
        ("token", "signature: does not match client.token_hmac_secret", json!({})),
        ("token", "audience: ", json!({})),
        ("token", "issuer: ", json!({})),
        ("token", "claim: exp ", json!({})),
        ("token", "key: none is configured for RS256", json!({"algorithm": "RS256", "kid": "k-7"})),
        ("permission", "private channel needs a subscription token", al("$n:private")),
        ("permission", "for other users", al("h:#bo")),
        ("namespace", "no namespace \"typo\"", al("typo:a")),
        ("token", "channel: the token is for another", al("$n:y")),
    ]
}

fn every_refusal_leaves_a_line(driver: &str) {
    for top in [JSON, ""] {
        let server = serve!(driver, Setup { client: CLIENT, top, ..Setup::default() });
        let id = refuse_all(&server);
        for (cause, least) in [
            ("origin", 1),
            ("handshake", 1),
            ("head", 2),
            ("permission", 2),
            ("namespace", 2),
            ("token", 7),
        ] {
            let counted = format!("corecast_refusals_total{{worker=\"0\",cause=\"{cause}\"}}");
            assert_eq!(server.metric(&counted), least, "{cause}");
        }
        let said = server.end();
        for secret in [SECRET, WRONG_KEY, API_KEY, "hidden", "eyJ"] {
            assert!(!said.contains(secret), "{secret} is in the log:\n{said}");
        }
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("refused")).collect();
        for (cause, reason, fields) in expected(&id) {
            let found = if top == JSON {
                lines.iter().any(|line| is_json_line(line, cause, reason, &fields))
            } else {
                lines.iter().any(|line| is_text_line(line, cause, reason, &fields))
            };
            assert!(found, "no line of {cause}, {reason:?}, {fields} in\n{said}");
        }
    }
}

fn is_json_line(line: &str, cause: &str, reason: &str, fields: &Value) -> bool {
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    let has = |name: &str, value: &Value| line[name] == *value;
    has("cause", &cause.into())
        && line["reason"].as_str().is_some_and(|text| text.contains(reason))
        && has("remote", &"127.0.0.1".into())
        && has("level", &"INFO".into())
        && fields.as_object().expect("fields").iter().all(|(name, value)| has(name, value))
}

fn is_text_line(line: &str, cause: &str, reason: &str, fields: &Value) -> bool {
    let has = |name: &str, value: &str| {
        line.contains(&format!("{name}={value} "))
            || line.ends_with(&format!("{name}={value}"))
            || line.contains(&format!("{name}={value:?}"))
    };
    has("cause", cause)
        && line.contains(reason)
        && has("remote", "127.0.0.1")
        && line.contains(" INFO ")
        && fields
            .as_object()
            .expect("fields")
            .iter()
            .all(|(name, value)| has(name, value.as_str().expect("a text")))
}

/// The test is the proxy here: what it writes into the header is used if it is a trusted proxy.
fn a_trusted_proxy_says_who_is_refused(driver: &str) {
    let listed = format!("{JSON}\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]");
    let table = [(listed.as_str(), ["192.0.2.1", "192.0.2.2"]), (JSON, ["127.0.0.1"; 2])];
    for (top, remotes) in table {
        let server = serve!(driver, Setup { top, ..Setup::default() });
        // One connection of a proxy carries requests of many clients; a client has written 6.6.6.6
        // itself.
        let mut proxy = Client::open(server.addr);
        for client in ["6.6.6.6, 192.0.2.7", "192.0.2.8, 10.1.1.1"] {
            let head = "GET /health HTTP/1.1\r\nHost: x\r\nX-Forwarded-For";
            proxy.send(format!("{head}: {client}\r\n\r\n").as_bytes());
            assert_eq!(proxy.answer().expect("an answer").status, 200);
        }
        proxy.send(
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n\r\n",
        );
        assert_eq!(proxy.answer().expect("an answer").status, 404);
        // Later refusals of a client have its address too.
        let mut client = Client::open(server.addr);
        let upgrade = UPGRADE.replace("Host:", "X-Forwarded-For: 192.0.2.2\r\nHost:");
        assert_ne!(upgrade, UPGRADE);
        client.send(upgrade.as_bytes());
        assert_eq!(client.answer().expect("an answer").status, 101);
        client.text(&json!({"id": 1, "connect": {}}).to_string());
        client.next();
        assert_eq!(client.ask("subscribe", json!({"channel": "typo:a"}))["error"]["code"], 102);
        let said = server.end();
        let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let refused = lines.filter(|line| line["message"] == "refused");
        let told: Vec<(Value, Value)> =
            refused.map(|line| (line["cause"].clone(), line["remote"].clone())).collect();
        let expected = [("http", remotes[0]), ("namespace", remotes[1])];
        assert_eq!(told, expected.map(|(cause, remote)| (json!(cause), json!(remote))), "{said}");
    }
}

fn what_a_home_refuses_names_the_command(driver: &str) {
    let top = JSON;
    let limits = "channels_per_worker = 1\npresence_per_channel = 1";
    let server = serve!(driver, Setup { top, limits, ..Setup::default() });
    let (mut al, mut bo) = (server.client(), server.client());
    assert!(al.ask("subscribe", json!({"channel": "m:a"}))["subscribe"].is_object());
    let asked = [
        ("subscribe", "m:a", json!({"channel": "m:a"})),
        ("publish", "h:b", json!({"channel": "h:b", "data": 1})),
    ];
    for (method, _, body) in &asked {
        let answer = bo.ask(method, body.clone());
        assert_eq!(answer["error"]["code"], 106, "{method}: {answer}");
    }
    let said = server.end();
    for (method, channel, _) in asked {
        let fields = json!({"method": method, "channel": channel});
        let told = said.lines().any(|line| is_json_line(line, "limit", "limit exceeded", &fields));
        assert!(told, "no line of {method} {channel} in\n{said}");
    }
}

fn a_full_server_says_so(driver: &str) {
    let limits = "connections_per_worker = 1";
    let server = serve!(driver, Setup { limits, top: JSON, ..Setup::default() });
    let held = server.client();
    let full = || Client::try_connected(server.addr).is_none();
    until("a connection too many is refused", full);
    drop(held);
    let said = server.end();
    let told = |line: &str| is_json_line(line, "slots", "full", &json!({}));
    assert!(said.lines().any(told), "{said}");
}

fn a_flood_leaves_few_lines_and_a_number(driver: &str) {
    const FLOOD: u64 = 40;
    let server = serve!(driver, Setup { top: JSON, ..Setup::default() });
    for _ in 0..FLOOD {
        assert_eq!(ask(&server, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    }
    assert_eq!(ask(&server, &UPGRADE.replace("Version: 13", "Version: 8")), 426);
    let said = server.end();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |cause: &str| lines.iter().filter(|line| line["cause"] == cause).collect::<Vec<_>>();
    let (written, told): (Vec<_>, Vec<_>) =
        of("http").into_iter().partition(|line| line["left_out"].is_null());
    let left_out: u64 = told.iter().map(|line| line["left_out"].as_u64().unwrap()).sum();
    assert_eq!(written.len() as u64 + left_out, FLOOD, "{said}");
    // The lines of one window, or of two if it ended meanwhile.
    assert!(written.len() == 10 || written.len() == 20, "{said}");
    assert_eq!(of("handshake").len(), 1, "another cause has lines of its own: {said}");
}

/// On the public listener the metrics need the key.
fn metrics_take_the_key(driver: &str) {
    let internal = crate::server::free_port();
    let ask = |addr: std::net::SocketAddr, header: &str| {
        let mut client = Client::open(addr);
        client.send(format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{header}\r\n").as_bytes());
        client.answer().expect("an answer").status
    };
    let server = serve!(driver, Setup::default());
    for (header, status) in [
        ("", 401),
        ("X-API-Key: wrong\r\n", 401),
        (&format!("X-API-Key: {API_KEY}\r\n"), 200),
        (&format!("Authorization: apikey {API_KEY}\r\n"), 200),
    ] {
        assert_eq!(ask(server.addr, header), status, "{header}");
    }
    drop(server);
    let top = format!("internal_listen = \"127.0.0.1:{internal}\"");
    let server = serve!(driver, Setup { top: &top, ..Setup::default() });
    assert_eq!(ask(server.addr, ""), 404);
    assert_eq!(ask(([127, 0, 0, 1], internal).into(), ""), 200);
    drop(server);
    if let Some(server) = Server::start_dev(driver) {
        assert_eq!(ask(server.addr, ""), 200, "--dev is open");
    }
}

fn namespaces_and_calls_are_counted(driver: &str) {
    let setup = Setup { workers: 2, ..crate::server::limits("history_bytes_per_worker = 4096") };
    let server = serve!(driver, setup);
    let mut client = server.client();
    assert!(client.ask("subscribe", json!({"channel": "n:a"}))["subscribe"].is_object());
    assert!(client.ask("publish", json!({"channel": "n:a", "data": 1}))["publish"].is_object());
    let large = format!("\"{}\"", "x".repeat(1_000));
    for room in 0..20 {
        server.publish(&format!("h:{room}"), &large);
    }
    Client::post(server.addr, "/api/publish", "{}");
    let of = |name: &str, label: &str| -> u64 {
        let page = Client::metrics(server.addr);
        let begins = format!("corecast_{name}{{");
        let samples = page.lines().filter(|line| line.starts_with(&begins) && line.contains(label));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    until("the publication is delivered", || {
        of("namespace_deliveries_total", "namespace=\"n\"") == 1
    });
    assert_eq!(of("namespace_subscriptions", "namespace=\"n\""), 1);
    assert_eq!(of("namespace_publications_total", "namespace=\"n\""), 1);
    assert_eq!(of("namespace_publications_total", "namespace=\"h\""), 20);
    assert_eq!(of("api_call_seconds_count", "method=\"publish\""), 21);
    assert_eq!(of("api_call_errors_total", "method=\"publish\""), 1);
    assert_eq!(of("limit", "name=\"history_bytes_per_worker\""), 4_096);
    until("histories went for the bound", || of("history_evictions_total", "") > 5);
    let page = Client::metrics(server.addr);
    for name in ["process_open_fds", "process_max_fds", "process_start_time_seconds"] {
        let begins = format!("corecast_{name} ");
        let line = page.lines().find(|line| line.starts_with(&begins)).expect("a sample");
        assert!(line.rsplit(' ').next().unwrap().parse::<u64>().unwrap() > 5, "{line}");
    }
    drop(client);
    server.settles("subscriptions", 0);
    assert_eq!(of("namespace_subscriptions", "namespace=\"n\""), 0);
}

fn the_start_is_one_line(driver: &str) {
    let setup =
        Setup { workers: 2, top: JSON, ..crate::server::limits("connections_per_worker = 7") };
    let server = serve!(driver, setup);
    let listen = server.addr.to_string();
    let said = server.end();
    let lines = said.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    let line: Value =
        lines.into_iter().find(|it: &Value| it["message"] == "serving").expect("a line");
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "workers": 2,
        "driver": driver,
        "why": "as configured",
        "connections": 14,
        "connections_set_by": "limits.connections_per_worker",
        "listen": listen,
    });
    for (name, value) in expected.as_object().expect("fields") {
        assert_eq!(line[name], *value, "{name} of {line}");
    }
}

fn closed_lines_say_who(driver: &str) {
    let top = "log.format = \"json\"\nlog.level = \"debug\"";
    let server = serve!(driver, Setup { client: CLIENT, top, ..Setup::default() });
    let (mut al, id) = connected_as(&server, "al");
    al.text("not a command");
    assert_eq!(al.next(), Event::Close(3501));
    let said = server.end();
    let told = said.lines().any(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let has = |name: &str, value: &str| line[name] == value;
        has("message", "closed")
            && line["code"] == 3501
            && has("user", "al")
            && has("client", &id)
            && has("remote", "127.0.0.1")
    });
    assert!(told, "{said}");
}
