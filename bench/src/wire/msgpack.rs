//! Centrifugo's protocol in MessagePack: the schema's field numbers as keys.
//!
//! Must not know sockets. Invariant: a value ends where its head says; payloads are values.

use super::{CONNECT_ID, Heard, Said};
use crate::protocol::Position;

const TEXT_KEY: &[u8] = b"\xa4text";
/// Values within values.
const DEPTH: u32 = 32;

fn put_map(out: &mut Vec<u8>, fields: u8) {
    out.push(0x80 | fields);
}

/// A small number: a field's key, or a flag.
fn put_key(out: &mut Vec<u8>, key: u8) {
    debug_assert!(key < 0x80);
    out.push(key);
}

fn put_number(out: &mut Vec<u8>, value: u64) {
    match value {
        0..0x80 => out.push(value as u8),
        0x80..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn put_text_head(out: &mut Vec<u8>, length: usize) {
    match length {
        0..32 => out.push(0xa0 | length as u8),
        32..256 => out.extend_from_slice(&[0xd9, length as u8]),
        256..65_536 => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_text_head(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Opens a command: what follows is the value of `field`.
fn command(out: &mut Vec<u8>, id: u32, field: u8) {
    put_map(out, 2);
    put_key(out, 1);
    put_number(out, u64::from(id));
    put_key(out, field);
}

fn payload(out: &mut Vec<u8>, stamp_bytes: usize, stamp: impl FnOnce(&mut Vec<u8>)) {
    put_map(out, 1);
    out.extend_from_slice(TEXT_KEY);
    put_text_head(out, stamp_bytes);
    stamp(out);
}

pub fn connect(out: &mut Vec<u8>, token: Option<&str>) {
    command(out, CONNECT_ID, 4);
    put_map(out, u8::from(token.is_some()));
    if let Some(token) = token {
        put_key(out, 1);
        put_text(out, token);
    }
}

pub fn subscribe(out: &mut Vec<u8>, id: u32, channel: &str, from: Option<&Position>) {
    command(out, id, 5);
    put_map(out, if from.is_some() { 4 } else { 1 });
    put_key(out, 1);
    put_text(out, channel);
    if let Some(Position { epoch, offset }) = from {
        put_key(out, 3);
        out.push(0xc3);
        put_key(out, 6);
        put_text(out, epoch);
        put_key(out, 7);
        put_number(out, *offset);
    }
}

pub fn publish(
    out: &mut Vec<u8>,
    id: u32,
    channel: &str,
    stamp_bytes: usize,
    stamp: impl FnOnce(&mut Vec<u8>),
) {
    command(out, id, 7);
    put_map(out, 2);
    put_key(out, 1);
    put_text(out, channel);
    put_key(out, 2);
    payload(out, stamp_bytes, stamp);
}

pub fn echo(out: &mut Vec<u8>, id: u32, stamp_bytes: usize, stamp: impl FnOnce(&mut Vec<u8>)) {
    command(out, id, 13);
    put_map(out, 2);
    put_key(out, 1);
    payload(out, stamp_bytes, stamp);
    put_key(out, 2);
    put_text(out, "echo");
}

/// The head of a value.
#[derive(Clone, Copy)]
enum Head<'a> {
    Number(u64),
    Flag(bool),
    Text(&'a [u8]),
    Array(usize),
    Map(usize),
    /// A value that has no parts and that the runs do not look at.
    Opaque,
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_number(rest: &mut &[u8], bytes: usize) -> Option<u64> {
    let taken = take(rest, bytes)?;
    Some(taken.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn take_head<'a>(rest: &mut &'a [u8]) -> Option<Head<'a>> {
    let first = take(rest, 1)?[0];
    let sized = |rest: &mut &'a [u8], bytes| Some(take_number(rest, bytes)? as usize);
    Some(match first {
        0..=0x7f => Head::Number(u64::from(first)),
        0x80..=0x8f => Head::Map(usize::from(first & 15)),
        0x90..=0x9f => Head::Array(usize::from(first & 15)),
        0xa0..=0xbf => Head::Text(take(rest, usize::from(first & 31))?),
        0xc2 | 0xc3 => Head::Flag(first == 0xc3),
        0xc0 | 0xe0..=0xff => Head::Opaque,
        0xc4..=0xc6 | 0xd9..=0xdb => {
            let bytes = 1 << if first >= 0xd9 { first - 0xd9 } else { first - 0xc4 };
            let length = sized(rest, bytes)?;
            Head::Text(take(rest, length)?)
        }
        0xcc..=0xcf => Head::Number(take_number(rest, 1 << (first - 0xcc))?),
        0xca | 0xcb | 0xd0..=0xd3 => {
            let bytes = match first {
                0xca | 0xd2 => 4,
                0xcb | 0xd3 => 8,
                other => 1 << (other - 0xd0),
            };
            take(rest, bytes)?;
            Head::Opaque
        }
        0xdc | 0xdd => Head::Array(sized(rest, 2 << (first - 0xdc))?),
        0xde | 0xdf => Head::Map(sized(rest, 2 << (first - 0xde))?),
        0xd4..=0xd8 => {
            take(rest, 1 + (1 << (first - 0xd4)))?;
            Head::Opaque
        }
        0xc7..=0xc9 => {
            let length = sized(rest, 1 << (first - 0xc7))?;
            take(rest, 1 + length)?;
            Head::Opaque
        }
        0xc1 => return None,
    })
}

/// Takes a whole value.
fn take_value<'a>(rest: &mut &'a [u8], depth: u32) -> Option<&'a [u8]> {
    let start = *rest;
    let values = match take_head(rest)? {
        Head::Map(fields) => fields.checked_mul(2)?,
        Head::Array(values) => values,
        _ => 0,
    };
    for _ in 0..values {
        take_value(rest, depth.checked_sub(1)?)?;
    }
    Some(&start[..start.len() - rest.len()])
}

/// Calls `each` with the number and value of each field of a map.
fn fields<'a>(map: &'a [u8], mut each: impl FnMut(u64, &'a [u8]) -> Option<()>) -> Option<()> {
    let mut rest = map;
    let Head::Map(count) = take_head(&mut rest)? else { return None };
    for _ in 0..count {
        let Head::Number(key) = take_head(&mut rest)? else { return None };
        each(key, take_value(&mut rest, DEPTH)?)?;
    }
    rest.is_empty().then_some(())
}

fn number(value: &[u8]) -> Option<u64> {
    match take_head(&mut &*value)? {
        Head::Number(number) => Some(number),
        _ => None,
    }
}

fn bytes(value: &[u8]) -> Option<&[u8]> {
    let mut rest = value;
    match take_head(&mut rest)? {
        Head::Text(text) if rest.is_empty() => Some(text),
        _ => None,
    }
}

fn string(value: &[u8]) -> Option<String> {
    String::from_utf8(bytes(value)?.to_vec()).ok()
}

/// The stamp within a payload of ours.
pub fn text(payload: &[u8]) -> Option<&[u8]> {
    let rest = payload.strip_prefix(&[0x81])?;
    bytes(rest.strip_prefix(TEXT_KEY)?)
}

/// Takes the next reply.
pub fn next<'a>(rest: &mut &'a [u8]) -> Option<Said<'a>> {
    let reply = take_value(rest, DEPTH)?;
    if reply == [0x80] {
        return Some(Said::Ping);
    }
    let (mut id, mut said) = (0, Said::Other);
    fields(reply, |key, value| {
        match key {
            1 => id = u32::try_from(number(value)?).ok()?,
            2 => said = refused(value)?,
            4 => said = push(value)?,
            5 => said = Said::Connected,
            6 => said = subscribed(value)?,
            8 => said = Said::Published,
            13 => said = answered(value)?,
            _ => {}
        }
        Some(())
    })?;
    match &mut said {
        Said::Refused { id: own, .. } | Said::Answered { id: own, .. } => *own = id,
        _ => {}
    }
    Some(said)
}

fn refused(error: &[u8]) -> Option<Said<'_>> {
    let (mut code, mut message) = (0, String::new());
    fields(error, |key, value| {
        match key {
            1 => code = u32::try_from(number(value)?).ok()?,
            2 => message = string(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some(Said::Refused { id: 0, code, message })
}

fn push(push: &[u8]) -> Option<Said<'_>> {
    let (mut channel, mut publication) = (&b""[..], None);
    fields(push, |key, value| {
        match key {
            2 => channel = bytes(value)?,
            4 => publication = Some(heard(value)?),
            // Unsubscribed: it ends the run as a message that was not awaited.
            7 => return None,
            _ => {}
        }
        Some(())
    })?;
    Some(publication.map_or(Said::Other, |heard| Said::Delivered(Heard { channel, ..heard })))
}

fn heard(publication: &[u8]) -> Option<Heard<'_>> {
    let mut heard = Heard { channel: b"", data: b"", offset: 0 };
    fields(publication, |key, value| {
        match key {
            4 => heard.data = value,
            6 => heard.offset = number(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some(heard)
}

fn subscribed(answer: &[u8]) -> Option<Said<'_>> {
    let (mut recovered, mut position, mut missed) = (false, Position::default(), Vec::new());
    fields(answer, |key, value| {
        match key {
            6 => position.epoch = string(value)?,
            7 => {
                let mut rest = value;
                let Head::Array(count) = take_head(&mut rest)? else { return None };
                for _ in 0..count {
                    missed.push(heard(take_value(&mut rest, DEPTH)?)?);
                }
            }
            8 => recovered = matches!(take_head(&mut &*value)?, Head::Flag(true)),
            9 => position.offset = number(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some(Said::Subscribed { recovered, position, missed })
}

fn answered(answer: &[u8]) -> Option<Said<'_>> {
    let mut data = &b""[..];
    fields(answer, |key, value| {
        if key == 1 {
            data = value;
        }
        Some(())
    })?;
    Some(Said::Answered { id: 0, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [24, 40, 300] {
            let stamp = vec![b'x'; length];
            let mut out = Vec::new();
            // A publication as it is pushed: {4: {2: "c", 4: {4: payload, 6: 300}}}.
            out.extend_from_slice(&[0x81, 4, 0x82, 2, 0xa1, b'c', 4, 0x82, 4]);
            payload(&mut out, length, |out| out.extend_from_slice(&stamp));
            out.push(6);
            put_number(&mut out, 300);
            let whole = out.clone();
            out.push(0x80);
            let mut rest = &out[..];
            let Some(Said::Delivered(heard)) = next(&mut rest) else { panic!("not a push") };
            assert_eq!((heard.channel, heard.offset), (&b"c"[..], 300));
            assert_eq!(text(heard.data), Some(&stamp[..]));
            assert_eq!((next(&mut rest), rest), (Some(Said::Ping), &b""[..]));
            for cut in 0..whole.len() {
                assert_eq!(next(&mut &whole[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn commands_are_maps_of_field_numbers() {
        let mut out = Vec::new();
        subscribe(&mut out, 200, "c", Some(&Position { epoch: "e".into(), offset: 7 }));
        let expected =
            [&[0x82, 1, 0xce, 0, 0, 0, 200, 5, 0x84, 1, 0xa1, b'c', 3, 0xc3, 6, 0xa1, b'e', 7, 7]
                [..]];
        assert_eq!(out, expected.concat());
        let deep = [vec![0x91; 40], vec![0xc0]].concat();
        assert_eq!(take_value(&mut &deep[..], DEPTH), None, "depth is bounded");
    }
}
