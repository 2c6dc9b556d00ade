//! Converts a MessagePack value to JSON.
//!
//! Must not know where the value is. Invariants: does not recurse; what it appends is JSON without
//! white space. What JSON cannot express is an error and is never replaced: NaN and infinity,
//! bytes, extensions, and keys that are neither text nor integers.

use super::command::DecodeError;
use super::json_sink::{put_number, put_string};
use super::msgpack_read::{Item, item};
use super::sink::Sink;
use crate::limits::JSON_DEPTH;

/// An open container.
#[derive(Clone, Copy, Default)]
struct Open {
    map: bool,
    left: u32,
    first: bool,
}

/// Appends a value.
///
/// # Errors
/// If JSON cannot express it, or it nests deeper than `JSON_DEPTH`. What was appended is then
/// incomplete.
pub fn append(out: &mut Vec<u8>, value: &[u8]) -> Result<(), DecodeError> {
    let mut rest = value;
    let mut open = [Open::default(); JSON_DEPTH];
    let mut depth = 0;
    loop {
        let (map, left) = match item(&mut rest)? {
            Item::Array(length) => (false, length),
            Item::Map(pairs) => (true, pairs),
            scalar => {
                put_scalar(out, scalar)?;
                if !next_value(out, &mut rest, &mut open, &mut depth)? {
                    return if rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed) };
                }
                continue;
            }
        };
        let place = open.get_mut(depth).ok_or(DecodeError::TooDeep)?;
        *place = Open { map, left, first: true };
        depth += 1;
        out.put(if map { b"{" } else { b"[" });
        if !next_value(out, &mut rest, &mut open, &mut depth)? {
            return if rest.is_empty() { Ok(()) } else { Err(DecodeError::Malformed) };
        }
    }
}

/// Goes to the next value, after its name; false when the outermost one has ended.
fn next_value(
    out: &mut Vec<u8>,
    rest: &mut &[u8],
    open: &mut [Open; JSON_DEPTH],
    depth: &mut usize,
) -> Result<bool, DecodeError> {
    while let Some(innermost) = depth.checked_sub(1) {
        let it = &mut open[innermost];
        if it.left > 0 {
            it.left -= 1;
            if !std::mem::replace(&mut it.first, false) {
                out.put(b",");
            }
            if it.map {
                put_name(out, item(rest)?)?;
            }
            return Ok(true);
        }
        out.put(if it.map { b"}" } else { b"]" });
        *depth = innermost;
    }
    Ok(false)
}

fn put_name(out: &mut Vec<u8>, name: Item<'_>) -> Result<(), DecodeError> {
    match name {
        Item::Text(_) => put_scalar(out, name)?,
        Item::Unsigned(_) | Item::Negative(_) => {
            out.put(b"\"");
            put_scalar(out, name)?;
            out.put(b"\"");
        }
        _ => return Err(DecodeError::WrongType),
    }
    out.put(b":");
    Ok(())
}

fn put_scalar(out: &mut Vec<u8>, scalar: Item<'_>) -> Result<(), DecodeError> {
    match scalar {
        Item::Nil => out.put(b"null"),
        Item::Bool(true) => out.put(b"true"),
        Item::Bool(false) => out.put(b"false"),
        Item::Unsigned(value) => put_number(out, value),
        Item::Negative(value) => {
            out.put(b"-");
            put_number(out, value.unsigned_abs());
        }
        Item::Float(value) if value.is_finite() => {
            serde_json::to_writer(out, &value).map_err(|_| DecodeError::WrongType)?;
        }
        Item::Text(bytes) => {
            put_string(out, std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed)?);
        }
        _ => return Err(DecodeError::WrongType),
    }
    Ok(())
}
