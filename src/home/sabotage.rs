//! What a home does where a rule is broken on purpose, to prove that the simulation would notice.
//! Compiled with the feature `sabotage` only.

use super::Home;
use crate::clock::Now;
use crate::contract::block::Placed;
use crate::contract::engine::{Engine, StreamRead};
use crate::contract::envelope::{Recovery, SubscribeRequest};
use crate::contract::position::{Epoch, Position};

/// What broken rules need to remember.
#[derive(Default)]
pub(super) struct Broken {
    /// Subscribers that were read for and are not live yet.
    read_early: Vec<(SubscribeRequest, Recovery, Position)>,
}

impl<E: Engine> Home<E> {
    /// `live_at_read`: reads for a subscriber who goes live in a later turn.
    pub(super) fn read_early(&mut self, place: u32, request: SubscribeRequest) {
        let recovery = self.recover(place, &request);
        let position = self.channels.at(place).position();
        self.broken.read_early.push((request, recovery, position));
    }

    /// Lets those go live that were read for in an earlier turn: what came between is theirs no
    /// more.
    pub(super) fn go_live_late(&mut self, now: Now) {
        for (request, recovery, position) in std::mem::take(&mut self.broken.read_early) {
            if let Ok(place) = self.find_or_make(&request.channel, None, now) {
                self.channels.add_pair(place, request.to.connection.core);
                self.admit_at(place, request, (recovery, position), now);
            }
        }
    }

    /// Rule 13, `evict_trim`: an evicted channel begins to count anew.
    pub(super) fn forget_numbering(&mut self, place: u32) {
        let epochs = self.channels.len() as u64;
        let channel = self.channels.at(place);
        channel.epoch = Epoch(channel.epoch.0 + 1 + epochs);
        channel.last = 0;
    }

    /// Rule 16, `cut`: answers from a read alone, wherever it ends.
    pub(super) fn answer_uncut(&mut self, place: u32, read: &StreamRead, now: Now) {
        let last = self.channels.at(place).last;
        let bytes_max = self.limits.recovery_bytes as usize;
        let Some(replica) = self.replica(place) else { return };
        let since = |request: &SubscribeRequest| {
            let since = request.since.filter(|since| since.is_of(read.epoch));
            since.map(|since| since.offset).filter(|offset| *offset >= read.after)
        };
        let Some((index, since)) =
            replica.pending.iter().enumerate().find_map(|(at, it)| Some((at, since(&it.0)?)))
        else {
            return self.give_up_on_trimmed(place, read, now);
        };
        let request = self.take_pending(place, index);
        let missed: Box<[Placed]> =
            read.entries.iter().filter(|placed| placed.offset > since).cloned().collect();
        let bytes: usize = missed.iter().map(|placed| placed.block.size()).sum();
        let whole = bytes <= bytes_max && since <= last;
        let recovery = if whole { Recovery::Complete(missed) } else { Recovery::Impossible };
        self.admit(place, request, recovery, now);
    }

    /// Rule 15, `fill_hold`: answers from a read of the subscriber's own while a fill is under way.
    /// It has what the fill forwards too, so its subscriber is sent that twice.
    pub(super) fn answer_as_read(&mut self, place: u32, read: &StreamRead, now: Now) {
        let Some(replica) = self.replica(place) else { return };
        let since = |request: &SubscribeRequest| request.since.map(|since| since.offset);
        if replica.pending.is_empty() {
            return;
        }
        let request = self.take_pending(place, 0);
        let since = since(&request).unwrap_or(read.top);
        let missed = read.entries.iter().filter(|placed| placed.offset > since).cloned().collect();
        let position = Position { epoch: read.epoch, offset: read.top };
        self.admit_at(place, request, (Recovery::Complete(missed), position), now);
    }
}
