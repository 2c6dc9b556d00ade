//! Which connections are closed when a worker holds too many bytes: those that hold most, not the
//! one that came last.
//!
//! Must not know sockets. Invariant: nothing is searched while the worker is within its bounds.
//! Over a bound its holders are visited once, and enough are closed to bring it a sixteenth below
//! the bound, so that the next search is far away.

use crate::clock::Now;
use crate::edge::accounts::spill::Peer;
use crate::edge::connection::{Fact, Life};
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge};
use crate::metrics::Cause;
use crate::ws::frame::close_code;
use std::collections::BinaryHeap;

/// A connection and the bytes it holds; the heaviest compares greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Connections of the internal listener are closed only when no others are left.
    foreign: bool,
    bytes: usize,
    index: u32,
    generation: u32,
}

impl Holder {
    pub fn id(self) -> ConnectionId {
        ConnectionId { index: self.index, generation: self.generation }
    }
}

/// The target when a bound was exceeded.
pub fn relieved(bound: u64) -> u64 {
    bound - bound / 16
}

impl Edge {
    fn holder(&self, conn: ConnectionId, bytes: usize) -> Holder {
        let foreign = bytes > 0 && !self.connection(conn).facts.has(Fact::Internal);
        Holder { foreign, bytes, index: conn.index, generation: conn.generation }
    }

    /// Connections of one kind of peer that keep received bytes.
    pub(in crate::edge) fn spill_holders(&self, peer: Peer) -> BinaryHeap<Holder> {
        let mut heap = BinaryHeap::new();
        for conn in self.accounts.spilling().iter() {
            let bytes = self.unread_memory(*conn);
            if bytes > 0 && Peer::of(self.connection(*conn)) == peer {
                heap.push(self.holder(*conn, bytes));
            }
        }
        heap
    }

    /// Closes the connections with most unsent bytes, until few enough are left.
    pub(in crate::edge) fn shed_backlogs(&mut self, now: Now) {
        self.accounts.set_sheds(false);
        let bound = self.limits.backlog_bytes_per_worker;
        if bound == 0 || self.accounts.unsent_bytes() <= bound {
            return;
        }
        let before = self.accounts.unsent_bytes();
        let mut heap = BinaryHeap::with_capacity(self.accounts.backlogged().len());
        for conn in self.accounts.backlogged().iter() {
            let bytes = self.unsent_memory(*conn);
            if bytes > 0 {
                heap.push(self.holder(*conn, bytes));
            }
        }
        let mut ended = 0_u32;
        while self.accounts.unsent_bytes() > relieved(bound) {
            let Some(holder) = heap.pop() else { break };
            self.close_holder(holder.id(), now);
            ended += 1;
        }
        let bytes = before - self.accounts.unsent_bytes();
        tracing::info!(
            core = self.core,
            connections = ended,
            bytes,
            "more waited unsent than limits.backlog_bytes_per_worker: ended those of most"
        );
    }

    fn close_holder(&mut self, conn: ConnectionId, now: Now) {
        match self.life(conn) {
            Life::Authenticating | Life::Active => self.close_slow(conn, now),
            Life::Http => {
                let reason = "its response is not read, and the worker holds more than it may";
                self.refused(conn, Cause::Unread, reason, &About::default(), now);
                self.close_now(conn, now);
            }
            _ => self.close_now(conn, now),
        }
        // The chunk in flight would be kept until its reader makes progress or the time is up.
        if self.accounts.unsent_bytes() > self.limits.backlog_bytes_per_worker {
            self.close_now(conn, now);
        }
    }

    /// A connection keeps more received bytes. If its kind of peer exceeds its bound, the
    /// connections of that kind that keep most are closed.
    pub(in crate::edge) fn spill_grew(&mut self, conn: ConnectionId, bytes: usize, now: Now) {
        if bytes == 0 {
            return;
        }
        self.note_spill(conn);
        let peer = Peer::of(self.at(conn));
        self.accounts.spill_more(peer, bytes);
        let bound = self.spill_bound(peer);
        if bound > 0 && self.accounts.spilled_of(peer) > bound {
            self.shed_spill(peer, bound, now);
        }
    }

    /// Bound on the received bytes of one kind of peer: for strangers, and for the internal
    /// listener, a quarter of that for sessions, but at least one message. 0: no limit.
    fn spill_bound(&self, peer: Peer) -> u64 {
        let bound = self.limits.spill_bytes_per_worker;
        if peer == Peer::Session || bound == 0 {
            return bound;
        }
        (bound / 4).max(2 * u64::from(self.limits.message_bytes))
    }

    fn shed_spill(&mut self, peer: Peer, bound: u64, now: Now) {
        let before = self.accounts.spilled_of(peer);
        let mut heap = self.spill_holders(peer);
        let mut ended = 0_u32;
        while self.accounts.spilled_of(peer) > relieved(bound) {
            let Some(holder) = heap.pop() else { break };
            self.close_spilling(holder.id(), now);
            ended += 1;
        }
        let bytes = before - self.accounts.spilled_of(peer);
        tracing::info!(
            core = self.core,
            peers = peer.name(),
            connections = ended,
            bytes,
            "more came in and waits than limits.spill_bytes_per_worker: ended those of most"
        );
    }

    fn close_spilling(&mut self, conn: ConnectionId, now: Now) {
        let reason = "it held most of what came in and waits";
        self.refused(conn, Cause::Spill, reason, &About::default(), now);
        if matches!(self.life(conn), Life::Authenticating | Life::Active) {
            self.close_failed(conn, close_code::TRY_AGAIN_LATER, "try again later", now);
        } else {
            self.close_now(conn, now);
        }
    }
}
