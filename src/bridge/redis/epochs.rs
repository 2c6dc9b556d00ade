//! What is known of streams' epochs, so that a publication goes the quick way; and the floor, below
//! which no epoch is used (rule 29).
//!
//! Must not know Redis. Invariants: no more names than two generations; what is forgotten, or
//! wrong, costs a slow publication and nothing else; no epoch below the floor is given.

use crate::contract::name::Name;
use crate::contract::position::Epoch;
use std::collections::BTreeMap;

/// See the module's page.
#[derive(Debug)]
pub struct Epochs {
    floor: u64,
    /// Names of one generation, at most.
    most: usize,
    young: BTreeMap<Name, Epoch>,
    old: BTreeMap<Name, Epoch>,
}

impl Epochs {
    #[must_use]
    pub fn new(most: usize) -> Epochs {
        assert!(most > 0, "a table without room");
        Epochs { floor: 0, most, young: BTreeMap::new(), old: BTreeMap::new() }
    }

    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Raises the floor, and forgets what is below; true where it was lower. It is never lowered:
    /// what was declared stays so.
    pub fn raise(&mut self, floor: u64) -> bool {
        let is_raised = floor > self.floor;
        if is_raised {
            self.floor = floor;
            self.young.clear();
            self.old.clear();
        }
        is_raised
    }

    /// Is a stream of this epoch as good as none?
    #[must_use]
    pub fn is_below(&self, epoch: Epoch) -> bool {
        epoch.0 < self.floor
    }

    /// A stream's epoch, as far as is known.
    pub fn of(&mut self, channel: &Name) -> Option<Epoch> {
        if let Some(epoch) = self.young.get(channel) {
            return Some(*epoch);
        }
        let epoch = self.old.remove(channel)?;
        self.note(channel, epoch);
        Some(epoch)
    }

    /// A stream has this epoch.
    pub fn note(&mut self, channel: &Name, epoch: Epoch) {
        if self.is_below(epoch) {
            return;
        }
        if self.young.len() >= self.most && !self.young.contains_key(channel) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(channel.clone(), epoch);
        debug_assert!(self.young.len() <= self.most && self.old.len() <= self.most);
    }

    /// What was known of a stream is wrong.
    pub fn forget(&mut self, channel: &Name) {
        self.young.remove(channel);
        self.old.remove(channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_known() {
        let mut epochs = Epochs::new(2);
        let names: Vec<Name> = ["a", "b", "c", "d", "e"].map(Name::from).into();
        for (number, name) in (1..).zip(&names) {
            epochs.note(name, Epoch(number));
            assert_eq!(epochs.of(&names[0]), Some(Epoch(1)), "it is used all the time");
        }
        assert_eq!(epochs.of(&names[4]), Some(Epoch(5)));
        assert_eq!(epochs.of(&names[1]), None);
        epochs.note(&names[0], Epoch(9));
        assert_eq!(epochs.of(&names[0]), Some(Epoch(9)));
        epochs.forget(&names[0]);
        assert_eq!(epochs.of(&names[0]), None);
    }

    #[test]
    fn nothing_below_the_floor_is_known() {
        let mut epochs = Epochs::new(2);
        let name = Name::from("a");
        epochs.note(&name, Epoch(5));
        assert!(epochs.raise(6) && !epochs.raise(6) && !epochs.raise(5));
        assert_eq!((epochs.floor(), epochs.of(&name)), (6, None));
        epochs.note(&name, Epoch(5));
        assert_eq!(epochs.of(&name), None);
        epochs.note(&name, Epoch(6));
        assert_eq!(epochs.of(&name), Some(Epoch(6)));
    }
}
