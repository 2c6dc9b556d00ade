//! What a shard tells operators and metrics.
//!
//! Must not know how it is shown. Invariant: there is an event for each change of state, and none
//! for each message.

use super::Wire;
use crate::bridge::redis::link_error::LinkError;
use crate::contract::name::Name;
use crate::metrics::StoreEvent;

/// What operators and metrics are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection is up, with this version at the other end.
    Up { wire: Wire, version: Box<str> },
    /// A connection is no more, or did not come to be; `was_up` says which.
    Down { wire: Wire, error: LinkError, was_up: bool },
    /// Calls are carried out from now on.
    Ready,
    /// Redis is another than before, or has lost what it held: what began before is declared.
    FloorRaised(u64),
    /// Redis does not say which incarnation it is, so its forgetting is not noticed at once.
    NoIncarnation,
    /// Its scripts were lost, and are loaded again.
    ScriptsLost,
    /// A script has run for long, and ours wait.
    Busy,
    /// A command was refused, with these words.
    Refused(Box<str>),
    /// A list of channels lacks those of these nodes, which did not tell them in time.
    NotListed(Box<str>),
    /// What came for a channel, or stood in its stream, is no publication that can be read.
    Unreadable(Box<str>),
    /// A stream gave a position for the second time.
    Forked(Name),
    /// Another node, of this name, lives from now on.
    NodeAppeared(Box<str>),
    /// One does not any more.
    NodeDied(Box<str>),
    /// One has ended, and said so.
    NodeLeft(Box<str>),
    /// This node was dead for the others for a while.
    Lapsed,
    /// The node of this name is of another version.
    OtherVersion { name: Box<str>, version: Box<str> },
    /// The node of this name is of the same version, and has other channels configured.
    OtherConfiguration(Box<str>),
}

impl Event {
    /// What it is counted as; nothing for what only follows from others.
    pub(super) fn counted(&self) -> Option<StoreEvent> {
        Some(match self {
            Event::Up { .. } => StoreEvent::Connected,
            Event::Down { error: LinkError::Deaf, .. } => StoreEvent::Deaf,
            Event::Down { was_up: true, .. } => StoreEvent::Disconnected,
            Event::Down { was_up: false, .. } => StoreEvent::Unreachable,
            Event::FloorRaised(_) => StoreEvent::FloorRaised,
            Event::ScriptsLost => StoreEvent::ScriptsLost,
            Event::Busy => StoreEvent::Busy,
            Event::Refused(_) => StoreEvent::Refused,
            Event::Unreadable(_) => StoreEvent::Unreadable,
            Event::NotListed(_) => StoreEvent::NotListed,
            Event::Lapsed => StoreEvent::Lapsed,
            Event::Forked(_) => StoreEvent::Forked,
            Event::Ready
            | Event::NoIncarnation
            | Event::NodeAppeared(_)
            | Event::NodeDied(_)
            | Event::NodeLeft(_)
            | Event::OtherVersion { .. }
            | Event::OtherConfiguration(_) => return None,
        })
    }
}
