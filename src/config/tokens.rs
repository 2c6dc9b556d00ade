//! Keys and rules of tokens, as configured: the texts are read here, and `auth` reads the keys in
//! them.
//!
//! Invariant: a key is never shown, even if it is invalid.

use super::Secret;
use super::check::Rules;
use super::raw::RawClient;

/// Largest file of keys, in bytes.
const FILE_BYTES: u64 = 1 << 20;
/// Beginning of a PEM text; any other value is a path.
const PEM: &str = "-----BEGIN ";

/// The keys and rules that tokens are checked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Secrets of HS256, HS384 and HS512: the current one first, then the earlier ones.
    pub hmac_secrets: Vec<Secret>,
    /// PEM texts of public keys; empty for none.
    pub rsa_public_key: Secret,
    pub ecdsa_public_key: Secret,
    pub ed25519_public_key: Secret,
    /// A JSON Web Key Set; empty for none.
    pub jwks: Secret,
    /// Audience that a token's `aud` must contain.
    pub audience: Option<String>,
    /// Issuer that a token's `iss` must equal.
    pub issuer: Option<String>,
    /// The cookie that may carry a connection token.
    pub cookie: Option<String>,
}

impl Tokens {
    /// Is there a key at all?
    #[must_use]
    pub fn any_key(&self) -> bool {
        let public =
            [&self.rsa_public_key, &self.ecdsa_public_key, &self.ed25519_public_key, &self.jwks];
        !self.hmac_secrets.is_empty() || public.iter().any(|key| !key.as_bytes().is_empty())
    }
}

impl Rules {
    pub(super) fn tokens(&mut self, client: &RawClient) -> Tokens {
        let current = &client.token_hmac_secret;
        let old = &client.token_hmac_secrets_old;
        if current.is_empty() && !old.is_empty() {
            self.wrong("client.token_hmac_secrets_old", "needs client.token_hmac_secret");
        }
        for (key, short) in [
            ("client.token_hmac_secret", is_short(current)),
            ("client.token_hmac_secrets_old", old.iter().any(|secret| is_short(secret))),
        ] {
            if short {
                let warning = format!("{key} has fewer than 32 bytes: it can be guessed");
                self.merged.warnings.push(warning);
            }
        }
        let secrets = std::iter::once(current).chain(old).filter(|secret| !secret.is_empty());
        if !is_cookie_name(&client.token_cookie) {
            self.wrong("client.token_cookie", "must be the name of a cookie");
        }
        Tokens {
            hmac_secrets: secrets.map(|secret| Secret(secret.clone())).collect(),
            rsa_public_key: self.pem("client.token_rsa_public_key", &client.token_rsa_public_key),
            ecdsa_public_key: self
                .pem("client.token_ecdsa_public_key", &client.token_ecdsa_public_key),
            ed25519_public_key: self
                .pem("client.token_ed25519_public_key", &client.token_ed25519_public_key),
            jwks: self.file_of_keys("client.token_jwks_file", &client.token_jwks_file),
            audience: some(&client.token_audience),
            issuer: some(&client.token_issuer),
            cookie: some(&client.token_cookie),
        }
    }

    /// A PEM text, given directly or read from a file.
    fn pem(&mut self, key: &str, value: &str) -> Secret {
        if value.trim_start().starts_with(PEM) {
            return Secret(value.to_owned());
        }
        self.file_of_keys(key, value)
    }

    pub(super) fn file_of_keys(&mut self, key: &str, path: &str) -> Secret {
        if path.is_empty() {
            return Secret::default();
        }
        let read = std::fs::metadata(path).and_then(|about| {
            if about.len() > FILE_BYTES {
                return Err(std::io::Error::other("it is larger than 1 MiB"));
            }
            std::fs::read_to_string(path)
        });
        match read {
            Ok(text) if text.trim().is_empty() => self.wrong(key, "is an empty file"),
            Ok(text) => return Secret(text),
            Err(cause) => {
                let pem = if key.ends_with("_file") { "" } else { ", and it is not PEM text" };
                self.wrong(key, format!("cannot be read as a file: {cause}{pem}"));
            }
        }
        Secret::default()
    }
}

fn is_short(secret: &str) -> bool {
    !secret.is_empty() && secret.len() < 32
}

fn is_cookie_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes().all(letter)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
