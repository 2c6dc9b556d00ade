//! What lines do where a rule is broken on purpose. Compiled with the feature `sabotage` only.

use crate::contract::envelope::Request;
use crate::edge::{ConnectionId, Edge};

impl Edge {
    /// Rule 4, `conn_fifo`: a request without room is put aside, and its connection's next ones are
    /// carried out before it.
    pub(in crate::edge) fn put_aside(&mut self, conn: ConnectionId, home: u16, request: Request) {
        self.broken.aside.push_back((conn, home, request));
    }
}
