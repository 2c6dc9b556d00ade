//! Verifies signatures one key at a time, and remembers tokens with a wrong signature.
//!
//! A slow signature takes up to a third of a millisecond per key, and any client may send one. Must
//! not know claims. Invariants: wrongly signed tokens are remembered separately from valid ones,
//! which they can never evict; the cost of a check is counted as it is spent.

use super::cache::{Cache, Hash, hash_of};
use super::keys::Keys;
use super::{AuthError, Flaw, Token};
use crate::limits::WRONG_TOKENS_CACHED;

/// A check that has begun: the keys before `next` were tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    hash: Hash,
    next: u8,
}

impl Check {
    /// Is it about the same token?
    #[must_use]
    pub fn is_of(&self, other: &Check) -> bool {
        self.hash == other.hash
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Verdicts {
    wrong: Cache<Flaw>,
    /// The result of the last check that ended, until it is asked for.
    found: Option<(Hash, Result<(), Flaw>)>,
    spent_ns: usize,
}

impl Default for Verdicts {
    fn default() -> Verdicts {
        Verdicts { wrong: Cache::new(WRONG_TOKENS_CACHED), found: None, spent_ns: 0 }
    }
}

impl Verdicts {
    /// The cost of checks since the last call, in nanoseconds.
    pub fn take_spent_ns(&mut self) -> usize {
        std::mem::take(&mut self.spent_ns)
    }

    /// Begins a check, if the token is unknown and has a slow key.
    pub fn begin(&mut self, keys: &Keys, token: &str) -> Option<Check> {
        let read = Token::read(token).ok()?;
        if !keys.are_slow(&read.header) {
            return None;
        }
        let hash = hash_of(token);
        let known = self.wrong.get(&hash).is_some();
        (!known).then_some(Check { hash, next: 0 })
    }

    /// Tries the next key. True: the check is complete, and `verdict` has its result.
    pub fn go_on(&mut self, keys: &Keys, token: &str, check: &mut Check) -> bool {
        let Ok(read) = Token::read(token) else { return true };
        let verdict = match keys.fitting(&read.header).nth(usize::from(check.next)) {
            Some(key) => {
                self.spent_ns += key.cost_ns(token.len());
                check.next += 1;
                if key.has_signed(&read) {
                    Ok(())
                } else if keys.fitting(&read.header).nth(usize::from(check.next)).is_some() {
                    return false;
                } else {
                    Err(keys.flaw(&read.header))
                }
            }
            None => Err(keys.flaw(&read.header)),
        };
        self.note_wrong(check.hash, verdict);
        self.found = Some((check.hash, verdict));
        true
    }

    /// Is a token signed with one of the keys? From memory, or by trying all of them.
    ///
    /// # Errors
    /// Which key's signature it does not have, or that there is no key for it.
    pub fn verdict(&mut self, keys: &Keys, token: &str, read: &Token<'_>) -> Result<(), AuthError> {
        if !keys.are_slow(&read.header) {
            return self.try_all(keys, token, read).map_err(AuthError::Invalid);
        }
        let hash = hash_of(token);
        let found = self.found.take_if(|(of, _)| *of == hash).map(|(_, found)| found);
        let verdict = found.or_else(|| self.wrong.get(&hash).map(Err)).unwrap_or_else(|| {
            let verdict = self.try_all(keys, token, read);
            self.note_wrong(hash, verdict);
            verdict
        });
        verdict.map_err(AuthError::Invalid)
    }

    fn try_all(&mut self, keys: &Keys, token: &str, read: &Token<'_>) -> Result<(), Flaw> {
        for key in keys.fitting(&read.header) {
            self.spent_ns += key.cost_ns(token.len());
            if key.has_signed(read) {
                return Ok(());
            }
        }
        Err(keys.flaw(&read.header))
    }

    fn note_wrong(&mut self, hash: Hash, verdict: Result<(), Flaw>) {
        if let Err(flaw) = verdict {
            self.wrong.keep(hash, flaw);
        }
    }

    /// Tokens that are remembered as wrong.
    #[cfg(test)]
    pub fn wrong(&self) -> usize {
        self.wrong.len()
    }
}
