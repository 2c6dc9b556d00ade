//! How a ring rings other cores: by a message from ring to ring, which takes three quarters of the
//! time that an eventfd takes which the other ring polls (6.18); and by that where there is no such
//! ring.
//!
//! Must not know the ring. Invariant: a message that did not arrive is made good by the bell.

use crate::driver::socket::Bell;
use std::os::fd::RawFd;

/// What the kernel says where a message will not arrive the next time either: nothing has the
/// number, no ring has it, its thread is gone, or messages are not known.
const FOR_GOOD: [i32; 5] =
    [libc::EBADF, libc::EBADFD, libc::EOWNERDEAD, libc::EINVAL, libc::EOPNOTSUPP];

/// Messages to a core that may fail, before only its bell is rung: its ring is not there yet, is
/// gone, or the kernel sends none.
const FAILURES_MAX: u8 = 8;

/// The other cores' bells, by index in the mesh; none cannot be rung.
#[derive(Debug)]
pub struct RingBells {
    bells: Vec<Option<Bell>>,
    failures: Vec<u8>,
}

impl RingBells {
    pub fn new(bells: Vec<Option<Bell>>) -> RingBells {
        RingBells { failures: vec![0; bells.len()], bells }
    }

    /// Rings a core; or gives the ring to send a message to instead.
    pub fn ring(&self, core: usize) -> Option<RawFd> {
        let bell = self.bells.get(core)?.as_ref()?;
        let ring = bell.ring_fd().filter(|_| self.failures[core] < FAILURES_MAX);
        if ring.is_none() {
            bell.ring();
        }
        ring
    }

    /// A message to a core did not arrive, for that reason.
    pub fn failed(&mut self, core: usize, errno: i32) {
        debug_assert!(core < self.bells.len(), "a core that there is not");
        if let Some(Some(bell)) = self.bells.get(core) {
            let counts = u8::from(FOR_GOOD.contains(&errno));
            self.failures[core] = self.failures[core].saturating_add(counts);
            bell.ring();
        }
    }
}
