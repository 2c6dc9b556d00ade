//! Lists of channels over nodes: from homes to messages and back.

use super::{Event, Shard};
use crate::bridge::redis::control::About;
use crate::bridge::redis::lists::{Gathered, ListId, Step, Wanted};
use crate::bridge::redis::message::{Ask, Message, Part, Reply};
use crate::contract::engine::{Answer, Failure};
use crate::contract::listing::{ChannelsPart, Pattern};
use crate::contract::wire::NodeId;

impl Shard {
    /// Begins to list what other nodes have.
    pub(super) fn ask_channels(&mut self, worker: usize, number: u64, pattern: Box<str>) {
        if !self.may_send() {
            return self.say_not_listed(worker, number, Failure::Away);
        }
        if !self.lists.ask((worker, number), pattern, self.now_us) {
            let names = self.names(self.directory.living().map(|(node, _)| node));
            self.note(Event::NotListed(names));
            return self.say_not_listed(worker, number, Failure::Refused);
        }
        self.turn_lists();
    }

    /// A home has listed a part, for another node.
    pub(super) fn take_listed(&mut self, number: ListId, part: &ChannelsPart) {
        self.lists.listed(number, part);
        self.turn_lists();
    }

    /// Another node asks which channels are here. A pattern that cannot be read is one of a newer
    /// version, which finds that this node is missing.
    pub(super) fn want_list(&mut self, (asker, list): (NodeId, u64), pattern: &str, until_ms: u64) {
        let Some(pattern) = Pattern::read(pattern) else { return };
        let deadline_us = until_ms.saturating_mul(1_000).saturating_sub(self.started_us);
        self.lists.want(Wanted { asker, list, pattern, deadline_us });
    }

    pub(super) fn take_part(&mut self, list: ListId, from: NodeId, part: Part) {
        self.lists.take_part(list, from, part, self.now_us);
    }

    /// Does what there is to do for lists.
    pub(super) fn turn_lists(&mut self) {
        if self.lists.is_idle() {
            return;
        }
        let living: Vec<NodeId> = self.directory.living().map(|(node, _)| node).collect();
        while let Some((list, pattern, deadline_us)) = self.lists.begin(&living, self.now_us) {
            let deadline_ms = (self.started_us + deadline_us) / 1_000;
            for node in &living {
                let ask = Some(Ask::Channels { pattern: pattern.clone().into() });
                let message = Message { question: list, deadline_ms, ask, ..Message::default() };
                if !self.control.write(*node, message, About::List(list)) {
                    self.lists.not_asked(list, *node);
                }
            }
        }
        while let Some(gathered) = self.lists.take_gathered(&living, self.now_us) {
            self.answer_gathered(gathered);
        }
        while let Some(step) = self.lists.step(self.now_us) {
            match step {
                Step::Ask { worker, number, from } => {
                    self.say(worker, Answer::List { number, from });
                }
                Step::Tell { number, to, list, part } => {
                    let answer = Some(Reply::Channels(part));
                    let message = Message { question: list, answer, ..Message::default() };
                    if !self.control.write(to, message, About::Part(number)) {
                        self.lists.told(number, false);
                    }
                }
            }
        }
    }

    fn answer_gathered(&mut self, gathered: Gathered) {
        let Gathered { worker, number, channels, missing } = gathered;
        let Some(channels) = channels else {
            return self.say_not_listed(worker, number, Failure::Over);
        };
        if !missing.is_empty() {
            let names = self.names(missing.into_iter());
            self.note(Event::NotListed(names));
        }
        self.say(worker, Answer::Channels { number, channels: Ok(Box::new(channels)) });
    }

    /// A list came to nothing.
    pub(super) fn say_not_listed(&mut self, worker: usize, number: u64, why: Failure) {
        self.say(worker, Answer::Channels { number, channels: Err(why) });
    }

    /// The names of nodes.
    pub(super) fn names(&self, nodes: impl Iterator<Item = NodeId>) -> Box<str> {
        let name = |node: NodeId| match self.directory.record(node) {
            Some(record) if !record.name.is_empty() => record.name.clone(),
            _ => node.text(),
        };
        nodes.map(name).collect::<Vec<_>>().join(", ").into()
    }
}
