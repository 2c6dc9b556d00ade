//! How channels at home end: history that is too old or too much, and names that nobody uses.
//!
//! Rule 13: trimming never touches epoch and offset while anyone is subscribed.

use super::Home;
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
        }
        if !E::LOCAL && now.monotonic_ms() >= self.tails_checked_ms + TAIL_CHECK_MS {
            self.tails_checked_ms = now.monotonic_ms();
            self.check_tails();
        }
    }

    /// When `timers` has something to do next, in milliseconds of the process.
    #[must_use]
    pub fn next_timer_ms(&self) -> Option<u64> {
        let oldest = self.aging.front().and_then(|place| self.channels.get(*place));
        let expiry = oldest.map(|channel| channel.expires_ms);
        let tails = (!E::LOCAL && !self.channels.is_empty())
            .then_some(self.tails_checked_ms + TAIL_CHECK_MS);
        expiry.into_iter().chain(tails).min()
    }

    /// Where in line the channel stands whose history goes next, if any goes now.
    fn next_to_age(&mut self, now: Now) -> Option<usize> {
        let bound = self.limits.history_bytes_per_worker;
        if bound > 0 && self.history_bytes as u64 > bound {
            let looked_at = self.aging.iter().take(CHANNELS_PER_TURN).enumerate();
            return looked_at
                .min_by_key(|(_, place)| self.channels.get(**place).map(|it| it.expires_ms))
                .map(|(index, _)| index);
        }
        // A channel that was renewed since it queued up goes to the back.
        for _ in 0..CHANNELS_PER_TURN.min(self.aging.len()) {
            let place = *self.aging.front()?;
            let channel = self.channels.at(place);
            if channel.expires_ms <= now.monotonic_ms() {
                return Some(0);
            }
            if channel.queued_ms == channel.expires_ms {
                return None;
            }
            channel.queued_ms = channel.expires_ms;
            self.aging.rotate_left(1);
        }
        None
    }

    /// Forgets a channel's history, and the channel when nobody uses it.
    pub fn evict(&mut self, place: u32) {
        let epochs = self.channels.len() as u64;
        let channel = self.channels.at(place);
        self.history_bytes -= channel.history.bytes();
        channel.history.clear();
        if !holds(Rule::EvictTrim) {
            channel.epoch = Epoch(channel.epoch.0 + 1 + epochs);
            channel.last = 0;
        }
        self.drop_if_unused(place);
    }

    /// Puts a channel in line to age, `history_ttl_s` from its last publication.
    pub(super) fn renew(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        channel.expires_ms = now.monotonic_ms() + u64::from(channel.history_ttl_s) * 1000;
        if !channel.aging {
            channel.aging = true;
            channel.queued_ms = channel.expires_ms;
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

    /// After a question about a channel that may just have been made for it: where history is kept,
    /// its epoch must hold until the asker can use it.
    pub(super) fn keep_a_while(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        if channel.history_size > 0 && !channel.aging {
            self.renew(place, now);
        }
        self.drop_if_unused(place);
    }
}
