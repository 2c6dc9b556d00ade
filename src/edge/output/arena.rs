//! What a turn writes: frames in one arena, and for each connection the ranges that are its own.
//!
//! Must not know what the bytes mean. Invariant: a connection with ranges is on the dirty list
//! once, and its ranges lie in the order in which they were written.

use crate::edge::ConnectionId;
use crate::rules::sabotage;

/// How a frame may be treated when its connection is slow. Class 0 overtakes; nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Ping, pong, close.
    Control,
    /// The answer to an upgrade: not even class 0 comes ahead of it.
    Upgrade,
    /// Answers to commands.
    Reply,
    /// Publications, joins and leaves of a channel.
    Publication,
}

/// No channel.
pub const NO_CHANNEL: u32 = u32::MAX;

/// Where a frame begins, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMark {
    pub start: u32,
    pub class: Class,
    /// The channel it belongs to, for publications.
    pub channel: u32,
}

/// A piece of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u32,
    pub end: u32,
}

/// The range a connection was given last, and the ones before it.
#[derive(Clone, Copy, Debug)]
struct Pending {
    start: u32,
    end: u32,
    /// The link to the range before, or `NO_LINK`.
    before: u32,
    generation: u32,
}

const NO_LINK: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    range: Range,
    before: u32,
}

/// The output of one core's turn.
#[derive(Debug)]
pub struct Output {
    pub(super) arena: Vec<u8>,
    frames: Vec<FrameMark>,
    pending: Vec<Pending>,
    links: Vec<Link>,
    dirty: Vec<ConnectionId>,
    /// Dirty entries before this one were flushed.
    flushed: usize,
    arena_bytes_max: usize,
}

impl Output {
    #[must_use]
    pub fn new(connections_max: usize, arena_bytes_max: usize) -> Output {
        // Touched now, so that what a server takes without clients is all that it takes for them
        // all.
        let mut arena = Vec::with_capacity(arena_bytes_max + arena_bytes_max / 4);
        arena.resize(arena_bytes_max, 0);
        arena.clear();
        Output {
            arena,
            frames: Vec::new(),
            pending: Vec::with_capacity(connections_max),
            links: Vec::new(),
            dirty: Vec::new(),
            flushed: 0,
            arena_bytes_max,
        }
    }

    /// A place begins a new life: ranges of an earlier one are forgotten.
    pub fn open(&mut self, conn: ConnectionId) {
        let index = conn.index as usize;
        let fresh = Pending { start: 0, end: 0, before: NO_LINK, generation: conn.generation };
        if index == self.pending.len() {
            return self.pending.push(fresh);
        }
        sabotage!(DirtyGen => return);
        self.pending[index] = fresh;
    }

    /// Bytes that fit below the bound. At none, nothing more is taken in before a flush (rule 23).
    #[must_use]
    pub fn room(&self) -> usize {
        self.arena_bytes_max.saturating_sub(self.arena.len())
    }

    /// Is a frame of this size too large for the arena? It goes straight to backlogs.
    #[must_use]
    pub fn is_too_large(&self, bytes: usize) -> bool {
        bytes > self.large_bytes()
    }

    /// The size up to which a frame is none too large.
    #[must_use]
    pub fn large_bytes(&self) -> usize {
        self.arena_bytes_max / 4
    }

    /// Begins a frame at the arena's end.
    pub fn begin(&mut self, class: Class, channel: u32) -> u32 {
        let start = u32::try_from(self.arena.len()).expect("the arena is bounded");
        self.frames.push(FrameMark { start, class, channel });
        start
    }

    /// Takes bytes back that were copied elsewhere, where nothing was written behind them.
    pub fn give_back(&mut self, range: Range) {
        debug_assert!(range.start <= range.end && range.end <= self.end(), "it is in the arena");
        if range.end as usize == self.arena.len() {
            self.arena.truncate(range.start as usize);
            while self.frames.last().is_some_and(|frame| frame.start >= range.start) {
                self.frames.pop();
            }
        }
    }

    /// The arena's end.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::try_from(self.arena.len()).expect("the arena is bounded")
    }

    /// The bytes that ranges refer to.
    #[must_use]
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The bytes of a range.
    #[must_use]
    pub fn bytes_of(&self, range: Range) -> &[u8] {
        debug_assert!(range.start <= range.end, "a range does not end before it starts");
        &self.arena[range.start as usize..range.end as usize]
    }

    /// Writes a frame again that was written before, as it is.
    pub fn copy(&mut self, class: Class, channel: u32, frame: &[u8]) -> Range {
        let start = self.begin(class, channel);
        self.arena.extend_from_slice(frame);
        Range { start, end: self.end() }
    }

    /// Gives a connection a range: a nanosecond or two, whatever the range holds. Called in three
    /// loops, each of which is to have it in its body.
    #[inline(always)]
    pub fn mark(&mut self, index: u32, range: Range) {
        debug_assert!(range.start < range.end && range.end as usize <= self.arena.len());
        let pending = &mut self.pending[index as usize];
        if pending.start == pending.end {
            pending.start = range.start;
            pending.end = range.end;
            self.dirty.push(ConnectionId { index, generation: pending.generation });
        } else {
            self.mark_more(index, range);
        }
    }

    /// The same for a connection that has one already.
    fn mark_more(&mut self, index: u32, range: Range) {
        let pending = &mut self.pending[index as usize];
        if pending.end == range.start {
            pending.end = range.end;
        } else {
            debug_assert!(pending.end < range.start, "ranges are given in the order of bytes");
            let last = Range { start: pending.start, end: pending.end };
            self.links.push(Link { range: last, before: pending.before });
            pending.before = u32::try_from(self.links.len() - 1).expect("links are bounded");
            pending.start = range.start;
            pending.end = range.end;
        }
    }

    /// Takes a connection's range where it has just one.
    #[inline]
    pub fn take_only(&mut self, index: u32) -> Option<Range> {
        let pending = &mut self.pending[index as usize];
        let range = Range { start: pending.start, end: pending.end };
        if pending.before != NO_LINK || range.start == range.end {
            return None;
        }
        (pending.start, pending.end) = (0, 0);
        Some(range)
    }

    /// Takes a connection's ranges, oldest first, into `ranges` (cleared first).
    pub fn take(&mut self, index: u32, ranges: &mut Vec<Range>) {
        ranges.clear();
        let pending = &mut self.pending[index as usize];
        if pending.start == pending.end {
            return;
        }
        ranges.push(Range { start: pending.start, end: pending.end });
        let mut before = std::mem::replace(&mut pending.before, NO_LINK);
        pending.start = 0;
        pending.end = 0;
        while before != NO_LINK {
            let link = self.links[before as usize];
            ranges.push(link.range);
            before = link.before;
        }
        ranges.reverse();
    }

    /// The generation that a place's ranges belong to.
    #[must_use]
    pub fn generation(&self, index: u32) -> u32 {
        self.pending[index as usize].generation
    }

    /// Has a connection anything to send?
    #[must_use]
    pub fn has_pending(&self, index: u32) -> bool {
        let pending = &self.pending[index as usize];
        pending.start != pending.end
    }

    /// Bytes that a connection has to be sent this turn.
    #[must_use]
    pub fn pending_bytes(&self, index: u32) -> usize {
        let pending = &self.pending[index as usize];
        let mut bytes = pending.end - pending.start;
        let mut before = pending.before;
        while before != NO_LINK {
            let link = self.links[before as usize];
            bytes += link.range.end - link.range.start;
            before = link.before;
        }
        bytes as usize
    }

    /// Takes up to `count` dirty connections off the list, to be flushed.
    pub fn take_dirty(&mut self, count: usize, conns: &mut Vec<ConnectionId>) {
        debug_assert!(self.flushed <= self.dirty.len(), "what is flushed was dirty");
        let left = &self.dirty[self.flushed..];
        let taken = &left[..count.min(left.len())];
        conns.extend_from_slice(taken);
        self.flushed += taken.len();
    }

    /// Begins the arena anew if everything is flushed; whether that was so.
    pub fn restart_if_flushed(&mut self) -> bool {
        if self.flushed < self.dirty.len() {
            return false;
        }
        debug_assert!(
            self.dirty.iter().all(|conn| !self.has_pending(conn.index)),
            "whoever was taken off the list was given its ranges"
        );
        self.dirty.clear();
        self.links.clear();
        self.frames.clear();
        self.arena.clear();
        self.flushed = 0;
        if self.arena.capacity() > 2 * self.arena_bytes_max {
            self.arena.shrink_to(self.arena_bytes_max);
        }
        true
    }

    /// Is anything dirty?
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.flushed < self.dirty.len()
    }

    /// The frames in `range`, the first of which may have begun before it: each with its bytes'
    /// range cut to it, and whether it begins in it.
    pub fn frames_in(&self, range: Range) -> impl Iterator<Item = (FrameMark, Range, bool)> {
        let first = self.frames.partition_point(|frame| frame.start <= range.start).max(1) - 1;
        let frames = &self.frames[first..];
        frames.iter().enumerate().take_while(move |(_, frame)| frame.start < range.end).map(
            move |(index, frame)| {
                let end = frames.get(index + 1).map_or(range.end, |next| next.start.min(range.end));
                let whole = frame.start >= range.start;
                (*frame, Range { start: frame.start.max(range.start), end }, whole)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(output: &mut Output, bytes: &[u8]) -> Range {
        let start = output.begin(Class::Reply, NO_CHANNEL);
        output.arena.extend_from_slice(bytes);
        Range { start, end: output.end() }
    }

    #[test]
    fn neighbouring_ranges_become_one() {
        let mut output = Output::new(4, 1 << 16);
        for index in 0..3 {
            output.open(ConnectionId { index, generation: 1 });
        }
        let (a, b, c) =
            (write(&mut output, b"aa"), write(&mut output, b"bb"), write(&mut output, b"cc"));
        for range in [a, b, c] {
            output.mark(0, range);
        }
        output.mark(1, a);
        output.mark(1, c);
        let mut ranges = Vec::new();
        output.take(0, &mut ranges);
        assert_eq!(ranges, [Range { start: 0, end: 6 }]);
        output.take(1, &mut ranges);
        assert_eq!(ranges, [a, c]);
        output.take(1, &mut ranges);
        assert!(ranges.is_empty() && !output.has_pending(2));
        let mut conns = Vec::new();
        output.take_dirty(1, &mut conns);
        assert!(!output.restart_if_flushed());
        output.take_dirty(2, &mut conns);
        assert_eq!(conns, [0, 1].map(|index| ConnectionId { index, generation: 1 }));
        assert!(output.restart_if_flushed() && output.arena.is_empty());
    }

    #[test]
    fn frames_are_found_in_a_rest() {
        let mut output = Output::new(1, 1 << 16);
        let ranges: Vec<Range> =
            (1..=4).map(|size| write(&mut output, &vec![0; size * 10])).collect();
        let rest = Range { start: 15, end: 100 };
        let found: Vec<_> =
            output.frames_in(rest).map(|(_, range, whole)| (range, whole)).collect();
        let begun = Range { start: 15, end: 30 };
        assert_eq!(found, [(begun, false), (ranges[2], true), (ranges[3], true)]);
        let exact: Vec<_> =
            output.frames_in(ranges[1]).map(|(_, range, whole)| (range, whole)).collect();
        assert_eq!(exact, [(ranges[1], true)]);
    }
}
