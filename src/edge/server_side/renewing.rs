//! A new token of a live connection: channels that it names are subscribed, those that it no longer
//! names are ended.
//!
//! Must not know tokens' form. Invariant: a token ends only what a token began, not what the
//! client, the server API or the personal channel began.

use crate::contract::name::Name;
use crate::contract::user::ServerSubscription;
use crate::edge::connection::server_side::{ServerBegin, Wish};
use crate::edge::connection::{SubscriptionState, Traits};
use crate::edge::{ConnectionId, Edge};
use std::collections::BTreeSet;

impl Edge {
    /// Stores what a new token names. If several arrive before they can be carried out the last one
    /// counts, so that what waits has the bound of one token.
    pub(in crate::edge) fn renew_subscriptions(
        &mut self,
        conn: ConnectionId,
        named: Vec<ServerSubscription>,
    ) {
        let it = self.at(conn);
        let none_before = it.aside.is_none()
            && !it.subscriptions.iter().any(|it| it.traits.has(Traits::BY_TOKEN));
        if named.is_empty() && none_before {
            return;
        }
        self.server_side(conn).renewed = Some(named);
        self.owe(conn);
    }

    /// Compares a new token with the connection's subscriptions, once nothing earlier is left to
    /// do, and queues the differences. True if there are any.
    pub(in crate::edge) fn compare_renewed(&mut self, conn: ConnectionId) -> bool {
        let Some(server) = self.at(conn).server_mut() else { return false };
        if !server.queue.is_empty() || server.connect.is_some() {
            return false;
        }
        let Some(named) = server.renewed.take() else { return false };
        let ended = self.no_more_named(conn, &named);
        let mut wishes: Vec<Wish> = ended.into_iter().map(Wish::End).collect();
        for subscription in named {
            let channel = self.channels.find(subscription.channel.as_str());
            if channel.is_some_and(|channel| self.is_subscribed(conn, channel)) {
                continue;
            }
            let (recover, since, expire_at_s, by_token) = (false, None, None, true);
            let begin = ServerBegin { subscription, recover, since, expire_at_s, by_token };
            wishes.push(Wish::Begin(Box::new(begin)));
        }
        let differs = !wishes.is_empty();
        self.server_side(conn).queue.extend(wishes);
        differs
    }

    /// The channels that an earlier token began and this one does not name.
    fn no_more_named(&self, conn: ConnectionId, named: &[ServerSubscription]) -> Vec<Name> {
        let named: BTreeSet<&Name> = named.iter().map(|named| &named.channel).collect();
        let it = self.places.get(conn.index);
        let begun = it
            .subscriptions
            .iter()
            .filter(|it| it.traits.has(Traits::BY_TOKEN) && it.state != SubscriptionState::Owed);
        let names = begun.filter_map(|it| Some(&self.channels.get(it.channel)?.name));
        let ended = names.filter(|name| !named.contains(name));
        ended.cloned().collect()
    }

    fn is_subscribed(&self, conn: ConnectionId, channel: u32) -> bool {
        let subscription = self.connection(conn).subscription(channel);
        subscription.is_some_and(|it| it.state != SubscriptionState::Owed)
    }
}
