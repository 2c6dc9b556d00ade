//! What is answered out of a replica: publishes that an engine elsewhere has put in order, and
//! history that is not in the ring.
//!
//! Invariant (rule 34): a publish is answered when it was forwarded here, or when it is known that
//! it will not be.

use super::{Asked, Replica, Stage};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::{Block, Placed};
use crate::contract::engine::{Call, Engine, Page, StreamRead};
use crate::contract::envelope::HistoryRequest;
use crate::contract::key::ReplyTo;
use crate::contract::position::Position;
use crate::home::asking::Waiter;
use crate::home::history::History;
use crate::home::{Home, history_answer, refused};
use crate::limits::API_ANSWER_BYTES;
use crate::rules::sabotage;

impl Replica {
    /// Will a publication with this position be forwarded later, where the channel has come to
    /// `at`?
    fn is_unheard(&self, position: Position, at: Position) -> bool {
        let reads = self.filling || self.needs_fill;
        let ahead = if position.epoch == at.epoch { position.offset > at.offset } else { reads };
        self.stage == Stage::Live && ahead
    }
}

impl<E: Engine> Home<E> {
    /// A publication of ours is in order: it is forwarded where it comes next. True: something has
    /// to be forwarded before it.
    pub(in crate::home) fn forward_own(
        &mut self,
        place: u32,
        position: Position,
        block: Block,
    ) -> bool {
        let channel = self.channels.at(place);
        let at = channel.position();
        let Some(replica) = channel.replica.as_deref() else { return false };
        let next = position.epoch == at.epoch && position.offset == at.offset + 1;
        sabotage!(Expectation: next = position.epoch == at.epoch && position.offset > at.offset);
        if next && replica.stage == Stage::Live && !replica.filling {
            self.forward(place, block);
            self.answer_heard(place);
            return self.has_unheard(place);
        }
        // Another epoch makes the home read the stream, which decides.
        let foreign = position.epoch != at.epoch && replica.stage == Stage::Live;
        if foreign || replica.is_unheard(position, at) {
            return true;
        }
        self.answer_heard(place);
        self.has_unheard(place)
    }

    /// Does a publish wait that was put in order before?
    fn has_unheard(&self, place: u32) -> bool {
        let channel = self.channels.get(place);
        let replica = channel.and_then(|channel| channel.replica.as_deref());
        replica.is_some_and(|replica| !replica.unheard.is_empty())
    }

    /// Has this publication, or one that was put in order before it and whose publisher waits, to
    /// be forwarded here before it is answered?
    pub(in crate::home) fn must_be_heard(&self, place: u32, position: Position) -> bool {
        let Some(channel) = self.channels.get(place) else { return false };
        let Some(replica) = channel.replica.as_deref() else { return false };
        !replica.unheard.is_empty() || replica.is_unheard(position, channel.position())
    }

    /// Lets a publish wait until it, or what was asked before it, is forwarded here.
    pub(in crate::home) fn wait_to_be_heard(
        &mut self,
        place: u32,
        to: ReplyTo,
        position: Option<Position>,
        now: Now,
    ) {
        let ticket = self.asking.wait(Waiter::Publisher(place), now);
        let replica = self.replica(place).expect("only a replica lets publishers wait");
        replica.unheard.push_back((to, position, ticket));
        self.unheard += 1;
    }

    /// Answers the publishes that were forwarded meanwhile.
    pub(super) fn answer_heard(&mut self, place: u32) {
        let channel = self.channels.at(place);
        let at = channel.position();
        let name = channel.name.clone();
        let Some(replica) = channel.replica.as_deref_mut() else { return };
        if replica.unheard.is_empty() {
            return;
        }
        // In order, as they were asked (rule 32).
        let waits = |(_, position, _): &(_, Option<Position>, _)| {
            position.is_some_and(|position| replica.is_unheard(position, at))
        };
        let heard = replica.unheard.iter().position(waits).unwrap_or(replica.unheard.len());
        let heard: Vec<_> = replica.unheard.drain(..heard).collect();
        self.unheard -= heard.len();
        for (to, position, ticket) in heard {
            self.asking.stop_waiting(ticket);
            match position {
                Some(position) => self.say_published(to, position),
                None => self.say_not_published(to, name.clone()),
            }
        }
    }

    /// History of a channel that is not live here comes from the stream itself.
    pub(in crate::home) fn read_history(&mut self, request: HistoryRequest, now: Now) {
        let channel = request.channel.clone();
        let of = channel.clone();
        // What the server API asks for it has whole or not at all.
        let most = self.limits.recovery_bytes as usize;
        let bytes = if request.whole { API_ANSWER_BYTES } else { most };
        let limit = u32::try_from(request.limit).unwrap_or(u32::MAX);
        let page = Page { from: request.since, reverse: request.reverse, limit, bytes };
        let read = |id| Call::Read { id, channel: of, page: Box::new(page) };
        self.ask_in_line(channel, Asked::History(request), read, now);
    }

    pub(super) fn answer_history(&mut self, request: HistoryRequest, read: &StreamRead) {
        let mut history = History::default();
        for Placed { offset, block } in &read.entries {
            history.push(*offset, block.clone(), usize::MAX);
        }
        let position = Position { epoch: read.epoch, offset: read.top };
        let bytes_max = self.limits.recovery_bytes as usize;
        let core = request.to.connection.core;
        if request.whole && read.cut {
            let (to, channel) = (request.to, Some(request.channel));
            return self.say(core, refused(to, ErrorCode::LimitExceeded, "history", channel));
        }
        let answer = history_answer(request, position, &history, bytes_max);
        self.say(core, answer);
    }
}
