//! Which connection makes room when all slots are in use: the one that has been here longest
//! without a session.
//!
//! Otherwise a few silent connections, opened again and again, would keep everybody else out,
//! although each has only seconds. A real client has a session within two round trips.

use crate::clock::Now;
use crate::edge::connection::{Fact, Life};
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge};
use crate::metrics::Cause;

impl Edge {
    /// Records a connection that has no session yet.
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
            Life::Http => true,
            Life::Authenticating => !self.places.get(conn.index).facts.has(Fact::AwaitsConnect),
            _ => false,
        }
    }

    /// Closes the connection that has been here longest without a session, except while a call of
    /// the server API is in progress on it.
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
            return self.close_now(conn, now);
        }
    }
}
