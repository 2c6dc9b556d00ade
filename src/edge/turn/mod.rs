//! The stages of a turn in which an edge goes on with what waits: lines before full lanes, debts to
//! homes, commands left over.
//!
//! This is the only room that decides which connection is next; it knows all others, and none
//! knows it. Rule 4: what a connection owes goes before its parked command, and that before
//! anything that it sent later.

mod drain;
#[cfg(feature = "sabotage")]
mod sabotage;
mod timers;

use crate::clock::Now;
use crate::contract::envelope::Request;
use crate::edge::connection::{Fact, Life, Parked};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::rules::sabotage;
use crate::work::Work;

impl Edge {
    /// Begins a turn, each stage of which is to do this much work, in nanoseconds.
    pub fn begin_turn(&mut self, work_ns: u32, now: Now) {
        self.work = Work::new(work_ns);
        self.settle_late(now);
    }

    /// Serves the lines of lanes that have room again, then the connections with work left over.
    pub fn resume_work(&mut self, turn: &mut Turn<'_>) {
        sabotage!(ConnFifo => self.push_what_was_put_aside(turn));
        sabotage!(RegFirst => self.push_late_registrations(turn));
        for home in 0..self.homes {
            self.serve_line(home, turn);
        }
        for _ in 0..self.lines.owing_len() {
            let Some(conn) = self.lines.pop_owing() else { break };
            if self.is_current(conn) {
                self.at(conn).facts.set(Fact::Owing, false);
                self.advance(conn, turn);
            }
        }
        self.serve_presences();
        // Apart from what came in: neither is to starve the other.
        self.work.begin();
        self.serves_ready = true;
        for _ in 0..self.lines.ready_len() {
            if self.work.is_spent() {
                // The connections that were not reached stay at the front.
                self.metrics.stages_cut.add(1);
                break;
            }
            let Some(conn) = self.lines.pop_ready() else { break };
            if self.is_current(conn) {
                self.at(conn).facts.set(Fact::Ready, false);
                self.advance(conn, turn);
            }
        }
        self.serves_ready = false;
    }

    fn serve_line(&mut self, home: u16, turn: &mut Turn<'_>) {
        for _ in 0..self.lines.line_len(home) {
            let Some(conn) = self.lines.begin_turn(home) else { return };
            self.at(conn).facts.set(Fact::Waiting, false);
            self.advance(conn, turn);
            // There is still no room: it keeps its place, and so do all after it.
            if self.lines.end_turn(conn, home) {
                return;
            }
        }
    }

    /// Does what a connection can do now, in order: what it owes, what is parked, what it sent.
    pub(in crate::edge) fn advance(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        sabotage!(CleanupQueue => if self.settles_once(conn, turn) { return; });
        self.work.begin_slice();
        if self.at(conn).facts.has(Fact::Waiting) || !self.settle(conn, turn) {
            return;
        }
        if !self.serve_wishes(conn, turn) {
            return;
        }
        if !self.push_parked(conn, turn) {
            return;
        }
        if self.life(conn) == Life::Dead {
            return self.settle_registration(conn, turn);
        }
        self.call_on(conn, turn);
        self.work_off_input(conn, turn);
    }

    /// Pushes the parked command; false when it found no room.
    fn push_parked(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) -> bool {
        let Some(input) = self.at(conn).input.as_mut() else { return true };
        let Some(Parked { home, request }) = input.parked.take() else { return true };
        let pushed =
            if self.claim_turn(home) { self.push(conn, home, request, turn) } else { Err(request) };
        if let Err(request) = pushed {
            self.park(conn, home, request);
            return false;
        }
        true
    }

    /// The last thing a dead connection owes is its registration; then its place is free. What is
    /// pending is waited for: its answer says whether there is something to take back.
    fn settle_registration(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        if !self.at(conn).subscriptions.is_empty() {
            return;
        }
        if self.at(conn).facts.has(Fact::Registered) {
            let user = self.at(conn).user.clone().expect("only a user is registered");
            let home = self.home_of(user.as_str());
            let connection = self.key(conn);
            let pushed = self.claim_turn(home)
                && turn.lanes.push(home, Request::Deregister { connection, user }).is_ok();
            if !pushed {
                return self.join_line(conn, home);
            }
            self.at(conn).facts.set(Fact::Registered, false);
        }
        self.free(conn);
    }

    /// Tells homes which of their commands have taken effect, as far as their lanes have room.
    pub fn push_reports(&mut self, turn: &mut Turn<'_>) {
        let lane_full = &self.metrics.lane_full;
        self.user_calls.push_reports(|home, report| {
            turn.lanes.push(home, report).inspect_err(|_| lane_full.add(1))
        });
    }
}
