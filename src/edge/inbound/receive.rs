//! Bytes that came in: cut into messages, and messages into commands, as far as may be.
//!
//! Rule 4: behind a command that waits nothing more of its connection is parsed; bytes go to the
//! spill and reading pauses. Rule 23: over the arena's bound nothing is parsed at all.

use crate::clock::Now;
use crate::codec::Codec;
use crate::codec::command::{Command, Disconnect, Method};
use crate::edge::connection::{Fact, Later, Life, PeerEnd};
use crate::edge::{ConnectionId, Edge, Turn, ms};
use crate::limits::{COMMANDS_IN_FLIGHT, COMMANDS_PER_TURN, ECHO_MESSAGE_BYTES};
use crate::work::cost;
use crate::ws::deframer::{Item, MessageLimits, Violation};
use crate::ws::frame;
use crate::ws::frame::{OpCode, close_code};

impl Edge {
    /// Bytes of a connection, opened by its transport. They may be changed in place.
    pub fn receive(&mut self, conn: ConnectionId, bytes: &mut [u8], turn: &mut Turn<'_>) {
        let life = self.life(conn);
        if matches!(life, Life::Free | Life::Dead) || self.draining && life == Life::Http {
            return;
        }
        self.metrics.bytes_in.add(bytes.len() as u64);
        if self.at(conn).facts.has(Fact::Failed) {
            return;
        }
        self.work.begin_slice();
        self.work.charge(bytes.len() / cost::COPIED_BYTES_PER_NS);
        let spilled = self.at(conn).input.as_ref().is_some_and(|input| !input.is_empty());
        if spilled || self.at(conn).life == Life::Http || self.is_blocked(conn) {
            let ended = self.at(conn).input.as_ref().and_then(|input| input.ended);
            if matches!(ended, Some(PeerEnd::Close(_))) {
                // Nothing follows a close frame (RFC 6455 section 5.5.1).
                return;
            }
            self.spill(conn, bytes, turn.now);
            let it = self.at(conn);
            if spilled && it.facts.has(Fact::Ready) {
                // It had its slice: what comes now waits for its next, behind the others.
                return self.pause(conn);
            }
            if it.is_parked() {
                return self.pause_if_blocked(conn);
            }
            return self.work_off_input(conn, turn);
        }
        let consumed = self.frames(conn, bytes, turn);
        if consumed < bytes.len() {
            self.spill(conn, &bytes[consumed..], turn.now);
            self.pause_if_blocked(conn);
        }
    }

    fn spill(&mut self, conn: ConnectionId, bytes: &[u8], now: Now) {
        if matches!(self.life(conn), Life::Free | Life::Dead) {
            return;
        }
        let wire = &mut self.at(conn).input().wire;
        let before = wire.capacity();
        wire.extend_from_slice(bytes);
        let grown = wire.capacity() - before;
        self.spill_grew(conn, grown, now);
    }

    /// Works off what waits on a connection: the rest of a message, then the spill.
    pub(in crate::edge) fn work_off_input(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        let life = self.life(conn);
        if self.at(conn).input.is_none() || life == Life::Dead {
            return;
        }
        self.run_later(conn, turn);
        if !self.is_current(conn) || self.at(conn).input.is_none() {
            return;
        }
        let message = std::mem::take(&mut self.at(conn).input().message);
        self.spill_shrank(conn, message.capacity());
        if !message.is_empty() {
            self.commands(conn, &message, turn);
        }
        if !self.is_current(conn) || self.at(conn).input.is_none() {
            return;
        }
        if !self.is_blocked(conn) {
            let mut wire = std::mem::take(&mut self.at(conn).input().wire);
            self.spill_shrank(conn, wire.capacity());
            let mut consumed = 0;
            if self.life(conn) == Life::Http {
                consumed = self.requests(conn, &wire, turn);
            }
            // Frames may have come in the upgrade's own packet.
            if matches!(self.life(conn), Life::Authenticating | Life::Active | Life::Closing) {
                consumed += self.frames(conn, &mut wire[consumed..], turn);
            }
            self.keep_rest(conn, wire, consumed, turn.now);
        }
        self.after_input(conn, turn.now);
    }

    /// What was not consumed goes back to the spill.
    fn keep_rest(&mut self, conn: ConnectionId, mut wire: Vec<u8>, consumed: usize, now: Now) {
        if consumed >= wire.len() || !self.is_current(conn) || self.life(conn) == Life::Dead {
            return;
        }
        wire.drain(..consumed);
        if wire.capacity() / 2 > wire.len() {
            wire.shrink_to_fit();
        }
        let held = wire.capacity();
        let input = self.at(conn).input();
        debug_assert!(input.wire.is_empty(), "nothing came while it was worked off");
        input.wire = wire;
        self.spill_grew(conn, held, now);
    }

    fn after_input(&mut self, conn: ConnectionId, now: Now) {
        if !self.is_current(conn) {
            return;
        }
        let life = self.at(conn).life;
        let blocked = self.is_blocked(conn);
        let upgraded = life != Life::Http;
        let Some(input) = self.at(conn).input.as_ref() else { return };
        if blocked {
            return self.pause_if_blocked_or_ready(conn);
        }
        if let Some(end) = input.ended {
            return self.close_if_answered(conn, end, now);
        }
        if input.is_empty() && input.transport_bytes == 0 && upgraded {
            self.at(conn).input = None;
        }
        self.resume_reading(conn);
    }

    fn pause_if_blocked_or_ready(&mut self, conn: ConnectionId) {
        let has_wire = self.at(conn).input.as_ref().is_some_and(|input| !input.wire.is_empty());
        if has_wire {
            self.pause_if_blocked(conn);
        }
        self.make_ready_for_turn(conn);
    }

    fn message_limits(&mut self, conn: ConnectionId) -> MessageLimits {
        let echo = self.at(conn).facts.has(Fact::Echo);
        MessageLimits {
            message_bytes: if echo { ECHO_MESSAGE_BYTES } else { self.limits.message_bytes },
            fragments_per_message: self.limits.fragments_per_message,
        }
    }

    /// Cuts bytes into frames and runs their messages; gives how many bytes are done with.
    pub(in crate::edge) fn frames(
        &mut self,
        conn: ConnectionId,
        bytes: &mut [u8],
        turn: &mut Turn<'_>,
    ) -> usize {
        let limits = self.message_limits(conn);
        let mut deframer = std::mem::take(&mut self.at(conn).deframer);
        self.spill_shrank(conn, deframer.held_bytes());
        let mut at = 0;
        while at < bytes.len() && !self.is_blocked(conn) {
            let next = match deframer.next(&mut bytes[at..], limits) {
                Ok(next) => next,
                Err(violation) => {
                    self.violated(conn, violation, turn.now);
                    return bytes.len();
                }
            };
            at += next.consumed;
            let Some(item) = next.item else { break };
            self.work.charge(cost::FRAME);
            self.heard(conn, turn.now);
            let closed = matches!(item, Item::Close { .. });
            self.item(conn, item, turn);
            let over = !self.is_current(conn) || self.life(conn) == Life::Dead;
            if closed || over || self.at(conn).facts.has(Fact::Failed) {
                return bytes.len();
            }
        }
        deframer.release();
        let held = deframer.held_bytes();
        self.at(conn).deframer = deframer;
        if held > 0 {
            self.spill_grew(conn, held, turn.now);
        }
        if self.at(conn).facts.has(Fact::Failed) { bytes.len() } else { at }
    }

    fn violated(&mut self, conn: ConnectionId, violation: Violation, now: Now) {
        self.close_failed(conn, violation.close_code(), violation.reason(), now);
    }

    fn item(&mut self, conn: ConnectionId, item: Item<'_>, turn: &mut Turn<'_>) {
        let closing = self.life(conn) == Life::Closing;
        match item {
            Item::Close { code, .. } => self.peer_sent_close(conn, code, turn.now),
            _ if closing => {}
            Item::Ping(payload) => {
                if self.admit_control(conn, turn.now) {
                    let mut pong = Vec::with_capacity(payload.len() + 2);
                    frame::write(&mut pong, OpCode::Pong, payload);
                    self.control(conn, &pong);
                }
            }
            Item::Pong => {
                self.admit_control(conn, turn.now);
            }
            Item::Text(payload) if self.at(conn).facts.has(Fact::Echo) => {
                self.echo(conn, OpCode::Text, payload);
            }
            Item::Binary(payload) if self.at(conn).facts.has(Fact::Echo) => {
                self.echo(conn, OpCode::Binary, payload);
            }
            // Centrifugo does not mind the opcode, so clients that send JSON as binary exist.
            Item::Binary(payload)
                if self.at(conn).codec == Codec::Json
                    && simdutf8::basic::from_utf8(payload).is_err() =>
            {
                self.close_with(conn, Disconnect::BadRequest, turn.now);
            }
            Item::Text(payload) | Item::Binary(payload) => {
                self.metrics.messages_in.add(1);
                self.commands(conn, payload, turn);
            }
        }
    }

    /// Counts a control frame. False: there were too many, and the connection ends.
    fn admit_control(&mut self, conn: ConnectionId, now: Now) -> bool {
        let (rate, burst) = (self.limits.control_frames_per_s, self.limits.control_frames_burst);
        let takes = self.at(conn).control_rate.take(ms(now), rate, burst);
        if !takes {
            self.close_failed(conn, close_code::POLICY, "too many control frames", now);
        }
        takes
    }

    fn echo(&mut self, conn: ConnectionId, opcode: OpCode, payload: &[u8]) {
        let range = self.output.bytes(|out| frame::write(out, opcode, payload));
        self.mark_or_spill(conn, range);
    }

    /// Runs the commands of a message, as many as may run now; the rest waits as bytes.
    fn commands(&mut self, conn: ConnectionId, message: &[u8], turn: &mut Turn<'_>) {
        let mut commands = self.at(conn).codec.commands(message);
        let mut taken = 0;
        while commands.rest() < message.len() {
            let rest = commands.rest();
            let Some(command) = commands.next() else { break };
            let Ok(command) = command else {
                return self.close_with(conn, Disconnect::BadRequest, turn.now);
            };
            // A pong may pass: it asks for nothing, but for its time.
            let pong = command.method == Method::Pong;
            let full = taken == COMMANDS_PER_TURN || self.is_blocked(conn);
            let waits = full && (!pong || self.is_turn_over());
            if waits || !self.advance_check(conn, &command) {
                self.at(conn).input().message = message[rest..].to_vec();
                self.spill_grew(conn, message.len() - rest, turn.now);
                if self.life(conn) == Life::Dead || self.at(conn).facts.has(Fact::Failed) {
                    return;
                }
                self.make_ready_unless_waiting(conn);
                return;
            }
            taken += u32::from(!pong);
            let bytes = &message[rest..commands.rest()];
            let cost = if pong { cost::PONG } else { cost::COMMAND };
            self.work.charge(cost + bytes.len() / cost::BYTES_PER_NS);
            self.command_in_turn(conn, command, bytes, turn);
            if !matches!(self.life(conn), Life::Authenticating | Life::Active) {
                return;
            }
        }
    }

    /// Runs a command that has just come, or lets it wait behind others about its channel.
    fn command_in_turn(
        &mut self,
        conn: ConnectionId,
        command: Command<'_>,
        bytes: &[u8],
        turn: &mut Turn<'_>,
    ) {
        let earlier = self.at(conn).input.as_mut().map(|input| std::mem::take(&mut input.later));
        let earlier = earlier.unwrap_or_default();
        let waits = self.must_wait(conn, &command, &earlier);
        if !earlier.is_empty() {
            self.at(conn).input().later = earlier;
        }
        let channel = if waits.is_some() {
            self.line_up(conn, &command.method);
            waits
        } else {
            self.command(conn, command, turn)
        };
        if let Some(channel) = channel {
            self.at(conn).input().later.push(Later { channel, bytes: bytes.into() });
            self.spill_grew(conn, bytes.len(), turn.now);
        }
    }

    /// Runs the commands that waited for answers, as far as these have come, in the order in which
    /// they were sent.
    fn run_later(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        let later = std::mem::take(&mut self.at(conn).input().later);
        if later.is_empty() {
            return;
        }
        let held = |later: &[Later]| later.iter().map(|it| it.bytes.len()).sum::<usize>();
        self.spill_shrank(conn, held(&later));
        let codec = self.at(conn).codec;
        let mut kept = Vec::new();
        let (mut taken, mut waits_for_turn) = (0, false);
        for next in later {
            if !matches!(self.life(conn), Life::Authenticating | Life::Active) {
                return;
            }
            let full = taken == COMMANDS_PER_TURN || self.at(conn).in_flight >= COMMANDS_IN_FLIGHT;
            let behind = kept.iter().any(|it: &Later| it.channel == next.channel);
            if full || behind || self.is_stopped(conn) {
                kept.push(next);
                continue;
            }
            let Some(Ok(command)) = codec.commands(&next.bytes).next() else {
                unreachable!("it was read before")
            };
            if self.must_wait(conn, &command, &kept).is_some() {
                self.line_up(conn, &command.method);
                kept.push(next);
                continue;
            }
            if !self.advance_check(conn, &command) {
                kept.push(next);
                waits_for_turn = true;
                continue;
            }
            taken += 1;
            self.work.charge(cost::COMMAND);
            if self.command(conn, command, turn).is_some() {
                kept.push(next);
            }
        }
        if !matches!(self.life(conn), Life::Authenticating | Life::Active) {
            return;
        }
        if taken == COMMANDS_PER_TURN || self.is_turn_over() || waits_for_turn {
            self.make_ready_unless_waiting(conn);
        }
        if !kept.is_empty() {
            let bytes = held(&kept);
            self.at(conn).input().later = kept;
            self.spill_grew(conn, bytes, turn.now);
        }
    }
}
