//! How channels at home end: history that is too old or too much, and names that nobody uses.
//!
//! Rule 13: trimming never touches epoch and offset while anyone is subscribed.

use super::Home;
use super::channel::{Age, Aging};
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::contract::position::Epoch;
use crate::rules::{Rule, holds};

/// Channels looked at in one turn.
const CHANNELS_PER_TURN: usize = 64;
/// How often the tails of replicas are compared with their streams (rule 17).
const TAIL_CHECK_MS: u64 = 10_000;

impl<E: Engine> Home<E> {
    /// What the time brings. Only when `is_free`: a timer may have something to say.
    ///
    /// # Panics
    /// When the request taken last has not been said in full.
    pub fn timers(&mut self, now: Now) {
        assert!(self.outgoing.is_empty(), "timers wait for the cursor");
        self.go_live_late();
        if !self.is_free() || self.answer_late_call(now) {
            return;
        }
        for _ in 0..CHANNELS_PER_TURN {
            let Some((age, place)) = self.next_to_age(now) else { break };
            self.aging.remove(&(age, place));
            let channel = self.channels.at(place);
            channel.aging = None;
            if channel.age() != age {
                // It was renewed since.
                self.age(place);
                continue;
            }
            let early = age.at_ms > now.monotonic_ms();
            self.evicted += u64::from(early);
            self.evict(place);
            if self.channels.get(place).is_some_and(|it| it.kept_until_ms > now.monotonic_ms()) {
                self.age(place);
            } else {
                self.drop_if_unused(place);
            }
        }
        if !E::LOCAL && now.monotonic_ms() >= self.tails_checked_ms + TAIL_CHECK_MS {
            self.tails_checked_ms = now.monotonic_ms();
            self.check_tails();
        }
    }

    /// When `timers` has something to do next, in milliseconds of the process.
    #[must_use]
    pub fn next_timer_ms(&self) -> Option<u64> {
        if !self.read_early.is_empty() {
            return Some(0);
        }
        let expiry = self.soonest().map(|(age, _)| age.at_ms).min();
        let tails = (!E::LOCAL && !self.channels.is_empty())
            .then_some(self.tails_checked_ms + TAIL_CHECK_MS);
        let call = self.user_calls.next_ms();
        expiry.into_iter().chain(tails).chain(call).min()
    }

    /// The soonest of each kind.
    fn soonest(&self) -> impl Iterator<Item = (Age, u32)> {
        let numbering = (Age { what: Aging::Numbering, at_ms: 0 }, 0);
        let history = self.aging.first().filter(|first| **first < numbering);
        history.into_iter().chain(self.aging.range(numbering..).next()).copied()
    }

    /// The channel that is to be looked at now, if one is: over the bound, the one whose history
    /// goes soonest, however long that may be.
    fn next_to_age(&self, now: Now) -> Option<(Age, u32)> {
        let bound = self.limits.history_bytes_per_worker;
        let over = bound > 0 && self.history_bytes as u64 > bound;
        self.soonest()
            .find(|(age, _)| age.at_ms <= now.monotonic_ms() || over && age.what == Aging::History)
    }

    /// Forgets a channel's history; its numbering stays (rule 13).
    pub fn evict(&mut self, place: u32) {
        let epochs = self.channels.len() as u64;
        let channel = self.channels.at(place);
        self.history_bytes -= channel.history.bytes();
        channel.history.clear();
        if !holds(Rule::EvictTrim) {
            channel.epoch = Epoch(channel.epoch.0 + 1 + epochs);
            channel.last = 0;
        }
    }

    /// A publication came: history, and the numbering, are kept for `history_ttl_s` from now.
    pub(super) fn renew(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        channel.expires_ms = now.monotonic_ms() + u64::from(channel.history_ttl_s) * 1000;
        channel.kept_until_ms = channel.expires_ms;
        self.age(place);
    }

    /// The last subscriber left, or somebody asked: whoever comes back within `history_ttl_s` finds
    /// the same numbering, so that one who missed nothing is not told that it missed something.
    pub(super) fn keep_a_while(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        if channel.history_size > 0 && channel.interest.is_empty() && channel.replica.is_none() {
            channel.kept_until_ms = now.monotonic_ms() + u64::from(channel.history_ttl_s) * 1000;
            self.age(place);
        }
        self.drop_if_unused(place);
    }

    /// Lines a channel up by what is to be forgotten of it next. One that was renewed keeps its
    /// place until it is looked at; one that has history again moves.
    fn age(&mut self, place: u32) {
        let channel = self.channels.at(place);
        let age = channel.age();
        if channel.aging.is_some_and(|known| known.what == age.what) {
            return;
        }
        let before = channel.aging.replace(age);
        if let Some(before) = before {
            self.aging.remove(&(before, place));
        }
        self.aging.insert((age, place));
    }

    /// A channel without history or listeners is not kept.
    pub(super) fn drop_if_unused(&mut self, place: u32) {
        let Some(channel) = self.channels.get(place) else { return };
        let replica_busy = channel.replica.as_ref().is_some_and(|replica| replica.is_busy());
        if channel.interest.is_empty() && channel.aging.is_none() && !replica_busy {
            self.channels.remove(place);
        }
    }
}
