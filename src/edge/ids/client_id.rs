//! The client id of a connection, as others see it: derived, and kept only by what it published.
//!
//! Invariants: two connections of one process, alive or not, never have the same id, and without
//! the key an id reveals nothing: not the key, the connection's place, or the next id. It is a
//! block cipher of core, place and generation, and so one to one.

#[cfg(test)]
mod tests;

use crate::contract::key::ConnectionKey;
use crate::hashing::Key;
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};

/// Bytes of a client id, in the form of a UUID.
pub const CLIENT_ID_BYTES: usize = 36;

/// Makes the client ids of one process.
#[derive(Debug)]
pub struct ClientIds(EncryptingKey);

impl ClientIds {
    /// The key belongs to the process, so that ids of two processes, or after a restart, do not
    /// collide.
    ///
    /// # Panics
    /// If the crypto library has no AES, which it always has.
    #[must_use]
    pub fn new(key: Key) -> ClientIds {
        let key = UnboundCipherKey::new(&AES_128, &key.0).expect("it has AES's length");
        // Only one block is encrypted, never the same twice, so the weakness of this mode does not
        // matter.
        ClientIds(EncryptingKey::ecb(key).expect("AES encrypts blocks"))
    }

    /// A connection's client id.
    ///
    /// # Panics
    /// If a block cipher does not accept a block.
    #[must_use]
    pub fn of(&self, key: ConnectionKey) -> ClientId {
        ClientId::from(self.bytes(key))
    }

    /// The same as bytes, as publications carry it.
    ///
    /// # Panics
    /// As `of`.
    #[must_use]
    pub fn bytes(&self, key: ConnectionKey) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&key.core.to_le_bytes());
        bytes[4..8].copy_from_slice(&key.index.to_le_bytes());
        bytes[8..12].copy_from_slice(&key.generation.to_le_bytes());
        let context = EncryptionContext::None;
        self.0.less_safe_encrypt(&mut bytes, context).expect("a block is encrypted");
        bytes
    }
}

/// The text of a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId([u8; CLIENT_ID_BYTES]);

impl ClientId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl From<[u8; 16]> for ClientId {
    fn from(bytes: [u8; 16]) -> ClientId {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; CLIENT_ID_BYTES];
        let mut at = 0;
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        ClientId(text)
    }
}
