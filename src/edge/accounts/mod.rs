//! What a worker holds for its connections in bytes, by whose it is.
//!
//! Must not know what happens when it is too much: `lifecycle` ends connections then. Invariants:
//! an account is the sum of what its connections hold, so it never goes below zero and is zero when
//! nobody is left; whoever may hold something is in the roster of those.

mod books;
pub mod roster;
pub mod spill;

use crate::edge::accounts::roster::Roster;
use crate::edge::accounts::spill::{Peer, Spilled};

/// Bytes that a worker holds for its connections.
#[derive(Debug, Default)]
pub struct Accounts {
    /// What came in and waits, by whose it is.
    spilled: Spilled,
    /// Connections from which something came that waits.
    spilling: Roster,
    /// What waits unsent, recovery answers and chunks in flight included.
    unsent_bytes: u64,
    /// Connections with something unsent.
    backlogged: Roster,
    /// Somebody is going to be ended because too much waits unsent.
    sheds: bool,
    /// Bodies and answers of the server API's calls.
    call_bytes: u64,
}

impl Accounts {
    /// Connections that may have something unsent.
    pub fn backlogged(&self) -> &Roster {
        &self.backlogged
    }

    /// Connections from which something came that may wait.
    pub fn spilling(&self) -> &Roster {
        &self.spilling
    }

    /// Bytes that came in and wait, of one kind of peer.
    #[must_use]
    pub fn spilled_of(&self, peer: Peer) -> u64 {
        self.spilled.of(peer)
    }

    /// More came in from one kind of peer, and waits.
    pub fn spill_more(&mut self, peer: Peer, bytes: usize) {
        self.spilled.add(peer, bytes as u64);
    }

    /// Less of what came in from one kind of peer waits.
    pub fn spill_less(&mut self, peer: Peer, bytes: usize) {
        self.spilled.take(peer, bytes as u64);
    }

    /// Notes whether connections are going to be ended because too much waits unsent; what was
    /// noted before.
    pub fn set_sheds(&mut self, sheds: bool) -> bool {
        std::mem::replace(&mut self.sheds, sheds)
    }

    /// A connection that held `before` unsent bytes now holds `after`.
    #[inline]
    pub fn unsent_changed(&mut self, before: usize, after: usize) {
        debug_assert!(self.unsent_bytes >= before as u64, "{} of {before}", self.unsent_bytes);
        self.unsent_bytes = self.unsent_bytes + after as u64 - before as u64;
    }

    #[must_use]
    pub fn unsent_bytes(&self) -> u64 {
        self.unsent_bytes
    }

    #[must_use]
    pub fn spilled_bytes(&self) -> u64 {
        self.spilled.sum()
    }

    #[must_use]
    pub fn call_bytes(&self) -> u64 {
        self.call_bytes
    }

    /// A call holds `bytes` more; false, and nothing is counted, when the worker would hold more
    /// than `bytes_max` for calls. 0: no limit.
    #[must_use]
    pub fn charge_call(&mut self, bytes: u64, bytes_max: u64) -> bool {
        let fits = bytes_max == 0 || self.call_bytes + bytes <= bytes_max;
        self.call_bytes += if fits { bytes } else { 0 };
        fits
    }

    /// A call holds `bytes` less.
    pub fn discharge_call(&mut self, bytes: u64) {
        assert!(self.call_bytes >= bytes, "{} of {bytes}", self.call_bytes);
        self.call_bytes -= bytes;
    }
}
