//! Lists of channels over nodes: what this node asks of others, and what they ask of it.
//!
//! A node that is asked goes through its homes part by part, and tells what matches in messages of
//! a bounded size, each when Redis has taken the one before. Must not know messages, bytes or
//! sockets. Invariants: a list that is asked for is answered once, with what has come by its
//! deadline; few lists are under way at once on either side; what is held of one is bounded.

use super::message::Part;
use crate::contract::listing::{ChannelCounts, ChannelsPart, ListCursor, Pattern};
use crate::contract::wire::NodeId;
use crate::limits::{
    API_ANSWER_BYTES, LIST_PART_BYTES, LIST_QUIET_US, LISTS_UNDER_WAY, LISTS_WAITING, REDIS_CALL_US,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Counts the lists of this node, and those that others ask of it.
pub type ListId = u64;

/// Bytes of the result of `channels` that a channel takes beside its name, at least:
/// `"":{"num_clients":1},`.
const RESULT_BYTES: usize = 21;

/// A list that a home wants.
#[derive(Debug)]
struct Call {
    worker: usize,
    /// The number of the list there.
    number: ListId,
    pattern: Box<str>,
    deadline_us: u64,
}

/// A list that other nodes were asked for.
#[derive(Debug)]
struct Gathering {
    call: Call,
    /// Nodes that have not told all: the number of the next part, and until when it has to come.
    waits: BTreeMap<NodeId, (u32, u64)>,
    /// Nodes that did not tell all in time.
    missing: BTreeSet<NodeId>,
    channels: BTreeMap<Box<str>, u32>,
    /// Bytes that the result has at least.
    bytes: usize,
    /// A node has more than may be answered.
    is_too_large: bool,
}

/// A list that is over, for the home that asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered {
    pub worker: usize,
    /// The number of the list there.
    pub number: ListId,
    /// None where it is too large.
    pub channels: Option<ChannelCounts>,
    pub missing: BTreeSet<NodeId>,
}

/// A list that another node asks for.
#[derive(Debug)]
pub struct Wanted {
    pub asker: NodeId,
    /// The number of the list there.
    pub list: ListId,
    pub pattern: Pattern,
    pub deadline_us: u64,
}

/// What a walk waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Nothing,
    /// A part of a home.
    Home,
    /// Redis, which is to take a message.
    Redis,
}

/// A list of another node, under way through the homes of this one.
#[derive(Debug)]
struct Walk {
    wanted: Wanted,
    waits: Waits,
    worker: usize,
    from: ListCursor,
    /// What was found and is not told.
    found: VecDeque<(String, u32)>,
    /// Bytes of that.
    found_bytes: usize,
    /// Bytes that the whole result has at least.
    bytes: usize,
    /// Parts that were told.
    told: u32,
}

/// What is to be done for a list of another node.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Ask a home for a part.
    Ask { worker: usize, number: ListId, from: ListCursor },
    /// Tell the node that asks. After that the list may be over.
    Tell { number: ListId, to: NodeId, list: ListId, part: Part },
}

/// See the module's page.
#[derive(Debug)]
pub struct Lists {
    workers: usize,
    /// Counts lists of both sides.
    numbers: ListId,
    /// Lists of this node that are under way.
    gathering: BTreeMap<ListId, Gathering>,
    /// Those that have not begun.
    waiting: VecDeque<Call>,
    walks: BTreeMap<ListId, Walk>,
    wanted: VecDeque<Wanted>,
}

impl Lists {
    /// Of a node with so many homes.
    #[must_use]
    pub fn new(workers: usize) -> Lists {
        Lists {
            workers,
            numbers: 0,
            gathering: BTreeMap::new(),
            waiting: VecDeque::new(),
            walks: BTreeMap::new(),
            wanted: VecDeque::new(),
        }
    }

    /// Is there nothing to do, and nothing to wait for?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_asking = !self.gathering.is_empty() || !self.waiting.is_empty();
        !is_asking && self.walks.is_empty() && self.wanted.is_empty()
    }

    /// Lists of this node that are not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.gathering.len() + self.waiting.len()
    }

    /// A home asks what other nodes have, which begins when `begin` says so. False: too many wait.
    pub fn ask(
        &mut self,
        (worker, number): (usize, ListId),
        pattern: Box<str>,
        now_us: u64,
    ) -> bool {
        let has_room = self.waiting.len() < LISTS_WAITING;
        if has_room {
            let deadline_us = now_us + REDIS_CALL_US;
            self.waiting.push_back(Call { worker, number, pattern, deadline_us });
        }
        has_room
    }

    /// Begins the next list of this node, which these are to be asked for: its number, its pattern,
    /// and until when it is answered.
    pub fn begin(&mut self, nodes: &[NodeId], now_us: u64) -> Option<(ListId, Box<str>, u64)> {
        if self.gathering.len() >= LISTS_UNDER_WAY {
            return None;
        }
        let call = self.waiting.pop_front()?;
        let (pattern, deadline_us) = (call.pattern.clone(), call.deadline_us);
        let list = Gathering {
            call,
            waits: nodes.iter().map(|node| (*node, (0, now_us + LIST_QUIET_US))).collect(),
            missing: BTreeSet::new(),
            channels: BTreeMap::new(),
            bytes: 0,
            is_too_large: false,
        };
        self.numbers += 1;
        self.gathering.insert(self.numbers, list);
        Some((self.numbers, pattern, deadline_us))
    }

    /// A node could not be asked.
    pub fn not_asked(&mut self, id: ListId, node: NodeId) {
        if let Some(list) = self.gathering.get_mut(&id) {
            list.gave_up(node);
        }
    }

    /// Another node tells what it has.
    pub fn take_part(&mut self, id: ListId, from: NodeId, part: Part, now_us: u64) {
        if let Some(list) = self.gathering.get_mut(&id) {
            list.take(from, part, now_us);
        }
    }

    /// The next list of this node that is over; one whose time is over before it began lacks all
    /// who live.
    pub fn take_gathered(&mut self, living: &[NodeId], now_us: u64) -> Option<Gathered> {
        if let Some(call) = self.waiting.pop_front_if(|call| call.deadline_us <= now_us) {
            let missing = living.iter().copied().collect();
            let channels = Some(ChannelCounts::default());
            return Some(Gathered { worker: call.worker, number: call.number, channels, missing });
        }
        self.gathering.values_mut().for_each(|list| list.give_up_quiet(now_us));
        let is_over = |(_, list): &(&ListId, &Gathering)| {
            list.waits.is_empty() || list.is_too_large || list.call.deadline_us <= now_us
        };
        let id = self.gathering.iter().find(is_over).map(|(id, _)| *id)?;
        let Gathering { call, waits, mut missing, channels, is_too_large, .. } =
            self.gathering.remove(&id)?;
        missing.extend(waits.into_keys());
        let mut counts = ChannelCounts::default();
        for (name, clients) in channels.iter().filter(|_| !is_too_large) {
            counts.push(name, *clients);
        }
        let channels = (!is_too_large).then_some(counts);
        Some(Gathered { worker: call.worker, number: call.number, channels, missing })
    }

    /// The connection is no more: gives who asked for lists, which come to nothing.
    pub fn lost(&mut self) -> Vec<(usize, ListId)> {
        let begun = std::mem::take(&mut self.gathering).into_values().map(|list| list.call);
        let waiting = std::mem::take(&mut self.waiting);
        begun.chain(waiting).map(|call| (call.worker, call.number)).collect()
    }

    /// Another node asks. With more than wait already nothing is done, and this node is missing
    /// there.
    pub fn want(&mut self, wanted: Wanted) {
        if self.wanted.len() < LISTS_WAITING {
            self.wanted.push_back(wanted);
        }
    }

    /// A home's part of a list has come. It may be over meanwhile.
    pub fn listed(&mut self, number: ListId, part: &ChannelsPart) {
        let Some(walk) = self.walks.get_mut(&number) else { return };
        if walk.waits != Waits::Home {
            return;
        }
        walk.waits = Waits::Nothing;
        for (name, clients) in &part.channels {
            let name = name.as_str();
            if walk.wanted.pattern.matches(name) {
                walk.found_bytes += name.len() + RESULT_BYTES;
                walk.bytes += name.len() + RESULT_BYTES;
                walk.found.push_back((name.to_owned(), *clients));
            }
        }
        walk.from = part.next.unwrap_or_default();
        walk.worker += usize::from(part.next.is_none());
    }

    /// Redis has taken a list's message, or will not.
    pub fn told(&mut self, number: ListId, is_taken: bool) {
        if !is_taken {
            self.walks.remove(&number);
        } else if let Some(walk) = self.walks.get_mut(&number) {
            walk.waits = Waits::Nothing;
        }
    }

    /// The next thing to do for lists of other nodes.
    pub fn step(&mut self, now_us: u64) -> Option<Step> {
        self.walks.retain(|_, walk| walk.wanted.deadline_us > now_us);
        while self.walks.len() < LISTS_UNDER_WAY
            && let Some(wanted) = self.wanted.pop_front()
        {
            if wanted.deadline_us > now_us {
                self.numbers += 1;
                self.walks.insert(self.numbers, Walk::new(wanted));
            }
        }
        let workers = self.workers;
        let is_idle = |(_, walk): &(&ListId, &mut Walk)| walk.waits == Waits::Nothing;
        let (number, walk) = self.walks.iter_mut().find(is_idle)?;
        let number = *number;
        let (step, is_over) = walk.step(number, workers);
        if is_over {
            self.walks.remove(&number);
        }
        Some(step)
    }

    /// When something is over by itself.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        let quiet = self.gathering.values().flat_map(|list| list.waits.values().map(|it| it.1));
        let begun = self.gathering.values().map(|list| &list.call);
        let whole = begun.chain(self.waiting.front()).map(|call| call.deadline_us);
        let walks = self.walks.values().map(|walk| walk.wanted.deadline_us);
        quiet.chain(whole).chain(walks).min()
    }
}

impl Gathering {
    fn take(&mut self, from: NodeId, part: Part, now_us: u64) {
        let Some((next, until_us)) = self.waits.get_mut(&from) else { return };
        if *next != part.number || part.is_too_large {
            self.is_too_large |= part.is_too_large;
            return self.gave_up(from);
        }
        (*next, *until_us) = (*next + 1, now_us + LIST_QUIET_US);
        if part.is_last {
            self.waits.remove(&from);
        }
        for (name, clients) in part.channels {
            if clients == 0 {
                continue;
            }
            let length = name.len();
            let known = self.channels.entry(name.into()).or_insert(0);
            if *known == 0 {
                self.bytes += length + RESULT_BYTES;
            }
            *known = known.saturating_add(clients);
        }
        if self.bytes > API_ANSWER_BYTES {
            self.is_too_large = true;
        }
    }

    fn gave_up(&mut self, node: NodeId) {
        if self.waits.remove(&node).is_some() {
            self.missing.insert(node);
        }
    }

    /// Waits no more for nodes of which nothing was heard for long.
    fn give_up_quiet(&mut self, now_us: u64) {
        let missing = &mut self.missing;
        self.waits.retain(|node, (_, until_us)| {
            let is_quiet = *until_us <= now_us;
            if is_quiet {
                missing.insert(*node);
            }
            !is_quiet
        });
    }
}

impl Walk {
    fn new(wanted: Wanted) -> Walk {
        Walk {
            wanted,
            waits: Waits::Nothing,
            worker: 0,
            from: ListCursor::default(),
            found: VecDeque::new(),
            found_bytes: 0,
            bytes: 0,
            told: 0,
        }
    }

    /// What is to be done next, and whether the list is over then.
    fn step(&mut self, number: ListId, workers: usize) -> (Step, bool) {
        let is_too_large = self.bytes > API_ANSWER_BYTES;
        let is_whole = self.worker >= workers;
        if !is_too_large && !is_whole && self.found_bytes < LIST_PART_BYTES {
            self.waits = Waits::Home;
            return (Step::Ask { worker: self.worker, number, from: self.from }, false);
        }
        let mut part = Part { number: self.told, is_too_large, ..Part::default() };
        let mut bytes = 0;
        while !is_too_large
            && bytes < LIST_PART_BYTES
            && let Some((name, clients)) = self.found.pop_front()
        {
            bytes += name.len() + RESULT_BYTES;
            part.channels.push((name, clients));
        }
        self.found_bytes -= bytes;
        self.told += 1;
        self.waits = Waits::Redis;
        part.is_last = is_too_large || is_whole && self.found.is_empty();
        let is_over = part.is_last;
        let Wanted { asker, list, .. } = self.wanted;
        (Step::Tell { number, to: asker, list, part }, is_over)
    }
}

#[cfg(test)]
mod tests;
