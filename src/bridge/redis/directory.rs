//! The nodes that share a Redis: who lives, and what each says of itself.
//!
//! Each node beats: it writes a record of itself and the time by Redis' clock, and reads those of
//! the others by the same command. One that has not beaten for `limits::NODE_DEAD_MS` is dead. Must
//! not know what anybody asks of a node. Invariants: only Redis' clock decides who lives; one beat
//! at most is in flight; whatever the others wrote, what is kept is bounded.

use super::error::StoreError;
use super::resp::Value;
use crate::contract::node::NodeInfo;
use crate::contract::wire::NodeId;
use crate::limits::{
    NODE_BEAT_US, NODE_DEAD_MS, NODE_HURRY_US, NODE_RECORD_BYTES, NODE_RETRY_US, NODES,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node says of itself. Readers skip fields that they do not know, and take nothing for
/// those that are missing, so that versions can mix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRecord {
    /// Its id and its name in `info`.
    pub uid: String,
    pub name: String,
    /// Of Corecast.
    pub version: String,
    /// Milliseconds of Unix time, by its own clock.
    pub started_ms: u64,
    pub uptime_s: u64,
    pub workers: u32,
    pub connections: u64,
    pub users: u64,
    pub subscriptions: u64,
    /// Channels that its connections are subscribed to, by homes.
    pub channels: u64,
    /// CPU time over uptime, 100 for one core.
    pub cpu_percent: f64,
    pub resident_bytes: u64,
    /// Of what its channels may do: nodes of one version whose fingerprints differ have different
    /// configurations.
    pub fingerprint: u64,
}

impl NodeRecord {
    /// In its form for the wire.
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        // Maps whose keys are names: a field more or less does not move the others.
        let data = rmp_serde::to_vec_named(self).unwrap_or_default();
        debug_assert!(!data.is_empty() && data.len() <= NODE_RECORD_BYTES, "{}", data.len());
        data
    }

    /// What homes are told of it.
    #[must_use]
    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            uid: self.uid.as_str().into(),
            name: self.name.as_str().into(),
            version: self.version.as_str().into(),
            clients: self.connections,
            users: self.users,
            subscriptions: self.subscriptions,
            channels: self.channels,
            uptime_s: self.uptime_s,
            cpu_percent: self.cpu_percent,
            resident_bytes: self.resident_bytes,
        }
    }

    /// None where it cannot be read, or is too long.
    #[must_use]
    pub fn decoded(data: &[u8]) -> Option<NodeRecord> {
        if data.len() > NODE_RECORD_BYTES {
            return None;
        }
        rmp_serde::from_slice(data).ok()
    }
}

/// What a beat has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node lives that did not when this one beat before.
    Appeared(NodeId),
    /// One does not any more that did.
    Died(NodeId),
    /// One that lived, and had this name, has said that it ends.
    Left(NodeId, Box<str>),
    /// This node was dead for others since its last beat.
    Lapsed,
    /// That node is of another version.
    OtherVersion(NodeId),
    /// That node is of this version, and has another configuration.
    OtherConfiguration(NodeId),
}

/// Another node.
#[derive(Debug)]
struct Known {
    record: NodeRecord,
    lives: bool,
    /// It was said that it is of another version, or has another configuration.
    is_told: bool,
}

/// See the module's page.
#[derive(Debug)]
pub struct Directory {
    own: NodeId,
    /// What this node said of itself last.
    record: NodeRecord,
    others: BTreeMap<NodeId, Known>,
    next_us: u64,
    /// When it beat last.
    beaten_us: u64,
    is_beating: bool,
    /// It has beaten at least once.
    has_beaten: bool,
}

impl Directory {
    #[must_use]
    pub fn new(own: NodeId) -> Directory {
        Directory {
            own,
            record: NodeRecord::default(),
            others: BTreeMap::new(),
            next_us: 0,
            beaten_us: 0,
            is_beating: false,
            has_beaten: false,
        }
    }

    /// Is a beat due?
    #[must_use]
    pub fn is_due(&self, now_us: u64) -> bool {
        !self.is_beating && now_us >= self.next_us
    }

    /// When the next is due, in microseconds of the process; none while one is in flight.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        (!self.is_beating).then_some(self.next_us)
    }

    /// The node beats now. Gives what it says of itself, for the wire.
    pub fn beat(&mut self, record: NodeRecord, now_us: u64) -> Vec<u8> {
        debug_assert!(self.is_due(now_us), "one beat at a time");
        self.is_beating = true;
        self.beaten_us = now_us;
        self.next_us = now_us + NODE_BEAT_US;
        self.record = record;
        self.record.encoded()
    }

    /// A beat came to nothing: the next follows soon, or, with a new connection, at once.
    pub fn missed(&mut self, now_us: u64) {
        self.is_beating = false;
        self.next_us = self.next_us.min(now_us + NODE_RETRY_US);
    }

    /// There is another connection: it begins with a beat.
    pub fn reconnected(&mut self) {
        self.is_beating = false;
        self.next_us = 0;
    }

    /// There may be news of others: the next beat comes as soon as it may.
    pub fn hurry(&mut self, now_us: u64) {
        self.beat_by(now_us);
    }

    /// The next beat comes at that time, or as soon as it may after the last.
    fn beat_by(&mut self, at_us: u64) {
        self.next_us = self.next_us.min(at_us.max(self.beaten_us + NODE_HURRY_US));
    }

    /// Takes the answer to a beat.
    ///
    /// # Errors
    /// It is none; then `missed` has to be called.
    pub fn answered(&mut self, answer: &Value, now_us: u64) -> Result<Vec<Change>, StoreError> {
        let Value::Array(parts) = answer else { return Err(StoreError::of(answer)) };
        let [Value::Integer(own_ms), rest @ ..] = &parts[..] else {
            return Err(StoreError::of(answer));
        };
        self.is_beating = false;
        let mut changes = Vec::new();
        let lapsed = *own_ms < 0 || own_ms.unsigned_abs() >= NODE_DEAD_MS;
        if std::mem::replace(&mut self.has_beaten, true) && lapsed {
            changes.push(Change::Lapsed);
        }
        let mut seen = BTreeMap::new();
        for part in rest.chunks_exact(3) {
            if let Some((node, age_ms, data)) = read(part)
                && node != self.own
                && seen.len() < NODES
            {
                let left_ms = NODE_DEAD_MS.checked_sub(age_ms).filter(|left_ms| *left_ms > 0);
                if let Some(left_ms) = left_ms {
                    // If it does not beat before, its death is told without delay.
                    self.beat_by(now_us + (left_ms + 1) * 1_000);
                }
                let lives = left_ms.is_some();
                // One that writes what cannot be read here lives all the same.
                let record = NodeRecord::decoded(data).unwrap_or_default();
                seen.insert(node, (lives, record));
            }
        }
        self.compare(seen, &mut changes);
        Ok(changes)
    }

    /// Takes over what was read, and notes how it differs from before.
    fn compare(&mut self, seen: BTreeMap<NodeId, (bool, NodeRecord)>, changes: &mut Vec<Change>) {
        for (node, known) in &self.others {
            if !known.lives {
                continue;
            }
            match seen.get(node) {
                Some((true, _)) => {}
                Some((false, _)) => changes.push(Change::Died(*node)),
                // Only who ends takes its record away before an hour is over.
                None => changes.push(Change::Left(*node, known.record.name.as_str().into())),
            }
        }
        let mut before = std::mem::take(&mut self.others);
        for (node, (lives, record)) in seen {
            let (lived, mut is_told) =
                before.remove(&node).map_or((false, false), |known| (known.lives, known.is_told));
            if lives && !lived {
                changes.push(Change::Appeared(node));
            }
            if lives && !is_told {
                let difference = if record.version != self.record.version {
                    Some(Change::OtherVersion(node))
                } else if record.fingerprint != self.record.fingerprint {
                    Some(Change::OtherConfiguration(node))
                } else {
                    None
                };
                is_told = difference.is_some();
                changes.extend(difference);
            }
            self.others.insert(node, Known { record, lives, is_told });
        }
        debug_assert!(self.others.len() <= NODES && !self.others.contains_key(&self.own));
    }

    /// This node.
    #[must_use]
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// The other nodes that live, with what they say of themselves.
    pub fn living(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        self.others.iter().filter(|(_, known)| known.lives).map(|(node, it)| (*node, &it.record))
    }

    /// What a node that is known, living or dead, said of itself last.
    #[must_use]
    pub fn record(&self, node: NodeId) -> Option<&NodeRecord> {
        self.others.get(&node).map(|known| &known.record)
    }

    /// Is it known that a node is dead? One that is not known may have begun a moment ago.
    #[must_use]
    pub fn is_dead(&self, node: NodeId) -> bool {
        self.others.get(&node).is_some_and(|known| !known.lives)
    }
}

/// A node of an answer: its name, the milliseconds since it beat, and its record; none if that
/// cannot be read.
fn read(part: &[Value]) -> Option<(NodeId, u64, &[u8])> {
    let [Value::Blob(name), Value::Integer(age_ms), Value::Blob(data)] = part else { return None };
    let node = NodeId::read(std::str::from_utf8(name).ok()?)?;
    Some((node, age_ms.unsigned_abs(), data))
}

#[cfg(test)]
mod tests;
