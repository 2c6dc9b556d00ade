//! How many of a driver's slots the connections of each listener use. Some slots are kept for all
//! listeners except the first, so that clients that fill the public listener cannot block the
//! internal one.
//!
//! Must not know sockets. Invariant: connections of the first listener never use a slot that is
//! kept for the others.

/// The slots of a driver, by listener.
#[derive(Debug)]
pub struct Shares {
    max: u32,
    /// Of `max`, those that connections of the first listener may not use.
    kept: u32,
    first: u32,
    others: u32,
    /// One bit for each slot that a connection of another listener uses; only as long as necessary.
    of_others: Vec<u64>,
}

impl Shares {
    pub fn new(max: u32, kept: u32) -> Shares {
        Shares { max, kept: kept.min(max), first: 0, others: 0, of_others: Vec::new() }
    }

    /// May one more connection of this listener take a slot?
    pub fn has_room(&self, listener: u32) -> bool {
        debug_assert!(self.first + self.others <= self.max, "more slots in use than there are");
        let full = self.first + self.others >= self.max;
        !full && (listener > 0 || self.first < self.max - self.kept)
    }

    /// A connection of this listener takes a slot.
    pub fn take(&mut self, slot: u32, listener: u32) {
        debug_assert!(self.has_room(listener));
        if listener == 0 {
            self.first += 1;
            return;
        }
        self.others += 1;
        let word = slot as usize / 64;
        if self.of_others.len() <= word {
            self.of_others.resize(word + 1, 0);
        }
        debug_assert!(self.of_others[word] & 1 << (slot % 64) == 0, "the slot is in use");
        self.of_others[word] |= 1 << (slot % 64);
    }

    /// Frees a slot.
    pub fn give(&mut self, slot: u32) {
        debug_assert!(self.first + self.others > 0, "a slot that nobody took");
        let bit = 1 << (slot % 64);
        match self.of_others.get_mut(slot as usize / 64).filter(|word| **word & bit != 0) {
            Some(word) => {
                *word &= !bit;
                self.others -= 1;
            }
            None => self.first -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_the_first_listeners() {
        let mut shares = Shares::new(5, 2);
        for slot in 0..3 {
            shares.take(slot, 0);
        }
        assert!(!shares.has_room(0) && shares.has_room(1));
        shares.take(3, 1);
        shares.take(4, 1);
        assert!(!shares.has_room(1));
        shares.give(1);
        assert!(shares.has_room(0) && shares.has_room(1));
        shares.take(1, 1);
        assert!(!shares.has_room(0) && !shares.has_room(1), "others may take what is free");
        shares.give(3);
        assert!(!shares.has_room(0) || shares.first < 3);
        shares.give(4);
        shares.give(1);
        assert_eq!((shares.first, shares.others), (2, 0));
    }
}
