//! The connections of the users whose home this is.
//!
//! Must not know channels. Invariant: a user is listed while it has at least one connection.

use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::hashing::{Key, Keyed};
use crate::indexed::{Indexed, Of};
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Most users have one connection, which needs no list.
#[derive(Debug)]
enum Connections {
    One(ConnectionKey),
    /// Boxed, because otherwise every user would take the memory of the list. In a long list a
    /// connection is found by a table, so that a user with very many connections cannot keep a home
    /// busy with their leaving.
    Many(Box<Indexed<ConnectionKey>>),
}

impl Of for ConnectionKey {
    type Of = ConnectionKey;

    fn of(&self) -> ConnectionKey {
        *self
    }
}

const _: () = assert!(size_of::<Connections>() <= 16, "every connected user has one");

/// A user, and its connections.
#[derive(Debug)]
struct User {
    name: Name,
    connections: Connections,
}

/// Connections by user. Users are in a vector, and the table, half of which is empty, has only
/// their indices, to save memory for every connected user.
#[derive(Debug)]
pub struct Users {
    users: Vec<User>,
    places: HashTable<u32>,
    hasher: Keyed,
}

impl Users {
    /// An empty registry; `key` makes its hashing unpredictable.
    #[must_use]
    pub fn new(key: Key) -> Users {
        let hasher = Keyed::new(key);
        Users { users: Vec::new(), places: HashTable::new(), hasher }
    }

    /// Users that are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    pub fn register(&mut self, name: Name, connection: ConnectionKey) {
        let Some(place) = self.find(name.as_str()) else {
            let (users, hasher) = (&mut self.users, &self.hasher);
            let place = u32::try_from(users.len()).expect("connections are bounded");
            let hash = hasher.hash_one(name.as_str());
            users.push(User { name, connections: Connections::One(connection) });
            let rehash = |place: &u32| hasher.hash_one(users[*place as usize].name.as_str());
            self.places.insert_unique(hash, place, rehash);
            return;
        };
        let connections = &mut self.users[place as usize].connections;
        match connections {
            Connections::Many(list) => list.push(connection),
            Connections::One(first) => {
                *connections = Connections::Many(Box::new(Indexed::from(vec![*first, connection])));
            }
        }
    }

    pub fn deregister(&mut self, name: &Name, connection: ConnectionKey) {
        let Some(place) = self.find(name.as_str()) else { return };
        let gone = match &mut self.users[place as usize].connections {
            Connections::One(first) => *first == connection,
            Connections::Many(list) => {
                list.remove(connection);
                list.as_slice().is_empty()
            }
        };
        if gone {
            self.remove(place);
        }
    }

    /// Removes a user; the last one moves to its place.
    fn remove(&mut self, place: u32) {
        let gone = self.users.swap_remove(place as usize);
        let last = u32::try_from(self.users.len()).expect("connections are bounded");
        let hash = self.hasher.hash_one(gone.name.as_str());
        match self.places.find_entry(hash, |listed| *listed == place) {
            Ok(entry) => drop(entry.remove()),
            Err(_) => unreachable!("a user in the row is in the table"),
        }
        if let Some(moved) = self.users.get(place as usize) {
            let hash = self.hasher.hash_one(moved.name.as_str());
            let listed = self.places.find_mut(hash, |listed| *listed == last);
            *listed.expect("a user in the row is in the table") = place;
        }
        debug_assert_eq!(self.users.len(), self.places.len());
    }

    fn find(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        let is = |place: &u32| self.users[*place as usize].name.as_str() == name;
        self.places.find(hash, is).copied()
    }

    /// Every connection of a user.
    #[must_use]
    pub fn connections(&self, user: &str) -> &[ConnectionKey] {
        match self.find(user).map(|place| &self.users[place as usize].connections) {
            None => &[],
            Some(Connections::One(first)) => std::slice::from_ref(first),
            Some(Connections::Many(list)) => list.as_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_listed_while_connected() {
        let key = |index| ConnectionKey { core: 0, index, generation: 1 };
        let mut users = Users::new(Key::of(7));
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
        assert!(users.connections("alice").is_empty() && users.len() == 0);
    }

    #[test]
    fn whoever_leaves_the_others_are_still_found() {
        let key = |index| ConnectionKey { core: 0, index, generation: 1 };
        let name = |index: u32| Name::from(format!("user-{index}").as_str());
        let mut users = Users::new(Key::of(7));
        let mut there: Vec<u32> = (0..500).collect();
        there.iter().for_each(|index| users.register(name(*index), key(*index)));
        while !there.is_empty() {
            // The first, the last, and some in between.
            let gone = there.swap_remove(there.len() * 3 / 7 % there.len());
            users.deregister(&name(gone), key(gone));
            assert!(users.connections(name(gone).as_str()).is_empty());
            for index in &there {
                assert_eq!(users.connections(name(*index).as_str()), [key(*index)]);
            }
            assert_eq!(users.len(), there.len());
        }
    }
}
