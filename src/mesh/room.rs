//! How the producer of a full lane learns of room: a flag beside the core's doorbell.
//!
//! Must not know the ring. The producer raises the flag, fences, and checks once more; the consumer
//! makes room, fences, and checks the flag. One of the two fences comes first: either the producer
//! sees the room, or the consumer sees the flag.

use super::sync::{AtomicBool, Ordering, fence};
use std::sync::Arc;

/// One lane's want-room flag; each end of the lane has one of its two clones.
#[derive(Clone, Debug)]
pub struct Room {
    wanted: Arc<AtomicBool>,
}

impl Default for Room {
    fn default() -> Self {
        Room { wanted: Arc::new(AtomicBool::new(false)) }
    }
}

impl Room {
    /// Pushes. If that fails, raises the flag and tries once more.
    ///
    /// # Errors
    /// The item, if there is no room; the flag is then raised.
    pub fn push<T>(&self, item: T, mut push: impl FnMut(T) -> Result<(), T>) -> Result<(), T> {
        push(item).or_else(|item| {
            self.want();
            push(item)
        })
    }

    /// Raises the flag; the producer must check once more before it sleeps.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// After room was made: does the producer want to be rung? True once per raised flag.
    #[must_use]
    pub fn made(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed)
    }
}
