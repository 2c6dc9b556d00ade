//! Upgrades: what is accepted is one that may be, and is answered as RFC 6455 has it.
#![no_main]

use corecast::http::request;
use corecast::ws::handshake::{self, Offer, Refusal};
use corecast_fuzz::choices::Choices;
use libfuzzer_sys::fuzz_target;

const SUPPORTED: [&str; 3] = ["centrifuge-json", "centrifuge-protobuf", "corecast.v1.msgpack"];

/// Lines of a good request, which the input may leave out, double or change.
const LINES: [(&str, &[u8]); 7] = [
    ("Host", b"example.org"),
    ("Upgrade", b"websocket"),
    ("Connection", b"keep-alive, Upgrade"),
    ("Sec-WebSocket-Version", b"13"),
    ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", b"other, centrifuge-protobuf"),
    ("Origin", b"https://example.org"),
];

fn judge(offer: &Offer<'_>) {
    let count = |name: &str| {
        offer.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name)).count()
    };
    let accepted = match handshake::accept(offer, &SUPPORTED) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            assert!(matches!(refusal.status(), 400 | 405 | 426));
            assert!(!refusal.reason().is_empty());
            assert_eq!(refusal == Refusal::Method, offer.method != "GET");
            return;
        }
    };
    assert!(offer.http_1_1 && !offer.has_body);
    for name in ["Host", "Sec-WebSocket-Version", "Sec-WebSocket-Key"] {
        assert_eq!(count(name), 1, "{name}");
    }
    let mut answer = Vec::new();
    handshake::write_response(&mut answer, &accepted, "now");
    let mut lines = [httparse::EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut lines);
    assert!(response.parse(&answer).expect("well-formed").is_complete());
    assert_eq!(response.code, Some(101));
    let told = response.headers.iter().find(|line| line.name == "Sec-WebSocket-Protocol");
    match (told, accepted.protocol) {
        (Some(told), Some(chosen)) => {
            assert_eq!(told.value, chosen.as_bytes());
            assert!(count("Sec-WebSocket-Protocol") > 0, "only what was offered is chosen");
        }
        (None, None) => {}
        other => panic!("{other:?}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    if choices.flag() {
        let (method, http_1_1) = (*choices.pick(&["GET", "POST", "get"]), choices.byte() < 250);
        let has_body = choices.byte() > 250;
        let mut headers = Vec::new();
        for (name, value) in LINES {
            match choices.below(8) {
                0 => {}
                1 => headers.extend([(name, value), (name, value)]),
                2 => headers.push((name, choices.bytes())),
                _ => headers.push((name, value)),
            }
        }
        judge(&Offer { method, http_1_1, has_body, headers: &headers });
    } else if let Ok(Some((head, _))) = request::parse(choices.rest(), &mut 0, 16 << 10) {
        let (method, http_1_1, has_body) = (head.method, head.http_1_1, head.has_body());
        judge(&Offer { method, http_1_1, has_body, headers: head.headers() });
    }
});
