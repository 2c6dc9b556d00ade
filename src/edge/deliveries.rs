//! What homes say, taken in lane order (rule 11), handed to the room that it concerns.
//!
//! Nothing here is given the lanes: a delivery never causes a push (rule 3).

use crate::clock::Now;
use crate::codec::command::{ClientInfo, HistoryResult, Reply, SubscribeResult};
use crate::contract::block::Block;
use crate::contract::envelope::{Delivery, HistoryAnswer, PresenceAnswer, Recovery, Subscribed};
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::contract::name::Name;
use crate::edge::channels::{Arrival, NO_FILTER, number_of};
use crate::edge::connection::{Fact, Life, SubscriptionState, Traits};
use crate::edge::ids::epoch::EpochText;
use crate::edge::outbound::staging::Acknowledged;
use crate::edge::output::frames::{info, publications, publisher_ids};
use crate::edge::output::replay::{Replay, Replayed};
use crate::edge::subscriptions::Start;
use crate::edge::{ConnectionId, Edge};
use crate::rules::sabotage;
use crate::work::cost;

/// Bytes of blocks up to which a recovery answer is framed with the turn's other frames.
const INLINE_RECOVERY_BYTES: usize = 2 << 10;

impl Edge {
    /// Takes one delivery of a home.
    pub fn deliver(&mut self, home: u16, delivery: Delivery, now: Now) {
        self.work.charge(cost::DELIVERY);
        if let Delivery::Presence(answer) = &delivery {
            self.work.charge(answer.members.len() * cost::MEMBER_WRITTEN);
        }
        self.presences.answered(&delivery);
        if let Delivery::Published { to, position } = delivery {
            return self.published(Acknowledged { to, position, now });
        }
        let Some(delivery) = self.take_for_call(delivery, now) else { return };
        match delivery {
            Delivery::Publication { local, offset, block } => {
                if let Some(channel) = self.channels.mapped(home, local) {
                    self.publication(channel, offset, block, now);
                }
            }
            Delivery::Joined { local, who } => {
                if let Some(channel) = self.channels.mapped(home, local) {
                    self.stage_membership(channel, who, true);
                }
            }
            Delivery::Left { local, who } => {
                if let Some(channel) = self.channels.mapped(home, local) {
                    self.stage_membership(channel, who, false);
                }
            }
            Delivery::PositionLost { local } => {
                if let Some(channel) = self.channels.mapped(home, local) {
                    self.end_positioned(channel);
                }
            }
            Delivery::Subscribed(answer) => self.subscribed(*answer, now),
            Delivery::Refused { to, error, method, channel, subscribe } => {
                let channel = channel.as_ref().map_or("", Name::as_str);
                if let Some(conn) = self.of(to.connection).filter(|_| to.command > 0) {
                    self.command_refused(conn, error, method, channel, now);
                }
                if method == "publish" {
                    // The answers to those before it wait for what is staged (rules 32 and 34).
                    self.mark_staged();
                }
                if let Some(sequence) = subscribe {
                    self.subscribe_refused(to, sequence, channel);
                    if to.command == 0 {
                        return self.server_subscribe_refused(to, sequence, channel, error, now);
                    }
                }
                self.answer(to, &Reply::Error { id: to.command, error });
            }
            Delivery::History(answer) => self.history_answer(&answer),
            Delivery::Presence(answer) => self.presence_answer(&answer),
            Delivery::PresenceStats { to, clients, users } => {
                self.answer(to, &Reply::PresenceStats { id: to.command, clients, users });
            }
            Delivery::Registered { connection } => self.registered(connection, now),
            Delivery::UserCommand { call, connections, what } => {
                self.user_commands(home, call, &connections, &what, now);
            }
            Delivery::Unsubscribed { awaited } => self.user_calls.part_done(awaited),
            // An answer to a publish is not taken here, and only calls ask for the others.
            Delivery::Published { .. }
            | Delivery::UserAnswered { .. }
            | Delivery::UserUnanswered { .. }
            | Delivery::Nodes { .. }
            | Delivery::HistoryRemoved { .. }
            | Delivery::Channels { .. }
            | Delivery::OtherChannels { .. } => {}
            Delivery::Marker { .. } => unreachable!("the worker counts the markers"),
        }
    }

    /// A publication, in lane order. A repeated one is dropped; where some are missing before it,
    /// its subscribers are sent that first.
    fn publication(&mut self, channel: u32, offset: u64, block: Block, now: Now) {
        let latency_us = now.monotonic_us.saturating_sub(block.received_us());
        self.metrics.latency.record(latency_us);
        match self.channels.at(channel).arrival(offset) {
            Arrival::Next => {}
            Arrival::Repeated => return self.metrics.duplicates.add(1),
            Arrival::Gap => self.end_positioned(channel),
        }
        self.stage_publication(channel, offset, block);
    }

    /// Who publishes hears the publication before its answer (rule 34): it may be staged still. A
    /// backend waits as long, so that it publishes no faster than filters are asked.
    fn published(&mut self, answer: Acknowledged) {
        if self.staging.is_empty() {
            return self.answer_published(answer);
        }
        self.staging.acknowledge(answer);
    }

    /// Answers a publish.
    pub(in crate::edge) fn answer_published(&mut self, answer: Acknowledged) {
        let Acknowledged { to, position, now } = answer;
        if self.take_for_call(Delivery::Published { to, position }, now).is_some() {
            self.answer(to, &Reply::Publish { id: to.command });
        }
    }

    fn registered(&mut self, connection: ConnectionKey, now: Now) {
        let Some(conn) = self.of(connection) else { return };
        if !self.at(conn).facts.has(Fact::AwaitsConnect) {
            return;
        }
        self.connect_registered(conn, now);
    }

    /// A Subscribe was accepted: the channel is mapped, and the subscriber added behind all that
    /// was delivered before (rule 11). One whose connection died meanwhile is owed back.
    fn subscribed(&mut self, answer: Subscribed, now: Now) {
        let Subscribed { to, sequence, channel: name, local, position, recovery } = answer;
        let Some(channel) = self.channels.find(name.as_str()) else {
            debug_assert!(false, "a channel is known while one is pending");
            return;
        };
        sabotage!(MarkInorder skips self.mark_staged());
        if self.channels.at(channel).pairs > 0 {
            self.channels.map(channel, local);
            self.channels.at(channel).last = Some(position.offset);
        }
        let ours = to.command == 0;
        let conn = if ours { self.of(to.connection) } else { self.answered(to) };
        let Some(conn) = conn else { return };
        let life = self.life(conn);
        let awaited = life == Life::Authenticating && self.at(conn).facts.has(Fact::AwaitsConnect);
        let pending = |it: &crate::edge::connection::Subscription| {
            it.sequence == sequence && it.state == SubscriptionState::Pending
        };
        let Some(subscription) = self.at(conn).subscription_mut(channel).filter(|it| pending(it))
        else {
            return;
        };
        if life != Life::Active && !awaited {
            sabotage!(UndoPending => return self.forget_subscription(conn, channel));
            self.at(conn).subscriptions.owe(channel);
            return self.owe(conn);
        }
        subscription.state = SubscriptionState::Active;
        let (traits, filter) = (subscription.traits, subscription.filter);
        if awaited {
            self.defer_output(conn);
        }
        self.add_subscriber(conn, channel);
        let subscription = Replayed { channel, sequence };
        let start = Start { traits, filter, position, subscription };
        let recovery = if filter != NO_FILTER && self.is_cache(name.as_str()) {
            self.last_that_passes(filter, recovery)
        } else {
            recovery
        };
        if ours {
            self.server_subscribed(conn, name.as_str(), &start, recovery, now);
        } else {
            self.subscribe_reply(conn, to.command, start, recovery, now);
        }
    }

    fn subscribe_reply(
        &mut self,
        conn: ConnectionId,
        id: u32,
        start: Start,
        recovery: Recovery,
        now: Now,
    ) {
        let (expiry, data) = self.told_of(conn, start.subscription.sequence, now);
        let epoch = EpochText::new(start.position.epoch);
        let recoverable = start.traits.has(Traits::RECOVERABLE);
        let positioned = start.traits.has(Traits::POSITIONED);
        let told = recoverable || positioned;
        let name = self.channels.get(start.subscription.channel).map(|it| it.name.as_str());
        let options = name.and_then(|name| self.namespaces.options(name));
        let debounce_ms = options.map_or(0, |options| options.publish_debounce_ms);
        let result = SubscribeResult {
            recoverable,
            positioned,
            delta: start.traits.has(Traits::DELTA),
            epoch: if told { epoch.as_str() } else { "" },
            offset: if told { recovery.start(start.position.offset) } else { 0 },
            recovered: matches!(recovery, Recovery::Complete(_)),
            was_recovering: !matches!(recovery, Recovery::NotAsked),
            expiry,
            data: &data,
            number: if start.traits.has(Traits::NUMBERED) {
                number_of(start.subscription.channel)
            } else {
                0
            },
            debounce_ms,
            ..SubscribeResult::default()
        };
        let Recovery::Complete(missed) = recovery else {
            return self.reply(conn, &Reply::Subscribe { id, result });
        };
        let missed = self.filters.keep(start.filter, missed);
        let bytes: usize = missed.iter().map(|placed| placed.block.size()).sum();
        if bytes <= INLINE_RECOVERY_BYTES {
            let ids = publisher_ids(&missed);
            let mut publications = publications(&missed, &ids);
            publications.iter_mut().for_each(|missed| missed.verbatim = result.delta);
            let result = SubscribeResult { publications: &publications, ..result };
            return self.reply(conn, &Reply::Subscribe { id, result });
        }
        // What was written for the connection before goes before.
        self.pending_to_backlog(conn);
        let codec = self.at(conn).codec;
        let replay = Replay::new(codec, id, &result, missed, start.subscription);
        self.metrics.messages_out.add(1);
        self.with_backlog(conn, |backlog| backlog.push_replay(Box::new(replay)));
        self.check_overflow(conn);
    }

    /// Of what a cache keeps, the last that a filter lets pass; none is no recovery.
    fn last_that_passes(&mut self, filter: u16, recovery: Recovery) -> Recovery {
        let Recovery::Complete(kept) = recovery else { return recovery };
        if kept.is_empty() {
            return Recovery::Complete(kept);
        }
        let last = self.filters.keep(filter, kept).last().cloned();
        last.map_or(Recovery::Impossible, |last| Recovery::Complete(Box::new([last])))
    }

    fn subscribe_refused(&mut self, to: ReplyTo, sequence: u32, name: &str) {
        let Some(conn) = self.of(to.connection) else { return };
        let Some(channel) = self.channels.find(name) else { return };
        let refused = self.at(conn).subscription(channel);
        if refused.is_none_or(|it| it.sequence != sequence) {
            return;
        }
        self.take_subscription(conn, channel);
        self.channels.remove_pair(channel);
        if self.life(conn) == Life::Dead {
            self.owe(conn);
        }
    }

    fn history_answer(&mut self, answer: &HistoryAnswer) {
        let ids = publisher_ids(&answer.publications);
        let publications = publications(&answer.publications, &ids);
        let epoch = EpochText::new(answer.position.epoch);
        let result = HistoryResult {
            publications: &publications,
            epoch: epoch.as_str(),
            offset: answer.position.offset,
        };
        self.answer(answer.to, &Reply::History { id: answer.to.command, result });
    }

    fn presence_answer(&mut self, answer: &PresenceAnswer) {
        let clients: Vec<ClientInfo<'_>> =
            answer.members.iter().map(|member| info(member, &self.ids)).collect();
        self.answer(answer.to, &Reply::Presence { id: answer.to.command, clients: &clients });
    }
}
