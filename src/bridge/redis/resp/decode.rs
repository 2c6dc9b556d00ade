//! Bytes to values, however they are cut into reads.
//!
//! Must not know commands. Invariant: no byte is looked at again because of a cut, except the head
//! of a line that was cut. What is kept is the value begun, and the bytes of its next part.

use super::{RespError, Value};
use crate::limits::{
    REDIS_BUFFER_KEPT_BYTES, REDIS_BULK_BYTES, REDIS_DEPTH, REDIS_LINE_BYTES, REDIS_VALUE_BYTES,
};
use bytes::Bytes;

/// Places that a list is given at once, whatever the count that was announced.
const PLACES_AT_ONCE: usize = 16;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Received, and not all decoded.
    buffer: Vec<u8>,
    /// Where the next part begins in it.
    at: usize,
    /// Up to here the part's line has no end.
    searched: usize,
    /// The blob whose head was read.
    blob: Option<Blob>,
    /// The lists that are not complete, the outermost first.
    open: Vec<List>,
    /// Bytes that the value being decoded takes.
    taken: usize,
    failed: Option<RespError>,
}

/// A blob whose bytes are still to come.
#[derive(Clone, Copy, Debug)]
struct Blob {
    kind: BlobKind,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum BlobKind {
    Bytes,
    Error,
    /// With a format of three letters and a colon before it.
    Text,
}

/// A value that holds others, being filled.
#[derive(Debug)]
struct List {
    kind: ListKind,
    /// Values that are still to come.
    left: usize,
    values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListKind {
    Array,
    Map,
    Push,
    /// Something about the value that follows; skipped.
    Attribute,
}

/// What one line says.
enum Line {
    Value(Value),
    Blob(Blob),
    List(ListKind, usize),
}

impl Decoder {
    #[must_use]
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Takes what was read. Then `next` has to be called until it has no more, for what is received
    /// is bounded by what a value may take only if values are taken out.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next value; none if it has not been received as a whole.
    ///
    /// # Errors
    /// What was received is no value, or one over its bounds. From then on it fails always.
    #[expect(clippy::should_implement_trait, reason = "it ends with what was received so far")]
    pub fn next(&mut self) -> Result<Option<Value>, RespError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = self.decode();
        match next {
            Ok(Some(_)) => self.taken = 0,
            Ok(None) => self.compact(),
            Err(error) => *self = Decoder { failed: Some(error), ..Decoder::default() },
        }
        next
    }

    fn decode(&mut self) -> Result<Option<Value>, RespError> {
        loop {
            let value = match self.blob {
                Some(blob) => {
                    let Some(value) = self.take_blob(blob)? else { return Ok(None) };
                    self.blob = None;
                    Some(value)
                }
                None => match self.take_line()? {
                    None => return Ok(None),
                    Some(Line::Value(value)) => {
                        self.charge(0)?;
                        Some(value)
                    }
                    Some(Line::Blob(blob)) => {
                        self.charge(blob.length)?;
                        self.blob = Some(blob);
                        None
                    }
                    Some(Line::List(kind, count)) => self.open(kind, count)?,
                },
            };
            if let Some(whole) = value.and_then(|value| self.put(value)) {
                debug_assert!(self.open.is_empty() && self.blob.is_none());
                return Ok(Some(whole));
            }
        }
    }

    /// Drops what was decoded. What is left is a part of the last read at most, unless it is one
    /// part alone, which lies at the beginning already.
    fn compact(&mut self) {
        self.buffer.drain(..self.at);
        self.searched = self.searched.saturating_sub(self.at);
        self.at = 0;
        if self.buffer.len() <= REDIS_BUFFER_KEPT_BYTES {
            self.buffer.shrink_to(REDIS_BUFFER_KEPT_BYTES);
        }
    }

    /// Counts a value with so many bytes, besides its place.
    fn charge(&mut self, bytes: usize) -> Result<(), RespError> {
        self.taken += size_of::<Value>() + bytes;
        if self.taken > REDIS_VALUE_BYTES { Err(RespError::ValueTooLong) } else { Ok(()) }
    }

    /// The line at `at`, if it was received as a whole.
    fn take_line(&mut self) -> Result<Option<Line>, RespError> {
        let Some(kind) = self.buffer.get(self.at).copied() else { return Ok(None) };
        if !b"+-:$_#,(=!*~%|>".contains(&kind) {
            return Err(RespError::UnknownKind(kind));
        }
        let from = self.searched.max(self.at + 1);
        let rest = &self.buffer[from..];
        let length = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let end = from + length.unwrap_or(rest.len());
        if end - self.at > REDIS_LINE_BYTES {
            return Err(RespError::LineTooLong);
        }
        self.searched = end;
        match self.buffer.get(end..) {
            Some([b'\r', b'\n', ..]) => {}
            Some([] | [b'\r']) | None => return Ok(None),
            Some(_) => return Err(RespError::BadLine),
        }
        let line = line(kind, &self.buffer[self.at + 1..end])?;
        if let Line::Value(Value::Simple(text) | Value::Error(text)) = &line {
            self.taken += text.len();
        }
        self.at = end + 2;
        Ok(Some(line))
    }

    /// The blob at `at`, if it was received as a whole.
    fn take_blob(&mut self, blob: Blob) -> Result<Option<Value>, RespError> {
        let rest = &self.buffer[self.at..];
        let Some(end) = rest.get(blob.length..blob.length + 2) else {
            // What cannot be right is told before all of it has come.
            let is_wrong = rest.get(blob.length).is_some_and(|byte| *byte != b'\r');
            return if is_wrong { Err(RespError::BadEnd) } else { Ok(None) };
        };
        if end != b"\r\n" {
            return Err(RespError::BadEnd);
        }
        let bytes = &rest[..blob.length];
        let value = match blob.kind {
            BlobKind::Bytes => Value::Blob(Bytes::copy_from_slice(bytes)),
            BlobKind::Error => Value::Error(String::from_utf8_lossy(bytes).into()),
            BlobKind::Text => match bytes {
                [_, _, _, b':', text @ ..] => Value::Blob(Bytes::copy_from_slice(text)),
                _ => return Err(RespError::BadFormat),
            },
        };
        self.at += blob.length + 2;
        Ok(Some(value))
    }

    /// Begins a list; an empty one is whole at once.
    fn open(&mut self, kind: ListKind, count: usize) -> Result<Option<Value>, RespError> {
        if kind == ListKind::Push && !self.open.is_empty() {
            return Err(RespError::NestedPush);
        }
        if self.open.len() == REDIS_DEPTH {
            return Err(RespError::TooDeep);
        }
        self.charge(0)?;
        let left = match kind {
            ListKind::Map | ListKind::Attribute => count.saturating_mul(2),
            ListKind::Array | ListKind::Push => count,
        };
        if left > (REDIS_VALUE_BYTES - self.taken) / size_of::<Value>() {
            return Err(RespError::ValueTooLong);
        }
        if left > 0 {
            let values = Vec::with_capacity(left.min(PLACES_AT_ONCE));
            self.open.push(List { kind, left, values });
            return Ok(None);
        }
        Ok(whole(kind, Vec::new()))
    }

    /// Puts a value into the innermost list, and what becomes whole by it into the next; returns
    /// what is in no list.
    fn put(&mut self, mut value: Value) -> Option<Value> {
        while let Some(list) = self.open.last_mut() {
            debug_assert!(list.left > 0, "a list that is whole was left open");
            list.left -= 1;
            list.values.push(value);
            if list.left > 0 {
                return None;
            }
            let list = self.open.pop()?;
            value = whole(list.kind, list.values)?;
        }
        Some(value)
    }
}

/// The value of a list with all its values; none for what is skipped.
fn whole(kind: ListKind, values: Vec<Value>) -> Option<Value> {
    match kind {
        ListKind::Array => Some(Value::Array(values)),
        ListKind::Push => Some(Value::Push(values)),
        ListKind::Attribute => None,
        ListKind::Map => {
            let mut values = values.into_iter();
            let pairs = std::iter::from_fn(|| Some((values.next()?, values.next()?)));
            Some(Value::Map(pairs.collect()))
        }
    }
}

/// What a line of this kind says.
fn line(kind: u8, text: &[u8]) -> Result<Line, RespError> {
    let value = match kind {
        b'+' => Value::Simple(String::from_utf8_lossy(text).into()),
        b'-' => Value::Error(String::from_utf8_lossy(text).into()),
        b':' => Value::Integer(number(text).ok_or(RespError::BadNumber)?),
        b',' => Value::Double(double(text).ok_or(RespError::BadNumber)?),
        b'(' => Value::Simple(big_number(text).ok_or(RespError::BadNumber)?.into()),
        b'#' => match text {
            b"t" => Value::Boolean(true),
            b"f" => Value::Boolean(false),
            _ => return Err(RespError::BadConstant),
        },
        b'_' if text.is_empty() => Value::Null,
        b'_' => return Err(RespError::BadConstant),
        b'$' | b'*' if text == b"-1" => Value::Null,
        b'$' => return blob(BlobKind::Bytes, text),
        b'!' => return blob(BlobKind::Error, text),
        b'=' => return blob(BlobKind::Text, text),
        b'*' | b'~' => return Ok(Line::List(ListKind::Array, length(text)?)),
        b'%' => return Ok(Line::List(ListKind::Map, length(text)?)),
        b'|' => return Ok(Line::List(ListKind::Attribute, length(text)?)),
        b'>' => return Ok(Line::List(ListKind::Push, length(text)?)),
        _ => return Err(RespError::UnknownKind(kind)),
    };
    Ok(Line::Value(value))
}

fn blob(kind: BlobKind, text: &[u8]) -> Result<Line, RespError> {
    let length = length(text)?;
    if length > REDIS_BULK_BYTES {
        return Err(RespError::BulkTooLong);
    }
    Ok(Line::Blob(Blob { kind, length }))
}

fn length(text: &[u8]) -> Result<usize, RespError> {
    if text == b"?" {
        return Err(RespError::Streamed);
    }
    let is_plain = text.iter().all(u8::is_ascii_digit);
    number(text).filter(|_| is_plain).ok_or(RespError::BadLength)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn double(text: &[u8]) -> Option<f64> {
    match text {
        b"inf" | b"+inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => Some(f64::NAN),
        // Words for the same, which the standard library would take too.
        _ if text.iter().any(|byte| byte.is_ascii_alphabetic() && !b"eE".contains(byte)) => None,
        _ => number(text),
    }
}

fn big_number(text: &[u8]) -> Option<&str> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests;
