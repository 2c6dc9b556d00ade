//! The entries of the accounts: what a connection holds more, or less, than before.
//!
//! No connection is closed here: `lifecycle` does that when an account passes its bound.

use crate::edge::accounts::Accounts;
use crate::edge::accounts::roster::Roster;
use crate::edge::accounts::spill::{Peer, spill_memory};
use crate::edge::connection::{Connection, Fact, Life};
use crate::edge::{ConnectionId, Edge, Late};

/// Picks one of the accounts' rosters.
type RosterOf = fn(&mut Accounts) -> &mut Roster;

impl Edge {
    /// Counts bytes that a call holds; false when they are more than the worker may hold.
    pub(in crate::edge) fn charge(&mut self, conn: ConnectionId, bytes: usize) -> bool {
        let charged = self.accounts.charge_call(bytes as u64, self.limits.api_bytes_per_worker);
        if charged {
            self.exchange(conn).call_bytes += bytes as u64;
        }
        charged
    }

    /// A call holds nothing any more.
    pub(in crate::edge) fn discharge(&mut self, conn: ConnectionId) {
        if let Some(http) = self.at(conn).http_mut() {
            let bytes = std::mem::take(&mut http.call_bytes);
            self.accounts.discharge_call(bytes);
        }
    }

    /// A connection keeps less.
    pub(in crate::edge) fn spill_shrank(&mut self, conn: ConnectionId, bytes: usize) {
        let peer = Peer::of(self.at(conn));
        self.accounts.spill_less(peer, bytes);
    }

    /// A connection that ends keeps nothing.
    pub(in crate::edge) fn forget_spill(&mut self, conn: ConnectionId) {
        let held = spill_memory(self.at(conn));
        self.spill_shrank(conn, held);
        let it = self.at(conn);
        drop(std::mem::take(&mut it.deframer));
        if let Some(input) = it.input.as_mut() {
            (input.wire, input.message) = (Vec::new(), Vec::new());
            input.later = Vec::new();
            input.transport_bytes = 0;
        }
    }

    /// A connection has become a WebSocket, with what it keeps.
    pub(in crate::edge) fn becomes_websocket(&mut self, conn: ConnectionId, life: Life) {
        self.change_peer(conn, |it| it.become_(life));
    }

    /// A WebSocket has become a session, with what it keeps.
    pub(in crate::edge) fn spill_becomes_sessions(&mut self, conn: ConnectionId) {
        self.change_peer(conn, |it| it.facts.set(Fact::Counted, true));
    }

    /// Makes a connection another kind of peer, with what it keeps.
    fn change_peer(&mut self, conn: ConnectionId, change: impl FnOnce(&mut Connection)) {
        let held = spill_memory(self.at(conn));
        let before = Peer::of(self.at(conn));
        change(self.at(conn));
        let after = Peer::of(self.at(conn));
        self.accounts.spill_less(before, held);
        self.accounts.spill_more(after, held);
    }

    /// Notes that a connection has something unsent, so that it can be found.
    pub(in crate::edge) fn note_backlog(&mut self, conn: ConnectionId) {
        let roster: RosterOf = |accounts| &mut accounts.backlogged;
        self.note_holding(conn, Fact::Backlogged, roster, Edge::unsent_memory);
    }

    /// Notes that a connection keeps something of what came in.
    pub(in crate::edge) fn note_spill(&mut self, conn: ConnectionId) {
        let roster: RosterOf = |accounts| &mut accounts.spilling;
        self.note_holding(conn, Fact::Spilled, roster, Edge::unread_memory);
    }

    /// Enters a connection in the roster of those that hold something, once.
    fn note_holding(
        &mut self,
        conn: ConnectionId,
        fact: Fact,
        roster: RosterOf,
        held: fn(&Edge, ConnectionId) -> usize,
    ) {
        if self.at(conn).facts.replace(fact, true) {
            return;
        }
        if roster(&mut self.accounts).is_crowded() {
            let mut entries = std::mem::take(roster(&mut self.accounts));
            entries.compact(|conn| self.still_holds(*conn, fact, held));
            *roster(&mut self.accounts) = entries;
        }
        roster(&mut self.accounts).push(conn);
    }

    /// Whether a connection holds something; if not, the fact that it does is cleared.
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
    pub(in crate::edge) fn unsent_memory(&self, conn: ConnectionId) -> usize {
        if !self.is_current(conn) {
            return 0;
        }
        let it = self.connection(conn);
        let held = it.server().map_or(0, |server| server.deferred.bytes());
        held + it.backlog.as_ref().map_or(0, |backlog| backlog.held_bytes())
    }

    /// Memory of what a connection keeps of what came in.
    pub(in crate::edge) fn unread_memory(&self, conn: ConnectionId) -> usize {
        if self.is_current(conn) { spill_memory(self.connection(conn)) } else { 0 }
    }

    /// If more waits unsent on this worker than is allowed, a later stage closes connections.
    pub(in crate::edge) fn check_worker_backlog(&mut self) {
        let bound = self.limits.backlog_bytes_per_worker;
        if bound > 0 && self.accounts.unsent_bytes > bound && !self.accounts.set_sheds(true) {
            self.late.push_back(Late::Shed);
        }
    }
}
