//! What came in and waits: parts of heads and messages, and commands that may not run yet. It is
//! counted by whose it is, so that half messages of one kind of peer leave the others alone.
//!
//! Must not know sockets. Invariant: what is counted is the memory of what connections keep; what
//! is being worked off is not counted.

use crate::edge::connection::{Connection, Fact, Life};

/// Whose bytes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Peer {
    /// Speaks HTTP.
    Http,
    /// A WebSocket before its connect.
    Upgraded,
    Session,
    /// Came in by the internal listener, whatever it is.
    Internal,
}

impl Peer {
    /// Whose the bytes of a connection are.
    pub fn of(it: &Connection) -> Peer {
        if it.facts.has(Fact::Internal) {
            Peer::Internal
        } else if it.life == Life::Connecting {
            Peer::Http
        } else if it.facts.has(Fact::Counted) || it.facts.has(Fact::Echo) {
            Peer::Session
        } else {
            Peer::Upgraded
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Peer::Http => "http",
            Peer::Upgraded => "upgraded",
            Peer::Session => "sessions",
            Peer::Internal => "internal",
        }
    }
}

/// Bytes that wait, by whose they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spilled([u64; 4]);

impl Spilled {
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn of(&self, peer: Peer) -> u64 {
        self.0[peer as usize]
    }

    pub fn add(&mut self, peer: Peer, bytes: u64) {
        self.0[peer as usize] += bytes;
    }

    pub fn take(&mut self, peer: Peer, bytes: u64) {
        assert!(self.of(peer) >= bytes, "{} of {bytes} bytes of {}", self.of(peer), peer.name());
        self.0[peer as usize] -= bytes;
    }
}

/// Memory of what a connection keeps of what came in.
pub fn spill_held(it: &Connection) -> usize {
    it.deframer.held_bytes() + it.input.as_ref().map_or(0, |input| input.held_bytes())
}
