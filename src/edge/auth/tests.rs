//! Tables of tokens and what they are worth.

use super::mint::Signer;
use super::*;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;

const SECRET: &[u8] = b"a secret of the tests";
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const NOW: Now = Now { monotonic_us: 0, unix_ms: 1_700_000_000_500 };
const INVALID: AuthError = AuthError::Invalid;

/// A token by its parts, signed whatever its header says.
fn signed_by(signer: &Signer, header: &str, claims: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = signer.signature(body.as_bytes()).expect("it signs");
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn secret(algorithm: Algorithm, secret: &[u8]) -> Signer {
    Signer::from_secret(algorithm, secret).expect("a secret")
}

fn token(header: &str, claims: &str) -> String {
    signed_by(&secret(Algorithm::HS256, SECRET), header, claims)
}

fn with_keys(keys: KeyOptions) -> Auth {
    Auth::new(&Options { keys, ..Options::default() }).expect("good keys")
}

fn auth(allow_anonymous: bool) -> Auth {
    let keys = KeyOptions { hmac_secrets: vec![SECRET.to_vec()], ..KeyOptions::default() };
    Auth::new(&Options { keys, allow_anonymous, ..Options::default() }).expect("good keys")
}

/// Who a token is, or why nobody.
fn user(auth: &mut Auth, token: &str) -> Result<String, AuthError> {
    auth.connect(token, NOW).map(|identity| identity.user.as_str().to_owned())
}

fn al() -> Result<String, AuthError> {
    Ok("al".to_owned())
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A pair of keys: the private and the public one, as PEM.
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
fn claims_decide() {
    let expired = Err(AuthError::Expired);
    let nobody = Ok(String::new());
    let table = [
        (r#"{"sub":"al"}"#, al()),
        (r#"{"sub":"al","aud":"x","iss":"y","info":{"a":1},"channels":["c"]}"#, al()),
        (r#"{"sub":"al","aud":["x","y"],"iat":1e9,"jti":"1","whatever":[{}]}"#, al()),
        (r#"{"sub":""}"#, nobody.clone()),
        (r#"{"sub":null,"exp":null}"#, nobody.clone()),
        ("{}", nobody),
        (r#"{"sub":42}"#, Err(INVALID)),
        (r#"{"sub":"al","sub":"bo"}"#, Err(INVALID)),
        (r#"{"sub":"al","exp":1700000001}"#, al()),
        (r#"{"sub":"al","exp":1700000000}"#, expired.clone()),
        (r#"{"sub":"al","exp":1700000000.501}"#, al()),
        (r#"{"sub":"al","exp":1700000000.5}"#, expired.clone()),
        (r#"{"sub":"al","exp":-1}"#, expired.clone()),
        (r#"{"sub":"al","exp":18446744073709551615}"#, al()),
        (r#"{"sub":"al","exp":1e300}"#, al()),
        (r#"{"sub":"al","exp":1e400}"#, Err(INVALID)),
        (r#"{"sub":"al","exp":"1700000001"}"#, Err(INVALID)),
        (r#"{"sub":"al","exp":true}"#, Err(INVALID)),
        (r#"{"sub":"al","iat":"now"}"#, Err(INVALID)),
        (r#"{"sub":"al","nbf":1700000000.5}"#, al()),
        (r#"{"sub":"al","nbf":1700000001}"#, expired.clone()),
        (r#"{"sub":"al","expire_at":1700000000}"#, Err(AuthError::Over)),
        (r#"{"sub":"al","exp":1600000000,"expire_at":0}"#, expired),
        (r#"{"sub":"al","expire_at":"never"}"#, Err(INVALID)),
        (r#"{"sub":"al","channels":"c"}"#, Err(INVALID)),
        (r#"{"sub":"al","subs":{"c":{"data":{}}}}"#, al()),
        (r#"{"sub":"al","subs":{"c":1}}"#, Err(INVALID)),
        (r#"{"sub":"al","b64info":"e30="}"#, al()),
        (r#"{"sub":"al","b64info":"e30"}"#, Err(INVALID)),
        (r#"{"sub":"al","b64info":"eyA="}"#, Err(INVALID)),
        (r#"{"sub":"al","b64info":"/w=="}"#, Err(INVALID)),
        (r#"["al"]"#, Err(INVALID)),
        ("not JSON", Err(INVALID)),
    ];
    for (claims, expected) in table {
        assert_eq!(user(&mut auth(true), &token(HS256, claims)), expected, "{claims}");
    }
}

#[test]
fn what_a_token_says_of_its_connection() {
    let claims = r#"{"sub":"al","exp":1700000100,"info":{
        "name":"Al"},"meta":{"role":1},"channels":["a","b"],"subs":{"b":{"info":1,"data":[2],
        "override":{"presence":{"value":true},"join_leave":{"value":false},
        "force_recovery":{"value":true}}},"c":{"b64data":"MQ=="}}}"#;
    let identity = auth(false).connect(&token(HS256, claims), NOW).expect("a good token");
    assert_eq!(identity.expires_ms, Some(1_700_000_100_000));
    assert_eq!(&*identity.info, b"{         \"name\":\"Al\"}");
    assert_eq!(&*identity.meta, br#"{"role":1}"#);
    let names: Vec<&str> = identity.subs.iter().map(|it| it.channel.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((&*identity.subs[1].info, &*identity.subs[1].data), (&b"1"[..], &b"[2]"[..]));
    let overrides = Overrides {
        presence: Some(true),
        join_leave: Some(false),
        recover: Some(true),
        ..Overrides::default()
    };
    assert_eq!(identity.subs[1].overrides, overrides);
    assert_eq!(&*identity.subs[2].data, b"1");

    let never = [r#"{"exp":1700000100,"expire_at":0}"#, "{}"];
    let later = [r#"{"exp":1700000100,"expire_at":1700000900}"#, r#"{"expire_at":1700000900}"#];
    for (table, expires_ms) in [(never, None), (later, Some(1_700_000_900_000))] {
        for claims in table {
            let identity = auth(false).connect(&token(HS256, claims), NOW).expect("good");
            assert_eq!(identity.expires_ms, expires_ms, "{claims}");
        }
    }
}

#[test]
fn a_value_for_others_is_no_deeper_than_json_may_be() {
    for (levels, expected) in [(64, al()), (65, Err(INVALID))] {
        let info = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let claims = format!(r#"{{"sub":"al","info":{info}}}"#);
        assert_eq!(user(&mut auth(false), &token(HS256, &claims)), expected, "{levels}");
    }
}

#[test]
fn only_our_signature_counts() {
    let claims = r#"{"sub":"al"}"#;
    let good = token(HS256, claims);
    assert_eq!(user(&mut auth(false), &good), al());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims);
    let header = URL_SAFE_NO_PAD.encode(HS256);
    let other = URL_SAFE_NO_PAD.encode(r#"{"sub":"bo"}"#);
    let long = format!(r#"{{"sub":"al","pad":"{}"}}"#, "x".repeat(TOKEN_BYTES));
    let by = |key: &[u8]| signed_by(&secret(Algorithm::HS256, key), HS256, claims);
    let table = [
        ("no signature asked for", format!("{none}.{payload}.")),
        ("the same, signed", token(r#"{"alg":"none"}"#, claims)),
        ("NONE", token(r#"{"alg":"NONE"}"#, claims)),
        ("RS256 over our secret", token(r#"{"alg":"RS256"}"#, claims)),
        ("HS384 said, HS256 done", token(r#"{"alg":"HS384"}"#, claims)),
        ("no algorithm", token("{}", claims)),
        ("another secret", by(b"x")),
        ("an empty secret", by(b"")),
        ("another payload", format!("{header}.{other}.{signature}")),
        ("signature cut", format!("{body}.{}", &signature[..40])),
        ("signature gone", body.to_string()),
        ("signature empty", format!("{body}.")),
        ("a part more", format!("{good}.x")),
        ("a part before", format!("x.{good}")),
        ("a critical extension", token(r#"{"alg":"HS256","crit":["b64"]}"#, claims)),
        ("too long", token(HS256, &long)),
        ("dots", "..".to_string()),
        ("not a token", "al".to_string()),
    ];
    for (what, token) in table {
        assert_eq!(user(&mut auth(true), &token), Err(INVALID), "{what}");
    }
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
    // A public key is known to everybody: it must not do as a secret.
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

/// The numbers of a public key, as a key set has them.
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
    // The RSA key is for RS256 alone.
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
        (in_rsa("-----BEGIN PUBLIC KEY-----\nZm9v"), "client.token_rsa_public_key: is no PEM"),
        (in_rsa(&garbage), "client.token_rsa_public_key: is no RSA key of 2048 to 8192 bits"),
        (in_rsa(short), "client.token_rsa_public_key: is no RSA key of 2048 to 8192 bits"),
        (in_rsa(&p256.public), "client.token_rsa_public_key: is no RSA key"),
        (in_rsa(&rsa.private), "client.token_rsa_public_key: is a private key"),
        (in_ecdsa(&rsa.public), "client.token_ecdsa_public_key: is no key on curve"),
        (in_ecdsa(&ed.public), "client.token_ecdsa_public_key: is no key on curve"),
        (in_ed(&p256.public), "client.token_ed25519_public_key: is no Ed25519 key"),
        (in_set("{\n\"keys\": 5}"), "client.token_jwks_file: is no JWK set: line 2"),
        (in_set("{\"keys\":[]}"), "client.token_jwks_file: holds no key"),
        (in_set("{\"keys\":[5]}"), "client.token_jwks_file: key 1 is no JWK"),
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

#[test]
fn audience_and_issuer_are_checked_where_they_are_set() {
    let keys = KeyOptions { hmac_secrets: vec![SECRET.to_vec()], ..KeyOptions::default() };
    let (audience, issuer) = (Some("us".to_owned()), Some("them".to_owned()));
    let mut auth =
        Auth::new(&Options { keys, audience, issuer, ..Options::default() }).expect("good keys");
    let table = [
        (r#"{"sub":"al","aud":"us","iss":"them"}"#, al()),
        (r#"{"sub":"al","aud":["x","us"],"iss":"them"}"#, al()),
        (r#"{"sub":"al","aud":"x","iss":"them"}"#, Err(INVALID)),
        (r#"{"sub":"al","aud":[],"iss":"them"}"#, Err(INVALID)),
        (r#"{"sub":"al","aud":5,"iss":"them"}"#, Err(INVALID)),
        (r#"{"sub":"al","iss":"them"}"#, Err(INVALID)),
        (r#"{"sub":"al","aud":"us"}"#, Err(INVALID)),
        (r#"{"sub":"al","aud":"us","iss":"they"}"#, Err(INVALID)),
    ];
    for (claims, expected) in table {
        assert_eq!(user(&mut auth, &token(HS256, claims)), expected, "{claims}");
        let claims = claims.replacen('{', r#"{"channel":"c","#, 1);
        let wanted = Wanted { channel: "c", user: "al", client: "id" };
        let granted = auth.subscription(&token(HS256, &claims), &wanted, NOW).map(|_| ());
        assert_eq!(granted, expected.map(|_| ()), "{claims}");
    }
}

#[test]
fn a_subscription_token_is_for_one_channel_and_user() {
    let wanted = Wanted { channel: "$news", user: "al", client: "id" };
    let table = [
        (r#"{"sub":"al","channel":"$news"}"#, Ok(None)),
        (r#"{"sub":"al","channel":"$news","client":"id"}"#, Ok(None)),
        (r#"{"sub":"al","channel":"$news","exp":1700000100}"#, Ok(Some(1_700_000_100_000))),
        (r#"{"sub":"al","channel":"$news","exp":1700000100,"expire_at":0}"#, Ok(None)),
        (r#"{"sub":"al","channel":"$news","exp":1700000000}"#, Err(AuthError::Expired)),
        (r#"{"sub":"al","channel":"$news","expire_at":1700000000}"#, Err(AuthError::Over)),
        (r#"{"sub":"al","channel":"$news","client":"other"}"#, Err(INVALID)),
        (r#"{"sub":"al","channel":"$other"}"#, Err(INVALID)),
        (r#"{"sub":"bo","channel":"$news"}"#, Err(INVALID)),
        (r#"{"channel":"$news"}"#, Err(INVALID)),
        (r#"{"sub":"al"}"#, Err(INVALID)),
        // A token of another channel is that even when its time is over.
        (r#"{"sub":"bo","channel":"$news","exp":1}"#, Err(INVALID)),
    ];
    let mut auth = auth(true);
    for (claims, expected) in table {
        let granted = auth.subscription(&token(HS256, claims), &wanted, NOW);
        assert_eq!(granted.map(|grant| grant.expires_ms), expected, "{claims}");
    }
    assert_eq!(auth.subscription("", &wanted, NOW), Err(AuthError::NoToken));
    let forged = secret(Algorithm::HS256, b"x").sign(None, table[0].0).expect("it signs");
    assert_eq!(auth.subscription(&forged, &wanted, NOW), Err(INVALID));
    let anonymous = Wanted { user: "", ..wanted };
    assert!(auth.subscription(&token(HS256, r#"{"channel":"$news"}"#), &anonymous, NOW).is_ok());

    let says = r#"{"sub":"al","channel":"$news","info":{"a":1},"b64data":"Mg==",
        "override":{"force_positioning":{"value":true}}}"#;
    let grant = auth.subscription(&token(HS256, says), &wanted, NOW).expect("a good token");
    assert_eq!((&*grant.info, &*grant.data), (br#"{"a":1}"#.as_slice(), b"2".as_slice()));
    assert_eq!(grant.overrides.position, Some(true));
}

#[test]
fn a_remembered_token_still_ends() {
    let mut auth = auth(false);
    let good = token(HS256, r#"{"sub":"al","exp":1700000001}"#);
    assert_eq!(user(&mut auth, &good), al());
    assert_eq!(user(&mut auth, &good), al());
    let later = Now { unix_ms: 1_700_000_001_000, ..NOW };
    assert_eq!(auth.connect(&good, later), Err(AuthError::Expired));
    // What was remembered of one kind is nothing for the other.
    let wanted = Wanted { channel: "c", user: "al", client: "id" };
    assert_eq!(auth.subscription(&good, &wanted, NOW), Err(INVALID));
}

#[test]
fn a_token_may_be_as_long_as_the_bound() {
    let empty = token(HS256, r#"{"sub":""}"#).len();
    // Three bytes of a payload are four of a token.
    let name = "x".repeat((TOKEN_BYTES - empty) / 4 * 3);
    let longest = token(HS256, &format!(r#"{{"sub":"{name}"}}"#));
    assert!(longest.len() > TOKEN_BYTES - 4 && longest.len() <= TOKEN_BYTES);
    assert_eq!(user(&mut auth(false), &longest), Ok(name));
}

#[test]
fn without_a_token_it_depends() {
    assert_eq!(user(&mut auth(true), ""), Ok(String::new()));
    assert_eq!(user(&mut auth(false), ""), Err(AuthError::NoToken));
    assert_eq!(AuthError::NoToken.refusal(), Refusal::Disconnect(Disconnect::BadRequest));
}

#[test]
fn without_a_key_no_token_is_valid() {
    for hmac_secrets in [Vec::new(), vec![Vec::new()]] {
        let keys = KeyOptions { hmac_secrets, ..KeyOptions::default() };
        let options = Options { keys, allow_anonymous: true, ..Options::default() };
        let mut auth = Auth::new(&options).expect("no keys");
        let forged = signed_by(&secret(Algorithm::HS256, b""), HS256, r#"{"sub":"root"}"#);
        assert_eq!(user(&mut auth, &forged), Err(INVALID));
        assert_eq!(user(&mut auth, ""), Ok(String::new()));
    }
}
