//! Who is in a channel, as a home tells a store, and hears of it from other nodes.

use super::envelope::Member;
use super::key::ConnectionKey;
use super::wire::NodeId;

/// Somebody in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub member: Member,
    /// Presence lists it.
    pub listed: bool,
    /// Its join was told, and its leave will be.
    pub announced: bool,
}

/// What changes of what a store knows of a channel's members on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What it knew before is forgotten first.
    pub anew: bool,
    /// Connections that are in the channel; written once more, they stay as they are.
    pub put: Box<[Entry]>,
    /// Connections that are not; there may be no trace of one.
    pub gone: Box<[ConnectionKey]>,
}

/// On which nodes members are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On all that live but this one.
    Others,
    /// On that one, whether it lives or not.
    Node(NodeId),
}
