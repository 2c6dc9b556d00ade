//! A connection's socket, as the worker keeps it beside the edge's entry.
//!
//! Invariant: an idle plain connection takes these 8 bytes and nothing else of a worker.

use crate::driver::Socket;
use crate::edge::ConnectionId;

/// A connection's socket, and whether its transport is plain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The socket's number, with `SEALED` where the connection has a session. `NO_SOCKET` where
    /// none is open.
    socket: u32,
    pub generation: u32,
}

/// Above all numbers of sockets, which are dense from 0: one comparison tells an open plain
/// connection from all others.
const SEALED: u32 = 1 << 31;
const NO_SOCKET: u32 = u32::MAX;

impl Default for Link {
    fn default() -> Self {
        Link { socket: NO_SOCKET, generation: 0 }
    }
}

impl Link {
    pub fn new(socket: Socket, generation: u32, is_sealed: bool) -> Link {
        assert!(socket.0 < SEALED - 1, "sockets are dense from 0: {socket:?}");
        Link { socket: if is_sealed { socket.0 | SEALED } else { socket.0 }, generation }
    }

    /// The socket, if it is open and its bytes are plain.
    #[inline]
    pub fn plain(&self) -> Option<Socket> {
        (self.socket < SEALED).then_some(Socket(self.socket))
    }

    /// The socket, if it is open and has a session.
    pub fn sealed(&self) -> Option<Socket> {
        let is_sealed = self.socket >= SEALED && self.socket != NO_SOCKET;
        is_sealed.then_some(Socket(self.socket & !SEALED))
    }

    /// The socket, if it is open.
    pub fn socket(&self) -> Option<Socket> {
        (self.socket != NO_SOCKET).then_some(Socket(self.socket & !SEALED))
    }

    /// Is it still this connection's?
    pub fn is_of(&self, conn: ConnectionId) -> bool {
        self.generation == conn.generation && self.socket != NO_SOCKET
    }
}

const _: () = assert!(size_of::<Link>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_tells_plain_from_sealed() {
        let (plain, sealed) = (Link::new(Socket(7), 3, false), Link::new(Socket(7), 3, true));
        assert_eq!((plain.plain(), plain.sealed()), (Some(Socket(7)), None));
        assert_eq!((sealed.plain(), sealed.sealed()), (None, Some(Socket(7))));
        assert_eq!((plain.socket(), sealed.socket()), (Some(Socket(7)), Some(Socket(7))));
        let none = Link::default();
        assert_eq!((none.plain(), none.sealed(), none.socket()), (None, None, None));
        let conn = ConnectionId { index: 0, generation: 3 };
        assert!(sealed.is_of(conn) && !none.is_of(ConnectionId { generation: 0, ..conn }));
    }
}
