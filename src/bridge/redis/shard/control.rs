//! Questions to other nodes and theirs to this one: what Redis is asked for them, and its answers.

use super::{Asked, Event, Shard};
use crate::bridge::redis::control::{About, Entry, Incoming, Letter, Question, QuestionId};
use crate::bridge::redis::error::StoreError;
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::encode::Command;
use crate::bridge::redis::script::By;
use crate::contract::engine::{Answer, CallId, Failure};
use crate::contract::name::Name;
use crate::contract::user::SharedCommand;
use crate::contract::wire::NodeId;
use crate::limits::{CONTROL_ENTRIES, CONTROL_TRIMMED_BYTES, REDIS_CALL_US};

impl Shard {
    /// Begins to carry out a command on the other nodes that hold a user.
    pub(super) fn ask_others(
        &mut self,
        (worker, id): (usize, CallId),
        user: Name,
        what: SharedCommand,
    ) {
        if !self.may_send() {
            return self.say(worker, Answer::Failed { id, why: Failure::Away });
        }
        let nodes: Vec<NodeId> = self.directory.living().map(|(node, _)| node).collect();
        let deadline_us = self.now_us + REDIS_CALL_US;
        let of = (worker, id);
        let question = self.control.ask(of, (user.clone(), what), &nodes, deadline_us);
        // Nodes that have begun since the last beat are there as well.
        let keys = self.scripts.keys();
        self.commands.send(Asked::Nodes(question), self.now_us, |out| {
            let mut command = Command::new(out, 2);
            command.part(b"HKEYS");
            keys.push_nodes(&mut command);
        });
        self.look_up(question, &user, &nodes);
    }

    /// Asks Redis which of these nodes hold a user.
    fn look_up(&mut self, question: QuestionId, user: &Name, nodes: &[NodeId]) {
        for node in nodes {
            let keys = self.scripts.keys();
            self.commands.send(Asked::Holds(question, *node), self.now_us, |out| {
                let mut command = Command::new(out, 3);
                command.part(b"SISMEMBER");
                keys.push_users_of(&mut command, user.as_str(), *node);
                command.part(user.as_str().as_bytes());
            });
        }
    }

    pub(super) fn take_nodes(&mut self, id: QuestionId, value: &Value) {
        let names = match value {
            Value::Array(names) => &names[..],
            other => {
                let _ = self.judge(&StoreError::of(other));
                &[]
            }
        };
        let read = |name: &Value| {
            let Value::Blob(name) = name else { return None };
            NodeId::read(std::str::from_utf8(name).ok()?)
        };
        let is_dead = |node: &NodeId| self.directory.is_dead(*node);
        let nodes: Vec<NodeId> = names.iter().filter_map(read).filter(|it| !is_dead(it)).collect();
        let more = self.control.take_nodes(id, &nodes);
        if let Some(user) = self.control.question(id).map(|question| question.user.clone()) {
            self.look_up(id, &user, &more);
        }
        self.end_question(id);
    }

    pub(super) fn take_holder(&mut self, id: QuestionId, node: NodeId, value: &Value) {
        let holds = match value {
            Value::Integer(number) => *number != 0,
            other => {
                let _ = self.judge(&StoreError::of(other));
                // It is not known, so it is asked.
                true
            }
        };
        let deadline_ms = (self.started_us + self.now_us + REDIS_CALL_US) / 1_000;
        self.control.take_holder(id, node, holds, deadline_ms);
        self.end_question(id);
    }

    /// Answers a question that is over.
    fn end_question(&mut self, id: QuestionId) {
        if let Some(question) = self.control.take_answered(id) {
            self.answer_question(&question);
        }
    }

    /// A node has ended: nothing takes effect there any more.
    pub(super) fn wait_no_more_for(&mut self, node: NodeId) {
        for id in self.control.gone(node) {
            self.end_question(id);
        }
    }

    fn answer_question(&mut self, question: &Question) {
        let missing = self.names(question.missing());
        let answer = Answer::UserTold { id: question.call, missing };
        self.say(question.worker, answer);
    }

    /// The connection is no more: what Redis was asked about users and nodes comes to nothing.
    pub(super) fn strand_control(&mut self) {
        for (worker, id) in self.users.lost() {
            self.say(worker, Answer::Failed { id, why: Failure::Lost });
        }
        for Question { worker, call: id, .. } in self.control.lost() {
            self.say(worker, Answer::Failed { id, why: Failure::Lost });
        }
        for (worker, number) in self.lists.lost() {
            self.say_not_listed(worker, number, Failure::Lost);
        }
    }

    /// Gives up the questions whose time is over.
    pub(super) fn end_questions(&mut self) {
        while let Some(question) = self.control.take_overdue(self.now_us) {
            self.answer_question(&question);
        }
    }

    /// Puts messages, and the wish to read those of others, into bytes.
    pub(super) fn fill_control(&mut self) {
        while let Some(letter) = self.control.take_letter() {
            let scripts = &self.scripts;
            let (to, data) = (letter.to, letter.data.clone());
            self.commands.send(Asked::Tell(Box::new(letter)), self.now_us, |out| {
                scripts.tell(out, By::Digest, to, &data);
            });
        }
        let (own, keys) = (self.node, self.scripts.keys());
        if let Some(last) = self.control.take_read() {
            self.commands.send(Asked::Control, self.now_us, |out| {
                let mut command = Command::new(out, 6);
                command.part(b"XRANGE");
                keys.push_control(&mut command, own);
                command.joined(&[b"(", last.as_bytes()]).part(b"+");
                command.part(b"COUNT").number(CONTROL_ENTRIES as u64);
            });
        }
    }

    pub(super) fn told(&mut self, letter: Letter, value: &Value) {
        if matches!(value, Value::Blob(_)) {
            if let About::Part(number) = letter.about {
                self.lists.told(number, true);
                self.turn_lists();
            }
            return;
        }
        match self.judge(&StoreError::of(value)) {
            super::replies::Verdict::Again => self.control.send_again(letter),
            super::replies::Verdict::Unknown | super::replies::Verdict::Refused => {
                self.not_told(&letter);
            }
        }
    }

    /// Redis did not take a message.
    fn not_told(&mut self, letter: &Letter) {
        match letter.about {
            About::Question(id) => {
                self.control.not_asked(id, letter.to);
                self.end_question(id);
            }
            About::List(list) => self.lists.not_asked(list, letter.to),
            About::Part(number) => self.lists.told(number, false),
            About::Done => {}
        }
        self.turn_lists();
    }

    /// Takes in what other nodes have left.
    pub(super) fn take_control(&mut self, value: &Value) {
        let Value::Array(entries) = value else {
            self.control.not_read();
            let _ = self.judge(&StoreError::of(value));
            return;
        };
        let mut bytes = 0;
        for entry in entries {
            let Some((id, data)) = message(entry) else {
                self.note(Event::Unreadable("a message of another node".into()));
                continue;
            };
            let now_ms = (self.started_us + self.now_us) / 1_000;
            match self.control.take_entry(id, data, now_ms) {
                Some(Entry::Command(Incoming { number, user, what })) => {
                    let worker = self.homes.of(user.as_str());
                    self.say(worker, Answer::Command { number, user, what });
                }
                Some(Entry::Answer(id)) => self.end_question(id),
                Some(Entry::List { of, pattern, deadline_ms }) => {
                    self.want_list(of, &pattern, deadline_ms);
                }
                Some(Entry::Part { list, from, part }) => self.take_part(list, from, part),
                None => {}
            }
            bytes += data.len();
        }
        self.control.read(entries.len() == CONTROL_ENTRIES);
        self.turn_lists();
        if bytes > CONTROL_TRIMMED_BYTES {
            self.trim_control();
        }
    }

    /// Has Redis forget the messages that were read, but for the last.
    fn trim_control(&mut self) {
        let (own, keys) = (self.node, self.scripts.keys());
        let last = self.control.last();
        self.commands.send(Asked::Trim, self.now_us, |out| {
            let mut command = Command::new(out, 4);
            command.part(b"XTRIM");
            keys.push_control(&mut command, own);
            command.part(b"MINID").part(last.as_bytes());
        });
    }
}

/// An entry's id, and its one field.
fn message(entry: &Value) -> Option<(&str, &[u8])> {
    let Value::Array(parts) = entry else { return None };
    let [Value::Blob(id), Value::Array(fields)] = &parts[..] else { return None };
    let [_, Value::Blob(data)] = &fields[..] else { return None };
    Some((std::str::from_utf8(id).ok()?, data))
}
