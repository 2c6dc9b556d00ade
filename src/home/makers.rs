//! Limits how many new channels a connection and a user may cause per second.
//!
//! Must not know channels. Invariant: a client that has not caused any for a while is not
//! remembered, so clients that only stay connected take no memory.
//!
//! A rate is stored as the time at which its whole burst is available again.

use crate::clock::Now;
use crate::contract::key::ConnectionKey;
use crate::hashing::{Key, Keyed};
use crate::limits::Limits;
use foldhash::quality::FixedState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Entries of a table from which on it is swept.
const SWEPT_FROM: usize = 64;

/// The client that causes a channel.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'a> {
    pub connection: ConnectionKey,
    /// "" for an anonymous one.
    pub user: &'a str,
}

/// A burst, and a rate per second.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Microseconds that one channel adds; 0 for no limit.
    cost_us: u64,
    burst_us: u64,
}

impl Rate {
    fn new(per_s: u32, burst: u32) -> Rate {
        let cost_us = if per_s == 0 { 0 } else { (1_000_000 / u64::from(per_s)).max(1) };
        Rate { cost_us, burst_us: cost_us * u64::from(burst) }
    }
}

#[derive(Debug)]
struct Rates<K> {
    rate: Rate,
    /// When each has its whole burst again, in microseconds of the process.
    whole_us: HashMap<K, u64, FixedState>,
    swept_from: usize,
}

impl<K: Hash + Eq> Rates<K> {
    fn new(rate: Rate) -> Rates<K> {
        let whole_us = HashMap::with_hasher(FixedState::default());
        Rates { rate, whole_us, swept_from: SWEPT_FROM }
    }

    /// When its whole burst would be available again after one more; `None` if it may not cause one
    /// now.
    fn after(&self, who: &K, now_us: u64) -> Option<u64> {
        let whole_us = self.whole_us.get(who).copied().unwrap_or(0).max(now_us);
        let after_us = whole_us + self.rate.cost_us;
        (after_us - now_us <= self.rate.burst_us).then_some(after_us)
    }

    fn set(&mut self, who: K, whole_us: u64, now_us: u64) {
        if self.rate.cost_us == 0 {
            return;
        }
        self.whole_us.insert(who, whole_us);
        if self.whole_us.len() >= self.swept_from {
            self.whole_us.retain(|_, whole_us| *whole_us > now_us);
            self.whole_us.shrink_to(2 * self.whole_us.len());
            self.swept_from = SWEPT_FROM.max(2 * self.whole_us.len());
        }
    }
}

/// Clients that caused channels of one home recently.
#[derive(Debug)]
pub struct Makers {
    connections: Rates<ConnectionKey>,
    /// By the hash of the user's id.
    users: Rates<u64>,
    hasher: Keyed,
    refused: u64,
}

impl Makers {
    /// An empty table; `key` makes the hashes of users unpredictable.
    #[must_use]
    pub fn new(limits: &Limits, key: Key) -> Makers {
        // A connection may begin all of its allowed subscriptions at once.
        let at_once = |burst: u32| burst.max(limits.channels_per_connection);
        let one = Rate::new(limits.new_channels_per_s, at_once(limits.new_channels_burst));
        let user = Rate::new(
            limits.new_channels_per_user_per_s,
            at_once(limits.new_channels_per_user_burst),
        );
        Makers {
            connections: Rates::new(one),
            users: Rates::new(user),
            hasher: Keyed::new(key),
            refused: 0,
        }
    }

    /// Counts one more channel, if this connection and its user may cause it now.
    pub fn take(&mut self, maker: Maker<'_>, now: Now) -> bool {
        let now_us = now.monotonic_us;
        let after = self.connections.after(&maker.connection, now_us);
        let user = (!maker.user.is_empty()).then(|| self.hasher.hash_one(maker.user));
        let user_after = user.map(|user| (user, self.users.after(&user, now_us)));
        let (Some(after), None | Some((_, Some(_)))) = (after, user_after) else {
            self.refused += 1;
            return false;
        };
        self.connections.set(maker.connection, after, now_us);
        if let Some((user, Some(after))) = user_after {
            self.users.set(user, after, now_us);
        }
        true
    }

    /// Channels refused so far because of either rate.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Now {
        Now { monotonic_us: ms * 1_000, unix_ms: 0 }
    }

    fn makers(one: (u32, u32), user: (u32, u32)) -> Makers {
        let limits = Limits {
            new_channels_per_s: one.0,
            new_channels_burst: one.1,
            new_channels_per_user_per_s: user.0,
            new_channels_per_user_burst: user.1,
            channels_per_connection: 1,
            ..Limits::default()
        };
        Makers::new(&limits, Key::of(3))
    }

    fn had(makers: &mut Makers, index: u32, user: &str, at: u64) -> usize {
        let connection = ConnectionKey { core: 0, index, generation: 1 };
        (0..1_000).filter(|_| makers.take(Maker { connection, user }, at_ms(at))).count()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut makers = makers((50, 100), (0, 1));
        assert_eq!(had(&mut makers, 1, "", 1_000), 100);
        assert_eq!(had(&mut makers, 2, "", 1_000), 100, "another connection has its own");
        assert_eq!(had(&mut makers, 1, "", 1_100), 5);
        assert_eq!(had(&mut makers, 1, "", 60_000), 100);
        assert_eq!(makers.refused(), 900 + 900 + 995 + 900);
    }

    #[test]
    fn a_user_has_one_rate_for_all_its_connections() {
        let mut makers = makers((50, 100), (10, 150));
        assert_eq!(had(&mut makers, 1, "alice", 1_000), 100);
        assert_eq!(had(&mut makers, 2, "alice", 1_000), 50);
        assert_eq!(had(&mut makers, 3, "bob", 1_000), 100);
        assert_eq!(had(&mut makers, 3, "alice", 2_000), 10, "what was refused costs nothing");
    }

    #[test]
    fn no_limit_remembers_nobody_and_a_rate_forgets() {
        let mut none = makers((0, 1), (0, 1));
        assert_eq!(had(&mut none, 1, "alice", 1_000), 1_000);
        assert!(none.connections.whole_us.is_empty() && none.users.whole_us.is_empty());
        let mut makers = makers((50, 100), (200, 100));
        for index in 0..100_000 {
            let connection = ConnectionKey { core: 0, index, generation: 1 };
            let user = index.to_string();
            assert!(makers.take(Maker { connection, user: &user }, at_ms(u64::from(index))));
        }
        assert!(makers.connections.whole_us.capacity() < 500, "those that stay are forgotten");
        assert!(makers.users.whole_us.capacity() < 500);
    }
}
