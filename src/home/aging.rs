//! How channels at home begin and end: history that is too old or too much, names that nobody uses,
//! and the room that they make for others.
//!
//! Rule 13: trimming never touches epoch and offset. They outlive the channel (`numberings.rs`).

use super::Home;
use super::channel::{Age, Aging, Standing};
use super::makers::Maker;
use super::numberings::Numbering;
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::Engine;
use crate::contract::name::Name;
use crate::contract::position::Position;
use crate::rules::sabotage;

/// Channels looked at in one turn, or for the room of one.
const CHANNELS_PER_TURN: usize = 64;
/// How often some of the tails of replicas are compared with their streams (rule 17).
const TAIL_CHECK_MS: u64 = 250;
/// Such checks in which all are compared once, where there are few.
const TAIL_CHECKS: usize = 40;
/// Tails that one check compares, at most: each is a command to the store.
const TAILS_PER_CHECK: usize = 250;

impl<E: Engine> Home<E> {
    /// What the time brings. Only when `is_free`: a timer may have something to say.
    ///
    /// # Panics
    /// When the request taken last has not been said in full.
    pub fn timers(&mut self, now: Now) {
        assert!(self.outgoing.is_empty(), "timers wait for the cursor");
        sabotage!(LiveAtRead => self.go_live_late(now));
        if !self.is_free()
            || self.answer_late_call(now)
            || self.answer_late_list(now)
            || !E::LOCAL && self.end_waits(now)
        {
            return;
        }
        if !E::LOCAL {
            self.noting.turn(now.monotonic_ms());
            self.tidings.turn(now.monotonic_ms());
        }
        for _ in 0..CHANNELS_PER_TURN {
            let bound = self.limits.history_bytes_per_worker;
            let place = if bound > 0 && self.history_bytes as u64 > bound {
                let Some(place) = self.largest() else { break };
                self.evicted += 1;
                place
            } else {
                let old = self.soonest().find(|(age, _)| age.at_ms <= now.monotonic_ms());
                let Some((_, place)) = old else { break };
                let channel = self.channels.at(place);
                if channel.standing() != channel.aging {
                    // It was renewed since.
                    self.line_up(place);
                    continue;
                }
                place
            };
            self.evict(place);
            self.drop_if_unused(place, now);
        }
        self.numberings.forget_old(now, CHANNELS_PER_TURN);
        if !E::LOCAL && now.monotonic_ms() >= self.tails_checked_ms + TAIL_CHECK_MS {
            self.tails_checked_ms = now.monotonic_ms();
            let places = self.channels.places() as usize;
            self.check_tails(places.div_ceil(TAIL_CHECKS).min(TAILS_PER_CHECK), now);
        }
    }

    /// When `timers` has something to do next, in milliseconds of the process.
    #[must_use]
    pub fn next_timer_ms(&self) -> Option<u64> {
        let expiry =
            self.soonest().map(|(age, _)| age.at_ms).filter(|at_ms| *at_ms < u64::MAX).min();
        let tails = (!E::LOCAL && !self.channels.is_empty())
            .then_some(self.tails_checked_ms + TAIL_CHECK_MS);
        let waits = self.asking.next_ms();
        let members = [self.noting.next_ms(), self.tidings.next_ms()];
        let calls = self.user_calls.next_ms().into_iter().chain(self.listing.next_ms()).min();
        let others = [tails, waits, calls, self.numberings.next_ms()];
        let expiry = expiry.into_iter().chain(members.into_iter().flatten());
        expiry.chain(others.into_iter().flatten()).min()
    }

    /// The soonest of each kind.
    fn soonest(&self) -> impl Iterator<Item = (Age, u32)> {
        let heard = (Age { what: Aging::Heard, at_ms: 0 }, 0);
        let alone = self.aging.first().filter(|first| **first < heard);
        alone.into_iter().chain(self.aging.range(heard..).next()).copied()
    }

    /// The channel whose history makes room for others': of the largest, which are at least half as
    /// large as any, the one that would go soonest. Who fills the memory loses his own before that
    /// of others.
    fn largest(&self) -> Option<u32> {
        let (size, ..) = *self.sizes.last()?;
        self.sizes.range((size, 0, 0)..).next().map(|(.., place)| *place)
    }

    /// Forgets a channel's history; its numbering stays (rule 13).
    pub fn evict(&mut self, place: u32) {
        let channel = self.channels.at(place);
        self.history_bytes -= channel.history.bytes();
        channel.history.clear();
        sabotage!(EvictTrim => self.forget_numbering(place));
        self.line_up(place);
    }

    /// A publication came: history is kept for `history_ttl_s` from now.
    pub(super) fn renew(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        channel.expires_ms = now.monotonic_ms() + u64::from(channel.history_ttl_s) * 1000;
        self.age(place);
    }

    /// Lines a channel up by when its history is to be forgotten and how large it is, where it
    /// stands among others than those that it belongs to. One that was only renewed keeps its place
    /// until it is looked at.
    pub(super) fn age(&mut self, place: u32) {
        let channel = self.channels.at(place);
        if channel.aging.map(Standing::kind) != channel.standing().map(Standing::kind) {
            self.line_up(place);
        }
    }

    /// The same, wherever it stands.
    fn line_up(&mut self, place: u32) {
        let channel = self.channels.at(place);
        let standing = channel.standing();
        let before = std::mem::replace(&mut channel.aging, standing);
        if let Some(Standing { age, size }) = before {
            self.aging.remove(&(age, place));
            self.sizes.remove(&(size, age.at_ms, place));
        }
        if let Some(Standing { age, size }) = standing {
            self.aging.insert((age, place));
            self.sizes.insert((size, age.at_ms, place));
        }
    }

    /// The channel's place. One that is not there is made, with the numbering that it had, if its
    /// table has room and who causes it may cause another.
    ///
    /// # Errors
    /// What who asked for it is answered.
    pub(super) fn find_or_make(
        &mut self,
        name: &Name,
        maker: Option<Maker<'_>>,
        now: Now,
    ) -> Result<u32, ErrorCode> {
        if let Some(place) = self.channels.find(name.as_str()) {
            return Ok(place);
        }
        let known = self.numberings.take(name.as_str(), now);
        if let Some(maker) = maker.filter(|_| known.is_none())
            && !self.makers.take(maker, now)
        {
            return Err(ErrorCode::TooManyRequests);
        }
        let options = self.options(name.as_str());
        if self.channels.is_full() && !self.make_room(now) {
            if let Some(known) = known {
                let for_s = options.history_meta_ttl_s.0;
                self.numberings.keep(name.as_str(), known, for_s, now);
            }
            return Err(ErrorCode::LimitExceeded);
        }
        Ok(self.channels.add(name, &options, known))
    }

    /// Where a channel stands that is not here, which is kept from now on.
    ///
    /// # Errors
    /// What who asked is answered.
    pub(super) fn position_of_gone(
        &mut self,
        name: &Name,
        maker: Option<Maker<'_>>,
        now: Now,
    ) -> Result<Position, ErrorCode> {
        let numbering = match self.numberings.take(name.as_str(), now) {
            Some(known) => known,
            None if maker.is_none_or(|maker| self.makers.take(maker, now)) => {
                Numbering { position: self.channels.new_position(), version: None }
            }
            None => return Err(ErrorCode::TooManyRequests),
        };
        let position = numbering.position;
        let options = self.options(name.as_str());
        if options.keeps_history() {
            self.numberings.keep(name.as_str(), numbering, options.history_meta_ttl_s.0, now);
        }
        Ok(position)
    }

    /// Ends a channel to which nobody listens, the one whose history would go soonest; its
    /// numbering stays. False: there is none.
    fn make_room(&mut self, now: Now) -> bool {
        for look in 1.. {
            let first = self.aging.first().filter(|(age, _)| age.what == Aging::Alone).copied();
            let Some((_, place)) = first else { return false };
            let channel = self.channels.at(place);
            if channel.standing() == channel.aging || look == CHANNELS_PER_TURN {
                self.evicted += 1;
                self.evict(place);
                self.drop_if_unused(place, now);
                return true;
            }
            // It was renewed since.
            self.line_up(place);
        }
        unreachable!("the last look ends it")
    }

    /// A channel without history or listeners is not kept; its numbering is, for those who may come
    /// back to it, `history_meta_ttl_s` long.
    pub(super) fn drop_if_unused(&mut self, place: u32, now: Now) {
        let Some(channel) = self.channels.get(place) else { return };
        let replica_busy = channel.replica.as_ref().is_some_and(|replica| replica.is_busy());
        if !channel.interest.is_empty() || channel.aging.is_some() || replica_busy {
            return;
        }
        let gone = self.channels.remove(place);
        if E::LOCAL {
            let numbering = Numbering { position: gone.position(), version: gone.version };
            let for_s = gone.history_meta_ttl_s;
            self.numberings.keep(gone.name.as_str(), numbering, for_s, now);
        }
    }
}
