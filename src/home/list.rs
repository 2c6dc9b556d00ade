//! Lists channels in parts, so that a list of any length does not delay a worker, for this node's
//! edges and for other nodes; and has those of other nodes listed.
//!
//! Must not know patterns: the asking edge compares them, and for other nodes the bridge.
//! Invariant: a list that is read to its end has every channel that had subscribers throughout
//! exactly once.

use super::waits::Ticket;
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
        let number = self.listing.begin(to, now.monotonic_ms()).0;
        self.announcing.note(Call::Channels { number, pattern });
        self.announce(now);
    }

    /// Other nodes have answered, or could not be asked. This one at least can tell of itself, but
    /// where they have more than may be answered, so has the whole.
    pub(super) fn take_channels(
        &mut self,
        number: u64,
        channels: Result<Box<ChannelCounts>, Failure>,
    ) {
        // One whose time was over is answered.
        let Some(to) = self.listing.end(Ticket(number)) else { return };
        match channels {
            Ok(channels) => self.tell_channels(to, channels),
            Err(Failure::Over) => {
                let error = refused(to, ErrorCode::LimitExceeded, "", None);
                self.say(to.connection.core, error);
            }
            Err(Failure::Away | Failure::Lost | Failure::Refused | Failure::Overdue) => {
                self.tell_channels(to, Box::default());
            }
        }
    }

    /// Answers one list for which other nodes took too long. True: there was one.
    pub(super) fn answer_late_list(&mut self, now: Now) -> bool {
        let Some((_, to)) = self.listing.take_due(now.monotonic_ms()) else { return false };
        self.tell_channels(to, Box::default());
        true
    }

    /// The host shuts down: nobody waits for other nodes any more.
    pub(super) fn give_up_lists(&mut self) {
        while let Some((_, to)) = self.listing.take_due(u64::MAX) {
            self.tell_channels(to, Box::default());
        }
    }

    /// Answers which channels other nodes have.
    fn tell_channels(&mut self, to: ReplyTo, channels: Box<ChannelCounts>) {
        self.say(to.connection.core, Delivery::OtherChannels { to, channels });
    }
}
