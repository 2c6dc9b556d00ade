//! One direction between two cores: a bounded ring, and the flag by which a producer asks to be
//! rung when there is room again. A push into a full lane returns at once.

use super::room::Room;
use crate::rules::sabotage;

/// Makes a lane of `slots` items.
#[must_use]
pub fn lane<T>(slots: usize) -> (Sender<T>, Receiver<T>) {
    assert!(slots > 0, "a lane has at least one slot");
    let (producer, consumer) = rtrb::RingBuffer::new(slots);
    assert_eq!(producer.buffer().capacity(), slots, "credits count on exactly so many slots");
    let room = Room::default();
    (
        Sender { ring: producer, room: room.clone() },
        Receiver { ring: consumer, room, popped: false },
    )
}

/// The producing end.
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    room: Room,
}

impl<T> Sender<T> {
    /// Puts an item in.
    ///
    /// # Errors
    /// Returns the item if the lane is full; the consumer then rings once it has made room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.room
            .push(item, |item| self.ring.push(item).map_err(|rtrb::PushError::Full(item)| item))
    }

    /// Is there room for one item?
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.ring.is_full()
    }

    /// Free slots.
    #[must_use]
    pub fn room(&self) -> usize {
        let free = self.ring.slots();
        debug_assert!(free <= self.capacity(), "more room than slots");
        free
    }

    /// Slots, free or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.buffer().capacity()
    }

    /// Asks to be rung when there is room.
    pub fn want_room(&self) {
        self.room.want();
    }
}

/// The consuming end.
pub struct Receiver<T> {
    ring: rtrb::Consumer<T>,
    room: Room,
    popped: bool,
}

impl<T> Receiver<T> {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.ring.pop().ok();
        self.popped |= item.is_some();
        item
    }

    /// The oldest item.
    #[must_use]
    pub fn peek(&self) -> Option<&T> {
        self.ring.peek().ok()
    }

    /// Number of items in the lane.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waiting = self.ring.slots();
        debug_assert!(waiting <= self.ring.buffer().capacity(), "more items than slots");
        waiting
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Called after a run of pops: does the producer want to be rung?
    #[must_use]
    pub fn freed(&mut self) -> bool {
        sabotage!(SpaceBell => return false);
        std::mem::take(&mut self.popped) && self.room.made()
    }
}
