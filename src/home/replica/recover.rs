//! The answers to subscribers of a replica: from its ring, or from a read of their own, and always
//! ending exactly at the last publication forwarded (rule 16).
//!
//! Must not know how a gap is closed.

use super::{Asked, Stage};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::Placed;
use crate::contract::engine::{Call, Engine, Page, StreamRead};
use crate::contract::envelope::{Recovery, SubscribeRequest};
use crate::contract::position::Position;
use crate::home::Home;
use crate::home::asking::Waiter;
use crate::rules::sabotage;

impl<E: Engine> Home<E> {
    /// Answers the subscribers that the ring can answer, and asks for what the first other one
    /// needs.
    pub(super) fn answer_pending(&mut self, place: u32, now: Now) {
        let mut index = 0;
        loop {
            let channel = self.channels.at(place);
            let (epoch, keeps) = (channel.epoch, channel.keeps());
            let Some(replica) = channel.replica.as_deref_mut() else { return };
            let filling = replica.filling;
            sabotage!(FillHold: filling = false);
            if replica.stage != Stage::Live || filling {
                return;
            }
            let Some((request, _)) = replica.pending.get(index).cloned() else { return };
            let recovery = self.recover(place, &request);
            let foreign = request.since.is_none_or(|since| !since.is_of(epoch));
            if matches!(recovery, Recovery::Impossible) && !foreign && keeps {
                let offset = request.since.map_or(0, |since| since.offset);
                let bytes = self.limits.recovery_bytes as usize;
                let page = Box::new(Page::after(Position { epoch, offset }, bytes));
                let replica = self.replica(place).expect("it is one");
                if !replica.recovering {
                    let read = |id| Call::Read { id, channel: request.channel, page };
                    let session = self.session(place);
                    if self.ask(place, Asked::Recover(session), read, now) {
                        self.replica(place).expect("it is one").recovering = true;
                    }
                }
                index += 1;
                continue;
            }
            self.take_pending(place, index);
            self.answer_taken(place, request, recovery, now);
        }
    }

    /// Lets a subscriber of a channel without history wait until other nodes are heard, if that is
    /// to be expected soon. Gives it back otherwise: it is answered at once.
    pub(in crate::home) fn wait_to_hear(
        &mut self,
        place: u32,
        request: SubscribeRequest,
        now: Now,
    ) -> Option<SubscribeRequest> {
        let replica = self.replica(place).expect("only a replica hears others");
        if replica.stage == Stage::Live || replica.is_slow || replica.resting.is_some() {
            return Some(request);
        }
        let is_first = replica.hearing.is_none();
        let waiter = self.asking.wait(Waiter::Subscriber(place), now);
        let ticket = is_first.then(|| self.asking.soon.begin(place, now.monotonic_ms()));
        let replica = self.replica(place).expect("it was just there");
        replica.pending.push_back((request, waiter));
        replica.hearing = replica.hearing.or(ticket);
        None
    }

    /// Answers all who wait until a channel without history is heard.
    pub(super) fn admit_all(&mut self, place: u32, now: Now) {
        while self.replica(place).is_some_and(|replica| !replica.pending.is_empty()) {
            let request = self.take_pending(place, 0);
            let recovery = self.recover(place, &request);
            self.admit(place, request, recovery, now);
        }
    }

    /// Takes one of those who wait: it is answered now.
    pub(in crate::home) fn take_pending(&mut self, place: u32, index: usize) -> SubscribeRequest {
        let replica = self.replica(place).expect("only a replica lets subscribers wait");
        let (request, ticket) = replica.pending.remove(index).expect("it was just found");
        self.asking.stop_waiting(ticket);
        request
    }

    /// The read for a subscriber further back than the ring (rule 16).
    pub(super) fn take_recovery(&mut self, place: u32, read: &StreamRead, now: Now) {
        let channel = self.channels.at(place);
        let replica = channel.replica.as_deref_mut().expect("it is one");
        sabotage!(Cut => return self.answer_uncut(place, read, now));
        if read.epoch != channel.epoch || read.top > channel.last {
            if replica.filling {
                sabotage!(FillHold => self.answer_as_read(place, read, now));
                return; // It is asked again after the fill.
            }
            self.adopt(place, read, now);
            let channel = self.channels.at(place);
            if read.epoch != channel.epoch || read.top > channel.last {
                return; // It is asked again when it is known what is lost.
            }
        }
        let channel = self.channels.at(place);
        let (epoch, last) = (channel.epoch, channel.last);
        let replica = channel.replica.as_deref_mut().expect("it is one");
        let waits = |(request, _): &(SubscribeRequest, _)| {
            request.since.is_some_and(|since| since.is_of(read.epoch) && since.offset >= read.after)
        };
        let Some(index) = replica.pending.iter().position(waits) else {
            return self.give_up_on_trimmed(place, read, now);
        };
        let since = replica.pending[index].0.since.expect("it was just matched").offset;
        if read.end < last.min(read.top) {
            // The page is as large as a recovery may be, and that was not all.
            let request = self.take_pending(place, index);
            return self.answer_taken(place, request, Recovery::Impossible, now);
        }
        let Some(missed) = self.missed(place, read, since, last) else { return };
        let bytes: usize = missed.iter().map(|placed| placed.block.size()).sum();
        let fits = bytes <= self.limits.recovery_bytes as usize;
        let whole = fits && since <= last && read.epoch == epoch;
        let request = self.take_pending(place, index);
        let recovery = if whole { Recovery::Complete(missed) } else { Recovery::Impossible };
        self.answer_taken(place, request, recovery, now);
    }

    /// What the read and the ring together hold after `since`, up to `last`; none when a part is
    /// missing and must be read again.
    fn missed(
        &mut self,
        place: u32,
        read: &StreamRead,
        since: u64,
        last: u64,
    ) -> Option<Box<[Placed]>> {
        let behind = |placed: &&Placed| placed.offset > since;
        let of_read = read.entries.iter().filter(|placed| placed.offset <= last);
        let mut missed: Vec<Placed> = of_read.filter(behind).cloned().collect();
        let end = missed.last().map_or(since, |placed| placed.offset);
        let history = &self.channels.at(place).history;
        for offset in end + 1..=last {
            missed.push(history.get(offset)?.clone());
        }
        Some(missed.into_boxed_slice())
    }

    /// The stream no longer reaches back to a subscriber's position: it is told so.
    pub(in crate::home) fn give_up_on_trimmed(&mut self, place: u32, read: &StreamRead, now: Now) {
        let replica = self.replica(place).expect("it is one");
        let trimmed = |(request, _): &(SubscribeRequest, _)| {
            request.since.is_some_and(|since| since.is_of(read.epoch) && since.offset < read.after)
        };
        if let Some(index) = replica.pending.iter().position(trimmed) {
            let request = self.take_pending(place, index);
            self.answer_taken(place, request, Recovery::Impossible, now);
        }
    }

    /// Answers one that waited: it goes live, unless it wants to be refused where nothing can be
    /// recovered.
    fn answer_taken(
        &mut self,
        place: u32,
        request: SubscribeRequest,
        recovery: Recovery,
        now: Now,
    ) {
        if request.or_refused && matches!(recovery, Recovery::Impossible) {
            return self.refuse_taken(place, request, ErrorCode::UnrecoverablePosition);
        }
        self.admit(place, request, recovery, now);
    }
}
