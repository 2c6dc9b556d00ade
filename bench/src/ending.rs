//! How connections of the client end: killed by it, or by the server.
//!
//! Must not know sockets. Invariant: every end has one cause.

use std::io;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A close frame of the server.
    Frame(u16, String),
    /// The stream ended without a close frame.
    End,
    /// A socket error, RST included.
    Socket(io::ErrorKind),
    /// The upgrade was refused.
    Refused(String),
    /// The server sent what is not of the protocol.
    Malformed(String),
}

/// How a connection is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// RST, at once.
    Reset,
    /// FIN without a close frame; then the server's end is awaited.
    Fin,
    /// A close frame; then the server's end is awaited.
    Close,
}
