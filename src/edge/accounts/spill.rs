//! What came in and waits: parts of heads and messages, and commands that may not run yet. It is
//! counted by whose it is, so that half messages of one kind of peer leave the others alone.
//!
//! Must not know sockets. Invariant: what is counted is the memory of what connections keep; what
//! is being worked off is not counted.

use super::shedding::relieved;
use crate::clock::Now;
use crate::edge::connection::{Connection, Fact, Life};
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge};
use crate::metrics::Cause;
use crate::ws::frame::close_code;

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

    fn name(self) -> &'static str {
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

    fn of(&self, peer: Peer) -> u64 {
        self.0[peer as usize]
    }

    fn add(&mut self, peer: Peer, bytes: u64) {
        self.0[peer as usize] += bytes;
    }

    fn take(&mut self, peer: Peer, bytes: u64) {
        assert!(self.of(peer) >= bytes, "{} of {bytes} bytes of {}", self.of(peer), peer.name());
        self.0[peer as usize] -= bytes;
    }
}

/// Memory of what a connection keeps of what came in.
pub fn spill_held(it: &Connection) -> usize {
    it.deframer.held_bytes() + it.input.as_ref().map_or(0, |input| input.held_bytes())
}

impl Edge {
    /// A connection keeps more; where that is more than its kind of peer may, those of its kind
    /// that keep most are ended.
    pub(in crate::edge) fn spill_grew(&mut self, conn: ConnectionId, bytes: usize, now: Now) {
        if bytes == 0 {
            return;
        }
        self.note_spill(conn);
        let peer = Peer::of(self.at(conn));
        self.accounts.spilled.add(peer, bytes as u64);
        let bound = self.spill_bound(peer);
        if bound > 0 && self.accounts.spilled.of(peer) > bound {
            self.shed_spill(peer, bound, now);
        }
    }

    /// A connection keeps less.
    pub(in crate::edge) fn spill_shrank(&mut self, conn: ConnectionId, bytes: usize) {
        let peer = Peer::of(self.at(conn));
        self.accounts.spilled.take(peer, bytes as u64);
    }

    /// A connection that ends keeps nothing.
    pub(in crate::edge) fn forget_spill(&mut self, conn: ConnectionId) {
        let held = spill_held(self.at(conn));
        self.spill_shrank(conn, held);
        let it = self.at(conn);
        drop(std::mem::take(&mut it.deframer));
        if let Some(input) = it.input.as_mut() {
            (input.wire, input.message) = (Vec::new(), Vec::new());
            input.later = Vec::new();
        }
    }

    /// A WebSocket has become a session, with what it keeps.
    pub(in crate::edge) fn spill_becomes_sessions(&mut self, conn: ConnectionId) {
        let held = spill_held(self.at(conn)) as u64;
        let before = Peer::of(self.at(conn));
        self.at(conn).facts.set(Fact::Counted, true);
        let after = Peer::of(self.at(conn));
        self.accounts.spilled.take(before, held);
        self.accounts.spilled.add(after, held);
    }

    /// Bytes that may wait of one kind of peer: of strangers, and of the internal listener, a
    /// quarter of what may of sessions, but one message at least. 0: no limit.
    fn spill_bound(&self, peer: Peer) -> u64 {
        let bound = self.limits.spill_bytes_per_worker;
        if peer == Peer::Session || bound == 0 {
            return bound;
        }
        (bound / 4).max(2 * u64::from(self.limits.message_bytes))
    }

    fn shed_spill(&mut self, peer: Peer, bound: u64, now: Now) {
        let before = self.accounts.spilled.of(peer);
        let mut heap = self.spill_holders(peer);
        let mut ended = 0_u32;
        while self.accounts.spilled.of(peer) > relieved(bound) {
            let Some(holder) = heap.pop() else { break };
            self.end_spilling(holder.id(), now);
            ended += 1;
        }
        let bytes = before - self.accounts.spilled.of(peer);
        tracing::info!(
            core = self.core,
            peers = peer.name(),
            connections = ended,
            bytes,
            "more came in and waits than limits.spill_bytes_per_worker: ended those of most"
        );
    }

    fn end_spilling(&mut self, conn: ConnectionId, now: Now) {
        let reason = "it held most of what came in and waits";
        self.refused(conn, Cause::Spill, reason, &About::default(), now);
        if matches!(self.life(conn), Life::Authenticating | Life::Active) {
            self.fail(conn, close_code::TRY_AGAIN_LATER, "try again later", now);
        } else {
            self.kill(conn, now);
        }
    }
}
