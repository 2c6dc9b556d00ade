//! The work of a worker's turn is bounded: a client that asks for much, of any kind, waits for it,
//! and a neighbour on the same worker does not.

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
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};

on_both_drivers!(
    pipelined_requests,
    pongs_beyond_number,
    wrong_tokens,
    presence_of_many,
    filters_of_many_comparisons,
    deltas_of_made_up_texts
);

/// CPU time that the server may spend between a small request and its answer, in a debug build. It
/// measures the work for others, however busy the machine is. The promise is a hundredth of this,
/// which `scripts/attack` checks with a release build.
const FELT: Duration = Duration::from_millis(400);
/// Duration of an attack.
const LASTS: Duration = Duration::from_secs(4);

/// The CPU time that the server spent before it answered nine of ten small requests. The tenth may
/// have been answered early: while this thread waits for a CPU, the server continues with other
/// work.
fn cpu_before_answer_p90(server: &Server, client: &mut Client, lasts: Duration) -> Duration {
    let started = Instant::now();
    let mut spent = Vec::new();
    while started.elapsed() < lasts {
        let before = server.cpu();
        assert!(client.ask("ping", json!({}))["error"].is_null());
        spent.push(server.cpu().saturating_sub(before));
        std::thread::sleep(Duration::from_millis(2));
    }
    spent.sort_unstable();
    spent[(spent.len() - 1) * 9 / 10]
}

/// One attack at a time, because each uses all of a machine with few cores.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `attack`, whose threads end when the flag is set, and sends the server small requests all
/// the time.
fn beside(server: &Server, attack: impl for<'s> FnOnce(&'s Scope<'s, '_>, &'s AtomicBool)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut client = server.client();
    let over = AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        attack(scope, over);
        // Also if an answer does not arrive, because the scope waits for the attack's threads.
        let _end = End(over);
        let spent = cpu_before_answer_p90(server, &mut client, LASTS);
        assert!(spent < FELT, "{spent:?} of work before the neighbour's answer");
    });
}

/// Ends an attack when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn pipelined_requests(driver: &str) {
    let server = serve!(driver, limits(""));
    let head = format!("HEAD /metrics HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n\r\n");
    let requests = head.repeat(200);
    let mut floods: Vec<TcpStream> = (0..200).map(|_| Client::open(server.addr).stream).collect();
    for flood in &mut floods {
        flood.set_nonblocking(true).expect("a socket");
    }
    beside(&server, |scope, over| {
        scope.spawn(move || {
            let mut sent = vec![0; floods.len()];
            let mut answers = vec![0; 64 << 10];
            while !over.load(Ordering::Relaxed) {
                for (flood, sent) in floods.iter_mut().zip(&mut sent) {
                    let taken = flood.write(&requests.as_bytes()[*sent..]).unwrap_or(0);
                    *sent = (*sent + taken) % requests.len();
                    while flood.read(&mut answers).is_ok_and(|length| length > 0) {}
                }
            }
        });
    });
    server.end();
}

fn pongs_beyond_number(driver: &str) {
    let server = serve!(driver, limits(""));
    let mut floods: Vec<Client> = (0..300).map(|_| server.client()).collect();
    for flood in &mut floods {
        flood.stream.set_nonblocking(true).expect("a socket");
    }
    let pongs = frame(FIN | TEXT, "{}\n".repeat(10_000).as_bytes());
    beside(&server, |scope, over| {
        scope.spawn(move || {
            // The position of each in its frame: bytes that a socket does not take are sent next
            // time.
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
    assert_eq!(server.disconnects(1013), 0, "a flooding client is slowed down, not closed");
    server.end();
}

/// Eight P-384 keys, as PEM: each takes a third of a millisecond to try.
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

/// A subscribe command with a token that is not signed by any key.
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

/// Sends commands in one message, and reads all their answers.
fn ask_all(client: &mut Client, commands: impl Iterator<Item = serde_json::Value>) {
    let commands: Vec<String> = commands.map(|command| command.to_string()).collect();
    client.text(&commands.join("\n"));
    let mut answers = 0;
    while answers < commands.len() {
        let Event::Message(answer) = client.next() else { panic!("it ended") };
        assert!(answer["error"].is_null(), "{answer}");
        answers += usize::from(answer["id"].is_number());
    }
}

fn presence_of_many(driver: &str) {
    let server = serve!(driver, limits(""));
    let channels = || (0..16).map(|number| (number + 2, format!("p:{number}")));
    let members: Vec<Client> = (0..200)
        .map(|_| {
            let mut member = server.client();
            let subscribe = |(id, channel)| json!({"id": id, "subscribe": {"channel": channel}});
            ask_all(&mut member, channels().map(subscribe));
            member
        })
        .collect();
    beside(&server, |scope, over| {
        for _ in 0..20 {
            let mut asker = server.client();
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let ask = |(id, channel)| json!({"id": id, "presence": {"channel": channel}});
                    ask_all(&mut asker, channels().map(ask));
                }
            });
        }
    });
    drop(members);
    server.end();
}

fn filters_of_many_comparisons(driver: &str) {
    let server = serve!(driver, limits(""));
    let subscribers: Vec<Client> = (0..100)
        .map(|who| {
            let mut subscriber = server.client();
            let test =
                |key: usize| json!({"key": format!("k{key}"), "cmp": "eq", "val": who.to_string()});
            let tests: Vec<_> = (0..255).map(test).collect();
            let asked = json!({"channel": "f:a", "tf": {"op": "or", "nodes": tests}});
            let answer = subscriber.ask("subscribe", asked);
            assert!(answer["error"].is_null(), "{answer}");
            subscriber
        })
        .collect();
    let tags: serde_json::Map<_, _> =
        (0..64).map(|key| (format!("other{key}"), json!("value"))).collect();
    let command = json!({"publish": {"channel": "f:a", "data": 1, "tags": tags}});
    let batch = json!({"commands": vec![command; 64]}).to_string();
    let addr = server.addr;
    beside(&server, |scope, over| {
        for _ in 0..2 {
            let batch = batch.clone();
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(Client::post(addr, "/api/batch", &batch).status, 200);
                }
            });
        }
    });
    drop(subscribers);
    server.end();
}

fn deltas_of_made_up_texts(driver: &str) {
    let server = serve!(driver, limits(""));
    let mut subscriber = server.client();
    let answer = subscriber.ask("subscribe", json!({"channel": "d:a", "delta": "fossil"}));
    assert!(answer["error"].is_null(), "{answer}");
    beside(&server, |scope, over| {
        subscriber.stream.set_nonblocking(true).expect("a socket");
        scope.spawn(move || {
            let mut pushes = vec![0; 64 << 10];
            while !over.load(Ordering::Relaxed) {
                if subscriber.stream.read(&mut pushes).is_err() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        for _ in 0..16 {
            let mut publisher = server.client();
            scope.spawn(move || {
                let texts = ["a".repeat(32_000), ("a".repeat(200) + "b").repeat(32_000 / 201)];
                while !over.load(Ordering::Relaxed) {
                    let publish = |text: &String| {
                        publisher.ask("publish", json!({"channel": "d:a", "data": text}))
                    };
                    let answers: Vec<_> = texts.iter().map(publish).collect();
                    assert!(answers.iter().all(|answer| answer["error"].is_null()), "{answers:?}");
                }
            });
        }
    });
    server.end();
}
