//! Keyed hashes of names that clients choose: channels, users, keys of publications, filters.
//!
//! Must not know where keys come from. Invariant: no published value depends on a key, and no
//! two tables share a key.
//!
//! The hash is SipHash-1-3, as in the standard library's maps. Foldhash with a secret seed is
//! not enough: it multiplies by public constants, and pairs of names chosen for one of them collide
//! in all 64 bits under a quarter of all seeds (the test below). No name is hashed for a delivery,
//! so the extra 10 ns per name is paid once per command.

use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::BuildHasher;

/// A secret of 128 bits, drawn from the system's randomness or from the simulation's seed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// A key of a test, or of the simulation.
    #[must_use]
    pub const fn of(number: u128) -> Key {
        Key(number.to_le_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Key")
    }
}

/// Makes the hashers of one table.
#[derive(Clone, Copy, Debug)]
pub struct Keyed(Key);

impl Keyed {
    #[must_use]
    pub fn new(key: Key) -> Keyed {
        Keyed(key)
    }
}

/// Which of a host's workers is the home of a name.
#[derive(Clone, Copy, Debug)]
pub struct Homes {
    hasher: Keyed,
    workers: usize,
}

impl Homes {
    /// Every part of a host has to have the same key.
    #[must_use]
    pub fn new(key: Key, workers: usize) -> Homes {
        assert!(workers > 0, "a host has a worker");
        Homes { hasher: Keyed::new(key), workers }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The worker.
    #[must_use]
    pub fn of(&self, name: &str) -> usize {
        // A remainder is below its divisor, which is a `usize`.
        (self.hasher.hash_one(name) % self.workers as u64) as usize
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foldhash::quality::FixedState;

    /// Two names of 200 letters that differ in one bit of the first word and in three bits of the
    /// word at 64. The word at 32 differs from foldhash's first constant in three bits only, so it
    /// multiplies by a number with three bits set. What a flipped bit becomes is then predictable
    /// in a quarter of all cases, and the word at 64 cancels it.
    fn pair(bit: u32) -> (String, String) {
        const FOLDHASH_FIRST: u64 = 0xc0ac_29b7_c97c_50dd;
        let three_bits = 1_u64 << 7 | 1 << 55 | 1 << 63;
        let mut one = [b'a'; 200];
        one[32..40].copy_from_slice(&(FOLDHASH_FIRST ^ three_bits).to_le_bytes());
        let mut other = one;
        let flip = |name: &mut [u8; 200], at: usize, bits: u64| {
            for (byte, bits) in name[at..at + 8].iter_mut().zip(bits.to_le_bytes()) {
                *byte ^= bits;
            }
        };
        flip(&mut other, 0, 1 << bit);
        let becomes = (1_u64 << bit).rotate_left(7)
            | (1_u64 << bit).rotate_left(55)
            | (1_u64 << bit).rotate_left(63);
        flip(&mut other, 64, becomes);
        let text = |name: [u8; 200]| String::from_utf8(name.to_vec()).expect("it is a name");
        (text(one), text(other))
    }

    #[test]
    fn names_made_to_collide_under_any_seed_do_not() {
        let mut seed = 0_u64;
        let (mut foldhash, mut keyed) = (0, 0);
        for _ in 0..1_000 {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let (one, other) = pair(12);
            assert_ne!(one, other);
            let fold = FixedState::with_seed(seed);
            foldhash += u32::from(fold.hash_one(&one) == fold.hash_one(&other));
            let ours = Keyed::new(Key::of(u128::from(seed) << 64 | u128::from(!seed)));
            keyed += u32::from(ours.hash_one(&one) == ours.hash_one(&other));
        }
        assert!(foldhash > 100, "the attack is real: {foldhash} of 1,000 seeds");
        assert_eq!(keyed, 0);
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = Keyed::new(Key::of(0x7365_6372_6574));
        assert_eq!(format!("{key:?}"), "Keyed(Key)");
        assert_ne!(key.hash_one("a"), Keyed::new(Key::of(1)).hash_one("a"));
    }
}
