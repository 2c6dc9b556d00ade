//! What few connections have beside what all have: infos that tokens gave, and ends of single
//! subscriptions. In a table of its own, so that the others need no room for it.
//!
//! Must not know tokens' form. Invariant: nothing is kept of a connection that is gone, nor of more
//! subscriptions than it has.

use crate::contract::infos::Infos;
use crate::edge::{ConnectionId, Edge};
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

impl Edge {
    /// A connection's details, made when there are none.
    pub(in crate::edge) fn details(&mut self, conn: ConnectionId) -> &mut Details {
        debug_assert!(self.is_current(conn), "only a current connection has details");
        self.details.entry(conn.index).or_default()
    }

    /// Keeps what a token says of a connection.
    pub(in crate::edge) fn keep_info(&mut self, conn: ConnectionId, info: Box<[u8]>) {
        if !info.is_empty() || self.details.contains_key(&conn.index) {
            self.details(conn).info = info;
        }
    }

    /// Connect is answered: the token of the upgrade is of no more use.
    pub(in crate::edge) fn drop_offered(&mut self, conn: ConnectionId) {
        let Some(details) = self.details.get_mut(&conn.index) else { return };
        details.offered = None;
        if details.info.is_empty() && details.subscriptions.is_empty() {
            self.details.remove(&conn.index);
        }
    }

    /// Keeps what a token says of a subscription, instead of what was kept before.
    pub(in crate::edge) fn keep_subscription(
        &mut self,
        conn: ConnectionId,
        sequence: u32,
        kept: SubscriptionDetails,
    ) {
        if kept.is_empty() && !self.details.contains_key(&conn.index) {
            return;
        }
        let details = self.details.entry(conn.index).or_default();
        details.forget(sequence);
        if kept.expires_s > 0 {
            details.ends.insert((kept.expires_s, sequence));
        }
        if !kept.is_empty() {
            details.subscriptions.insert(sequence, kept);
        }
    }

    /// A subscription is no more.
    pub(in crate::edge) fn drop_subscription_details(&mut self, conn: ConnectionId, sequence: u32) {
        if let Some(details) = self.details.get_mut(&conn.index) {
            details.forget(sequence);
        }
    }

    /// The details of a subscription that has some.
    pub(in crate::edge) fn subscription_details(
        &mut self,
        conn: ConnectionId,
        sequence: u32,
    ) -> Option<&mut SubscriptionDetails> {
        self.details.get_mut(&conn.index)?.subscriptions.get_mut(&sequence)
    }

    /// What others in a channel are told of a connection, besides its user.
    pub(in crate::edge) fn infos(
        &self,
        conn: ConnectionId,
        sequence: Option<u32>,
    ) -> Option<Infos> {
        let details = self.details.get(&conn.index)?;
        let of = sequence.and_then(|sequence| details.subscriptions.get(&sequence));
        Infos::new(&details.info, of.map_or(&[], |it| &it.info))
    }

    /// What the others are told of whoever publishes in a channel, besides its user.
    pub(in crate::edge) fn publisher_infos(
        &mut self,
        conn: ConnectionId,
        name: &str,
    ) -> Option<Infos> {
        if !self.details.contains_key(&conn.index) {
            return None;
        }
        let channel = self.channels.find(name);
        let of = channel.and_then(|channel| self.at(conn).subscription(channel));
        let sequence = of.map(|it| it.sequence);
        self.infos(conn, sequence)
    }

    /// The connection is gone.
    pub(in crate::edge) fn drop_details(&mut self, conn: ConnectionId) {
        self.details.remove(&conn.index);
    }
}
