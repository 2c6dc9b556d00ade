//! When what came in has to wait, and how it comes to its turn again.
//!
//! Rule 4: behind a command that waits nothing more of its connection is parsed; rule 23: over the
//! arena's bound nothing is. Invariant: whoever waits for what no event and no answer will bring is
//! in the queue of those with work left over.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge};
use crate::limits::{COMMANDS_IN_FLIGHT, HTTP_BACKLOG_BYTES};
use crate::rules::sabotage;

impl Edge {
    /// Must what came wait?
    pub(in crate::edge) fn is_blocked(&self, conn: ConnectionId) -> bool {
        let it = self.connection(conn);
        let input = it.input.as_ref();
        let later = input.map_or(0, |input| input.later.len());
        let begun = input.is_some_and(|input| !input.message.is_empty());
        begun
            || usize::from(it.in_flight) + later >= usize::from(COMMANDS_IN_FLIGHT)
            || self.is_stopped(conn)
    }

    /// Can no command run, not even one that came before and waits for its turn?
    pub(in crate::edge) fn is_stopped(&self, conn: ConnectionId) -> bool {
        let it = self.connection(conn);
        let called = it.http().is_some_and(|http| http.call.is_some());
        let awaits_answers =
            it.facts.has(Fact::Connecting) || it.in_flight >= COMMANDS_IN_FLIGHT || called;
        awaits_answers
            || it.is_parked()
            || self.is_turn_over()
            || self.is_held_back(conn)
            || self.is_behind_responses(conn)
    }

    /// Has nothing more its turn before the next stage: is the arena full, or this connection's
    /// slice of the work done?
    pub(in crate::edge) fn is_turn_over(&self) -> bool {
        let full = !self.has_room();
        sabotage!(GateFrames: full = false);
        full || self.work.is_slice_spent()
    }

    /// Has a connection that speaks HTTP not read the responses that it was given?
    pub(in crate::edge) fn is_behind_responses(&self, conn: ConnectionId) -> bool {
        let Some(http) = self.connection(conn).http() else { return false };
        let most = if http.upgrading { 0 } else { HTTP_BACKLOG_BYTES };
        self.unsent_bytes(conn) > most
    }

    /// While the server stops, nothing is parsed before the close frame is written: what comes is
    /// kept, because the peer's close frame will be behind it (rule 25).
    pub(in crate::edge) fn is_held_back(&self, conn: ConnectionId) -> bool {
        self.draining && matches!(self.life(conn), Life::Authenticating | Life::Active)
    }

    /// Bytes pile up behind something: stop reading, and come back when that is gone.
    pub(in crate::edge) fn pause_if_blocked(&mut self, conn: ConnectionId) {
        if !matches!(self.life(conn), Life::Free | Life::Dead) && self.is_blocked(conn) {
            self.pause(conn);
            self.make_ready_for_turn(conn);
        }
    }

    /// The same, where no answer and no room will bring it back by itself.
    pub(in crate::edge) fn make_ready_unless_waiting(&mut self, conn: ConnectionId) {
        let held_back = self.is_held_back(conn);
        let it = self.at(conn);
        let later = it.input.as_ref().map_or(0, |input| input.later.len());
        let full = usize::from(it.in_flight) + later >= usize::from(COMMANDS_IN_FLIGHT);
        let answers = it.facts.has(Fact::Connecting) || full;
        if !answers && !it.is_parked() && !held_back {
            self.make_ready(conn);
        }
    }

    /// The same, where it is the turn that is over, or this turn's flush that is waited for: nobody
    /// else would bring it back.
    pub(in crate::edge) fn make_ready_for_turn(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        let flush = it.backlog.is_none() && it.http().is_some_and(|http| http.call.is_none());
        if !self.has_room() || self.work.is_slice_spent() || flush {
            self.make_ready_unless_waiting(conn);
        }
    }
}
