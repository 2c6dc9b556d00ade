//! The commands of the server API: what each requests from a home, and its answer.
//!
//! They pass the same checks as a client's commands except for permission, because the key permits
//! everything. Must not know HTTP.

use crate::api::answer::{Answer, Node};
use crate::api::{
    ApiDisconnect, ApiRefresh, ApiRequest, ApiSelection, ApiSubscribe, Published, answer,
};
use crate::clock::Now;
use crate::codec::command::{
    ClientInfo, Disconnect, ErrorCode, HistoryResult, Tags, UNSUBSCRIBE_SERVER,
};
use crate::codec::{Codec, payload};
use crate::contract::block::{Block, Parts};
use crate::contract::envelope::{Delivery, PublishOptions, Request};
use crate::contract::key::ReplyTo;
use crate::contract::listing::Pattern;
use crate::contract::name::Name;
use crate::contract::node::NodeInfo;
use crate::contract::position::Version;
use crate::contract::user::{
    Overrides, Selection, ServerSubscription, ToUser, UserAction, UserCommand,
};
use crate::edge::calls::Begun;
use crate::edge::connection::call::{Broadcasting, Listing};
use crate::edge::ids::epoch::{EpochText, since};
use crate::edge::output::frames::{info, publications, publisher_ids};
use crate::edge::{Edge, ProcessUse};
use crate::limits::{IDEMPOTENCY_KEY_BYTES, VERSION_EPOCH_BYTES};
use crate::metrics::totals;

impl Edge {
    /// Begins one command.
    pub(in crate::edge) fn begin_command(
        &mut self,
        to: ReplyTo,
        request: ApiRequest<'_>,
        now: Now,
    ) -> Result<Begun, ErrorCode> {
        let ask = |home, request| Ok(Begun::Ask(home, request));
        match request {
            ApiRequest::Publish { channel, what } => {
                let (home, request) = self.publish_request(to, &channel, &what, now)?;
                ask(home, request)
            }
            ApiRequest::Broadcast { channels, what } => {
                let channels = channels.iter().map(|channel| Box::from(&**channel)).collect();
                let broadcast = Broadcasting::new(channels, what.into_owned());
                Ok(Begun::Broadcast(Box::new(broadcast)))
            }
            ApiRequest::Subscribe(subscribe) => self.subscribe_user(to, &subscribe, now),
            ApiRequest::Unsubscribe { whom, channel } => {
                self.channel_options(&channel)?;
                let (code, reason) = UNSUBSCRIBE_SERVER;
                let channel = Name::from(&*channel);
                let reason = reason.into();
                self.to_user(to, whom, UserAction::Unsubscribe { channel, code, reason })
            }
            ApiRequest::Disconnect(disconnect) => self.disconnect_user(to, disconnect),
            ApiRequest::Refresh(ApiRefresh { whom, expired, expire_at_s, info }) => {
                // A time that has passed ends it at once.
                let expire_at_s = if expired { Some(1) } else { expire_at_s };
                let info = info.as_ref().into();
                self.to_user(to, whom, UserAction::Refresh { expire_at_s, info })
            }
            ApiRequest::Presence { channel } => {
                self.presence_options(&channel)?;
                ask(self.home_of(&channel), Self::presence_request(to, &channel, false))
            }
            ApiRequest::PresenceStats { channel } => {
                self.presence_options(&channel)?;
                ask(self.home_of(&channel), Self::presence_request(to, &channel, true))
            }
            ApiRequest::History(history) => {
                self.history_options(&history.channel)?;
                ask(self.home_of(&history.channel), Self::history_request(to, &history, None)?)
            }
            ApiRequest::HistoryRemove { channel } => {
                self.history_options(&channel)?;
                let home = self.home_of(&channel);
                ask(home, Request::RemoveHistory { to, channel: Name::from(&*channel) })
            }
            ApiRequest::Channels { pattern } => {
                let pattern = Pattern::read(&pattern).ok_or(ErrorCode::BadRequest)?;
                Ok(Begun::List(Box::new(Listing::new(pattern))))
            }
            ApiRequest::Info => ask(self.core, Request::Nodes { to }),
            ApiRequest::Rpc { method, params } => {
                let data = self.rpc_answer(Codec::Json, &method, params)?;
                let mut result = Vec::with_capacity(data.len() + 16);
                answer::rpc(&mut result, &data);
                Ok(Begun::Answer(result))
            }
        }
    }

    /// Publishes in one channel.
    pub(in crate::edge) fn publish_request(
        &self,
        to: ReplyTo,
        channel: &str,
        what: &Published<'_>,
        now: Now,
    ) -> Result<(u16, Request), ErrorCode> {
        if channel.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        let options = self.channel_options(channel)?;
        let kind = options.payload;
        // Without history there is nothing to compare a version with.
        if what.version > 0 && (what.skip_history || !options.keeps_history()) {
            return Err(ErrorCode::NotAvailable);
        }
        if what.data.len() > self.limits.message_bytes as usize {
            return Err(ErrorCode::LimitExceeded);
        }
        if what.idempotency_key.len() > IDEMPOTENCY_KEY_BYTES
            || what.version_epoch.len() > VERSION_EPOCH_BYTES
        {
            return Err(ErrorCode::BadRequest);
        }
        // Bytes have the form in which a Protobuf client sends them.
        let form = if what.bytes { Codec::Protobuf } else { Codec::Json };
        let data = payload::keep(form, kind, &what.data)?;
        let tags = Tags::packed(&what.tags);
        self.metrics.namespace(self.namespaces.counted_at(channel)).publications.add(1);
        let block = Block::of(kind, &Parts { channel, publisher: None, tags, data: &data, now });
        let asks_more = what.skip_history || !what.idempotency_key.is_empty() || what.version > 0;
        let options = asks_more.then(|| {
            let epoch = what.version_epoch.as_ref().into();
            Box::new(PublishOptions {
                idempotency_key: what.idempotency_key.as_ref().into(),
                skip_history: what.skip_history,
                version: (what.version > 0).then_some(Version { number: what.version, epoch }),
            })
        });
        Ok((self.home_of(channel), Request::Publish { to, block, options }))
    }

    fn to_user(
        &self,
        to: ReplyTo,
        whom: ApiSelection<'_>,
        action: UserAction,
    ) -> Result<Begun, ErrorCode> {
        let selection = Selection {
            client: whom.client.into(),
            whitelist: whom.whitelist.into_iter().map(Into::into).collect(),
        };
        let what = UserCommand { selection, action };
        let user = Name::from(&*whom.user);
        let home = self.home_of(&whom.user);
        Ok(Begun::Ask(home, Request::ToUser(Box::new(ToUser { to, user, what }))))
    }

    fn subscribe_user(
        &self,
        to: ReplyTo,
        asked: &ApiSubscribe<'_>,
        now: Now,
    ) -> Result<Begun, ErrorCode> {
        self.channel_options(&asked.channel)?;
        let expire_at_s = asked.expire_at_s;
        if expire_at_s.is_some_and(|at| at.saturating_mul(1_000) <= now.unix_ms) {
            return Err(ErrorCode::Expired);
        }
        let since = asked.since.as_ref().map(|(offset, epoch)| since(epoch, *offset));
        let switches = asked.switches;
        let subscription = ServerSubscription {
            channel: Name::from(&*asked.channel),
            info: asked.info.as_ref().into(),
            data: asked.data.as_ref().into(),
            overrides: Overrides {
                presence: switches.presence,
                join_leave: switches.join_leave,
                force_push_join_leave: switches.force_push_join_leave,
                recover: switches.force_recovery,
                position: switches.force_positioning,
            },
        };
        let action = UserAction::Subscribe { subscription, since, expire_at_s };
        self.to_user(to, asked.whom.clone(), action)
    }

    fn disconnect_user(&self, to: ReplyTo, asked: ApiDisconnect<'_>) -> Result<Begun, ErrorCode> {
        let (code, reason) = match asked.with {
            Some((code, reason)) => (code, reason.into()),
            None => {
                let (code, reason) = Disconnect::ForceNoReconnect.parts();
                (code, reason.into())
            }
        };
        self.to_user(to, asked.whom, UserAction::Disconnect { code, reason })
    }

    /// The counters of all cores, as those of one node, and what is told of the others.
    fn node_info(&self, others: &[NodeInfo], now: Now) -> Vec<u8> {
        let sum = |of: fn(&crate::metrics::CoreMetrics) -> u64| -> u64 {
            self.all_metrics.iter().map(|core| of(core)).sum()
        };
        let ProcessUse { cpu_ns, resident_bytes, .. } = (self.http.process)();
        let uptime_ms = now.monotonic_ms();
        let (uid, name) = &self.http.node;
        let counters = totals(&self.all_metrics);
        let own = Node {
            uid,
            name,
            version: env!("CARGO_PKG_VERSION"),
            clients: sum(|core| core.connections.get()),
            users: sum(|core| core.users.get()),
            subscriptions: sum(|core| core.subscriptions.get()),
            channels: sum(|core| core.subscribed_channels.get()),
            uptime_s: uptime_ms / 1_000,
            cpu_percent: cpu_ns as f64 / 10_000.0 / uptime_ms.max(1) as f64,
            resident_bytes,
            counters: Some(&counters),
        };
        let mut result = Vec::with_capacity(1_024);
        answer::info(&mut result, std::iter::once(own).chain(others.iter().map(other_node)));
        result
    }

    /// The answer to a command from a home's delivery.
    pub(in crate::edge) fn call_answer(&self, delivery: &Delivery, now: Now) -> Answer {
        let mut result = Vec::new();
        match delivery {
            Delivery::Refused { error, .. } => return Err(*error),
            Delivery::UserUnanswered { .. } => return Err(ErrorCode::Internal),
            Delivery::Nodes { nodes, .. } => result = self.node_info(nodes, now),
            Delivery::Published { position, .. } => {
                let epoch = EpochText::new(position.epoch);
                let kept = (position.offset > 0).then_some((position.offset, epoch.as_str()));
                answer::published(&mut result, kept);
            }
            Delivery::PresenceStats { clients, users, .. } => {
                answer::presence_stats(&mut result, *clients, *users);
            }
            Delivery::Presence(presence) => {
                let clients: Vec<ClientInfo<'_>> =
                    presence.members.iter().map(|member| info(member, &self.ids)).collect();
                answer::presence(&mut result, &clients);
            }
            Delivery::History(history) => {
                let ids = publisher_ids(&history.publications);
                let publications = publications(&history.publications, &ids);
                let epoch = EpochText::new(history.position.epoch);
                let (epoch, offset) = (epoch.as_str(), history.position.offset);
                let page = HistoryResult { publications: &publications, epoch, offset };
                answer::history(&mut result, &page);
            }
            _ => result.extend_from_slice(b"{}"),
        }
        Ok(result)
    }
}

/// What another node has said of itself.
fn other_node(info: &NodeInfo) -> Node<'_> {
    Node {
        uid: &info.uid,
        name: &info.name,
        version: &info.version,
        clients: info.clients,
        users: info.users,
        subscriptions: info.subscriptions,
        channels: info.channels,
        uptime_s: info.uptime_s,
        cpu_percent: info.cpu_percent,
        resident_bytes: info.resident_bytes,
        counters: None,
    }
}
