//! Which members of this home's channels a store has still to be told of, for the other nodes.
//!
//! What is written is what is true when it is written, so writing twice does no harm; a call that
//! failed may have done anything, and all of its channel is written anew. Must not know what the
//! store is. Invariants: while the store may know members of a channel it has a record here, so
//! that a removal is never forgotten; a channel with something to write is in the list once.

use super::Home;
use super::channel::Channel;
use super::replica::Asked;
use crate::clock::Now;
use crate::contract::engine::{Call, Engine, Failure};
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::contract::presence::{Change, Entry};
use crate::limits::{
    ENGINE_REST_MS, MEMBERS_CALL_BYTES, MEMBERS_GONE, MEMBERS_PER_CALL, MEMBERS_RENEWAL_MS,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Channels that wait to be written, from which on a walk over all of them waits.
const WALK_PAUSES_AT: usize = 64;

/// What the store does not know of a channel.
#[derive(Debug, Default)]
struct Record {
    /// Connections that came or went since they were written.
    changed: BTreeSet<ConnectionKey>,
    /// All has to be written, for the store may know anything.
    anew: bool,
    /// All has to be written, before it expires.
    renewed: bool,
    under_way: usize,
    /// It is in the list.
    listed: bool,
}

/// A walk over all channels.
#[derive(Debug)]
struct Walk {
    /// The channels that come next.
    from: Bound<Name>,
    /// The store may have lost what it knew, and does not only have to keep it.
    anew: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Noting {
    records: BTreeMap<Name, Record>,
    /// Channels with something to write.
    list: VecDeque<Name>,
    under_way: usize,
    /// The last call failed: one at a time is tried.
    has_failed: bool,
    /// Nothing is tried before, in milliseconds of the process.
    rests_until_ms: Option<u64>,
    /// A walk over all channels, which are written anew, has come to this one.
    walk: Option<Walk>,
    /// When the next walk begins, so that nothing expires.
    renewal_ms: u64,
}

impl Noting {
    /// Somebody has come to a channel, or has left it.
    pub fn changed(&mut self, channel: &Name, connection: ConnectionKey) {
        let record = self.records.entry(channel.clone()).or_default();
        record.changed.insert(connection);
        self.list(channel);
    }

    fn list(&mut self, channel: &Name) {
        let Some(record) = self.records.get_mut(channel) else { return };
        if !std::mem::replace(&mut record.listed, true) {
            self.list.push_back(channel.clone());
        }
    }

    /// The store may have lost what it knew.
    pub fn write_all_anew(&mut self) {
        self.walk = Some(Walk { from: Bound::Unbounded, anew: true });
    }

    /// Renews nothing that is there.
    pub fn end_walk(&mut self) {
        self.walk.take_if(|walk| !walk.anew);
    }

    /// Is all written, as far as the store takes it?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.list.is_empty() || self.has_failed
    }

    /// Goes on with the walk.
    fn step_walk(&mut self) {
        let Some(Walk { from, anew }) = self.walk.take() else { return };
        let after = self.records.range_mut::<Name, _>((from, Bound::Unbounded));
        let mut names = Vec::new();
        for (name, record) in after.take(WALK_PAUSES_AT) {
            record.anew |= anew;
            record.renewed |= !anew;
            names.push(name.clone());
        }
        names.iter().for_each(|name| self.list(name));
        self.walk = names.pop().map(|last| Walk { from: Bound::Excluded(last), anew });
    }

    /// Is there something to write, and may it be tried now?
    #[must_use]
    pub fn is_due(&self, share: usize) -> bool {
        let share = if self.has_failed { 1 } else { share };
        let wants = !self.list.is_empty() || self.walk.is_some();
        wants && self.rests_until_ms.is_none() && self.under_way < share
    }

    /// Does a channel have something that is not on its way?
    #[must_use]
    fn is_behind(&self, channel: &Name) -> bool {
        let record = self.records.get(channel);
        record.is_some_and(|it| it.anew || it.renewed || !it.changed.is_empty())
    }

    /// When something is to be done by itself, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        let renewal_ms = (!self.records.is_empty()).then_some(self.renewal_ms);
        self.rests_until_ms.into_iter().chain(renewal_ms).min()
    }

    /// Is anything to be written, or on its way?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.list.is_empty() || self.walk.is_some() || self.under_way > 0
    }

    /// Nothing is tried before, in milliseconds of the process.
    pub fn rest_until(&mut self, until_ms: u64) {
        self.rests_until_ms = Some(until_ms);
    }

    /// Does what the time brings.
    pub fn turn(&mut self, now_ms: u64) {
        if self.rests_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            self.rests_until_ms = None;
        }
        if now_ms >= self.renewal_ms {
            if self.renewal_ms > 0 && self.walk.is_none() {
                self.walk = Some(Walk { from: Bound::Unbounded, anew: false });
            }
            self.renewal_ms = now_ms + MEMBERS_RENEWAL_MS;
        }
    }

    /// What is to be written of a channel now, as much as one call may have; none if nothing is.
    fn take(&mut self, name: &Name, channel: Option<&Channel>) -> Option<Change> {
        let record = self.records.get_mut(name)?;
        let here = channel.map(|channel| &channel.members);
        let members = here.map_or(0, BTreeMap::len);
        if record.changed.len() > members + MEMBERS_GONE {
            record.anew = true;
        }
        let renewed = std::mem::take(&mut record.renewed);
        // What one call can say is said anew, which mends whatever may be wrong. More would be
        // missing until the last call.
        let anew = std::mem::take(&mut record.anew) || renewed && members <= MEMBERS_PER_CALL;
        if anew {
            record.changed.clear();
        }
        if renewed || anew {
            record.changed.extend(here.into_iter().flat_map(BTreeMap::keys));
        }
        let (mut put, mut gone, mut bytes) = (Vec::new(), Vec::new(), 0);
        while put.len() + gone.len() < MEMBERS_PER_CALL && bytes < MEMBERS_CALL_BYTES {
            let Some(connection) = record.changed.pop_first() else { break };
            match here.and_then(|members| members.get(&connection)) {
                Some(present) => {
                    let member = present.member(connection);
                    let infos = member.infos.as_ref();
                    bytes += infos.map_or(0, |it| it.connection().len() + it.subscription().len());
                    let (listed, announced) = (present.listed, present.announced);
                    put.push(Entry { member, listed, announced });
                }
                None => gone.push(connection),
            }
        }
        if !anew && put.is_empty() && gone.is_empty() {
            return None;
        }
        record.under_way += 1;
        self.under_way += 1;
        Some(Change { anew, put: put.into_boxed_slice(), gone: gone.into_boxed_slice() })
    }

    /// A call about a channel is over.
    fn ended(&mut self, name: &Name, failed: bool) {
        let record = self.records.get_mut(name).expect("a record lasts while its calls do");
        debug_assert!(record.under_way > 0 && self.under_way > 0, "a call ends once");
        record.under_way -= 1;
        record.anew |= failed;
        self.under_way -= 1;
        self.has_failed = failed;
        if failed {
            self.list(name);
        }
    }

    /// Forgets a channel of which the store knows no members, for there are none.
    fn forget_if_done(&mut self, name: &Name, is_empty: bool) {
        let is_done =
            |it: &Record| !it.listed && it.under_way == 0 && !it.anew && it.changed.is_empty();
        if is_empty && self.records.get(name).is_some_and(is_done) {
            self.records.remove(name);
        }
    }
}

impl<E: Engine> Home<E> {
    /// Somebody has come to a channel at a place, or has left it.
    pub(super) fn note_member(&mut self, place: u32, connection: ConnectionKey) {
        if !E::LOCAL && !self.is_ending() {
            let channel = self.channels.at(place).name.clone();
            self.noting.changed(&channel, connection);
        }
    }

    /// Has the store something to be told of members?
    pub(super) fn has_notes(&self) -> bool {
        !self.is_ending() && self.noting.is_due(self.share())
    }

    /// Tells the store of members, as far as the credits go.
    pub(super) fn write_notes(&mut self, now: Now) {
        while self.has_credit() && self.has_notes() {
            if self.noting.list.len() < WALK_PAUSES_AT {
                self.noting.step_walk();
            }
            let Some(channel) = self.noting.list.pop_front() else { return };
            let record = self.noting.records.get_mut(&channel).expect("it is in the list");
            record.listed = false;
            self.write_note(&channel, now);
            if self.noting.is_behind(&channel) {
                self.noting.list(&channel);
            }
        }
    }

    /// Tells the store what it does not know of one channel, and leaves a credit.
    pub(super) fn write_notes_of(&mut self, channel: &Name, now: Now) {
        let has_two = |it: &Self| it.engine.bridged().is_some_and(|it| it.left() > 1);
        while self.noting.is_behind(channel) && has_two(self) {
            self.write_note(channel, now);
        }
    }

    fn write_note(&mut self, channel: &Name, now: Now) {
        let place = self.channels.find(channel.as_str());
        let here = place.and_then(|place| self.channels.get(place));
        let is_empty = here.is_none_or(|channel| channel.members.is_empty());
        let Some(change) = self.noting.take(channel, here) else {
            return self.noting.forget_if_done(channel, is_empty);
        };
        let (name, change) = (channel.clone(), Box::new(change));
        let note = |id| Call::Note { id, channel: name, change };
        let is_asked = self.ask_for(|| Asked::Note(channel.clone()), note, now);
        assert!(is_asked, "there was a credit");
    }

    /// A call that tells the store of members is over; with an error it may have done anything.
    pub(super) fn noted(&mut self, channel: &Name, failure: Option<Failure>, now: Now) {
        self.noting.ended(channel, failure.is_some());
        if failure.is_some() {
            self.noting.rest_until(now.monotonic_ms() + ENGINE_REST_MS);
        }
        let place = self.channels.find(channel.as_str());
        let here = place.and_then(|place| self.channels.get(place));
        let is_empty = here.is_none_or(|channel| channel.members.is_empty());
        self.noting.forget_if_done(channel, is_empty);
    }
}
