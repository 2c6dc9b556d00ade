//! Who is in a channel: here, and, with an engine elsewhere, on the other nodes.
//!
//! Members here are known here; those on other nodes are asked for. Joins and leaves are told here
//! and handed to the other nodes. When a node has died, each home tells its own subscribers that
//! the dead node's members left, and that they joined if it lives after all. Must not know which
//! nodes there are. Invariant: what is told of a node's members as a whole is told in the order of
//! its deaths and lives.

use super::asking::Passing;
use super::replica::Asked;
use super::{Home, refused};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::{Answer, Call, Engine, Failure};
use crate::contract::envelope::{Delivery, Member, PresenceAnswer, Request};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::presence::{Entry, On};
use crate::contract::wire::NodeId;
use crate::limits::{ENGINE_REST_MS, NODES};
use crate::work::cost;
use std::collections::VecDeque;

/// Dead nodes whose members' leaves a channel remembers to have told.
const DEAD_REMEMBERED: usize = 64;
/// Places looked at for one that has to be told of a node.
const PLACES_PER_STEP: usize = 1_024;

/// A node that has died or lives again, and how far its channels were told.
#[derive(Debug)]
struct News {
    node: NodeId,
    lives: bool,
    /// The next place to look at.
    place: u32,
}

/// What is to be told of other nodes.
#[derive(Debug, Default)]
pub struct Tidings {
    news: VecDeque<News>,
    /// A call failed: nothing is asked before, in milliseconds of the process.
    rests_until_ms: Option<u64>,
}

impl Tidings {
    /// Is there something to be told that may be asked for now?
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.news.is_empty() && self.rests_until_ms.is_none()
    }

    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.rests_until_ms
    }

    /// Does what the time brings.
    pub fn turn(&mut self, now_ms: u64) {
        self.rests_until_ms = self.rests_until_ms.filter(|until_ms| now_ms < *until_ms);
    }
}

impl<E: Engine> Home<E> {
    pub(super) fn presence(&mut self, to: ReplyTo, name: &Name, now: Now) {
        if E::LOCAL {
            let members = self.members_here(name);
            return self.say_presence(to, members);
        }
        let (channel, most) = (name.clone(), self.limits.presence_per_channel);
        let list = |id| Call::Members { id, channel, on: On::Others, most };
        let asked = Asked::Presence { to, channel: name.clone() };
        self.ask_in_line(name.clone(), asked, list, now);
    }

    fn members_here(&self, name: &Name) -> Vec<Member> {
        let channel = self.channel(name.as_str());
        let listed = channel.into_iter().flat_map(super::Channel::listed);
        listed.map(|(connection, it)| it.member(*connection)).collect()
    }

    fn say_presence(&mut self, to: ReplyTo, members: Vec<Member>) {
        let members = members.into_boxed_slice();
        self.work.charge(members.len() * cost::MEMBER);
        self.say(to.connection.core, Delivery::Presence(Box::new(PresenceAnswer { to, members })));
    }

    /// Members on other nodes were listed for a client.
    fn answer_presence(&mut self, to: ReplyTo, name: &Name, entries: Box<[Entry]>) {
        let mut members = self.members_here(name);
        members.extend(entries.into_iter().filter(|it| it.listed).map(|it| it.member));
        if members.len() > self.limits.presence_per_channel as usize {
            let error = refused(to, ErrorCode::LimitExceeded, "presence", Some(name.clone()));
            return self.say(to.connection.core, error);
        }
        self.say_presence(to, members);
    }

    /// They could not be listed.
    pub(super) fn presence_failed(
        &mut self,
        (to, channel): (ReplyTo, Name),
        why: Failure,
        now: Now,
    ) {
        if why == Failure::Over {
            let error = refused(to, ErrorCode::LimitExceeded, "presence", Some(channel));
            return self.say(to.connection.core, error);
        }
        self.refuse(Request::Presence { to, channel }, now);
    }

    pub(super) fn presence_stats(&mut self, to: ReplyTo, name: &Name, now: Now) {
        if E::LOCAL {
            return self.answer_stats(to, name, (0, 0));
        }
        // What other nodes have is counted against what is known there of this one.
        self.write_notes_of(name, now);
        let channel = name.clone();
        let asked = Asked::Stats { to, channel: name.clone() };
        self.ask_in_line(name.clone(), asked, |id| Call::Count { id, channel }, now);
    }

    /// Says how many are here, and how many more clients and users elsewhere.
    fn answer_stats(&mut self, to: ReplyTo, name: &Name, more: (u32, u32)) {
        let (clients, users) = self
            .channel(name.as_str())
            .map_or((0, 0), |channel| (channel.listed().count(), channel.users()));
        self.work.charge(clients * cost::MEMBER_COUNTED);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let clients = count(clients).saturating_add(more.0);
        let users = count(users).saturating_add(more.1);
        self.say(to.connection.core, Delivery::PresenceStats { to, clients, users });
    }

    /// Says that somebody has joined or left, here and to the other nodes.
    pub(super) fn announce_member(&mut self, place: u32, who: Member, joined: bool, now: Now) {
        self.tell_membership(place, &who, joined);
        if !E::LOCAL && !self.is_ending() {
            let (channel, who) = (self.channels.at(place).name.clone(), Box::new(who));
            self.pass(channel.clone(), Passing::Membership { channel, who, joined }, now);
        }
    }

    /// Says it to every core that listens.
    fn tell_membership(&mut self, place: u32, who: &Member, joined: bool) {
        self.say_to_interested(place, |local| {
            let who = Box::new(who.clone());
            if joined { Delivery::Joined { local, who } } else { Delivery::Left { local, who } }
        });
    }

    /// A node has begun to live, or has died.
    fn hear_of_node(&mut self, node: NodeId, lives: bool) {
        // With more, they come and go faster than anybody could be told.
        if self.tidings.news.len() < NODES {
            self.tidings.news.push_back(News { node, lives, place: 0 });
        }
    }

    /// Asks for the members of nodes that died, or live again, channel by channel, as far as the
    /// credits go.
    pub(super) fn ask_for_tidings(&mut self, now: Now) {
        for _ in 0..PLACES_PER_STEP {
            if !self.has_credit() || !self.tidings.is_due() {
                return;
            }
            let places = self.channels.places();
            let Some(News { node, lives, place }) = self.tidings.news.front_mut() else { return };
            let (node, lives, at) = (*node, *lives, *place);
            if at >= places {
                self.tidings.news.pop_front();
                continue;
            }
            *place += 1;
            let Some(channel) = self.channels.get(at) else { continue };
            if channel.must_be_told(node, lives) {
                self.ask_for_members_of(channel.name.clone(), (node, lives), now);
            }
        }
    }

    fn ask_for_members_of(&mut self, channel: Name, (node, lives): (NodeId, bool), now: Now) {
        // What a node has may be told whatever an answer may list.
        let (name, most) = (channel.clone(), u32::MAX);
        let list = |id| Call::Members { id, channel: name, on: On::Node(node), most };
        let is_asked = self.ask_for(|| Asked::OfNode { channel, node, lives }, list, now);
        assert!(is_asked, "there was a credit");
    }

    /// The members of a node that died, or lives again, are known.
    fn tell_of_node(
        &mut self,
        channel: &Name,
        (node, lives): (NodeId, bool),
        entries: Box<[Entry]>,
    ) {
        let Some(place) = self.channels.find(channel.as_str()) else { return };
        let told: Vec<Member> =
            entries.into_iter().filter(|it| it.announced).map(|it| it.member).collect();
        let Some(replica) = self.replica(place) else { return };
        if replica.dead.contains(&node) != lives {
            // It was asked twice, and told.
            return;
        }
        replica.dead.retain(|dead| *dead != node);
        if !lives && !told.is_empty() {
            if replica.dead.len() == DEAD_REMEMBERED {
                replica.dead.remove(0);
            }
            replica.dead.push(node);
        }
        self.work.charge(told.len() * cost::MEMBER);
        told.iter().for_each(|who| self.tell_membership(place, who, lives));
    }

    /// They could not be listed: they are asked for again a little later.
    pub(super) fn tidings_failed(&mut self, (node, lives): (NodeId, bool), why: Failure, now: Now) {
        if !why.may_pass() {
            return;
        }
        self.tidings.rests_until_ms = Some(now.monotonic_ms() + ENGINE_REST_MS);
        match self.tidings.news.iter_mut().find(|it| it.node == node) {
            Some(news) if news.lives == lives => news.place = 0,
            // It has changed since, and what it is now counts.
            Some(_) => {}
            None => self.hear_of_node(node, lives),
        }
    }

    /// Takes what the engine says of members.
    pub(super) fn deal_with_members(&mut self, answer: Answer, asked: Option<Asked>, now: Now) {
        match (answer, asked) {
            (Answer::Noted { .. }, Some(Asked::Note(channel))) => {
                self.noted(&channel, None, now);
            }
            (Answer::Members { entries, .. }, Some(Asked::Presence { to, channel })) => {
                self.answer_presence(to, &channel, entries);
            }
            (Answer::Members { entries, .. }, Some(Asked::OfNode { channel, node, lives })) => {
                self.tell_of_node(&channel, (node, lives), entries);
            }
            (Answer::Counted { clients, users, .. }, Some(Asked::Stats { to, channel })) => {
                self.answer_stats(to, &channel, (clients, users));
            }
            (Answer::Membership { session, who, joined }, _) => {
                if let Some(place) = self.heard(session) {
                    self.tell_membership(place, &who, joined);
                }
            }
            (Answer::Node { node, lives }, _) => self.hear_of_node(node, lives),
            (Answer::Forgotten, _) => self.noting.write_all_anew(),
            (answer, asked) => debug_assert!(false, "{answer:?} to {asked:?}"),
        }
    }
}
