//! The simulated store: a stream per channel, trimmed, with an epoch that may change under
//! everybody.
//!
//! Must not know homes or lanes. Invariant: within an epoch offsets go up by one from 1.

use crate::contract::block::{Block, Placed};
use crate::contract::engine::{CallId, Page, StreamRead, Wish};
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position, Version};
use std::collections::{BTreeMap, VecDeque};

/// One channel's stream.
#[derive(Debug)]
struct Stream {
    epoch: Epoch,
    /// When it is forgotten, in simulated time.
    until_us: u64,
    top: u64,
    /// That of the last publication.
    version: Option<Version>,
    kept: VecDeque<Placed>,
}

/// Every stream of the store.
#[derive(Debug)]
pub struct Store {
    streams: BTreeMap<Name, Stream>,
    /// Where the publications with keys are, by channel and key.
    keys: BTreeMap<(Name, Box<str>), Position>,
    /// Publications kept of a stream.
    trim: usize,
    epochs: u64,
}

impl Store {
    #[must_use]
    pub fn new(trim: usize) -> Store {
        Store { streams: BTreeMap::new(), keys: BTreeMap::new(), trim, epochs: 0 }
    }

    fn stream(&mut self, channel: &Name, now_us: u64) -> &mut Stream {
        self.streams.retain(|name, stream| name != channel || now_us < stream.until_us);
        if !self.streams.contains_key(channel) {
            self.epochs += 1;
            let (epoch, kept) = (Epoch(self.epochs), VecDeque::new());
            let stream = Stream { epoch, until_us: u64::MAX, top: 0, version: None, kept };
            self.streams.insert(channel.clone(), stream);
        }
        self.streams.get_mut(channel).expect("it was just put there")
    }

    /// Puts a publication in order, as is wished. Where that is; true: it is there now, and was not
    /// before.
    pub fn publish(&mut self, block: Block, wish: &Wish, now_us: u64) -> (Position, bool) {
        let channel = Name::from(block.channel());
        let key = (channel.clone(), wish.key.clone());
        if let Some(before) = self.keys.get(&key) {
            return (*before, false);
        }
        let size = self.trim.min(wish.size as usize);
        let stream = self.stream(&channel, now_us);
        if let (Some(version), Some(last)) = (&wish.version, &stream.version)
            && version.is_late(last)
        {
            return (Position { epoch: stream.epoch, offset: stream.top }, false);
        }
        let has_lost = |above: Position| above.epoch == stream.epoch && above.offset > stream.top;
        if wish.above.is_some_and(has_lost) {
            self.renew(&channel);
        }
        let stream = self.stream(&channel, now_us);
        stream.until_us = now_us + u64::from(wish.ttl_s) * 1_000_000;
        stream.top += 1;
        stream.version.clone_from(&wish.version);
        stream.kept.push_back(Placed { offset: stream.top, block });
        while stream.kept.len() > size {
            stream.kept.pop_front();
        }
        let position = Position { epoch: stream.epoch, offset: stream.top };
        if !wish.key.is_empty() {
            self.keys.insert(key, position);
        }
        (position, true)
    }

    /// A page of what the stream holds.
    pub fn read(&mut self, id: CallId, channel: &Name, page: &Page, now_us: u64) -> StreamRead {
        let stream = self.stream(channel, now_us);
        let (epoch, top) = (stream.epoch, stream.top);
        let from = page.from.filter(|from| from.is_of(epoch)).map(|from| from.offset);
        let is_foreign = page.from.is_some() && from.is_none();
        let reverse = page.reverse || is_foreign;
        let low = if reverse { 0 } else { from.unwrap_or(0) };
        let high = if reverse { from.map_or(top, |from| from.saturating_sub(1)) } else { top };
        let inside = |placed: &&Placed| placed.offset > low && placed.offset <= high;
        let inside: Vec<&Placed> = stream.kept.iter().filter(inside).collect();
        let mut bytes = 0;
        let mut fits = |placed: &&&Placed| {
            let is_first = bytes == 0;
            bytes += placed.block.size();
            is_first || bytes <= page.bytes
        };
        let most = page.limit as usize;
        let count = if reverse {
            inside.iter().rev().take(most).take_while(&mut fits).count()
        } else {
            inside.iter().take(most).take_while(&mut fits).count()
        };
        let cut = count < inside.len().min(most);
        let first = if reverse { inside.len() - count } else { 0 };
        let entries: Box<[Placed]> =
            inside[first..first + count].iter().map(|placed| (*placed).clone()).collect();
        // A position that this epoch never had reads nothing; what the top is tells its owner.
        let begin = stream.kept.front().map_or(top, |placed| placed.offset - 1);
        let nothing = if reverse { high } else { low.max(begin) }.min(top);
        let after = entries.first().map_or(nothing, |placed| placed.offset - 1);
        let end = entries.last().map_or(after, |placed| placed.offset);
        StreamRead { id, epoch, after, entries, end, cut, top }
    }

    /// Forgets what a stream keeps; its numbering goes on.
    pub fn remove(&mut self, channel: &Name, now_us: u64) {
        self.stream(channel, now_us).kept.clear();
    }

    /// The store forgets a stream: it starts again, in another epoch.
    pub fn renew(&mut self, channel: &Name) {
        self.streams.remove(channel);
        self.stream(channel, 0);
    }

    /// Where a stream stands, if anybody ever asked for it.
    #[must_use]
    pub fn position(&self, channel: &str) -> Option<Position> {
        self.streams.get(channel).map(|stream| Position { epoch: stream.epoch, offset: stream.top })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::contract::position::Since;

    const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };

    fn wish(key: &str, size: u32, above: Option<Position>) -> Wish {
        Wish { key: key.into(), size, ttl_s: 2, numbering_s: 2, version: None, above }
    }

    #[test]
    fn a_publication_is_kept_as_is_wished() {
        let (mut store, channel) = (Store::new(100), Name::from("a"));
        let mut put = |key: &str, above, now_us| {
            let block = Block::plain("a", b"1", ZERO);
            let (position, is_new) = store.publish(block, &wish(key, 3, above), now_us);
            let page = Page::newest(u32::MAX, usize::MAX);
            let kept = store.read(CallId(0), &channel, &page, now_us).entries.len();
            (position, is_new, kept)
        };
        let (first, ..) = put("k", None, 0);
        let at = |offset| Position { offset, ..first };
        assert_eq!(put("k", None, 1), (first, false, 1), "a key is carried out once");
        assert_eq!(put("l", Some(first), 2), (at(2), true, 2));
        assert_eq!((put("", None, 3).2, put("", Some(at(3)), 4)), (3, (at(4), true, 3)));
        // Somebody was further already: what it heard may have no other content.
        let (next, is_new, kept) = put("", Some(at(9)), 5);
        assert_ne!(next.epoch, first.epoch);
        assert_eq!((next.offset, is_new, kept), (1, true, 1));
        // It is forgotten in its time.
        let (last, ..) = put("", None, 5 + 2_000_000);
        assert_ne!(last.epoch, next.epoch);
    }

    #[test]
    fn pages_follow_each_other_and_say_where_they_end() {
        let (mut store, channel) = (Store::new(100), Name::from("a"));
        let size = Block::plain("a", b"1", ZERO).size();
        for _ in 0..5 {
            store.publish(Block::plain("a", b"1", ZERO), &wish("", 10, None), 0);
        }
        let epoch = store.position("a").expect("it is there").epoch;
        let mut read = |from: Option<(u64, u64)>, reverse, limit, bytes| {
            let of = |epoch| (epoch > 0).then_some(Epoch(epoch));
            let from = from.map(|(epoch, offset)| Since { epoch: of(epoch), offset });
            let page = Page { from, reverse, limit, bytes };
            let read = store.read(CallId(0), &channel, &page, 0);
            let offsets: Vec<u64> = read.entries.iter().map(|placed| placed.offset).collect();
            (read.after, offsets, read.end, read.cut)
        };
        let all = u32::MAX;
        assert_eq!(read(None, false, all, 2 * size), (0, vec![1, 2], 2, true));
        assert_eq!(read(Some((epoch.0, 2)), false, all, 2 * size), (2, vec![3, 4], 4, true));
        assert_eq!(read(Some((epoch.0, 4)), false, all, 2 * size), (4, vec![5], 5, false));
        assert_eq!(read(Some((0, 5)), false, all, 1), (5, vec![], 5, false));
        assert_eq!(read(None, true, all, 2 * size), (3, vec![4, 5], 5, true));
        assert_eq!(read(None, true, 2, usize::MAX), (3, vec![4, 5], 5, false));
        assert_eq!(read(Some((0, 4)), true, 2, usize::MAX), (1, vec![2, 3], 3, false));
        assert_eq!(read(None, false, all, 1), (0, vec![1], 1, true), "one in any case");
        // Another epoch's place is none.
        assert_eq!(read(Some((99, 1)), false, all, 2 * size), (3, vec![4, 5], 5, true));
        store.remove(&channel, 0);
        assert_eq!(store.position("a").expect("it is there").offset, 5);
        let page = Page::newest(all, usize::MAX);
        let read = store.read(CallId(0), &channel, &page, 0);
        assert_eq!((read.after, read.end, read.top), (5, 5, 5));
    }

    #[test]
    fn a_read_says_how_far_back_it_reaches() {
        let (mut store, channel) = (Store::new(3), Name::from("a"));
        for number in 0..5_u8 {
            store.publish(Block::plain("a", &[number], ZERO), &wish("", 10, None), 0);
        }
        let read = |store: &mut Store, since| {
            let from = Some(Since { epoch: None, offset: since });
            let page = Page { from, reverse: false, limit: u32::MAX, bytes: usize::MAX };
            let read = store.read(CallId(0), &channel, &page, 0);
            let offsets: Vec<u64> = read.entries.iter().map(|placed| placed.offset).collect();
            (read.after, offsets, read.top)
        };
        assert_eq!(read(&mut store, 0), (2, vec![3, 4, 5], 5));
        assert_eq!(read(&mut store, 4), (4, vec![5], 5));
        assert_eq!(read(&mut store, 5), (5, vec![], 5));
        assert_eq!(read(&mut store, 9), (5, vec![], 5));
        let before = store.position("a").unwrap();
        store.renew(&channel);
        assert_eq!(read(&mut store, 0), (0, vec![], 0));
        assert_ne!(store.position("a").unwrap().epoch, before.epoch);
    }
}
