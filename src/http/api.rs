//! Bodies of the server API, as Centrifugo's: `POST /api/publish` and `/api/disconnect` in JSON.
//!
//! A call becomes the same command that a client would give. Errors of a call travel with status
//! 200 as `{"error": {...}}`. Must not know who may do what: here is only the key.

use crate::codec::command::{ErrorCode, Publish};
use crate::limits::JSON_DEPTH;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write;

/// Reads the body of `/api/publish`.
///
/// # Errors
/// 107 when it is not such a body, or its data is nested deeper than `JSON_DEPTH`; 108 when it asks
/// for what this version cannot do: doing less than asked would be a lie.
pub fn publish(body: &[u8]) -> Result<Publish<'_>, ErrorCode> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        channel: Cow<'a, str>,
        #[serde(borrow)]
        data: &'a RawValue,
        #[serde(borrow)]
        b64data: Option<&'a RawValue>,
        #[serde(borrow)]
        tags: Option<&'a RawValue>,
        #[serde(borrow)]
        idempotency_key: Option<&'a RawValue>,
        #[serde(default)]
        skip_history: Option<bool>,
    }
    let body: Body<'_> = read(body)?;
    if body.channel.is_empty() {
        return Err(ErrorCode::BadRequest);
    }
    let wishes = [body.b64data, body.tags, body.idempotency_key];
    if wishes.into_iter().any(asks) || body.skip_history == Some(true) {
        return Err(ErrorCode::NotAvailable);
    }
    let data = body.data.get().as_bytes();
    Ok(Publish { channel: body.channel, data, ..Publish::default() })
}

/// Reads the body of `/api/disconnect`: the user whose connections are to end.
///
/// # Errors
/// As `publish`.
pub fn disconnect(body: &[u8]) -> Result<Cow<'_, str>, ErrorCode> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        user: Cow<'a, str>,
        #[serde(borrow)]
        client: Option<&'a RawValue>,
        #[serde(borrow)]
        session: Option<&'a RawValue>,
        #[serde(borrow)]
        whitelist: Option<&'a RawValue>,
        #[serde(borrow)]
        disconnect: Option<&'a RawValue>,
    }
    let body: Body<'_> = read(body)?;
    if body.user.is_empty() {
        return Err(ErrorCode::BadRequest);
    }
    let wishes = [body.client, body.session, body.whitelist, body.disconnect];
    if wishes.into_iter().any(asks) {
        return Err(ErrorCode::NotAvailable);
    }
    Ok(body.user)
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ErrorCode> {
    let text = simdutf8::basic::from_utf8(body).map_err(|_| ErrorCode::BadRequest)?;
    // The body is one level above its data.
    if depth(body) > JSON_DEPTH + 1 {
        return Err(ErrorCode::BadRequest);
    }
    serde_json::from_str(text).map_err(|_| ErrorCode::BadRequest)
}

/// Is this option asked for, rather than left at its empty value?
fn asks(option: Option<&RawValue>) -> bool {
    option.is_some_and(|value| !matches!(value.get(), "null" | "\"\"" | "{}" | "[]"))
}

/// Levels of arrays and objects; meant for valid JSON, and bounded by its length for any other.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Writes the answer to a publish; `position` is offset and epoch where the channel keeps history.
pub fn write_published(out: &mut Vec<u8>, position: Option<(u64, &str)>) {
    match position {
        Some((offset, epoch)) => {
            debug_assert!(epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            put(out, format_args!(r#"{{"result":{{"offset":{offset},"epoch":"{epoch}"}}}}"#));
        }
        None => write_done(out),
    }
}

/// Writes the answer to a call that has nothing to tell.
pub fn write_done(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"result":{}}"#);
}

/// Writes the answer to a call that failed.
pub fn write_error(out: &mut Vec<u8>, error: ErrorCode) {
    let (code, message, _) = error.parts();
    put(out, format_args!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#));
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes all");
}

/// May this call be made? `key` is the configured one, `open` whether none is needed where none is
/// set (`--dev`); then the values of `X-API-Key` and `Authorization`. A key in either will do.
#[must_use]
pub fn authorized(
    key: Option<&[u8]>,
    open: bool,
    x_api_key: Option<&[u8]>,
    authorization: Option<&[u8]>,
) -> bool {
    let Some(key) = key else {
        return open;
    };
    let after_scheme = authorization.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"apikey ").then(|| rest.trim_ascii())
    });
    [x_api_key, after_scheme].into_iter().flatten().any(|given| same(given, key))
}

/// Compares in a time that tells nothing but the length.
fn same(given: &[u8], key: &[u8]) -> bool {
    let difference = given.iter().zip(key).fold(0, |all, (a, b)| all | std::hint::black_box(a ^ b));
    given.len() == key.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_keeps_its_data_as_it_came() {
        let body =
            br#" { "extra": {"x": 1}, "data": {"a" : 1.50, "b":"\ud800"} , "channel":"chat:a" }"#;
        let publish = publish(body).expect("a good body");
        assert_eq!(publish.channel, "chat:a");
        assert_eq!(publish.data, br#"{"a" : 1.50, "b":"\ud800"}"#);
        assert!(matches!(publish.channel, Cow::Borrowed(_)));
        let escaped =
            super::publish(br#"{"channel":"\u0061","data":null,"skip_history":false,"tags":{}}"#);
        assert_eq!(
            escaped,
            Ok(Publish { channel: "a".into(), data: b"null", ..Publish::default() })
        );
    }

    #[test]
    fn bad_bodies() {
        let bad: [&[u8]; 14] = [
            b"",
            b"null",
            b"[]",
            b"{",
            b"{}",
            br#"{"channel":"a"}"#,
            br#"{"data":1}"#,
            br#"{"channel":"","data":1}"#,
            br#"{"channel":1,"data":1}"#,
            br#"{"channel":"a","data":}"#,
            br#"{"channel":"a","data":1,"data":2}"#,
            br#"{"channel":"a","data":01}"#,
            br#"{"channel":"a","data":1} x"#,
            b"{\"channel\":\"\xff\",\"data\":1}",
        ];
        for body in bad {
            let text = String::from_utf8_lossy(body);
            assert_eq!(publish(body), Err(ErrorCode::BadRequest), "{text}");
        }
        for body in [r"{}", r#"{"user":""}"#, r#"{"user":7}"#] {
            assert_eq!(disconnect(body.as_bytes()), Err(ErrorCode::BadRequest), "{body}");
        }
        assert_eq!(disconnect(br#"{"user":"al","client":""}"#), Ok("al".into()));
    }

    #[test]
    fn what_cannot_be_done_is_not_half_done() {
        let wishes = [
            r#""b64data":"AA==""#,
            r#""tags":{"a":"b"}"#,
            r#""idempotency_key":"k""#,
            r#""skip_history":true"#,
        ];
        for wish in wishes {
            let body = format!(r#"{{"channel":"a","data":1,{wish}}}"#);
            assert_eq!(publish(body.as_bytes()), Err(ErrorCode::NotAvailable), "{wish}");
        }
        for wish in [r#""client":"x""#, r#""whitelist":["x"]"#, r#""disconnect":{"code":4000}"#] {
            let body = format!(r#"{{"user":"al",{wish}}}"#);
            assert_eq!(disconnect(body.as_bytes()), Err(ErrorCode::NotAvailable), "{wish}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| {
            let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            format!(r#"{{"channel":"a","data":{data}}}"#)
        };
        assert!(publish(nested(JSON_DEPTH).as_bytes()).is_ok());
        assert_eq!(publish(nested(JSON_DEPTH + 1).as_bytes()), Err(ErrorCode::BadRequest));
        assert_eq!(publish(nested(100_000).as_bytes()), Err(ErrorCode::BadRequest));
        let quoted = format!(r#"{{"channel":"a","data":"\"{}"}}"#, "[".repeat(1_000));
        assert!(publish(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn answers_as_the_server_libraries_read_them() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).expect("text")
        };
        let placed = written(&|out| write_published(out, Some((7, "a1b2"))));
        assert_eq!(placed, r#"{"result":{"offset":7,"epoch":"a1b2"}}"#);
        assert_eq!(written(&|out| write_published(out, None)), r#"{"result":{}}"#);
        let error = written(&|out| write_error(out, ErrorCode::UnknownChannel));
        assert_eq!(error, r#"{"error":{"code":102,"message":"unknown channel"}}"#);
    }

    #[test]
    fn the_key_opens_and_nothing_else() {
        let key = Some(b"secret".as_slice());
        let header = |value: &'static str| Some(value.as_bytes());
        let cases = [
            (key, header("secret"), None, true),
            (key, None, header("apikey secret"), true),
            (key, None, header("ApiKey  secret"), true),
            (key, header("wrong"), header("apikey secret"), true),
            (key, None, None, false),
            (key, header(""), header("apikey "), false),
            (key, header("secre"), None, false),
            (key, header("secrets"), None, false),
            (key, header("Secret"), None, false),
            (key, None, header("Bearer secret"), false),
            (key, None, header("secret"), false),
            (None, header("secret"), None, false),
            (None, header(""), None, false),
        ];
        for (index, (key, x_api_key, authorization, allowed)) in cases.into_iter().enumerate() {
            assert_eq!(authorized(key, false, x_api_key, authorization), allowed, "case {index}");
        }
        assert!(authorized(None, true, None, None));
        assert!(!authorized(key, true, None, None), "a key that is set is asked for");
    }
}
