//! The claims of tokens: those of RFC 7519, and those that Centrifugo documents in addition.
//!
//! Must not know keys or time. Invariant: values that others receive (`info`, `data`) are one JSON
//! value, no deeper than `JSON_DEPTH`, without raw newlines.

use super::{AuthError, Flaw};
use crate::codec::scanner::Scanner;
use crate::contract::name::Name;
use crate::contract::user::{Overrides, ServerSubscription};
use crate::limits::JSON_DEPTH;
use crate::meant::fields_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A JSON value as it is in the token.
type Raw<'a> = Option<&'a RawValue>;

/// The times in a token, in Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// The token is not valid from this time on (`exp`).
    pub until_ms: Option<f64>,
    /// The token is not valid before this time (`nbf`).
    pub from_ms: Option<f64>,
    /// When the connection or subscription expires: `expire_at`, where 0 means never, else `exp`.
    pub expires_ms: Option<f64>,
}

/// The claims of a connection token.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionClaims {
    pub user: Name,
    pub times: Times,
    pub info: Box<[u8]>,
    pub meta: Box<[u8]>,
    pub subs: Vec<ServerSubscription>,
}

/// The claims of a subscription token.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionClaims {
    pub user: Box<str>,
    pub channel: Box<str>,
    /// The only client id that may use it; "" for any.
    pub client: Box<str>,
    pub times: Times,
    pub info: Box<[u8]>,
    pub data: Box<[u8]>,
    pub overrides: Overrides,
}

/// The required issuer and audience, if configured.
#[derive(Clone, Default)]
pub struct Expected {
    pub audience: Option<String>,
    pub issuer: Option<String>,
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519 section 2). An `f64` holds whole seconds
/// exactly for 285 million years.
type Seconds = Option<f64>;

/// Reads seconds, also from a string of digits: Centrifugo accepts these, so some backends write
/// them.
fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Seconds, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<'a> {
        Number(f64),
        Text(#[serde(borrow)] Cow<'a, str>),
    }
    match Option::<Written<'_>>::deserialize(from)? {
        None => Ok(None),
        Some(Written::Number(seconds)) => Ok(Some(seconds)),
        Some(Written::Text(text)) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.map(Some).ok_or_else(|| D::Error::custom("no number of seconds"))
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Connection<'a> {
    #[serde(borrow)]
    sub: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "seconds")]
    exp: Seconds,
    #[serde(default, deserialize_with = "seconds")]
    nbf: Seconds,
    #[serde(default, rename = "iat", deserialize_with = "seconds")]
    _iat: Seconds,
    #[serde(borrow)]
    aud: Option<Audience<'a>>,
    #[serde(borrow)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "jti")]
    _jti: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "seconds")]
    expire_at: Seconds,
    #[serde(borrow)]
    info: Raw<'a>,
    #[serde(borrow)]
    b64info: Option<Cow<'a, str>>,
    #[serde(borrow)]
    meta: Raw<'a>,
    channels: Option<Vec<String>>,
    /// The claim of a subscription token, which is not valid as a connection token.
    channel: Option<IgnoredAny>,
    #[serde(borrow)]
    subs: Option<BTreeMap<String, Subscription<'a>>>,
}

#[derive(Deserialize)]
struct Subscription<'a> {
    #[serde(borrow)]
    info: Raw<'a>,
    #[serde(borrow)]
    b64info: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Raw<'a>,
    #[serde(borrow)]
    b64data: Option<Cow<'a, str>>,
    #[serde(rename = "override")]
    overrides: Option<Override>,
}

#[derive(Deserialize)]
struct ChannelToken<'a> {
    #[serde(borrow)]
    sub: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "seconds")]
    exp: Seconds,
    #[serde(default, deserialize_with = "seconds")]
    nbf: Seconds,
    #[serde(default, rename = "iat", deserialize_with = "seconds")]
    _iat: Seconds,
    #[serde(borrow)]
    aud: Option<Audience<'a>>,
    #[serde(borrow)]
    iss: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "jti")]
    _jti: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "seconds")]
    expire_at: Seconds,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    client: Option<Cow<'a, str>>,
    #[serde(borrow)]
    info: Raw<'a>,
    #[serde(borrow)]
    b64info: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Raw<'a>,
    #[serde(borrow)]
    b64data: Option<Cow<'a, str>>,
    #[serde(rename = "override")]
    overrides: Option<Override>,
}

/// `{"value": true}`, Centrifugo's form of an optional boolean.
#[derive(Clone, Copy, Deserialize)]
struct Choice {
    #[serde(default)]
    value: bool,
}

#[derive(Clone, Copy, Deserialize)]
struct Override {
    presence: Option<Choice>,
    join_leave: Option<Choice>,
    force_push_join_leave: Option<Choice>,
    force_recovery: Option<Choice>,
    force_positioning: Option<Choice>,
}

impl From<Override> for Overrides {
    fn from(it: Override) -> Self {
        let value = |choice: Option<Choice>| choice.map(|choice| choice.value);
        Overrides {
            presence: value(it.presence),
            join_leave: value(it.join_leave),
            force_push_join_leave: value(it.force_push_join_leave),
            recover: value(it.force_recovery),
            position: value(it.force_positioning),
        }
    }
}

/// Reads the claims of a connection token.
///
/// # Errors
/// `Invalid` if they are malformed, or the issuer or audience is wrong.
pub fn connection(payload: &[u8], expected: &Expected) -> Result<ConnectionClaims, AuthError> {
    let claims: Connection<'_> = read(payload)?;
    expected.check(claims.aud.as_ref(), claims.iss.as_deref())?;
    if claims.channel.is_some() {
        return Err(AuthError::Invalid(Flaw::Claim("channel")));
    }
    let options = claims.subs.unwrap_or_default();
    let plain = claims.channels.unwrap_or_default();
    let mut subs = Vec::with_capacity(options.len() + plain.len());
    // An empty name names no channel: some backends write one for nothing.
    let plain = plain.iter().filter(|channel| !channel.is_empty());
    for channel in plain.filter(|channel| !options.contains_key(*channel)) {
        subs.push(ServerSubscription {
            channel: Name::from(channel.as_str()),
            info: Box::default(),
            data: Box::default(),
            overrides: Overrides::default(),
        });
    }
    for (channel, it) in options.iter().filter(|(channel, _)| !channel.is_empty()) {
        subs.push(ServerSubscription {
            channel: Name::from(channel.as_str()),
            info: value(it.info, it.b64info.as_deref(), "subs")?,
            data: value(it.data, it.b64data.as_deref(), "subs")?,
            overrides: it.overrides.map_or_else(Overrides::default, Overrides::from),
        });
    }
    Ok(ConnectionClaims {
        user: Name::from(claims.sub.as_deref().unwrap_or("")),
        times: Times::new(claims.exp, claims.nbf, claims.expire_at),
        info: value(claims.info, claims.b64info.as_deref(), "info")?,
        meta: value(claims.meta, None, "meta")?,
        subs,
    })
}

/// Reads the claims of a subscription token.
///
/// # Errors
/// As `connection`.
pub fn subscription(payload: &[u8], expected: &Expected) -> Result<SubscriptionClaims, AuthError> {
    let claims: ChannelToken<'_> = read(payload)?;
    expected.check(claims.aud.as_ref(), claims.iss.as_deref())?;
    Ok(SubscriptionClaims {
        user: claims.sub.as_deref().unwrap_or("").into(),
        channel: claims.channel.into(),
        client: claims.client.as_deref().unwrap_or("").into(),
        times: Times::new(claims.exp, claims.nbf, claims.expire_at),
        info: value(claims.info, claims.b64info.as_deref(), "info")?,
        data: value(claims.data, claims.b64data.as_deref(), "data")?,
        overrides: claims.overrides.map_or_else(Overrides::default, Overrides::from),
    })
}

impl Times {
    fn new(exp: Seconds, nbf: Seconds, expire_at: Seconds) -> Times {
        let ms = |seconds: f64| seconds * 1000.0;
        let until_ms = exp.map(ms);
        let expires_ms = match expire_at {
            None => until_ms,
            Some(0.0) => None,
            Some(seconds) => Some(ms(seconds)),
        };
        Times { until_ms, from_ms: nbf.map(ms), expires_ms }
    }
}

impl Expected {
    fn check(&self, aud: Option<&Audience<'_>>, iss: Option<&str>) -> Result<(), AuthError> {
        let for_us = self.audience.as_ref().is_none_or(|wanted| match aud {
            None => false,
            Some(Audience::One(one)) => one == wanted,
            Some(Audience::Many(many)) => many.contains(wanted),
        });
        let by_them = self.issuer.as_deref().is_none_or(|wanted| iss == Some(wanted));
        match (for_us, by_them) {
            (true, true) => Ok(()),
            (false, _) => Err(AuthError::Invalid(Flaw::Audience)),
            (true, false) => Err(AuthError::Invalid(Flaw::Issuer)),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, AuthError> {
    // A list would be read as the claims in their order.
    if payload.trim_ascii_start().first() != Some(&b'{') {
        return Err(AuthError::Invalid(Flaw::NoClaims));
    }
    serde_json::from_slice(payload).map_err(|_| AuthError::Invalid(flaw_of::<T>(payload)))
}

/// The claim that makes the claims unreadable: the first whose value has the wrong form.
fn flaw_of<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Flaw {
    let mut reader = serde_json::Deserializer::from_slice(payload);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return Flaw::NoClaims;
    };
    if !error.inner().is_data() {
        return Flaw::NoClaims;
    }
    let path = error.path().to_string();
    let first = path.split(['.', '[']).next().unwrap_or_default();
    let claim = fields_of::<T>().iter().find(|known| **known == first);
    // A claim that appears twice, or is required and missing, is an error of the whole object.
    let missing = || {
        let text = error.inner().to_string();
        fields_of::<T>().iter().find(|known| text.contains(&format!("`{known}`")))
    };
    claim.or_else(missing).map_or(Flaw::NoClaims, |claim| Flaw::Claim(claim))
}

/// A claim's value that others receive: given directly or in base64, which takes precedence. Empty
/// for none.
fn value(raw: Raw<'_>, base64: Option<&str>, claim: &'static str) -> Result<Box<[u8]>, AuthError> {
    let decoded = base64.filter(|text| !text.is_empty()).map(|text| STANDARD.decode(text));
    let json = match decoded {
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) => return Err(AuthError::Invalid(Flaw::Claim(claim))),
        None => raw.map_or(Vec::new(), |raw| raw.get().as_bytes().to_vec()),
    };
    shown(json).ok_or(AuthError::Invalid(Flaw::Claim(claim)))
}

/// One JSON value in the form in which replies carry it; `None` if it is not JSON.
fn shown(mut json: Vec<u8>) -> Option<Box<[u8]>> {
    if json.is_empty() || json == b"null" {
        return Some(Box::default());
    }
    std::str::from_utf8(&json).ok()?;
    let mut scanner = Scanner::new(&json);
    let whole = scanner.value(JSON_DEPTH).is_ok_and(|extent| !extent.too_deep);
    scanner.skip_space();
    if !whole || scanner.peek().is_some() {
        return None;
    }
    for byte in &mut json {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    Some(json.into())
}
