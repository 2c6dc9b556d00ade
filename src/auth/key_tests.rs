//! Keys of every kind: the tokens that they accept, and the messages about bad keys.

use super::mint::Signer;
use super::tests::{HS256, INVALID, SECRET, al, secret, signed_by, user, with_keys};
use super::*;
use crate::limits::WRONG_TOKENS_CACHED;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A pair of keys, private and public, as PEM.
struct Pair {
    private: String,
    public: String,
}

fn pair(private: &[u8], public: &impl AsDer<PublicKeyX509Der<'static>>) -> Pair {
    let public = public.as_der().expect("it has a form");
    Pair { private: pem("PRIVATE KEY", private), public: pem("PUBLIC KEY", public.as_ref()) }
}

fn rsa() -> Pair {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).expect("it has a form");
    pair(private.as_ref(), key.public_key())
}

fn ecdsa(curve: &'static EcdsaSigningAlgorithm) -> Pair {
    let private = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(curve, private.as_ref()).expect("just made");
    pair(private.as_ref(), key.public_key())
}

fn ed25519() -> Pair {
    let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let key = Ed25519KeyPair::from_pkcs8(private.as_ref()).expect("just made");
    pair(private.as_ref(), key.public_key())
}

fn signer(algorithm: Algorithm, pair: &Pair) -> Signer {
    Signer::from_pem(Some(algorithm), pair.private.as_bytes()).expect("a key")
}

#[test]
fn every_algorithm_by_its_own_key() {
    let [rsa, other_rsa] = [rsa(), rsa()];
    let (p256, p384) =
        (ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING), ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING));
    let (ed, other_ed) = (ed25519(), ed25519());
    let mut all = with_keys(KeyOptions {
        hmac_secrets: vec![SECRET.to_vec(), b"the one before".to_vec()],
        rsa: format!("{}{}", other_rsa.public, rsa.public),
        ecdsa: format!("{}{}", p256.public, p384.public),
        ed25519: ed.public.clone(),
        jwks: String::new(),
    });
    let claims = r#"{"sub":"al"}"#;
    let good = [
        secret(Algorithm::HS256, SECRET),
        secret(Algorithm::HS384, SECRET),
        secret(Algorithm::HS512, b"the one before"),
        signer(Algorithm::RS256, &rsa),
        signer(Algorithm::RS384, &other_rsa),
        signer(Algorithm::RS512, &rsa),
        signer(Algorithm::ES256, &p256),
        signer(Algorithm::ES384, &p384),
        signer(Algorithm::EdDSA, &ed),
    ];
    for (index, signer) in good.iter().enumerate() {
        let token = signer.sign(Some("any"), claims).expect("it signs");
        assert_eq!(user(&mut all, &token), al(), "{index}");
        let (body, signature) = token.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{body}.{flipped}{}", &signature[1..]);
        assert_eq!(user(&mut all, &forged), Err(INVALID), "{index}");
    }
    // A public key is not secret, so it must not be accepted as an HMAC secret.
    let public = secret(Algorithm::HS256, rsa.public.as_bytes());
    let bad = [
        signed_by(&public, HS256, claims),
        signed_by(&public, r#"{"alg":"RS256"}"#, claims),
        signed_by(&signer(Algorithm::RS256, &rsa), r#"{"alg":"PS256"}"#, claims),
        signed_by(&signer(Algorithm::ES256, &p256), r#"{"alg":"ES384"}"#, claims),
        signed_by(&signer(Algorithm::EdDSA, &other_ed), r#"{"alg":"EdDSA"}"#, claims),
    ];
    for (index, token) in bad.iter().enumerate() {
        assert_eq!(user(&mut all, token), Err(INVALID), "{index}");
    }
    let mut rsa_alone = with_keys(KeyOptions { rsa: rsa.public.clone(), ..KeyOptions::default() });
    for secret_key in [rsa.public.as_bytes(), b""] {
        let forged = secret(Algorithm::HS256, secret_key).sign(None, claims).expect("it signs");
        assert_eq!(user(&mut rsa_alone, &forged), Err(INVALID));
    }
}

#[test]
fn a_wrong_token_costs_each_key_once() {
    let keys: Vec<Pair> = (0..4).map(|_| ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)).collect();
    let public: String = keys[..3].iter().map(|pair| pair.public.as_str()).collect();
    let mut auth = with_keys(KeyOptions { ecdsa: public, ..KeyOptions::default() });
    let sign = |pair: &Pair, claims: &str| {
        signer(Algorithm::ES384, pair).sign(None, claims).expect("it signs")
    };
    let forged = sign(&keys[3], r#"{"sub":"al"}"#);
    let mut check = auth.begin_check(&forged).expect("nothing is known of it");
    let decided: Vec<bool> = (0..3).map(|_| auth.check_on(&forged, &mut check)).collect();
    assert_eq!(decided, [false, false, true]);
    let spent_ns = auth.take_spent_ns();
    assert!(spent_ns >= 3 * crate::work::cost::KEY_P384);
    assert_eq!(user(&mut auth, &forged), Err(INVALID));
    assert!(auth.begin_check(&forged).is_none(), "what was found wrong is remembered");
    assert_eq!((user(&mut auth, &forged), auth.take_spent_ns()), (Err(INVALID), 0));
    // Also where the keys are not tried one at a time.
    let other = sign(&keys[3], r#"{"sub":"bo"}"#);
    assert_eq!(user(&mut auth, &other), Err(INVALID));
    assert!(auth.take_spent_ns() >= spent_ns);
    assert_eq!((user(&mut auth, &other), auth.take_spent_ns()), (Err(INVALID), 0));
    let good = sign(&keys[1], r#"{"sub":"al"}"#);
    let mut check = auth.begin_check(&good).expect("nothing is known of it");
    assert!(!auth.check_on(&good, &mut check) && auth.check_on(&good, &mut check));
    auth.take_spent_ns();
    assert_eq!((user(&mut auth, &good), auth.take_spent_ns()), (al(), 0));
    assert!(auth.begin_check(&good).is_none());
}

#[test]
fn wrong_tokens_are_bounded_and_push_out_no_good_one() {
    let (own, other) = (ed25519(), ed25519());
    let mut auth = with_keys(KeyOptions { ed25519: own.public.clone(), ..KeyOptions::default() });
    let good = signer(Algorithm::EdDSA, &own).sign(None, r#"{"sub":"al"}"#).expect("it signs");
    assert_eq!(user(&mut auth, &good), al());
    let forger = signer(Algorithm::EdDSA, &other);
    for number in 0..2 * WRONG_TOKENS_CACHED {
        let claims = format!(r#"{{"sub":"{number}"}}"#);
        assert_eq!(user(&mut auth, &forger.sign(None, &claims).expect("it signs")), Err(INVALID));
        assert!(auth.verdicts.wrong() <= WRONG_TOKENS_CACHED);
    }
    auth.take_spent_ns();
    assert_eq!((user(&mut auth, &good), auth.take_spent_ns()), (al(), 0), "still remembered");
}

#[test]
fn a_key_set_is_honoured() {
    let claims = r#"{"sub":"al"}"#;
    let oct = |kid: &str, alg: &str, key: &[u8]| {
        format!(r#"{{"kty":"oct",{kid}{alg}"k":"{}"}}"#, URL_SAFE_NO_PAD.encode(key))
    };
    let set = [
        oct(r#""kid":"new","#, r#""alg":"HS512","#, b"new"),
        oct(r#""kid":"old","#, "", b"old"),
        oct("", "", b"nameless"),
        oct(r#""kid":"sealed","use":"enc","#, "", b"sealed"),
        oct(r#""kid":"oaep","#, r#""alg":"RSA-OAEP","#, b"oaep"),
        r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"brand new"}"#.to_owned(),
    ];
    let jwks = format!(r#"{{"keys":[{}],"more":1}}"#, set.join(","));
    let mut auth = with_keys(KeyOptions { jwks, ..KeyOptions::default() });
    let table = [
        (Algorithm::HS512, Some("new"), "new", al()),
        (Algorithm::HS256, Some("new"), "new", Err(INVALID)),
        (Algorithm::HS512, Some("old"), "new", Err(INVALID)),
        (Algorithm::HS512, None, "new", Err(INVALID)),
        (Algorithm::HS512, Some("unknown"), "new", Err(INVALID)),
        (Algorithm::HS256, Some("old"), "old", al()),
        (Algorithm::HS384, Some("old"), "old", al()),
        (Algorithm::HS256, None, "nameless", al()),
        (Algorithm::HS256, Some("whatever"), "nameless", al()),
        (Algorithm::HS256, Some("sealed"), "sealed", Err(INVALID)),
        (Algorithm::HS256, Some("oaep"), "oaep", Err(INVALID)),
    ];
    for (algorithm, kid, key, expected) in table {
        let token = secret(algorithm, key.as_bytes()).sign(kid, claims).expect("it signs");
        assert_eq!(user(&mut auth, &token), expected, "{algorithm:?} {kid:?} {key}");
    }
}

/// The numbers of a public key, as in a key set.
fn jwk(algorithm: Algorithm, kid: &str, pair: &Pair) -> String {
    let der = STANDARD.decode(pair.public.lines().nth(1).expect("its only line")).expect("base64");
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let end = |count: usize| &der[der.len() - count..];
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => {
            let (curve, size) =
                if algorithm == Algorithm::ES256 { ("P-256", 32) } else { ("P-384", 48) };
            let (x, y) = end(2 * size).split_at(size);
            let (x, y) = (base64(x), base64(y));
            format!(r#"{{"kty":"EC","kid":"{kid}","crv":"{curve}","x":"{x}","y":"{y}"}}"#)
        }
        Algorithm::EdDSA => {
            let x = base64(end(32));
            format!(r#"{{"kty":"OKP","kid":"{kid}","crv":"Ed25519","x":"{x}"}}"#)
        }
        _ => {
            // A modulus of 256 bytes, then the exponent: its type, length, and three bytes.
            let n = base64(&der[der.len() - 5 - 256..der.len() - 5]);
            let use_ = r#""use":"sig","alg":"RS256","key_ops":["verify"]"#;
            format!(r#"{{"kty":"RSA","kid":"{kid}",{use_},"n":"{n}","e":"AQAB"}}"#)
        }
    }
}

#[test]
fn public_keys_come_in_a_key_set_too() {
    let pairs = [
        (Algorithm::RS256, rsa()),
        (Algorithm::ES256, ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        (Algorithm::ES384, ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        (Algorithm::EdDSA, ed25519()),
    ];
    let keys: Vec<String> =
        pairs.iter().map(|(it, pair)| jwk(*it, &format!("{it:?}"), pair)).collect();
    let jwks = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let mut auth = with_keys(KeyOptions { jwks, ..KeyOptions::default() });
    for (algorithm, pair) in &pairs {
        let signer = signer(*algorithm, pair);
        let kid = format!("{algorithm:?}");
        let token = signer.sign(Some(&kid), r#"{"sub":"al"}"#).expect("it signs");
        assert_eq!(user(&mut auth, &token), al(), "{kid}");
        let token = signer.sign(Some("RS256x"), r#"{"sub":"al"}"#).expect("it signs");
        assert_eq!(user(&mut auth, &token), Err(INVALID), "{kid}");
    }
    // The RSA key is only for RS256.
    let other = signer(Algorithm::RS512, &pairs[0].1).sign(Some("RS256"), "{}").expect("it signs");
    assert_eq!(user(&mut auth, &other), Err(INVALID));
}

#[test]
fn a_bad_key_is_named_and_not_shown() {
    let (rsa, p256, ed) = (rsa(), ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING), ed25519());
    let short = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCxUrFUbTCUob3WayGwHpUPejci\n\
        uVl/y8stcuBo75n88BKb+hrzSGOyjcEasnCZHaG+2vP6jBye3XpfPPvpamo8hS/k\n\
        4wLN38fzd+UAkbAEebMehw4TLsFn3KEP+RwEVXI4zUZ5bPBiHWnWZZuEeDjCI1kJ\n\
        +1wa2/C05pM6bH221wIDAQAB\n\
        -----END PUBLIC KEY-----\n";
    let garbage = pem("PUBLIC KEY", b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=");
    let in_rsa = |text: &str| KeyOptions { rsa: text.into(), ..KeyOptions::default() };
    let in_ecdsa = |text: &str| KeyOptions { ecdsa: text.into(), ..KeyOptions::default() };
    let in_ed = |text: &str| KeyOptions { ed25519: text.into(), ..KeyOptions::default() };
    let in_set = |text: &str| KeyOptions { jwks: text.into(), ..KeyOptions::default() };
    let table = [
        (in_rsa("Zm9vYmFy"), "client.token_rsa_public_key: holds no \"BEGIN PUBLIC KEY\""),
        (in_rsa("-----BEGIN PUBLIC KEY-----\nZm9v"), "client.token_rsa_public_key: is not PEM"),
        (in_rsa(&garbage), "client.token_rsa_public_key: is not an RSA key of 2048 to 8192 bits"),
        (in_rsa(short), "client.token_rsa_public_key: is not an RSA key of 2048 to 8192 bits"),
        (in_rsa(&p256.public), "client.token_rsa_public_key: is not an RSA key"),
        (in_rsa(&rsa.private), "client.token_rsa_public_key: is a private key"),
        (in_ecdsa(&rsa.public), "client.token_ecdsa_public_key: is not a key on curve"),
        (in_ecdsa(&ed.public), "client.token_ecdsa_public_key: is not a key on curve"),
        (in_ed(&p256.public), "client.token_ed25519_public_key: is not an Ed25519 key"),
        (in_set("{\n\"keys\": 5}"), "client.token_jwks_file: is not a JWK set: line 2"),
        (in_set("{\"keys\":[]}"), "client.token_jwks_file: holds no key"),
        (in_set("{\"keys\":[5]}"), "client.token_jwks_file: key 1 is not a JWK"),
        (in_set(r#"{"keys":[{"kty":"oct","k":""}]}"#), "client.token_jwks_file: key 1 is broken"),
        (
            in_set(r#"{"keys":[{"kty":"RSA","n":"Zm9vYmFy","e":"AQAB"}]}"#),
            "client.token_jwks_file: key 1 is broken",
        ),
        (
            in_set(r#"{"keys":[{"kty":"EC","crv":"P-256","x":"Zm9v","y":"Zm9v"}]}"#),
            "client.token_jwks_file: key 1 is broken",
        ),
    ];
    for (keys, told) in table {
        let errors = Auth::new(&Options { keys, ..Options::default() }).err().expect(told);
        let error = errors[0].to_string();
        assert!(errors.len() == 1 && error.starts_with(told), "{told}: {error}");
        assert!(!error.contains("Zm9v") && !error.contains("BEGIN PRIV"), "{error}");
    }
    let many = KeyOptions { hmac_secrets: vec![SECRET.to_vec(); 65], ..KeyOptions::default() };
    assert!(Auth::new(&Options { keys: many, ..Options::default() }).is_err());
}
