//! Connection tokens, signed as a backend would sign them.

use jsonwebtoken::{Algorithm, EncodingKey, Header};

#[derive(serde::Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

/// An HS256 token of `user`, valid for a day.
#[must_use]
pub fn sign(secret: &str, user: &str) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let claims = Claims { sub: user, exp: now + 86_400 };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .expect("HS256 signs any claims")
}
