//! What is answered out of a replica: publishes that an engine elsewhere has put in order, and
//! history that is not in the ring.
//!
//! Invariant (rule 34): a publish is answered when it was forwarded here, or when it is known that
//! it will not be.

use super::{Asked, Replica, Stage};
use crate::contract::block::{Block, Placed};
use crate::contract::engine::{Call, CallId, Engine, StreamRead};
use crate::contract::envelope::{HistoryRequest, Request};
use crate::contract::key::ReplyTo;
use crate::contract::position::Position;
use crate::home::history::History;
use crate::home::{Home, Untaken, history_answer};

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

    /// Answers the publishes that were forwarded meanwhile.
    pub(super) fn answer_heard(&mut self, place: u32) {
        let channel = self.channels.at(place);
        let at = channel.position();
        let Some(replica) = channel.replica.as_deref_mut() else { return };
        if replica.unheard.is_empty() {
            return;
        }
        // In order, as they were asked (rule 32).
        let waits = |(_, position): &(ReplyTo, Position)| replica.is_unheard(*position, at);
        let heard = replica.unheard.iter().position(waits).unwrap_or(replica.unheard.len());
        let heard: Vec<_> = replica.unheard.drain(..heard).collect();
        self.unheard -= heard.len();
        for (to, position) in heard {
            self.say_published(to, position);
        }
    }

    /// History of a channel that is not live here comes from the stream itself.
    pub(in crate::home) fn read_history(&mut self, request: HistoryRequest) -> Result<(), Untaken> {
        let id = CallId(self.next_call);
        let call = Call::Read { id, channel: request.channel.clone(), since: 0 };
        if self.call(call).is_err() {
            return Err(Request::History(Box::new(request)));
        }
        self.next_call += 1;
        self.asked.insert(id, Asked::History(request));
        Ok(())
    }

    pub(super) fn answer_history(&mut self, request: HistoryRequest, read: &StreamRead) {
        let mut history = History::default();
        for Placed { offset, block } in &read.entries {
            history.push(*offset, block.clone(), usize::MAX);
        }
        let position = Position { epoch: read.epoch, offset: read.top };
        let bytes_max = self.limits.recovery_bytes as usize;
        let core = request.to.connection.core;
        let answer = history_answer(request, position, &history, bytes_max);
        self.say(core, answer);
    }
}
