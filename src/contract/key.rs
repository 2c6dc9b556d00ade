//! The names of a connection and of a command of it, by which answers find their way back.

/// A connection, named so that a late answer to an earlier one in the same place finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey {
    pub core: u16,
    pub index: u32,
    pub generation: u32,
}

impl ConnectionKey {
    /// No connection: what the server API publishes comes from here.
    pub const NOBODY: ConnectionKey =
        ConnectionKey { core: u16::MAX, index: u32::MAX, generation: u32::MAX };
}

/// Where an answer goes: to which command of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub connection: ConnectionKey,
    /// The command's id; 0 when no reply is wanted.
    pub command: u32,
}
