//! How a connection ends: off the subscriber lists first, then a close frame, then nothing (rule
//! 21).

use crate::clock::Now;
use crate::codec::command::{Disconnect, Push, Reply};
use crate::edge::connection::{Fact, Input, Life};
use crate::edge::output::frames::opcode;
use crate::edge::output::replay::Replayed;
use crate::edge::{ConnectionId, Edge, Late};
use crate::limits::CLOSE_WAIT_MS;
use crate::metrics::Cause;
use crate::rules::sabotage;
use crate::ws::frame;

impl Edge {
    /// Ends a connection with a code of the protocol.
    pub(in crate::edge) fn close_with(&mut self, conn: ConnectionId, why: Disconnect, now: Now) {
        let (code, reason) = why.parts();
        self.close_with_code(conn, code, reason, now);
    }

    /// The same, with a code and reason of somebody's choice.
    pub(in crate::edge) fn close_with_code(
        &mut self,
        conn: ConnectionId,
        code: u16,
        reason: &str,
        now: Now,
    ) {
        if self.is_told_why(conn) {
            let push = Push::disconnect(code, reason);
            self.reply(conn, &Reply::Push { channel: "", push });
        }
        self.close_websocket(conn, code, reason, now);
    }

    /// Ends a WebSocket: close frame, then the peer's close is awaited. What was written before
    /// goes out before it.
    pub(in crate::edge) fn close_websocket(
        &mut self,
        conn: ConnectionId,
        code: u16,
        reason: &str,
        now: Now,
    ) {
        if !matches!(self.life(conn), Life::Authenticating | Life::Active) {
            return;
        }
        self.metrics.disconnect(code);
        self.note_closed(conn, code, reason);
        self.drop_server_side(conn);
        sabotage!(CloseLast skips self.end_subscriptions(conn));
        let mut close = Vec::with_capacity(64);
        frame::write_close(&mut close, code, reason);
        let written = self.control_frame(conn, &close);
        self.at(conn).become_(Life::Closing);
        if !written {
            return self.late.push_back(Late::Close(conn));
        }
        self.drop_commands(conn);
        self.resume_reading(conn);
        self.await_close(conn, now);
        self.owe(conn);
    }

    /// Ends a slow connection: what waits is discarded, the close goes behind the chunk in flight.
    pub(in crate::edge) fn close_slow(&mut self, conn: ConnectionId, now: Now) {
        if !matches!(self.life(conn), Life::Authenticating | Life::Active) {
            return self.close_now(conn, now);
        }
        let (code, reason) = Disconnect::Slow.parts();
        self.drop_server_side(conn);
        self.end_subscriptions(conn);
        self.metrics.disconnect(code);
        self.note_closed(conn, code, reason);
        self.forget_pending(conn);
        let mut close = Vec::with_capacity(16);
        if self.is_told_why(conn) {
            let codec = self.at(conn).codec;
            let mut push = Vec::with_capacity(64);
            let told = Push::disconnect(code, reason);
            codec.write_reply(&mut push, &Reply::Push { channel: "", push: told });
            frame::write(&mut close, opcode(codec), &push);
        }
        frame::write_close(&mut close, code, reason);
        let fits = self.with_backlog(conn, |backlog| backlog.discard_for_close(&close));
        self.at(conn).become_(Life::Closing);
        self.drop_commands(conn);
        self.resume_reading(conn);
        self.set_deadline(conn, now.monotonic_ms() + CLOSE_WAIT_MS);
        self.owe(conn);
        if !fits {
            self.close_now(conn, now);
        }
    }

    /// Connections of our own protocol have the close frame's code and reason in a push before it.
    fn is_told_why(&self, conn: ConnectionId) -> bool {
        let open = matches!(self.life(conn), Life::Authenticating | Life::Active);
        open && self.places.get(conn.index).facts.has(Fact::OwnProtocol)
    }

    /// Fails a WebSocket (RFC 6455 section 7.1.7): close frame, FIN, and what the peer still sends
    /// is passed over until it closes too, or a reset could overtake the close frame.
    pub(in crate::edge) fn close_failed(
        &mut self,
        conn: ConnectionId,
        code: u16,
        reason: &'static str,
        now: Now,
    ) {
        self.close_websocket(conn, code, reason, now);
        if self.life(conn) == Life::Closing {
            self.at(conn).facts.set(Fact::Failed, true);
            self.drop_unread(conn);
            self.close_when_sent(conn);
        }
    }

    /// Gives up what a failed connection sent and nobody will look at.
    pub(in crate::edge) fn drop_unread(&mut self, conn: ConnectionId) {
        let fragments = std::mem::take(&mut self.at(conn).deframer).held_bytes();
        let input = self.at(conn).input.as_mut();
        let wire = input.map_or(Vec::new(), |input| std::mem::take(&mut input.wire));
        self.spill_shrank(conn, fragments + wire.capacity());
    }

    /// What was asked and not yet run never will be. Bytes not yet cut into frames are kept: the
    /// deframer stands in them, and the peer's close frame is still to come.
    pub(in crate::edge) fn drop_commands(&mut self, conn: ConnectionId) {
        let Some(mut input) = self.at(conn).input.take() else { return };
        let (wire, ended) = (std::mem::take(&mut input.wire), input.ended);
        let transport_bytes = input.transport_bytes;
        self.spill_shrank(conn, input.message.capacity() + input.later_bytes());
        (input.message, input.later) = (Vec::new(), Vec::new());
        self.drop_parked(conn, Some(input));
        if transport_bytes > 0 {
            self.at(conn).input().transport_bytes = transport_bytes;
        }
        if !wire.is_empty() || ended.is_some() {
            let kept = self.at(conn).input();
            (kept.wire, kept.ended) = (wire, ended);
            self.make_ready(conn);
        }
    }

    /// The peer's close frame came: it is answered, and the socket closed once the answer is out.
    pub(in crate::edge) fn close_in_answer(
        &mut self,
        conn: ConnectionId,
        code: Option<u16>,
        now: Now,
    ) {
        if self.life(conn) != Life::Closing {
            self.close_websocket(conn, code.unwrap_or(1000), "", now);
        }
        if self.life(conn) == Life::Closing {
            self.close_when_sent(conn);
        }
    }

    /// Ends an HTTP connection: no more is written; the socket closes when the peer has closed too.
    pub(in crate::edge) fn close_http(&mut self, conn: ConnectionId, now: Now) {
        self.at(conn).facts.set(Fact::ClosesWhenSent, true);
        self.await_close(conn, now);
    }

    /// Closes the socket once everything written is out.
    pub(in crate::edge) fn close_when_sent(&mut self, conn: ConnectionId) {
        self.at(conn).facts.set(Fact::ClosesWhenSent, true);
        let clear = !self.output.has_pending(conn.index) && self.at(conn).backlog.is_none();
        if clear {
            self.close_sent(conn);
        }
    }

    /// What flush and the drivers' events found, done in a later stage than theirs.
    pub fn settle_late(&mut self, now: Now) {
        while let Some(late) = self.late.pop_front() {
            match late {
                Late::Overflow(conn) if self.is_current(conn) => self.overflow(conn, now),
                Late::Shed => self.shed_backlogs(now),
                Late::Close(conn) if self.is_current(conn) => self.close_now(conn, now),
                Late::Slow(conn) if self.is_current(conn) => self.close_slow(conn, now),
                Late::Insufficient(conn) if self.is_current(conn) => {
                    self.close_with(conn, Disconnect::InsufficientState, now);
                }
                Late::Unsealed(conn) => {
                    let reason = "its transport can seal nothing more";
                    self.transport_failed(conn, Cause::TransportRecord, reason, now);
                }
                _ => {}
            }
        }
    }

    /// A backlog passed its bound: 3008; but while a recovery answer is on its way out, its
    /// channel's publications are dropped and 2500 follows the answer (rule 24).
    fn overflow(&mut self, conn: ConnectionId, now: Now) {
        if self.life(conn) == Life::Closing {
            // Nothing follows its close frame, so nothing grows any more.
            return;
        }
        let replayed: Vec<Replayed> = self
            .at(conn)
            .backlog
            .as_ref()
            .map_or(Vec::new(), |backlog| backlog.replayed().collect());
        for Replayed { channel, sequence } in replayed {
            // The client may have left that channel, and its number be another's now.
            let lasts =
                self.at(conn).subscription(channel).is_some_and(|it| it.sequence == sequence);
            if lasts && self.end_subscription(conn, channel) {
                // What an earlier turn wrote and no flush has reached yet is dropped with the rest.
                self.pending_to_backlog(conn);
                self.with_backlog(conn, |backlog| backlog.drop_publications(channel));
                let name = self.channels.at(channel).name.clone();
                self.push_unsubscribe(conn, name.as_str());
            }
        }
        if self.is_over_backlog(conn) {
            self.close_slow(conn, now);
        }
    }

    /// Forgets commands that wait for a lane; they were not answered, and now never will be.
    pub(in crate::edge) fn drop_parked(&mut self, conn: ConnectionId, input: Option<Box<Input>>) {
        let parked = input.filter(|input| input.parked.is_some());
        if let Some(input) = parked {
            self.presences.dropped(&input);
            // Subscriptions whose Subscribe was parked never reached a home.
            self.forget_unpushed(conn);
        }
    }
}
