//! Positions as Redis has them: an entry's id is `EPOCH-OFFSET`, and what is published is the id, a
//! space, and the block.
//!
//! Must not know blocks. Invariant: a position that was written is read again as the same.

use super::resp::encode::Decimal;
use crate::contract::position::{Epoch, Position};
use bytes::Bytes;

/// An epoch that is not below this would lose digits in Redis' scripts, whose numbers are floating.
/// Ours, microseconds of Unix time, reach it in 2255.
pub const EPOCHS_END: u64 = 1 << 53;

/// A position as text.
#[derive(Clone, Copy, Debug)]
pub struct Id {
    epoch: Decimal,
    offset: Decimal,
}

impl Id {
    #[must_use]
    pub fn new(position: Position) -> Id {
        Id { epoch: Decimal::new(position.epoch.0), offset: Decimal::new(position.offset) }
    }

    /// Its pieces, which are one text.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 3] {
        [self.epoch.as_bytes(), b"-", self.offset.as_bytes()]
    }
}

/// Reads an id.
#[must_use]
pub fn position(id: &[u8]) -> Option<Position> {
    let dash = id.iter().position(|byte| *byte == b'-')?;
    let (epoch, offset) = (number(&id[..dash])?, number(&id[dash + 1..])?);
    Some(Position { epoch: Epoch(epoch), offset })
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// What was published: its position, none for what is not kept (its id is empty), and its block.
#[must_use]
pub fn published(payload: &Bytes) -> Option<(Option<Position>, Bytes)> {
    let space = payload.iter().position(|byte| *byte == b' ')?;
    let block = payload.slice(space + 1..);
    match &payload[..space] {
        [] => Some((None, block)),
        id => Some((Some(position(id)?), block)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for of in [at(0, 0), at(1_764_544_800_000_000, 17), at(u64::MAX, u64::MAX)] {
            assert_eq!(position(&Id::new(of).pieces().concat()), Some(of));
        }
        let wrong = ["", "-", "1", "1-", "-1", "1-1-1", "1-*", "+1-1", "1-18446744073709551616"];
        for text in wrong {
            assert_eq!(position(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_published_has_an_id_before_its_block() {
        let read = |text: &'static str| published(&Bytes::from_static(text.as_bytes()));
        assert_eq!(read("7-1 a b"), Some((Some(at(7, 1)), Bytes::from_static(b"a b"))));
        assert_eq!(read(" a b"), Some((None, Bytes::from_static(b"a b"))));
        assert_eq!(read("7-1 "), Some((Some(at(7, 1)), Bytes::new())));
        for wrong in ["", "a", "7-1", "7 a", "x-1 a"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
