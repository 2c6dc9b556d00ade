//! The seam that decides a channel's order: here (`Memory`), or in a store that the bridge speaks
//! to.
//!
//! A local engine answers inside the call and holds nothing: the home's own ring is the truth. Any
//! other answers by envelope, turns later; the home is then an ordered replica (rules 14 to 18).

use super::block::{Block, Placed};
use super::name::Name;
use super::position::{Epoch, Position};
use crate::rules::sabotage;
use std::collections::VecDeque;

/// Names a call of a home's in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u64);

/// What a home asks of an engine elsewhere.
#[derive(Clone, Debug)]
pub enum Call {
    /// Hear the channel's publications from now on; answered by `Watching` once that is so.
    Watch { channel: Name },
    /// Hear them no more. Not answered.
    Unwatch { channel: Name },
    /// Put a publication in order.
    Publish { id: CallId, block: Block },
    /// Read the stream after `since` (0: all that is kept).
    Read { id: CallId, channel: Name, since: u64 },
}

/// What an engine elsewhere says.
#[derive(Clone, Debug)]
pub enum Answer {
    Watching {
        channel: Name,
    },
    Published {
        id: CallId,
        channel: Name,
        position: Position,
    },
    Read(Box<StreamRead>),
    /// Somebody published; may be lost, doubled or late.
    Publication {
        channel: Name,
        position: Position,
        block: Block,
    },
    /// Publications of the channel may have been dropped on the way.
    Lost {
        channel: Name,
    },
}

/// What a stream held when it was read.
#[derive(Clone, Debug)]
pub struct StreamRead {
    pub id: CallId,
    pub channel: Name,
    pub epoch: Epoch,
    /// The offset before the first entry: everything after it and up to `top` is in `entries`.
    pub after: u64,
    pub entries: Box<[Placed]>,
    /// The stream's last offset.
    pub top: u64,
}

impl Answer {
    /// Whether it answers a call, and so gives a credit back (rule 14).
    #[must_use]
    pub fn returns_credit(&self) -> bool {
        !matches!(self, Answer::Publication { .. } | Answer::Lost { .. })
    }
}

/// Puts publications in order: the home itself, or a store that is asked through the bridge.
pub trait Engine {
    /// The home orders its channels itself, and nothing ever waits.
    const LOCAL: bool;

    /// The calls to a store; none where there is no store to call.
    fn bridged(&self) -> Option<&Bridged>;

    /// The same, to be used.
    fn bridged_mut(&mut self) -> Option<&mut Bridged>;
}

/// The order is the home's own.
#[derive(Debug, Default)]
pub struct Memory;

impl Engine for Memory {
    const LOCAL: bool = true;

    fn bridged(&self) -> Option<&Bridged> {
        None
    }

    fn bridged_mut(&mut self) -> Option<&mut Bridged> {
        None
    }
}

/// From a worker to the bridge.
#[derive(Clone, Debug)]
pub enum ToBridge {
    /// The answer to a probe.
    Probed {
        sequence: u64,
    },
    Call(Call),
}

/// From the bridge to a worker.
#[derive(Clone, Debug)]
pub enum FromBridge {
    /// Are you turning?
    Probe {
        sequence: u64,
    },
    Answer(Answer),
}

const _: () = assert!(size_of::<ToBridge>() <= 64);
const _: () = assert!(size_of::<FromBridge>() <= 96);

/// An engine behind the bridge: what it is asked leaves by envelope, and credits keep its answers
/// from ever lacking a place (rule 14).
#[derive(Debug)]
pub struct Bridged {
    credits: usize,
    in_use: usize,
    outbox: VecDeque<Call>,
    inbox: VecDeque<Answer>,
}

impl Bridged {
    /// `credits` is at most the number of slots of the lane that answers come by.
    #[must_use]
    pub fn new(credits: usize) -> Bridged {
        Bridged { credits, in_use: 0, outbox: VecDeque::new(), inbox: VecDeque::new() }
    }

    fn is_spent(&self) -> bool {
        sabotage!(Credit => return false);
        self.in_use >= self.credits
    }

    /// Hands a call over.
    ///
    /// # Errors
    /// Gives the call back when there is no credit or no room: try again after the next answer.
    pub fn call(&mut self, call: Call) -> Result<(), Call> {
        let answered = !matches!(call, Call::Unwatch { .. });
        if answered && self.is_spent() || self.outbox.len() > self.credits {
            return Err(call);
        }
        self.in_use += usize::from(answered);
        self.outbox.push_back(call);
        Ok(())
    }

    /// Would `call` take one now?
    #[must_use]
    pub fn has_credit(&self) -> bool {
        !self.is_spent() && self.outbox.len() <= self.credits
    }

    /// The next answer that came in.
    pub fn answer(&mut self) -> Option<Answer> {
        self.inbox.pop_front()
    }

    /// Is there a next answer?
    #[must_use]
    pub fn has_answer(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Is there a call for the bridge?
    #[must_use]
    pub fn has_outgoing(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next call for the bridge.
    pub fn outgoing(&mut self) -> Option<Call> {
        self.outbox.pop_front()
    }

    /// Puts a call back that found the lane to the bridge full.
    pub fn put_back(&mut self, call: Call) {
        self.outbox.push_front(call);
    }

    /// Takes what the bridge said.
    pub fn incoming(&mut self, answer: Answer) {
        if answer.returns_credit() {
            debug_assert!(self.in_use > 0, "an answer has its call");
            self.in_use = self.in_use.saturating_sub(1);
        }
        self.inbox.push_back(answer);
    }
}

impl Engine for Bridged {
    const LOCAL: bool = false;

    fn bridged(&self) -> Option<&Bridged> {
        Some(self)
    }

    fn bridged_mut(&mut self) -> Option<&mut Bridged> {
        Some(self)
    }
}
