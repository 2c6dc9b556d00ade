//! The tags of one publication, found by name without scanning all of them.
//!
//! Must not know filters. Invariant: names are compared by their bytes; the keyed hash only says
//! where to look first.

use crate::codec::command::Tags;
use crate::hashing::Keyed;
use std::hash::BuildHasher;

/// The name of a tag in a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagName {
    name: Box<str>,
    /// Where a table looks for it first.
    hash: u32,
}

impl TagName {
    /// A name that cannot be found before `keyed` is called.
    #[must_use]
    pub fn new(name: &str) -> TagName {
        TagName { name: name.into(), hash: 0 }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Stores its hash for tables with this key.
    pub fn keyed(&mut self, key: &Keyed) {
        self.hash = short(key.hash_one(&*self.name));
    }
}

fn short(hash: u64) -> u32 {
    u32::try_from(hash >> 32).expect("half a hash")
}

/// Where a tag's name and value are in the packed tags.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    name: u32,
    value: u32,
    end: u32,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct TagTable {
    places: Vec<Place>,
    /// Index of a tag plus one, or 0 for an empty slot; at least twice as many slots as tags.
    slots: Vec<u16>,
    longest_bytes: usize,
}

impl TagTable {
    /// Replaces the tags with those of another publication.
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

    /// The value of a tag.
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
