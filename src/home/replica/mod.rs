//! A channel whose order is decided elsewhere: this home is an ordered replica of its stream.
//!
//! Rules 14 to 18: hear first, then read; forward only last+1; on a gap hold, fill, and say what
//! cannot be filled; compare tails; a recovery answer ends exactly at the home's last.
//! Must not know how the engine is reached. Invariant: what was forwarded is a run without holes of
//! one epoch, or every recoverable subscriber was told.

use super::Home;
use crate::clock::Now;
use crate::contract::block::Block;
use crate::contract::engine::{Answer, Bridged, Call, CallId, Engine, StreamRead};
use crate::contract::envelope::{HistoryRequest, SubscribeRequest};
use crate::contract::key::ReplyTo;
use crate::contract::position::Position;
use crate::rules::sabotage;
use std::collections::VecDeque;

mod answers;
mod fill;
mod recover;

/// Publications held while a hole is filled; more are left to the fill.
const HELD: usize = 64;

/// What an engine elsewhere was asked for.
#[derive(Debug)]
pub enum Asked {
    Publish(ReplyTo, Option<crate::contract::name::Name>, Block),
    /// The first read after `Watching`.
    First,
    /// A read that closes a gap, or compares tails.
    Fill,
    /// A read for one subscriber who is further back than the ring.
    Recover,
    History(HistoryRequest),
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Cold,
    /// `Watch` was asked.
    Watching,
    /// `Watching` has come; the first read is to be asked.
    Watched,
    /// The first read was asked.
    Reading,
    Live,
}

/// The state of a channel that follows a stream.
#[derive(Debug, Default)]
pub struct Replica {
    stage: Stage,
    /// Subscribers not yet answered.
    pub pending: VecDeque<SubscribeRequest>,
    /// Publications that came while a read was out, with their positions.
    held: VecDeque<(Position, Block)>,
    /// A fill is wanted; it waits for a credit, and costs nobody a place (rule 14).
    needs_fill: bool,
    filling: bool,
    /// A read for the first of `pending` who needs one is out.
    recovering: bool,
    unwatch: bool,
    wanting: bool,
    /// Publishes that are in order and not forwarded here yet, with their positions.
    pub unheard: VecDeque<(ReplyTo, Position)>,
}

impl Replica {
    /// Is anything out that will come back to this channel, or to be said for it?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.stage != Stage::Cold
            || !self.pending.is_empty()
            || self.unwatch
            || !self.unheard.is_empty()
    }

    fn hold(&mut self, position: Position, block: Block) {
        if self.held.len() == HELD {
            self.held.pop_front();
        }
        self.held.push_back((position, block));
    }
}

impl<E: Engine> Home<E> {
    /// Takes what the engine said, while there is nothing left to say from before.
    /// Gives whether anything was taken.
    pub fn take_answer(&mut self, now: Now) -> bool {
        assert!(self.is_free(), "answers wait for the cursor");
        while let Some(place) = self.wanting.pop_front() {
            if let Some(replica) = self.replica(place) {
                replica.wanting = false;
                self.pump(place);
                self.drop_if_unused(place, now);
                if self.replica(place).is_some_and(|replica| replica.wanting) {
                    break; // no credit yet
                }
            }
            if !self.is_free() {
                return true;
            }
        }
        let Some(answer) = self.engine.bridged_mut().and_then(Bridged::answer) else {
            return false;
        };
        match answer {
            Answer::Watching { channel } => {
                if let Some(place) = self.channels.find(channel.as_str())
                    && let Some(replica) = self.replica(place)
                    && replica.stage == Stage::Watching
                {
                    replica.stage = Stage::Watched;
                    self.pump(place);
                }
            }
            Answer::Published { id, channel, position } => {
                let asked = self.asked.remove(&id);
                let Some(Asked::Publish(to, key, block)) = asked else {
                    debug_assert!(false, "an answer to what was not asked");
                    return true;
                };
                self.called((to, key, block), position, now);
                if let Some(place) = self.channels.find(channel.as_str()) {
                    self.compare_tail(place, position);
                }
            }
            Answer::Read(read) => self.take_read(*read, now),
            Answer::Publication { channel, position, block } => {
                if let Some(place) = self.channels.find(channel.as_str()) {
                    self.take_publication(place, position, block);
                    self.pump(place);
                }
            }
            Answer::Lost { channel } => {
                if let Some(place) = self.channels.find(channel.as_str())
                    && let Some(replica) = self.replica(place)
                {
                    replica.needs_fill = true;
                    self.pump(place);
                }
            }
        }
        self.answer_markers();
        true
    }

    pub(super) fn replica(&mut self, place: u32) -> Option<&mut Replica> {
        self.channels.get(place)?;
        self.channels.at(place).replica.as_deref_mut()
    }

    /// Is the ring level with what was forwarded, so that it may answer by itself?
    pub(super) fn is_level(&self, place: u32) -> bool {
        let replica = self.channels.get(place).and_then(|channel| channel.replica.as_deref());
        replica.is_some_and(|replica| replica.stage == Stage::Live && !replica.filling)
    }

    /// Asks the engine; false when there is no credit, and then the channel stands in line for one.
    fn ask(&mut self, place: u32, asked: Option<Asked>, call: impl FnOnce(CallId) -> Call) -> bool {
        let id = CallId(self.next_call);
        if self.call(call(id)).is_ok() {
            self.next_call += 1;
            if let Some(asked) = asked {
                self.asked.insert(id, asked);
            }
            return true;
        }
        let replica = self.replica(place).expect("only a replica asks");
        if !std::mem::replace(&mut replica.wanting, true) {
            self.wanting.push_back(place);
        }
        false
    }

    /// Goes on with whatever the channel can do now.
    pub(super) fn pump(&mut self, place: u32) {
        self.answer_heard(place);
        let name = self.channels.at(place).name.clone();
        let Some(replica) = self.replica(place) else { return };
        if replica.unwatch {
            let channel = name.clone();
            if self.ask(place, None, |_| Call::Unwatch { channel }) {
                self.replica(place).expect("it is one").unwatch = false;
            }
        }
        let Some(replica) = self.replica(place) else { return };
        let (stage, anyone) = (replica.stage, !replica.pending.is_empty());
        if stage == Stage::Cold && anyone && !replica.unwatch {
            let channel = name.clone();
            if self.ask(place, None, |_| Call::Watch { channel }) {
                self.replica(place).expect("it is one").stage = Stage::Watching;
            }
        }
        if stage == Stage::Watched {
            let channel = name.clone();
            let read = |id| Call::Read { id, channel, since: 0 };
            if self.ask(place, Some(Asked::First), read) {
                self.replica(place).expect("it is one").stage = Stage::Reading;
            }
        }
        self.pump_fill(place);
        self.answer_pending(place);
        if self.replica(place).is_some_and(|replica| replica.stage == Stage::Live) {
            self.leave_stream(place);
        }
    }

    fn take_read(&mut self, read: StreamRead, now: Now) {
        let asked = self.asked.remove(&read.id);
        if let Some(Asked::History(request)) = asked {
            return self.answer_history(request, &read);
        }
        let Some(place) = self.channels.find(read.channel.as_str()) else { return };
        let Some(replica) = self.replica(place) else { return };
        match asked {
            Some(Asked::First) if replica.stage == Stage::Reading => {
                replica.stage = Stage::Live;
                self.adopt_first(place, &read);
            }
            Some(Asked::Fill) => {
                replica.filling = false;
                if replica.stage == Stage::Live {
                    self.adopt(place, &read);
                }
            }
            Some(Asked::Recover) => {
                replica.recovering = false;
                if replica.stage == Stage::Live {
                    self.take_recovery(place, &read);
                }
            }
            _ => debug_assert!(false, "an answer to what was not asked"),
        }
        self.pump(place);
        // Its last subscriber may have left while it was read.
        self.drop_if_unused(place, now);
    }

    /// Nobody listens any more: hear the stream no longer, and keep nothing of this session.
    pub(super) fn leave_stream(&mut self, place: u32) {
        let channel = self.channels.at(place);
        let unused = channel.interest.is_empty();
        let Some(replica) = channel.replica.as_deref_mut() else { return };
        let idle = replica.pending.is_empty() && !replica.filling && !replica.recovering;
        if !unused || !idle || replica.stage != Stage::Live {
            return;
        }
        replica.stage = Stage::Cold;
        replica.held.clear();
        replica.needs_fill = false;
        replica.unwatch = true;
        sabotage!(Session => return self.pump(place));
        let before = channel.history.bytes();
        channel.history.clear();
        self.history_bytes -= before;
        self.pump(place);
    }
}
