//! The simulated store: a stream per channel, trimmed, with an epoch that may change under
//! everybody.
//!
//! Must not know homes or lanes. Invariant: within an epoch offsets go up by one from 1.

use crate::contract::block::{Block, Placed};
use crate::contract::engine::{CallId, StreamRead};
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use std::collections::{BTreeMap, VecDeque};

/// One channel's stream.
#[derive(Debug)]
struct Stream {
    epoch: Epoch,
    top: u64,
    kept: VecDeque<Placed>,
}

/// Every stream of the store.
#[derive(Debug)]
pub struct Store {
    streams: BTreeMap<Name, Stream>,
    /// Publications kept of a stream.
    trim: usize,
    epochs: u64,
}

impl Store {
    #[must_use]
    pub fn new(trim: usize) -> Store {
        Store { streams: BTreeMap::new(), trim, epochs: 0 }
    }

    fn stream(&mut self, channel: &Name) -> &mut Stream {
        if !self.streams.contains_key(channel) {
            self.epochs += 1;
            let stream = Stream { epoch: Epoch(self.epochs), top: 0, kept: VecDeque::new() };
            self.streams.insert(channel.clone(), stream);
        }
        self.streams.get_mut(channel).expect("it was just put there")
    }

    /// Puts a publication in order.
    pub fn publish(&mut self, channel: &Name, block: Block) -> Position {
        let trim = self.trim;
        let stream = self.stream(channel);
        stream.top += 1;
        stream.kept.push_back(Placed { offset: stream.top, block });
        if stream.kept.len() > trim {
            stream.kept.pop_front();
        }
        Position { epoch: stream.epoch, offset: stream.top }
    }

    /// What the stream holds after `since`.
    pub fn read(&mut self, id: CallId, channel: &Name, since: u64) -> StreamRead {
        let stream = self.stream(channel);
        let first = stream.kept.front().map_or(stream.top, |placed| placed.offset - 1);
        // A position that this epoch never had reads nothing; what the top is tells its owner.
        let after = since.max(first).min(stream.top.max(first));
        let entries = stream.kept.iter().filter(|placed| placed.offset > after).cloned().collect();
        let (epoch, top) = (stream.epoch, stream.top);
        StreamRead { id, channel: channel.clone(), epoch, after, entries, top }
    }

    /// The store forgets a stream: it starts again, in another epoch.
    pub fn renew(&mut self, channel: &Name) {
        self.streams.remove(channel);
        self.stream(channel);
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

    #[test]
    fn a_read_says_how_far_back_it_reaches() {
        let (mut store, channel) = (Store::new(3), Name::from("a"));
        for number in 0..5_u8 {
            store.publish(&channel, Block::plain("a", &[number], ZERO));
        }
        let read = |store: &mut Store, since| {
            let read = store.read(CallId(0), &channel, since);
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
