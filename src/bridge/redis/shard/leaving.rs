//! How a node that ends says so: its users are taken back, its record is removed, and the others
//! are rung, so that they beat at once and see it.
//!
//! Who is in channels here stays noted, because the others tell those leaves; it is passed over
//! with the node, and expires. Invariants: the record is removed by the connection by which the
//! last beat went, behind it, and nothing of this node's own follows; whatever Redis does, a node
//! has left `limits::NODE_LEAVE_US` after it began to at the latest.

use super::{Asked, Shard};
use crate::bridge::redis::error::StoreError;
use crate::bridge::redis::keys::Partition;
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::encode::Command;
use crate::contract::wire::NodeId;
use crate::limits::NODE_LEAVE_US;

/// What another node is rung with.
pub(super) const LEFT: &[u8] = b"left";

/// Does this node stay among the others?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    Here,
    Leaving { until_us: u64, is_said: bool },
    Gone,
}

impl Shard {
    /// This node ends: the others are to know it once what was asked before is answered. Then
    /// `has_left` is true, or when there was no time for it.
    pub fn leave(&mut self, now_us: u64) {
        self.now_us = now_us;
        if self.stay == Stay::Here {
            self.stay = Stay::Leaving { until_us: now_us + NODE_LEAVE_US, is_said: false };
        }
    }

    /// Is there nothing more to wait for?
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.stay == Stay::Gone
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.stay != Stay::Here
    }

    pub(super) fn has_said_goodbye(&self) -> bool {
        matches!(self.stay, Stay::Leaving { is_said: true, .. } | Stay::Gone)
    }

    /// When it is too late.
    pub(super) fn leave_until_us(&self) -> Option<u64> {
        match self.stay {
            Stay::Leaving { until_us, .. } => Some(until_us),
            Stay::Here | Stay::Gone => None,
        }
    }

    /// Gives up when it is too late: the others learn it when the lease is over.
    pub(super) fn end_leave(&mut self) {
        if self.leave_until_us().is_some_and(|until_us| self.now_us >= until_us) {
            self.stay = Stay::Gone;
        }
    }

    /// What was said may have been lost.
    pub(super) fn leave_again(&mut self) {
        if let Stay::Leaving { is_said, .. } = &mut self.stay {
            *is_said = false;
        }
    }

    /// Puts what Redis has to be told into bytes, behind everything else.
    pub(super) fn fill_leave(&mut self) {
        if self.unanswered() > 0 {
            return;
        }
        let Stay::Leaving { is_said, .. } = &mut self.stay else { return };
        *is_said = true;
        let partitions: Vec<Partition> = self.users.partitions().collect();
        let others: Vec<NodeId> = self.directory.living().map(|(node, _)| node).collect();
        let (own, keys, now_us) = (self.node, self.scripts.keys(), self.now_us);
        for partition in partitions {
            self.commands.send(Asked::Leave { is_last: false }, now_us, |out| {
                let mut command = Command::new(out, 2);
                command.part(b"DEL");
                keys.push_users(&mut command, partition, own);
            });
        }
        self.commands.send(Asked::Leave { is_last: others.is_empty() }, now_us, |out| {
            let mut command = Command::new(out, 3);
            command.part(b"HDEL");
            keys.push_nodes(&mut command);
            command.part(own.text().as_bytes());
        });
        let last = others.last().copied();
        for node in others {
            self.commands.send(Asked::Leave { is_last: Some(node) == last }, now_us, |out| {
                let mut command = Command::new(out, 3);
                command.part(b"PUBLISH");
                keys.push_control(&mut command, node);
                command.part(LEFT);
            });
        }
    }

    pub(super) fn take_leave(&mut self, is_last: bool, value: &Value) {
        if !matches!(value, Value::Integer(_)) {
            // What may be tried again is not: the lease is over soon.
            let _ = self.judge(&StoreError::of(value));
        }
        if is_last {
            self.stay = Stay::Gone;
        }
    }
}
