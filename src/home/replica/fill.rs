//! How a replica comes level with its stream: what comes next is forwarded, a gap is read, and what
//! a read does not close is declared lost (rules 15 and 17).
//!
//! Must not know who waits for an answer.

use super::{Asked, Expectation, Stage};
use crate::clock::Now;
use crate::contract::block::{Block, Placed};
use crate::contract::engine::{Call, Engine, Page, StreamRead};
use crate::contract::envelope::Delivery;
use crate::contract::position::{Epoch, Position};
use crate::home::Home;
use crate::home::waits::Ticket;
use crate::rules::sabotage;

impl<E: Engine> Home<E> {
    pub(super) fn pump_fill(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        let (name, at, keeps) = (channel.name.clone(), channel.position(), channel.keeps());
        let page = Box::new(Page::after(at, self.limits.recovery_bytes as usize));
        let Some(replica) = self.replica(place) else { return };
        // What is not kept cannot be read.
        replica.needs_fill &= keeps;
        if replica.needs_fill && replica.stage == Stage::Live && !replica.filling {
            let read = |id| Call::Read { id, channel: name, page };
            let session = self.session(place);
            if self.ask(place, Asked::Fill(session), read, now) {
                let replica = self.replica(place).expect("it is one");
                replica.filling = true;
                replica.needs_fill = false;
            }
        }
    }

    /// A publication came from the stream: the next one is forwarded, a gap is filled first.
    pub(super) fn take_publication(&mut self, place: u32, position: Position, block: Block) {
        let channel = self.channels.at(place);
        let (epoch, last) = (channel.epoch, channel.last);
        let Some(replica) = channel.replica.as_deref_mut() else { return };
        if replica.stage != Stage::Live || replica.filling {
            return replica.held.push(position, block);
        }
        let foreign = position.epoch != epoch;
        sabotage!(Epoch: foreign = false);
        if foreign {
            replica.held.push(position, block);
            replica.needs_fill = true;
        } else if position.offset == last + 1 {
            self.forward(place, block);
        } else if position.offset > last {
            replica.held.push(position, block);
            replica.needs_fill = true;
        }
    }

    pub(super) fn adopt_first(&mut self, place: u32, read: &StreamRead) {
        let kept = self.channels.at(place).history.bytes();
        assert!(kept == 0, "nothing is kept of the session before: {kept} bytes");
        self.restart(place, read);
        self.replica(place).expect("it is one").tail = read.top;
        self.take_held(place, read.epoch);
    }

    /// A read of the stream decides: what follows on is forwarded, all else is said to be lost.
    pub(super) fn adopt(&mut self, place: u32, read: &StreamRead, now: Now) {
        let channel = self.channels.at(place);
        let foreign = read.epoch != channel.epoch || read.top < channel.last;
        sabotage!(Epoch: foreign = false);
        if !foreign && read.after > channel.last && read.top > channel.last {
            // It was trimmed before the read, and may have been heard.
            self.forward_held(place);
        }
        let last = self.channels.at(place).last;
        let hole = !foreign && read.after > last && read.top > last;
        if hole && self.may_yet_come(place, last) {
            let replica = self.replica(place).expect("it is one");
            replica.missing_after = Some(last);
            replica.needs_fill = true;
            self.rest(place, now);
        } else if foreign || hole {
            self.say_to_interested(place, |local| Delivery::PositionLost { local });
            self.restart(place, read);
        } else {
            for placed in &read.entries {
                if placed.offset == self.channels.at(place).last + 1 {
                    self.forward(place, placed.block.clone());
                }
            }
            // The next page follows.
            let is_behind = self.channels.at(place).last < read.top;
            self.replica(place).expect("it is one").needs_fill |= is_behind;
        }
        self.take_held(place, read.epoch);
    }

    /// Forwards what was held and comes next.
    fn forward_held(&mut self, place: u32) {
        loop {
            let channel = self.channels.at(place);
            let at = channel.position();
            let replica = channel.replica.as_deref_mut().expect("it is one");
            let Some(block) = replica.held.take_next(at.epoch, at.offset) else { return };
            self.forward(place, block);
        }
    }

    /// May what the stream no longer has after `last` be on its way here? Copies come in order, so
    /// not where a later one came before it, nor after a rest.
    fn may_yet_come(&self, place: u32, last: u64) -> bool {
        let channel = self.channels.get(place);
        let replica = channel.and_then(|channel| channel.replica.as_deref()).expect("it is one");
        !replica.held.has_later(last) && replica.missing_after != Some(last)
    }

    /// The ring starts again from what was read, where that reaches the stream's end.
    pub(super) fn restart(&mut self, place: u32, read: &StreamRead) {
        let channel = self.channels.at(place);
        let before = channel.history.bytes();
        channel.epoch = read.epoch;
        channel.last = read.top;
        channel.history.clear();
        if channel.history_size > 0 && read.end == read.top {
            for Placed { offset, block } in &read.entries {
                channel.history.push(*offset, block.clone(), channel.history_size as usize);
            }
        }
        let after = channel.history.bytes();
        self.history_bytes = self.history_bytes - before + after;
        assert!(read.after <= read.end && read.end <= read.top, "a read is in order: {read:?}");
    }

    pub(super) fn take_held(&mut self, place: u32, epoch: Epoch) {
        let held = self.replica(place).expect("it is one").held.take();
        for (position, block) in held {
            let same = position.epoch == epoch;
            sabotage!(DropOther: same = true);
            if same {
                self.take_publication(place, position, block);
            }
        }
    }

    /// A publish was answered with this position: where this replica is behind, the copies are on
    /// their way, and are read if they do not come (rule 31).
    pub(super) fn compare_tail(&mut self, place: u32, top: Position, now: Now) {
        let channel = self.channels.at(place);
        let (is_foreign, is_behind) = (top.epoch != channel.epoch, top.offset > channel.last);
        let Some(replica) = channel.replica.as_deref_mut() else { return };
        if replica.stage != Stage::Live {
            return;
        }
        if is_foreign {
            return self.read_again(place, now);
        }
        if let Some(expected) = &mut replica.expected {
            expected.latest = expected.latest.max(top.offset);
        } else if is_behind {
            self.expect(place, top.offset, now);
        }
    }

    fn expect(&mut self, place: u32, offset: u64, now: Now) {
        let ticket = self.asking.soon.begin(place, now.monotonic_ms());
        let replica = self.replica(place).expect("only a replica expects copies");
        replica.expected = Some(Expectation { offset, ticket, latest: offset });
    }

    /// Something should have come to the channel at a place.
    pub(in crate::home) fn came_late(&mut self, place: u32, ticket: Ticket, now: Now) {
        let Some(replica) = self.replica(place) else { return };
        if replica.hearing.take_if(|it| *it == ticket).is_some() {
            replica.is_slow = true;
            self.admit_all(place, now);
            return self.pump(place, now);
        }
        // Another channel, or another session, may have come to the place meanwhile.
        let Some(expected) = replica.expected.take_if(|it| it.ticket == ticket) else { return };
        let last = self.channels.at(place).last;
        if expected.offset > last {
            self.read_again(place, now);
        } else if expected.latest > last {
            self.expect(place, expected.latest, now);
        }
    }

    /// Compares the last of some live replicas with their streams' tops, each time of the next ones
    /// (rule 17).
    pub(in crate::home) fn check_tails(&mut self, most: usize, now: Now) {
        for _ in 0..most {
            let places = self.channels.places();
            self.next_tail = if self.next_tail + 1 < places { self.next_tail + 1 } else { 0 };
            if self.next_tail < places && self.note_tail(self.next_tail) {
                self.read_again(self.next_tail, now);
            }
        }
    }

    /// Has nothing been forwarded since this was asked last? It notes where the channel stands.
    fn note_tail(&mut self, place: u32) -> bool {
        if self.channels.get(place).is_none() {
            return false;
        }
        let channel = self.channels.at(place);
        let last = channel.last;
        let Some(replica) = channel.replica.as_deref_mut() else { return false };
        std::mem::replace(&mut replica.tail, last) == last
    }

    /// Reads what a replica may have missed.
    fn read_again(&mut self, place: u32, now: Now) {
        sabotage!(TailCheck => return);
        if let Some(replica) = self.replica(place) {
            replica.needs_fill = true;
            self.pump(place, now);
        }
    }
}
