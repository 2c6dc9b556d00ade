//! Commands about users that this edge carries out, until their homes have been sent a report (rule
//! 33).
//!
//! A home hands a command to each edge with connections of the user. The edge counts one part for
//! every connection, and for every subscription that has to be taken back at a home; when the last
//! part is done it owes the home a report. Must not know connections or lanes. Invariant: a stored
//! call has parts left, and becomes one report when it has none.

use crate::contract::envelope::Request;
use std::collections::{BTreeMap, VecDeque};

/// A call's number on this edge; 0 if no call waits.
pub type CallPlace = u32;

/// No call waits.
pub const NOBODY: CallPlace = 0;

#[derive(Clone, Copy, Debug, Default)]
struct Call {
    home: u16,
    /// The home's number of the call.
    number: u32,
    /// Parts that are not done.
    left: u32,
    /// A part came to nothing, and could be done at another time.
    failed: bool,
}

/// The calls of an edge, at most as many as the homes have unanswered.
#[derive(Debug)]
pub struct UserCalls {
    calls: BTreeMap<CallPlace, Call>,
    last: CallPlace,
    /// By home: reports that were not pushed yet.
    reports: Vec<VecDeque<Request>>,
    /// By sequence: subscriptions that a call ends, whose home has to know before the call is
    /// answered.
    withdrawals: BTreeMap<u32, CallPlace>,
    /// The host shuts down, and homes answer their calls by themselves.
    closed: bool,
}

impl UserCalls {
    #[must_use]
    pub fn new(homes: usize) -> UserCalls {
        UserCalls {
            calls: BTreeMap::new(),
            last: NOBODY,
            reports: vec![VecDeque::new(); homes],
            withdrawals: BTreeMap::new(),
            closed: false,
        }
    }

    /// Stores a call with one part, which stands for its beginning.
    pub fn begin(&mut self, home: u16, number: u32) -> CallPlace {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != NOBODY && !self.calls.contains_key(&self.last) {
                break;
            }
        }
        let call = Call { home, number, left: 1, failed: false };
        self.calls.insert(self.last, call);
        self.last
    }

    /// Counts one part more.
    pub fn add_part(&mut self, place: CallPlace) {
        if let Some(call) = self.calls.get_mut(&place) {
            call.left += 1;
        }
    }

    /// A part is done.
    pub fn part_done(&mut self, place: CallPlace) {
        let Some(call) = self.calls.get_mut(&place) else {
            debug_assert!(place == NOBODY, "a call lasts until its last part is done");
            return;
        };
        call.left -= 1;
        if call.left == 0 {
            let Call { home, number, failed, .. } = *call;
            self.calls.remove(&place);
            if self.closed {
                return;
            }
            let done = Request::UserDone { call: number, took_effect: !failed };
            self.reports[usize::from(home)].push_back(done);
        }
    }

    /// A part has come to nothing, and could be done at another time: the call is answered with an
    /// error.
    pub fn part_failed(&mut self, place: CallPlace) {
        if let Some(call) = self.calls.get_mut(&place) {
            call.failed = true;
        }
        self.part_done(place);
    }

    /// A call ends this subscription: the part is done when the channel's home has taken it back.
    pub fn await_withdrawal(&mut self, place: CallPlace, sequence: u32) {
        if place != NOBODY {
            self.add_part(place);
            if let Some(before) = self.withdrawals.insert(sequence, place) {
                // Two calls end it; the later one waits for it.
                self.part_done(before);
            }
        }
    }

    /// The call that waits for the end of this subscription.
    #[must_use]
    pub fn withdrawal(&self, sequence: u32) -> CallPlace {
        if self.withdrawals.is_empty() {
            return NOBODY;
        }
        self.withdrawals.get(&sequence).copied().unwrap_or(NOBODY)
    }

    /// A subscription's end was requested from its home, which will answer.
    pub fn withdraw(&mut self, sequence: u32) {
        self.withdrawals.remove(&sequence);
    }

    /// A subscription is gone without a request to its home.
    pub fn forget_withdrawal(&mut self, sequence: u32) {
        if !self.withdrawals.is_empty()
            && let Some(place) = self.withdrawals.remove(&sequence)
        {
            self.part_done(place);
        }
    }

    /// Is there a report for this home?
    #[must_use]
    pub fn has_report(&self, home: u16) -> bool {
        !self.reports[usize::from(home)].is_empty()
    }

    /// Pushes the reports for which there is room.
    pub fn push_reports(&mut self, mut push: impl FnMut(u16, Request) -> Result<(), Request>) {
        for (home, reports) in (0_u16..).zip(&mut self.reports) {
            while let Some(report) = reports.pop_front() {
                if let Err(report) = push(home, report) {
                    reports.push_front(report);
                    break;
                }
            }
        }
    }

    /// The host shuts down: no more reports are sent, because homes answer their calls by
    /// themselves.
    pub fn stop(&mut self) {
        self.closed = true;
        self.reports.iter_mut().for_each(VecDeque::clear);
    }

    /// Calls without a report yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len() + self.reports.iter().map(VecDeque::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(calls: &mut UserCalls) -> Vec<(u16, u32)> {
        let mut told = Vec::new();
        calls.push_reports(|home, request| {
            let Request::UserDone { call, took_effect: true } = request else {
                panic!("{request:?}")
            };
            told.push((home, call));
            Ok(())
        });
        told
    }

    #[test]
    fn a_home_is_told_once_after_the_last_part() {
        let mut calls = UserCalls::new(2);
        let place = calls.begin(1, 7);
        calls.add_part(place);
        calls.await_withdrawal(place, 40);
        calls.part_done(place);
        calls.part_done(place);
        assert_eq!(reports(&mut calls), [], "the subscription is not taken back");
        assert_eq!(calls.withdrawal(40), place);
        calls.withdraw(40);
        calls.part_done(place);
        assert!(calls.has_report(1) && !calls.has_report(0));
        assert_eq!(reports(&mut calls), [(1, 7)]);
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn a_call_of_which_a_part_failed_did_not_take_effect() {
        let mut calls = UserCalls::new(1);
        for failing in [false, true, false] {
            let place = calls.begin(0, 3);
            calls.add_part(place);
            if failing {
                calls.part_failed(place);
            } else {
                calls.part_done(place);
            }
            calls.part_done(place);
            let mut effects = Vec::new();
            calls.push_reports(|_, request| {
                effects.push(matches!(request, Request::UserDone { took_effect: true, .. }));
                Ok(())
            });
            assert_eq!(effects, [!failing]);
        }
    }

    #[test]
    fn a_report_waits_for_room() {
        let mut calls = UserCalls::new(1);
        let place = calls.begin(0, 3);
        calls.part_done(place);
        calls.push_reports(|_, request| Err(request));
        assert!(calls.has_report(0));
        assert_eq!(reports(&mut calls), [(0, 3)]);
    }

    #[test]
    fn of_two_calls_that_end_a_subscription_both_are_answered() {
        let mut calls = UserCalls::new(1);
        let (first, second) = (calls.begin(0, 1), calls.begin(0, 2));
        calls.await_withdrawal(first, 5);
        calls.await_withdrawal(second, 5);
        calls.part_done(first);
        calls.forget_withdrawal(5);
        calls.part_done(second);
        assert_eq!(reports(&mut calls), [(0, 1), (0, 2)]);
    }
}
