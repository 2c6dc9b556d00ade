//! A strict JSON scanner (RFC 8259) that reads scalars and keeps the raw extents of values.
//!
//! Must not know commands. Invariants: it never recurses, and allocates only for a string with
//! escapes, so hostile depth costs time linear in the bytes and no stack; it accepts exactly the
//! grammar. It checks UTF-8 where it returns text; of an extent the caller does.

use super::command::DecodeError;
use super::unescape::unescape;
use std::borrow::Cow;

/// Reads one value after another from a text.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A value that was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent<'a> {
    /// Its text, without surrounding white space.
    pub bytes: &'a [u8],
    /// It nests deeper than allowed. What is below that depth was matched only by brackets and
    /// strings, so it may not be JSON.
    pub too_deep: bool,
}

/// The open containers, innermost in the lowest bit: 1 is an object.
#[derive(Default)]
struct Open {
    objects: u64,
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) {
        self.objects = self.objects << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

impl<'a> Scanner<'a> {
    /// Levels that `value` can track.
    pub const MAX_LEVELS: usize = u64::BITS as usize;

    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Scanner { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte, without taking it; `None` at the end.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space.
    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Enters an object; its members come from `next_member`.
    ///
    /// # Errors
    /// `WrongType` if another kind of value begins here.
    pub fn begin_object(&mut self) -> Result<(), DecodeError> {
        self.begin(b'{')
    }

    /// Enters an array; `next_element` says whether a value follows.
    ///
    /// # Errors
    /// `WrongType` if another kind of value begins here.
    pub fn begin_array(&mut self) -> Result<(), DecodeError> {
        self.begin(b'[')
    }

    fn begin(&mut self, bracket: u8) -> Result<(), DecodeError> {
        self.skip_space();
        if self.peek() != Some(bracket) {
            return Err(self.wrong_type());
        }
        self.at += 1;
        Ok(())
    }

    /// The name of an object's next member, whose value must be read before the next call; `None`
    /// when the object ends. `first` starts as true.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn next_member(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        if !self.follows(b'}', first)? {
            return Ok(None);
        }
        self.skip_space();
        let name = self.text()?;
        self.colon()?;
        Ok(Some(name))
    }

    /// Whether an array has another element, which must be read before the next call. `first`
    /// starts as true.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn next_element(&mut self, first: &mut bool) -> Result<bool, DecodeError> {
        self.follows(b']', first)
    }

    /// Takes a container's end, or the comma before its next value.
    fn follows(&mut self, end: u8, first: &mut bool) -> Result<bool, DecodeError> {
        self.skip_space();
        let byte = self.peek().ok_or(DecodeError::Malformed)?;
        if byte == end {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::replace(first, false) {
            if byte != b',' {
                return Err(DecodeError::Malformed);
            }
            self.at += 1;
        }
        Ok(true)
    }

    /// Reads `null`, if it is next.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn null(&mut self) -> Result<bool, DecodeError> {
        self.skip_space();
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.literal(b"null").map(|()| true)
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// `Malformed`, or `WrongType` if it is another kind of value.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.skip_space();
        match self.peek() {
            Some(b't') => self.literal(b"true").map(|()| true),
            Some(b'f') => self.literal(b"false").map(|()| false),
            _ => Err(self.wrong_type()),
        }
    }

    /// Reads an integer as sign and magnitude, without converting through a float.
    ///
    /// # Errors
    /// `Malformed`, or `WrongType` if it is not a number, has a fraction or an exponent, or exceeds
    /// a `u64`.
    pub fn integer(&mut self) -> Result<(bool, u64), DecodeError> {
        self.skip_space();
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.wrong_type());
        }
        let start = self.at;
        self.number()?;
        let text = &self.bytes[start..self.at];
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut magnitude = 0u64;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(DecodeError::WrongType);
            }
            magnitude = magnitude
                .checked_mul(10)
                .and_then(|shifted| shifted.checked_add(u64::from(digit - b'0')))
                .ok_or(DecodeError::WrongType)?;
        }
        Ok((negative, magnitude))
    }

    /// Reads a string: borrowed, unless it has escapes. A surrogate without its partner becomes
    /// U+FFFD, as in Centrifugo.
    ///
    /// # Errors
    /// `Malformed`, or `WrongType` if it is another kind of value.
    pub fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return Err(self.wrong_type());
        }
        self.text()
    }

    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let start = self.at + 1;
        let escaped = self.skip_string()?;
        let raw = std::str::from_utf8(&self.bytes[start..self.at - 1])
            .map_err(|_| DecodeError::Malformed)?;
        Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// Skips one value, of at most `levels` nested containers (`MAX_LEVELS` or fewer).
    ///
    /// # Errors
    /// `Malformed`. A value that nests deeper is not an error here: `too_deep` says so.
    pub fn value(&mut self, levels: usize) -> Result<Extent<'a>, DecodeError> {
        debug_assert!(levels <= Self::MAX_LEVELS);
        self.skip_space();
        let start = self.at;
        let mut open = Open::default();
        let mut too_deep = false;
        loop {
            self.skip_space();
            match self.peek().ok_or(DecodeError::Malformed)? {
                bracket @ (b'{' | b'[') if open.depth < levels => {
                    if self.enter(bracket, &mut open)? {
                        continue;
                    }
                }
                b'{' | b'[' => {
                    too_deep = true;
                    self.skip_balanced()?;
                }
                _ => self.skip_scalar()?,
            }
            if !self.next_value(&mut open)? {
                return Ok(Extent { bytes: &self.bytes[start..self.at], too_deep });
            }
        }
    }

    /// Enters a container; false if it was empty and has been left again.
    fn enter(&mut self, bracket: u8, open: &mut Open) -> Result<bool, DecodeError> {
        let object = bracket == b'{';
        self.at += 1;
        self.skip_space();
        // The code of each closing bracket is two above that of its opening one.
        if self.peek() == Some(bracket + 2) {
            self.at += 1;
            return Ok(false);
        }
        open.push(object);
        if object {
            self.skip_string()?;
            self.colon()?;
        }
        Ok(true)
    }

    /// After a value: goes to the next one; false when the outermost one has ended.
    fn next_value(&mut self, open: &mut Open) -> Result<bool, DecodeError> {
        while open.depth > 0 {
            self.skip_space();
            let byte = self.peek().ok_or(DecodeError::Malformed)?;
            self.at += 1;
            match (byte, open.in_object()) {
                (b',', false) => return Ok(true),
                (b',', true) => {
                    self.skip_space();
                    self.skip_string()?;
                    self.colon()?;
                    return Ok(true);
                }
                (b'}', true) | (b']', false) => open.pop(),
                _ => return Err(DecodeError::Malformed),
            }
        }
        Ok(false)
    }

    fn skip_scalar(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"') => self.skip_string().map(|_| ()),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.number(),
        }
    }

    /// Skips a container by matching only brackets and strings.
    fn skip_balanced(&mut self) -> Result<(), DecodeError> {
        let mut depth = 0usize;
        loop {
            match self.peek().ok_or(DecodeError::Malformed)? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn colon(&mut self) -> Result<(), DecodeError> {
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(DecodeError::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), DecodeError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(DecodeError::Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), DecodeError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(DecodeError::Malformed) } else { Ok(()) }
    }

    /// Skips a string with its quotes; true if it has escapes.
    fn skip_string(&mut self) -> Result<bool, DecodeError> {
        if self.peek() != Some(b'"') {
            return Err(DecodeError::Malformed);
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(DecodeError::Malformed),
            }
        }
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        let length = match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match self.bytes.get(self.at + 2..self.at + 6) {
                Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => 6,
                _ => return Err(DecodeError::Malformed),
            },
            _ => return Err(DecodeError::Malformed),
        };
        self.at += length;
        Ok(())
    }

    /// The error for a value of another kind: `Malformed` if no value starts here.
    fn wrong_type(&self) -> DecodeError {
        match self.peek() {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                DecodeError::WrongType
            }
            _ => DecodeError::Malformed,
        }
    }
}

/// Bytes before the first that ends a run of plain text in a string: a quote, a backslash or a
/// control character. Tests eight bytes at a time.
#[must_use]
pub fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    let mut length = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = quote | backslash | control;
        if found != 0 {
            // A borrow may mark bytes above the first one, never below it.
            return length + found.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    length + bytes[length..].iter().take_while(|byte| plain(byte)).count()
}
