//! Tables of tokens and the results of checking them.

use super::mint::Signer;
use super::*;
use jsonwebtoken::Algorithm;

pub(super) const SECRET: &[u8] = b"a secret of the tests";
pub(super) const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const NOW: Now = Now { monotonic_us: 0, unix_ms: 1_700_000_000_500 };
/// Stands for every invalid token; `every_flaw_is_told_apart` tests which check failed.
pub(super) const INVALID: AuthError = AuthError::Invalid(Flaw::NoToken);

/// Makes all flaws equal.
pub(super) fn coarse<T>(result: Result<T, AuthError>) -> Result<T, AuthError> {
    result.map_err(|error| if matches!(error, AuthError::Invalid(_)) { INVALID } else { error })
}

/// A token made of its parts, signed whatever its header says.
pub(super) fn signed_by(signer: &Signer, header: &str, claims: &str) -> String {
    let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = signer.signature(body.as_bytes()).expect("it signs");
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(super) fn secret(algorithm: Algorithm, secret: &[u8]) -> Signer {
    Signer::from_secret(algorithm, secret).expect("a secret")
}

fn token(header: &str, claims: &str) -> String {
    signed_by(&secret(Algorithm::HS256, SECRET), header, claims)
}

pub(super) fn with_keys(keys: KeyOptions) -> Auth {
    Auth::new(&Options { keys, ..Options::default() }).expect("good keys")
}

fn auth(allow_anonymous: bool) -> Auth {
    let keys = KeyOptions { hmac_secrets: vec![SECRET.to_vec()], ..KeyOptions::default() };
    Auth::new(&Options { keys, allow_anonymous, ..Options::default() }).expect("good keys")
}

/// The user of a token, or why it is refused.
pub(super) fn user(auth: &mut Auth, token: &str) -> Result<String, AuthError> {
    coarse(auth.connect(token, NOW)).map(|identity| identity.user.as_str().to_owned())
}

pub(super) fn al() -> Result<String, AuthError> {
    Ok("al".to_owned())
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
        (r#"{"sub":"al","exp":"1700000001"}"#, al()),
        (r#"{"sub":"al","exp":"1700000000"}"#, expired.clone()),
        (r#"{"sub":"al","exp":"17e8"}"#, Err(INVALID)),
        (r#"{"sub":"al","exp":""}"#, Err(INVALID)),
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
        "name":"Al"},"meta":{"role":1},"channels":["a","b",""],"subs":{"":{},"b":{"info":1,"data":[2],
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
    let later = [r#"{"exp":"1700000100","expire_at":1700000900}"#, r#"{"expire_at":"1700000900"}"#];
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
        let granted = coarse(auth.subscription(&token(HS256, &claims), &wanted, NOW)).map(|_| ());
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
        // A token for another channel is refused as such even if it has expired.
        (r#"{"sub":"bo","channel":"$news","exp":1}"#, Err(INVALID)),
    ];
    let mut auth = auth(true);
    for (claims, expected) in table {
        let granted = coarse(auth.subscription(&token(HS256, claims), &wanted, NOW));
        assert_eq!(granted.map(|grant| grant.expires_ms), expected, "{claims}");
    }
    assert_eq!(auth.subscription("", &wanted, NOW), Err(AuthError::NoToken));
    let forged = secret(Algorithm::HS256, b"x").sign(None, table[0].0).expect("it signs");
    assert_eq!(coarse(auth.subscription(&forged, &wanted, NOW)), Err(INVALID));
    let anonymous = Wanted { user: "", ..wanted };
    assert!(auth.subscription(&token(HS256, r#"{"channel":"$news"}"#), &anonymous, NOW).is_ok());

    let says = r#"{"sub":"al","channel":"$news","info":{"a":1},"b64data":"Mg==",
        "override":{"force_positioning":{"value":true}}}"#;
    let grant = auth.subscription(&token(HS256, says), &wanted, NOW).expect("a good token");
    assert_eq!((&*grant.info, &*grant.data), (br#"{"a":1}"#.as_slice(), b"2".as_slice()));
    assert_eq!(grant.overrides.position, Some(true));
}

#[test]
fn every_flaw_is_told_apart() {
    let keys = KeyOptions {
        hmac_secrets: vec![SECRET.to_vec(), b"the one before".to_vec()],
        ..KeyOptions::default()
    };
    let options = Options { keys, audience: Some("us".into()), ..Options::default() };
    let mut both = Auth::new(&options).expect("good keys");
    let by = |key: &[u8]| signed_by(&secret(Algorithm::HS256, key), HS256, r#"{"aud":"us"}"#);
    let ours = |claims: &str| token(HS256, claims);
    let long = format!(r#"{{"aud":"us","pad":"{}"}}"#, "x".repeat(TOKEN_BYTES));
    let table = [
        (ours(&long), "token: too long"),
        ("al".into(), "token: not a JSON Web Token"),
        (token(r#"{"alg":"none"}"#, "{}"), "token: not a JSON Web Token"),
        (token(r#"{"alg":"HS256","crit":["b64"]}"#, "{}"), "token: its header asks for extensions"),
        (token(r#"{"alg":"RS256"}"#, "{}"), "key: none is configured for RS256"),
        (by(b"x"), "signature: matches neither client.token_hmac_secret nor 1 more keys"),
        (ours("not JSON"), "claims: not a JSON object"),
        (ours(r#"["al",1700000100]"#), "claims: not a JSON object"),
        (ours(r#"{"aud":"us","exp":"soon"}"#), "claim: exp has the wrong form"),
        (ours(r#"{"aud":"us","sub":"al","channel":"$news"}"#), "claim: channel has the wrong form"),
        (ours(r#"{"aud":"us","exp":{}}"#), "claim: exp has the wrong form"),
        (ours(r#"{"aud":"us","sub":"a","sub":"b"}"#), "claim: sub has the wrong form"),
        (ours(r#"{"aud":"us","subs":{"c":{"info":1,"data":}}}"#), "claims: not a JSON object"),
        (ours(r#"{"aud":"us","subs":{"c":{"override":7}}}"#), "claim: subs has the wrong form"),
        (ours(r#"{"aud":"us","b64info":"e30"}"#), "claim: info has the wrong form"),
        (ours(r#"{"aud":"them"}"#), "audience: aud is not"),
        (ours(r#"{"aud":"us","exp":1}"#), "expired: now is not between"),
        (ours(r#"{"aud":"us","expire_at":1}"#), "expired: its expire_at"),
    ];
    for (token, told) in table {
        let error = both.connect(&token, NOW).expect_err(told).to_string();
        assert!(error.starts_with(told), "{told}: {error}");
        assert!(token.len() < 8 || !error.contains(&token[..8]), "a token is shown: {error}");
    }
    let wanted = Wanted { channel: "$news", user: "al", client: "id" };
    let table = [
        (r#"{"aud":"us","sub":"al"}"#, "claim: channel has the wrong form"),
        (r#"{"aud":"us","sub":"al","channel":"$old"}"#, "channel: the token is for another"),
        (r#"{"aud":"us","sub":"bo","channel":"$news"}"#, "user: the token is for another"),
        (r#"{"aud":"us","sub":"al","channel":"$news","client":"x"}"#, "client: the token is for"),
    ];
    for (claims, told) in table {
        let error = both.subscription(&ours(claims), &wanted, NOW).expect_err(told).to_string();
        assert!(error.starts_with(told), "{told}: {error}");
    }
}

#[test]
fn a_remembered_token_still_ends() {
    let mut auth = auth(false);
    let good = token(HS256, r#"{"sub":"al","exp":1700000001}"#);
    assert_eq!(user(&mut auth, &good), al());
    assert_eq!(user(&mut auth, &good), al());
    let later = Now { unix_ms: 1_700_000_001_000, ..NOW };
    assert_eq!(auth.connect(&good, later), Err(AuthError::Expired));
    // A result for one kind of token does not count for the other.
    let wanted = Wanted { channel: "c", user: "al", client: "id" };
    assert_eq!(coarse(auth.subscription(&good, &wanted, NOW)), Err(INVALID));
}

#[test]
fn a_token_may_be_as_long_as_the_bound() {
    let empty = token(HS256, r#"{"sub":""}"#).len();
    // Three bytes of a payload take four of a token.
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

/// JSON of any kind, some of it broken.
fn any_json() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(String::new()),
        any::<f64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[a-z$#,:\\r\\n ]{0,8}".prop_map(|text| format!("{text:?}")),
        "[A-Za-z0-9+/=]{0,12}".prop_map(|text| format!("{text:?}")),
        "\\PC{0,6}",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let member = ("[a-z_0-9]{1,6}", inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(|all| format!("[\n{}]", all.join(","))),
            proptest::collection::vec(member, 0..4).prop_map(|all| {
                let all: Vec<String> = all.iter().map(|(k, v)| format!("{k:?}:{v}")).collect();
                format!("{{{}}}", all.join(", \r\n"))
            }),
        ]
    })
}

proptest::proptest! {
    /// Whatever a token says, it is refused or read; and what others receive of it is JSON on one
    /// line.
    #[test]
    fn no_claim_panics(values in proptest::collection::vec((0..17_usize, any_json()), 0..6)) {
        const NAMES: [&str; 17] = [
            "sub", "exp", "nbf", "iat", "jti", "aud", "iss", "expire_at", "info", "b64info", "meta",
            "channels", "subs", "channel", "client", "data", "override",
        ];
        let members: Vec<String> =
            values.iter().map(|(name, value)| format!("{:?}:{value}", NAMES[*name])).collect();
        let token = token(HS256, &format!("{{{}}}", members.join(",")));
        let one_line = |json: &[u8]| {
            json.is_empty()
                || !json.iter().any(|byte| matches!(byte, b'\r' | b'\n'))
                    && serde_json::from_slice::<serde_json::Value>(json).is_ok()
        };
        if let Ok(identity) = auth(false).connect(&token, NOW) {
            proptest::prop_assert!(one_line(&identity.info) && one_line(&identity.meta));
            for sub in &identity.subs {
                proptest::prop_assert!(one_line(&sub.info) && one_line(&sub.data));
            }
        }
        let wanted = Wanted { channel: "a", user: "", client: "" };
        if let Ok(grant) = auth(false).subscription(&token, &wanted, NOW) {
            proptest::prop_assert!(one_line(&grant.info) && one_line(&grant.data));
        }
    }

    /// Arbitrary bytes in place of a token are refused.
    #[test]
    fn no_token_panics(text in "[\\PC.]{0,40}", parts in proptest::collection::vec("[A-Za-z0-9_-]{0,20}", 0..5)) {
        for token in [text, parts.join(".")] {
            if !token.is_empty() {
                proptest::prop_assert_eq!(auth(true).connect(&token, NOW), Err(INVALID));
            }
        }
    }
}
