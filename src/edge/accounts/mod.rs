//! The bytes that a worker holds for its connections, by kind of peer.
//!
//! Must not know what happens when it is too much: `lifecycle` ends connections then. Invariants:
//! an account is the sum of what its connections hold, so it never goes below zero, and is zero
//! without connections; every connection that may hold something is in the roster.

mod books;
pub mod roster;
pub mod spill;

use crate::edge::accounts::roster::Roster;
use crate::edge::accounts::spill::{Peer, Spilled};

/// Bytes that a worker holds for its connections.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Received bytes that wait, by kind of peer.
    spilled: Spilled,
    /// Connections that keep received bytes.
    spilling: Roster,
    /// Unsent bytes, including recovery answers and chunks in flight.
    unsent_bytes: u64,
    /// Connections with unsent bytes.
    backlogged: Roster,
    /// Connections will be ended because too many unsent bytes wait.
    sheds: bool,
    /// Bodies and answers of the server API's calls.
    call_bytes: u64,
}

impl Accounts {
    /// Connections that may have unsent bytes.
    pub fn backlogged(&self) -> &Roster {
        &self.backlogged
    }

    /// Connections that may keep received bytes.
    pub fn spilling(&self) -> &Roster {
        &self.spilling
    }

    /// Received bytes that wait, of one kind of peer.
    #[must_use]
    pub fn spilled_of(&self, peer: Peer) -> u64 {
        self.spilled.of(peer)
    }

    /// More received bytes of one kind of peer wait.
    pub fn spill_more(&mut self, peer: Peer, bytes: usize) {
        self.spilled.add(peer, bytes as u64);
    }

    /// Fewer received bytes of one kind of peer wait.
    pub fn spill_less(&mut self, peer: Peer, bytes: usize) {
        self.spilled.take(peer, bytes as u64);
    }

    /// Sets whether connections will be ended because too many unsent bytes wait; returns the
    /// previous value.
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

    /// A call holds `bytes` more. Returns false, and counts nothing, if the worker would hold more
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
