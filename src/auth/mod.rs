//! Who connects, and who may subscribe: what a token says, once its signature is found right.
//!
//! Must not know connections or clocks. Its invariants: a signature counts only by the algorithm of
//! the key that it is checked with, whatever the token's header asks for; the user's id comes from
//! the token alone; no token ever reaches a log or an error.

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

/// How connections are told apart.
#[derive(Clone, Default)]
pub struct Options {
    /// With none, no token is valid.
    pub keys: KeyOptions,
    /// A token has to be for this audience (`aud`), where one is set.
    pub audience: Option<String>,
    /// A token has to come from here (`iss`), where one is set.
    pub issuer: Option<String>,
    /// The cookie that may carry a connection token, where one is named.
    pub cookie: Option<String>,
    /// Connections without a token are let in, as the user "".
    pub allow_anonymous: bool,
}

/// Who a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`; "" for an anonymous user.
    pub user: Name,
    /// When it has to bring another token, in Unix milliseconds; none: never.
    pub expires_ms: Option<u64>,
    /// What others are told of it (`info`), JSON; empty for nothing.
    pub info: Box<[u8]>,
    /// What the server alone is told (`meta`), JSON; empty for nothing.
    pub meta: Box<[u8]>,
    /// What it is subscribed to from the start (`channels`, `subs`).
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
    /// When it has to be renewed, in Unix milliseconds; none: never.
    pub expires_ms: Option<u64>,
    /// What others are told of the subscriber (`info`), JSON; empty for nothing.
    pub info: Box<[u8]>,
    /// A value for the subscriber (`data`), JSON; empty for none.
    pub data: Box<[u8]>,
    pub overrides: Overrides,
}

/// The subscription that a token is shown for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub channel: &'a str,
    /// The connection's user; "" for an anonymous one.
    pub user: &'a str,
    /// The connection's client id.
    pub client: &'a str,
}

/// Why a token does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No token, and anonymous connections are not allowed. Centrifugo finds no credentials
    /// then, and calls it a bad request.
    NoToken,
    /// Signed rightly, but its time is over or has not come (`exp`, `nbf`). SDKs fetch another.
    Expired,
    /// The token is good, but what it would begin is over already (`expire_at`). It is told as
    /// `Expired` is, for the same helps: SDKs take error 110 for the end.
    Over,
    /// Forged, signed otherwise, malformed, too long, or for or from somebody else.
    Invalid(Flaw),
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AuthError::NoToken => f.write_str("token: there is none"),
            AuthError::Expired => f.write_str("expired: it is not between its nbf and exp"),
            AuthError::Over => f.write_str("expired: what it would begin is over (expire_at)"),
            AuthError::Invalid(flaw) => flaw.fmt(f),
        }
    }
}

/// What somebody whose token does not do is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command's reply is this error.
    Error(ErrorCode),
    /// The connection is closed.
    Disconnect(Disconnect),
}

impl AuthError {
    /// The answer to a connect command. Error 109 for a token whose time is over, which makes SDKs
    /// fetch a new one; disconnect 3500 for one that is invalid and 3501 for none, after which they
    /// stay away.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self {
            AuthError::NoToken => Refusal::Disconnect(Disconnect::BadRequest),
            AuthError::Expired | AuthError::Over => Refusal::Error(ErrorCode::TokenExpired),
            AuthError::Invalid(_) => Refusal::Disconnect(Disconnect::InvalidToken),
        }
    }

    /// The answer to a refresh command. SDKs take an error for the end, so that a token whose time
    /// is over is disconnect 3005: they come back, and fetch another.
    #[must_use]
    pub fn refresh_refusal(self) -> Refusal {
        match self {
            AuthError::Expired | AuthError::Over => Refusal::Disconnect(Disconnect::Expired),
            other => other.refusal(),
        }
    }

    /// The answer to a subscribe or a `sub_refresh` command: a token that does not do for the
    /// channel ends nothing but the subscription, and one whose time is over ends nothing: error
    /// 109 is temporary, so that SDKs fetch another and ask again. What the token before gave lasts
    /// for its own time and 25 s.
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

    /// The token that an upgrade brings, in `Authorization: Bearer` or in the configured cookie.
    pub fn offered<'a>(&self, headers: &[(&'a str, &'a [u8])]) -> Option<&'a str> {
        offered::token(headers, self.cookie.as_deref())
    }

    /// Begins to check a token of which nothing is known, where that takes long: `check_on` tries a
    /// key at a time. None: it can be decided on at once.
    pub fn begin_check(&mut self, token: &str) -> Option<Check> {
        if token.is_empty() || !self.keys.has_slow() {
            return None;
        }
        let check = self.verdicts.begin(&self.keys, token)?;
        let known = self.connections.has(token) || self.subscriptions.has(token);
        (!known).then_some(check)
    }

    /// Tries the next key of a check; true when it can be decided on the token, which is to be done
    /// before another is checked.
    pub fn check_on(&mut self, token: &str, check: &mut Check) -> bool {
        self.verdicts.go_on(&self.keys, token, check)
    }

    /// What signatures have cost to check since this was asked last, in nanoseconds.
    pub fn take_spent_ns(&mut self) -> usize {
        self.verdicts.take_spent_ns()
    }

    /// Decides on a connect or refresh command by its token, "" for none. A given token has to be
    /// valid, even where anonymous connections are allowed. There is no leeway on its times.
    ///
    /// # Errors
    /// Why the token does not do.
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
    /// Why the token does not do; `Invalid` too when it is for another channel, user or client.
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
    /// Does the token count now? Gives when what it begins ends, in Unix milliseconds.
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
            // A float beyond the integer's range becomes its end.
            expires => Ok(expires.map(|ms| ms as u64)),
        }
    }
}

/// What a token says of itself, whoever made it: for who looks into why it does not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its `sub`.
    pub user: String,
    /// The algorithm and the key's name of its header.
    pub algorithm: String,
    pub kid: String,
}

/// Reads what a token says of itself, as far as it can be read. Nothing of it may be believed.
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

/// A token, taken apart.
struct Token<'a> {
    header: jsonwebtoken::Header,
    /// What is signed: header and payload, as they stand.
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
        // Extensions that a token calls critical have to be understood, and none is (RFC 7515
        // 4.1.11).
        if header.crit.is_some() {
            return Err(invalid(Flaw::Critical));
        }
        Ok(Token { header, message, payload, signature })
    }
}

/// The payload of a token whose signature is right.
fn payload(keys: &Keys, verdicts: &mut Verdicts, text: &str) -> Result<Vec<u8>, AuthError> {
    let token = Token::read(text)?;
    verdicts.verdict(keys, text, &token)?;
    URL_SAFE_NO_PAD.decode(token.payload).map_err(|_| AuthError::Invalid(Flaw::NoClaims))
}
