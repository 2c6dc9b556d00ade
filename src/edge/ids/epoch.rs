//! Epochs as clients see them: eight letters.

use crate::contract::position::{Epoch, Since};

const LETTERS: usize = 8;

/// The text of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochText([u8; LETTERS]);

impl EpochText {
    #[must_use]
    pub fn new(epoch: Epoch) -> EpochText {
        let mut number = epoch.0;
        let mut text = [b'a'; LETTERS];
        for letter in text.iter_mut().rev() {
            *letter = b'a' + u8::try_from(number % 26).expect("below 26");
            number /= 26;
        }
        EpochText(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// A position as clients write it. An empty epoch means the channel's current one, as in
/// Centrifugo; an invalid one belongs to no channel.
pub fn since(epoch: &str, offset: u64) -> Since {
    let epoch = (!epoch.is_empty()).then(|| parse_epoch(epoch).unwrap_or(Epoch::NONE));
    Since { epoch, offset }
}

/// Epochs are eight lower-case letters.
fn parse_epoch(text: &str) -> Option<Epoch> {
    let bytes = text.as_bytes();
    if bytes.len() != LETTERS || !bytes.iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    Some(Epoch(bytes.iter().fold(0, |number, letter| number * 26 + u64::from(letter - b'a'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_survive_their_text() {
        for number in [0, 1, 25, 26, 26_u64.pow(8) - 1, 123_456_789] {
            let text = EpochText::new(Epoch(number));
            assert_eq!(parse_epoch(text.as_str()), Some(Epoch(number)));
        }
        for bad in ["", "abc", "ABCDEFGH", "abcdefghi", "abcdefg1"] {
            assert_eq!(parse_epoch(bad), None);
        }
        let epoch = |text| since(text, 7).epoch;
        let read = ["aaaaaaab", "abc", ""].map(epoch);
        assert_eq!(read, [Some(Epoch(1)), Some(Epoch::NONE), None]);
    }
}
