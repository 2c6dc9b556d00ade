//! No transport layer: the bytes are the bytes.
//!
//! Invariant: a plain connection has no session, so nothing is copied for it.

use super::{Failure, Opened, Session, Transport};

/// All connections are plain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

/// The session of a plain connection: there is none.
#[derive(Clone, Copy, Debug)]
pub enum NoSession {}

impl Transport for Plain {
    type Session = NoSession;

    fn begin(&mut self, _listener: u8) -> Option<NoSession> {
        None
    }
}

impl Session for NoSession {
    fn open(
        &mut self,
        _wire: &mut [u8],
        _plain: &mut Vec<u8>,
        _own: &mut Vec<u8>,
    ) -> Result<Opened, Failure> {
        match *self {}
    }

    fn is_open(&self) -> bool {
        match *self {}
    }

    fn seal(&mut self, _plain: &[u8], _wire: &mut Vec<u8>) -> Result<(), Failure> {
        match *self {}
    }

    fn close(&mut self, _wire: &mut Vec<u8>) {
        match *self {}
    }

    fn held_bytes(&self) -> usize {
        match *self {}
    }
}
