//! What a home does where a rule is broken on purpose, to prove that the simulation would notice.
//! Without the feature `sabotage` nothing here is reached.

use super::Home;
use crate::clock::Now;
use crate::contract::engine::{Engine, StreamRead};
use crate::contract::envelope::{Recovery, SubscribeRequest};
use crate::contract::position::Position;
use crate::rules::{Rule, holds};

impl<E: Engine> Home<E> {
    /// Lets those go live that were read for in an earlier turn: what came between is theirs no
    /// more.
    pub(super) fn go_live_late(&mut self, now: Now) {
        for (request, recovery, position) in std::mem::take(&mut self.read_early) {
            if let Ok(place) = self.find_or_make(&request.channel, None, now) {
                self.channels.add_pair(place, request.to.connection.core);
                self.admit_at(place, request, recovery, position);
            }
        }
    }

    /// Answers from a read of the subscriber's own while a fill is out, as it must not be: what the
    /// fill forwards, the answer had already.
    pub(super) fn answer_as_read(&mut self, place: u32, read: &StreamRead) {
        if holds(Rule::FillHold) {
            return;
        }
        let Some(replica) = self.replica(place) else { return };
        let since = |request: &SubscribeRequest| request.since.map(|since| since.offset);
        let Some(request) = replica.pending.pop_front() else { return };
        let since = since(&request).unwrap_or(read.top);
        let missed = read.entries.iter().filter(|placed| placed.offset > since).cloned().collect();
        let position = Position { epoch: read.epoch, offset: read.top };
        self.admit_at(place, request, Recovery::Complete(missed), position);
    }
}
