//! The content of a message: its sender and number, and bytes that are derived from both.
//!
//! Must not know dialects. Invariant: a stamp is accepted only if every byte of it is as written.

use crate::rng::Rng;
use crate::rng::mix;

/// 16 hex digits of the sequence, 8 of the sender.
pub const HEAD: usize = 24;
const TABLE: usize = 1 << 16;

/// Stamps of one length.
pub struct Stamps {
    bytes: usize,
    /// Letters; a stamp's pattern is a piece of them.
    table: Vec<u8>,
}

impl Stamps {
    /// Stamps of `bytes`, at least `HEAD`.
    #[must_use]
    pub fn new(bytes: usize) -> Stamps {
        assert!(bytes >= HEAD);
        let mut rng = Rng::new(0xc0ffee);
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .";
        let table = (0..TABLE + bytes).map(|_| letters[rng.below(letters.len())]).collect();
        Stamps { bytes, table }
    }

    /// Bytes of each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn write(&self, out: &mut Vec<u8>, sender: u32, sequence: u64) {
        put_hex(out, sequence, 16);
        put_hex(out, u64::from(sender), 8);
        out.extend_from_slice(self.pattern(sender, sequence));
    }

    /// Sender and sequence of a stamp whose every byte is right.
    #[must_use]
    pub fn read(&self, stamp: &[u8]) -> Option<(u32, u64)> {
        if stamp.len() != self.bytes {
            return None;
        }
        let (sequence, rest) = stamp.split_at_checked(16)?;
        let (sender, pattern) = rest.split_at_checked(8)?;
        let (sequence, sender) = (hex(sequence)?, hex(sender)? as u32);
        (pattern == self.pattern(sender, sequence)).then_some((sender, sequence))
    }

    fn pattern(&self, sender: u32, sequence: u64) -> &[u8] {
        let start = mix(sequence ^ u64::from(sender) << 40) as usize % TABLE;
        &self.table[start..start + self.bytes - HEAD]
    }
}

fn put_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    let digit = |index: u32| b"0123456789abcdef"[(value >> (4 * index)) as usize & 15];
    out.extend((0..digits).rev().map(digit));
}

fn hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value, letter| {
        let digit = match letter {
            b'0'..=b'9' => letter - b'0',
            b'a'..=b'f' => letter - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_written_and_no_byte_of_it_may_change() {
        let stamps = Stamps::new(60);
        let mut out = Vec::new();
        stamps.write(&mut out, 0x1234_5678, 0x9abc);
        assert!(out.starts_with(b"0000000000009abc12345678"));
        assert_eq!(stamps.read(&out), Some((0x1234_5678, 0x9abc)));
        for index in 0..out.len() {
            let mut damaged = out.clone();
            damaged[index] ^= 1;
            assert_ne!(stamps.read(&damaged), Some((0x1234_5678, 0x9abc)), "byte {index}");
        }
        assert_eq!(stamps.read(&out[..59]), None);
    }
}
