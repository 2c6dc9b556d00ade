//! What a shutdown did not get out, by connection.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge};

/// What a shutdown did not get out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Connections that ended with bytes unsent, or were never told why.
    pub connections: u64,
    /// Bytes that waited for them; of a send under way, all.
    pub bytes: u64,
}

impl Cut {
    /// Is it nothing?
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.connections == 0
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Cut) -> Cut {
        Cut { connections: self.connections + other.connections, bytes: self.bytes + other.bytes }
    }
}

impl Edge {
    /// Notes what a connection loses that ends while the server stops.
    pub(in crate::edge) fn note_cut(&mut self, conn: ConnectionId) {
        if self.draining {
            self.cut = self.cut.and(self.loss(conn, false));
        }
    }

    pub(in crate::edge) fn loss(&self, conn: ConnectionId, untold: bool) -> Cut {
        let it = self.places.get(conn.index);
        let bytes = self.unsent_bytes(conn) as u64;
        let gone = it.life == Life::Dead || it.facts.has(Fact::PeerGone);
        if gone || bytes == 0 && !untold {
            return Cut::default();
        }
        Cut { connections: 1, bytes }
    }
}
