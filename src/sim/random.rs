//! The simulation's only source of randomness: a seed decides everything.
//!
//! Must not know what is drawn. Invariant: the same seed and the same calls give the same numbers
//! on every machine.

use crate::hashing::Key;

/// A splitmix64 generator: small, fast, and good enough for schedules.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A key of a table, or of client ids.
    pub fn key(&mut self) -> Key {
        Key::of(u128::from(self.word()) << 64 | u128::from(self.word()))
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: usize) -> usize {
        debug_assert!(bound > 0, "nothing is below 0");
        // The high half of the product: the bias is negligible, and it needs no division.
        ((u128::from(self.word()) * bound as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in `per_mille` of 1,000 draws.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < per_mille as usize
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A separate generator for a part, so that its draws do not change those of others.
    pub fn fork(&mut self) -> Random {
        Random::new(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_sequence_and_covers_its_range() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            let number = one.below(10);
            assert_eq!(number, two.below(10));
            seen[number] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_ne!(one.fork().word(), one.fork().word());
        let hits = (0..10_000).filter(|_| one.chance(100)).count();
        assert!((800..1_200).contains(&hits), "{hits}");
    }
}
