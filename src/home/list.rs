//! Lists channels in parts, so that a list of any length does not delay a worker, for this node's
//! edges and for other nodes; and has those of other nodes listed.
//!
//! Must not know patterns: the asking edge compares them, and for other nodes the bridge. Invariant:
//! a list that is read to its end has every channel that had subscribers throughout exactly once.

use super::replica::{Asked, USERS_LINE};
use super::{Home, refused};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::{Call, Engine, Failure};
use crate::contract::envelope::Delivery;
use crate::contract::key::ReplyTo;
use crate::contract::listing::{ChannelCounts, ChannelsPart, ListCursor};
use crate::limits::CHANNELS_PER_PART;
use crate::work::cost;

impl<E: Engine> Home<E> {
    pub(super) fn list(&mut self, to: ReplyTo, from: ListCursor) {
        let part = Box::new(self.listed(from));
        self.say(to.connection.core, Delivery::Channels { to, part });
    }

    /// Lists for another node.
    pub(super) fn list_for(&mut self, number: u64, from: ListCursor, now: Now) {
        let part = Box::new(self.listed(from));
        self.announcing.note(Call::Listed { number, part });
        self.announce(now);
    }

    fn listed(&mut self, from: ListCursor) -> ChannelsPart {
        let made = if from.made == 0 { self.channels.made() } else { from.made };
        let part = u32::try_from(CHANNELS_PER_PART).expect("a small number");
        let end = from.place.saturating_add(part).min(self.channels.places());
        let listed = |place: u32| {
            let channel = self.channels.get(place).filter(|channel| channel.made <= made)?;
            let pairs: u32 = channel.interest.iter().map(|interest| interest.pairs).sum();
            (pairs > 0).then(|| (channel.name.clone(), pairs))
        };
        let channels = (from.place..end).filter_map(listed).collect();
        self.work.charge(end.saturating_sub(from.place) as usize * cost::PLACED);
        let more = made > 0 && end < self.channels.places();
        let next = more.then_some(ListCursor { place: end, made });
        ChannelsPart { channels, next }
    }

    /// Asks which channels other nodes have.
    pub(super) fn ask_channels(&mut self, to: ReplyTo, pattern: Box<str>, now: Now) {
        if E::LOCAL {
            return self.tell_channels(to, Box::default());
        }
        let channels = |id| Call::Channels { id, pattern };
        self.ask_in_line(USERS_LINE.into(), Asked::Channels(to), channels, now);
    }

    /// Answers which channels other nodes have.
    pub(super) fn tell_channels(&mut self, to: ReplyTo, channels: Box<ChannelCounts>) {
        self.say(to.connection.core, Delivery::OtherChannels { to, channels });
    }

    /// Other nodes could not be asked: this one at least can tell of itself. But where they have
    /// more than may be answered, so has the whole.
    pub(super) fn channels_failed(&mut self, to: ReplyTo, why: Failure) {
        match why {
            Failure::Over => {
                let error = refused(to, ErrorCode::LimitExceeded, "", None);
                self.say(to.connection.core, error);
            }
            Failure::Away | Failure::Lost | Failure::Refused | Failure::Overdue => {
                self.tell_channels(to, Box::default());
            }
        }
    }
}
