//! The seam that decides a channel's order: here (`Memory`), or in a store that the bridge speaks
//! to (`Bridged`).
//!
//! A local engine decides inside the call and keeps nothing: the home's own ring is the truth. Any
//! other answers by envelope, turns later; the home is then an ordered replica (rules 14 to 18).
//! Every call that has an id is answered exactly once, with what it asked for or with `Failed`. The
//! bridge answers within its own time-outs; a home that has waited for `limits::ENGINE_CALL_MS`
//! gives the call up itself, and does not look at an answer that comes later. The call keeps its
//! credit until then, so that the answer has its place in the lane.

use super::block::{Block, Placed};
use super::envelope::Member;
use super::listing::{ChannelCounts, ChannelsPart, ListCursor};
use super::name::Name;
use super::node::NodeInfo;
use super::position::{Epoch, Position, Since, Version};
use super::presence::{Change, Entry, On};
use super::user::SharedCommand;
use super::wire::NodeId;
use crate::rules::sabotage;
use std::collections::VecDeque;

/// Names a call of a home's in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One time of hearing a channel: from a `Watch` to its failure or to its `Unwatch`. What is said
/// of an earlier session is not meant for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// The channel's place at its home.
    pub place: u32,
    /// Counts the home's sessions.
    pub number: u32,
}

/// What a home asks of an engine elsewhere.
#[derive(Clone, Debug)]
pub enum Call {
    /// Hear the channel's publications from now on, and then read its stream: answered by `Read`.
    /// One that failed is not heard.
    Watch { id: CallId, channel: Name, session: Session, page: Box<Page> },
    /// Hear them no more. Not answered.
    Unwatch { channel: Name, session: Session },
    /// Put a publication in order, and keep it as is wished: answered by `Published`. Publications
    /// of a channel are put in the order of their calls, and answered in it.
    Publish { id: CallId, block: Block, wish: Box<Wish> },
    /// Hand a publication that is not kept to the other nodes that hear its channel, once at most:
    /// answered by `Passed`. This home has said it to its own subscribers, and does not hear it
    /// again.
    Pass { id: CallId, block: Block },
    /// Read a page of the stream: answered by `Read`.
    Read { id: CallId, channel: Name, page: Box<Page> },
    /// Forget what the stream keeps; its numbering goes on. Answered by `Removed`.
    Remove { id: CallId, channel: Name },
    /// Let other nodes know that these users have connections here from now on, or none any more.
    /// Answered by `UsersTold`, within a fraction of a second.
    Users { id: CallId, changes: Box<[UserChange]> },
    /// Carry out a command on the other nodes that hold a user: answered by `UserTold`.
    ToUser { id: CallId, user: Name, what: SharedCommand },
    /// Tell which other nodes there are: answered by `Nodes`.
    Nodes { id: CallId },
    /// Tell which channels of this pattern other nodes have, where that is not more than a call of
    /// the server API is answered: answered by `Channels` with this number. Nodes may take seconds
    /// to say it, for which no credit is held.
    Channels { number: u64, pattern: Box<str> },
    /// A part of this home's channels, for the list of this number. Not answered.
    Listed { number: u64, part: Box<ChannelsPart> },
    /// The command of this number has taken effect on this node, or, where it has not, will not be
    /// waited for. Not answered.
    CommandDone { number: u64, took_effect: bool },
    /// Tell the other nodes that hear a channel of a join or a leave, once at most: answered by
    /// `Passed`.
    Announce { id: CallId, channel: Name, who: Box<Member>, joined: bool },
    /// Write down who is in a channel on this node: answered by `Noted`. What is asked for one
    /// channel is carried out in order.
    Note { id: CallId, channel: Name, change: Box<Change> },
    /// List who is in a channel on other nodes, where these are not more than `most`: answered by
    /// `Members`.
    Members { id: CallId, channel: Name, on: On, most: u32 },
    /// Count who is in a channel on other nodes: answered by `Counted`.
    Count { id: CallId, channel: Name },
}

/// A user of this node, and whether it has connections here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    pub user: Name,
    pub is_here: bool,
}

impl Call {
    /// The name that its answer has; none for what is not answered.
    #[must_use]
    pub fn id(&self) -> Option<CallId> {
        match self {
            Call::Watch { id, .. }
            | Call::Publish { id, .. }
            | Call::Pass { id, .. }
            | Call::Read { id, .. }
            | Call::Remove { id, .. }
            | Call::Users { id, .. }
            | Call::ToUser { id, .. }
            | Call::Announce { id, .. }
            | Call::Note { id, .. }
            | Call::Members { id, .. }
            | Call::Count { id, .. }
            | Call::Nodes { id } => Some(*id),
            Call::Unwatch { .. }
            | Call::CommandDone { .. }
            | Call::Channels { .. }
            | Call::Listed { .. } => None,
        }
    }
}

/// How a publication is to be put in order and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// With a key that was carried out in this channel before, nothing is published, and the answer
    /// is the first one's, whichever call that was; "" for none. It lasts as long as
    /// `limits::IDEMPOTENCY_MS`.
    pub key: Box<str>,
    /// Publications that the stream keeps.
    pub size: u32,
    /// Seconds for which it keeps them after the last, above 0.
    pub ttl_s: u32,
    /// Seconds after the last for which its numbering goes on when it keeps nothing any more.
    pub numbering_s: u32,
    /// It is published only if it is newer than the last publication, where that has one: else the
    /// answer is the position of that one.
    pub version: Option<Version>,
    /// Where the channel has come to here. A stream of this epoch that has not come as far has lost
    /// its end: the publication begins another epoch, for one that has a place may not share it.
    pub above: Option<Position>,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no connection to the store: nothing was carried out.
    Away,
    /// The connection ended before the answer: whether it was carried out is not known.
    Lost,
    /// The store will not do it, as when it is out of memory or may not be written: nothing was
    /// carried out, and asking again at once is of no use.
    Refused,
    /// The home gave it up, for its time was over: whether it was carried out is not known.
    Overdue,
    /// There is more than was asked for at most.
    Over,
}

impl Failure {
    /// Could the same call succeed soon?
    #[must_use]
    pub fn may_pass(self) -> bool {
        match self {
            Failure::Away | Failure::Lost | Failure::Overdue => true,
            Failure::Refused | Failure::Over => false,
        }
    }
}

/// What an engine elsewhere says.
#[derive(Clone, Debug)]
pub enum Answer {
    Published {
        id: CallId,
        position: Position,
        /// False: a publication with this key was carried out before, and has this position. Its
        /// content may be another.
        is_new: bool,
    },
    Passed {
        id: CallId,
    },
    Removed {
        id: CallId,
    },
    Read(Box<StreamRead>),
    /// Users are known to other nodes, or will be as soon as that is possible.
    UsersTold {
        id: CallId,
    },
    /// A command has taken effect on the other nodes that hold the user.
    UserTold {
        id: CallId,
        /// The names of the nodes of which that is not known; "" if it is known of all.
        missing: Box<str>,
    },
    Noted {
        id: CallId,
    },
    /// Members on other nodes, each once.
    Members {
        id: CallId,
        entries: Box<[Entry]>,
    },
    /// Members on other nodes, and how many users they are that this node has not.
    Counted {
        id: CallId,
        clients: u32,
        users: u32,
    },
    /// The other nodes that live, by the names of their processes.
    Nodes {
        id: CallId,
        nodes: Box<[NodeInfo]>,
    },
    Failed {
        id: CallId,
        why: Failure,
    },
    /// Somebody published; may be lost, and, where it is kept, doubled or late.
    Publication {
        session: Session,
        /// None for what is not kept.
        position: Option<Position>,
        block: Block,
    },
    /// Publications of the channel may have been dropped on the way.
    Lost {
        session: Session,
    },
    /// Another node has a command for a user whose home this is. Answered by `CommandDone`.
    Command {
        number: u64,
        user: Name,
        what: SharedCommand,
    },
    /// Channels of the other nodes, as far as these have answered in time.
    Channels {
        number: u64,
        channels: Result<Box<ChannelCounts>, Failure>,
    },
    /// Another node lists channels. Answered by `Listed`.
    List {
        number: u64,
        from: ListCursor,
    },
    /// Somebody has joined or left on another node; may be lost.
    Membership {
        session: Session,
        who: Box<Member>,
        joined: bool,
    },
    /// Another node has begun to live, or has died.
    Node {
        node: NodeId,
        lives: bool,
    },
    /// What was noted of members may be gone: all of it has to be noted anew.
    Forgotten,
}

/// What is to be read of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// After this place or, reversed, before it; without one from the first that is kept, or from
    /// the last. A place in another epoch than the stream's is none, and the newest are read.
    pub from: Option<Since>,
    /// The newest first, where not all fit.
    pub reverse: bool,
    /// Publications, at most.
    pub limit: u32,
    /// Bytes of their blocks, at most; one publication is read in any case, so that whoever reads
    /// on comes to the end.
    pub bytes: usize,
}

impl Page {
    /// The newest that are kept.
    #[must_use]
    pub fn newest(limit: u32, bytes: usize) -> Page {
        Page { from: None, reverse: true, limit, bytes }
    }

    /// What follows a position.
    #[must_use]
    pub fn after(position: Position, bytes: usize) -> Page {
        let from = Since { epoch: Some(position.epoch), offset: position.offset };
        Page { from: Some(from), reverse: false, limit: u32::MAX, bytes }
    }
}

/// What a stream held when it was read.
#[derive(Clone, Debug)]
pub struct StreamRead {
    pub id: CallId,
    pub epoch: Epoch,
    /// The offset before the first entry: everything after it and up to `end` is in `entries`, by
    /// rising offsets.
    pub after: u64,
    pub entries: Box<[Placed]>,
    /// The last entry's offset; `top`, or less where the page ends before it.
    pub end: u64,
    /// The bound on bytes kept some back.
    pub cut: bool,
    /// The stream's last offset.
    pub top: u64,
}

impl Answer {
    /// The call that it answers, whose credit it gives back (rule 14).
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        match self {
            Answer::Published { id, .. }
            | Answer::Passed { id }
            | Answer::Removed { id }
            | Answer::UsersTold { id }
            | Answer::UserTold { id, .. }
            | Answer::Noted { id }
            | Answer::Members { id, .. }
            | Answer::Counted { id, .. }
            | Answer::Nodes { id, .. }
            | Answer::Failed { id, .. } => Some(*id),
            Answer::Read(read) => Some(read.id),
            Answer::Publication { .. }
            | Answer::Lost { .. }
            | Answer::Command { .. }
            | Answer::Channels { .. }
            | Answer::List { .. }
            | Answer::Membership { .. }
            | Answer::Node { .. }
            | Answer::Forgotten => None,
        }
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
    /// The home has taken, and said to its edges, what came before this fence and all earlier ones.
    Fenced {
        number: u64,
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
    /// Answered by `Fenced`, behind what came before it.
    Fence {
        number: u64,
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

    /// Calls that may be unanswered at once.
    #[must_use]
    pub fn credits(&self) -> usize {
        self.credits
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
        let answered = call.id().is_some();
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

    /// Calls that could be asked now.
    #[must_use]
    pub fn left(&self) -> usize {
        let room = (self.credits + 1).saturating_sub(self.outbox.len());
        room.min(self.credits.saturating_sub(self.in_use))
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
        if answer.call().is_some() {
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
