//! The tags of one publication, found by name without a walk through all of them.
//!
//! Must not know filters. Invariant: names are told apart by their letters; the hash, keyed, only
//! says where to look first.

use crate::codec::command::Tags;
use crate::hashing::Keyed;
use std::hash::BuildHasher;

/// A tag's name as a comparison asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagName {
    name: Box<str>,
    /// Where a table looks for it first.
    hash: u32,
}

impl TagName {
    /// A name, to be found once it is `keyed`.
    #[must_use]
    pub fn new(name: &str) -> TagName {
        TagName { name: name.into(), hash: 0 }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Learns where the tables of this key have it.
    pub fn keyed(&mut self, key: &Keyed) {
        self.hash = short(key.hash_one(&*self.name));
    }
}

fn short(hash: u64) -> u32 {
    u32::try_from(hash >> 32).expect("half a hash")
}

/// Where a tag's name and value lie among the packed ones.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    name: u32,
    value: u32,
    end: u32,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct TagTable {
    places: Vec<Place>,
    /// The number of a place and one, or 0; twice as many as there are tags, at least.
    slots: Vec<u16>,
    longest_bytes: usize,
}

impl TagTable {
    /// Takes in the tags of a publication, and forgets those of the one before.
    pub fn fill(&mut self, tags: Tags<'_>, key: &Keyed) {
        self.places.clear();
        self.longest_bytes = 0;
        let start = tags.bytes().as_ptr() as usize;
        let place = |text: &str| {
            u32::try_from(text.as_ptr() as usize - start).expect("a publication is bounded")
        };
        for (name, value) in tags.iter() {
            let end = place(value) + u32::try_from(value.len()).expect("it is bounded");
            let hash = short(key.hash_one(name));
            self.places.push(Place { hash, name: place(name), value: place(value), end });
            self.longest_bytes = self.longest_bytes.max(value.len());
        }
        self.slots.clear();
        self.slots.resize((2 * self.places.len()).next_power_of_two(), 0);
        let mask = self.slots.len() - 1;
        for (number, place) in (1..).zip(&self.places) {
            let mut slot = place.hash as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = number;
        }
    }

    /// The value of a tag among the tags that were taken in last.
    #[must_use]
    pub fn value<'a>(&self, tags: Tags<'a>, name: &TagName) -> Option<&'a str> {
        let bytes = tags.bytes();
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = name.hash as usize & mask;
        loop {
            let number = usize::from(self.slots[slot]).checked_sub(1)?;
            let place = &self.places[number];
            let at = place.name as usize;
            if place.hash == name.hash && bytes[at..place.value as usize] == *name.name.as_bytes() {
                return std::str::from_utf8(&bytes[place.value as usize..place.end as usize]).ok();
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Bytes of the longest value.
    #[must_use]
    pub fn longest_bytes(&self) -> usize {
        self.longest_bytes
    }
}
