//! Invalid tokens, over real sockets: the right code for each, and none of them in a log.
//!
//! Tokens are made by hand, so that a mistake in the server's own code cannot hide itself.

use crate::client::{Client, Event};
use crate::server::{API_KEY, Setup};
use crate::{on_both_drivers, serve};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

on_both_drivers!(
    connection_tokens,
    subscription_tokens,
    tokens_of_the_upgrade,
    nothing_of_them_is_logged
);

pub const SECRET: &str = "a-secret-of-the-tests-a-secret-of-the-tests";
const OLD_SECRET: &str = "the-secret-before-the-secret-before-it";

pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn body(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn signed(algorithm: hmac::Algorithm, header: &Value, claims: &Value, secret: &str) -> String {
    let body = body(header, claims);
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), body.as_bytes());
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag))
}

pub fn hs256(claims: &Value, secret: &str) -> String {
    signed(hmac::HMAC_SHA256, &json!({"alg": "HS256"}), claims, secret)
}

/// Signed by HS256, whatever the header says.
pub fn signed_as(header: &Value, claims: &Value, secret: &str) -> String {
    signed(hmac::HMAC_SHA256, header, claims, secret)
}

/// An RSA key, with its public half as PEM.
struct Rsa {
    pair: RsaKeyPair,
    public: String,
}

impl Rsa {
    fn new() -> Rsa {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("it has a form");
        let text = STANDARD.encode(der.as_ref());
        let public = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        Rsa { pair, public }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let body = body(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, body.as_bytes(), &mut signature)
            .expect("it signs");
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn configured(rsa: &Rsa) -> String {
    let pem = &rsa.public;
    format!(
        "token_hmac_secret = \"{SECRET}\"\ntoken_hmac_secrets_old = [\"{OLD_SECRET}\"]\n\
         token_rsa_public_key = \"\"\"{pem}\"\"\"\ntoken_audience = \"us\"\n\
         token_issuer = \"them\"\ntoken_cookie = \"session\""
    )
}

/// Valid claims, overridden by others; null removes one.
fn claims(over: Value) -> Value {
    let mut claims =
        json!({"sub": "al", "aud": "us", "iss": "them", "exp": now_s() + 600, "iat": now_s()});
    for (name, value) in over.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

/// The result of a connect command with this token: 0, an error's code, or a close code.
fn connect(mut client: Client, token: &str) -> u64 {
    client.text(&json!({"id": 1, "connect": {"token": token}}).to_string());
    match client.next() {
        Event::Message(answer) => answer["error"]["code"].as_u64().unwrap_or(0),
        Event::Close(code) => code.into(),
        end => panic!("{end:?} instead of an answer"),
    }
}

fn connection_tokens(driver: &str) {
    let (rsa, other) = (Rsa::new(), Rsa::new());
    let client = configured(&rsa);
    let server = serve!(driver, Setup { client: &client, ..Setup::default() });
    let good = claims(json!({}));
    let hs = |over: Value| hs256(&claims(over), SECRET);
    let by_rsa = json!({"alg": "RS256"});
    let none = format!("{}.", body(&json!({"alg": "none"}), &good));
    let forged = hs256(&good, "another secret, another secret, and");
    let table = [
        ("good", hs(json!({})), 0),
        ("rotated", hs256(&good, OLD_SECRET), 0),
        ("HS512", signed(hmac::HMAC_SHA512, &json!({"alg": "HS512"}), &good, SECRET), 0),
        ("RS256", rsa.token(&by_rsa, &good), 0),
        ("a name for a nameless key", rsa.token(&json!({"alg": "RS256", "kid": "x"}), &good), 0),
        ("none given", String::new(), 3501),
        ("expired", hs(json!({"exp": now_s() - 1})), 109),
        ("not yet", hs(json!({"nbf": now_s() + 60})), 109),
        ("over", hs(json!({"expire_at": now_s() - 1})), 109),
        ("forged", forged, 3500),
        ("forged by another key", other.token(&by_rsa, &good), 3500),
        ("alg none", none, 3500),
        ("alg said is not alg done", rsa.token(&json!({"alg": "HS256"}), &good), 3500),
        ("the public key for a secret", hs256(&good, &rsa.public), 3500),
        ("the public key, trimmed", hs256(&good, rsa.public.trim()), 3500),
        ("an empty secret", hs256(&good, ""), 3500),
        ("critical", rsa.token(&json!({"alg": "RS256", "crit": ["x"], "x": 1}), &good), 3500),
        ("another audience", hs(json!({"aud": "you"})), 3500),
        ("no audience", hs(json!({"aud": null})), 3500),
        ("another issuer", hs(json!({"iss": "they"})), 3500),
        ("malformed claim", hs(json!({"sub": 42})), 3500),
        ("oversized", hs(json!({"pad": "x".repeat(8 << 10)})), 3500),
        ("no token", "al".to_owned(), 3500),
        ("dots", "..".to_owned(), 3500),
    ];
    for (what, token, code) in &table {
        // Twice, because a remembered result must be the same.
        for _ in 0..2 {
            assert_eq!(connect(Client::upgraded(server.addr), token), *code, "{what}");
        }
    }
    let refused = table.iter().filter(|(_, _, code)| *code != 0).count() as u64;
    let counted = server.metric("corecast_refusals_total{worker=\"0\",cause=\"token\"}");
    assert_eq!(counted, 2 * refused);
    server.end();
}

/// A client with this token.
pub fn client_of(addr: std::net::SocketAddr, token: &str) -> Client {
    let mut client = Client::upgraded(addr);
    client.text(&json!({"id": 1, "connect": {"token": token}}).to_string());
    let Event::Message(answer) = client.next() else { panic!("no answer to connect") };
    assert!(answer["connect"]["client"].is_string(), "{answer}");
    client
}

fn subscription_tokens(driver: &str) {
    let rsa = Rsa::new();
    let client = configured(&rsa);
    let server = serve!(driver, Setup { client: &client, ..Setup::default() });
    let mut client = client_of(server.addr, &hs256(&claims(json!({})), SECRET));
    let sub = |over: Value| {
        let mut claims = claims(json!({"channel": "$n:x"}));
        for (name, value) in over.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        hs256(&claims, SECRET)
    };
    let good = sub(json!({}));
    let table = [
        ("none", String::new(), 103),
        ("another channel", sub(json!({"channel": "$n:y"})), 103),
        ("another user", sub(json!({"sub": "bo"})), 103),
        ("another client", sub(json!({"client": "x"})), 103),
        ("no channel", sub(json!({"channel": null})), 103),
        ("a connection token", hs256(&claims(json!({})), SECRET), 103),
        ("another audience", sub(json!({"aud": "you"})), 103),
        ("forged", hs256(&claims(json!({"channel": "$n:x"})), "x"), 103),
        ("expired", sub(json!({"exp": now_s() - 1})), 109),
        ("good", good.clone(), 0),
        ("again", good.clone(), 105),
    ];
    for (what, token, code) in table {
        let parameters = json!({"channel": "$n:x", "token": token});
        let answer = client.ask("subscribe", parameters);
        assert_eq!(answer["error"]["code"].as_u64().unwrap_or(0), code, "{what}: {answer}");
    }
    for (token, code) in [("", 107), ("x", 103), (&*sub(json!({"exp": 1})), 109), (&*good, 0)] {
        let answer = client.ask("sub_refresh", json!({"channel": "$n:x", "token": token}));
        assert_eq!(answer["error"]["code"].as_u64().unwrap_or(0), code, "{answer}");
    }
    // After the subscription's end a valid token may subscribe again, and only that.
    client.ask("unsubscribe", json!({"channel": "$n:x"}));
    for (token, code) in [("", 103), ("x", 103), (&*sub(json!({"exp": 1})), 109), (&*good, 109)] {
        let answer = client.ask("sub_refresh", json!({"channel": "$n:x", "token": token}));
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert_eq!(answer["error"]["temporary"].as_bool().unwrap_or(false), code == 109);
    }
    let fresh = hs256(&claims(json!({"exp": now_s() + 900})), SECRET);
    let answer = client.ask("refresh", json!({ "token": fresh }));
    let ttl = answer["refresh"]["ttl"].as_u64().expect("a time");
    assert!((895..=900).contains(&ttl), "{answer}");
    // An invalid one ends the connection.
    client.tell("refresh", json!({"token": hs256(&claims(json!({"sub": "bo"})), SECRET)}));
    assert_eq!(client.close_code(), Some(3500));
    server.end();
}

fn tokens_of_the_upgrade(driver: &str) {
    let rsa = Rsa::new();
    let client = configured(&rsa);
    let server = serve!(driver, Setup { client: &client, ..Setup::default() });
    let good = hs256(&claims(json!({})), SECRET);
    let table = [
        (format!("Authorization: Bearer {good}\r\n"), 0),
        (format!("Cookie: a=b; session={good}\r\n"), 0),
        (format!("Cookie: other={good}\r\n"), 3501),
        ("Authorization: Bearer forged\r\n".to_owned(), 3500),
        ("Cookie: session=forged\r\n".to_owned(), 3500),
        (format!("Authorization: Bearer forged\r\nCookie: session={good}\r\n"), 3500),
        (format!("Cookie: session={good}\r\nOrigin: https://evil.example\r\n"), 403),
    ];
    for (headers, code) in table {
        if code == 403 {
            let mut client = Client::open(server.addr);
            let (first, rest) = crate::client::UPGRADE.split_once("\r\n").expect("lines");
            client.send(format!("{first}\r\n{headers}{rest}").as_bytes());
            assert_eq!(client.answer().expect("an answer").status, 403);
            continue;
        }
        let client = Client::upgraded_with(server.addr, &headers);
        assert_eq!(connect(client, ""), code, "{headers}");
    }
    // It ends with its token, to the second, because the client cannot send another.
    let short = hs256(&claims(json!({"exp": now_s() + 2})), SECRET);
    let headers = format!("Authorization: Bearer {short}\r\n");
    let mut client = Client::upgraded_with(server.addr, &headers);
    client.text(r#"{"id":1,"connect":{}}"#);
    assert_eq!(client.close_code(), Some(3005));
    server.end();
}

fn nothing_of_them_is_logged(driver: &str) {
    let rsa = Rsa::new();
    let client = configured(&rsa);
    let top = "[log]\nlevel = \"trace\"";
    let server = serve!(driver, Setup { client: &client, top, ..Setup::default() });
    let good = hs256(&claims(json!({"info": {"who": "al"}})), SECRET);
    let forged = hs256(&claims(json!({})), "not the secret");
    let sub = hs256(&claims(json!({"channel": "$n:x"})), SECRET);
    let mut client = client_of(server.addr, &good);
    client.ask("subscribe", json!({"channel": "$n:x", "token": sub}));
    client.ask("sub_refresh", json!({"channel": "$n:x", "token": forged}));
    client.tell("refresh", json!({ "token": forged }));
    assert_eq!(client.close_code(), Some(3500));
    for headers in
        [format!("Authorization: Bearer {forged}\r\n"), format!("Cookie: session={forged}\r\n")]
    {
        assert_eq!(connect(Client::upgraded_with(server.addr, &headers), ""), 3500);
    }
    assert_eq!(connect(Client::upgraded(server.addr), &forged), 3500);
    server.publish("n:a", "1");
    let logged = server.end();
    assert!(logged.contains("closed"), "something is logged: {logged}");
    let pem: Vec<&str> = rsa.public.lines().filter(|line| !line.starts_with('-')).collect();
    for token in [&good, &forged, &sub] {
        for part in token.split('.') {
            assert!(!logged.contains(part), "a part of a token is logged");
        }
    }
    for secret in [SECRET, OLD_SECRET, API_KEY, "not the secret", pem[0]] {
        assert!(!logged.contains(secret), "a key is logged");
    }
}
