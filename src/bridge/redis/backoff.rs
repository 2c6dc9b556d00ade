//! How long a shard rests before it dials again: longer after each failure, and by chance, so that
//! nodes that lost the same server do not come back together.
//!
//! Must not know why. Invariant: a rest is between half of what the failures ask for and all of it,
//! and no longer than the longest.

/// The rest after the first failure, at most, in microseconds.
const FIRST_US: u64 = 25_000;
/// Doublings until the longest rest.
const DOUBLINGS: u32 = 7;
/// The longest: soon enough that a server that is back is found within two seconds.
const LONGEST_US: u64 = 1_600_000;

const _: () = assert!(FIRST_US << DOUBLINGS >= LONGEST_US);

/// See the module's page.
#[derive(Debug)]
pub struct Backoff {
    failures: u32,
    /// What the chance is drawn from.
    state: u64,
}

impl Backoff {
    #[must_use]
    pub fn new(seed: u64) -> Backoff {
        Backoff { failures: 0, state: seed }
    }

    /// After one more failure: microseconds to rest.
    pub fn rest_us(&mut self) -> u64 {
        let most = (FIRST_US << self.failures.min(DOUBLINGS)).min(LONGEST_US);
        self.failures = self.failures.saturating_add(1);
        most / 2 + self.draw() % (most / 2 + 1)
    }

    /// What was tried has worked: the next failure is a first one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next of a sequence that looks random (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_the_longest_and_differ() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(2));
        let rests: Vec<u64> = (0..40).map(|_| one.rest_us()).collect();
        for (index, rest) in rests.iter().enumerate() {
            let most = (FIRST_US << index.min(20)).min(LONGEST_US);
            assert!((most / 2..=most).contains(rest), "{index}: {rest}");
        }
        assert!(rests[10..].windows(2).any(|two| two[0] != two[1]), "by chance");
        assert_ne!((0..40).map(|_| other.rest_us()).collect::<Vec<_>>(), rests, "by the seed");
        one.reset();
        assert!(one.rest_us() <= FIRST_US);
    }
}
