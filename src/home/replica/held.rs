//! Publications that came while a read of their stream was out.
//!
//! Must not know what the read brings. Invariant: count and bytes are bounded; over either the
//! oldest go, which the read or the next one brings.

use crate::contract::block::Block;
use crate::contract::position::{Epoch, Position};
use crate::limits::{REPLICA_HELD, REPLICA_HELD_BYTES};
use std::collections::VecDeque;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Held {
    items: VecDeque<(Position, Block)>,
    bytes: usize,
}

impl Held {
    pub fn push(&mut self, position: Position, block: Block) {
        self.bytes += block.size();
        self.items.push_back((position, block));
        while self.items.len() > REPLICA_HELD
            || self.bytes > REPLICA_HELD_BYTES && self.items.len() > 1
        {
            let (_, gone) = self.items.pop_front().expect("it has some");
            self.bytes -= gone.size();
        }
    }

    /// Takes what follows a position.
    pub fn take_next(&mut self, epoch: Epoch, last: u64) -> Option<Block> {
        let is_next = |(at, _): &(Position, Block)| {
            at.epoch == epoch && last.checked_add(1) == Some(at.offset)
        };
        let index = self.items.iter().position(is_next)?;
        let (_, block) = self.items.remove(index)?;
        self.bytes -= block.size();
        Some(block)
    }

    /// Takes all, in the order in which they came.
    pub fn take(&mut self) -> VecDeque<(Position, Block)> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }

    pub fn clear(&mut self) {
        self.take();
    }

    /// Is there one behind an offset?
    #[must_use]
    pub fn has_later(&self, last: u64) -> bool {
        self.items.iter().any(|(position, _)| position.offset > last)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What holds between any two calls of a home.
    pub fn check(&self) {
        assert!(self.items.len() <= REPLICA_HELD, "too many: {}", self.items.len());
        debug_assert_eq!(self.bytes, self.items.iter().map(|(_, it)| it.size()).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    const NOW: Now = Now { monotonic_us: 0, unix_ms: 0 };

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(3), offset }
    }

    #[test]
    fn the_oldest_go_over_either_bound() {
        let mut held = Held::default();
        let large = vec![b'1'; REPLICA_HELD_BYTES / 4];
        for offset in 1..=9 {
            held.push(at(offset), Block::plain("a", &large, NOW));
            held.check();
        }
        assert!(held.take_next(Epoch(3), 5).is_none(), "it went");
        assert!(held.take_next(Epoch(3), 7).is_some() && !held.is_empty());
        held.push(at(10), Block::plain("a", &vec![b'1'; 2 * REPLICA_HELD_BYTES], NOW));
        assert_eq!(held.take().len(), 1, "one is held, however large it is");
        let most = REPLICA_HELD as u64;
        for offset in 1..=most + 2 {
            held.push(at(offset), Block::plain("a", b"1", NOW));
        }
        held.check();
        assert!(held.has_later(most + 1) && !held.has_later(most + 2));
        let offsets: Vec<u64> = held.take().iter().map(|(position, _)| position.offset).collect();
        assert_eq!((offsets.len() as u64, offsets[0]), (most, 3));
        held.check();
    }
}
