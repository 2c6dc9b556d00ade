//! The seam between driver and ws: what turns wire bytes into plain bytes and back.
//!
//! `plain` copies nothing and costs nothing. TLS will be a second transport; until then the
//! simulation's `record` tests the seam. A transport must not know frames: its caller says where
//! one ends.

/// The received bytes cannot be opened, and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// How bytes travel. The transport defines the state of each connection, `()` for plain.
pub trait Transport {
    /// The state of one connection.
    type State: Default;

    /// Wire bytes are the plain bytes: nothing is copied in either direction.
    const IDENTITY: bool;

    /// Opens received wire bytes and appends the plain ones. What is not complete yet is kept in
    /// `state`.
    ///
    /// # Errors
    /// If the bytes are not valid in this transport.
    fn open(
        &self,
        state: &mut Self::State,
        wire: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Unreadable>;

    /// Seals plain bytes and appends what goes over the wire.
    fn seal(&self, state: &mut Self::State, plain: &[u8], wire: &mut Vec<u8>);
}

/// No transport layer: wire bytes are plain bytes.
pub struct Plain;

impl Transport for Plain {
    type State = ();
    const IDENTITY: bool = true;

    fn open(&self, (): &mut (), wire: &[u8], plain: &mut Vec<u8>) -> Result<(), Unreadable> {
        plain.extend_from_slice(wire);
        Ok(())
    }

    fn seal(&self, (): &mut (), plain: &[u8], wire: &mut Vec<u8>) {
        wire.extend_from_slice(plain);
    }
}
