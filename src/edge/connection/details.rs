//! What few connections have beside what all have: infos that tokens gave, and ends of single
//! subscriptions. In a table of its own, so that the others need no room for it.
//!
//! Must not know tokens' form. Invariant: nothing is kept of a connection that is gone, nor of more
//! subscriptions than it has.

use crate::contract::infos::Infos;
use foldhash::quality::FixedState;
use std::collections::{BTreeSet, HashMap};

/// Of one connection.
#[derive(Debug, Default)]
pub struct Details {
    /// The token that came with the upgrade, until connect is answered.
    pub offered: Option<Box<str>>,
    /// What others are told of the connection, JSON; empty for nothing.
    pub info: Box<[u8]>,
    /// By their sequences.
    pub subscriptions: HashMap<u32, SubscriptionDetails, FixedState>,
    /// When subscriptions end, in seconds of the process, with their sequences.
    pub ends: BTreeSet<(u32, u32)>,
}

impl Details {
    fn forget(&mut self, sequence: u32) {
        if let Some(gone) = self.subscriptions.remove(&sequence) {
            self.ends.remove(&(gone.expires_s, sequence));
        }
    }

    /// What ends is kept, and ends once.
    fn assert_ends(&self) {
        debug_assert!(self.ends.iter().all(|(end, sequence)| {
            self.subscriptions.get(sequence).is_some_and(|it| it.expires_s == *end)
        }));
    }
}

/// Of one of its subscriptions.
#[derive(Debug, Default)]
pub struct SubscriptionDetails {
    /// What others are told of the subscriber, JSON; empty for nothing.
    pub info: Box<[u8]>,
    /// A value for the subscriber, until its reply; empty for none.
    pub data: Box<[u8]>,
    /// The second of the process at which it ends; 0 for never.
    pub expires_s: u32,
}

impl SubscriptionDetails {
    fn is_empty(&self) -> bool {
        self.info.is_empty() && self.data.is_empty() && self.expires_s == 0
    }
}

/// The details of an edge's connections, by their places.
#[derive(Debug, Default)]
pub struct AllDetails {
    by_place: HashMap<u32, Details, FixedState>,
}

impl AllDetails {
    /// A connection's details, where it has some.
    #[must_use]
    pub fn get(&self, connection: u32) -> Option<&Details> {
        self.by_place.get(&connection)
    }

    /// The same, made when there are none.
    pub fn of(&mut self, connection: u32) -> &mut Details {
        self.by_place.entry(connection).or_default()
    }

    /// Keeps what a token says of a connection.
    pub fn keep_info(&mut self, connection: u32, info: Box<[u8]>) {
        if !info.is_empty() || self.by_place.contains_key(&connection) {
            self.of(connection).info = info;
        }
    }

    /// Connect is answered: the token of the upgrade is of no more use.
    pub fn drop_offered(&mut self, connection: u32) {
        let Some(details) = self.by_place.get_mut(&connection) else { return };
        details.offered = None;
        if details.info.is_empty() && details.subscriptions.is_empty() {
            self.by_place.remove(&connection);
        }
    }

    /// Keeps what a token says of a subscription, instead of what was kept before.
    pub fn keep_subscription(&mut self, connection: u32, sequence: u32, kept: SubscriptionDetails) {
        if kept.is_empty() && !self.by_place.contains_key(&connection) {
            return;
        }
        let details = self.of(connection);
        details.forget(sequence);
        if kept.expires_s > 0 {
            details.ends.insert((kept.expires_s, sequence));
        }
        if !kept.is_empty() {
            details.subscriptions.insert(sequence, kept);
        }
        details.assert_ends();
    }

    /// A subscription is no more.
    pub fn drop_subscription(&mut self, connection: u32, sequence: u32) {
        if let Some(details) = self.by_place.get_mut(&connection) {
            details.forget(sequence);
            details.assert_ends();
        }
    }

    /// The details of a subscription that has some.
    pub fn subscription(
        &mut self,
        connection: u32,
        sequence: u32,
    ) -> Option<&mut SubscriptionDetails> {
        self.by_place.get_mut(&connection)?.subscriptions.get_mut(&sequence)
    }

    /// What others in a channel are told of a connection, besides its user.
    #[must_use]
    pub fn infos(&self, connection: u32, sequence: Option<u32>) -> Option<Infos> {
        let details = self.by_place.get(&connection)?;
        let of = sequence.and_then(|sequence| details.subscriptions.get(&sequence));
        Infos::new(&details.info, of.map_or(&[], |it| &it.info))
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    #[cfg(test)]
    pub fn keeps_no_subscription(&self) -> bool {
        self.by_place.values().all(|it| it.subscriptions.is_empty())
    }

    /// The connection is gone.
    pub fn remove(&mut self, connection: u32) {
        self.by_place.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_at(expires_s: u32) -> SubscriptionDetails {
        SubscriptionDetails { expires_s, ..SubscriptionDetails::default() }
    }

    #[test]
    fn a_subscription_ends_at_its_last_moment_alone() {
        let mut all = AllDetails::default();
        all.keep_subscription(3, 7, ends_at(0));
        assert!(all.get(3).is_none(), "nothing is kept of what says nothing");
        for (sequence, expires_s) in [(7, 40), (8, 30), (7, 50)] {
            all.keep_subscription(3, sequence, ends_at(expires_s));
        }
        let ends: Vec<_> = all.get(3).expect("two end").ends.iter().copied().collect();
        assert_eq!(ends, [(30, 8), (50, 7)]);
        all.drop_subscription(3, 8);
        all.keep_subscription(3, 7, ends_at(0));
        assert!(all.get(3).is_some_and(|it| it.ends.is_empty() && it.subscriptions.is_empty()));
        all.remove(3);
        assert!(all.get(3).is_none());
    }

    #[test]
    fn the_token_of_the_upgrade_goes_and_the_info_stays() {
        let mut all = AllDetails::default();
        all.of(1).offered = Some("t".into());
        all.of(2).offered = Some("t".into());
        all.keep_info(2, b"{}".as_slice().into());
        all.drop_offered(1);
        all.drop_offered(2);
        assert!(all.get(1).is_none() && all.infos(1, None).is_none());
        assert!(all.get(2).is_some_and(|it| it.offered.is_none() && *it.info == *b"{}"));
    }
}
