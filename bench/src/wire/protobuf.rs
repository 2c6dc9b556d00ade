//! Centrifugo's protocol in Protobuf: the part that the runs need, by field number.
//!
//! Must not know sockets. Invariant: a message ends where its length says, and a field that does
//! not fit into it makes the whole message invalid.

use super::{CONNECT_ID, Heard, Said, json};
use crate::protocol::Position;

/// Field numbers of commands and replies (`client.proto`).
mod field {
    pub const ID: u32 = 1;
    pub const ERROR: u32 = 2;
    pub const PUSH: u32 = 4;
    pub mod command {
        pub const CONNECT: u32 = 4;
        pub const SUBSCRIBE: u32 = 5;
        pub const PUBLISH: u32 = 7;
        pub const RPC: u32 = 13;
    }
    pub mod reply {
        pub const CONNECT: u32 = 5;
        pub const SUBSCRIBE: u32 = 6;
        pub const PUBLISH: u32 = 8;
        pub const RPC: u32 = 13;
    }
}

const BYTES: u32 = 2;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    varint(out, u64::from(field << 3));
    varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_head(out: &mut Vec<u8>, field: u32, length: usize) {
    varint(out, u64::from(field << 3 | BYTES));
    varint(out, length as u64);
}

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Writes a command: id, and one field of `length` bytes, which `body` writes.
fn command(out: &mut Vec<u8>, id: u32, field: u32, length: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let whole = 1 + varint_bytes(id as usize) + 1 + varint_bytes(length) + length;
    varint(out, whole as u64);
    put_number(out, field::ID, u64::from(id));
    put_head(out, field, length);
    let start = out.len();
    body(out);
    debug_assert_eq!(out.len() - start, length);
}

pub fn connect(out: &mut Vec<u8>, token: Option<&str>) {
    let mut body = Vec::new();
    if let Some(token) = token {
        put_bytes(&mut body, 1, token.as_bytes());
    }
    command(out, CONNECT_ID, field::command::CONNECT, body.len(), |out| out.extend(&body));
}

pub fn subscribe(out: &mut Vec<u8>, id: u32, channel: &str, from: Option<&Position>) {
    let mut body = Vec::new();
    put_bytes(&mut body, 1, channel.as_bytes());
    if let Some(Position { epoch, offset }) = from {
        put_number(&mut body, 3, 1);
        put_bytes(&mut body, 6, epoch.as_bytes());
        put_number(&mut body, 7, *offset);
    }
    command(out, id, field::command::SUBSCRIBE, body.len(), |out| out.extend(&body));
}

pub fn publish(
    out: &mut Vec<u8>,
    id: u32,
    channel: &str,
    stamp_bytes: usize,
    stamp: impl FnOnce(&mut Vec<u8>),
) {
    let data = json::OPEN.len() + stamp_bytes + json::SHUT.len();
    let name = 1 + varint_bytes(channel.len()) + channel.len();
    let length = name + 1 + varint_bytes(data) + data;
    command(out, id, field::command::PUBLISH, length, |out| {
        put_bytes(out, 1, channel.as_bytes());
        put_head(out, 2, data);
        json::payload(out, stamp);
    });
}

pub fn rpc(
    out: &mut Vec<u8>,
    id: u32,
    method: &str,
    length: usize,
    data: impl FnOnce(&mut Vec<u8>),
) {
    let name = 1 + varint_bytes(method.len()) + method.len();
    let whole = 1 + varint_bytes(length) + length + name;
    command(out, id, field::command::RPC, whole, |out| {
        put_head(out, 1, length);
        data(out);
        put_bytes(out, 2, method.as_bytes());
    });
}

pub fn echo(out: &mut Vec<u8>, id: u32, stamp_bytes: usize, stamp: impl FnOnce(&mut Vec<u8>)) {
    let length = json::OPEN.len() + stamp_bytes + json::SHUT.len();
    rpc(out, id, "echo", length, |out| json::payload(out, stamp));
}

/// A field's value.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            Value::Number(_) => None,
        }
    }

    fn number(self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(number),
            Value::Bytes(_) => None,
        }
    }

    fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = left;
    Some(taken)
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let head = take_varint(rest)?;
    let value = match head & 7 {
        0 => Value::Number(take_varint(rest)?),
        1 => Value::Bytes(take(rest, 8)?),
        2 => {
            let length = take_varint(rest)?;
            Value::Bytes(take(rest, length)?)
        }
        5 => Value::Bytes(take(rest, 4)?),
        _ => return None,
    };
    Some((u32::try_from(head >> 3).ok()?, value))
}

/// Takes the next reply.
pub fn next<'a>(rest: &mut &'a [u8]) -> Option<Said<'a>> {
    let length = take_varint(rest)?;
    let mut reply = take(rest, length)?;
    if reply.is_empty() {
        return Some(Said::Ping);
    }
    let (mut id, mut said) = (0, Said::Other);
    while !reply.is_empty() {
        let (number, value) = take_field(&mut reply)?;
        match number {
            field::ID => id = u32::try_from(value.number()?).ok()?,
            field::ERROR => said = refused(value.bytes()?)?,
            field::PUSH => said = push(value.bytes()?)?,
            field::reply::CONNECT => said = Said::Connected,
            field::reply::SUBSCRIBE => said = subscribed(value.bytes()?)?,
            field::reply::PUBLISH => said = Said::Published,
            field::reply::RPC => said = answered(value.bytes()?)?,
            _ => {}
        }
    }
    match &mut said {
        Said::Refused { id: own, .. } | Said::Answered { id: own, .. } => *own = id,
        _ => {}
    }
    Some(said)
}

fn refused(mut error: &[u8]) -> Option<Said<'_>> {
    let (mut code, mut message) = (0, String::new());
    while !error.is_empty() {
        match take_field(&mut error)? {
            (1, value) => code = u32::try_from(value.number()?).ok()?,
            (2, value) => message = value.text()?.to_owned(),
            _ => {}
        }
    }
    Some(Said::Refused { id: 0, code, message })
}

fn push(mut push: &[u8]) -> Option<Said<'_>> {
    let mut channel = &b""[..];
    let mut publication = None;
    while !push.is_empty() {
        match take_field(&mut push)? {
            (2, value) => channel = value.bytes()?,
            (4, value) => publication = Some(heard(value.bytes()?)?),
            // Unsubscribed: it ends the run as a message that was not awaited.
            (7, _) => return None,
            _ => {}
        }
    }
    Some(publication.map_or(Said::Other, |heard| Said::Delivered(Heard { channel, ..heard })))
}

fn heard(mut publication: &[u8]) -> Option<Heard<'_>> {
    let mut heard = Heard { channel: b"", data: b"", offset: 0 };
    while !publication.is_empty() {
        match take_field(&mut publication)? {
            (4, value) => heard.data = value.bytes()?,
            (6, value) => heard.offset = value.number()?,
            _ => {}
        }
    }
    Some(heard)
}

fn subscribed(mut answer: &[u8]) -> Option<Said<'_>> {
    let (mut recovered, mut position, mut missed) = (false, Position::default(), Vec::new());
    while !answer.is_empty() {
        match take_field(&mut answer)? {
            (6, value) => position.epoch = value.text()?.to_owned(),
            (7, value) => missed.push(heard(value.bytes()?)?),
            (8, value) => recovered = value.number()? != 0,
            (9, value) => position.offset = value.number()?,
            _ => {}
        }
    }
    Some(Said::Subscribed { recovered, position, missed })
}

fn answered(mut answer: &[u8]) -> Option<Said<'_>> {
    let mut data = &b""[..];
    while !answer.is_empty() {
        if let (1, value) = take_field(&mut answer)? {
            data = value.bytes()?;
        }
    }
    Some(Said::Answered { id: 0, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_bytes_of_the_schema() {
        let mut out = Vec::new();
        connect(&mut out, Some("t"));
        assert_eq!(out, [7, 0x08, 1, 0x22, 3, 0x0a, 1, b't']);
        out.clear();
        subscribe(&mut out, 2, "c", Some(&Position { epoch: "e".into(), offset: 300 }));
        let body = [0x0a, 1, b'c', 0x18, 1, 0x32, 1, b'e', 0x38, 0xac, 2];
        assert_eq!(out, [&[15, 0x08, 2, 0x2a, 11][..], &body].concat());
        out.clear();
        publish(&mut out, 300, "c", 1, |out| out.push(b'x'));
        let data = b"{\"text\":\"x\"}";
        let body = [&[0x0a, 1, b'c', 0x12, 12][..], data].concat();
        assert_eq!(out, [&[22, 0x08, 0xac, 2, 0x3a, 17][..], &body].concat());
    }

    #[test]
    fn replies_are_read_and_cut_ones_are_none() {
        let push = [
            &[24, 0x22, 22, 0x12, 1, b'c', 0x22, 17, 0x22, 3][..],
            b"abc",
            &[0x2a, 6, 1, 2, 3, 4, 5, 6, 0x30, 0xac, 2, 0],
        ]
        .concat();
        let heard = Heard { channel: b"c", data: b"abc", offset: 300 };
        let mut rest = &push[..];
        // The push's last field is a stray zero byte: not a field.
        assert_eq!(next(&mut rest), None);
        let mut whole = push[..push.len() - 1].to_vec();
        whole[0] -= 1;
        whole[2] -= 1;
        whole[7] -= 1;
        let two = [&whole[..], &[0]].concat();
        let mut rest = &two[..];
        assert_eq!(next(&mut rest), Some(Said::Delivered(heard)));
        assert_eq!((next(&mut rest), rest), (Some(Said::Ping), &b""[..]));
        for cut in 1..whole.len() {
            assert_eq!(next(&mut &whole[..cut]), None, "{cut}");
        }
        let error = [9, 0x08, 5, 0x12, 5, 0x08, 103, 0x12, 1, b'n'];
        let refused = Said::Refused { id: 5, code: 103, message: "n".into() };
        assert_eq!(next(&mut &error[..]), Some(refused));
    }
}
