//! Checks the UTF-8 of a text that arrives in pieces, as early as a byte can be known to be wrong.
//!
//! Must not know frames. Invariant: however a text is split the result is that of the whole, and a
//! piece is refused as soon as no continuation could make it valid (RFC 6455 section 8.1).

/// The unfinished character at the end of the text so far: its first bytes, at most three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8State {
    open: [u8; 3],
    len: u8,
}

impl Utf8State {
    /// Takes the next bytes of the text; false if no valid text begins with them.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let Some(rest) = self.close_character(bytes) else { return false };
        let (whole, open) = split_open(rest);
        if simdutf8::basic::from_utf8(whole).is_err() || !may_open(open) {
            return false;
        }
        // Bytes of an earlier piece are still open only if this piece has no more bytes.
        if !open.is_empty() {
            self.open[..open.len()].copy_from_slice(open);
            self.len = open.len() as u8;
        }
        true
    }

    /// Takes the last bytes of the text, and is ready for another one; false if the text is not
    /// UTF-8 or ends within a character.
    #[must_use]
    #[inline]
    pub fn finish(&mut self, bytes: &[u8]) -> bool {
        if self.len == 0 {
            return simdutf8::basic::from_utf8(bytes).is_ok();
        }
        let valid = self.push(bytes) && self.len == 0;
        *self = Utf8State::default();
        valid
    }

    /// Completes the character that earlier bytes began. Returns the bytes after it; `None` if it
    /// cannot be completed.
    fn close_character<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let mut bytes = bytes;
        while self.len > 0 {
            let Some((&next, rest)) = bytes.split_first() else { return Some(bytes) };
            bytes = rest;
            let len = usize::from(self.len);
            let mut character = [0; 4];
            character[..len].copy_from_slice(&self.open[..len]);
            character[len] = next;
            let so_far = &character[..=len];
            if std::str::from_utf8(so_far).is_ok() {
                self.len = 0;
            } else if may_open(so_far) {
                self.open.copy_from_slice(&character[..3]);
                self.len += 1;
            } else {
                return None;
            }
        }
        Some(bytes)
    }
}

/// Splits off the incomplete character at the end of the bytes, at most three bytes.
fn split_open(bytes: &[u8]) -> (&[u8], &[u8]) {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let width = match bytes[at] {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x00..=0x7f => 1,
        };
        return if width > back { bytes.split_at(at) } else { (bytes, &[]) };
    }
    (bytes, &[])
}

/// Can a character begin with these bytes and be longer? True for no bytes.
fn may_open(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.is_empty(),
        Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text of up to 4 bytes from the edges of the grammar, in every split into two, against
    /// std.
    #[test]
    fn every_short_text_has_the_verdict_of_std() {
        const EDGES: [u8; 19] = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed,
            0xef, 0xf0, 0xf4, 0xf5, 0xff,
        ];
        for n in 0..EDGES.len().pow(4) {
            let at = |i: u32| EDGES[n / EDGES.len().pow(i) % EDGES.len()];
            let text = [at(0), at(1), at(2), at(3)];
            let valid = std::str::from_utf8(&text).is_ok();
            for cut in 0..=4 {
                let mut state = Utf8State::default();
                let pushed = state.push(&text[..cut]);
                assert_eq!(pushed, possible(&text[..cut]), "{:x?}", &text[..cut]);
                if pushed {
                    assert_eq!(state.finish(&text[cut..]), valid, "{text:x?} cut at {cut}");
                    assert_eq!(state, Utf8State::default());
                }
            }
        }
    }

    /// Does any text begin with these bytes, according to std?
    fn possible(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).map_or_else(|e| e.error_len().is_none(), |_| true)
    }
}
