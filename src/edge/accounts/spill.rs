//! Received bytes that wait: partial heads and messages, and commands that may not run yet. They
//! are counted by kind of peer, so that partial messages of one kind do not affect the others.
//!
//! Must not know sockets. Invariant: the count is the memory of what connections keep, without what
//! is being processed.

use crate::edge::connection::{Connection, Fact, Life};

/// The kind of peer whose bytes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Peer {
    /// It speaks HTTP.
    Http,
    /// A WebSocket before its connect.
    Upgraded,
    Session,
    /// It was accepted by the internal listener, whatever it speaks.
    Internal,
}

impl Peer {
    /// The kind of a connection.
    pub fn of(it: &Connection) -> Peer {
        if it.facts.has(Fact::Internal) {
            Peer::Internal
        } else if it.life == Life::Http {
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

/// Waiting bytes, by kind of peer.
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

/// Memory of the received bytes that a connection keeps.
pub fn spill_memory(it: &Connection) -> usize {
    it.deframer.held_bytes() + it.input.as_ref().map_or(0, |input| input.held_bytes())
}
