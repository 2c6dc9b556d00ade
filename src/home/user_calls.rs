//! Commands about users: handed to every edge with connections of the user, and to other nodes that
//! hold it, and answered when each of these has reported that it took effect (rule 33).
//!
//! Must not know what a command does. Invariant: a call that is handed on is answered once, by the
//! last report or by its deadline.

use super::Home;
use super::replica::{Asked, USERS_LINE};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::{self, Engine};
use crate::contract::envelope::Delivery;
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::contract::name::Name;
use crate::contract::node::NodeInfo;
use crate::contract::user::{SharedCommand, ToUser};
use crate::limits::USER_CALL_MS;
use crate::rules::sabotage;
use std::collections::{BTreeMap, VecDeque};

/// Who asked for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A call of the server API at this node.
    Here(ReplyTo),
    /// Another node, by the number that the bridge has given it.
    Node(u64),
}

/// Calls that were handed on and are not answered yet. Their number is bounded by that of
/// unanswered calls of the server API's connections, and of what the bridge lets in.
#[derive(Debug, Default)]
pub struct UserCalls {
    calls: BTreeMap<u32, Call>,
    last: u32,
    /// Deadlines of the calls, the earliest first; some calls may have been answered already.
    deadlines: VecDeque<(u64, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    to: Asker,
    /// Edges that have not reported, and the other nodes as one.
    parts: u32,
    /// Other nodes of which it is not known whether it took effect; "" if even they are not known.
    missing: Option<Box<str>>,
    /// It did not take effect on a connection of this node.
    failed: bool,
}

impl UserCalls {
    /// Stores a call and the number of its parts; returns the call's number.
    fn begin(&mut self, to: Asker, parts: u32, now: Now) -> u32 {
        debug_assert!(parts > 0, "somebody will report");
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.calls.contains_key(&self.last) {
                break;
            }
        }
        self.calls.insert(self.last, Call { to, parts, missing: None, failed: false });
        self.deadlines.push_back((now.monotonic_ms() + USER_CALL_MS, self.last));
        self.last
    }

    /// Notes that it is not known whether a call takes effect on other nodes.
    fn note_missing(&mut self, number: u32, nodes: Box<str>) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.missing = Some(nodes);
        }
    }

    /// Notes that a call did not take effect on a connection here.
    fn note_failed(&mut self, number: u32) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.failed = true;
        }
    }

    /// Takes the report of a part; after the last one, returns the call, to be answered.
    fn report(&mut self, number: u32) -> Option<Call> {
        // A call that was answered at its deadline is unknown here.
        let call = self.calls.get_mut(&number)?;
        call.parts -= 1;
        if call.parts > 0 {
            return None;
        }
        let call = self.calls.remove(&number);
        while self.deadlines.front().is_some_and(|(_, first)| !self.calls.contains_key(first)) {
            self.deadlines.pop_front();
        }
        call
    }

    /// A call whose deadline has passed.
    fn take_late(&mut self, now: Now) -> Option<Asker> {
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
    /// Carries out a command here, and on the other nodes that hold the user.
    pub(super) fn command_user(&mut self, to_user: ToUser, now: Now) {
        let ToUser { to, user, what } = to_user;
        let what = SharedCommand::from(what);
        let call = self.hand_on(Asker::Here(to), &user, &what, now);
        if let Some(call) = call.filter(|_| !E::LOCAL) {
            let asked = Asked::ToUser(call);
            self.ask_in_line(
                USERS_LINE.into(),
                asked,
                |id| engine::Call::ToUser { id, user, what },
                now,
            );
        }
    }

    /// Carries out a command here alone: the other nodes cannot be asked.
    pub(super) fn command_user_here(&mut self, to_user: ToUser, now: Now) {
        let ToUser { to, user, what } = to_user;
        if let Some(call) = self.hand_on(Asker::Here(to), &user, &what.into(), now) {
            self.others_unknown(call);
        }
    }

    /// Asks which other nodes there are.
    pub(super) fn ask_nodes(&mut self, to: ReplyTo, now: Now) {
        if E::LOCAL {
            return self.tell_nodes(to, Box::default());
        }
        let nodes = |id| engine::Call::Nodes { id };
        self.ask_in_line(USERS_LINE.into(), Asked::Nodes(to), nodes, now);
    }

    /// Answers which other nodes there are.
    pub(super) fn tell_nodes(&mut self, to: ReplyTo, nodes: Box<[NodeInfo]>) {
        self.say(to.connection.core, Delivery::Nodes { to, nodes });
    }

    /// Carries out a command of another node.
    pub(super) fn command_from(
        &mut self,
        number: u64,
        user: &Name,
        what: &SharedCommand,
        now: Now,
    ) {
        self.hand_on(Asker::Node(number), user, what, now);
        self.announce(now);
    }

    /// Sends one delivery to each core, whatever the number of the user's connections there. Gives
    /// the number of the call, unless it is answered already. What was asked here has the other
    /// nodes for a part, where there may be any.
    fn hand_on(&mut self, to: Asker, user: &Name, what: &SharedCommand, now: Now) -> Option<u32> {
        let mut connections = self.users.connections(user.as_str()).to_vec();
        connections.sort_unstable();
        let same: fn(&ConnectionKey, &ConnectionKey) -> bool = |a, b| a.core == b.core;
        sabotage!(OneItem: same = |_: &_, _: &_| false);
        let edges = u32::try_from(connections.chunk_by(same).count()).unwrap_or(u32::MAX);
        let others = u32::from(!E::LOCAL && matches!(to, Asker::Here(_)));
        if edges + others == 0 {
            self.answer_user_call(to, None);
            return None;
        }
        let call = self.user_calls.begin(to, edges + others, now);
        for group in connections.chunk_by(same) {
            let (connections, what) = (group.into(), what.clone());
            self.say(group[0].core, Delivery::UserCommand { call, connections, what });
        }
        sabotage!(TakesEffect => (0..edges).for_each(|_| self.user_done(call, true)));
        Some(call)
    }

    /// A part of a command is carried out.
    pub(super) fn user_done(&mut self, call: u32, took_effect: bool) {
        if !took_effect {
            self.user_calls.note_failed(call);
        }
        match self.user_calls.report(call) {
            Some(Call { to, failed: true, .. }) => self.refuse_user_call(to),
            Some(Call { to, missing, .. }) => self.answer_user_call(to, missing),
            None => {}
        }
    }

    /// The other nodes have answered, but for those that are missing; "" if none is.
    pub(super) fn told_others(&mut self, call: u32, missing: Box<str>) {
        if !missing.is_empty() {
            self.user_calls.note_missing(call, missing);
        }
        self.user_done(call, true);
    }

    /// The other nodes could not be asked.
    pub(super) fn others_unknown(&mut self, call: u32) {
        self.user_calls.note_missing(call, Box::default());
        self.user_done(call, true);
    }

    fn answer_user_call(&mut self, to: Asker, missing: Option<Box<str>>) {
        match (to, missing) {
            (Asker::Here(to), None) => {
                self.say(to.connection.core, Delivery::UserAnswered { to });
            }
            (Asker::Here(to), Some(nodes)) => {
                self.say(to.connection.core, Delivery::UserUnanswered { to, nodes });
            }
            (Asker::Node(number), missing) => {
                let took_effect = missing.is_none();
                self.announcing.note(engine::Call::CommandDone { number, took_effect });
            }
        }
    }

    /// Answers one call whose deadline has passed; it may still take effect. True: there was one.
    pub(super) fn answer_late_call(&mut self, now: Now) -> bool {
        let Some(to) = self.user_calls.take_late(now) else { return false };
        self.refuse_user_call(to);
        true
    }

    fn refuse_user_call(&mut self, to: Asker) {
        match to {
            Asker::Here(to) => {
                self.say(to.connection.core, super::refused(to, ErrorCode::Internal, "", None));
            }
            Asker::Node(number) => {
                self.announcing.note(engine::Call::CommandDone { number, took_effect: false });
            }
        }
    }

    /// The host shuts down: no edge will report any more.
    pub(super) fn give_up_calls(&mut self) {
        self.user_calls.deadlines.clear();
        for call in std::mem::take(&mut self.user_calls.calls).into_values() {
            self.refuse_user_call(call.to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Asker = Asker::Here(ReplyTo { connection: ConnectionKey::NOBODY, command: 7 });

    fn at_ms(ms: u64) -> Now {
        Now { monotonic_us: ms * 1_000, unix_ms: ms }
    }

    #[test]
    fn a_call_is_answered_once_by_its_last_report_or_its_deadline() {
        let mut calls = UserCalls::default();
        let asker = |call: Option<Call>| call.map(|call| call.to);
        let (first, second) = (calls.begin(TO, 2, at_ms(0)), calls.begin(TO, 1, at_ms(10)));
        assert_eq!(asker(calls.report(first)), None, "another edge is still to report");
        assert_eq!(asker(calls.report(second)), Some(TO));
        assert_eq!(calls.take_late(at_ms(USER_CALL_MS - 1)), None);
        assert_eq!(calls.next_ms(), Some(USER_CALL_MS));
        assert_eq!(calls.take_late(at_ms(USER_CALL_MS)), Some(TO));
        assert_eq!(calls.report(first), None, "its deadline has answered it");
        assert_eq!((calls.take_late(at_ms(u64::MAX / 2_000)), calls.next_ms()), (None, None));
    }
}
