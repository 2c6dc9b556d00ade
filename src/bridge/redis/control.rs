//! What this node asks of others and they of it, by messages in a stream that each node has.
//!
//! A node reads its own whenever it is rung, and with every beat, with which every connection
//! begins: so a ring that is lost delays a message and loses none. Must not know commands' effects,
//! bytes or sockets. Invariants: a question is answered once, when all who have to have answered,
//! or at its deadline; a message is taken once, by its sender and number; few commands of others
//! are under way at once, and the rest waits in Redis.

use super::message::{Ask, Command, Message, Part, Reply};
use crate::contract::engine::CallId;
use crate::contract::name::Name;
use crate::contract::user::SharedCommand;
use crate::contract::wire::NodeId;
use crate::limits::{CONTROL_COMMANDS, CONTROL_LETTERS, NODES};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Counts the questions of this node.
pub type QuestionId = u64;

/// A command that other nodes are to carry out.
#[derive(Debug)]
pub struct Question {
    pub worker: usize,
    pub call: CallId,
    pub user: Name,
    what: SharedCommand,
    deadline_us: u64,
    /// Answers of Redis that are to come, about who holds the user.
    lookups: usize,
    /// Nodes of which Redis was asked whether they hold the user.
    looked: BTreeSet<NodeId>,
    /// Nodes that have not answered.
    waits: BTreeSet<NodeId>,
    /// Nodes that have said that it did not take effect, or could not be told.
    failed: BTreeSet<NodeId>,
}

impl Question {
    /// The nodes of which it is not known whether it took effect there.
    pub fn missing(&self) -> impl Iterator<Item = NodeId> {
        self.waits.union(&self.failed).copied()
    }
}

/// A message on its way to a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// Of this node's messages; they are sent in this order.
    number: u64,
    pub to: NodeId,
    pub data: Vec<u8>,
    pub about: About,
}

/// Who has to know when a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It asks this question.
    Question(QuestionId),
    /// It answers that a command is over, and who asks finds that by itself.
    Done,
    /// It asks for this list of channels.
    List(u64),
    /// It is a part of this list, for another node.
    Part(u64),
}

/// Which messages of a node were taken.
#[derive(Clone, Copy, Debug)]
struct Seen {
    highest: u64,
    /// Of those before it, a bit each, the nearest first.
    before: u128,
}

impl Seen {
    /// Is this one new? One far below the highest is none.
    fn take(&mut self, number: u64) -> bool {
        if let Some(ahead) = number.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            let shift = |by: u64| u32::try_from(by).ok();
            let moved = shift(ahead).and_then(|by| self.before.checked_shl(by)).unwrap_or(0);
            let own = shift(ahead - 1).and_then(|by| 1_u128.checked_shl(by)).unwrap_or(0);
            (self.highest, self.before) = (number, moved | own);
            return true;
        }
        let bit = self
            .highest
            .checked_sub(number.saturating_add(1))
            .and_then(|by| u32::try_from(by).ok());
        let bit = bit.and_then(|by| 1_u128.checked_shl(by)).unwrap_or(0);
        let is_new = bit != 0 && self.before & bit == 0;
        self.before |= bit;
        is_new
    }
}

/// A command of another node for a user of this one.
#[derive(Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Names it in `command_done`.
    pub number: u64,
    pub user: Name,
    pub what: SharedCommand,
}

/// See the module's page.
#[derive(Debug)]
pub struct Control {
    own: NodeId,
    questions: BTreeMap<QuestionId, Question>,
    asked: QuestionId,
    /// Messages of this node so far.
    written: u64,
    letters: VecDeque<Letter>,
    /// Commands of others that are under way, with who asked and the number of the question there.
    commands: BTreeMap<u64, (NodeId, u64)>,
    taken: u64,
    seen: BTreeMap<NodeId, Seen>,
    /// The id of the last entry that was read.
    last: Box<str>,
    must_read: bool,
    is_reading: bool,
}

/// Before every entry.
const BEGIN: &str = "0-0";

impl Control {
    #[must_use]
    pub fn new(own: NodeId) -> Control {
        Control {
            own,
            questions: BTreeMap::new(),
            asked: 0,
            written: 0,
            letters: VecDeque::new(),
            commands: BTreeMap::new(),
            taken: 0,
            seen: BTreeMap::new(),
            last: BEGIN.into(),
            must_read: false,
            is_reading: false,
        }
    }

    /// Begins a question. Then it has to be looked up which nodes there are, and whether each of
    /// `nodes` holds the user.
    pub fn ask(
        &mut self,
        (worker, call): (usize, CallId),
        (user, what): (Name, SharedCommand),
        nodes: &[NodeId],
        deadline_us: u64,
    ) -> QuestionId {
        self.asked += 1;
        let question = Question {
            worker,
            call,
            user,
            what,
            deadline_us,
            lookups: 1 + nodes.len(),
            looked: nodes.iter().copied().collect(),
            waits: BTreeSet::new(),
            failed: BTreeSet::new(),
        };
        self.questions.insert(self.asked, question);
        self.asked
    }

    /// A question that is not answered.
    #[must_use]
    pub fn question(&self, id: QuestionId) -> Option<&Question> {
        self.questions.get(&id)
    }

    /// These nodes have beaten at some time: gives those that were not looked up yet, and have to
    /// be.
    pub fn take_nodes(&mut self, id: QuestionId, nodes: &[NodeId]) -> Vec<NodeId> {
        let own = self.own;
        let Some(question) = self.questions.get_mut(&id) else { return Vec::new() };
        question.lookups -= 1;
        let is_new = |node: &NodeId| *node != own && !question.looked.contains(node);
        let more: Vec<NodeId> = nodes.iter().copied().filter(is_new).collect();
        question.lookups += more.len();
        question.looked.extend(&more);
        more
    }

    /// Redis has said whether a node holds the user: one that does is asked, for an answer by
    /// `deadline_ms`.
    pub fn take_holder(&mut self, id: QuestionId, node: NodeId, holds: bool, deadline_ms: u64) {
        let Some(question) = self.questions.get_mut(&id) else { return };
        debug_assert!(question.lookups > 0, "one answer for each that was looked up");
        question.lookups = question.lookups.saturating_sub(1);
        if !holds {
            return;
        }
        question.waits.insert(node);
        let command = Command::from(&*question.what);
        let user = question.user.as_str().to_owned();
        let ask = Some(Ask::User { user, command });
        let message = Message { question: id, deadline_ms, ask, ..Message::default() };
        if !self.write(node, message, About::Question(id)) {
            self.not_asked(id, node);
        }
    }

    /// Writes a message to a node; false: too many wait to be sent.
    pub fn write(&mut self, to: NodeId, message: Message, about: About) -> bool {
        if self.letters.len() >= CONTROL_LETTERS {
            return false;
        }
        self.written += 1;
        let message = Message { from: self.own.text(), number: self.written, ..message };
        let (number, data) = (self.written, message.encoded());
        self.letters.push_back(Letter { number, to, data, about });
        true
    }

    /// The next message to send.
    pub fn take_letter(&mut self) -> Option<Letter> {
        self.letters.pop_front()
    }

    /// A message may have been lost with its connection: it is sent again, and who has it twice
    /// takes it once.
    pub fn send_again(&mut self, letter: Letter) {
        let earlier = |it: &Letter| it.number < letter.number;
        let place = self.letters.partition_point(earlier);
        self.letters.insert(place, letter);
    }

    /// A node could not be asked a question.
    pub fn not_asked(&mut self, id: QuestionId, node: NodeId) {
        if let Some(question) = self.questions.get_mut(&id)
            && question.waits.remove(&node)
        {
            question.failed.insert(node);
        }
    }

    /// A node has ended: gives the questions that waited for it, and do not any more.
    pub fn gone(&mut self, node: NodeId) -> Vec<QuestionId> {
        let waited = self.questions.iter_mut().filter(|(_, it)| it.waits.contains(&node));
        let waited = waited.map(|(id, question)| {
            question.waits.remove(&node);
            *id
        });
        waited.collect()
    }

    /// Takes a question that has all of its answers.
    pub fn take_answered(&mut self, id: QuestionId) -> Option<Question> {
        let question = self.questions.get(&id)?;
        let is_over = question.lookups == 0 && question.waits.is_empty();
        if is_over { self.questions.remove(&id) } else { None }
    }

    /// Takes a question whose time is over.
    pub fn take_overdue(&mut self, now_us: u64) -> Option<Question> {
        let entry = self.questions.first_entry()?;
        (entry.get().deadline_us <= now_us).then(|| entry.remove())
    }

    /// When the first question's time is over.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        self.questions.first_key_value().map(|(_, question)| question.deadline_us)
    }

    /// The connection is no more: gives the questions that Redis was asked about. What was sent is
    /// answered by the next one.
    pub fn lost(&mut self) -> Vec<Question> {
        // The next connection begins with a beat, and that with a read.
        self.is_reading = false;
        let is_looked_up = |question: &Question| question.lookups > 0;
        let ids = self.questions.iter().filter(|(_, it)| is_looked_up(it)).map(|(id, _)| *id);
        let ids: Vec<QuestionId> = ids.collect();
        ids.into_iter().filter_map(|id| self.questions.remove(&id)).collect()
    }

    /// Redis is another than before: its streams begin anew.
    pub fn forgotten(&mut self) {
        self.last = BEGIN.into();
    }

    /// There may be something to read.
    pub fn rung(&mut self) {
        self.must_read = true;
    }

    /// After which entry is to be read now? Then `read` follows, or `not_read`.
    pub fn take_read(&mut self) -> Option<&str> {
        if !self.must_read || self.is_reading || self.commands.len() >= CONTROL_COMMANDS {
            return None;
        }
        self.must_read = false;
        self.is_reading = true;
        Some(&self.last)
    }

    /// The entry that was read last.
    #[must_use]
    pub fn last(&self) -> &str {
        &self.last
    }

    /// What was to be read could not be: it is tried at the next ring or beat.
    pub fn not_read(&mut self) {
        self.is_reading = false;
    }

    /// All that a read brought was taken in; `more` may be there.
    pub fn read(&mut self, more: bool) {
        debug_assert!(self.is_reading, "nothing was read");
        self.is_reading = false;
        self.must_read |= more;
    }

    /// Takes in an entry: gives a command to be carried out, or a question that may be over.
    pub fn take_entry(&mut self, id: &str, data: &[u8], now_ms: u64) -> Option<Entry> {
        self.last = id.into();
        let message = Message::decoded(data)?;
        let from = NodeId::read(&message.from)?;
        if !self.take_once(from, message.number) {
            return None;
        }
        match (message.ask, message.answer) {
            (Some(Ask::User { user, command }), _) if now_ms < message.deadline_ms => {
                let what = command.command()?;
                self.taken += 1;
                self.commands.insert(self.taken, (from, message.question));
                let user = Name::from(user.as_str());
                Some(Entry::Command(Incoming { number: self.taken, user, what }))
            }
            (Some(Ask::Channels { pattern }), _) if now_ms < message.deadline_ms => {
                let (of, deadline_ms) = ((from, message.question), message.deadline_ms);
                Some(Entry::List { of, pattern, deadline_ms })
            }
            // Nobody waits for it any more.
            (Some(Ask::User { .. } | Ask::Channels { .. }), _) => None,
            (None, Some(Reply::Channels(part))) => {
                Some(Entry::Part { list: message.question, from, part })
            }
            (None, Some(Reply::Done { took_effect })) => {
                let question = self.questions.get_mut(&message.question)?;
                if question.waits.remove(&from) && !took_effect {
                    question.failed.insert(from);
                }
                Some(Entry::Answer(message.question))
            }
            (None, None) => None,
        }
    }

    /// Takes a message, by its number; false: it is a copy of one that was taken.
    fn take_once(&mut self, from: NodeId, number: u64) -> bool {
        if let Some(seen) = self.seen.get_mut(&from) {
            return seen.take(number);
        }
        if self.seen.len() >= NODES {
            // Far more than live at once: whoever was first in the table is as good as any.
            self.seen.pop_first();
        }
        self.seen.insert(from, Seen { highest: number, before: 0 });
        true
    }

    /// A command of another node is over here.
    pub fn command_done(&mut self, number: u64, took_effect: bool) {
        let Some((node, question)) = self.commands.remove(&number) else {
            return debug_assert!(false, "command {number} is over twice");
        };
        let answer = Some(Reply::Done { took_effect });
        // Where it is not sent, the node waits until its time is over.
        let _ = self.write(node, Message { question, answer, ..Message::default() }, About::Done);
    }
}

/// What an entry was.
#[derive(Debug, PartialEq)]
pub enum Entry {
    Command(Incoming),
    /// This question may be over.
    Answer(QuestionId),
    /// A node asks for its list of this number.
    List {
        of: (NodeId, u64),
        pattern: String,
        deadline_ms: u64,
    },
    /// A node answers what this one has asked for this list.
    Part {
        list: u64,
        from: NodeId,
        part: Part,
    },
}

#[cfg(test)]
mod tests;
