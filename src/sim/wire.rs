//! The client's end of the wire: WebSocket frames and JSON, in code that shares nothing with the
//! server's, so that a mistake cannot be on both sides.
//!
//! Must not know what a message means. Invariant: bytes that are not exactly a server's frames are
//! `Corrupt`.

pub use super::dialect::Corrupt;
use super::random::Random;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The request that opens a WebSocket; the key and its answer are those of RFC 6455 section 1.3.
#[must_use]
pub fn upgrade(subprotocol: Option<&str>) -> Vec<u8> {
    let asked = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let asked = asked.unwrap_or_default();
    format!(
        "GET /connection/websocket HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{asked}\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}
const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Longest response head.
const HEAD_BYTES: usize = 4 << 10;

/// A frame, or what it contains.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text or binary message: its opcode, and a range of the buffer.
    Message {
        opcode: u8,
        start: usize,
        end: usize,
    },
    /// A ping's payload.
    Ping {
        start: usize,
        end: usize,
    },
    Pong,
    Close {
        code: u16,
    },
}

/// Removes the response head; `None` while it is incomplete.
///
/// # Errors
/// If it is not the 101 that the request asked for.
pub fn take_head(bytes: &[u8], subprotocol: Option<&str>) -> Result<Option<usize>, Corrupt> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES { Err(Corrupt("endless head")) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Corrupt("head"))?;
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(Corrupt("refused"));
    }
    if !head.contains(ACCEPTED) {
        return Err(Corrupt("wrong accept key"));
    }
    let mut lines = head.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
    if lines.next() != subprotocol {
        return Err(Corrupt("another subprotocol"));
    }
    Ok(Some(end + 4))
}

/// The frame at the buffer's start and its length; `None` while it is incomplete. Ranges are
/// relative to `bytes`.
///
/// # Errors
/// If it is not a complete, unmasked frame of a known kind.
pub fn take_frame(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Corrupt> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    if first & 0xF0 != 0x80 {
        return Err(Corrupt("fragment or reserved bit"));
    }
    if second & 0x80 != 0 {
        return Err(Corrupt("masked by the server"));
    }
    let (length, start) = match second {
        126 => match bytes.get(2..4) {
            Some(two) => (u64::from(u16::from_be_bytes([two[0], two[1]])), 4),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => (u64::from_be_bytes(eight), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let minimal = match start {
        2 => true,
        4 => length > 125,
        _ => length > 65_535,
    };
    if !minimal || length > 64 << 20 {
        return Err(Corrupt("length"));
    }
    let end = start + length as usize;
    if bytes.len() < end {
        return Ok(None);
    }
    let frame = match first & 0x0F {
        opcode @ (1 | 2) => Frame::Message { opcode, start, end },
        8 if length == 0 => Frame::Close { code: 1005 },
        8 if (2..=125).contains(&length) => {
            Frame::Close { code: u16::from_be_bytes([bytes[start], bytes[start + 1]]) }
        }
        9 if length <= 125 => Frame::Ping { start, end },
        10 if length <= 125 => Frame::Pong,
        _ => return Err(Corrupt("opcode")),
    };
    Ok(Some((frame, end)))
}

/// Appends a client's frames: masked, and sometimes a message in fragments.
pub fn put_frame(opcode: u8, payload: &[u8], random: &mut Random, into: &mut Vec<u8>) {
    let cut = if matches!(opcode, 1 | 2) && random.chance(50) {
        random.below(payload.len() + 1)
    } else {
        0
    };
    if cut > 0 {
        put_piece(opcode, &payload[..cut], random, into);
        put_piece(0x80, &payload[cut..], random, into);
    } else {
        put_piece(0x80 | opcode, payload, random, into);
    }
}

fn put_piece(first: u8, payload: &[u8], random: &mut Random, into: &mut Vec<u8>) {
    into.push(first);
    match payload.len() {
        length @ 0..=125 => into.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            into.push(0x80 | 126);
            into.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            into.push(0x80 | 127);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = (random.word() as u32).to_be_bytes();
    into.extend_from_slice(&mask);
    into.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A line of a server's message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    pub id: u32,
    #[serde(borrow)]
    pub push: Option<Push<'a>>,
    pub error: Option<Problem>,
    #[serde(borrow)]
    pub connect: Option<Connected<'a>>,
    #[serde(borrow)]
    pub subscribe: Option<Subscribed<'a>>,
    pub unsubscribe: Option<Nothing>,
    pub publish: Option<Nothing>,
    #[serde(borrow)]
    pub presence: Option<Presence<'a>>,
    pub presence_stats: Option<PresenceStats>,
    #[serde(borrow)]
    pub history: Option<History<'a>>,
    #[serde(borrow)]
    pub rpc: Option<Echo<'a>>,
}

/// An object whose fields are not read.
#[derive(Debug, Deserialize)]
pub struct Nothing {}

#[derive(Debug, Deserialize)]
pub struct Echo<'a> {
    #[serde(borrow)]
    pub data: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub struct Problem {
    pub code: u32,
}

#[derive(Debug, Deserialize)]
pub struct Connected<'a> {
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// Server-side subscriptions by channel.
    #[serde(borrow, default)]
    pub subs: BTreeMap<Cow<'a, str>, Subscribed<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Subscribed<'a> {
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub offset: u64,
    pub recovered: bool,
    pub was_recovering: bool,
    pub recoverable: bool,
    #[serde(borrow)]
    pub publications: Vec<Publication<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct History<'a> {
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub offset: u64,
    #[serde(borrow)]
    pub publications: Vec<Publication<'a>>,
}

/// The binary codecs leave out an empty map.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Presence<'a> {
    #[serde(borrow, rename = "presence")]
    pub clients: BTreeMap<Cow<'a, str>, Nothing>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PresenceStats {
    pub num_clients: u32,
    pub num_users: u32,
}

#[derive(Debug, Deserialize)]
pub struct Push<'a> {
    #[serde(borrow, default)]
    pub channel: Cow<'a, str>,
    #[serde(borrow, rename = "pub")]
    pub publication: Option<Publication<'a>>,
    pub join: Option<Nothing>,
    pub leave: Option<Nothing>,
    pub subscribe: Option<Nothing>,
    pub unsubscribe: Option<Problem>,
    pub disconnect: Option<Problem>,
}

/// A publication's tags by name.
pub type Tags<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

#[derive(Debug, Deserialize)]
pub struct Publication<'a> {
    #[serde(borrow)]
    pub data: &'a RawValue,
    #[serde(default)]
    pub offset: u64,
    #[serde(borrow, default)]
    pub info: Option<Info<'a>>,
    #[serde(borrow, default)]
    pub tags: Tags<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info<'a> {
    #[serde(borrow)]
    pub user: Cow<'a, str>,
    #[serde(borrow)]
    pub client: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_off_whole_or_not_at_all() {
        let mut bytes = vec![0x81, 126, 0, 200];
        bytes.extend_from_slice(&[b'a'; 200]);
        bytes.extend_from_slice(&[0x88, 2, 0x0B, 0xB9]);
        for cut in 0..204 {
            assert_eq!(take_frame(&bytes[..cut]), Ok(None));
        }
        let text = (Frame::Message { opcode: 1, start: 4, end: 204 }, 204);
        assert_eq!(take_frame(&bytes), Ok(Some(text)));
        assert_eq!(take_frame(&bytes[204..]), Ok(Some((Frame::Close { code: 3001 }, 4))));
    }

    #[test]
    fn what_no_server_sends_is_corrupt() {
        for bytes in [&[0x01, 1, b'a'][..], &[0xC1, 1, b'a'], &[0x81, 0x81], &[0x83, 0], b"{}"] {
            assert!(take_frame(bytes).is_err(), "{bytes:?}");
        }
        assert!(take_frame(&[0x81, 126, 0, 3, 1, 2, 3]).is_err(), "a longer length than needed");
        assert_eq!(take_head(b"HTTP/1.1 503 \r\n\r\n", None), Err(Corrupt("refused")));
    }

    #[test]
    fn messages_keep_the_raw_payload() {
        let line =
            r#"{"push":{"channel":"a","pub":{"data":{"n": 1},"offset":3,"info":{"user":"u"}}}}"#;
        let message: Message = serde_json::from_str(line).unwrap();
        let push = message.push.unwrap();
        let publication = push.publication.unwrap();
        assert_eq!((publication.data.get(), publication.offset), ("{\"n\": 1}", 3));
        assert_eq!(publication.info.unwrap().user, "u");
        assert!(serde_json::from_str::<Message>("{}").unwrap().push.is_none());
    }
}
