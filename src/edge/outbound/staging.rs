//! What homes delivered and is not framed yet, in lane order, and the answers that follow it.
//!
//! Must not know channels, subscribers or the arena. Invariants: publications of a channel keep the
//! order in which they came; nothing is acknowledged before what was staged earlier is marked
//! (rule 34); the bytes counted are those of what is staged and acknowledged, and 0 without both.
//! A channel with filters may stay staged over several turns while others come and go.

use crate::clock::Now;
use crate::codec::command::Payload;
use crate::contract::block::Block;
use crate::contract::envelope::Member;
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::contract::position::Position;
use crate::edge::channels::filters::ChargedFilters;
use crate::edge::channels::{NO_FILTER, Subscriber};
use crate::limits::FILTERED_STAGED;
use crate::rules::sabotage;
use crate::work::Work;
use std::collections::VecDeque;

/// Bytes that the answer to a publish takes in the arena, at most.
const ACKNOWLEDGEMENT_BYTES: usize = 48;

/// What a home delivered for a channel, not yet framed.
#[derive(Debug)]
pub struct Staged {
    pub channel: u32,
    /// Counts what was ever staged.
    pub order: u64,
    /// Some of its subscribers have filters, which have to be asked first.
    pub filtered: bool,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Publication { offset: u64, block: Block },
    Membership { who: Box<Member>, joined: bool },
}

impl What {
    /// Bytes its frame will take, roughly; what the arena's bound reckons with.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            What::Publication { block, .. } => {
                // Bytes are a third more in base64.
                let binary = block.payload() == Payload::Binary;
                let more = if binary { block.data().len().div_ceil(3) } else { 0 };
                block.size() + more + 160
            }
            What::Membership { .. } => 256,
        }
    }
}

impl Staged {
    /// The publisher, where it is not sent its own publication.
    #[must_use]
    pub fn excluded(&self) -> Option<ConnectionKey> {
        let What::Publication { block, .. } = &self.what else { return None };
        sabotage!(NotTold => return None);
        if !block.excludes_self() {
            return None;
        }
        block.publisher().and_then(|publisher| publisher.key)
    }

    /// Is it for this subscriber?
    #[must_use]
    pub fn is_for(&self, subscriber: &Subscriber, filters: &mut ChargedFilters) -> bool {
        match &self.what {
            What::Membership { .. } => subscriber.join_leave,
            What::Publication { .. } if subscriber.filter == NO_FILTER => true,
            What::Publication { block, .. } => filters.matches(subscriber.filter, block.tags()),
        }
    }

    #[must_use]
    pub fn is_publication(&self) -> bool {
        matches!(self.what, What::Publication { .. })
    }
}

/// How far the filters of the first publication staged have been asked.
#[derive(Debug, Default)]
pub struct Judging {
    /// Some were, about this publication.
    pub under_way: bool,
    /// Subscribers before this one in the channel's list were looked at. Whoever took another's
    /// place meanwhile is asked when it is marked.
    pub asked: usize,
    /// What may still be asked within the turn.
    pub work: Work,
}

impl Judging {
    pub fn begin_stage(&mut self, like: &Work) {
        self.work = like.alike();
    }
}

/// The answer to a publish, and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    pub to: ReplyTo,
    pub position: Position,
    pub now: Now,
}

/// The deliveries of an edge that are not marked yet.
#[derive(Debug, Default)]
pub struct Staging {
    staged: Vec<Staged>,
    /// Deliveries ever staged.
    count: u64,
    /// Those with filters to be asked among what is staged.
    filtered: usize,
    /// Bytes that all of it will take in the arena, at most.
    bytes: usize,
    /// Publications that were acknowledged while some are staged, with the count of those: their
    /// publishers are sent these first (rule 34).
    acknowledged: VecDeque<(u64, Acknowledged)>,
}

impl Staging {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Are there filters to be asked about what is staged?
    #[must_use]
    pub fn has_filtered(&self) -> bool {
        self.filtered > 0
    }

    /// May more be taken while filters are still to be asked?
    #[must_use]
    pub fn may_add_filtered(&self) -> bool {
        self.filtered < FILTERED_STAGED
    }

    /// Bytes that what waits here will take in the arena, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stages a delivery that will take `bytes` in the arena, all variants together.
    pub fn add(&mut self, channel: u32, filtered: bool, what: What, bytes: usize) {
        self.staged.push(Staged { channel, order: self.count, filtered, what });
        self.count += 1;
        self.filtered += usize::from(filtered);
        self.bytes += bytes;
    }

    /// Keeps the answer to a publish until what is staged is marked.
    pub fn acknowledge(&mut self, answer: Acknowledged) {
        debug_assert!(!self.is_empty(), "without anything staged it is answered at once");
        self.bytes += ACKNOWLEDGEMENT_BYTES;
        self.acknowledged.push_back((self.count, answer));
    }

    /// Takes all that is staged, channel by channel, each in the order in which it came. What
    /// cannot be marked now is to be put back.
    #[must_use]
    pub fn take(&mut self) -> Vec<Staged> {
        let mut staged = std::mem::take(&mut self.staged);
        staged.sort_unstable_by_key(|staged| (staged.channel, staged.order));
        staged
    }

    /// Puts back what could not be marked, and will take `bytes` in the arena.
    pub fn put_back(&mut self, staged: Vec<Staged>, bytes: usize) {
        debug_assert!(self.staged.is_empty(), "nothing is staged while it is marked");
        debug_assert!(staged.is_sorted_by_key(|it| it.order), "what is left keeps its order");
        self.filtered = staged.iter().filter(|it| it.filtered).count();
        self.bytes = bytes + self.acknowledged.len() * ACKNOWLEDGEMENT_BYTES;
        self.staged = staged;
    }

    /// Takes the next answer before which everything that was staged is marked.
    pub fn next_acknowledged(&mut self) -> Option<Acknowledged> {
        let (count, _) = *self.acknowledged.front()?;
        if self.staged.iter().any(|staged| staged.order < count) {
            return None;
        }
        self.bytes -= ACKNOWLEDGEMENT_BYTES;
        self.acknowledged.pop_front().map(|(_, answer)| answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::envelope::Who;
    use crate::contract::name::Name;
    use crate::contract::position::Epoch;

    fn left(number: u32) -> What {
        let connection = ConnectionKey { core: 0, index: number, generation: 0 };
        let who = Who::Here(connection);
        let who = Member { who, user: Name::from("u"), infos: None };
        What::Membership { who: Box::new(who), joined: false }
    }

    fn order(staged: &[Staged]) -> Vec<(u32, u32)> {
        let number = |what: &What| match what {
            What::Membership { who, .. } => match who.who {
                Who::Here(connection) => connection.index,
                Who::Elsewhere(_) => unreachable!("it is of this test"),
            },
            What::Publication { .. } => panic!("none was staged"),
        };
        staged.iter().map(|it| (it.channel, number(&it.what))).collect()
    }

    #[test]
    fn channels_are_apart_and_each_keeps_its_order() {
        let mut staging = Staging::default();
        for (number, channel) in (0..).zip([7, 3, 7, 3, 9]) {
            staging.add(channel, true, left(number), 100);
        }
        assert_eq!(staging.bytes(), 500);
        let mut staged = staging.take();
        assert_eq!(order(&staged), [(3, 1), (3, 3), (7, 0), (7, 2), (9, 4)]);
        // Two of channel 7 are left; what comes later goes after them.
        staged.retain(|it| it.channel == 7);
        staging.put_back(staged, 200);
        staging.add(7, false, left(5), 100);
        assert!(staging.has_filtered());
        assert_eq!(order(&staging.take()), [(7, 0), (7, 2), (7, 5)]);
    }

    #[test]
    fn answers_count_until_everything_is_marked() {
        let mut staging = Staging::default();
        let connection = ConnectionKey { core: 0, index: 0, generation: 0 };
        let to = |command| Acknowledged {
            to: ReplyTo { connection, command },
            position: Position { epoch: Epoch(0), offset: 1 },
            now: Now { monotonic_us: 0, unix_ms: 0 },
        };
        staging.add(1, true, left(0), 100);
        staging.acknowledge(to(4));
        staging.add(1, true, left(1), 100);
        staging.acknowledge(to(5));
        assert_eq!(staging.bytes(), 200 + 2 * ACKNOWLEDGEMENT_BYTES);
        let mut staged = staging.take();
        let second = staged.split_off(1);
        staging.put_back(staged, 60);
        assert_eq!(staging.bytes(), 60 + 2 * ACKNOWLEDGEMENT_BYTES);
        assert!(staging.next_acknowledged().is_none(), "the first is not marked");
        drop(staging.take());
        staging.put_back(second, 60);
        assert_eq!(staging.next_acknowledged().map(|it| it.to.command), Some(4));
        assert!(staging.next_acknowledged().is_none(), "the second is not marked");
        drop(staging.take());
        staging.put_back(Vec::new(), 0);
        assert_eq!(staging.next_acknowledged().map(|it| it.to.command), Some(5));
        assert_eq!(staging.bytes(), 0);
        assert!(staging.is_empty() && !staging.has_filtered());
    }
}
