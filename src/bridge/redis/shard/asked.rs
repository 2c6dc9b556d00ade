//! What commands in flight are for.
//!
//! Must not know what becomes of them. Invariant: one for each command, in their order.

use super::members::TaskId;
use crate::bridge::redis::control::{Letter, QuestionId};
use crate::bridge::redis::keys::Partition;
use crate::bridge::redis::lines::JobId;
use crate::bridge::redis::settling::Settling;
use crate::bridge::redis::stream::Reading;
use crate::contract::name::Name;
use crate::contract::wire::NodeId;

/// What a command in flight is for.
#[derive(Debug)]
pub(super) enum Asked {
    /// A script is loaded.
    Script,
    /// The clock of Redis.
    Time,
    /// The earlier connection of this number is ended there, so that nothing of it is carried out
    /// any more.
    Kill(i64),
    Floor,
    /// Publications, in the order of the command.
    Publish(Vec<(Name, JobId)>),
    Begin(Name, JobId),
    /// A stream is to have a position for a read.
    Open(Name, JobId),
    Read(Name, JobId),
    Pass(Name, JobId),
    Remove(Name, JobId),
    Settle(Box<Search>),
    /// A stream is to begin an epoch.
    Renew,
    /// This node lives.
    Lease,
    /// This node ends; the last command about it.
    Leave {
        is_last: bool,
    },
    /// Something is written, which a replica refuses.
    EchoKept,
    /// Something is published that has to come back.
    Echo(u64),
    /// Who is here, of a partition; the last command about it.
    Users {
        is_last: bool,
    },
    /// A partition's set lives on.
    UsersLease(Partition),
    /// Which nodes there are.
    Nodes(QuestionId),
    /// Whether a node holds a user.
    Holds(QuestionId, NodeId),
    /// A message for a node.
    Tell(Box<Letter>),
    /// What other nodes have left for this one.
    Control,
    /// Those that were read are forgotten.
    Trim,
    /// Something about the members of a channel.
    Members(TaskId),
}

/// A search for publications whose fate is not known.
#[derive(Debug)]
pub(super) struct Search {
    pub channel: Name,
    pub settling: Settling,
    pub reading: Reading,
}
