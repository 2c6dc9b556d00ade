//! Full lanes and debts: who waits for which lane, and what a connection owes homes.
//!
//! Rule 4: each lane has one line, dead connections included, and newcomers stand behind it; what a
//! connection owes goes before its parked command, and that before anything it sent later. Rule 10:
//! a dead connection's subscription list is the queue of what it owes. Invariant: a connection
//! stands in at most one line.

use crate::clock::Now;
use crate::contract::envelope::Request;
use crate::edge::channels::NO_FILTER;
use crate::edge::connection::under_way::{About, channel_of_request};
use crate::edge::connection::{Fact, Life, Parked, Subscription, SubscriptionState};
use crate::edge::{Edge, RequestLanes, Token};
use crate::rules::{Rule, holds};

impl Edge {
    /// Pushes a connection's request, or parks it in the lane's line.
    pub(in crate::edge) fn issue<L: RequestLanes>(
        &mut self,
        token: Token,
        home: u16,
        request: Request,
        lanes: &mut L,
    ) {
        self.presences.asked(&request);
        let pushed =
            if self.may_push(home) { self.push(token, home, request, lanes) } else { Err(request) };
        if let Err(request) = pushed {
            self.park(token, home, request);
        }
    }

    /// Is nobody before this connection in the lane's line?
    pub(in crate::edge) fn may_push(&mut self, home: u16) -> bool {
        self.first_in_line = self.serving == Some(home);
        if self.first_in_line {
            // Once: what it asks next stands behind the others.
            self.serving = None;
        }
        self.first_in_line || self.waiting[usize::from(home)].is_empty() || !holds(Rule::LaneFifo)
    }

    pub(in crate::edge) fn push<L: RequestLanes>(
        &mut self,
        token: Token,
        home: u16,
        request: Request,
        lanes: &mut L,
    ) -> Result<(), Request> {
        let subscribe = match &request {
            Request::Subscribe(subscribe) => Some(subscribe.channel.clone()),
            _ => None,
        };
        let register = matches!(request, Request::Register { .. });
        // What the server begins is no command of the client's, and has its own bound.
        let ours = matches!(&request, Request::Subscribe(asked) if asked.to.command == 0);
        let about = self.about(token, &request);
        if let Err(request) = lanes.push(home, request) {
            self.metrics.lane_full.add(1);
            return Err(request);
        }
        if let Some(name) = subscribe {
            let channel = self.channels.find(name.as_str()).expect("its subscription holds it");
            let known = self.channels.at(channel);
            known.pairs += 1;
            known.parked -= 1;
            let subscription = self.at(token).subscription(channel).expect("it was just made");
            subscription.state = SubscriptionState::Pending;
        }
        let it = self.places.at(token);
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
    fn about(&mut self, token: Token, request: &Request) -> Option<About> {
        if self.life(token) == Life::Connecting {
            return None;
        }
        let (id, name, kind) = channel_of_request(request)?;
        (id > 0).then(|| About { id, channel: self.channel_hash(name), kind })
    }

    fn park(&mut self, token: Token, home: u16, request: Request) {
        let parked = &mut self.at(token).input().parked;
        debug_assert!(parked.is_empty(), "nothing is parsed behind a command that waits");
        parked.push_back(Parked { home, request });
        self.stand_in_line(token, home);
    }

    pub(in crate::edge) fn stand_in_line(&mut self, token: Token, home: u16) {
        let first = std::mem::take(&mut self.first_in_line);
        if !self.at(token).facts.replace(Fact::Waiting, true) {
            let line = &mut self.waiting[usize::from(home)];
            let front = first || !holds(Rule::LaneFifo);
            if front { line.push_front(token) } else { line.push_back(token) }
        }
    }

    /// Serves the lines of lanes that have room again, then the connections with work left over.
    pub fn resume_work<L: RequestLanes>(&mut self, now: Now, lanes: &mut L) {
        for home in 0..self.homes {
            self.serve_line(home, now, lanes);
        }
        for _ in 0..self.owing.len() {
            let Some(token) = self.owing.pop_front() else { break };
            if self.is_current(token) {
                self.at(token).facts.set(Fact::Owing, false);
                self.advance(token, now, lanes);
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
            let Some(token) = self.ready.pop_front() else { break };
            if self.is_current(token) {
                self.at(token).facts.set(Fact::Ready, false);
                self.advance(token, now, lanes);
            }
        }
        self.serves_ready = false;
    }

    fn serve_line<L: RequestLanes>(&mut self, home: u16, now: Now, lanes: &mut L) {
        let line = usize::from(home);
        for _ in 0..self.waiting[line].len() {
            let Some(token) = self.waiting[line].pop_front() else { return };
            self.at(token).facts.set(Fact::Waiting, false);
            self.serving = Some(home);
            self.advance(token, now, lanes);
            self.serving = None;
            // Still without room: it keeps its place, and so does everybody behind it.
            if self.waiting[line].front() == Some(&token) {
                return;
            }
        }
    }

    /// Does what a connection can do now, in order: what it owes, what is parked, what it sent.
    pub(in crate::edge) fn advance<L: RequestLanes>(
        &mut self,
        token: Token,
        now: Now,
        lanes: &mut L,
    ) {
        self.work.begin_slice();
        if self.at(token).facts.has(Fact::Waiting) || !self.settle(token, lanes) {
            return;
        }
        if !self.serve_wishes(token, now, lanes) {
            return;
        }
        if !self.push_parked(token, lanes) {
            return;
        }
        if self.life(token) == Life::Dead {
            return self.settle_registration(token, lanes);
        }
        self.call_on(token, now, lanes);
        self.work_off_input(token, now, lanes);
    }

    /// Pushes the parked commands; false when one found no room.
    fn push_parked<L: RequestLanes>(&mut self, token: Token, lanes: &mut L) -> bool {
        loop {
            let Some(input) = self.at(token).input.as_mut() else { return true };
            let Some(Parked { home, request }) = input.parked.pop_front() else { return true };
            if !self.may_push(home) {
                self.at(token).input().parked.push_front(Parked { home, request });
                self.stand_in_line(token, home);
                return false;
            }
            if let Err(request) = self.push(token, home, request, lanes) {
                self.at(token).input().parked.push_front(Parked { home, request });
                self.stand_in_line(token, home);
                return false;
            }
        }
    }

    /// Puts a connection in the queue of those that owe.
    pub(in crate::edge) fn owe(&mut self, token: Token) {
        if !self.at(token).facts.replace(Fact::Owing, true) {
            self.owing.push_back(token);
        }
    }

    /// Pushes the Unsubscribes that a connection owes; false when one found no room.
    pub(in crate::edge) fn settle<L: RequestLanes>(&mut self, token: Token, lanes: &mut L) -> bool {
        while let Some(subscription) = self.at(token).subscriptions.next_owed() {
            let channel = subscription.channel;
            if !self.push_unsubscribe_request(token, subscription, lanes) {
                let home = self.channels.at(channel).home;
                if !holds(Rule::CleanupQueue) && self.life(token) == Life::Dead {
                    self.take_subscription(token, channel);
                    continue;
                }
                self.stand_in_line(token, home);
                return false;
            }
            self.take_subscription(token, channel);
        }
        true
    }

    /// Takes a subscription out of its connection's list, and gives its filter back.
    ///
    /// # Panics
    /// When it has none to that channel.
    pub(in crate::edge) fn take_subscription(
        &mut self,
        token: Token,
        channel: u32,
    ) -> Subscription {
        let subscription = self.at(token).subscriptions.remove(channel).expect("it has one");
        self.subscriptions -= 1;
        self.drop_subscription_details(token, subscription.sequence);
        self.user_calls.forget_withdrawal(subscription.sequence);
        if subscription.filter != NO_FILTER {
            self.give_filter_back(token, subscription.filter);
        }
        subscription
    }

    fn give_filter_back(&mut self, token: Token, filter: u16) {
        let held = self.filters_held.get_mut(&token.index).expect("who has a filter is charged");
        self.filters.remove(filter, held);
        if held.filters == 0 {
            self.filters_held.remove(&token.index);
        }
    }

    /// Takes a Subscribe back at the home; false when the lane has no room.
    fn push_unsubscribe_request<L: RequestLanes>(
        &mut self,
        token: Token,
        subscription: Subscription,
        lanes: &mut L,
    ) -> bool {
        let known = self.channels.at(subscription.channel);
        let (home, channel) = (known.home, known.name.clone());
        let connection = self.key(token);
        let awaited = self.user_calls.withdrawal(subscription.sequence);
        let pushed = self.may_push(home)
            && lanes.push(home, Request::Unsubscribe { connection, channel, awaited }).is_ok();
        if pushed {
            self.user_calls.withdraw(subscription.sequence);
            self.channels.remove_pair(subscription.channel);
        }
        pushed
    }

    /// The last thing a dead connection owes is its registration; then its place is free. What is
    /// pending is waited for: its answer says whether there is something to take back.
    fn settle_registration<L: RequestLanes>(&mut self, token: Token, lanes: &mut L) {
        if !self.at(token).subscriptions.is_empty() {
            return;
        }
        if self.at(token).facts.has(Fact::Registered) {
            let user = self.at(token).user.clone().expect("only a user is registered");
            let home = self.home_of(user.as_str());
            let connection = self.key(token);
            let pushed = self.may_push(home)
                && lanes.push(home, Request::Deregister { connection, user }).is_ok();
            if !pushed && holds(Rule::CleanupQueue) {
                return self.stand_in_line(token, home);
            }
            self.at(token).facts.set(Fact::Registered, false);
        }
        self.free(token);
    }

    /// Forgets subscriptions whose Subscribe never reached a lane.
    pub(in crate::edge) fn forget_unpushed(&mut self, token: Token) {
        let parked = |it: &&Subscription| it.state == SubscriptionState::Parked;
        let unpushed = self.at(token).subscriptions.iter().filter(parked);
        let unpushed: Vec<u32> = unpushed.map(|it| it.channel).collect();
        for channel in unpushed {
            self.take_subscription(token, channel);
            self.channels.at(channel).parked -= 1;
            self.channels.forget_if_unused(channel);
        }
        let line = self.at(token).facts.has(Fact::Waiting);
        if line && self.at(token).subscriptions.next_owed().is_none() {
            // It stands in line for nothing now; served, it will find that out.
            self.owe(token);
        }
    }
}
