//! Centrifugo's protocol in JSON.
//!
//! Corecast's pushes and echoes are cut without a parser if every byte around the payload is as
//! expected; everything else is parsed. Must not know sockets. Invariant: both ways give the same
//! result.

use super::{CONNECT_ID, FIRST_ID, Heard, Said, Shape};
use crate::protocol::{self, Message, Position};

/// Around the stamp in a payload.
pub const OPEN: &[u8] = b"{\"text\":\"";
pub const SHUT: &[u8] = b"\"}";

const PUSH: &[u8] = b"{\"push\":{\"channel\":\"";
const PUBLICATION: &[u8] = b"\",\"pub\":{\"data\":";
const USER: &[u8] = b",\"info\":{\"user\":\"";
const CLIENT: &[u8] = b"\",\"client\":\"";
const OFFSET: &[u8] = b",\"offset\":";
const TIME: &[u8] = b",\"time\":";
/// Digits of a time in milliseconds, until the year 2286.
const TIME_DIGITS: usize = 13;
const CLIENT_ID_BYTES: usize = 36;

/// Bytes of a frame beside its payload.
#[must_use]
pub fn overhead(shape: Shape) -> usize {
    match shape {
        Shape::Echo => format!("{{\"id\":{FIRST_ID},\"rpc\":{{\"data\":}}}}").len(),
        Shape::Push { channel, user } => {
            let info = USER.len() + user + CLIENT.len() + CLIENT_ID_BYTES + 2;
            PUSH.len() + channel + PUBLICATION.len() + info + TIME.len() + TIME_DIGITS + 3
        }
    }
}

fn put(out: &mut Vec<u8>, write: impl FnOnce(&mut String)) {
    let mut text = String::new();
    write(&mut text);
    out.extend_from_slice(text.as_bytes());
}

pub fn connect(out: &mut Vec<u8>, token: Option<&str>) {
    put(out, |out| protocol::connect(out, CONNECT_ID, token));
}

pub fn subscribe(out: &mut Vec<u8>, id: u32, channel: &str, from: Option<&Position>) {
    put(out, |out| protocol::subscribe(out, id, channel, from));
}

pub fn publish(out: &mut Vec<u8>, id: u32, channel: &str, stamp: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"id\":");
    put_number(out, id);
    out.extend_from_slice(b",\"publish\":{\"channel\":\"");
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(b"\",\"data\":");
    payload(out, stamp);
    out.extend_from_slice(b"}}");
}

pub fn echo(out: &mut Vec<u8>, id: u32, stamp: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"id\":");
    put_number(out, id);
    out.extend_from_slice(b",\"rpc\":{\"method\":\"echo\",\"data\":");
    payload(out, stamp);
    out.extend_from_slice(b"}}");
}

/// A payload: the stamp in an object.
pub fn payload(out: &mut Vec<u8>, stamp: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(OPEN);
    stamp(out);
    out.extend_from_slice(SHUT);
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    let mut digits = [0; 10];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Takes the next line.
pub fn next<'a>(rest: &mut &'a [u8], stamp_bytes: usize) -> Result<Said<'a>, String> {
    let quick = match rest.get(2) {
        Some(b'p') => push(rest, stamp_bytes),
        Some(b'i') => answer(rest, stamp_bytes),
        _ => None,
    };
    if let Some((said, left)) = quick {
        *rest = left;
        return Ok(said);
    }
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    if line.is_empty() {
        return Err("an empty line".into());
    }
    parsed(line)
}

/// What follows a message: nothing, or a newline and more.
fn ended(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [] => Some(bytes),
        [b'\n', rest @ ..] if !rest.is_empty() => Some(rest),
        _ => None,
    }
}

/// Cuts a payload of ours off the start of `bytes`.
fn data(bytes: &[u8], stamp_bytes: usize) -> Option<(&[u8], &[u8])> {
    let (data, rest) = bytes.split_at_checked(OPEN.len() + stamp_bytes + SHUT.len())?;
    let stamp = data.strip_prefix(OPEN)?.strip_suffix(SHUT)?;
    // A quote or a backslash within would make it another value.
    plain(stamp).then_some((data, rest))
}

/// Letters without escapes in a JSON string.
fn plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| {
        plain & (*byte >= b' ') & (*byte != b'"') & (*byte != b'\\') & (*byte < 0x80)
    })
}

fn quoted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'"')?;
    let (text, rest) = bytes.split_at(end);
    plain(text).then_some((text, rest))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut end) = (0_u64, 0);
    while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        end += 1;
    }
    (end > 0).then(|| (value, &bytes[end..]))
}

/// A text of this many bytes and what follows the quote after it.
fn quoted_of(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    plain(text).then_some((text, rest.strip_prefix(b"\"")?))
}

fn push(bytes: &[u8], stamp_bytes: usize) -> Option<(Said<'_>, &[u8])> {
    let (channel, rest) = quoted(bytes.strip_prefix(PUSH)?)?;
    let (data, mut rest) = data(rest.strip_prefix(PUBLICATION)?, stamp_bytes)?;
    if let Some(info) = rest.strip_prefix(USER) {
        let (_user, after) = quoted(info)?;
        let (_client, after) = quoted_of(after.strip_prefix(CLIENT)?, CLIENT_ID_BYTES)?;
        rest = after.strip_prefix(b"}")?;
    }
    let mut offset = 0;
    if let Some(digits) = rest.strip_prefix(OFFSET) {
        (offset, rest) = number(digits)?;
    }
    if let Some(digits) = rest.strip_prefix(TIME) {
        (_, rest) = number(digits)?;
    }
    let rest = ended(rest.strip_prefix(b"}}}")?)?;
    Some((Said::Delivered(Heard { channel, data, offset }), rest))
}

fn answer(bytes: &[u8], stamp_bytes: usize) -> Option<(Said<'_>, &[u8])> {
    let (id, rest) = number(bytes.strip_prefix(b"{\"id\":")?)?;
    let id = u32::try_from(id).ok()?;
    if let Some(rest) = rest.strip_prefix(b",\"publish\":{}}") {
        return Some((Said::Published, ended(rest)?));
    }
    let (data, rest) = data(rest.strip_prefix(b",\"rpc\":{\"data\":")?, stamp_bytes)?;
    let rest = ended(rest.strip_prefix(b"}}")?)?;
    Some((Said::Answered { id, data }, rest))
}

fn parsed(line: &[u8]) -> Result<Said<'_>, String> {
    let message: Message<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if let Some(error) = message.error {
        let message_text = error.message.into_owned();
        return Ok(Said::Refused { id: message.id, code: error.code, message: message_text });
    }
    if let Some(push) = message.push {
        if let Some(end) = push.unsubscribe {
            return Err(format!("unsubscribed: {} {}", end.code, end.reason));
        }
        let Some(publication) = push.publication else { return Ok(Said::Other) };
        let std::borrow::Cow::Borrowed(channel) = push.channel else {
            return Err("a channel's name with escapes".into());
        };
        return Ok(Said::Delivered(heard(channel.as_bytes(), &publication)));
    }
    if let Some(answer) = message.subscribe {
        return Ok(Said::Subscribed {
            recovered: answer.recovered,
            position: Position { epoch: answer.epoch.into_owned(), offset: answer.offset },
            missed: answer.publications.iter().map(|missed| heard(b"", missed)).collect(),
        });
    }
    Ok(match (message.rpc, message.connect, message.publish) {
        (Some(answer), ..) => {
            let data = answer.data.map_or(&b""[..], |data| data.get().as_bytes());
            Said::Answered { id: message.id, data }
        }
        (_, Some(_), _) => Said::Connected,
        (.., Some(_)) => Said::Published,
        _ if message.id == 0 => Said::Ping,
        _ => Said::Other,
    })
}

fn heard<'a>(channel: &'a [u8], publication: &protocol::Publication<'a>) -> Heard<'a> {
    Heard { channel, data: publication.data.get().as_bytes(), offset: publication.offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "0000000000000000deadbeefabc";

    fn frame(tail: &str) -> String {
        format!(r#"{{"push":{{"channel":"c:d","pub":{{"data":{{"text":"{STAMP}"}}{tail}}}}}}}"#)
    }

    #[test]
    fn both_ways_hear_the_same() {
        let info = r#","info":{"user":"u","client":"f3c10b9e-4829-2631-12fd-b1f0bb15d262"}"#;
        let id = r#"{"id":1000001,"rpc":{"data":{"text":"STAMP"}}}"#.replace("STAMP", STAMP);
        let timed = format!(r#"{info},"time":1795788890374"#);
        let numbered = format!(r#"{info},"offset":7,"time":1795788890374"#);
        for line in [frame(""), frame(info), frame(&timed), frame(&numbered), id] {
            let mut rest = line.as_bytes();
            let quick = push(rest, STAMP.len()).or_else(|| answer(rest, STAMP.len()));
            let (quick, left) = quick.unwrap_or_else(|| panic!("not cut: {line}"));
            assert_eq!(Ok(quick), parsed(line.as_bytes()));
            assert!(left.is_empty());
            next(&mut rest, STAMP.len()).expect("a message");
            let two = format!("{line}\n{line}");
            let mut rest = two.as_bytes();
            let first = next(&mut rest, STAMP.len());
            assert_eq!((first.is_ok(), rest), (true, line.as_bytes()));
        }
    }

    #[test]
    fn what_is_no_message_is_never_cut() {
        let whole = frame(r#","offset":7,"time":1795788890374"#);
        for index in 0..whole.len() {
            for byte in [b'"', b'\\', b'}', b'\n', 0] {
                let mut damaged = whole.clone().into_bytes();
                if std::mem::replace(&mut damaged[index], byte) == byte {
                    continue;
                }
                if let Some((said, _)) = push(&damaged, STAMP.len()) {
                    let shown = damaged.escape_ascii();
                    assert_eq!(Ok(said), parsed(&damaged), "{shown}");
                }
            }
            assert!(push(&whole.as_bytes()[..index], STAMP.len()).is_none());
        }
    }

    #[test]
    fn the_rest_is_parsed() {
        let said = |text: &'static str| parsed(text.as_bytes());
        assert_eq!(said("{}"), Ok(Said::Ping));
        assert_eq!(said(r#"{"id":1,"connect":{"client":"x"}}"#), Ok(Said::Connected));
        assert!(matches!(
            said(r#"{"id":5,"error":{"code":103,"message":"no"}}"#),
            Ok(Said::Refused { id: 5, code: 103, .. })
        ));
        assert!(said(r#"{"push":{"channel":"c","unsubscribe":{"code":2500}}}"#).is_err());
        assert!(said("{").is_err());
        let Ok(Said::Subscribed { recovered: true, position, missed }) = said(
            r#"{"id":2,"subscribe":{"recovered":true,"epoch":"e","offset":8,"publications":[{"data":1,"offset":9}]}}"#,
        ) else {
            panic!("not a subscribe answer")
        };
        assert_eq!(position, Position { epoch: "e".into(), offset: 8 });
        assert_eq!(missed, [Heard { channel: b"", data: b"1", offset: 9 }]);
    }
}
