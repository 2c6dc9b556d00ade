//! Tells an engine elsewhere which users have connections here, so that other nodes find them.
//!
//! A connect is answered when that is known there (rule 12), or could not be told. Must not know
//! who asks for users. Invariants: one call at most is under way; the last thing that was told of a
//! user is what holds, or the user is in the queue.

use super::Home;
use super::replica::Asked;
use crate::clock::Now;
use crate::contract::engine::{Call, Engine, UserChange};
use crate::contract::envelope::Delivery;
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::limits::USERS_PER_CALL;
use std::collections::{BTreeMap, VecDeque};

/// Users, with the connections whose connect waits until that is told.
type Changes = BTreeMap<Name, Vec<ConnectionKey>>;

/// See the module's page. There are at most as many as came or went within a call's time.
#[derive(Debug, Default)]
pub struct Announcing {
    queue: VecDeque<Name>,
    queued: Changes,
    under_way: Option<Changes>,
    /// What is said and not answered: commands of other nodes that are over, and lists for them.
    said: VecDeque<Call>,
}

impl Announcing {
    /// A user has come, or gone.
    fn changed(&mut self, user: &Name) {
        if !self.queued.contains_key(user) {
            self.queue.push_back(user.clone());
            self.queued.insert(user.clone(), Vec::new());
        }
    }

    /// Lets a connect wait for what is told of its user; false: all is told.
    fn wait(&mut self, user: &Name, connection: ConnectionKey) -> bool {
        let under_way = self.under_way.as_mut().and_then(|changes| changes.get_mut(user));
        match self.queued.get_mut(user).or(under_way) {
            Some(waiting) => {
                waiting.push(connection);
                true
            }
            None => false,
        }
    }

    /// Something is to be said that is not answered. The bridge has asked for it, and lets few
    /// in at a time.
    pub fn note(&mut self, call: Call) {
        self.said.push_back(call);
    }

    /// Is there something to say that only needs a credit?
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.said.is_empty() || !self.queue.is_empty() && self.under_way.is_none()
    }
}

impl<E: Engine> Home<E> {
    pub(super) fn register(&mut self, connection: ConnectionKey, user: Name, now: Now) {
        let is_first = self.users.connections(user.as_str()).is_empty();
        self.users.register(user.clone(), connection);
        if E::LOCAL {
            return self.say(connection.core, Delivery::Registered { connection });
        }
        if is_first {
            self.announcing.changed(&user);
        }
        if !self.announcing.wait(&user, connection) {
            self.say(connection.core, Delivery::Registered { connection });
        }
        self.announce(now);
    }

    pub(super) fn deregister(&mut self, connection: ConnectionKey, user: &Name, now: Now) {
        let was_here = !self.users.connections(user.as_str()).is_empty();
        self.users.deregister(user, connection);
        if !E::LOCAL && was_here && self.users.connections(user.as_str()).is_empty() {
            self.announcing.changed(user);
            self.announce(now);
        }
    }

    /// Says what there is to say, as far as the credits go.
    pub(super) fn announce(&mut self, now: Now) {
        while self.has_credit()
            && let Some(call) = self.announcing.said.pop_front()
        {
            let said = self.say_call(call);
            assert!(said, "there was room");
        }
        if self.announcing.queue.is_empty() || self.announcing.under_way.is_some() {
            return;
        }
        if !self.has_credit() {
            return;
        }
        let most = self.announcing.queue.len().min(USERS_PER_CALL);
        let names: Vec<Name> = self.announcing.queue.drain(..most).collect();
        let change = |user: &Name| UserChange {
            is_here: !self.users.connections(user.as_str()).is_empty(),
            user: user.clone(),
        };
        let changes: Box<[UserChange]> = names.iter().map(change).collect();
        let under_way = names.into_iter().map(|name| {
            let waiting = self.announcing.queued.remove(&name).unwrap_or_default();
            (name, waiting)
        });
        self.announcing.under_way = Some(under_way.collect());
        let is_asked = self.ask_for(|| Asked::Users, |id| Call::Users { id, changes }, now);
        assert!(is_asked, "there was a credit");
    }

    /// What was under way is told, or could not be.
    pub(super) fn users_told(&mut self, now: Now) {
        let changes = self.announcing.under_way.take().expect("one call was under way");
        for connection in changes.into_values().flatten() {
            self.say(connection.core, Delivery::Registered { connection });
        }
        self.announce(now);
    }
}
