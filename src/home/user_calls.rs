//! Commands about users: handed to every edge with connections of the user, and answered when each
//! of these has reported that it took effect (rule 33).
//!
//! Must not know what a command does. Invariant: a call that is handed on is answered once, by the
//! last report or by its deadline.

use super::Home;
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::Engine;
use crate::contract::envelope::Delivery;
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::contract::user::{SharedCommand, ToUser};
use crate::limits::USER_CALL_MS;
use crate::rules::sabotage;
use std::collections::{BTreeMap, VecDeque};

/// Calls that were handed on and are not answered yet. Their number is bounded by that of
/// unanswered calls of the server API's connections.
#[derive(Debug, Default)]
pub struct UserCalls {
    calls: BTreeMap<u32, Call>,
    last: u32,
    /// Deadlines of the calls, the earliest first; some calls may have been answered already.
    deadlines: VecDeque<(u64, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    to: ReplyTo,
    /// Edges that have not reported.
    edges: u32,
}

impl UserCalls {
    /// Stores a call and the number of edges that it was handed to; returns the call's number.
    fn begin(&mut self, to: ReplyTo, edges: u32, now: Now) -> u32 {
        debug_assert!(edges > 0, "somebody will report");
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.calls.contains_key(&self.last) {
                break;
            }
        }
        self.calls.insert(self.last, Call { to, edges });
        self.deadlines.push_back((now.monotonic_ms() + USER_CALL_MS, self.last));
        self.last
    }

    /// Takes an edge's report; after the last one, returns where to send the answer.
    fn report(&mut self, number: u32) -> Option<ReplyTo> {
        // A call that was answered at its deadline is unknown here.
        let call = self.calls.get_mut(&number)?;
        call.edges -= 1;
        if call.edges > 0 {
            return None;
        }
        let to = call.to;
        self.calls.remove(&number);
        while self.deadlines.front().is_some_and(|(_, first)| !self.calls.contains_key(first)) {
            self.deadlines.pop_front();
        }
        Some(to)
    }

    /// A call whose deadline has passed.
    fn take_late(&mut self, now: Now) -> Option<ReplyTo> {
        while let Some((at_ms, number)) = self.deadlines.front().copied() {
            if at_ms > now.monotonic_ms() {
                return None;
            }
            self.deadlines.pop_front();
            if let Some(call) = self.calls.remove(&number) {
                return Some(call.to);
            }
        }
        None
    }

    /// The next deadline, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.deadlines.front().map(|(at_ms, _)| *at_ms)
    }
}

impl<E: Engine> Home<E> {
    /// Sends one delivery to each core, whatever the number of the user's connections there.
    pub(super) fn hand_on(&mut self, to_user: ToUser, now: Now) {
        let ToUser { to, user, what } = to_user;
        let what = SharedCommand::from(what);
        let mut connections = self.users.connections(user.as_str()).to_vec();
        connections.sort_unstable();
        let same: fn(&ConnectionKey, &ConnectionKey) -> bool = |a, b| a.core == b.core;
        sabotage!(OneItem: same = |_: &_, _: &_| false);
        let edges = u32::try_from(connections.chunk_by(same).count()).unwrap_or(u32::MAX);
        if edges == 0 {
            return self.say(to.connection.core, Delivery::UserAnswered { to });
        }
        let call = self.user_calls.begin(to, edges, now);
        for group in connections.chunk_by(same) {
            let (connections, what) = (group.into(), what.clone());
            self.say(group[0].core, Delivery::UserCommand { call, connections, what });
        }
        sabotage!(TakesEffect => (0..edges).for_each(|_| self.user_done(call)));
    }

    /// A command has taken effect on one edge.
    pub(super) fn user_done(&mut self, call: u32) {
        if let Some(to) = self.user_calls.report(call) {
            self.say(to.connection.core, Delivery::UserAnswered { to });
        }
    }

    /// Answers one call whose deadline has passed; it may still take effect. True: there was one.
    pub(super) fn answer_late_call(&mut self, now: Now) -> bool {
        let Some(to) = self.user_calls.take_late(now) else { return false };
        self.say(to.connection.core, super::refused(to, ErrorCode::Internal, "", None));
        true
    }

    /// The host shuts down: no edge will report any more.
    pub(super) fn give_up_calls(&mut self) {
        self.user_calls.deadlines.clear();
        for call in std::mem::take(&mut self.user_calls.calls).into_values() {
            self.say(
                call.to.connection.core,
                super::refused(call.to, ErrorCode::Internal, "", None),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: ReplyTo = ReplyTo { connection: ConnectionKey::NOBODY, command: 7 };

    fn at_ms(ms: u64) -> Now {
        Now { monotonic_us: ms * 1_000, unix_ms: ms }
    }

    #[test]
    fn a_call_is_answered_once_by_its_last_report_or_its_deadline() {
        let mut calls = UserCalls::default();
        let (first, second) = (calls.begin(TO, 2, at_ms(0)), calls.begin(TO, 1, at_ms(10)));
        assert_eq!(calls.report(first), None, "another edge is still to report");
        assert_eq!(calls.report(second), Some(TO));
        assert_eq!(calls.take_late(at_ms(USER_CALL_MS - 1)), None);
        assert_eq!(calls.next_ms(), Some(USER_CALL_MS));
        assert_eq!(calls.take_late(at_ms(USER_CALL_MS)), Some(TO));
        assert_eq!(calls.report(first), None, "its deadline has answered it");
        assert_eq!((calls.take_late(at_ms(u64::MAX / 2_000)), calls.next_ms()), (None, None));
    }
}
