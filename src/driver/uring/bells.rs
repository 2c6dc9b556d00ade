//! How a ring wakes other cores: by a message from ring to ring, which takes three quarters of the
//! time of an eventfd that the other ring polls (6.18); or by the eventfd if the other core has no
//! ring.
//!
//! Must not know the ring. Invariant: if a message does not arrive the bell is rung instead.

use crate::driver::socket::Bell;
use std::os::fd::RawFd;

/// Errors after which further messages would fail too: nothing has the number, no ring has it, its
/// thread is gone, or messages are not supported.
const FOR_GOOD: [i32; 5] =
    [libc::EBADF, libc::EBADFD, libc::EOWNERDEAD, libc::EINVAL, libc::EOPNOTSUPP];

/// Failed messages to a core after which only its bell is rung: its ring does not exist yet, is
/// gone, or the kernel does not send messages.
const FAILURES_MAX: u8 = 8;

/// The other cores' bells, by index in the mesh; `None` cannot be rung.
#[derive(Debug)]
pub struct RingBells {
    bells: Vec<Option<Bell>>,
    failures: Vec<u8>,
}

impl RingBells {
    pub fn new(bells: Vec<Option<Bell>>) -> RingBells {
        RingBells { failures: vec![0; bells.len()], bells }
    }

    /// Rings a core's bell; or returns its ring, to be sent a message.
    pub fn ring(&self, core: usize) -> Option<RawFd> {
        let bell = self.bells.get(core)?.as_ref()?;
        let ring = bell.ring_fd().filter(|_| self.failures[core] < FAILURES_MAX);
        if ring.is_none() {
            bell.ring();
        }
        ring
    }

    /// A message to a core failed with this error.
    pub fn failed(&mut self, core: usize, errno: i32) {
        debug_assert!(core < self.bells.len(), "a core that there is not");
        if let Some(Some(bell)) = self.bells.get(core) {
            let counts = u8::from(FOR_GOOD.contains(&errno));
            self.failures[core] = self.failures[core].saturating_add(counts);
            bell.ring();
        }
    }
}
