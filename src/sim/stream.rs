//! The simulated store: a stream per channel, trimmed, with an epoch that may change under
//! everybody.
//!
//! Must not know homes or lanes. Invariant: within an epoch offsets go up by one from 1.

use crate::contract::block::{Block, Placed};
use crate::contract::engine::{CallId, StreamRead, Wish};
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use std::collections::{BTreeMap, VecDeque};

/// One channel's stream.
#[derive(Debug)]
struct Stream {
    epoch: Epoch,
    /// When it is forgotten, in simulated time.
    until_us: u64,
    top: u64,
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
            let stream = Stream { epoch, until_us: u64::MAX, top: 0, kept };
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
        let has_lost = |above: Position| above.epoch == stream.epoch && above.offset > stream.top;
        if wish.above.is_some_and(has_lost) {
            self.renew(&channel);
        }
        let stream = self.stream(&channel, now_us);
        stream.until_us = now_us + u64::from(wish.ttl_s) * 1_000_000;
        stream.top += 1;
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

    /// What the stream holds after `since`.
    pub fn read(&mut self, id: CallId, channel: &Name, since: u64, now_us: u64) -> StreamRead {
        let stream = self.stream(channel, now_us);
        let first = stream.kept.front().map_or(stream.top, |placed| placed.offset - 1);
        // A position that this epoch never had reads nothing; what the top is tells its owner.
        let after = since.max(first).min(stream.top.max(first));
        let entries = stream.kept.iter().filter(|placed| placed.offset > after).cloned().collect();
        let (epoch, top) = (stream.epoch, stream.top);
        StreamRead { id, epoch, after, entries, top }
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

    const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };

    fn wish(key: &str, size: u32, above: Option<Position>) -> Wish {
        Wish { key: key.into(), size, ttl_s: 2, above }
    }

    #[test]
    fn a_publication_is_kept_as_is_wished() {
        let (mut store, channel) = (Store::new(100), Name::from("a"));
        let mut put = |key: &str, above, now_us| {
            let block = Block::plain("a", b"1", ZERO);
            let (position, is_new) = store.publish(block, &wish(key, 3, above), now_us);
            let kept = store.read(CallId(0), &channel, 0, now_us).entries.len();
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
    fn a_read_says_how_far_back_it_reaches() {
        let (mut store, channel) = (Store::new(3), Name::from("a"));
        for number in 0..5_u8 {
            store.publish(Block::plain("a", &[number], ZERO), &wish("", 10, None), 0);
        }
        let read = |store: &mut Store, since| {
            let read = store.read(CallId(0), &channel, since, 0);
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
