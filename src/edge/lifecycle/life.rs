//! How a connection begins, is timed, and how its place is freed.

use crate::clock::Now;
use crate::codec::command::{Disconnect, Reply};
use crate::edge::connection::places::{Places, Slot};
use crate::edge::connection::server_side::Wish;
use crate::edge::connection::{Aside, Fact, Life};
use crate::edge::user_calls::NOBODY;
use crate::edge::{ConnectionId, Edge, Effect, ms};
use crate::limits::{CLOSE_WAIT_MS, READ_ON_MS};
use crate::work::cost;
use std::hash::BuildHasher;

/// Pings go out at multiples of this, or of a sixteenth of a short interval: many share a wake-up,
/// and their answers too where the peers are near.
const PING_STEP_MS: u64 = 256;

/// Time a connection that is only told 503 may take.
const REFUSAL_MS: u64 = 1_000;

impl Edge {
    /// A connection came in. None: there is not even a place to say no from.
    pub fn accept(&mut self, internal: bool, now: Now) -> Option<ConnectionId> {
        self.work.charge(cost::ACCEPT);
        if self.draining || !self.places.has_place(internal) {
            return None;
        }
        if self.places.slot_for(internal) == Slot::Refusal {
            self.displace_stranger(now);
        }
        let slot = self.places.slot_for(internal);
        let conn = self.places.take(slot, internal, ms(now));
        self.output.open(conn);
        if slot == Slot::Shared {
            self.note_stranger(conn);
        }
        self.metrics.accepted.add(1);
        let wait = match slot {
            Slot::Refusal => REFUSAL_MS,
            Slot::Shared | Slot::Internal => self.limits.http_head_timeout_ms.into(),
        };
        self.set_deadline(conn, now.monotonic_ms() + wait);
        Some(conn)
    }

    /// Connections that there may be at once, those that are only told 503 included.
    #[must_use]
    pub fn places(&self) -> usize {
        Places::max(&self.limits)
    }

    /// Sets the connection's nearest deadline, the end of its token apart.
    pub(in crate::edge) fn set_deadline(&mut self, conn: ConnectionId, deadline_ms: u64) {
        let expires_ms = self.expires_ms(conn);
        let tick = self.wheel.tick_of(deadline_ms.min(expires_ms));
        let it = self.at(conn);
        it.deadline_ms = deadline_ms;
        // An entry that comes earlier is good enough: it moves on when it is looked at.
        if it.timer_tick == 0 || tick < it.timer_tick {
            it.timer_tick = tick;
            self.wheel.add(tick, conn.index);
        }
    }

    /// A ping is due, or the frame that answers one.
    pub(in crate::edge) fn ping_deadline(&mut self, conn: ConnectionId, now: Now) {
        let pong_by = now.monotonic_ms() + u64::from(self.times.pong_timeout_ms);
        let facts = self.at(conn).facts;
        if facts.has(Fact::PongDue) && facts.has(Fact::Paused) {
            return self.set_deadline(conn, pong_by);
        }
        if facts.has(Fact::PongDue) {
            return self.close_with(conn, Disconnect::NoPong, now);
        }
        self.send_ping(conn);
        self.at(conn).facts.set(Fact::PongDue, true);
        self.set_deadline(conn, pong_by);
    }

    fn send_ping(&mut self, conn: ConnectionId) {
        if self.at(conn).facts.has(Fact::Echo) {
            return self.control(conn, &[0x89, 0]);
        }
        let codec = self.at(conn).codec;
        let (mut message, mut frame) = (Vec::with_capacity(2), Vec::with_capacity(4));
        codec.write_reply(&mut message, &Reply::ServerPing);
        crate::ws::frame::write(&mut frame, crate::edge::output::frames::opcode(codec), &message);
        self.control(conn, &frame);
    }

    /// A frame came in: it answers the ping that is out, if one is.
    #[inline]
    pub(in crate::edge) fn heard(&mut self, conn: ConnectionId, now: Now) {
        let times = self.times;
        let it = self.at(conn);
        if it.facts.has(Fact::PongDue) && it.life == Life::Active {
            it.facts.set(Fact::PongDue, false);
            // The next ping is an interval after the last one, however late its answer.
            let pinged_ms = it.deadline_ms.saturating_sub(u64::from(times.pong_timeout_ms));
            let next = pinged_ms + u64::from(times.ping_interval_ms);
            let next = next.max(now.monotonic_ms() + 1);
            self.at(conn).deadline_ms = self.ping_step(next);
            self.rearm(conn);
        }
    }

    /// Puts the deadline in place, be it later or earlier than the entry on the wheel.
    pub(in crate::edge) fn rearm(&mut self, conn: ConnectionId) {
        let deadline = self.at(conn).deadline_ms;
        self.set_deadline(conn, deadline);
    }

    /// The first ping: jittered, so that a reconnect storm does not ping in step.
    pub(in crate::edge) fn start_pings(&mut self, conn: ConnectionId, now: Now) {
        let interval = u64::from(self.times.ping_interval_ms);
        if interval == 0 {
            // No deadline: what stands on the wheel finds nobody.
            self.at(conn).timer_tick = 0;
            self.at(conn).deadline_ms = u64::MAX;
            if self.expires_ms(conn) < u64::MAX {
                self.rearm(conn);
            }
            return;
        }
        let jitter = self.ping_hasher.hash_one((conn.index, conn.generation));
        let early = jitter % (interval / 2 + 1);
        self.at(conn).facts.set(Fact::PongDue, false);
        let first = now.monotonic_ms() + interval - early;
        self.set_deadline(conn, self.ping_step(first));
    }

    /// The moment, not before `ms`, at which pings go out together.
    fn ping_step(&self, ms: u64) -> u64 {
        let interval = u64::from(self.times.ping_interval_ms);
        ms.next_multiple_of(PING_STEP_MS.min(interval / 16).max(1))
    }

    /// The socket is gone, or is to go now: what is owed to homes stays owed (rule 10).
    pub(in crate::edge) fn close_now(&mut self, conn: ConnectionId, now: Now) {
        if matches!(self.life(conn), Life::Dead | Life::Free) {
            return;
        }
        if matches!(self.life(conn), Life::Authenticating | Life::Active) {
            self.note_closed_without_frame(conn);
        }
        self.note_cut(conn);
        self.drop_server_side(conn);
        self.end_subscriptions(conn);
        self.discharge(conn);
        self.details.remove(conn.index);
        self.forget_spill(conn);
        self.places.give_slot_back(conn);
        let it = self.at(conn);
        let lived_us = u64::from(ms(now).wrapping_sub(it.since_ms)) * 1000;
        let counted = it.facts.has(Fact::Counted);
        let input = it.input.take();
        let backlog = it.backlog.take();
        it.aside = None;
        let unsent = backlog.as_ref().map_or(0, |backlog| backlog.held_bytes());
        self.accounts.unsent_changed(unsent, 0);
        if counted {
            self.metrics.connections.set(self.metrics.connections.get() - 1);
        }
        self.metrics.connection.record(lived_us);
        self.drop_parked(conn, input);
        self.work.charge(cost::CLOSE);
        self.effects.push(Effect::Close(conn));
        self.owe(conn);
    }

    /// The last that was owed is in its lane: the place may be used again.
    pub(in crate::edge) fn free(&mut self, conn: ConnectionId) {
        self.under_way.clear(&mut self.places.at(conn).under_way);
        let next = self.places.free(conn);
        self.output.open(next);
        self.peers.set(conn.index, None);
    }

    /// Waits for the peer's close; where much is on its way before, for as long as it reads on.
    pub(in crate::edge) fn await_close(&mut self, conn: ConnectionId, now: Now) {
        let wait = if self.at(conn).backlog.is_some() { READ_ON_MS } else { CLOSE_WAIT_MS };
        self.set_deadline(conn, now.monotonic_ms() + wait);
    }

    /// The connection ends: nothing more is done about it.
    pub(in crate::edge) fn drop_server_side(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        if it.server().is_none() {
            return;
        }
        let Some(Aside::Server(server)) = it.aside.take().map(|aside| *aside) else { return };
        self.drop_deferred(conn, &server.deferred);
        let waiting = server.queue.iter().map(|wish| match wish {
            Wish::Begin(_) | Wish::End(_) => NOBODY,
            Wish::Command(_, call) => *call,
        });
        for call in waiting.chain(server.begun.iter().map(|begun| begun.call)) {
            self.user_calls.part_done(call);
        }
        if server.parked.is_some() {
            self.forget_unpushed(conn);
        }
    }

    /// When something of a connection ends, in milliseconds of the process.
    pub(in crate::edge) fn expires_ms(&mut self, conn: ConnectionId) -> u64 {
        let it = self.at(conn);
        if it.life != Life::Active {
            return u64::MAX;
        }
        let own = it.expires_s;
        let mut nearest = (own > 0).then_some(own);
        if let Some(details) = self.details.get(conn.index) {
            let first = details.ends.first().map(|(end, _)| *end);
            nearest = first.into_iter().chain(nearest).min();
        }
        nearest.map_or(u64::MAX, |second| u64::from(second) * 1_000)
    }
}
