//! What homes delivered and is not framed yet, in lane order, and the answers that follow it.
//!
//! Must not know channels, subscribers or the arena. Invariants: publications of a channel keep the
//! order in which they came; nothing is acknowledged before what was staged earlier is marked
//! (rule 34); the bytes counted are those of what is staged and acknowledged, and 0 without both.

use crate::codec::command::Payload;
use crate::contract::block::Block;
use crate::contract::envelope::Member;
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::edge::channels::filters::ChargedFilters;
use crate::edge::channels::{NO_FILTER, Subscriber};
use crate::rules::sabotage;
use crate::work::Work;

/// Bytes that the answer to a publish takes in the arena, at most.
const ACKNOWLEDGEMENT_BYTES: usize = 48;

/// What a home delivered for a channel, not yet framed.
#[derive(Debug)]
pub struct Staged {
    pub channel: u32,
    order: u32,
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
        block.publisher().map(|publisher| publisher.key)
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

/// The deliveries of an edge that are not marked yet.
#[derive(Debug, Default)]
pub struct Staging {
    staged: Vec<Staged>,
    /// Bytes that all of it will take in the arena, at most.
    bytes: usize,
    /// Publications that were acknowledged while some are staged: their publishers are sent those
    /// first (rule 34).
    acknowledged: Vec<ReplyTo>,
}

impl Staging {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// Bytes that what waits here will take in the arena, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stages a delivery that will take `bytes` in the arena, all variants together.
    pub fn add(&mut self, channel: u32, what: What, bytes: usize) {
        let order = u32::try_from(self.staged.len()).expect("a turn's deliveries are bounded");
        self.staged.push(Staged { channel, order, what });
        self.bytes += bytes;
    }

    /// Keeps the answer to a publish until what is staged is marked.
    pub fn acknowledge(&mut self, to: ReplyTo) {
        debug_assert!(!self.is_empty(), "without anything staged it is answered at once");
        self.bytes += ACKNOWLEDGEMENT_BYTES;
        self.acknowledged.push(to);
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
        debug_assert!(
            staged.is_sorted_by_key(|it| (it.channel, it.order)),
            "what is left keeps its order"
        );
        let answers = self.acknowledged.len() * ACKNOWLEDGEMENT_BYTES;
        self.bytes = if staged.is_empty() { 0 } else { bytes + answers };
        self.staged = staged;
    }

    /// Takes the answers whose turn it is: with everything marked, all.
    pub fn take_acknowledged(&mut self) -> Vec<ReplyTo> {
        debug_assert!(self.staged.is_empty(), "publications go before their answers");
        std::mem::take(&mut self.acknowledged)
    }

    /// Gives the memory of answers that were sent back.
    pub fn recycle(&mut self, mut answers: Vec<ReplyTo>) {
        debug_assert!(self.acknowledged.is_empty(), "an answer stages nothing");
        answers.clear();
        self.acknowledged = answers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::name::Name;

    fn left(number: u32) -> What {
        let connection = ConnectionKey { core: 0, index: number, generation: 0 };
        let who = Member { connection, user: Name::from("u"), infos: None };
        What::Membership { who: Box::new(who), joined: false }
    }

    fn order(staged: &[Staged]) -> Vec<(u32, u32)> {
        let number = |what: &What| match what {
            What::Membership { who, .. } => who.connection.index,
            What::Publication { .. } => panic!("none was staged"),
        };
        staged.iter().map(|it| (it.channel, number(&it.what))).collect()
    }

    #[test]
    fn channels_are_apart_and_each_keeps_its_order() {
        let mut staging = Staging::default();
        for (number, channel) in (0..).zip([7, 3, 7, 3, 9]) {
            staging.add(channel, left(number), 100);
        }
        assert_eq!(staging.bytes(), 500);
        let mut staged = staging.take();
        assert_eq!(order(&staged), [(3, 1), (3, 3), (7, 0), (7, 2), (9, 4)]);
        // Two of channel 7 are left; what comes later goes after them.
        staged.retain(|it| it.channel == 7);
        staging.put_back(staged, 200);
        staging.add(7, left(5), 100);
        assert_eq!(order(&staging.take()), [(7, 0), (7, 2), (7, 5)]);
    }

    #[test]
    fn answers_count_until_everything_is_marked() {
        let mut staging = Staging::default();
        staging.add(1, left(0), 100);
        let connection = ConnectionKey { core: 0, index: 0, generation: 0 };
        staging.acknowledge(ReplyTo { connection, command: 4 });
        assert_eq!(staging.bytes(), 100 + ACKNOWLEDGEMENT_BYTES);
        let staged = staging.take();
        staging.put_back(staged, 60);
        assert_eq!(staging.bytes(), 60 + ACKNOWLEDGEMENT_BYTES);
        assert_eq!(staging.take().len(), 1);
        staging.put_back(Vec::new(), 0);
        let answers = staging.take_acknowledged();
        assert_eq!((answers.len(), staging.bytes()), (1, 0));
        staging.recycle(answers);
        assert!(staging.is_empty() && staging.take_acknowledged().is_empty());
    }
}
