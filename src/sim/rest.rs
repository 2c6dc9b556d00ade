//! Judgement when a simulated host is at rest: nothing may be owed to anybody, and homes and edges
//! must agree.
//!
//! Must not move anything. Invariant: what it holds against a host no schedule can excuse.

use super::beyond::Beyond;
use super::client::{Client, Phase, Sub};
use super::ends::Sin;
use super::host::Host;
use super::ledger::NODE;
use super::plan::{ChannelPlan, EngineKind};
use crate::contract::engine::Engine;
use crate::contract::key::ConnectionKey;
use crate::contract::position::Position;
use crate::metrics::Cause;
use crate::transport::Transport;
use std::collections::BTreeSet;

/// What one item taken below the arena's bound may add, in bytes.
const ARENA_SLACK: usize = 2_000;

impl<T: Transport, E: Engine> Host<T, E> {
    /// Every core sleeps, and no timer may be needed: what is still owed was forgotten.
    pub(super) fn judge_rest(&mut self) {
        self.judge_promises();
        let mut found = Vec::new();
        for client in self.clients.iter().filter(|client| self.is_served(client)) {
            let who =
                format!("client {}.{} on core {}", client.index, client.connection, client.core);
            if client.must_end && client.phase == Phase::Connected {
                found.push(("disconnect_missed_a_connection", who.clone()));
            }
            match client.phase {
                Phase::Outcast if client.ends.sin() != Some(Sin::Silence) => {
                    found.push(("sin_without_an_end", format!("{who}: {:?}", client.ends.sin())));
                }
                Phase::Upgrading => found.push(("asleep_while_owed", format!("{who}: a 101"))),
                Phase::Connecting | Phase::Connected => {
                    if let Some((_, waiting)) = client.waiting.first() {
                        found.push(("command_never_answered", format!("{who}: {waiting:?}")));
                    }
                    self.judge_tails(client, &who, &mut found);
                }
                Phase::Offline | Phase::Outcast | Phase::Closed { .. } => {}
            }
        }
        if let Some(call) = &self.caller.waiting {
            found.push(("api_never_answered", format!("{call:?}")));
        }
        for (core, worker) in self.cores.iter().enumerate() {
            if worker.worker.has_mail() {
                found.push(("stuck_lane", format!("to core {core}")));
            }
            let parked = worker.worker.edge().parked();
            if parked > 0 {
                found.push(("parked_for_ever", format!("core {core}: {parked}")));
            }
        }
        for host in 0..self.plan.hosts() {
            for channel in 0..self.plan.channels.len() {
                self.judge_channel(host, channel, &mut found);
                self.judge_marks(host, channel, &mut found);
            }
        }
        let mut ledger = self.ledger.borrow_mut();
        for (kind, detail) in found {
            ledger.violation(kind, || detail);
        }
    }

    /// A live subscriber is where its channel's home is.
    fn judge_tails(&self, client: &Client, who: &str, found: &mut Vec<(&'static str, String)>) {
        for (channel, state) in client.channels.iter().enumerate() {
            if state.sub != Sub::Live || !self.plan.channels[channel].keeps {
                continue;
            }
            let host = self.plan.host_of(client.core);
            let top = self.home_position(host, channel);
            let top = top.map(|position| self.told_position(position));
            if top != state.position && !self.is_own_tail(client, channel, top.as_ref()) {
                let position = &state.position;
                found.push((
                    "tail_lost",
                    format!("{who}, channel {channel}: {position:?} of {top:?}"),
                ));
            }
        }
    }

    /// Is what a client is behind its own, or filtered out, which it is not told?
    fn is_own_tail(&self, client: &Client, channel: usize, top: Option<&(String, u64)>) -> bool {
        let state = &client.channels[channel];
        let (Some((epoch, top)), Some((known, last))) = (top, &state.position) else {
            return false;
        };
        let from = (client.index, client.connection);
        let ledger = self.ledger.borrow();
        let own = |offset: u64| {
            let number = ledger.at(channel, epoch, offset);
            number.is_none_or(|number| ledger.is_kept_from(number, from, state.filter))
        };
        epoch == known
            && top > last
            && (state.filter.is_some() || top - last <= u64::from(state.unheard))
            && (last + 1..=*top).all(own)
    }

    /// A position as clients are told it.
    fn told_position(&self, position: Position) -> (String, u64) {
        ((self.plan.epoch_text)(position.epoch), position.offset)
    }

    /// The core whose home has something, by its name, at a host.
    fn home_core(&self, host: usize, name: &str) -> usize {
        let first = host * self.plan.workers;
        first + usize::from(self.cores[first].worker.edge().home_of(name))
    }

    fn home_position(&self, host: usize, channel: usize) -> Option<Position> {
        let core = &self.cores[self.home_core(host, &self.plan.channels[channel].name)];
        core.worker.home().position(&self.plan.channels[channel].name)
    }

    /// The end of a run: everybody has settled.
    pub(super) fn judge_end(&mut self) {
        let mut found = Vec::new();
        for core in 0..self.cores.len() {
            self.judge_core(core, &mut found);
        }
        for user in 0..self.plan.users {
            for host in 0..self.plan.hosts() {
                self.judge_registrations(host, user, &mut found);
            }
        }
        for (host, bridge) in self.bridges.iter().enumerate() {
            if !bridge.is_idle() {
                found.push(("bridge_not_idle", format!("of host {host}")));
            }
        }
        let tops: Vec<_> = (0..self.plan.channels.len()).map(|channel| self.top(channel)).collect();
        for (channel, top) in tops.iter().enumerate() {
            for host in 0..self.plan.hosts() {
                self.judge_level(host, channel, top.as_ref(), &mut found);
            }
        }
        self.judge_unkept(&mut found);
        self.judge_passed(&mut found);
        self.judge_sins(&mut found);
        self.judge_losses(&mut found);
        let mut ledger = self.ledger.borrow_mut();
        for (kind, detail) in found {
            ledger.violation(kind, || detail);
        }
        ledger.judge(if self.has_forgotten() { &[] } else { &tops });
        let (passed, number) = ledger.most_passed();
        ledger.most_passed = passed;
        if self.plan.core_stall_per_mille == 0 && passed > self.plan.passed_most {
            ledger.violation("unfair", || format!("publication {number} passed by {passed}"));
        }
    }

    /// Nobody is told of a loss where nothing is ever lost.
    fn judge_losses(&self, found: &mut Vec<(&'static str, String)>) {
        let declared: u64 = self.metrics.iter().map(|core| core.position_lost.get()).sum();
        let dropped: u64 = self.bridges.iter().map(Beyond::dropped).sum();
        if declared > 0 && dropped == 0 && !self.plan.loses() {
            found.push(("loss_without_cause", format!("{declared} times")));
        }
    }

    /// Where whatever decides the order of a channel has come to; none where it keeps no offsets.
    fn top(&self, channel: usize) -> Option<(String, u64)> {
        let ChannelPlan { name, keeps: true, .. } = &self.plan.channels[channel] else {
            return None;
        };
        if let Some(redis) = &self.redis {
            return redis.borrow().position(name, self.now_us);
        }
        let store = self.bridges[0].store().filter(|_| self.plan.has_replicas());
        let top = match store {
            Some(store) => store.store().position(name),
            None => self.home_position(0, channel),
        };
        top.map(|top| self.told_position(top))
    }

    /// Has the store forgotten what was in order?
    fn has_forgotten(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| redis.borrow().forgot() > 0)
    }

    /// A home with subscribers is where its channel's stream is.
    fn judge_level(
        &self,
        host: usize,
        channel: usize,
        top: Option<&(String, u64)>,
        found: &mut Vec<(&'static str, String)>,
    ) {
        let live = self.clients.iter().any(|client| {
            self.is_served(client)
                && self.plan.host_of(client.core) == host
                && client.channels[channel].sub == Sub::Live
        });
        let here = self.home_position(host, channel).map(|position| self.told_position(position));
        if live && top.is_some() && here.as_ref() != top {
            found.push(("tail_lost", format!("channel {channel}: {here:?} of {top:?}")));
        }
    }

    /// Where the store's way loses nothing, what the bridge dropped it has said, and it was filled:
    /// the home is level without any timer's help (rule 14).
    fn judge_marks(&self, host: usize, channel: usize, found: &mut Vec<(&'static str, String)>) {
        let plan = &self.plan;
        let Some(store) = self.bridges[host].store() else { return };
        if plan.engine != EngineKind::Late || plan.loss_per_mille > 0 || plan.renew_per_mille > 0 {
            return;
        }
        let name = plan.channels[channel].name.as_str();
        let core = self.home_core(host, name);
        let watched = self.cores[core].worker.home().interest(name).count() > 0;
        let (top, here) = (store.store().position(name), self.home_position(host, channel));
        if watched && top.is_some_and(|top| top.offset > 0) && top != here {
            found.push(("drop_not_told", format!("{name}: {here:?} of {top:?}")));
        }
    }

    /// Home and edges count the same, and nobody is there who is not.
    fn judge_channel(&self, host: usize, channel: usize, found: &mut Vec<(&'static str, String)>) {
        let name = self.plan.channels[channel].name.as_str();
        let home = self.cores[self.home_core(host, name)].worker.home();
        let mut live: BTreeSet<ConnectionKey> = BTreeSet::new();
        let first = host * self.plan.workers;
        let cores = &self.cores[first..first + self.plan.workers];
        for (core, worker) in cores.iter().enumerate() {
            let edge = worker.worker.edge();
            live.extend(edge.subscribers(name));
            let here = edge.channels().find(|(known, ..)| *known == name);
            let (pairs, subscribers) = here.map_or((0, 0), |(_, pairs, count)| (pairs, count));
            let interest = home.interest(name).find(|(of, _)| usize::from(*of) == core);
            let counted = interest.map_or(0, |(_, pairs)| pairs);
            let detail =
                || format!("{name}, core {core}: home {counted}, edge {pairs}, {subscribers}");
            match (counted, subscribers) {
                (0, 1..) => found.push(("subscriber_without_interest", detail())),
                (1.., 0) => found.push(("interest_leak", detail())),
                _ if counted != pairs => found.push(("interest_miscounted", detail())),
                _ => {}
            }
        }
        let present: BTreeSet<ConnectionKey> = home.members(name).collect();
        if self.plan.channels[channel].presence && present != live {
            let detail = format!("{name}: present {present:?}, subscribed {live:?}");
            found.push(("presence_ghost", detail));
        }
    }

    fn judge_core(&mut self, core: usize, found: &mut Vec<(&'static str, String)>) {
        let worker = &mut self.cores[core].worker;
        let net = self.net.borrow();
        let connected = self.clients.iter().filter(|client| client.core == core);
        let called = self.caller.link.filter(|_| self.caller.core() == core);
        let links = connected.filter_map(|client| client.link).chain(called);
        let connected = links.filter(|link| !net.links[*link].server_gone).count();
        let used = worker.edge().places_used();
        if used != connected {
            found.push(("connection_ghost", format!("core {core}: {used} of {connected}")));
        }
        let sockets = worker.driver().open_sockets();
        if sockets != connected {
            found.push(("socket_leak", format!("core {core}: {sockets} of {connected}")));
        }
        let high = worker.driver().arena_high();
        let bound = self.plan.limits.arena_bytes as usize;
        if high > bound + ARENA_SLACK.max(bound / 4) {
            found.push(("arena_over_its_bound", format!("core {core}: {high} of {bound}")));
        }
        let lent = worker.driver().lent_buffers();
        if lent > 0 {
            found.push(("buffer_not_released", format!("core {core}: {lent}")));
        }
    }

    /// A user's home knows the connections that are there, and no other.
    fn judge_registrations(
        &self,
        host: usize,
        user: usize,
        found: &mut Vec<(&'static str, String)>,
    ) {
        if self.plan.hang {
            // Whether one that reads nothing is there yet or still, only its server knows.
            return;
        }
        let name = format!("u{user}");
        let core = self.home_core(host, &name);
        let known = self.cores[core].worker.home().registered(&name);
        let is_there = |client: &&Client| {
            let of = self.plan.host_of(client.core);
            client.user == Some(user) && !client.dead && of == host
        };
        let there = self.clients.iter().filter(is_there).count();
        if known != there {
            found.push(("registration_ghost", format!("{name}: {known} of {there}")));
        }
    }

    /// What is not kept went to the other nodes as well.
    fn judge_passed(&self, found: &mut Vec<(&'static str, String)>) {
        if !self.plan.has_replicas() || self.plan.fails() {
            return;
        }
        let ledger = self.ledger.borrow();
        for (number, publication) in (0_u32..).zip(&ledger.publications) {
            let channel = usize::from(publication.channel);
            let is_ours = publication.client != NODE && !self.plan.channels[channel].keeps;
            if is_ours && publication.acknowledged && !publication.passed {
                found.push(("not_passed", format!("{number} in {channel}")));
            }
        }
    }

    /// What was done to a transport on purpose ended its connection, and was counted once; nothing
    /// else was counted. It may have been ended before for something else.
    pub(super) fn judge_sins(&self, found: &mut Vec<(&'static str, String)>) {
        let ledger = self.ledger.borrow();
        for cause in [Cause::TransportHandshake, Cause::TransportRecord, Cause::TransportAlert] {
            let counted: u64 = self.metrics.iter().map(|core| core.refused(cause)).sum();
            let of = |told: bool| {
                ledger.sins.iter().filter(|sin| **sin == (cause.name(), told)).count() as u64
            };
            let (committed, told) = (of(false), of(true));
            // Whoever hangs may do so amid its handshake.
            let others = match cause {
                Cause::TransportRecord => self.plan.sealing.wears_after < u32::MAX,
                Cause::TransportHandshake => self.plan.hang,
                _ => false,
            };
            if counted < told || counted > committed && !others {
                let detail = format!("{}: {counted} of {committed}, {told} told", cause.name());
                found.push(("sins_miscounted", detail));
            }
        }
    }

    /// Channels without offsets: who stayed saw everything acknowledged since it came.
    fn judge_unkept(&self, found: &mut Vec<(&'static str, String)>) {
        if self.plan.lossy {
            return;
        }
        let ledger = self.ledger.borrow();
        for client in self.clients.iter().filter(|client| self.is_served(client)) {
            for (number, publication) in (0_u32..).zip(&ledger.publications) {
                let state = &client.channels[usize::from(publication.channel)];
                if state.sub == Sub::Live
                    && publication.acknowledged
                    && publication.submitted > state.live_since
                    && !ledger.is_kept_from(number, (client.index, client.connection), state.filter)
                    && !client.has_seen(number)
                {
                    let channel = publication.channel;
                    let detail = format!("client {}: {number} in {channel}", client.index);
                    found.push(("acknowledged_not_delivered", detail));
                    break;
                }
            }
        }
    }
}
