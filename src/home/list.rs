//! Lists channels in parts, so that a list of any length does not delay a worker.
//!
//! Must not know patterns: the asking edge compares them. Invariant: a list that is read to its end
//! has every channel that had subscribers throughout exactly once.

use super::Home;
use crate::contract::engine::Engine;
use crate::contract::envelope::{ChannelsPart, Delivery, ListCursor};
use crate::contract::key::ReplyTo;
use crate::limits::CHANNELS_PER_PART;
use crate::work::cost;

impl<E: Engine> Home<E> {
    pub(super) fn list(&mut self, to: ReplyTo, from: ListCursor) {
        let made = if from.made == 0 { self.channels.made() } else { from.made };
        let part = u32::try_from(CHANNELS_PER_PART).expect("a small number");
        let end = from.place.saturating_add(part).min(self.channels.places());
        let listed = |place: u32| {
            let channel = self.channels.get(place).filter(|channel| channel.made <= made)?;
            let pairs: u32 = channel.interest.iter().map(|interest| interest.pairs).sum();
            (pairs > 0).then(|| (channel.name.clone(), pairs))
        };
        let channels = (from.place..end).filter_map(listed).collect();
        self.work.charge((end - from.place) as usize * cost::PLACED);
        let more = made > 0 && end < self.channels.places();
        let next = more.then_some(ListCursor { place: end, made });
        let part = ChannelsPart { to, channels, next };
        self.say(to.connection.core, Delivery::Channels(Box::new(part)));
    }
}
