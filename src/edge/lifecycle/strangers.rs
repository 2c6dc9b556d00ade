//! Who makes room when all slots are taken: whoever has been here longest without a session.
//!
//! Else a few silent connections, opened again and again, would keep everybody out: each has
//! seconds to say something. Whoever means it has a session within two round trips.

use crate::clock::Now;
use crate::edge::connection::{Fact, Life};
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge};
use crate::metrics::Cause;

impl Edge {
    /// Notes a connection that has no session yet.
    pub(in crate::edge) fn note_stranger(&mut self, conn: ConnectionId) {
        if self.strangers.is_crowded() {
            let mut roster = std::mem::take(&mut self.strangers);
            roster.compact(|conn| self.is_stranger(*conn));
            self.strangers = roster;
        }
        self.strangers.push(conn);
    }

    fn is_stranger(&self, conn: ConnectionId) -> bool {
        match self.life(conn) {
            Life::Connecting => true,
            Life::Authenticating => !self.places.get(conn.index).facts.has(Fact::Connecting),
            _ => false,
        }
    }

    /// Ends the connection that has been here longest without a session; not while a call of the
    /// server API is under way on it.
    pub(in crate::edge) fn displace_stranger(&mut self, now: Now) {
        for _ in 0..self.strangers.len() {
            let Some(conn) = self.strangers.pop() else { return };
            if !self.is_stranger(conn) {
                continue;
            }
            let calls = |http: &mut crate::edge::connection::exchange::Exchange| {
                http.call.is_some() || http.body.is_some()
            };
            if self.at(conn).http_mut().is_some_and(calls) {
                self.strangers.push(conn);
                continue;
            }
            let reason = "all slots are taken: the longest without a session made room";
            self.refused(conn, Cause::Displaced, reason, &About::default(), now);
            return self.kill(conn, now);
        }
    }
}
