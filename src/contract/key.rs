//! Identifies a connection, and one of its commands, so that answers find their way back.

/// A connection. A late answer to an earlier connection in the same place finds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    pub core: u16,
    pub index: u32,
    pub generation: u32,
}

impl ConnectionKey {
    /// Stands for the server API, which publishes without a connection.
    pub const NOBODY: ConnectionKey =
        ConnectionKey { core: u16::MAX, index: u32::MAX, generation: u32::MAX };
}

/// The destination of an answer: a command of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub connection: ConnectionKey,
    /// The command's id; 0 if no reply is wanted.
    pub command: u32,
}
