//! Payloads: the one form in which they are kept, and the forms in which receivers get them.
//!
//! The namespace decides what its payloads are; nothing is guessed. `json` is kept as JSON text,
//! `binary` as bytes. docs/codecs.md has the tables. Must not know channels. Invariant: a payload
//! that is kept can be expressed in every codec.

use super::command::{ErrorCode, Payload};
use super::msgpack_read::{Item, item};
use super::scanner::Scanner;
use super::{Codec, json_to_msgpack, msgpack_to_json};
use crate::limits::JSON_DEPTH;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

/// The payload does not have the form of its namespace: error 107.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl From<Invalid> for ErrorCode {
    fn from(_: Invalid) -> ErrorCode {
        ErrorCode::BadRequest
    }
}

/// Reads base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The form in which a payload that was sent in `codec` is kept.
///
/// # Errors
/// If it does not have the namespace's form. Binary payloads may be empty, but in codecs that write
/// them as a value the value must be there.
pub fn keep(codec: Codec, kind: Payload, data: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
    match kind {
        // No data at all is not a value.
        Payload::Json => to_json(codec, data).and_then(|kept| match kept.is_empty() {
            true => Err(Invalid),
            false => Ok(kept),
        }),
        Payload::Binary => to_bytes(codec, data),
    }
}

/// A value that was sent in `codec`, as JSON text.
///
/// # Errors
/// If JSON cannot express it.
pub fn to_json(codec: Codec, data: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
    match codec {
        // The scanner has found its extent.
        Codec::Json => Ok(Cow::Borrowed(data)),
        Codec::Protobuf => checked_json(data).map(Cow::Borrowed),
        Codec::MessagePack => {
            let mut json = Vec::with_capacity(data.len() + data.len() / 2);
            msgpack_to_json::append(&mut json, data).map_err(|_| Invalid)?;
            Ok(Cow::Owned(json))
        }
    }
}

/// JSON text in the form in which `codec` carries values.
#[must_use]
pub fn from_json(codec: Codec, json: &[u8]) -> Cow<'_, [u8]> {
    match codec {
        Codec::Json | Codec::Protobuf => Cow::Borrowed(json),
        Codec::MessagePack => {
            let mut value = Vec::with_capacity(json.len());
            json_to_msgpack::put(&mut value, json);
            Cow::Owned(value)
        }
    }
}

/// The only JSON value in `data`, without the white space around it.
fn checked_json(data: &[u8]) -> Result<&[u8], Invalid> {
    simdutf8::basic::from_utf8(data).map_err(|_| Invalid)?;
    let mut scanner = Scanner::new(data);
    let value = scanner.value(JSON_DEPTH).map_err(|_| Invalid)?;
    scanner.skip_space();
    if value.too_deep || scanner.peek().is_some() { Err(Invalid) } else { Ok(value.bytes) }
}

fn to_bytes(codec: Codec, data: &[u8]) -> Result<Cow<'_, [u8]>, Invalid> {
    match codec {
        Codec::Protobuf => Ok(Cow::Borrowed(data)),
        Codec::Json => {
            let text = Scanner::new(data).string().map_err(|_| Invalid)?;
            BASE64.decode(text.as_bytes()).map(Cow::Owned).map_err(|_| Invalid)
        }
        Codec::MessagePack => match item(&mut { data }) {
            Ok(Item::Bytes(bytes)) => Ok(Cow::Borrowed(bytes)),
            _ => Err(Invalid),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_be_none_and_values_not() {
        let none: [(Codec, &[u8]); 3] =
            [(Codec::Json, b"\"\""), (Codec::MessagePack, b"\xc4\x00"), (Codec::Protobuf, b"")];
        for (codec, data) in none {
            assert_eq!(keep(codec, Payload::Binary, data).as_deref(), Ok(&b""[..]), "{codec:?}");
            assert_eq!(keep(codec, Payload::Json, b""), Err(Invalid), "{codec:?}");
        }
        // In codecs that carry bytes as a value, the value must be there.
        for codec in [Codec::Json, Codec::MessagePack] {
            assert_eq!(keep(codec, Payload::Binary, b""), Err(Invalid), "{codec:?}");
        }
    }
}
