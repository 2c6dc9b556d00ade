//! What crosses lanes: requests from edges to homes, deliveries from homes to edges.
//!
//! An envelope is at most 64 bytes, one lane slot; what is larger stands behind a box.

use super::block::{Block, Placed};
use super::infos::Infos;
use super::key::{ConnectionKey, ReplyTo};
use super::name::Name;
use super::position::{Position, Since, Version};
use super::user::{Overrides, SharedCommand, ToUser};
use crate::codec::command::ErrorCode;

/// What an edge asks of a home.
#[derive(Clone, Debug)]
pub enum Request {
    Subscribe(Box<SubscribeRequest>),
    /// Takes one Subscribe back: of a subscription, a pending one, or a dead connection's.
    Unsubscribe {
        connection: ConnectionKey,
        channel: Name,
        /// The edge's number for the call that waits for it, which is answered by `Unsubscribed`; 0
        /// when nobody does.
        awaited: u32,
    },
    Publish {
        to: ReplyTo,
        block: Block,
        /// None for a publication that asks for nothing more.
        options: Option<Box<PublishOptions>>,
    },
    History(Box<HistoryRequest>),
    Presence {
        to: ReplyTo,
        channel: Name,
    },
    PresenceStats {
        to: ReplyTo,
        channel: Name,
    },
    /// An authenticated connection is there; answered before its connect is (rule 12).
    Register {
        connection: ConnectionKey,
        user: Name,
    },
    Deregister {
        connection: ConnectionKey,
        user: Name,
    },
    /// Does something to a user's connections; answered by `UserAnswered`.
    ToUser(Box<ToUser>),
    /// A `UserCommand` has taken effect on this edge.
    UserDone {
        call: u32,
    },
    /// Forgets a channel's history; its numbering goes on. Answered by `HistoryRemoved`.
    RemoveHistory {
        to: ReplyTo,
        channel: Name,
    },
    /// One part of the list of channels that have subscribers; answered by `Channels`.
    Channels {
        to: ReplyTo,
        from: ListCursor,
    },
    /// Shutdown: everything this edge had to say is behind it (rule 25).
    Marker {
        core: u16,
    },
}

/// How far a list of a home's channels has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListCursor {
    /// The next place to look at.
    pub place: u32,
    /// Channels made after this many are not listed, so that none is twice; 0 at the start.
    pub made: u64,
}

#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    pub to: ReplyTo,
    /// Tells a subscription from an earlier one of the same connection in the same channel.
    pub sequence: u32,
    pub channel: Name,
    pub user: Name,
    /// What the others in the channel are told of it.
    pub infos: Option<Infos>,
    /// Recover from here; none: just go live.
    pub since: Option<Since>,
    /// A recovery was asked for, whether or not it may be had; without a position it may not.
    pub recover: bool,
    /// Where the recovery cannot be had, the subscription is refused with 112.
    pub or_refused: bool,
    /// What of it is otherwise than its namespace says; of recovery and positions the edge knows.
    pub overrides: Overrides,
    /// It wants deltas.
    pub delta: bool,
    /// Of a recovery it wants the last publication alone, wherever it was.
    pub cache: bool,
    /// It has a filter: the last publication may be none for it.
    pub filtered: bool,
}

/// What few publications ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// With a key that was carried out in this channel before, nothing is published and the answer
    /// is the first one's; "" for none. At most `limits::IDEMPOTENCY_KEY_BYTES`.
    pub idempotency_key: Box<str>,
    /// It is delivered without an offset, and not kept.
    pub skip_history: bool,
    /// It is dropped where the channel has one as new.
    pub version: Option<Version>,
}

#[derive(Clone, Debug)]
pub struct HistoryRequest {
    pub to: ReplyTo,
    pub channel: Name,
    pub limit: i32,
    pub since: Option<Since>,
    pub reverse: bool,
    /// All that is asked for or error 106, within the bound of the server API's answers: backends
    /// do not ask on. Else as much as fits `limits.recovery_bytes`.
    pub whole: bool,
    /// The user of the client that asks, "" where it has none; none for the server API.
    pub asker: Option<Name>,
}

/// What a home tells an edge. `local` is the channel's number on this home for that core.
#[derive(Clone, Debug)]
pub enum Delivery {
    Subscribed(Box<Subscribed>),
    /// A command failed.
    Refused {
        to: ReplyTo,
        error: ErrorCode,
        /// As the protocol calls it; "" for a call of the server API, which the edge knows.
        method: &'static str,
        channel: Option<Name>,
        /// For a Subscribe, the sequence of what the edge has to take back.
        subscribe: Option<u32>,
    },
    Published {
        to: ReplyTo,
        position: Position,
    },
    History(Box<HistoryAnswer>),
    Presence(Box<PresenceAnswer>),
    PresenceStats {
        to: ReplyTo,
        clients: u32,
        users: u32,
    },
    Registered {
        connection: ConnectionKey,
    },
    Publication {
        local: u32,
        offset: u64,
        block: Block,
    },
    Joined {
        local: u32,
        who: Box<Member>,
    },
    Left {
        local: u32,
        who: Box<Member>,
    },
    /// Offsets were lost on the way to this home: every recoverable subscriber is told 2500.
    PositionLost {
        local: u32,
    },
    /// Does something to these connections, where they are still there and selected; answered by
    /// `UserDone`.
    UserCommand {
        call: u32,
        connections: Box<[ConnectionKey]>,
        what: SharedCommand,
    },
    /// A `ToUser` has taken effect.
    UserAnswered {
        to: ReplyTo,
    },
    /// The Subscribe was taken back that a call ends.
    Unsubscribed {
        awaited: u32,
    },
    HistoryRemoved {
        to: ReplyTo,
    },
    Channels(Box<ChannelsPart>),
    /// The home's answer to a marker: nothing follows.
    Marker {
        core: u16,
    },
}

#[derive(Clone, Debug)]
pub struct Subscribed {
    pub to: ReplyTo,
    pub sequence: u32,
    pub channel: Name,
    pub local: u32,
    pub position: Position,
    /// The answer to a recovery: what was missed, or none when it cannot be had in full.
    pub recovery: Recovery,
}

/// How a subscription starts.
#[derive(Clone, Debug)]
pub enum Recovery {
    /// None was asked for.
    NotAsked,
    /// All that was missed, in order, ending at the answer's position.
    Complete(Box<[Placed]>),
    /// Not to be had in full; nothing is sent.
    Impossible,
}

impl Recovery {
    /// The offset behind which a subscriber begins, with what it missed and then what comes, where
    /// the answer's position has offset `top`. With a recovery that is the one it asked from: SDKs
    /// adopt it before they deliver what was missed, and who leaves between the two goes on there.
    #[must_use]
    pub fn start(&self, top: u64) -> u64 {
        match self {
            // Before any filter: what it keeps back is missed no more than what it lets pass.
            Recovery::Complete(missed) => {
                missed.first().map_or(top, |first| first.offset.saturating_sub(1))
            }
            Recovery::NotAsked | Recovery::Impossible => top,
        }
    }
}

#[derive(Clone, Debug)]
pub struct HistoryAnswer {
    pub to: ReplyTo,
    pub position: Position,
    pub publications: Box<[Placed]>,
}

/// A part of a list of channels.
#[derive(Clone, Debug)]
pub struct ChannelsPart {
    pub to: ReplyTo,
    /// Channels with the number of their subscriptions; at most `CHANNELS_PER_PART`.
    pub channels: Box<[(Name, u32)]>,
    /// Where the next part begins; none behind the last.
    pub next: Option<ListCursor>,
}

#[derive(Clone, Debug)]
pub struct PresenceAnswer {
    pub to: ReplyTo,
    pub members: Box<[Member]>,
}

/// Somebody in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub connection: ConnectionKey,
    pub user: Name,
    pub infos: Option<Infos>,
}

const _: () = assert!(size_of::<Request>() <= 64);
const _: () = assert!(size_of::<Delivery>() <= 64);
