//! The client id that a connection shows to others: derived, never stored.
//!
//! Invariant: two connections of one process, alive or not, never share one.

use crate::home::envelope::ConnectionKey;

/// Bytes of a client id, in the form of a UUID.
pub const CLIENT_ID_BYTES: usize = 36;

/// A connection's client id. `seed` is the process's own randomness, so that ids of two processes,
/// or of one started twice, do not meet.
#[must_use]
pub fn client_id(seed: u64, key: ConnectionKey) -> ClientId {
    let place = u64::from(key.core) << 32 | u64::from(key.index);
    let high = mix(seed ^ mix(place));
    let low = mix(u64::from(key.generation) ^ high.rotate_left(17)) ^ place;
    let mut bytes = [0; 16];
    // 64 bits of the process, 64 bits that tell its connections apart: a bijection of place and
    // generation for a given seed, because `mix` is one.
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
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

/// The text of a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId([u8; CLIENT_ID_BYTES]);

impl ClientId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

/// Scrambles a number, one to one (the finaliser of splitmix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_do_not_meet() {
        let mut seen = BTreeSet::new();
        for core in 0..4 {
            for index in 0..50 {
                for generation in 0..50 {
                    let id = client_id(7, ConnectionKey { core, index, generation });
                    assert!(seen.insert(id.as_str().to_owned()), "twice: {}", id.as_str());
                }
            }
        }
        let key = ConnectionKey { core: 1, index: 2, generation: 3 };
        assert_ne!(client_id(1, key), client_id(2, key));
        assert_eq!(client_id(1, key).as_str().matches('-').count(), 4);
    }
}
