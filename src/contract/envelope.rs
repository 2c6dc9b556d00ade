//! What crosses lanes: requests from edges to homes, deliveries from homes to edges.
//!
//! An envelope is at most 64 bytes, one lane slot; anything larger is boxed.

use super::block::{Block, CLIENT_BYTES, Placed};
use super::infos::Infos;
use super::key::{ConnectionKey, ReplyTo};
use super::listing::{ChannelCounts, ChannelsPart, ListCursor};
use super::name::Name;
use super::node::NodeInfo;
use super::position::{Position, Since, Version};
use super::user::{Overrides, SharedCommand, ToUser};
use crate::codec::command::ErrorCode;

/// A request of an edge to a home.
#[derive(Clone, Debug)]
pub enum Request {
    Subscribe(Box<SubscribeRequest>),
    /// Takes back one Subscribe: of a subscription, of a pending one, or of a dead connection.
    Unsubscribe {
        connection: ConnectionKey,
        channel: Name,
        /// The edge's number of the call that waits for it, which is answered by `Unsubscribed`; 0
        /// if no call waits.
        awaited: u32,
    },
    Publish {
        to: ReplyTo,
        block: Block,
        /// `None` for a publication without further options.
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
    /// Registers an authenticated connection; answered before its connect is (rule 12).
    Register {
        connection: ConnectionKey,
        user: Name,
    },
    Deregister {
        connection: ConnectionKey,
        user: Name,
    },
    /// Applies a command to a user's connections; answered by `UserAnswered`.
    ToUser(Box<ToUser>),
    /// A `UserCommand` is carried out on this edge. It may not have taken effect on each
    /// connection: a home may have refused a subscription for now.
    UserDone {
        call: u32,
        took_effect: bool,
    },
    /// Deletes a channel's history; its numbering continues. Answered by `HistoryRemoved`.
    RemoveHistory {
        to: ReplyTo,
        channel: Name,
    },
    /// Asks for one part of the list of channels that have subscribers; answered by `Channels`.
    Channels {
        to: ReplyTo,
        from: ListCursor,
    },
    /// Asks which channels of this pattern other nodes have; answered by `OtherChannels`.
    OtherChannels {
        to: ReplyTo,
        pattern: Box<str>,
    },
    /// Asks which other nodes there are; answered by `Nodes`.
    Nodes {
        to: ReplyTo,
    },
    /// Shutdown: the last request of this edge (rule 25).
    Marker {
        core: u16,
    },
}

#[derive(Clone, Debug)]
pub struct SubscribeRequest {
    pub to: ReplyTo,
    /// Tells a subscription from an earlier one of the same connection in the same channel.
    pub sequence: u32,
    pub channel: Name,
    pub user: Name,
    /// Info about the subscriber that others in the channel receive.
    pub infos: Option<Infos>,
    /// Position to recover from; `None`: no recovery.
    pub since: Option<Since>,
    /// A recovery was asked for. Without a position it is not possible.
    pub recover: bool,
    /// If the recovery is not possible, the subscription is refused with 112.
    pub or_refused: bool,
    /// Options that override those of the namespace. Of recovery and positions only the edge knows.
    pub overrides: Overrides,
    /// The subscriber wants deltas.
    pub delta: bool,
    /// Instead of a recovery it wants only the last publication, whatever its position.
    pub cache: bool,
    /// It has a filter, which may not let the last publication through.
    pub filtered: bool,
}

/// Options that only few publications have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOptions {
    /// If a publication with this key was published in the channel before, nothing is published and
    /// the answer is that of the first; "" for none. At most `limits::IDEMPOTENCY_KEY_BYTES`.
    pub idempotency_key: Box<str>,
    /// It is delivered without an offset, and not kept.
    pub skip_history: bool,
    /// It is dropped if the channel has this version or a newer one.
    pub version: Option<Version>,
}

#[derive(Clone, Debug)]
pub struct HistoryRequest {
    pub to: ReplyTo,
    pub channel: Name,
    pub limit: i32,
    pub since: Option<Since>,
    pub reverse: bool,
    /// Everything that was asked for or error 106, within the bound of the server API's answers,
    /// because backends do not ask for further pages. Otherwise as much as fits
    /// `limits.recovery_bytes`.
    pub whole: bool,
    /// The user of the asking client, "" if it has none; `None` for the server API.
    pub asker: Option<Name>,
}

/// What a home sends to an edge. `local` is the channel's number on this home for that core.
#[derive(Clone, Debug)]
pub enum Delivery {
    Subscribed(Box<Subscribed>),
    /// A command failed.
    Refused {
        to: ReplyTo,
        error: ErrorCode,
        /// As in the protocol; "" for a call of the server API, which the edge knows.
        method: &'static str,
        channel: Option<Name>,
        /// For a Subscribe, the sequence of the subscription that the edge has to take back.
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
    /// Offsets were lost on the way to this home: every recoverable subscriber is sent 2500.
    PositionLost {
        local: u32,
    },
    /// Applies a command to those of these connections that still exist and are selected; answered
    /// by `UserDone`.
    UserCommand {
        call: u32,
        connections: Box<[ConnectionKey]>,
        what: SharedCommand,
    },
    /// A `ToUser` has taken effect.
    UserAnswered {
        to: ReplyTo,
    },
    /// It is not known whether a `ToUser` has taken effect on these other nodes; "" where even they
    /// are not known.
    UserUnanswered {
        to: ReplyTo,
        nodes: Box<str>,
    },
    /// The Subscribe that a call ends was taken back.
    Unsubscribed {
        awaited: u32,
    },
    HistoryRemoved {
        to: ReplyTo,
    },
    Channels {
        to: ReplyTo,
        part: Box<ChannelsPart>,
    },
    OtherChannels {
        to: ReplyTo,
        channels: Box<ChannelCounts>,
    },
    Nodes {
        to: ReplyTo,
        nodes: Box<[NodeInfo]>,
    },
    /// The home's answer to a marker: no delivery follows.
    Marker {
        core: u16,
    },
}

impl Delivery {
    /// May it be taken while an edge still asks filters about a publication that came before it?
    /// Publications of a channel stay in order, and an answer to one waits for those before it;
    /// anything else may add or end a subscription.
    #[must_use]
    pub fn may_pass_filters(&self) -> bool {
        match self {
            Delivery::Publication { .. }
            | Delivery::Joined { .. }
            | Delivery::Left { .. }
            | Delivery::Published { .. } => true,
            Delivery::Subscribed(_)
            | Delivery::Refused { .. }
            | Delivery::History(_)
            | Delivery::Presence(_)
            | Delivery::PresenceStats { .. }
            | Delivery::Registered { .. }
            | Delivery::PositionLost { .. }
            | Delivery::UserCommand { .. }
            | Delivery::UserAnswered { .. }
            | Delivery::UserUnanswered { .. }
            | Delivery::Unsubscribed { .. }
            | Delivery::HistoryRemoved { .. }
            | Delivery::Channels { .. }
            | Delivery::OtherChannels { .. }
            | Delivery::Nodes { .. }
            | Delivery::Marker { .. } => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Subscribed {
    pub to: ReplyTo,
    pub sequence: u32,
    pub channel: Name,
    pub local: u32,
    pub position: Position,
    /// The answer to a recovery.
    pub recovery: Recovery,
}

/// How a subscription starts.
#[derive(Clone, Debug)]
pub enum Recovery {
    /// No recovery was asked for.
    NotAsked,
    /// Everything that was missed, in order, ending at the answer's position.
    Complete(Box<[Placed]>),
    /// Some of it is gone; nothing is sent.
    Impossible,
}

impl Recovery {
    /// The offset after which a subscriber begins, first with what it missed and then with new
    /// publications, where the answer's position has offset `top`. With a recovery that is the
    /// offset it asked from: SDKs adopt it before they deliver what was missed, so a client that
    /// leaves in between continues from there.
    #[must_use]
    pub fn start(&self, top: u64) -> u64 {
        match self {
            // Before any filter: a publication that the filter drops was missed like any other.
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

#[derive(Clone, Debug)]
pub struct PresenceAnswer {
    pub to: ReplyTo,
    pub members: Box<[Member]>,
}

/// What a client in a channel is known by: one of this process by its connection, from which its
/// client id follows; one of another node by its client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Here(ConnectionKey),
    Elsewhere([u8; CLIENT_BYTES]),
}

/// A client in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub who: Who,
    pub user: Name,
    pub infos: Option<Infos>,
}

const _: () = assert!(size_of::<Request>() <= 64);
const _: () = assert!(size_of::<Delivery>() <= 64);
