//! The seam between driver and ws: what turns wire bytes into plain bytes and back.
//!
//! `plain` is identity and costs nothing. TLS will stand here; until then the simulation's `record`
//! keeps the seam honest. A transport must not know frames: it is told where one ends.

/// Bytes that cannot be opened: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// How bytes travel. State of a connection is the transport's own, `()` for plain.
pub trait Transport {
    /// What one connection needs.
    type State: Default;

    /// Wire bytes are the plain bytes: nothing is copied on either way.
    const IDENTITY: bool;

    /// Opens received wire bytes, appending the plain ones; what is not yet whole is kept in
    /// `state`.
    ///
    /// # Errors
    /// When the bytes are not of this transport.
    fn open(
        &self,
        state: &mut Self::State,
        wire: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), Unreadable>;

    /// Seals plain bytes, appending what goes over the wire.
    fn seal(&self, state: &mut Self::State, plain: &[u8], wire: &mut Vec<u8>);
}

/// No transport layer: the bytes are the bytes.
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
