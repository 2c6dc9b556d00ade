//! Subscribing and leaving: interest, membership, and the answer that recovery starts from.
//!
//! One order per channel makes recover-then-live atomic: the answer names the home's last offset,
//! and what is published after it is behind it in the same lane.

use super::Home;
use super::asking::Waiter;
use super::channel::{Channel, Present};
use super::history::Page;
use super::makers::Maker;
use super::replica::Replica;
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::Engine;
use crate::contract::envelope::{Delivery, Recovery, SubscribeRequest, Subscribed};
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::contract::position::{Position, Since};
use crate::contract::user::Overrides;
use crate::rules::sabotage;
use crate::work::cost;

impl<E: Engine> Home<E> {
    pub(super) fn subscribe(&mut self, request: SubscribeRequest, now: Now) {
        let connection = request.to.connection;
        let maker = Maker { connection, user: request.user.as_str() };
        // What the server begins is the application's to answer for.
        let maker = (request.to.command > 0).then_some(maker);
        let place = match self.find_or_make(&request.channel, maker, now) {
            Ok(place) => place,
            Err(error) => return self.refuse_subscribe(request, error),
        };
        let presence_max = self.limits.presence_per_channel as usize;
        let channel = self.channels.at(place);
        let member = shown(channel, request.overrides) != (false, false);
        if member && presence_max > 0 && channel.members.len() >= presence_max {
            self.refuse_subscribe(request, ErrorCode::LimitExceeded);
            return self.drop_if_unused(place, now);
        }
        let keeps = channel.keeps();
        let is_refused = channel.replica.as_deref().is_some_and(Replica::is_refused);
        if (E::LOCAL || !keeps)
            && request.or_refused
            && matches!(self.recover(place, &request), Recovery::Impossible)
        {
            self.refuse_subscribe(request, ErrorCode::UnrecoverablePosition);
            return self.drop_if_unused(place, now);
        }
        if !keeps && is_refused {
            // Nothing of other nodes would come, and nobody would know.
            self.refuse_subscribe(request, ErrorCode::Internal);
            return self.drop_if_unused(place, now);
        }
        sabotage!(LiveAtRead => if E::LOCAL { return self.read_early(place, request); });
        self.channels.add_pair(place, request.to.connection.core);
        self.age(place);
        if !E::LOCAL {
            self.channels.at(place).replica.get_or_insert_with(Box::<Replica>::default);
        }
        if !E::LOCAL && keeps {
            let ticket = self.asking.wait(Waiter::Subscriber(place), now);
            let replica = self.replica(place).expect("it was just made");
            replica.pending.push_back((request, ticket));
        } else if E::LOCAL {
            let recovery = self.recover(place, &request);
            self.admit(place, request, recovery, now);
        } else if let Some(request) = self.wait_to_hear(place, request, now) {
            let recovery = self.recover(place, &request);
            self.admit(place, request, recovery, now);
        }
        if !E::LOCAL {
            self.pump(place, now);
        }
    }

    /// What a subscriber missed, from the ring of the home.
    pub(super) fn recover(&mut self, place: u32, request: &SubscribeRequest) -> Recovery {
        let bytes_max = self.limits.recovery_bytes as usize;
        let channel = self.channels.at(place);
        if !request.recover {
            return Recovery::NotAsked;
        }
        if request.cache {
            return cached(channel, request, bytes_max);
        }
        let missed = request
            .since
            .filter(|since| since.is_of(channel.epoch))
            .and_then(|since| channel.history.since(since.offset, channel.last, bytes_max));
        missed.map_or(Recovery::Impossible, Recovery::Complete)
    }

    /// The subscriber goes live: it is a member, and is told where it stands.
    pub(super) fn admit(
        &mut self,
        place: u32,
        request: SubscribeRequest,
        recovery: Recovery,
        now: Now,
    ) {
        let position = self.channels.at(place).position();
        self.admit_at(place, request, (recovery, position), now);
    }

    pub(super) fn admit_at(
        &mut self,
        place: u32,
        request: SubscribeRequest,
        (recovery, position): (Recovery, Position),
        now: Now,
    ) {
        let core = request.to.connection.core;
        if let Recovery::Complete(missed) = &recovery {
            self.work.charge(missed.len() * cost::PLACED);
        }
        let channel = self.channels.at(place);
        if request.delta {
            channel.delta.get_or_insert_with(Box::default);
        }
        let SubscribeRequest { to, sequence, channel: name, user, infos, overrides, .. } = request;
        let local = channel.interest_of(core).map_or(u32::MAX, |interest| interest.local);
        let answer = Subscribed { to, sequence, channel: name, local, position, recovery };
        let (listed, announced) = shown(channel, overrides);
        let mut joined = None;
        if listed || announced {
            let here = Present { user, infos, listed, announced };
            joined = announced.then(|| here.member(to.connection));
            channel.members.insert(to.connection, here);
            self.note_member(place, to.connection);
        }
        self.say(core, Delivery::Subscribed(Box::new(answer)));
        if let Some(who) = joined {
            self.announce_member(place, who, true, now);
        }
    }

    pub(super) fn unsubscribe(&mut self, connection: ConnectionKey, name: &Name, now: Now) {
        let Some(place) = self.channels.find(name.as_str()) else {
            debug_assert!(false, "an Unsubscribe finds the channel of its Subscribe");
            return;
        };
        self.channels.remove_pair(place, connection.core);
        let channel = self.channels.at(place);
        if channel.interest.is_empty() {
            channel.delta = None;
        }
        if let Some(left) = channel.members.remove(&connection) {
            self.note_member(place, connection);
            if left.announced {
                self.announce_member(place, left.member(connection), false, now);
            }
        }
        if !E::LOCAL {
            self.leave_stream(place, now);
        }
        if self.channels.get(place).is_some() {
            self.age(place);
            self.drop_if_unused(place, now);
        }
    }

    pub(super) fn refuse_subscribe(&mut self, request: SubscribeRequest, error: ErrorCode) {
        let SubscribeRequest { to, sequence, channel, .. } = request;
        let (method, channel, subscribe) = ("subscribe", Some(channel), Some(sequence));
        let refused = Delivery::Refused { to, error, method, channel, subscribe };
        self.say(to.connection.core, refused);
    }
}

/// The last publication, to who does not have it; with a filter all that are kept, of which the
/// edge finds the last that passes.
fn cached(channel: &Channel, request: &SubscribeRequest, bytes_max: usize) -> Recovery {
    let has_it = |since: Since| {
        since.offset > 0 && since.offset == channel.last && since.is_of(channel.epoch)
    };
    if request.since.is_some_and(has_it) {
        return Recovery::Complete(Box::default());
    }
    let limit = if request.filtered { -1 } else { 1 };
    let page = Page { since: None, limit, reverse: true, bytes_max };
    let (mut kept, _) = channel.history.page(&page);
    kept.reverse();
    let is_over = kept.iter().map(|placed| placed.block.size()).sum::<usize>() > bytes_max;
    if kept.is_empty() || is_over { Recovery::Impossible } else { Recovery::Complete(kept) }
}

/// Does presence list a subscriber, and are its join and leave told?
fn shown(channel: &Channel, overrides: Overrides) -> (bool, bool) {
    let listed = overrides.presence.unwrap_or(channel.presence);
    (listed, overrides.join_leave.unwrap_or(channel.join_leave))
}
