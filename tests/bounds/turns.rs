//! What one turn of a worker does is bounded in work: whoever asks for much, of whatever kind,
//! waits for it, and a neighbour on the same worker does not.

use crate::client::{Client, Event, FIN, TEXT, frame};
use crate::server::{API_KEY, Server, Setup, limits};
use crate::{on_both_drivers, serve};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

on_both_drivers!(pipelined_requests, pongs_beyond_number, wrong_tokens);

/// What an answer may take longer than the slowest of a server that is left alone, times `SLOWER`:
/// a debug build among many tests on a few cores. What is promised is a hundredth of it, which
/// `scripts/attack` holds a release build to.
const FELT: Duration = Duration::from_millis(400);
const SLOWER: u32 = 10;
/// Time for which an attack lasts.
const LASTS: Duration = Duration::from_secs(4);

/// The slowest answer to small questions that are asked for a while.
fn slowest(client: &mut Client, lasts: Duration) -> Duration {
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    while started.elapsed() < lasts {
        let asked = Instant::now();
        assert!(client.ask("ping", json!({}))["error"].is_null());
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    slowest
}

/// Runs `attack`, whose threads end when they are told to, and asks the server for small things all
/// the while.
fn beside(server: &Server, attack: impl for<'s> FnOnce(&'s Scope<'s, '_>, &'s AtomicBool)) {
    let mut client = server.client();
    let alone = slowest(&mut client, LASTS / 8);
    let over = AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        attack(scope, over);
        // Also when an answer does not come at all: the scope waits for the attack's threads.
        let _end = End(over);
        let slowest = slowest(&mut client, LASTS);
        let felt = FELT + SLOWER * alone;
        assert!(slowest < felt, "the neighbour waited {slowest:?} for an answer, alone {alone:?}");
    });
}

/// Ends an attack when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads what comes, and does nothing with it, until the stream ends.
fn swallow(mut stream: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while stream.read(&mut bytes).is_ok_and(|length| length > 0) {}
}

fn pipelined_requests(driver: &str) {
    let server = serve!(driver, limits(""));
    let head = format!("HEAD /metrics HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\r\n");
    let requests = head.repeat(200);
    beside(&server, |scope, over| {
        for _ in 0..8 {
            let mut client = Client::open(server.addr);
            let stream = client.stream.try_clone().expect("a descriptor");
            scope.spawn(move || swallow(stream));
            let requests = requests.clone();
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) && client.send(requests.as_bytes()) {}
                let _ = client.stream.shutdown(Shutdown::Both);
            });
        }
    });
    server.end();
}

fn pongs_beyond_number(driver: &str) {
    let server = serve!(driver, limits(""));
    let mut floods: Vec<Client> = (0..500).map(|_| server.client()).collect();
    for flood in &mut floods {
        flood.stream.set_nonblocking(true).expect("a socket");
    }
    let pongs = frame(FIN | TEXT, "{}\n".repeat(10_000).as_bytes());
    beside(&server, |scope, over| {
        scope.spawn(move || {
            // Where each stands in its frame: what a socket does not take comes next time.
            let mut sent = vec![0; floods.len()];
            while !over.load(Ordering::Relaxed) {
                for (flood, sent) in floods.iter_mut().zip(&mut sent) {
                    let rest = &pongs[*sent..];
                    let taken = flood.stream.write(rest).unwrap_or(0);
                    *sent = (*sent + taken) % pongs.len();
                }
            }
        });
    });
    assert_eq!(server.disconnects(1013), 0, "who floods is slowed down, not ended");
    server.end();
}

/// Eight keys on P-384, as PEM: each takes a third of a millisecond to try.
fn slow_keys() -> String {
    let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let key = |_| {
        let private = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(curve, private.as_ref()).expect("just made");
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("it has a form");
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    };
    (0..8).map(key).collect()
}

/// A subscribe command with a token that no key has signed.
fn forged(id: u32, who: usize) -> String {
    let part = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let claims = format!(r#"{{"sub":"","channel":"n:{id}","jti":"{who}"}}"#);
    let (header, claims) = (part(br#"{"alg":"ES384"}"#), part(claims.as_bytes()));
    let token = format!("{header}.{claims}.{}", part(&[7; 96]));
    json!({"id": id, "subscribe": {"channel": format!("n:{id}"), "token": token}}).to_string()
}

fn wrong_tokens(driver: &str) {
    let keys = slow_keys();
    let client = format!("allow_anonymous = true\ntoken_ecdsa_public_key = \"\"\"{keys}\"\"\"");
    let server = serve!(driver, Setup { client: &client, ..Setup::default() });
    beside(&server, |scope, over| {
        for who in 0..64 {
            let mut flood = server.client();
            scope.spawn(move || {
                let mut id = 1;
                while !over.load(Ordering::Relaxed) {
                    let batch: Vec<String> = (0..8).map(|next| forged(id + next, who)).collect();
                    id += 8;
                    flood.text(&batch.join("\n"));
                    for _ in 0..8 {
                        let Event::Message(answer) = flood.next() else { panic!("it ended") };
                        assert_eq!(answer["error"]["code"], 103, "{answer}");
                        if over.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                }
            });
        }
    });
    server.end();
}
