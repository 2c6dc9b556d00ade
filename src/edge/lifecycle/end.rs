//! How a connection ends from its peer's side: what came before the FIN is carried out and answered
//! first.
//!
//! Invariant: whoever sent its FIN is waited for no longer than its answers take, and these no
//! longer than it reads on.

use crate::clock::Now;
use crate::edge::connection::{Fact, Life, PeerEnd};
use crate::edge::{ConnectionId, Edge};
use crate::ws::frame::close_code;

impl Edge {
    /// The peer sent its FIN: the connection dies once what came before is answered.
    pub fn peer_ended(&mut self, conn: ConnectionId, now: Now) {
        if matches!(self.life(conn), Life::Free | Life::Dead) {
            return;
        }
        let it = self.at(conn);
        let closing = it.life == Life::Closing;
        let left_over = it.input.as_ref().is_some_and(|input| !input.is_empty());
        if left_over && !closing || self.awaits_answers(conn) {
            // Answers, and room, bring it back; the bytes that came may be whole commands.
            self.at(conn).input().ended = Some(PeerEnd::Fin);
            return self.make_ready(conn);
        }
        self.close_when_answered(conn, now);
    }

    /// The connection is gone, and nothing can be said to its peer any more. What it asked before
    /// is carried out.
    pub fn peer_reset(&mut self, conn: ConnectionId, now: Now) {
        if !matches!(self.life(conn), Life::Free | Life::Dead) {
            self.at(conn).facts.set(Fact::PeerGone, true);
            self.peer_ended(conn, now);
        }
    }

    /// A send failed: the peer is gone, and nothing can be said to it.
    pub fn peer_lost(&mut self, conn: ConnectionId, now: Now) {
        if !matches!(self.life(conn), Life::Free | Life::Dead) {
            self.at(conn).facts.set(Fact::PeerGone, true);
            self.close_now(conn, now);
        }
    }

    /// The peer's close frame came. Commands that it sent before and that still wait for their
    /// turn take effect first (rule 32).
    pub(in crate::edge) fn peer_sent_close(
        &mut self,
        conn: ConnectionId,
        code: Option<u16>,
        now: Now,
    ) {
        let it = self.at(conn);
        let open = matches!(it.life, Life::Authenticating | Life::Active);
        match it.input.as_mut() {
            Some(input) if open && !input.later.is_empty() => {
                input.ended = Some(PeerEnd::Close(code));
            }
            _ => self.close_in_answer(conn, code, now),
        }
    }

    /// All that could be read of what came before the peer's end has been looked at. A partial
    /// frame, or head, will never be whole.
    pub(in crate::edge) fn close_if_answered(
        &mut self,
        conn: ConnectionId,
        end: PeerEnd,
        now: Now,
    ) {
        let input = self.at(conn).input();
        if !input.later.is_empty() {
            return;
        }
        match end {
            PeerEnd::Close(code) => {
                input.ended = None;
                self.close_in_answer(conn, code, now);
            }
            PeerEnd::Fin if self.awaits_answers(conn) => {}
            PeerEnd::Fin => self.close_when_answered(conn, now),
        }
    }

    /// Will homes still answer what it asked?
    fn awaits_answers(&mut self, conn: ConnectionId) -> bool {
        let it = self.at(conn);
        let open = matches!(it.life, Life::Authenticating | Life::Active);
        open && !it.facts.has(Fact::PeerGone)
            && (it.in_flight > 0 || it.facts.has(Fact::AwaitsConnect))
    }

    /// Who asked and then sent its FIN still reads: what is under way goes out before the end.
    fn close_when_answered(&mut self, conn: ConnectionId, now: Now) {
        let facts = self.at(conn).facts;
        let called = self.at(conn).http_mut().filter(|http| http.call.is_some());
        if let Some(http) = called {
            http.keep_alive = false;
            return self.at(conn).facts.set(Fact::PeerEnded, true);
        }
        if facts.has(Fact::PeerGone) || self.unsent_bytes(conn) == 0 {
            return self.close_now(conn, now);
        }
        self.at(conn).facts.set(Fact::ClosesWhenSent, true);
        self.at(conn).facts.set(Fact::PeerEnded, true);
        if matches!(self.life(conn), Life::Authenticating | Life::Active) {
            self.close_without_frame(conn, now);
        }
    }

    /// Ends a WebSocket whose peer has ended: nothing more is written for it, what was goes out.
    pub(in crate::edge) fn close_without_frame(&mut self, conn: ConnectionId, now: Now) {
        self.note_closed_without_frame(conn);
        self.drop_server_side(conn);
        self.end_subscriptions(conn);
        self.at(conn).become_(Life::Closing);
        self.await_close(conn, now);
        self.owe(conn);
    }

    /// Counts a WebSocket that ends without a close frame, and leaves a line.
    pub(in crate::edge) fn note_closed_without_frame(&mut self, conn: ConnectionId) {
        self.metrics.disconnect(close_code::NONE);
        self.note_closed(conn, close_code::NONE, "by its peer's end");
    }
}
