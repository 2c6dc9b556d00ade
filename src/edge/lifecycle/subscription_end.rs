//! How the server ends a subscription: removes it from its channel's list, then sends a push.

use crate::codec::command::{Push, Reply};
use crate::edge::connection::{SubscriptionState, Traits};
use crate::edge::user_calls::CallPlace;
use crate::edge::{ConnectionId, Edge, Late};

impl Edge {
    /// Ends a subscription, whoever began it. The client is sent a push; its Unsubscribe is owed.
    pub(in crate::edge) fn end_by_server(
        &mut self,
        conn: ConnectionId,
        name: &str,
        (code, reason): (u32, &str),
        call: CallPlace,
    ) {
        let Some(channel) = self.channels.find(name) else { return };
        let Some(subscription) = self.at(conn).subscription(channel) else { return };
        debug_assert!(subscription.state == SubscriptionState::Active, "nothing is in question");
        let sequence = subscription.sequence;
        self.remove_subscriber(conn, channel);
        self.at(conn).subscriptions.owe(channel);
        self.user_calls.await_withdrawal(call, sequence);
        let push = Push::Unsubscribe { code, reason };
        self.reply(conn, &Reply::Push { channel: name, push });
    }

    /// Tells every subscriber that relies on missing nothing that it has missed something: SDKs
    /// subscribe again and recover.
    pub(in crate::edge) fn end_positioned(&mut self, channel: u32) {
        self.mark_staged();
        self.metrics.position_lost.add(1);
        let known = self.channels.at(channel);
        let name = known.name.clone();
        let listed: Vec<u32> = known.subscribers.iter().map(|it| it.connection).collect();
        for index in listed {
            let generation = self.output.generation(index);
            let conn = ConnectionId { index, generation };
            let promised = self.at(conn).subscription(channel).is_some_and(|it| {
                it.traits.has(Traits::RECOVERABLE) || it.traits.has(Traits::POSITIONED)
            });
            let server_side = self
                .at(conn)
                .subscription(channel)
                .is_some_and(|it| it.traits.has(Traits::SERVER_SIDE));
            if promised && self.end_subscription(conn, channel) {
                if server_side {
                    // Its client cannot subscribe again; when it reconnects, it recovers.
                    self.late.push_back(Late::Insufficient(conn));
                } else {
                    self.push_unsubscribe(conn, name.as_str());
                }
            }
        }
        self.channels.at(channel).last = None;
    }

    /// Ends one subscription, and sends its client this code and reason.
    pub(in crate::edge) fn end_with_code(
        &mut self,
        conn: ConnectionId,
        channel: u32,
        why: (u32, &str),
    ) {
        // Earlier publications must reach it before.
        self.mark_staged();
        let name = self.channels.at(channel).name.clone();
        if self.end_subscription(conn, channel) {
            let push = Push::Unsubscribe { code: why.0, reason: why.1 };
            self.reply(conn, &Reply::Push { channel: name.as_str(), push });
        }
    }
}
