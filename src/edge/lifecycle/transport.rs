//! What an edge hears of a connection's transport: that its handshake is under way or done, what it
//! holds, and that it failed.
//!
//! Must not know what a transport is. Invariants: nothing is written for a connection before its
//! handshake is done, or after its transport failed; what a transport holds is counted as what came
//! in and waits, under its own kind of peer, so it is bounded as that is; a handshake has as long
//! as a head has.

use crate::clock::Now;
use crate::edge::connection::{Fact, Life};
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge, Effect, Late};
use crate::metrics::Cause;

impl Edge {
    /// A connection that came in has a transport whose handshake comes first.
    pub fn begin_handshake(&mut self, conn: ConnectionId) {
        assert_eq!(self.life(conn), Life::Http, "it has just come");
        self.at(conn).facts.set(Fact::Handshaking, true);
    }

    /// The handshake is done: plain bytes may come, and be written.
    pub fn handshake_done(&mut self, conn: ConnectionId) {
        debug_assert_eq!(self.unsent_bytes(conn), 0, "nothing was written before");
        self.at(conn).facts.set(Fact::Handshaking, false);
    }

    /// Charges the stage under way for work that a transport did.
    pub fn transport_worked(&mut self, work_ns: u32) {
        self.work.charge(work_ns as usize);
    }

    /// A connection's transport now holds so much memory: of records that are not whole, and of
    /// what it has to say. With too much on this worker, those that hold most are ended.
    pub fn transport_holds(&mut self, conn: ConnectionId, bytes: usize, now: Now) {
        if !self.is_current(conn) || self.life(conn) == Life::Dead {
            return;
        }
        let held = std::mem::replace(&mut self.at(conn).input().transport_bytes, bytes);
        if bytes > held {
            self.spill_grew(conn, bytes - held, now);
        } else {
            self.spill_shrank(conn, held - bytes);
        }
    }

    /// A handshake took as long as a head may take.
    pub(in crate::edge) fn handshake_timeout(&mut self, conn: ConnectionId, now: Now) {
        let reason = "its transport's handshake took too long";
        self.refused(conn, Cause::TransportHandshake, reason, &About::default(), now);
        self.close_now(conn, now);
    }

    /// A connection's transport cannot seal any more, which a flush found: it fails in the next
    /// turn.
    pub fn transport_fails_later(&mut self, conn: ConnectionId) {
        self.late.push_back(Late::Unsealed(conn));
    }

    /// A connection's transport failed: nothing can be said to its peer any more, and nothing that
    /// it still sends is looked at. What the transport itself has to say about it goes out, so its
    /// end is waited for as after a close frame.
    pub fn transport_failed(
        &mut self,
        conn: ConnectionId,
        cause: Cause,
        reason: &'static str,
        now: Now,
    ) {
        if !self.is_current(conn) || matches!(self.life(conn), Life::Free | Life::Dead) {
            return;
        }
        self.refused(conn, cause, reason, &About::default(), now);
        for fact in [Fact::Failed, Fact::PeerGone] {
            self.at(conn).facts.set(fact, true);
        }
        self.at(conn).facts.set(Fact::Handshaking, false);
        self.forget_pending(conn);
        let backlog = self.at(conn).backlog.take();
        self.accounts.unsent_changed(backlog.map_or(0, |backlog| backlog.held_bytes()), 0);
        match self.life(conn) {
            Life::Authenticating | Life::Active => {
                self.close_without_frame(conn, now);
                self.drop_commands(conn);
            }
            Life::Http | Life::Closing => self.close_http(conn, now),
            Life::Free | Life::Dead => unreachable!("it is open"),
        }
        self.drop_unread(conn);
        // Nothing waits for room any more, and the peer's end can only be read.
        self.resume_reading(conn);
        self.effects.push(Effect::Shutdown(conn));
        assert_eq!(self.unsent_bytes(conn), 0, "nothing more can be sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::{Bench, text};
    use crate::limits::Limits;

    #[test]
    fn a_transport_that_fails_while_its_connection_waits_for_room_is_read_on() {
        let mut bench = Bench::new(0, Limits::default());
        let conn = bench.client();
        bench.receive(conn, &text(r#"{"id":2,"publish":{"channel":"c","data":1}}"#));
        bench.receive(conn, &text(r#"{"id":3,"publish":{"channel":"c","data":2}}"#));
        bench.edge.take_effects(&mut bench.effects);
        assert_eq!(bench.effects, [Effect::Pause(conn)], "its lane is full");
        let (cause, now) = (Cause::TransportRecord, bench.now);
        bench.edge.transport_failed(conn, cause, "a record cannot be opened", now);
        bench.edge.take_effects(&mut bench.effects);
        let after = &bench.effects[1..];
        assert_eq!(after, [Effect::Resume(conn), Effect::Shutdown(conn)], "its end is heard");
        bench.edge.peer_ended(conn, now);
        bench.resume();
        assert_eq!(bench.edge.places_used(), 0, "and nothing more is waited for");
    }
}
