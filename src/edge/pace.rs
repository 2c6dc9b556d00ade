//! Before a shutdown clients are told 3001 a few at a time, in no order that they could know, so
//! that the servers to which they go are not asked by all at once.
//!
//! Must not know why it is done. Invariant: each place is visited once, and the last one when the
//! time is over.

use crate::clock::Now;

/// Who is told when: all places, each a step behind the one before it. The step and their number
/// have no common divisor, so that none is left out.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    begun_ms: u64,
    over_ms: u64,
    places: u32,
    first: u32,
    step: u32,
    visited: u32,
}

impl Pace {
    /// Of so many places, in an order that follows from `hash`.
    #[must_use]
    pub fn new(places: u32, over_ms: u64, hash: u64, now: Now) -> Pace {
        let among = |hash: u64| (hash % u64::from(places.max(1))) as u32;
        let mut step = among(hash >> 32).max(1);
        while gcd(step, places) > 1 {
            step += 1;
        }
        let first = among(hash & u64::from(u32::MAX));
        Pace { begun_ms: now.monotonic_ms(), over_ms, places, first, step, visited: 0 }
    }

    /// How many places have their time until now.
    fn due(&self, now: Now) -> u32 {
        let passed_ms = now.monotonic_ms().saturating_sub(self.begun_ms);
        if passed_ms >= self.over_ms {
            return self.places;
        }
        // Less than the number of places.
        (u128::from(self.places) * u128::from(passed_ms) / u128::from(self.over_ms)) as u32
    }

    /// Is there a place whose time has come?
    #[must_use]
    pub fn has_due(&self, now: Now) -> bool {
        self.visited < self.due(now)
    }

    /// Have all had their time?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.visited == self.places
    }

    /// When the next has its time, in milliseconds of the process; none when all have had it.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        let next = u64::from(self.visited) + 1;
        let after_ms = (next * self.over_ms).div_ceil(u64::from(self.places.max(1)));
        (self.visited < self.places).then_some(self.begun_ms + after_ms)
    }

    /// Takes the next place.
    pub fn take_next(&mut self) -> u32 {
        debug_assert!(self.visited < self.places, "all have been visited");
        let ahead = u64::from(self.visited) * u64::from(self.step);
        self.visited += 1;
        ((u64::from(self.first) + ahead) % u64::from(self.places)) as u32
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { monotonic_us: ms * 1_000, unix_ms: 0 }
    }

    #[test]
    fn each_place_has_its_time_once_and_the_last_at_the_end() {
        for (places, hash) in [(1, 7), (2, u64::MAX), (100, 3 << 32), (1_000, 0x1234_5678_9abc)] {
            let mut pace = Pace::new(places, 5_000, hash, at(40));
            let mut order = Vec::new();
            for ms in 40..=5_040 {
                if let Some(next) = pace.next_ms() {
                    assert_eq!(next <= ms, pace.visited < pace.due(at(ms)), "{ms}");
                }
                while pace.visited < pace.due(at(ms)) {
                    order.push(pace.take_next());
                }
                let expected = u64::from(places) * (ms - 40) / 5_000;
                assert_eq!(order.len() as u64, expected, "evenly");
            }
            assert_eq!(pace.next_ms(), None);
            order.sort_unstable();
            assert_eq!(order, (0..places).collect::<Vec<_>>());
        }
        let none = Pace::new(0, 5_000, 9, at(0));
        assert_eq!((none.next_ms(), none.due(at(9_000))), (None, 0));
    }
}
