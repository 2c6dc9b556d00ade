//! Numberings of channels that are gone: a client that comes back continues in the same epoch, and
//! learns correctly whether it missed something.
//!
//! Must not know channels. Invariants: a numbering takes at most `RECORD_BYTES`, and their number
//! is within the bound. Over it those of channels in which nothing was ever published are forgotten
//! first, because no client can have missed anything there; within either kind the one that would
//! expire first.
//!
//! Names are not kept, only a keyed hash of 128 bits of each: an accidental collision is
//! practically impossible, and without the key no one can search for one.

use crate::clock::Now;
use crate::contract::position::{Position, Version};
use crate::hashing::Key;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hasher;

/// Bytes of one numbering, with its entries in the table by name and in the order of expiry.
const RECORD_BYTES: u64 = 64;

/// What is kept of a channel that is gone.
#[derive(Debug)]
pub struct Numbering {
    pub position: Position,
    /// The application's version of the last publication, if it had one.
    pub version: Option<Box<Version>>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    /// The hash of the channel's name.
    name: [u64; 2],
    position: Position,
    /// The second of the process at which it is forgotten.
    until_s: u32,
}

const _: () = assert!(size_of::<Record>() == 40, "see RECORD_BYTES");

impl Record {
    /// Its sort key: the smallest is forgotten first.
    fn age(&self, place: u32) -> (bool, u32, u32) {
        (self.position.offset > 0, self.until_s, place)
    }
}

/// The numberings of one home.
#[derive(Debug)]
pub struct Numberings {
    records: Vec<Record>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    /// Whether anything was published, the expiry in seconds of the process, and the place.
    aging: BTreeSet<(bool, u32, u32)>,
    /// Versions, by place: only publications of the server API have one.
    versions: HashMap<u32, Box<Version>, FixedState>,
    key: Key,
    capacity: usize,
    forgotten: u64,
}

impl Numberings {
    /// An empty table; `key` makes the hashes of names unpredictable.
    #[must_use]
    pub fn new(bytes_max: u64, key: Key) -> Numberings {
        let most = u64::from(u32::MAX);
        Numberings {
            records: Vec::new(),
            free: Vec::new(),
            by_name: HashTable::new(),
            aging: BTreeSet::new(),
            versions: HashMap::with_hasher(FixedState::default()),
            key,
            capacity: usize::try_from((bytes_max / RECORD_BYTES).min(most)).unwrap_or(usize::MAX),
            forgotten: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.aging.len()
    }

    /// Those evicted early since the start, because of the bound.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Keeps the numbering of a channel that is not here, for `for_s` seconds.
    pub fn keep(&mut self, channel: &str, numbering: Numbering, for_s: u32, now: Now) {
        debug_assert!(self.place(self.hash(channel)).is_none(), "it is kept once");
        if self.capacity == 0 || for_s == 0 {
            return;
        }
        while self.len() >= self.capacity {
            let Some((.., place)) = self.aging.first().copied() else { break };
            self.forgotten += 1;
            self.remove(place);
        }
        let until_s = seconds(now).saturating_add(for_s);
        let record = Record { name: self.hash(channel), position: numbering.position, until_s };
        let place = match self.free.pop() {
            Some(place) => {
                self.records[place as usize] = record;
                place
            }
            None => {
                self.records.push(record);
                u32::try_from(self.records.len() - 1).expect("the table is bounded")
            }
        };
        let records = &self.records;
        let rehash = |place: &u32| records[*place as usize].name[0];
        self.by_name.insert_unique(record.name[0], place, rehash);
        self.aging.insert(record.age(place));
        if let Some(version) = numbering.version {
            self.versions.insert(place, version);
        }
    }

    /// Removes and returns the numbering of a channel that exists again.
    pub fn take(&mut self, channel: &str, now: Now) -> Option<Numbering> {
        let place = self.place(self.hash(channel))?;
        let record = self.records[place as usize];
        let version = self.versions.remove(&place);
        self.remove(place);
        (record.until_s > seconds(now)).then_some(Numbering { position: record.position, version })
    }

    /// The position of a channel that is gone.
    #[must_use]
    pub fn position(&self, channel: &str) -> Option<Position> {
        let place = self.place(self.hash(channel))?;
        Some(self.records[place as usize].position)
    }

    /// Forgets at most this many that are too old.
    pub fn forget_old(&mut self, now: Now, most: usize) {
        for _ in 0..most {
            let old = self.soonest().find(|(_, until_s, _)| *until_s <= seconds(now));
            let Some((.., place)) = old else { return };
            self.remove(place);
        }
    }

    /// When the next expires, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.soonest().map(|(_, until_s, _)| u64::from(until_s) * 1_000).min()
    }

    /// The earliest of each kind.
    fn soonest(&self) -> impl Iterator<Item = (bool, u32, u32)> + use<> {
        let first = self.aging.first().copied();
        let published = self.aging.range((true, 0, 0)..).next().copied();
        first.into_iter().chain(published)
    }

    fn remove(&mut self, place: u32) {
        let record = self.records[place as usize];
        self.aging.remove(&record.age(place));
        match self.by_name.find_entry(record.name[0], |listed| *listed == place) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("a record is in the table"),
        }
        self.versions.remove(&place);
        self.free.push(place);
    }

    fn place(&self, name: [u64; 2]) -> Option<u32> {
        let is = |place: &u32| self.records[*place as usize].name == name;
        self.by_name.find(name[0], is).copied()
    }

    fn hash(&self, channel: &str) -> [u64; 2] {
        let mut hasher = SipHasher13::new_with_key(&self.key.0);
        hasher.write(channel.as_bytes());
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }
}

/// The current second of the process, rounded up, so that nothing expires early.
fn seconds(now: Now) -> u32 {
    u32::try_from(now.monotonic_ms() / 1_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::position::Epoch;

    fn at_s(seconds: u64) -> Now {
        Now { monotonic_us: seconds * 1_000_000, unix_ms: 0 }
    }

    fn numbering(offset: u64) -> Numbering {
        Numbering { position: Position { epoch: Epoch(7), offset }, version: None }
    }

    fn offset(numberings: &Numberings, channel: &str) -> Option<u64> {
        numberings.position(channel).map(|position| position.offset)
    }

    #[test]
    fn a_numbering_is_kept_for_its_time() {
        let mut all = Numberings::new(1 << 20, Key::of(1));
        all.keep("long", numbering(5), 100, at_s(1));
        all.keep("short", numbering(6), 10, at_s(2));
        all.keep("never", numbering(7), 0, at_s(2));
        assert_eq!((all.len(), all.next_ms()), (2, Some(12_000)));
        all.forget_old(at_s(11), 64);
        assert_eq!(offset(&all, "short"), Some(6));
        assert!(all.take("short", at_s(12)).is_none(), "its time has come");
        assert_eq!(all.take("long", at_s(100)).map(|it| it.position.offset), Some(5));
        assert!(all.take("long", at_s(100)).is_none() && all.len() == 0);
        all.keep("old", numbering(8), 1, at_s(100));
        all.forget_old(at_s(101), 64);
        assert_eq!((all.len(), all.next_ms(), all.forgotten()), (0, None, 0));
    }

    #[test]
    fn the_oldest_without_a_publication_makes_room() {
        let mut all = Numberings::new(4 * RECORD_BYTES, Key::of(1));
        for (second, (channel, published)) in
            (0..).zip([("p1", 1), ("e1", 0), ("p2", 1), ("e2", 0), ("e3", 0), ("p3", 1), ("p4", 1)])
        {
            all.keep(channel, numbering(published), 1_000, at_s(second));
        }
        let left: Vec<&str> = ["p1", "e1", "p2", "e2", "e3", "p3", "p4"]
            .into_iter()
            .filter(|channel| all.position(channel).is_some())
            .collect();
        assert_eq!(left, ["p1", "p2", "p3", "p4"]);
        all.keep("p5", numbering(1), 1_000, at_s(9));
        assert_eq!((offset(&all, "p1"), all.len(), all.forgotten()), (None, 4, 4));
    }

    #[test]
    fn places_are_used_again_and_versions_go_with_them() {
        let mut all = Numberings::new(1 << 20, Key::of(1));
        for round in 0..3 {
            for number in 0..100 {
                let version = (number % 2 == 0).then(Box::default);
                let kept = Numbering { version, ..numbering(number) };
                all.keep(&format!("c{number}"), kept, 1_000, at_s(round));
            }
            for number in 0..100 {
                let kept = all.take(&format!("c{number}"), at_s(round)).expect("it is there");
                assert_eq!(kept.position.offset, number);
                assert_eq!(kept.version.is_some(), number % 2 == 0);
            }
        }
        assert_eq!((all.records.len(), all.versions.len(), all.by_name.len()), (100, 0, 0));
    }
}
