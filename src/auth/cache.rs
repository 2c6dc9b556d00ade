//! Results of checking tokens, by the hash of their text: checking one again takes a hash instead
//! of a signature.
//!
//! Must not know what a token says. Invariants: a cache keeps no more tokens than it was made for,
//! and of valid ones only what they say, up to `CACHED_TOKEN_BYTES`; a token is found by its
//! SHA-256 alone, so no token can be made that is mistaken for another.

use crate::limits::CACHED_TOKEN_BYTES;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use foldhash::quality::FixedState;
use std::collections::HashMap;

/// The key by which a token is found.
pub type Hash = [u8; SHA256_OUTPUT_LEN];

/// The hash of a token's text.
pub fn hash_of(token: &str) -> Hash {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().try_into().expect("SHA-256 has as many bytes")
}

/// Two generations of results. When the younger is full it becomes the older, whose tokens are
/// forgotten; a token that is used again moves to the younger.
#[derive(Clone)]
pub struct Cache<T> {
    /// Most tokens.
    most: usize,
    young: HashMap<Hash, T, FixedState>,
    old: HashMap<Hash, T, FixedState>,
}

impl<T: Clone> Cache<T> {
    pub fn new(most: usize) -> Self {
        // SHA-256 is as good as random even for chosen tokens, so the seed need not be secret.
        let hasher = FixedState::default();
        let young = HashMap::with_hasher(hasher.clone());
        Cache { most, young, old: HashMap::with_hasher(hasher) }
    }

    /// What `token` says, from the cache or else from `verify`.
    ///
    /// # Errors
    /// Those of `verify`, which are not kept.
    pub fn get_or<E>(
        &mut self,
        token: &str,
        verify: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if token.len() > CACHED_TOKEN_BYTES {
            return verify();
        }
        let hash = hash_of(token);
        if let Some(said) = self.get(&hash) {
            return Ok(said);
        }
        let said = verify()?;
        self.keep(hash, said.clone());
        Ok(said)
    }

    /// Is a token known? This does not count as a use.
    pub fn has(&self, token: &str) -> bool {
        let hash = hash_of(token);
        self.young.contains_key(&hash) || self.old.contains_key(&hash)
    }

    /// The result for a token, if it is known.
    pub fn get(&mut self, hash: &Hash) -> Option<T> {
        if let Some(said) = self.young.get(hash) {
            return Some(said.clone());
        }
        let said = self.old.remove(hash)?;
        self.keep(*hash, said.clone());
        Some(said)
    }

    /// Remembers the result for a token.
    pub fn keep(&mut self, hash: Hash, said: T) {
        if self.young.len() >= self.most / 2 {
            // Both keep their memory, so the memory in use does not vary.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(hash, said);
    }

    /// Tokens in the cache.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TOKENS_CACHED;

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
        let mut cache = Cache::new(TOKENS_CACHED);
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
        let mut cache: Cache<u32> = Cache::new(TOKENS_CACHED);
        assert_eq!(cache.get_or("a", || Err("forged")), Err("forged"));
        let long = "x".repeat(CACHED_TOKEN_BYTES + 1);
        assert_eq!(get(&mut cache, &long, 1), (1, true));
        assert_eq!(get(&mut cache, &long, 2), (2, true));
        assert_eq!(cache.len(), 0);
        assert_eq!(get(&mut cache, &long[1..], 3), (3, true));
        assert_eq!(get(&mut cache, &long[1..], 4), (3, false));
    }
}
