//! Connection tokens, signed as a backend would sign them.

use anyhow::Result;
use jsonwebtoken::{Algorithm, EncodingKey, Header};

#[derive(serde::Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
}

/// An HS256 token of `user`, valid for a day.
pub fn sign(secret: &str, user: &str) -> Result<String> {
    let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let claims = Claims { sub: user, exp: now + 86_400 };
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}
