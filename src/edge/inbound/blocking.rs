//! When input has to wait, and how its connection comes to its turn again.
//!
//! Rule 4: while a command waits nothing more of its connection is parsed; rule 23: over the
//! arena's bound nothing is parsed. Invariant: a connection that waits for something that neither
//! an event nor an answer will bring is in the queue of those with work left over.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge};
use crate::limits::{COMMANDS_IN_FLIGHT, HTTP_BACKLOG_BYTES};
use crate::rules::sabotage;

impl Edge {
    /// Must input wait?
    pub(in crate::edge) fn is_blocked(&self, conn: ConnectionId) -> bool {
        let it = self.connection(conn);
        let input = it.input.as_ref();
        let later = input.map_or(0, |input| input.later.len());
        let begun = input.is_some_and(|input| !input.message.is_empty());
        begun
            || usize::from(it.in_flight) + later >= usize::from(COMMANDS_IN_FLIGHT)
            || self.is_stopped(conn)
    }

    /// Can no command run, not even an earlier one that waits for its turn?
    pub(in crate::edge) fn is_stopped(&self, conn: ConnectionId) -> bool {
        let it = self.connection(conn);
        let called = it.http().is_some_and(|http| http.call.is_some());
        let awaits_answers =
            it.facts.has(Fact::AwaitsConnect) || it.in_flight >= COMMANDS_IN_FLIGHT || called;
        awaits_answers
            || it.is_parked()
            || self.is_turn_over()
            || self.waits_for_drain(conn)
            || self.is_behind_responses(conn)
    }

    /// Does everything else wait for the next stage, because the arena is full, or this
    /// connection's slice of the work is used up?
    pub(in crate::edge) fn is_turn_over(&self) -> bool {
        let full = !self.has_room();
        sabotage!(GateFrames: full = false);
        full || self.work.is_slice_spent()
    }

    /// Has an HTTP client not read the responses that it was sent?
    pub(in crate::edge) fn is_behind_responses(&self, conn: ConnectionId) -> bool {
        let Some(http) = self.connection(conn).http() else { return false };
        let most = if http.upgrading { 0 } else { HTTP_BACKLOG_BYTES };
        self.unsent_bytes(conn) > most
    }

    /// During a shutdown nothing is parsed before the close frame is written. Input is kept,
    /// because the peer's close frame follows it (rule 25).
    pub(in crate::edge) fn waits_for_drain(&self, conn: ConnectionId) -> bool {
        self.draining && matches!(self.life(conn), Life::Authenticating | Life::Active)
    }

    /// Stops reading while input has to wait, and continues when it does not.
    pub(in crate::edge) fn pause_if_blocked(&mut self, conn: ConnectionId) {
        if !matches!(self.life(conn), Life::Free | Life::Dead) && self.is_blocked(conn) {
            self.pause(conn);
            self.make_ready_for_turn(conn);
        }
    }

    /// The same, if neither an answer nor room in a lane will bring the connection back.
    pub(in crate::edge) fn make_ready_unless_waiting(&mut self, conn: ConnectionId) {
        let held_back = self.waits_for_drain(conn);
        let it = self.at(conn);
        let later = it.input.as_ref().map_or(0, |input| input.later.len());
        let full = usize::from(it.in_flight) + later >= usize::from(COMMANDS_IN_FLIGHT);
        // A call makes its connection ready itself where it could go on without an answer.
        let called = it.http().is_some_and(|http| http.call.is_some());
        let answers = it.facts.has(Fact::AwaitsConnect) || full || called;
        if !answers && !it.is_parked() && !held_back {
            self.make_ready(conn);
        }
    }

    /// The same, if the turn is over or this turn's flush is awaited: nothing else would bring the
    /// connection back.
    pub(in crate::edge) fn make_ready_for_turn(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        let flush = it.backlog.is_none() && it.http().is_some();
        if !self.has_room() || self.work.is_slice_spent() || flush {
            self.make_ready_unless_waiting(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::contract::envelope::Request;
    use crate::edge::tests::Bench;
    use crate::limits::Limits;

    #[test]
    fn a_call_that_waits_for_an_answer_keeps_nobody_awake() {
        let mut bench = Bench::new(8, Limits::default());
        let conn = bench.accept();
        let body = r#"{"channel":"c","data":1}"#;
        let length = body.len();
        let head = "POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
        let request = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
        bench.receive(conn, request.as_bytes());
        bench.flush(conn);
        let asked = bench.lane.requests.pop_front();
        assert!(matches!(asked, Some(Request::Publish { .. })), "{asked:?}");
        // A slice that one look at the call uses up.
        bench.edge.begin_turn(1, bench.now);
        for _ in 0..3 {
            bench.resume();
            bench.edge.take_effects(&mut bench.effects);
        }
        assert!(!bench.edge.has_work(), "its answer brings it on, and nothing else");
    }
}
