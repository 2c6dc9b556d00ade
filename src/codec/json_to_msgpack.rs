//! Converts a JSON value to MessagePack.
//!
//! Must not know where the value is. Invariants: does not recurse, and accepts at most the levels
//! that payloads may have. Numbers are integers if they are written as such and fit 64 bits, else
//! the nearest double; duplicate names are kept; a surrogate without its partner becomes U+FFFD.

use super::command::DecodeError;
use super::scanner::Scanner;
use super::sink::Sink;
use crate::limits::JSON_DEPTH;
use rmp::{Marker, encode};

const TAKES_ALL: &str = "memory takes all that is put";

/// Writes a value; `nil` if it is not JSON, which only an unchecked value can be.
pub(super) fn put(out: &mut impl Sink, json: &[u8]) {
    let mut value = Vec::with_capacity(json.len());
    match append(&mut value, json) {
        Ok(()) => out.put(&value),
        Err(_) => out.put(&[Marker::Null.to_u8()]),
    }
}

/// An open container.
#[derive(Clone, Copy, Default)]
struct Open {
    object: bool,
    /// Offset of its header.
    start: usize,
    length: u32,
    /// No value of it has been read.
    first: bool,
}

/// Appends a value.
///
/// # Errors
/// If it is not JSON, or nests deeper than `JSON_DEPTH`. What was appended is then incomplete.
pub fn append(out: &mut Vec<u8>, json: &[u8]) -> Result<(), DecodeError> {
    let mut scanner = Scanner::new(json);
    let mut open = [Open::default(); JSON_DEPTH];
    let mut depth = 0;
    loop {
        scanner.skip_space();
        match scanner.peek().ok_or(DecodeError::Malformed)? {
            bracket @ (b'{' | b'[') => {
                let object = bracket == b'{';
                if object {
                    scanner.begin_object()?
                } else {
                    scanner.begin_array()?
                }
                let place = open.get_mut(depth).ok_or(DecodeError::TooDeep)?;
                *place = Open { object, start: out.len(), length: 0, first: true };
                depth += 1;
                // Most headers fit into one byte.
                out.push(0);
            }
            _ => scalar(out, &mut scanner)?,
        }
        loop {
            let Some(innermost) = depth.checked_sub(1) else {
                scanner.skip_space();
                return scanner.peek().map_or(Ok(()), |_| Err(DecodeError::Malformed));
            };
            if follows(out, &mut scanner, &mut open[innermost])? {
                break;
            }
            close(out, open[innermost]);
            depth = innermost;
        }
    }
}

/// Goes to a container's next value, after its name; false at the container's end.
fn follows(
    out: &mut Vec<u8>,
    scanner: &mut Scanner<'_>,
    open: &mut Open,
) -> Result<bool, DecodeError> {
    let more = if open.object {
        let name = scanner.next_member(&mut open.first)?;
        if let Some(name) = &name {
            encode::write_str(out, name).expect(TAKES_ALL);
        }
        name.is_some()
    } else {
        scanner.next_element(&mut open.first)?
    };
    open.length += u32::from(more);
    Ok(more)
}

/// Writes a container's header, now that its length is known.
fn close(out: &mut Vec<u8>, open: Open) {
    let mut header = [0; 5];
    let mut rest = header.as_mut_slice();
    let space = rest.len();
    if open.object {
        encode::write_map_len(&mut rest, open.length).expect(TAKES_ALL);
    } else {
        encode::write_array_len(&mut rest, open.length).expect(TAKES_ALL);
    }
    let used = space - rest.len();
    out[open.start] = header[0];
    if used > 1 {
        let behind = open.start + 1;
        out.splice(behind..behind, header[1..used].iter().copied());
    }
}

fn scalar(out: &mut Vec<u8>, scanner: &mut Scanner<'_>) -> Result<(), DecodeError> {
    match scanner.peek() {
        Some(b'"') => encode::write_str(out, &scanner.string()?).expect(TAKES_ALL),
        Some(b't' | b'f') => encode::write_bool(out, scanner.bool()?).expect(TAKES_ALL),
        Some(b'n') => {
            scanner.null()?;
            encode::write_nil(out).expect(TAKES_ALL);
        }
        _ => number(out, scanner.value(0)?.bytes)?,
    }
    Ok(())
}

fn number(out: &mut Vec<u8>, text: &[u8]) -> Result<(), DecodeError> {
    let text = std::str::from_utf8(text).map_err(|_| DecodeError::Malformed)?;
    if let Ok(value) = text.parse::<u64>() {
        encode::write_uint(out, value).expect(TAKES_ALL);
    } else if let Ok(value @ ..0) = text.parse::<i64>() {
        encode::write_sint(out, value).expect(TAKES_ALL);
    } else {
        let value: f64 = text.parse().map_err(|_| DecodeError::Malformed)?;
        encode::write_f64(out, value).expect(TAKES_ALL);
    }
    Ok(())
}
