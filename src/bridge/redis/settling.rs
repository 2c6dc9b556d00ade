//! What became of publications that were in flight when a connection ended: found in the stream,
//! not there, or not to be known any more.
//!
//! A node's publications in a channel have rising numbers, in the stream as well. Must not know
//! connections. Invariant: "absent" is said only where what was sent would be seen in what was read
//! if it were in the stream, or had been.

use super::lines::JobId;
use super::stream::{Found, Part};
use crate::contract::engine::Page;
use crate::contract::position::Position;
use crate::contract::wire::{NodeId, origin};
use crate::limits::{REDIS_SETTLE_BYTES, REDIS_SETTLE_ENTRIES};

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Found(Position),
    /// It was not carried out.
    Absent,
    /// Nobody can say.
    Unclear,
}

/// A search for publications of one channel.
#[derive(Clone, Debug)]
pub struct Settling {
    node: NodeId,
    /// By rising numbers.
    sought: Vec<(JobId, u64)>,
    /// The channel had come to here when the first was sent.
    above: Option<Position>,
    /// A stream that was written then would still be there.
    outlives: bool,
}

impl Settling {
    /// A search for publications of `node`.
    #[must_use]
    pub fn new(node: NodeId, above: Option<Position>, outlives: bool) -> Settling {
        Settling { node, sought: Vec::new(), above, outlives }
    }

    /// Looks for one more, that was sent after those before.
    pub fn seek(&mut self, job: JobId, number: u64) {
        let last = self.sought.last().map_or(0, |(_, number)| *number);
        debug_assert!(last < number, "numbers rise");
        self.sought.push((job, number));
    }

    /// The jobs that are sought, in order.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = JobId> {
        self.sought.iter().map(|(job, _)| *job)
    }

    /// What has to be read.
    #[must_use]
    pub fn page(&self) -> Page {
        match self.above {
            Some(above) => {
                Page { limit: REDIS_SETTLE_ENTRIES, ..Page::after(above, REDIS_SETTLE_BYTES) }
            }
            None => Page::newest(REDIS_SETTLE_ENTRIES, REDIS_SETTLE_BYTES),
        }
    }

    /// What became of each, in order, by what was read.
    #[must_use]
    pub fn outcomes(&self, found: &Found) -> Vec<(JobId, Outcome)> {
        let (part, is_whole) = match found {
            // One that the channel had a place in was there then, and Redis has dropped it since:
            // it may have been written to, and heard, in between.
            Found::Missing => (None, self.outlives && self.above.is_none()),
            Found::Part(part) => (Some(part), self.is_whole(part)),
        };
        let other = if is_whole { Outcome::Absent } else { Outcome::Unclear };
        let outcome = |number: u64| {
            part.and_then(|part| self.find(part, number)).map_or(other, Outcome::Found)
        };
        self.sought.iter().map(|(job, number)| (*job, outcome(*number))).collect()
    }

    fn find(&self, part: &Part, number: u64) -> Option<Position> {
        let is_it = |(_, data): &&(u64, bytes::Bytes)| {
            origin(data).is_ok_and(|it| it.node == self.node && it.number == number)
        };
        let (offset, _) = part.entries.iter().find(is_it)?;
        Some(Position { epoch: part.epoch, offset: *offset })
    }

    /// Does what was read hold everything that was put in order since the first was sent?
    fn is_whole(&self, part: &Part) -> bool {
        let reaches_top = part.end == part.top;
        let from_start = part.after == 0;
        let from_above =
            self.above.is_some_and(|above| above.epoch == part.epoch && part.after <= above.offset);
        let first = self.sought.first().map_or(0, |(_, number)| *number);
        let is_before = |(_, data): &(u64, bytes::Bytes)| {
            origin(data).is_ok_and(|it| it.node == self.node && it.number < first)
        };
        reaches_top && (from_start || from_above || part.entries.iter().any(is_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::redis::lines::{Lines, NewJob, Task};
    use crate::clock::Now;
    use crate::contract::block::Block;
    use crate::contract::engine::CallId;
    use crate::contract::position::Epoch;
    use crate::contract::wire::{Origin, encode};

    const OWN: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId([2; 16]);

    fn jobs(count: usize) -> Vec<JobId> {
        let mut lines = Lines::default();
        let job = || NewJob { worker: 0, call: CallId(1), channel: "a".into(), task: Task::Remove };
        (0..count).map(|_| lines.add(job(), 1)).collect()
    }

    fn part(after: u64, top: u64, origins: &[(NodeId, u64)]) -> Found {
        let block = Block::plain("a", b"1", Now { monotonic_us: 0, unix_ms: 0 });
        let entry = |(offset, (node, number)): (u64, &(NodeId, u64))| {
            let mut data = Vec::new();
            encode(&block, Origin { node: *node, number: *number }, &mut data);
            (offset, data.into())
        };
        let entries: Vec<_> = (after + 1..).zip(origins).map(entry).collect();
        let end = after + entries.len() as u64;
        Found::Part(Part { epoch: Epoch(7), after, entries, end, cut: false, top })
    }

    /// The outcomes of numbers 5 and 6: offsets, or 0 for absent, or -1 for unclear.
    fn said(above: Option<u64>, outlives: bool, found: &Found) -> [i64; 2] {
        let jobs = jobs(2);
        let above = above.map(|offset| Position { epoch: Epoch(7), offset });
        let mut settling = Settling::new(OWN, above, outlives);
        settling.seek(jobs[0], 5);
        settling.seek(jobs[1], 6);
        let outcomes = settling.outcomes(found);
        assert!(outcomes.iter().map(|(job, _)| *job).eq(jobs));
        let number = |index: usize| match outcomes[index].1 {
            Outcome::Found(position) => position.offset as i64,
            Outcome::Absent => 0,
            Outcome::Unclear => -1,
        };
        [number(0), number(1)]
    }

    #[test]
    fn what_is_found_was_carried_out() {
        let both = part(10, 13, &[(OWN, 5), (OTHER, 6), (OWN, 6)]);
        assert_eq!(said(None, false, &both), [11, 13]);
        let one = part(10, 12, &[(OWN, 5), (OTHER, 6)]);
        assert_eq!(said(None, false, &one), [11, -1], "trimmed before, and the rest is not known");
        assert_eq!(said(Some(10), false, &one), [11, 0]);
    }

    #[test]
    fn absent_is_only_what_would_be_seen() {
        let others = [(OTHER, 5), (OTHER, 6)];
        assert_eq!(said(None, false, &part(0, 2, &others)), [0, 0], "from its start");
        assert_eq!(said(None, false, &part(3, 5, &others)), [-1, -1], "it may have been trimmed");
        assert_eq!(said(Some(3), false, &part(3, 5, &others)), [0, 0], "nothing is between");
        assert_eq!(said(Some(2), false, &part(3, 5, &others)), [-1, -1], "offset 3 was trimmed");
        let before = [(OWN, 4), (OTHER, 6)];
        assert_eq!(
            said(None, false, &part(3, 5, &before)),
            [0, 0],
            "what was sent before is there"
        );
        assert_eq!(said(None, false, &part(0, 9, &others)), [-1, -1], "there is more");
        assert_eq!(said(None, true, &Found::Missing), [0, 0], "it was never there");
        assert_eq!(said(Some(3), true, &Found::Missing), [-1, -1], "it was, and was dropped");
        assert_eq!(said(None, false, &Found::Missing), [-1, -1], "it may have expired");
    }
}
