//! Who goes when a worker holds more than it may: whoever holds most, not whoever came last.
//!
//! Must not know sockets. Invariant: nobody is looked for while the worker is within its bounds;
//! over one of them its holders are looked at once, and as many go as bring it a sixteenth below
//! the bound, so that the next look is far away.

use super::spill::{Peer, spill_held};
use crate::clock::Now;
use crate::edge::connection::{Fact, Life};
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge, Late};
use crate::metrics::Cause;
use std::collections::BinaryHeap;

/// A connection and what it holds; the heaviest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Those of the internal listener go when nobody else is left.
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

/// What a worker's bound comes down to when somebody has to go.
pub fn relieved(bound: u64) -> u64 {
    bound - bound / 16
}

impl Edge {
    /// Notes that a connection has something unsent, so that it can be found.
    pub(in crate::edge) fn note_backlog(&mut self, conn: ConnectionId) {
        if self.at(conn).facts.replace(Fact::Backlogged, true) {
            return;
        }
        if self.accounts.backlogged.is_crowded() {
            let mut roster = std::mem::take(&mut self.accounts.backlogged);
            roster.compact(|conn| self.still_holds(*conn, Fact::Backlogged, Edge::unsent_held));
            self.accounts.backlogged = roster;
        }
        self.accounts.backlogged.push(conn);
    }

    /// Notes that a connection keeps something of what came in.
    pub(in crate::edge) fn note_spill(&mut self, conn: ConnectionId) {
        if self.at(conn).facts.replace(Fact::Spilled, true) {
            return;
        }
        if self.accounts.spilling.is_crowded() {
            let mut roster = std::mem::take(&mut self.accounts.spilling);
            roster.compact(|conn| self.still_holds(*conn, Fact::Spilled, Edge::unread_held));
            self.accounts.spilling = roster;
        }
        self.accounts.spilling.push(conn);
    }

    /// Whether a connection holds something; the fact that it does is taken back where not.
    fn still_holds(
        &mut self,
        conn: ConnectionId,
        fact: Fact,
        held: fn(&Edge, ConnectionId) -> usize,
    ) -> bool {
        let holds = held(self, conn) > 0;
        if !holds && self.is_current(conn) {
            self.at(conn).facts.set(fact, false);
        }
        holds
    }

    /// Memory of what a connection has not been sent.
    fn unsent_held(&self, conn: ConnectionId) -> usize {
        if !self.is_current(conn) {
            return 0;
        }
        let it = self.connection(conn);
        let held = it.server().map_or(0, |server| server.held.bytes());
        held + it.backlog.as_ref().map_or(0, |backlog| backlog.held_bytes())
    }

    /// Memory of what a connection keeps of what came in.
    fn unread_held(&self, conn: ConnectionId) -> usize {
        if self.is_current(conn) { spill_held(self.connection(conn)) } else { 0 }
    }

    fn holder(&self, conn: ConnectionId, bytes: usize) -> Holder {
        let foreign = bytes > 0 && !self.connection(conn).facts.has(Fact::Internal);
        Holder { foreign, bytes, index: conn.index, generation: conn.generation }
    }

    /// Those of one kind of peer that keep something of what came in.
    pub(in crate::edge) fn spill_holders(&self, peer: Peer) -> BinaryHeap<Holder> {
        let mut heap = BinaryHeap::new();
        for conn in self.accounts.spilling.iter() {
            let bytes = self.unread_held(*conn);
            if bytes > 0 && Peer::of(self.connection(*conn)) == peer {
                heap.push(self.holder(*conn, bytes));
            }
        }
        heap
    }

    /// More waits unsent on this worker than may: somebody has to go, in a later stage.
    pub(in crate::edge) fn check_worker_backlog(&mut self) {
        let bound = self.limits.backlog_bytes_per_worker;
        if bound > 0
            && self.accounts.unsent_bytes > bound
            && !std::mem::replace(&mut self.accounts.sheds, true)
        {
            self.late.push_back(Late::Shed);
        }
    }

    /// Ends the connections for which most waits, until less waits than may.
    pub(in crate::edge) fn shed_backlogs(&mut self, now: Now) {
        self.accounts.sheds = false;
        let bound = self.limits.backlog_bytes_per_worker;
        if bound == 0 || self.accounts.unsent_bytes <= bound {
            return;
        }
        let before = self.accounts.unsent_bytes;
        let mut heap = BinaryHeap::with_capacity(self.accounts.backlogged.len());
        for conn in self.accounts.backlogged.iter() {
            let bytes = self.unsent_held(*conn);
            if bytes > 0 {
                heap.push(self.holder(*conn, bytes));
            }
        }
        let mut ended = 0_u32;
        while self.accounts.unsent_bytes > relieved(bound) {
            let Some(holder) = heap.pop() else { break };
            self.end_holder(holder.id(), now);
            ended += 1;
        }
        let bytes = before - self.accounts.unsent_bytes;
        tracing::info!(
            core = self.core,
            connections = ended,
            bytes,
            "more waited unsent than limits.backlog_bytes_per_worker: ended those of most"
        );
    }

    fn end_holder(&mut self, conn: ConnectionId, now: Now) {
        match self.life(conn) {
            Life::Authenticating | Life::Active => self.close_slow(conn, now),
            Life::Connecting => {
                let reason = "its response is not read, and the worker holds more than it may";
                self.refused(conn, Cause::Unread, reason, &About::default(), now);
                self.kill(conn, now);
            }
            _ => self.kill(conn, now),
        }
        // The chunk that is in flight would be kept until its reader reads on, or time is up.
        if self.accounts.unsent_bytes > self.limits.backlog_bytes_per_worker {
            self.kill(conn, now);
        }
    }
}
