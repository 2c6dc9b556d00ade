//! How a sleeping core is woken: a flag, two fences, and the driver's way of ringing.
//!
//! The sleeper raises the flag, fences, checks once more for work, and sleeps. A sender commits,
//! fences, and rings if its `swap` found the flag raised. One of the two fences comes first: either
//! the sender sees the flag, or the sleeper sees the item.

use super::sync::{AtomicBool, Ordering, fence};
use std::sync::Arc;

/// One core's doorbell; clones are the same bell.
#[derive(Clone, Debug)]
pub struct Doorbell {
    asleep: Arc<AtomicBool>,
}

impl Default for Doorbell {
    fn default() -> Self {
        Doorbell { asleep: Arc::new(AtomicBool::new(false)) }
    }
}

impl Doorbell {
    /// The owner is about to sleep; it must check once more for everything it could do.
    pub fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// After a push or a pop: must the caller ring? True for one caller per sleep.
    #[must_use]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }
}
