//! The seam between driver and edge: what turns wire bytes into plain bytes and back.
//!
//! Each connection has its own: the listener that it came in by decides. `plain` is for those whose
//! wire bytes are the plain bytes; they cost nothing here and have no state. Any other connection
//! has a `Session`, which may fail, and which may have bytes of its own to send: a handshake, an
//! alert, a goodbye. TLS will be one; the simulation's `record` is one.
//!
//! Must not know frames, sockets or time. Invariant: bytes of one session go out in the order in
//! which it wrote them, sealed ones and its own together, for its peer counts them.

pub mod plain;

pub use plain::Plain;

/// How a server's connections travel.
pub trait Transport {
    type Session: Session;

    /// Begins the session of a connection that came in by a listener, by its place in the driver's
    /// options. None: its bytes are plain.
    fn begin(&mut self, listener: u8) -> Option<Self::Session>;
}

/// The server's side of one connection that is not plain.
pub trait Session {
    /// Takes received wire bytes, which it may change. Appends the plain bytes in them to `plain`,
    /// and what it has to send by itself to `own`. What is not whole yet it keeps.
    ///
    /// # Errors
    /// The session is over: it is not to be used again. Plain bytes that came before are in
    /// `plain`, and what it has to say about it, an alert, is in `own`.
    fn open(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<Opened, Failure>;

    /// Is its handshake done? Nothing may be sealed before, and no plain bytes come before.
    fn is_open(&self) -> bool;

    /// Seals plain bytes, appending what goes over the wire.
    ///
    /// # Errors
    /// The session is over, and nothing was appended.
    fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure>;

    /// Appends the goodbye that says that nothing more follows. Nothing may be sealed afterwards.
    fn close(&mut self, wire: &mut Vec<u8>);

    /// Memory of what it keeps of bytes that came in.
    fn held_bytes(&self) -> usize;
}

/// What came of bytes that were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The peer said goodbye: nothing more comes from it. It may still be sent something.
    pub is_closed: bool,
    /// What opening cost, in nanoseconds, where that is much: a handshake's share of a turn.
    pub work_ns: u32,
}

/// Why a session is over before its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer's part of the handshake is wrong.
    Handshake,
    /// A record cannot be opened, or none can be sealed any more.
    Record,
    /// The peer ended the session with an alert.
    Alert,
    /// The peer does not read what the session has to say by itself, and makes it say more.
    Unread,
}
