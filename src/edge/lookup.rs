//! Look-ups that every room uses: the connection in a place, and the home of a name. Nothing here
//! changes what it finds.

use crate::contract::key::ConnectionKey;
use crate::edge::connection::exchange::Exchange;
use crate::edge::connection::server_side::ServerSide;
use crate::edge::connection::{Aside, Connection, Life};
use crate::edge::{ConnectionId, Edge};
use std::hash::BuildHasher;

impl Edge {
    /// The connection that a home refers to, if it still exists.
    pub(in crate::edge) fn of(&self, connection: ConnectionKey) -> Option<ConnectionId> {
        let conn = ConnectionId { index: connection.index, generation: connection.generation };
        (connection.core == self.core && self.is_current(conn)).then_some(conn)
    }

    /// The home of a channel or user.
    #[must_use]
    pub fn home_of(&self, name: &str) -> u16 {
        let hash = self.home_hasher.hash_one(name);
        u16::try_from(hash % u64::from(self.homes)).expect("a remainder is below its divisor")
    }

    /// A hash of a channel's name, to compare the channels of commands.
    pub(in crate::edge) fn channel_hash(&self, name: &str) -> u32 {
        let hash = self.home_hasher.hash_one(name);
        u32::try_from(hash >> 32).expect("half a hash")
    }

    pub(in crate::edge) fn key(&self, conn: ConnectionId) -> ConnectionKey {
        ConnectionKey { core: self.core, index: conn.index, generation: conn.generation }
    }

    /// Is the connection still the same?
    pub(in crate::edge) fn is_current(&self, conn: ConnectionId) -> bool {
        self.places.is_current(conn)
    }

    pub(in crate::edge) fn at(&mut self, conn: ConnectionId) -> &mut Connection {
        self.places.at(conn)
    }

    pub(in crate::edge) fn connection(&self, conn: ConnectionId) -> &Connection {
        self.places.connection(conn)
    }

    pub(in crate::edge) fn life(&self, conn: ConnectionId) -> Life {
        self.places.life(conn)
    }

    /// What the server has yet to do about a connection, created if necessary.
    pub(in crate::edge) fn server_side(&mut self, conn: ConnectionId) -> &mut ServerSide {
        let it = self.at(conn);
        if it.server().is_none() {
            debug_assert!(it.aside.is_none(), "it is no WebSocket");
            it.aside = Some(Box::new(Aside::Server(ServerSide::default())));
        }
        it.server_mut().expect("it was just made")
    }

    /// The HTTP state of a connection.
    pub(in crate::edge) fn exchange(&mut self, conn: ConnectionId) -> &mut Exchange {
        let it = self.at(conn);
        if it.http().is_none() {
            debug_assert!(it.aside.is_none(), "it is a WebSocket");
            it.aside = Some(Box::new(Aside::Http(Exchange::default())));
        }
        it.http_mut().expect("it was just made")
    }
}
