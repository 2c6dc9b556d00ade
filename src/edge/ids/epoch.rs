//! Epochs as clients see them: eight letters, or as many more as the number needs.
//!
//! A home draws its own so that eight are enough; a store's are Unix microseconds, which take
//! eleven. Invariant: each number has one text, and the other way round.

use crate::contract::position::{Epoch, Since};

const LETTERS: usize = 8;
/// What the largest number takes.
const LETTERS_MOST: usize = 14;

/// The text of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochText {
    /// The last of them are the text.
    letters: [u8; LETTERS_MOST],
    first: usize,
}

impl EpochText {
    #[must_use]
    pub fn new(epoch: Epoch) -> EpochText {
        let mut number = epoch.0;
        let mut letters = [b'a'; LETTERS_MOST];
        let mut first = LETTERS_MOST;
        while number > 0 {
            first -= 1;
            letters[first] = b'a' + u8::try_from(number % 26).expect("below 26");
            number /= 26;
        }
        EpochText { letters, first: first.min(LETTERS_MOST - LETTERS) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[self.first..]).unwrap_or("")
    }
}

/// A position as clients write it. An empty epoch means the channel's current one, as in
/// Centrifugo; an invalid one belongs to no channel.
pub fn since(epoch: &str, offset: u64) -> Since {
    let epoch = (!epoch.is_empty()).then(|| parse_epoch(epoch).unwrap_or(Epoch::NONE));
    Since { epoch, offset }
}

/// The epoch whose text this is.
fn parse_epoch(text: &str) -> Option<Epoch> {
    let bytes = text.as_bytes();
    let is_padded = bytes.len() > LETTERS && bytes[0] == b'a';
    if bytes.len() < LETTERS || is_padded || !bytes.iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    let push =
        |number: u64, letter: &u8| number.checked_mul(26)?.checked_add(u64::from(letter - b'a'));
    bytes.iter().try_fold(0, push).map(Epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_survive_their_text() {
        let eight = 26_u64.pow(8);
        let microseconds = 1_796_072_400_123_456;
        for (number, length) in [
            (0, 8),
            (1, 8),
            (26, 8),
            (eight - 1, 8),
            (eight, 9),
            (microseconds, 11),
            (u64::MAX, LETTERS_MOST),
        ] {
            let text = EpochText::new(Epoch(number));
            assert_eq!(text.as_str().len(), length, "{number}");
            assert_eq!(parse_epoch(text.as_str()), Some(Epoch(number)));
        }
        let beyond = ["zzzzzzzzzzzzzz", "baaaaaaaaaaaaaa"];
        for bad in ["", "abc", "ABCDEFGH", "abcdefghi", "abcdefg1"].into_iter().chain(beyond) {
            assert_eq!(parse_epoch(bad), None, "{bad}");
        }
        let epoch = |text| since(text, 7).epoch;
        let read = ["aaaaaaab", "abc", ""].map(epoch);
        assert_eq!(read, [Some(Epoch(1)), Some(Epoch::NONE), None]);
    }
}
