//! Full lanes and debts: who waits for which lane, and what a connection owes homes.
//!
//! Rule 4: each lane has one line, dead connections included, and newcomers stand behind it; what a
//! connection owes goes before its parked command, and that before anything it sent later. Rule 10:
//! a dead connection's subscription list is the queue of what it owes. Invariant: a connection
//! stands in at most one line.

use crate::contract::envelope::Request;
use crate::edge::channels::NO_FILTER;
use crate::edge::connection::under_way::{About, channel_of_request};
use crate::edge::connection::{Fact, Life, Parked, Subscription, SubscriptionState};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::rules::{Rule, holds};

impl Edge {
    /// Pushes a connection's request, or parks it in the lane's line.
    pub(in crate::edge) fn issue(
        &mut self,
        conn: ConnectionId,
        home: u16,
        request: Request,
        turn: &mut Turn<'_>,
    ) {
        self.presences.asked(&request);
        let pushed =
            if self.claim_turn(home) { self.push(conn, home, request, turn) } else { Err(request) };
        if let Err(request) = pushed {
            self.park(conn, home, request);
        }
    }

    /// Takes this connection's turn at a lane. False: others wait in its line before it.
    pub(in crate::edge) fn claim_turn(&mut self, home: u16) -> bool {
        self.first_in_line = self.serving == Some(home);
        if self.first_in_line {
            // Once: what it asks next stands behind the others.
            self.serving = None;
        }
        self.first_in_line || self.waiting[usize::from(home)].is_empty() || !holds(Rule::LaneFifo)
    }

    pub(in crate::edge) fn push(
        &mut self,
        conn: ConnectionId,
        home: u16,
        request: Request,
        turn: &mut Turn<'_>,
    ) -> Result<(), Request> {
        let subscribe = match &request {
            Request::Subscribe(subscribe) => Some(subscribe.channel.clone()),
            _ => None,
        };
        let register = matches!(request, Request::Register { .. });
        // What the server begins is no command of the client's, and has its own bound.
        let ours = matches!(&request, Request::Subscribe(asked) if asked.to.command == 0);
        let about = self.about(conn, &request);
        if let Err(request) = turn.lanes.push(home, request) {
            self.metrics.lane_full.add(1);
            return Err(request);
        }
        if let Some(name) = subscribe {
            let channel = self.channels.find(name.as_str()).expect("its subscription holds it");
            let known = self.channels.at(channel);
            known.pairs += 1;
            known.parked -= 1;
            let subscription = self.at(conn).subscription_mut(channel).expect("it was just made");
            subscription.state = SubscriptionState::Pending;
        }
        let it = self.places.at(conn);
        if register {
            it.facts.set(Fact::Registered, true);
        } else if !ours {
            it.in_flight += 1;
        }
        if let Some(about) = about {
            self.under_way.begin(&mut it.under_way, about);
        }
        Ok(())
    }

    /// What a client's command is about; none of what the server API or the server asks.
    fn about(&mut self, conn: ConnectionId, request: &Request) -> Option<About> {
        if self.life(conn) == Life::Connecting {
            return None;
        }
        let (id, name, kind) = channel_of_request(request)?;
        (id > 0).then(|| About { id, channel: self.channel_hash(name), kind })
    }

    fn park(&mut self, conn: ConnectionId, home: u16, request: Request) {
        let parked = &mut self.at(conn).input().parked;
        debug_assert!(parked.is_empty(), "nothing is parsed behind a command that waits");
        parked.push_back(Parked { home, request });
        self.stand_in_line(conn, home);
    }

    pub(in crate::edge) fn stand_in_line(&mut self, conn: ConnectionId, home: u16) {
        let first = std::mem::take(&mut self.first_in_line);
        if !self.at(conn).facts.replace(Fact::Waiting, true) {
            let line = &mut self.waiting[usize::from(home)];
            let front = first || !holds(Rule::LaneFifo);
            if front { line.push_front(conn) } else { line.push_back(conn) }
        }
    }

    /// Serves the lines of lanes that have room again, then the connections with work left over.
    pub fn resume_work(&mut self, turn: &mut Turn<'_>) {
        for home in 0..self.homes {
            self.serve_line(home, turn);
        }
        for _ in 0..self.owing.len() {
            let Some(conn) = self.owing.pop_front() else { break };
            if self.is_current(conn) {
                self.at(conn).facts.set(Fact::Owing, false);
                self.advance(conn, turn);
            }
        }
        self.serve_presences();
        // Apart from what came in: neither is to starve the other.
        self.work.begin();
        self.serves_ready = true;
        for _ in 0..self.ready.len() {
            if self.work.is_spent() {
                // Who was not reached stays in front.
                break;
            }
            let Some(conn) = self.ready.pop_front() else { break };
            if self.is_current(conn) {
                self.at(conn).facts.set(Fact::Ready, false);
                self.advance(conn, turn);
            }
        }
        self.serves_ready = false;
    }

    fn serve_line(&mut self, home: u16, turn: &mut Turn<'_>) {
        let line = usize::from(home);
        for _ in 0..self.waiting[line].len() {
            let Some(conn) = self.waiting[line].pop_front() else { return };
            self.at(conn).facts.set(Fact::Waiting, false);
            self.serving = Some(home);
            self.advance(conn, turn);
            self.serving = None;
            // Still without room: it keeps its place, and so does everybody behind it.
            if self.waiting[line].front() == Some(&conn) {
                return;
            }
        }
    }

    /// Does what a connection can do now, in order: what it owes, what is parked, what it sent.
    pub(in crate::edge) fn advance(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        self.work.begin_slice();
        if self.at(conn).facts.has(Fact::Waiting) || !self.settle(conn, turn) {
            return;
        }
        if !self.serve_wishes(conn, turn) {
            return;
        }
        if !self.push_parked(conn, turn) {
            return;
        }
        if self.life(conn) == Life::Dead {
            return self.settle_registration(conn, turn);
        }
        self.call_on(conn, turn);
        self.work_off_input(conn, turn);
    }

    /// Pushes the parked commands; false when one found no room.
    fn push_parked(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) -> bool {
        loop {
            let Some(input) = self.at(conn).input.as_mut() else { return true };
            let Some(Parked { home, request }) = input.parked.pop_front() else { return true };
            if !self.claim_turn(home) {
                self.at(conn).input().parked.push_front(Parked { home, request });
                self.stand_in_line(conn, home);
                return false;
            }
            if let Err(request) = self.push(conn, home, request, turn) {
                self.at(conn).input().parked.push_front(Parked { home, request });
                self.stand_in_line(conn, home);
                return false;
            }
        }
    }

    /// Puts a connection in the queue of those that owe.
    pub(in crate::edge) fn owe(&mut self, conn: ConnectionId) {
        if !self.at(conn).facts.replace(Fact::Owing, true) {
            self.owing.push_back(conn);
        }
    }

    /// Pushes the Unsubscribes that a connection owes; false when one found no room.
    pub(in crate::edge) fn settle(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) -> bool {
        while let Some(subscription) = self.at(conn).subscriptions.next_owed() {
            let channel = subscription.channel;
            if !self.push_unsubscribe_request(conn, subscription, turn) {
                let home = self.channels.at(channel).home;
                if !holds(Rule::CleanupQueue) && self.life(conn) == Life::Dead {
                    self.take_subscription(conn, channel);
                    continue;
                }
                self.stand_in_line(conn, home);
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
        self.drop_subscription_details(conn, subscription.sequence);
        self.user_calls.forget_withdrawal(subscription.sequence);
        if subscription.filter != NO_FILTER {
            self.give_filter_back(conn, subscription.filter);
        }
        subscription
    }

    fn give_filter_back(&mut self, conn: ConnectionId, filter: u16) {
        let held = self.filters_held.get_mut(&conn.index).expect("who has a filter is charged");
        self.filters.remove(filter, held);
        if held.filters == 0 {
            self.filters_held.remove(&conn.index);
        }
    }

    /// Takes a Subscribe back at the home; false when the lane has no room.
    fn push_unsubscribe_request(
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

    /// The last thing a dead connection owes is its registration; then its place is free. What is
    /// pending is waited for: its answer says whether there is something to take back.
    fn settle_registration(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) {
        if !self.at(conn).subscriptions.is_empty() {
            return;
        }
        if self.at(conn).facts.has(Fact::Registered) {
            let user = self.at(conn).user.clone().expect("only a user is registered");
            let home = self.home_of(user.as_str());
            let connection = self.key(conn);
            let pushed = self.claim_turn(home)
                && turn.lanes.push(home, Request::Deregister { connection, user }).is_ok();
            if !pushed && holds(Rule::CleanupQueue) {
                return self.stand_in_line(conn, home);
            }
            self.at(conn).facts.set(Fact::Registered, false);
        }
        self.free(conn);
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
}
