//! Decodes the escapes of a JSON string.
//!
//! Must not know where the string was. Its input has passed the scanner, so every escape is
//! complete.

/// The text of a string's raw extent, without quotes. A surrogate without its partner, which is not
/// a character, becomes U+FFFD.
#[must_use]
pub fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = escaped(&rest.as_bytes()[at..]);
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    text
}

/// The character of the escape that `bytes` starts with, and the escape's length.
fn escaped(bytes: &[u8]) -> (char, usize) {
    let character = match bytes.get(1) {
        Some(b'u') => return unicode(bytes),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(byte) => char::from(*byte),
        None => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (character, 2)
}

fn unicode(bytes: &[u8]) -> (char, usize) {
    let first = unit(bytes);
    if let Some(character) = char::from_u32(first) {
        return (character, 6);
    }
    let second = bytes.get(6..).filter(|rest| rest.starts_with(b"\\u")).map_or(0, unit);
    if first < 0xdc00 && (0xdc00..0xe000).contains(&second) {
        let point = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::REPLACEMENT_CHARACTER, 6)
}

/// The UTF-16 unit of a `\uXXXX` escape.
fn unit(bytes: &[u8]) -> u32 {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0);
    bytes.iter().skip(2).take(4).fold(0, |unit, byte| unit << 4 | digit(byte))
}
