//! Who is connected, by user: the registry of the users whose home this is.
//!
//! Must not know channels. Invariant: a user is listed while at least one connection is.

use super::Home;
use super::engine::Engine;
use super::envelope::{ConnectionKey, Delivery, SharedCommand, ToUser};
use super::name::Name;
use crate::rules::{Rule, holds};
use foldhash::quality::FixedState;
use std::collections::HashMap;

/// Most users have one connection, so one needs no list.
#[derive(Debug)]
enum Connections {
    One(ConnectionKey),
    Many(Vec<ConnectionKey>),
}

/// Connections by user.
#[derive(Debug)]
pub struct Users {
    by_name: HashMap<Name, Connections, FixedState>,
}

impl Users {
    /// An empty registry; `seed` keeps its hashing from being guessed.
    #[must_use]
    pub fn new(seed: u64) -> Users {
        Users { by_name: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// Users that are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn register(&mut self, user: Name, connection: ConnectionKey) {
        match self.by_name.get_mut(&user) {
            None => {
                self.by_name.insert(user, Connections::One(connection));
            }
            Some(Connections::Many(list)) => list.push(connection),
            Some(one) => {
                let Connections::One(first) = *one else { unreachable!("the other arms took it") };
                *one = Connections::Many(vec![first, connection]);
            }
        }
    }

    pub fn deregister(&mut self, user: &Name, connection: ConnectionKey) {
        let gone = match self.by_name.get_mut(user) {
            None => false,
            Some(Connections::One(first)) => *first == connection,
            Some(Connections::Many(list)) => {
                if let Some(place) = list.iter().position(|listed| *listed == connection) {
                    list.swap_remove(place);
                }
                list.is_empty()
            }
        };
        if gone {
            self.by_name.remove(user);
        }
    }

    /// Every connection of a user.
    #[must_use]
    pub fn connections(&self, user: &str) -> &[ConnectionKey] {
        match self.by_name.get(user) {
            None => &[],
            Some(Connections::One(first)) => std::slice::from_ref(first),
            Some(Connections::Many(list)) => list,
        }
    }
}

/// What is asked about a user, whatever the number of connections.
impl<E: Engine> Home<E> {
    /// One delivery to each core, whatever the number of the user's connections there.
    pub(super) fn hand_on(&mut self, to_user: ToUser) {
        let ToUser { to, user, what } = to_user;
        let what = SharedCommand::from(what);
        let mut connections = self.users.connections(user.as_str()).to_vec();
        connections.sort_unstable();
        let same = |a: &ConnectionKey, b: &ConnectionKey| holds(Rule::OneItem) && a.core == b.core;
        for group in connections.chunk_by(same) {
            let (connections, what) = (group.into(), what.clone());
            self.say(group[0].core, Delivery::UserCommand { connections, what });
        }
        self.say(to.connection.core, Delivery::HandedOn { to });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_listed_while_connected() {
        let key = |index| ConnectionKey { core: 0, index, generation: 1 };
        let mut users = Users::new(7);
        let alice = Name::from("alice");
        for index in 0..3 {
            users.register(alice.clone(), key(index));
        }
        users.deregister(&alice, key(9));
        users.deregister(&alice, key(0));
        let mut left = users.connections("alice").to_vec();
        left.sort_unstable();
        assert_eq!(left, [key(1), key(2)]);
        users.deregister(&alice, key(1));
        users.deregister(&alice, key(2));
        assert!(users.connections("alice").is_empty() && users.by_name.is_empty());
    }
}
