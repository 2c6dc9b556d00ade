//! One direction between two cores: a bounded ring, and the flag by which a producer asks to be
//! rung when there is room again. A full lane is an answer, never a wait.

use super::sync::{AtomicBool, Ordering, fence};
use std::sync::Arc;

/// Makes a lane of `slots` items.
#[must_use]
pub fn lane<T>(slots: usize) -> (Sender<T>, Receiver<T>) {
    assert!(slots > 0, "a lane has at least one slot");
    let (producer, consumer) = rtrb::RingBuffer::new(slots);
    let want_room = Arc::new(AtomicBool::new(false));
    let wanted = Arc::clone(&want_room);
    (
        Sender { ring: producer, want_room },
        Receiver { ring: consumer, want_room: wanted, popped: false },
    )
}

/// The producing end.
pub struct Sender<T> {
    ring: rtrb::Producer<T>,
    want_room: Arc<AtomicBool>,
}

impl<T> Sender<T> {
    /// Puts an item in.
    ///
    /// # Errors
    /// Gives the item back when the lane is full; the consumer then rings once it has made room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        match self.ring.push(item) {
            Ok(()) => Ok(()),
            Err(rtrb::PushError::Full(item)) => {
                self.want_room();
                // Room may have come between the failure and the flag.
                self.ring.push(item).map_err(|rtrb::PushError::Full(item)| item)
            }
        }
    }

    /// Is there room for one item?
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.ring.is_full()
    }

    /// Free slots.
    #[must_use]
    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// Asks to be rung when there is room.
    pub fn want_room(&self) {
        self.want_room.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

/// The consuming end.
pub struct Receiver<T> {
    ring: rtrb::Consumer<T>,
    want_room: Arc<AtomicBool>,
    popped: bool,
}

impl<T> Receiver<T> {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.ring.pop().ok();
        self.popped |= item.is_some();
        item
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Called after a run of pops: does the producer want to be rung?
    #[must_use]
    pub fn freed(&mut self) -> bool {
        if !std::mem::take(&mut self.popped) {
            return false;
        }
        fence(Ordering::SeqCst);
        self.want_room.load(Ordering::Relaxed) && self.want_room.swap(false, Ordering::Relaxed)
    }
}
