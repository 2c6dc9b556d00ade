//! Checks tokens: who connects, and who may subscribe, once the signature is verified.
//!
//! Must not know connections or clocks. Invariants: a signature counts only with an algorithm of
//! the key that checks it, whatever the token's header asks for; the user's id comes only from the
//! token; no token reaches a log or an error.

mod cache;
mod claims;
mod flaw;
#[cfg(test)]
mod key_tests;
mod keys;
pub mod mint;
mod offered;
#[cfg(test)]
mod tests;
mod verdicts;

pub use flaw::Flaw;
pub use keys::{KeyError, KeyOptions};
pub use verdicts::Check;

use crate::clock::Now;
use crate::codec::command::{Disconnect, ErrorCode};
use crate::contract::name::Name;
use crate::contract::user::{Overrides, ServerSubscription};
use crate::limits::{TOKEN_BYTES, TOKENS_CACHED};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache::Cache;
use claims::{ConnectionClaims, Expected, SubscriptionClaims, Times};
use keys::Keys;
use verdicts::Verdicts;

/// How connections are authenticated.
#[derive(Clone, Default)]
pub struct Options {
    /// Without keys no token is valid.
    pub keys: KeyOptions,
    /// The audience that a token must be for (`aud`), if set.
    pub audience: Option<String>,
    /// The issuer that a token must come from (`iss`), if set.
    pub issuer: Option<String>,
    /// The cookie that may carry a connection token, if any.
    pub cookie: Option<String>,
    /// Connections without a token are accepted, as the user "".
    pub allow_anonymous: bool,
}

/// The identity of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`; "" for an anonymous user.
    pub user: Name,
    /// When the connection expires unless it sends a new token, in Unix milliseconds; `None`:
    /// never.
    pub expires_ms: Option<u64>,
    /// Info that others receive about it (`info`), JSON; empty for none.
    pub info: Box<[u8]>,
    /// Data for the server only (`meta`), JSON; empty for none.
    pub meta: Box<[u8]>,
    /// Its initial subscriptions (`channels`, `subs`).
    pub subs: Vec<ServerSubscription>,
}

impl Identity {
    fn anonymous() -> Identity {
        Identity {
            user: Name::from(""),
            expires_ms: None,
            info: Box::default(),
            meta: Box::default(),
            subs: Vec::new(),
        }
    }
}

/// What a subscription token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// When it has to be renewed, in Unix milliseconds; `None`: never.
    pub expires_ms: Option<u64>,
    /// Info that others receive about the subscriber (`info`), JSON; empty for none.
    pub info: Box<[u8]>,
    /// A value for the subscriber (`data`), JSON; empty for none.
    pub data: Box<[u8]>,
    pub overrides: Overrides,
}

/// The subscription that a token is used for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub channel: &'a str,
    /// The connection's user; "" for an anonymous one.
    pub user: &'a str,
    /// The connection's client id.
    pub client: &'a str,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// There is no token, and anonymous connections are not allowed. Centrifugo finds no
    /// credentials in this case, and answers bad request.
    NoToken,
    /// Correctly signed, but not valid now (`exp`, `nbf`). SDKs fetch a new one.
    Expired,
    /// Valid, but the connection or subscription would already be expired (`expire_at`). It is
    /// answered like `Expired`, because SDKs give up after error 110.
    Over,
    /// Forged, malformed, too long, signed in an unknown way, or with the wrong issuer or audience.
    Invalid(Flaw),
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AuthError::NoToken => f.write_str("token: there is none"),
            AuthError::Expired => f.write_str("expired: now is not between its nbf and exp"),
            AuthError::Over => f.write_str("expired: its expire_at has passed"),
            AuthError::Invalid(flaw) => flaw.fmt(f),
        }
    }
}

/// What a client with a refused token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command's reply is this error.
    Error(ErrorCode),
    /// The connection is closed.
    Disconnect(Disconnect),
}

impl AuthError {
    /// The answer to a connect command. Error 109 for an expired token, which makes SDKs fetch a
    /// new one; disconnect 3500 for an invalid one and 3501 for none, after which they do not
    /// reconnect.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            AuthError::NoToken => Refusal::Disconnect(Disconnect::BadRequest),
            AuthError::Expired | AuthError::Over => Refusal::Error(ErrorCode::TokenExpired),
            AuthError::Invalid(_) => Refusal::Disconnect(Disconnect::InvalidToken),
        }
    }

    /// The answer to a refresh command. SDKs give up after an error, so an expired token is
    /// answered with disconnect 3005: they reconnect, and fetch a new one.
    #[must_use]
    pub fn refresh_refusal(self) -> Refusal {
        match self {
            AuthError::Expired | AuthError::Over => Refusal::Disconnect(Disconnect::Expired),
            other => other.refusal(),
        }
    }

    /// The answer to a subscribe or `sub_refresh` command. A token that is not valid for the
    /// channel ends only the subscription. An expired one ends nothing: error 109 is temporary, so
    /// SDKs fetch another token and try again, while the previous token is good for its own time
    /// and 25 s more.
    #[must_use]
    pub fn subscription_error(self) -> ErrorCode {
        match self {
            AuthError::Expired | AuthError::Over => ErrorCode::TokenExpired,
            AuthError::NoToken | AuthError::Invalid(_) => ErrorCode::PermissionDenied,
        }
    }
}

/// Checks tokens.
#[derive(Clone)]
pub struct Auth {
    keys: Keys,
    expected: Expected,
    cookie: Option<String>,
    allow_anonymous: bool,
    connections: Cache<ConnectionClaims>,
    subscriptions: Cache<SubscriptionClaims>,
    verdicts: Verdicts,
}

impl Auth {
    /// Reads the keys.
    ///
    /// # Errors
    /// Every key that cannot be used.
    pub fn new(options: &Options) -> Result<Self, Vec<KeyError>> {
        let (audience, issuer) = (options.audience.clone(), options.issuer.clone());
        Ok(Auth {
            keys: Keys::new(&options.keys)?,
            expected: Expected { audience, issuer },
            cookie: options.cookie.clone(),
            allow_anonymous: options.allow_anonymous,
            connections: Cache::new(TOKENS_CACHED),
            subscriptions: Cache::new(TOKENS_CACHED),
            verdicts: Verdicts::default(),
        })
    }

    /// The token in an upgrade request, from `Authorization: Bearer` or from the configured cookie.
    pub fn offered<'a>(&self, headers: &[(&'a str, &'a [u8])]) -> Option<&'a str> {
        offered::token(headers, self.cookie.as_deref())
    }

    /// Begins to check an unknown token if that takes long: `check_on` then tries one key at a
    /// time. `None`: the token can be decided on at once.
    pub fn begin_check(&mut self, token: &str) -> Option<Check> {
        if token.is_empty() || !self.keys.has_slow() {
            return None;
        }
        let check = self.verdicts.begin(&self.keys, token)?;
        let known = self.connections.has(token) || self.subscriptions.has(token);
        (!known).then_some(check)
    }

    /// Tries the next key of a check. Returns true when the token can be decided on, which must
    /// happen before another check.
    pub fn check_on(&mut self, token: &str, check: &mut Check) -> bool {
        self.verdicts.go_on(&self.keys, token, check)
    }

    /// The cost of checking signatures since the last call, in nanoseconds.
    pub fn take_spent_ns(&mut self) -> usize {
        self.verdicts.take_spent_ns()
    }

    /// Decides on a connect or refresh command by its token, "" for none. A token that is given
    /// must be valid, even where anonymous connections are allowed. There is no leeway on its
    /// times.
    ///
    /// # Errors
    /// Why the token is refused.
    pub fn connect(&mut self, token: &str, now: Now) -> Result<Identity, AuthError> {
        if token.is_empty() {
            let anonymous = Identity::anonymous();
            return if self.allow_anonymous { Ok(anonymous) } else { Err(AuthError::NoToken) };
        }
        let (keys, verdicts, expected) = (&self.keys, &mut self.verdicts, &self.expected);
        let verify = || claims::connection(&payload(keys, verdicts, token)?, expected);
        let claims = self.connections.get_or(token, verify)?;
        let expires_ms = claims.times.check(now)?;
        let ConnectionClaims { user, info, meta, subs, .. } = claims;
        Ok(Identity { user, expires_ms, info, meta, subs })
    }

    /// Decides on a subscription by its token.
    ///
    /// # Errors
    /// Why the token is refused; `Invalid` also if it is for another channel, user or client.
    pub fn subscription(
        &mut self,
        token: &str,
        wanted: &Wanted<'_>,
        now: Now,
    ) -> Result<Grant, AuthError> {
        if token.is_empty() {
            return Err(AuthError::NoToken);
        }
        let (keys, verdicts, expected) = (&self.keys, &mut self.verdicts, &self.expected);
        let verify = || claims::subscription(&payload(keys, verdicts, token)?, expected);
        let claims = self.subscriptions.get_or(token, verify)?;
        let for_another = if *claims.channel != *wanted.channel {
            Some(Flaw::Channel)
        } else if *claims.user != *wanted.user {
            Some(Flaw::User)
        } else if !claims.client.is_empty() && *claims.client != *wanted.client {
            Some(Flaw::Client)
        } else {
            None
        };
        if let Some(flaw) = for_another {
            return Err(AuthError::Invalid(flaw));
        }
        let expires_ms = claims.times.check(now)?;
        let SubscriptionClaims { info, data, overrides, .. } = claims;
        Ok(Grant { expires_ms, info, data, overrides })
    }
}

impl Times {
    /// Is the token valid now? Returns when the connection or subscription expires, in Unix
    /// milliseconds.
    fn check(&self, now: Now) -> Result<Option<u64>, AuthError> {
        // Unix milliseconds are exact in an `f64` for 285,000 years.
        let now_ms = now.unix_ms as f64;
        if self.until_ms.is_some_and(|until| now_ms >= until)
            || self.from_ms.is_some_and(|from| now_ms < from)
        {
            return Err(AuthError::Expired);
        }
        match self.expires_ms {
            Some(expires) if now_ms >= expires => Err(AuthError::Over),
            // A float beyond the integer's range becomes the largest integer.
            expires => Ok(expires.map(|ms| ms as u64)),
        }
    }
}

/// What a token says about itself, without being verified: for the log of refusals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its `sub`.
    pub user: String,
    /// The algorithm and the key's name in its header.
    pub algorithm: String,
    pub kid: String,
}

/// Reads what a token says about itself, as far as possible. None of it may be trusted.
#[must_use]
pub fn said_by(token: &str) -> Said {
    let mut said = Said::default();
    if token.len() > TOKEN_BYTES {
        return said;
    }
    let mut parts = token.split('.').map(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap_or_default()
    });
    let (header, claims) = (parts.next(), parts.next());
    let text = |part: &Option<serde_json::Value>, name: &str| -> String {
        let value = part.as_ref().and_then(|part| part.get(name)?.as_str());
        value.unwrap_or_default().to_owned()
    };
    said.algorithm = text(&header, "alg");
    said.kid = text(&header, "kid");
    said.user = text(&claims, "sub");
    said
}

/// The parts of a token.
struct Token<'a> {
    header: jsonwebtoken::Header,
    /// The signed text: header and payload as written.
    message: &'a str,
    payload: &'a str,
    /// In base64url.
    signature: &'a str,
}

impl Token<'_> {
    fn read(text: &str) -> Result<Token<'_>, AuthError> {
        let invalid = AuthError::Invalid;
        if text.len() > TOKEN_BYTES {
            return Err(invalid(Flaw::TooLong));
        }
        let (message, signature) = text.rsplit_once('.').ok_or(invalid(Flaw::NoToken))?;
        let (_, payload) = message.split_once('.').ok_or(invalid(Flaw::NoToken))?;
        let header = jsonwebtoken::decode_header(text).map_err(|_| invalid(Flaw::NoToken))?;
        // Critical extensions of a token must be understood, and none is (RFC 7515 4.1.11).
        if header.crit.is_some() {
            return Err(invalid(Flaw::Critical));
        }
        Ok(Token { header, message, payload, signature })
    }
}

/// The payload of a token whose signature is valid.
fn payload(keys: &Keys, verdicts: &mut Verdicts, text: &str) -> Result<Vec<u8>, AuthError> {
    let token = Token::read(text)?;
    verdicts.verdict(keys, text, &token)?;
    URL_SAFE_NO_PAD.decode(token.payload).map_err(|_| AuthError::Invalid(Flaw::NoClaims))
}
