//! A transport that is not identity, to keep the seam honest until TLS stands there: plain bytes
//! are cut into records, each with its length and every byte changed.
//!
//! Must not know frames. Invariant: records are small, so that frames span records and records span
//! receives; the n-th record opens with the n-th key alone, so a lost, doubled or swapped one is
//! noticed.

use crate::transport::{Transport, Unreadable};

/// Bytes of plain text in one record, at most.
const RECORD_BYTES: usize = 300;
/// Length (u16, big endian) and a check byte.
const HEAD: usize = 3;

/// The transport; its records hold at most `record_bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    record_bytes: usize,
}

impl Record {
    /// Records of at most `record_bytes`, within 1..=300.
    #[must_use]
    pub fn new(record_bytes: usize) -> Record {
        Record { record_bytes: record_bytes.clamp(1, RECORD_BYTES) }
    }
}

/// One side of one connection.
#[derive(Debug, Default)]
pub struct State {
    /// Wire bytes of a record that is not whole yet.
    partial: Vec<u8>,
    opened: u32,
    sealed: u32,
}

/// The key of the n-th record: it changes every byte, differently in each record.
fn key(number: u32) -> u8 {
    (number.wrapping_mul(0x9E37_79B1) >> 24) as u8 ^ 0x5A
}

impl Transport for Record {
    type State = State;
    const IDENTITY: bool = false;

    fn open(&self, state: &mut State, wire: &[u8], plain: &mut Vec<u8>) -> Result<(), Unreadable> {
        state.partial.extend_from_slice(wire);
        let mut at = 0;
        while let Some(head) = state.partial.get(at..at + HEAD) {
            let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
            let key = key(state.opened);
            if length == 0 || length > RECORD_BYTES || head[2] != key {
                return Err(Unreadable);
            }
            let Some(body) = state.partial.get(at + HEAD..at + HEAD + length) else { break };
            plain.extend(body.iter().map(|byte| byte ^ key));
            at += HEAD + length;
            state.opened = state.opened.wrapping_add(1);
        }
        state.partial.drain(..at);
        Ok(())
    }

    fn seal(&self, state: &mut State, plain: &[u8], wire: &mut Vec<u8>) {
        for piece in plain.chunks(self.record_bytes) {
            let key = key(state.sealed);
            wire.extend_from_slice(&(piece.len() as u16).to_be_bytes());
            wire.push(key);
            wire.extend(piece.iter().map(|byte| byte ^ key));
            state.sealed = state.sealed.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_however_it_is_cut() {
        let record = Record::new(7);
        let (mut here, mut there) = (State::default(), State::default());
        let plain: Vec<u8> = (0..1_000).map(|n| (n % 251) as u8).collect();
        let mut wire = Vec::new();
        for piece in plain.chunks(13) {
            record.seal(&mut here, piece, &mut wire);
        }
        for cut in [1, 2, 5, 64] {
            there = State::default();
            let mut opened = Vec::new();
            for piece in wire.chunks(cut) {
                record.open(&mut there, piece, &mut opened).unwrap();
            }
            assert_eq!(opened, plain);
        }
        assert!(there.partial.is_empty());
    }

    #[test]
    fn a_lost_record_is_noticed() {
        let record = Record::new(10);
        let mut wire = Vec::new();
        record.seal(&mut State::default(), &[1; 40], &mut wire);
        wire.drain(..HEAD + 10);
        let opened = record.open(&mut State::default(), &wire, &mut Vec::new());
        assert_eq!(opened, Err(Unreadable));
    }
}
