//! RESP3, the protocol of Redis: commands to bytes, and bytes to values.
//!
//! Must not know what commands mean. Invariant: a value takes memory only for what was received of
//! it, within the bounds of `limits`.

pub mod decode;
pub mod encode;

use bytes::Bytes;

/// One value that Redis sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A line of text, or the digits of a number that has no other type. What is not UTF-8 in it is
    /// replaced.
    Simple(Box<str>),
    /// An error, of a line or of several. It may stand inside of other values.
    Error(Box<str>),
    Integer(i64),
    /// Bytes; of a text with a format the text alone.
    Blob(Bytes),
    /// Also the nulls of RESP2.
    Null,
    Boolean(bool),
    Double(f64),
    /// An array, or a set in the order in which it came.
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// What Redis sends without being asked, between answers and never inside of one.
    Push(Vec<Value>),
}

/// What is wrong with the bytes received. Nothing after it can be understood, so it ends the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespError {
    /// No value begins with this byte.
    UnknownKind(u8),
    /// A line that does not end with CR LF.
    BadLine,
    /// An integer or a number that is none, or too large.
    BadNumber,
    /// A length or a count that is none.
    BadLength,
    /// A blob that is not followed by CR LF.
    BadEnd,
    /// A text whose format is missing.
    BadFormat,
    /// A boolean or a null of another form.
    BadConstant,
    /// A value whose length is not said at its beginning; Redis sends none.
    Streamed,
    /// A push inside of another value.
    NestedPush,
    /// Deeper than `limits::REDIS_DEPTH`.
    TooDeep,
    /// A line over `limits::REDIS_LINE_BYTES`.
    LineTooLong,
    /// A blob over `limits::REDIS_BULK_BYTES`.
    BulkTooLong,
    /// A value that takes more than `limits::REDIS_VALUE_BYTES`.
    ValueTooLong,
}

impl std::fmt::Display for RespError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            RespError::UnknownKind(byte) => {
                return write!(f, "it does not speak RESP: 0x{byte:02x}");
            }
            RespError::BadLine => "a line without its end",
            RespError::BadNumber => "a number that is none",
            RespError::BadLength => "a length that is none",
            RespError::BadEnd => "a blob without its end",
            RespError::BadFormat => "a text without its format",
            RespError::BadConstant => "a boolean or null of unknown form",
            RespError::Streamed => "a value of unknown length",
            RespError::NestedPush => "a push inside of a value",
            RespError::TooDeep => "a value that is nested too deeply",
            RespError::LineTooLong => "a line that is too long",
            RespError::BulkTooLong => "a blob that is too long",
            RespError::ValueTooLong => "a value that is too long",
        };
        f.write_str(text)
    }
}

impl std::error::Error for RespError {}
