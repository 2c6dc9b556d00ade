//! Who connects: anonymous, or the user that a connection token (JWT, HS256) names.
//!
//! Must not know connections or clocks. Its invariants: only HS256 signatures by the configured
//! secret pass, whatever a token's header asks for, and no token ever reaches a log or an error.

use crate::clock::Now;
use crate::codec::command::{Disconnect, ErrorCode};
use crate::home::name::Name;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

/// Bytes of a token; a longer one is invalid, and is not looked at.
pub const TOKEN_BYTES: usize = 8 << 10;

/// How connections are told apart.
#[derive(Clone, Default)]
pub struct Options {
    /// The secret that tokens are signed with. With none, or an empty one, every token is invalid.
    pub hmac_secret: Option<Vec<u8>>,
    /// Connections without a token are let in, as the user "".
    pub allow_anonymous: bool,
}

/// Who a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`; "" for an anonymous user.
    pub user: Name,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No token, and anonymous connections are not allowed. The incumbent finds no credentials
    /// then, and calls it a bad request.
    NoToken,
    /// Signed rightly, but its time is over or has not come (`exp`, `nbf`). SDKs fetch another.
    Expired,
    /// Forged, signed otherwise, malformed, or too long.
    Invalid,
}

/// What a connection that is not let in is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The connect command's reply is this error.
    Error(ErrorCode),
    /// The connection is closed.
    Disconnect(Disconnect),
}

impl AuthError {
    /// Error 109 for a token whose time is over, which makes SDKs fetch a new one; disconnect 3500
    /// for one that is invalid and 3501 for none, after which they stay away.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            AuthError::NoToken => Refusal::Disconnect(Disconnect::BadRequest),
            AuthError::Expired => Refusal::Error(ErrorCode::TokenExpired),
            AuthError::Invalid => Refusal::Disconnect(Disconnect::InvalidToken),
        }
    }
}

/// Checks connection tokens.
#[derive(Clone)]
pub struct Auth {
    key: Option<DecodingKey>,
    validation: Validation,
    allow_anonymous: bool,
}

/// The claims that count. Times are seconds since 1970 and may have a fraction (RFC 7519 section
/// 2); an `f64` keeps whole seconds exact for 285 million years.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
}

impl Auth {
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let secret = options.hmac_secret.as_deref().filter(|secret| !secret.is_empty());
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would read the system's clock, and a simulated host has its own.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Auth {
            key: secret.map(DecodingKey::from_secret),
            validation,
            allow_anonymous: options.allow_anonymous,
        }
    }

    /// Decides on a connect command by its token, "" for none. A given token has to be valid, even
    /// where anonymous connections are allowed. There is no leeway on its times.
    ///
    /// # Errors
    /// Why the connection is not let in.
    pub fn connect(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        if token.is_empty() {
            let anonymous = Identity { user: Name::from("") };
            return if self.allow_anonymous { Ok(anonymous) } else { Err(AuthError::NoToken) };
        }
        if token.len() > TOKEN_BYTES {
            return Err(AuthError::Invalid);
        }
        let key = self.key.as_ref().ok_or(AuthError::Invalid)?;
        let token =
            decode::<Claims>(token, key, &self.validation).map_err(|_| AuthError::Invalid)?;
        // Extensions that a token calls critical have to be understood, and none is (RFC 7515
        // 4.1.11).
        if token.header.crit.is_some() {
            return Err(AuthError::Invalid);
        }
        let claims = token.claims;
        let passed = |second: f64| now.unix_ms as f64 >= second * 1000.0;
        if claims.exp.is_some_and(passed) || claims.nbf.is_some_and(|second| !passed(second)) {
            return Err(AuthError::Expired);
        }
        Ok(Identity { user: Name::from(claims.sub.as_deref().unwrap_or("")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use jsonwebtoken::crypto::sign;

    const SECRET: &[u8] = b"a secret of the tests";
    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    const NOW: Now = Now { monotonic_us: 0, unix_ms: 1_700_000_000_500 };

    fn signed_with(secret: &[u8], algorithm: Algorithm, header: &str, claims: &str) -> String {
        let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(secret);
        let signature = sign(body.as_bytes(), &key, algorithm).unwrap();
        format!("{body}.{signature}")
    }

    fn token(header: &str, claims: &str) -> String {
        signed_with(SECRET, Algorithm::HS256, header, claims)
    }

    fn auth(allow_anonymous: bool) -> Auth {
        Auth::new(&Options { hmac_secret: Some(SECRET.to_vec()), allow_anonymous })
    }

    fn user(name: &str) -> Result<Identity, AuthError> {
        Ok(Identity { user: Name::from(name) })
    }

    #[test]
    fn claims_decide() {
        let invalid = Err(AuthError::Invalid);
        let expired = Err(AuthError::Expired);
        let table = [
            (r#"{"sub":"al"}"#, user("al")),
            (r#"{"sub":"al","aud":"x","iss":"y","info":{"a":1},"channels":["c"]}"#, user("al")),
            (r#"{"sub":""}"#, user("")),
            (r#"{"sub":null,"exp":null}"#, user("")),
            ("{}", user("")),
            (r#"{"sub":42}"#, invalid.clone()),
            (r#"{"sub":"al","sub":"bo"}"#, invalid.clone()),
            (r#"{"sub":"al","exp":1700000001}"#, user("al")),
            (r#"{"sub":"al","exp":1700000000}"#, expired.clone()),
            (r#"{"sub":"al","exp":1700000000.501}"#, user("al")),
            (r#"{"sub":"al","exp":1700000000.5}"#, expired.clone()),
            (r#"{"sub":"al","exp":-1}"#, expired.clone()),
            (r#"{"sub":"al","exp":18446744073709551615}"#, user("al")),
            (r#"{"sub":"al","exp":1e300}"#, user("al")),
            (r#"{"sub":"al","exp":1e400}"#, invalid.clone()),
            (r#"{"sub":"al","exp":"1700000001"}"#, invalid.clone()),
            (r#"{"sub":"al","exp":true}"#, invalid.clone()),
            (r#"{"sub":"al","nbf":1700000000.5}"#, user("al")),
            (r#"{"sub":"al","nbf":1700000001}"#, expired),
            (r#"["al"]"#, invalid.clone()),
            ("not JSON", invalid),
        ];
        for (claims, expected) in table {
            assert_eq!(auth(true).connect(&token(HS256, claims), NOW), expected, "{claims}");
        }
    }

    #[test]
    fn only_our_signature_counts() {
        let claims = r#"{"sub":"al"}"#;
        let good = token(HS256, claims);
        assert_eq!(auth(false).connect(&good, NOW), user("al"));
        let (body, signature) = good.rsplit_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let payload = URL_SAFE_NO_PAD.encode(claims);
        let header = URL_SAFE_NO_PAD.encode(HS256);
        let other = URL_SAFE_NO_PAD.encode(r#"{"sub":"bo"}"#);
        let long = format!(r#"{{"sub":"al","pad":"{}"}}"#, "x".repeat(TOKEN_BYTES));
        let table = [
            ("no signature asked for", format!("{none}.{payload}.")),
            ("the same, signed", token(r#"{"alg":"none"}"#, claims)),
            ("RS256 over our secret", token(r#"{"alg":"RS256"}"#, claims)),
            ("HS384 said, HS256 done", token(r#"{"alg":"HS384"}"#, claims)),
            ("HS384", signed_with(SECRET, Algorithm::HS384, r#"{"alg":"HS384"}"#, claims)),
            ("another secret", signed_with(b"x", Algorithm::HS256, HS256, claims)),
            ("an empty secret", signed_with(b"", Algorithm::HS256, HS256, claims)),
            ("another payload", format!("{header}.{other}.{signature}")),
            ("signature cut", format!("{body}.{}", &signature[..40])),
            ("signature gone", body.to_string()),
            ("a part more", format!("{good}.x")),
            ("a critical extension", token(r#"{"alg":"HS256","crit":["b64"]}"#, claims)),
            ("too long", token(HS256, &long)),
            ("dots", "..".to_string()),
            ("not a token", "al".to_string()),
        ];
        for (what, token) in table {
            assert_eq!(auth(true).connect(&token, NOW), Err(AuthError::Invalid), "{what}");
        }
    }

    #[test]
    fn a_token_may_be_as_long_as_the_bound() {
        let empty = token(HS256, r#"{"sub":""}"#).len();
        // Three bytes of a payload are four of a token.
        let name = "x".repeat((TOKEN_BYTES - empty) / 4 * 3);
        let longest = token(HS256, &format!(r#"{{"sub":"{name}"}}"#));
        assert!(longest.len() > TOKEN_BYTES - 4 && longest.len() <= TOKEN_BYTES);
        assert_eq!(auth(false).connect(&longest, NOW), user(&name));
    }

    #[test]
    fn without_a_token_it_depends() {
        assert_eq!(auth(true).connect("", NOW), user(""));
        assert_eq!(auth(false).connect("", NOW), Err(AuthError::NoToken));
        assert_eq!(AuthError::NoToken.refusal(), Refusal::Disconnect(Disconnect::BadRequest));
    }

    #[test]
    fn without_a_secret_no_token_is_valid() {
        for hmac_secret in [None, Some(Vec::new())] {
            let auth = Auth::new(&Options { hmac_secret, allow_anonymous: true });
            let forged = signed_with(b"", Algorithm::HS256, HS256, r#"{"sub":"root"}"#);
            assert_eq!(auth.connect(&forged, NOW), Err(AuthError::Invalid));
            assert_eq!(auth.connect("", NOW), user(""));
        }
    }
}
