//! Tokens whose signature was found right, by the hash of their text: checking one again costs a
//! hash instead of a signature.
//!
//! Must not know what a token says. Invariants: at most `TOKENS_CACHED` tokens of at most
//! `CACHED_TOKEN_BYTES` each are kept; a token is found by its SHA-256 alone, so nobody can make
//! one that is mistaken for another.

use crate::limits::{CACHED_TOKEN_BYTES, TOKENS_CACHED};
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use foldhash::quality::FixedState;
use std::collections::HashMap;

type Hash = [u8; SHA256_OUTPUT_LEN];

/// What verified tokens say. Two generations: when the younger is full it becomes the older, whose
/// tokens are forgotten; one that is used again becomes young.
#[derive(Clone)]
pub struct Cache<T> {
    young: HashMap<Hash, T, FixedState>,
    old: HashMap<Hash, T, FixedState>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        // SHA-256 of what somebody chose is as good as random: the seed need not be secret.
        let hasher = FixedState::default();
        Cache { young: HashMap::with_hasher(hasher.clone()), old: HashMap::with_hasher(hasher) }
    }
}

impl<T: Clone> Cache<T> {
    /// What `token` says: as it was found before, or as `verify` finds now.
    ///
    /// # Errors
    /// `verify`'s; those are not kept.
    pub fn get_or<E>(
        &mut self,
        token: &str,
        verify: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if token.len() > CACHED_TOKEN_BYTES {
            return verify();
        }
        let hash = digest(&SHA256, token.as_bytes());
        let hash: Hash = hash.as_ref().try_into().expect("SHA-256 has as many bytes");
        if let Some(said) = self.young.get(&hash) {
            return Ok(said.clone());
        }
        let said = match self.old.remove(&hash) {
            Some(said) => said,
            None => verify()?,
        };
        if self.young.len() >= TOKENS_CACHED / 2 {
            // Both keep their memory: how much is taken does not depend on the moment.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(hash, said.clone());
        Ok(said)
    }

    /// Tokens that are kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &mut Cache<u32>, token: &str, says: u32) -> (u32, bool) {
        let mut verified = false;
        let said = cache.get_or(token, || {
            verified = true;
            Ok::<_, ()>(says)
        });
        (said.expect("it is good"), verified)
    }

    #[test]
    fn a_token_is_verified_once_while_it_is_used() {
        let mut cache = Cache::default();
        assert_eq!(get(&mut cache, "a", 1), (1, true));
        assert_eq!(get(&mut cache, "a", 2), (1, false));
        for other in 0..10 * TOKENS_CACHED {
            let token = other.to_string();
            assert_eq!(get(&mut cache, &token, 0), (0, true));
            if other % 100 == 0 {
                assert_eq!(get(&mut cache, "a", 2), (1, false), "after {other}");
            }
            assert!(cache.len() <= TOKENS_CACHED, "{}", cache.len());
        }
    }

    #[test]
    fn what_is_wrong_or_long_is_not_kept() {
        let mut cache: Cache<u32> = Cache::default();
        assert_eq!(cache.get_or("a", || Err("forged")), Err("forged"));
        let long = "x".repeat(CACHED_TOKEN_BYTES + 1);
        assert_eq!(get(&mut cache, &long, 1), (1, true));
        assert_eq!(get(&mut cache, &long, 2), (2, true));
        assert_eq!(cache.len(), 0);
        assert_eq!(get(&mut cache, &long[1..], 3), (3, true));
        assert_eq!(get(&mut cache, &long[1..], 4), (3, false));
    }
}
