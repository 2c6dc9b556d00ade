//! What a shutdown could not send, by connection.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge};

/// What a shutdown could not send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Connections that ended with bytes unsent, or without a close frame.
    pub connections: u64,
    /// Bytes that waited for them; of a send under way, all of them.
    pub bytes: u64,
}

impl Cut {
    /// Is it nothing?
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.connections == 0
    }

    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Cut) -> Cut {
        Cut { connections: self.connections + other.connections, bytes: self.bytes + other.bytes }
    }
}

impl Edge {
    /// Counts what a connection loses that ends during a shutdown.
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
