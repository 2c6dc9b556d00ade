//! The subscriptions of this edge: their entries at connections, and the dense lists of channels.
//!
//! Must not know why one begins or ends, nor what a client is sent of it. Invariant: a subscription
//! is in its channel's list exactly while it is active.

use crate::codec::command::ErrorCode;
use crate::contract::envelope::{Request, SubscribeRequest};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::{Position, Since};
use crate::contract::user::Overrides;
use crate::edge::channels::{Form, NO_FILTER, Subscriber, Variant};
use crate::edge::connection::{Fact, Subscription, SubscriptionState, Traits};
use crate::edge::output::replay::Replayed;
use crate::edge::{ConnectionId, Edge, Turn};

/// A subscription as it is allowed to be.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub name: &'a str,
    pub traits: Traits,
    /// Its filter in the edge's table, or `NO_FILTER`.
    pub filter: u16,
    pub keeps_history: bool,
    /// Recover from here; none: just go live.
    pub since: Option<Since>,
    /// A recovery was asked for, whether or not it may be had.
    pub recover: bool,
    pub overrides: Overrides,
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub traits: Traits,
    pub filter: u16,
    pub position: Position,
    pub subscription: Replayed,
}

impl Edge {
    /// Pushes the Unsubscribes that a connection owes; false when one found no room.
    pub(in crate::edge) fn settle(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) -> bool {
        while let Some(subscription) = self.at(conn).subscriptions.next_owed() {
            let channel = subscription.channel;
            if !self.push_unsubscribe_request(conn, subscription, turn) {
                let home = self.channels.at(channel).home;
                self.join_line(conn, home);
                return false;
            }
            self.take_subscription(conn, channel);
        }
        true
    }

    /// Takes a subscription out of its connection's list, and gives its filter back.
    ///
    /// # Panics
    /// When it has none to that channel.
    pub(in crate::edge) fn take_subscription(
        &mut self,
        conn: ConnectionId,
        channel: u32,
    ) -> Subscription {
        let subscription = self.at(conn).subscriptions.remove(channel).expect("it has one");
        self.subscriptions -= 1;
        self.details.drop_subscription(conn.index, subscription.sequence);
        self.user_calls.forget_withdrawal(subscription.sequence);
        if subscription.filter != NO_FILTER {
            self.filters.take_back(conn.index, subscription.filter);
        }
        subscription
    }

    /// Takes a Subscribe back at the home; false when the lane has no room.
    pub(in crate::edge) fn push_unsubscribe_request(
        &mut self,
        conn: ConnectionId,
        subscription: Subscription,
        turn: &mut Turn<'_>,
    ) -> bool {
        let known = self.channels.at(subscription.channel);
        let (home, channel) = (known.home, known.name.clone());
        let connection = self.key(conn);
        let awaited = self.user_calls.withdrawal(subscription.sequence);
        let pushed = self.claim_turn(home)
            && turn.lanes.push(home, Request::Unsubscribe { connection, channel, awaited }).is_ok();
        if pushed {
            self.user_calls.withdraw(subscription.sequence);
            self.channels.remove_pair(subscription.channel);
        }
        pushed
    }

    /// Forgets subscriptions whose Subscribe never reached a lane.
    pub(in crate::edge) fn forget_unpushed(&mut self, conn: ConnectionId) {
        let parked = |it: &&Subscription| it.state == SubscriptionState::Parked;
        let unpushed = self.at(conn).subscriptions.iter().filter(parked);
        let unpushed: Vec<u32> = unpushed.map(|it| it.channel).collect();
        for channel in unpushed {
            self.take_subscription(conn, channel);
            self.channels.at(channel).parked -= 1;
            self.channels.forget_if_unused(channel);
        }
        let line = self.at(conn).facts.has(Fact::Waiting);
        if line && self.at(conn).subscriptions.next_owed().is_none() {
            // It stands in line for nothing now; served, it will find that out.
            self.owe(conn);
        }
    }

    /// Ends one subscription from this side; its Unsubscribe is owed. False: there is none.
    pub(in crate::edge) fn end_subscription(&mut self, conn: ConnectionId, channel: u32) -> bool {
        let Some(subscription) = self.at(conn).subscription(channel) else { return false };
        if subscription.state != SubscriptionState::Active {
            return false;
        }
        self.remove_subscriber(conn, channel);
        self.at(conn).subscriptions.owe(channel);
        self.owe(conn);
        true
    }

    /// Takes a connection off every subscriber list; its subscriptions become owed.
    pub(in crate::edge) fn end_subscriptions(&mut self, conn: ConnectionId) {
        for place in 0..self.at(conn).subscriptions.len() {
            let Subscription { state, channel, .. } = self.at(conn).subscriptions.as_slice()[place];
            if state == SubscriptionState::Active {
                self.remove_subscriber(conn, channel);
                self.at(conn).subscriptions.owe(channel);
            }
        }
    }

    /// The subscription to a channel that the client began and that is active.
    pub(in crate::edge) fn active_sequence(
        &mut self,
        conn: ConnectionId,
        name: &str,
    ) -> Option<u32> {
        let channel = self.channels.find(name)?;
        let it = self.at(conn).subscription(channel)?;
        (it.state == SubscriptionState::Active && !it.traits.has(Traits::SERVER_SIDE))
            .then_some(it.sequence)
    }

    /// Notes a subscription that is allowed, whoever asked for it, and gives the request for its
    /// home, which is to be pushed or parked next.
    pub(in crate::edge) fn new_subscription(
        &mut self,
        conn: ConnectionId,
        to: ReplyTo,
        asked: &Asked<'_>,
    ) -> (u16, SubscribeRequest) {
        let home = self.home_of(asked.name);
        let (name, history) = (asked.name, asked.keeps_history);
        let namespace = self.namespaces.counted_at(name);
        let channel = self.channels.find_or_add(name, home, history, namespace);
        self.channels.at(channel).parked += 1;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let sequence = self.next_sequence;
        self.subscriptions += 1;
        let (traits, filter) = (asked.traits, asked.filter);
        let state = SubscriptionState::Parked;
        self.at(conn).subscriptions.push(Subscription {
            channel,
            sequence,
            place: 0,
            state,
            traits,
            filter,
        });
        let channel = self.channels.at(channel).name.clone();
        let user = self.at(conn).user.clone().unwrap_or_else(|| Name::from(""));
        let Asked { since, recover, overrides, .. } = *asked;
        let recovers = traits.has(Traits::RECOVERABLE) || since.is_some();
        let cache = recovers && self.is_cache(channel.as_str());
        let infos = None;
        let delta = traits.has(Traits::DELTA);
        let request = SubscribeRequest {
            to,
            sequence,
            channel,
            user,
            infos,
            since,
            recover: recover || cache,
            or_refused: false,
            delta,
            overrides,
            cache,
            filtered: filter != NO_FILTER,
        };
        (home, request)
    }

    pub(in crate::edge) fn check_subscription_limits(
        &mut self,
        conn: ConnectionId,
        name: &str,
    ) -> Result<(), ErrorCode> {
        let limits = &self.limits;
        let (per_connection, per_worker) =
            (limits.channels_per_connection, limits.subscriptions_per_worker);
        let channels = limits.channels_per_worker as usize;
        let over = |bound: u32, used: usize| bound > 0 && used >= bound as usize;
        let new = self.channels.find(name).is_none();
        if over(per_connection, self.at(conn).subscriptions.len())
            || over(per_worker, self.subscriptions as usize)
            || new && channels > 0 && self.channels.len() >= channels
        {
            return Err(ErrorCode::LimitExceeded);
        }
        Ok(())
    }

    /// Must this command wait for the answer to an earlier one about its channel?
    pub(in crate::edge) fn is_in_question(&self, conn: ConnectionId, name: &str) -> bool {
        let Some(channel) = self.channels.find(name) else { return false };
        let subscription = self.connection(conn).subscription(channel);
        subscription.is_some_and(|it| it.state != SubscriptionState::Active)
    }

    /// Adds an answered subscription to its channel's list.
    pub(in crate::edge) fn add_subscriber(&mut self, conn: ConnectionId, channel: u32) {
        let subscription = self.at(conn).subscription(channel).expect("it is being answered");
        let (traits, filter) = (subscription.traits, subscription.filter);
        let form = if traits.has(Traits::DELTA) { Form::Fresh } else { Form::Plain };
        let numbered = traits.has(Traits::NUMBERED);
        let variant = Variant::new(self.at(conn).codec, form, numbered);
        let join_leave = traits.has(Traits::JOIN_LEAVE);
        let subscriber = Subscriber { connection: conn.index, variant, join_leave, filter };
        self.put_back(conn, channel, subscriber);
        self.metrics.subscriptions.set(self.metrics.subscriptions.get() + 1);
        let in_namespace = self.metrics.namespace(self.channels.at(channel).namespace);
        in_namespace.subscriptions.set(in_namespace.subscriptions.get() + 1);
    }

    /// Takes an active subscription out of its channel's list for good.
    pub(in crate::edge) fn remove_subscriber(&mut self, conn: ConnectionId, channel: u32) {
        self.set_aside(conn, channel);
        self.metrics.subscriptions.set(self.metrics.subscriptions.get() - 1);
        let in_namespace = self.metrics.namespace(self.channels.at(channel).namespace);
        in_namespace.subscriptions.set(in_namespace.subscriptions.get() - 1);
    }

    /// Takes an active subscription out of its channel's list.
    pub(in crate::edge) fn set_aside(&mut self, conn: ConnectionId, channel: u32) -> Subscriber {
        let place = self.at(conn).subscription(channel).expect("it is active").place;
        let known = self.channels.at(channel);
        let removed = known.remove_subscriber(place);
        known.filters_ns -= self.filters.cost_ns(removed.filter);
        assert_eq!(removed.connection, conn.index, "a subscription knows its place");
        let moved = known.subscribers.get(place as usize).map(|it| it.connection);
        if let Some(index) = moved {
            let moved = self.at(self.places.id(index)).subscription_mut(channel);
            moved.expect("a subscriber is subscribed").place = place;
        }
        removed
    }

    /// Puts a subscription back that was set aside.
    pub(in crate::edge) fn put_back(
        &mut self,
        conn: ConnectionId,
        channel: u32,
        subscriber: Subscriber,
    ) {
        let known = self.channels.at(channel);
        known.filters_ns += self.filters.cost_ns(subscriber.filter);
        let place = known.add_subscriber(subscriber);
        self.at(conn).subscription_mut(channel).expect("it is active").place = place;
    }
}
