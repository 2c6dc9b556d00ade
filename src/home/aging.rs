//! How channels at home end: history that is too old or too much, and names that nobody uses.
//!
//! Rule 13: trimming never touches epoch and offset while anyone is subscribed.

use super::Home;
use super::channel::Channel;
use super::engine::Engine;
use super::envelope::Epoch;
use crate::clock::Now;
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
        for _ in 0..CHANNELS_PER_TURN.min(self.aging.len()) {
            let Some(index) = self.next_to_age(now) else { break };
            let place = self.aging.remove(index).expect("it was just found");
            self.channels.at(place).aging = false;
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
        if self.is_over_history() {
            return Some(0);
        }
        let oldest = self.aging.front().and_then(|place| self.channels.get(*place));
        let expiry = oldest.map(Channel::checked_at_ms);
        let tails = (!E::LOCAL && !self.channels.is_empty())
            .then_some(self.tails_checked_ms + TAIL_CHECK_MS);
        expiry.into_iter().chain(tails).min()
    }

    fn is_over_history(&self) -> bool {
        let bound = self.limits.history_bytes_per_worker;
        bound > 0 && self.history_bytes as u64 > bound
    }

    /// Where in line the channel stands whose history goes next, if any goes now.
    fn next_to_age(&mut self, now: Now) -> Option<usize> {
        if self.is_over_history() {
            self.put_empty_behind();
            let looked_at = self.aging.iter().take(CHANNELS_PER_TURN).enumerate();
            return looked_at
                .filter(|(_, place)| {
                    self.channels.get(**place).is_some_and(|it| it.history.bytes() > 0)
                })
                .min_by_key(|(_, place)| self.channels.get(**place).map(|it| it.expires_ms))
                .map(|(index, _)| index);
        }
        // A channel that was renewed since it queued up goes to the back.
        for _ in 0..CHANNELS_PER_TURN.min(self.aging.len()) {
            let place = *self.aging.front()?;
            let channel = self.channels.at(place);
            if channel.checked_at_ms() <= now.monotonic_ms() {
                return Some(0);
            }
            if channel.queued_ms == channel.checked_at_ms() {
                return None;
            }
            channel.queued_ms = channel.checked_at_ms();
            self.aging.rotate_left(1);
        }
        None
    }

    /// Channels in line for their numbering alone must not hide the history of those behind them.
    fn put_empty_behind(&mut self) {
        for _ in 0..CHANNELS_PER_TURN.min(self.aging.len()) {
            let front = self.aging.front().and_then(|place| self.channels.get(*place));
            if front.is_some_and(|channel| channel.history.bytes() > 0) {
                return;
            }
            self.aging.rotate_left(1);
        }
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

    fn age(&mut self, place: u32) {
        let channel = self.channels.at(place);
        if !std::mem::replace(&mut channel.aging, true) {
            channel.queued_ms = channel.checked_at_ms();
            self.aging.push_back(place);
        }
    }

    /// A channel without history or listeners is not kept.
    pub(super) fn drop_if_unused(&mut self, place: u32) {
        let Some(channel) = self.channels.get(place) else { return };
        let replica_busy = channel.replica.as_ref().is_some_and(|replica| replica.is_busy());
        if channel.interest.is_empty() && !channel.aging && !replica_busy {
            self.channels.remove(place);
        }
    }
}
