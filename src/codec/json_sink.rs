//! Writes strings, numbers and members of JSON.
//!
//! Must not know replies. Invariant: what is written is JSON without a raw newline.

use super::scanner::plain_length;
use super::sink::Sink;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The members of an open object, separated by commas.
pub(super) struct Fields<'a, S> {
    out: &'a mut S,
    pub(super) any: bool,
}

impl<'a, S: Sink> Fields<'a, S> {
    pub(super) fn new(out: &'a mut S) -> Self {
        Fields { out, any: false }
    }

    /// Writes a member's name, and returns where its value goes.
    pub(super) fn next(&mut self, name: &[u8]) -> &mut S {
        self.out.put(if std::mem::replace(&mut self.any, true) { b",\"" } else { b"\"" });
        self.out.put(name);
        self.out.put(b"\":");
        self.out
    }

    pub(super) fn flag(&mut self, name: &[u8], value: bool) {
        if value {
            self.next(name).put(b"true");
        }
    }

    pub(super) fn number(&mut self, name: &[u8], value: u64) {
        if value > 0 {
            put_number(self.next(name), value);
        }
    }

    pub(super) fn string(&mut self, name: &[u8], value: &str) {
        if !value.is_empty() {
            put_string(self.next(name), value);
        }
    }

    /// A JSON value, unchanged.
    pub(super) fn raw(&mut self, name: &[u8], value: &[u8]) {
        if !value.is_empty() {
            self.next(name).put(value);
        }
    }
}

pub(super) fn put_string(out: &mut impl Sink, text: &str) {
    let mut rest = text.as_bytes();
    out.put(b"\"");
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.put(plain);
        let Some((byte, after)) = special.split_first() else { break };
        put_escape(out, *byte);
        rest = after;
    }
    out.put(b"\"");
}

fn put_escape(out: &mut impl Sink, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.put(b"\\\""),
        b'\\' => out.put(b"\\\\"),
        b'\n' => out.put(b"\\n"),
        b'\r' => out.put(b"\\r"),
        b'\t' => out.put(b"\\t"),
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.put(b"\\u00");
            out.put(&digits);
        }
    }
}

/// Bytes as a string of padded base64.
pub(super) fn put_base64(out: &mut impl Sink, bytes: &[u8]) {
    let mut text = [0; 1_024];
    out.put(b"\"");
    for part in bytes.chunks(text.len() / 4 * 3) {
        let written = STANDARD.encode_slice(part, &mut text);
        out.put(&text[..written.expect("four letters hold three bytes")]);
    }
    out.put(b"\"");
}

pub(super) fn put_number(out: &mut impl Sink, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put(&digits[at..]);
}
