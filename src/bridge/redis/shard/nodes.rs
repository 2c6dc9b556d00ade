//! The node's beat, and what the beats of others show.

use super::{Asked, Event, Shard};
use crate::bridge::redis::directory::{Change, Directory, NodeRecord};
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::script::By;
use crate::contract::engine::{Answer, CallId};
use crate::contract::wire::NodeId;

impl Shard {
    /// The nodes that share this Redis, as they were at the last beat.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Is the node to say of itself what there is to say? Then `beat` has to follow.
    #[must_use]
    pub fn wants_beat(&self) -> bool {
        let may_send = self.may_send() && !self.is_leaving();
        may_send && self.now_us >= self.paused_until_us && self.directory.is_due(self.now_us)
    }

    /// Tells Redis that this node lives, and what it says of itself.
    ///
    /// # Panics
    /// If `wants_beat` is false.
    pub fn beat(&mut self, record: NodeRecord) {
        assert!(self.wants_beat(), "a node beats when it is time");
        let (own, record) = (self.node, self.directory.beat(record, self.now_us));
        let scripts = &self.scripts;
        self.commands.send(Asked::Lease, self.now_us, |out| {
            scripts.lease(out, By::Digest, own, &record);
        });
        self.renew_users();
        self.control.rung();
    }

    /// Tells a home of the other nodes, as they were at the last beat.
    pub(super) fn tell_nodes(&mut self, worker: usize, id: CallId) {
        let nodes = self.directory.living().map(|(_, record)| record.info()).collect();
        self.say(worker, Answer::Nodes { id, nodes });
    }

    /// When the next beat is due.
    pub(super) fn beat_due_us(&self) -> Option<u64> {
        let may_send = self.may_send() && !self.is_leaving();
        let due_us = self.directory.deadline_us().filter(|_| may_send)?;
        Some(due_us.max(self.paused_until_us))
    }

    /// What a beat was answered with.
    pub(super) fn take_lease(&mut self, value: &Value) {
        match self.directory.answered(value, self.now_us) {
            Ok(changes) => changes.into_iter().for_each(|change| self.note_change(&change)),
            Err(error) => {
                self.directory.missed(self.now_us);
                // It is tried again in any case.
                let _ = self.judge(&error);
            }
        }
    }

    fn note_change(&mut self, change: &Change) {
        let news = match change {
            Change::Appeared(node) => Some(Answer::Node { node: *node, lives: true }),
            Change::Died(node) | Change::Left(node, _) => {
                Some(Answer::Node { node: *node, lives: false })
            }
            // What it noted may have expired meanwhile.
            Change::Lapsed => Some(Answer::Forgotten),
            Change::OtherVersion(_) | Change::OtherConfiguration(_) => None,
        };
        self.news.extend(news);
        if let Change::Left(node, _) = change {
            self.wait_no_more_for(*node);
        }
        let name = |node: NodeId| {
            let record = self.directory.record(node);
            Box::from(record.map_or("", |record| record.name.as_str()))
        };
        let event = match change {
            Change::Appeared(node) => Event::NodeAppeared(name(*node)),
            Change::Died(node) => Event::NodeDied(name(*node)),
            Change::Left(_, name) => Event::NodeLeft(name.clone()),
            Change::Lapsed => Event::Lapsed,
            Change::OtherVersion(node) => {
                let record = self.directory.record(*node);
                let version = record.map_or("", |record| record.version.as_str()).into();
                Event::OtherVersion { name: name(*node), version }
            }
            Change::OtherConfiguration(node) => Event::OtherConfiguration(name(*node)),
        };
        self.note(event);
    }
}
