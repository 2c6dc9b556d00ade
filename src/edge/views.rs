//! What the simulation, tests and metrics may see of an edge.

use crate::contract::key::ConnectionKey;
use crate::edge::Edge;

impl Edge {
    /// Channels here: name, pairs, number of subscribers.
    pub fn channels(&self) -> impl Iterator<Item = (&str, u32, usize)> {
        self.channels.iter().map(|(_, it)| (it.name.as_str(), it.pairs, it.subscribers.len()))
    }

    /// Connections with an active subscription to a channel.
    pub fn subscribers(&self, channel: &str) -> impl Iterator<Item = ConnectionKey> {
        let known = self.channels.find(channel).and_then(|place| self.channels.get(place));
        known.into_iter().flat_map(|it| it.subscribers.iter()).map(|subscriber| {
            let generation = self.places.get(subscriber.connection).generation;
            ConnectionKey { core: self.core, index: subscriber.connection, generation }
        })
    }

    /// Connections that wait in line for a full lane.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.lines.waiting()
    }

    /// Commands about users that are not reported to their homes.
    #[must_use]
    pub fn user_calls(&self) -> usize {
        self.user_calls.len()
    }

    /// Places in use, dead connections that still owe included.
    #[must_use]
    pub fn places_used(&self) -> usize {
        self.places.used()
    }

    /// Bytes that wait unsent, recovery answers included.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.accounts.unsent_bytes()
    }

    /// Bytes of messages that are not whole, or wait.
    #[must_use]
    pub fn spill_bytes(&self) -> u64 {
        self.accounts.spilled_bytes()
    }

    /// Bytes of bodies and answers of the server API's calls.
    #[must_use]
    pub fn api_bytes(&self) -> u64 {
        self.accounts.call_bytes()
    }

    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Bytes of the filters of subscriptions.
    #[must_use]
    pub fn filter_bytes(&self) -> usize {
        self.filters.bytes()
    }

    /// Bytes in the arena.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.output.arena().len()
    }
}
