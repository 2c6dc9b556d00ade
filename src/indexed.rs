//! A list that finds its items by key, with a hash table once there are more than a few.
//!
//! A leaf. Invariants: no two items have the same key; the table exists only while the list is
//! longer than `FEW`, or was so until it shrank well below that.

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash};

/// List length up to which a linear search is as fast as a table.
pub const FEW: usize = 128;

/// The key of an item: a number that the server assigns, so clients cannot choose colliding ones.
pub trait Of {
    type Of: Hash + Eq + Copy;

    fn of(&self) -> Self::Of;
}

/// The list.
#[derive(Debug)]
pub struct Indexed<T> {
    list: Vec<T>,
    places: HashTable<u32>,
}

impl<T: Of> From<Vec<T>> for Indexed<T> {
    fn from(list: Vec<T>) -> Indexed<T> {
        let mut all = Indexed { list, places: HashTable::new() };
        all.index();
        all
    }
}

impl<T: Of> Indexed<T> {
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.list
    }

    /// The index of an item in the list.
    #[must_use]
    pub fn place(&self, of: T::Of) -> Option<usize> {
        if self.places.is_empty() {
            return self.list.iter().position(|it| it.of() == of);
        }
        let is = |at: &u32| self.list[*at as usize].of() == of;
        self.places.find(hash(of), is).map(|at| *at as usize)
    }

    /// The item at an index.
    pub fn at(&mut self, place: usize) -> Option<&mut T> {
        self.list.get_mut(place)
    }

    /// Adds an item with a key that is not in the list yet.
    pub fn push(&mut self, it: T) {
        let of = it.of();
        self.list.push(it);
        if self.places.is_empty() {
            return self.index();
        }
        let (list, place) = (&self.list, narrow(self.list.len() - 1));
        self.places.insert_unique(hash(of), place, |at| hash(list[*at as usize].of()));
    }

    /// Removes an item; the last one moves to its index.
    pub fn remove(&mut self, of: T::Of) -> Option<T> {
        let place = self.place(of)?;
        if self.places.is_empty() {
            return Some(self.list.swap_remove(place));
        }
        self.forget(of, place);
        let gone = self.list.swap_remove(place);
        if self.list.len() <= FEW / 4 {
            // Only well below `FEW`, so that a length that goes up and down around it does not
            // rebuild the table each time.
            self.places = HashTable::new();
            self.list.shrink_to_fit();
        } else if let Some(moved) = self.list.get(place) {
            let last = narrow(self.list.len());
            let listed = self.places.find_mut(hash(moved.of()), |at| *at == last);
            *listed.expect("what is in the list is in the table") = narrow(place);
        }
        Some(gone)
    }

    /// Empties the list and returns its items.
    pub fn take(&mut self) -> Vec<T> {
        self.places = HashTable::new();
        std::mem::take(&mut self.list)
    }

    fn forget(&mut self, of: T::Of, place: usize) {
        match self.places.find_entry(hash(of), |at| *at as usize == place) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("what is in the list is in the table"),
        }
    }

    fn index(&mut self) {
        if self.list.len() <= FEW {
            return;
        }
        let list = &self.list;
        for (place, it) in list.iter().enumerate() {
            let rehash = |at: &u32| hash(list[*at as usize].of());
            self.places.insert_unique(hash(it.of()), narrow(place), rehash);
        }
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("what is listed is bounded")
}

fn hash(of: impl Hash) -> u64 {
    FixedState::default().hash_one(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Of for u64 {
        type Of = u64;

        fn of(&self) -> u64 {
            *self
        }
    }

    /// The list grows and shrinks across the lengths at which the table is built and dropped.
    #[test]
    fn it_says_what_a_list_would() {
        let mut all = Indexed::from(Vec::<u64>::new());
        let mut plain: Vec<u64> = Vec::new();
        for round in 0..1_600_u64 {
            let grows = (round / 200) % 2 == 0;
            if grows || plain.is_empty() {
                all.push(round * 3);
                plain.push(round * 3);
            } else {
                let gone = plain.swap_remove(usize::try_from(round * 7).unwrap() % plain.len());
                assert_eq!(all.remove(gone), Some(gone));
                assert!(all.place(gone).is_none() && all.remove(gone).is_none());
            }
            assert_eq!(all.as_slice(), plain, "in one order");
            for (place, it) in plain.iter().enumerate() {
                assert_eq!((all.place(*it), all.at(place)), (Some(place), Some(&mut it.clone())));
            }
        }
        assert!(all.take().len() == plain.len() && all.as_slice().is_empty());
    }
}
