//! A connect that waits: for the home of its user, then for the subscriptions that come with it.
//!
//! Invariant: the connect reply is the first that a client is told. What its subscriptions bring
//! before is held, as frames, and follows the reply.

use crate::clock::Now;
use crate::codec::command::{
    Connect, ConnectResult, ErrorCode, Publication, Reply, Subscribe, SubscribeResult,
};
use crate::contract::envelope::Recovery;
use crate::contract::position::Since;
use crate::contract::user::ServerSubscription;
use crate::edge::connection::server_side::{Answer, ConnectReply, ServerBegin, Wish};
use crate::edge::connection::{Fact, Life, Traits};
use crate::edge::ids::client_id::ClientId;
use crate::edge::ids::epoch::EpochText;
use crate::edge::output::frames::{publications, publisher_ids};
use crate::edge::subscriptions::Start;
use crate::edge::{ConnectionId, Edge};
use std::collections::BTreeSet;

impl Edge {
    /// The subscriptions that a connection is to have from its start, each with where the client
    /// wants to go on.
    ///
    /// # Errors
    /// Why it cannot have one of them; connect is answered with that.
    pub(in crate::edge) fn connect_subscriptions(
        &self,
        command: &Connect<'_>,
        personal: Option<ServerSubscription>,
        subscriptions: Vec<ServerSubscription>,
    ) -> Result<Vec<ServerBegin>, ErrorCode> {
        let most = self.limits.channels_per_connection as usize;
        let asked = subscriptions.len() + usize::from(personal.is_some());
        let mut begins: Vec<ServerBegin> = Vec::with_capacity(asked);
        let mut begun = BTreeSet::new();
        let of_token = subscriptions.into_iter().map(|subscription| (subscription, true));
        for (subscription, by_token) in of_token.chain(personal.map(|own| (own, false))) {
            let name = subscription.channel.as_str();
            self.channel_options(name)?;
            if !begun.insert(subscription.channel.clone()) {
                continue;
            }
            if begins.len() >= most {
                return Err(ErrorCode::LimitExceeded);
            }
            let wanted = command.subs.iter().find(|wanted| wanted.channel == name);
            let recover = wanted.is_some_and(|wanted| wanted.recover);
            let since = wanted.filter(|wanted| wanted.recover).map(since);
            let expire_at_s = None;
            begins.push(ServerBegin { subscription, recover, since, expire_at_s, by_token });
        }
        Ok(begins)
    }

    /// Connect's subscriptions are begun once the home of its user has answered.
    pub(in crate::edge) fn await_subscriptions(
        &mut self,
        conn: ConnectionId,
        begins: Vec<ServerBegin>,
    ) {
        let registered = self.at(conn).user.is_none();
        let server = self.server_side(conn);
        let left = begins.len();
        server.connect =
            Some(Box::new(ConnectReply { registered, left, ..ConnectReply::default() }));
        server.queue = begins.into_iter().map(|begin| Wish::Begin(Box::new(begin))).collect();
        if registered {
            self.owe(conn);
        }
    }

    /// The home of a connecting user has answered.
    pub(in crate::edge) fn connect_registered(&mut self, conn: ConnectionId, now: Now) {
        let server = self.at(conn).server_mut();
        if let Some(connect) = server.and_then(|server| server.connect.as_mut()) {
            connect.registered = true;
            return self.owe(conn);
        }
        self.connected(conn, now);
    }

    /// One of connect's subscriptions is answered.
    pub(in crate::edge) fn connect_subscribed(
        &mut self,
        conn: ConnectionId,
        name: &str,
        start: &Start,
        recovery: Recovery,
        data: Box<[u8]>,
    ) {
        let bytes_max = self.limits.recovery_bytes as usize;
        let server = self.at(conn).server_mut();
        let Some(connect) = server.and_then(|server| server.connect.as_mut()) else { return };
        let recovery = within(recovery, &mut connect.recovered_bytes, bytes_max);
        connect.left -= 1;
        connect.answers.push(Answer {
            channel: name.into(),
            recoverable: start.traits.has(Traits::RECOVERABLE),
            positioned: start.traits.has(Traits::POSITIONED),
            position: start.position,
            recovery,
            data,
        });
    }

    /// Is every subscription of connect answered?
    pub(in crate::edge) fn is_answered(&self, conn: ConnectionId) -> bool {
        let server = self.connection(conn).server();
        let connect = server.and_then(|server| server.connect.as_deref());
        connect.is_some_and(|connect| connect.left == 0)
    }

    /// One of connect's subscriptions cannot be had: connect is refused, and the others are taken
    /// back.
    pub(in crate::edge) fn connect_refused(&mut self, conn: ConnectionId, error: ErrorCode) {
        if !self.at(conn).facts.has(Fact::AwaitsConnect) {
            return;
        }
        self.drop_server_side(conn);
        self.end_subscriptions(conn);
        let it = self.at(conn);
        it.facts.set(Fact::AwaitsConnect, false);
        let id = it.connect_id;
        self.reply(conn, &Reply::Error { id, error });
        self.owe(conn);
    }

    /// The connect reply, and behind it what was held for it.
    pub(in crate::edge) fn connected(&mut self, conn: ConnectionId, now: Now) {
        let it = self.at(conn);
        let id = it.connect_id;
        if !it.facts.replace(Fact::AwaitsConnect, false) || it.life != Life::Authenticating {
            return;
        }
        it.become_(Life::Active);
        self.spill_becomes_sessions(conn);
        self.metrics.connections.set(self.metrics.connections.get() + 1);
        self.defer_pending(conn);
        let server = self.at(conn).server_mut();
        let connect = server.and_then(|server| server.connect.take());
        let answers = connect.map_or(Vec::new(), |connect| connect.answers);
        self.connect_reply(conn, id, &answers, now);
        self.details.drop_offered(conn.index);
        self.send_deferred(conn);
        self.start_pings(conn, now);
        if self.at(conn).server().is_some() {
            self.owe(conn);
        }
        if self.at(conn).input.is_some() {
            self.make_ready(conn);
        }
    }

    fn connect_reply(&mut self, conn: ConnectionId, id: u32, answers: &[Answer], now: Now) {
        let ids: Vec<Vec<Option<ClientId>>> =
            answers.iter().map(|answer| publisher_ids(answer.missed())).collect();
        let publications: Vec<Vec<Publication<'_>>> = answers
            .iter()
            .zip(&ids)
            .map(|(answer, ids)| publications(answer.missed(), ids))
            .collect();
        let epochs: Vec<EpochText> =
            answers.iter().map(|answer| EpochText::new(answer.position.epoch)).collect();
        let subs: Vec<(&str, SubscribeResult<'_>)> = answers
            .iter()
            .zip(publications.iter().zip(&epochs))
            .map(|(answer, (missed, epoch))| {
                (answer.channel.as_str(), answer.result(missed, epoch))
            })
            .collect();
        let client = self.ids.of(self.key(conn));
        let ping_s = self.times.ping_interval_ms.div_ceil(1000);
        let result = ConnectResult {
            client: client.as_str(),
            version: concat!("Corecast ", env!("CARGO_PKG_VERSION")),
            expiry: self.expiry(conn, now),
            ping_s,
            pong: ping_s > 0,
            subs: &subs,
            ..ConnectResult::default()
        };
        self.reply(conn, &Reply::Connect { id, result });
    }
}

/// Where a client wants to go on.
fn since(wanted: &Subscribe<'_>) -> Since {
    crate::edge::ids::epoch::since(&wanted.epoch, wanted.offset)
}

/// A recovery, if there is room for it in the reply besides the others.
fn within(recovery: Recovery, used: &mut usize, bytes_max: usize) -> Recovery {
    let Recovery::Complete(missed) = &recovery else { return recovery };
    let bytes: usize = missed.iter().map(|placed| placed.block.size()).sum();
    if *used + bytes > bytes_max {
        return Recovery::Impossible;
    }
    *used += bytes;
    recovery
}
