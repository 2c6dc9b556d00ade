//! A timer wheel: one per worker, with one entry per connection, its nearest deadline.
//!
//! Must not know what a deadline is for. Invariant: of a place's entries only the one at its
//! connection's `timer_tick` is valid; others, and those of earlier connections, are recognised as
//! stale.

/// Milliseconds of a tick.
const TICK_MS: u64 = 32;

/// Ticks of the wheel: 65 s; a later deadline stays for another round.
const TICKS: u32 = 2_048;

const WORDS: usize = TICKS as usize / 64;

/// A hashed timer wheel.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<u32>>,
    occupied: [u64; WORDS],
    /// The next tick to process.
    tick: u32,
}

impl Default for Wheel {
    fn default() -> Self {
        let slots = (0..TICKS).map(|_| Vec::new()).collect();
        Wheel { slots, occupied: [0; WORDS], tick: 0 }
    }
}

impl Wheel {
    /// The tick at which a deadline is processed, never before it.
    #[must_use]
    pub fn tick_of(&self, deadline_ms: u64) -> u32 {
        let tick = narrow(deadline_ms.div_ceil(TICK_MS)).max(self.tick);
        tick.min(self.tick + TICKS - 1)
    }

    /// Adds a place at a tick returned by `tick_of`.
    pub fn add(&mut self, tick: u32, place: u32) {
        debug_assert!(tick >= self.tick && tick - self.tick < TICKS);
        let slot = tick % TICKS;
        self.occupied[slot as usize / 64] |= 1 << (slot % 64);
        self.slots[slot as usize].push(place);
    }

    /// Takes the entries of the next tick that has passed at `now_ms`; `None` when all were taken.
    pub fn expire(&mut self, now_ms: u64) -> Option<(u32, Vec<u32>)> {
        let now_tick = narrow(now_ms / TICK_MS);
        if now_tick >= self.tick + TICKS {
            // Nothing is more than one round ahead.
            self.tick = self.next_tick().unwrap_or(now_tick);
        }
        while self.tick <= now_tick {
            let tick = self.tick;
            let slot = tick % TICKS;
            if self.occupied[slot as usize / 64] & 1 << (slot % 64) == 0 {
                self.tick += 1;
                continue;
            }
            self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
            self.tick += 1;
            return Some((tick, std::mem::take(&mut self.slots[slot as usize])));
        }
        None
    }

    /// Returns the memory of expired entries to their slot.
    pub fn recycle(&mut self, tick: u32, mut entries: Vec<u32>) {
        let slot = &mut self.slots[(tick % TICKS) as usize];
        if slot.capacity() == 0 && entries.capacity() <= 64 {
            entries.clear();
            *slot = entries;
        }
    }

    fn next_tick(&self) -> Option<u32> {
        let start = self.tick % TICKS;
        let first = start as usize / 64;
        for step in 0..=WORDS {
            let word = (first + step) % WORDS;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == WORDS {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let slot = u32::try_from(word).expect("few words") * 64 + bits.trailing_zeros();
                return Some(self.tick + (slot + TICKS - start) % TICKS);
            }
        }
        None
    }

    /// Entries on the wheel, including stale ones.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.slots.iter().map(Vec::len).sum()
    }

    /// When the next entry has to be processed, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.next_tick().map(|tick| u64::from(tick) * TICK_MS)
    }
}

/// Ticks are 32 bits wide for four years.
fn narrow(tick: u64) -> u32 {
    u32::try_from(tick).unwrap_or(u32::MAX - TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_time_and_not_before() {
        let mut wheel = Wheel::default();
        let deadlines = [0_u64, 5, 31, 32, 33, 1_000, 64_000];
        for (index, deadline) in deadlines.iter().enumerate() {
            wheel.add(wheel.tick_of(*deadline), u32::try_from(index).unwrap());
        }
        let mut seen = vec![None; deadlines.len()];
        for now in 0..70_000 {
            while let Some((tick, entries)) = wheel.expire(now) {
                for entry in &entries {
                    seen[*entry as usize] = Some(now);
                }
                wheel.recycle(tick, entries);
            }
        }
        for (deadline, seen) in deadlines.iter().zip(seen) {
            let seen = seen.expect("every entry comes");
            assert!(seen >= *deadline && seen < deadline + TICK_MS, "{deadline} came at {seen}");
        }
        assert_eq!(wheel.next_ms(), None);
    }

    #[test]
    fn a_late_deadline_goes_round_and_a_long_sleep_is_survived() {
        let mut wheel = Wheel::default();
        let tick = wheel.tick_of(500_000);
        wheel.add(tick, 1);
        assert!(wheel.next_ms().unwrap() < 66_000);
        let (at, entries) = wheel.expire(1_000_000).expect("found after a long sleep");
        assert_eq!((at, entries.len()), (tick, 1));
        assert!(wheel.expire(1_000_000).is_none());
        wheel.add(wheel.tick_of(1_000_100), 2);
        assert!(wheel.expire(1_000_099).is_none());
        assert!(wheel.expire(1_000_131).is_some());
    }
}
