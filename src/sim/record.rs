//! A transport that is not identity, so that the seam is tested before TLS: a handshake of two
//! round trips, then bytes in small records that are masked and numbered, with tickets in between
//! that the server sends by itself.
//!
//! On the wire everything is a message: its kind, the length of its body (u16, big endian), a check
//! byte and the body. `ends` is the client's side, with code of its own. Must not know frames.
//! Invariant: records are small, so that frames span records and records span receives; the n-th
//! record opens with the n-th key alone, so one that is lost, doubled or overtaken is noticed.

use crate::transport::{Failure, Opened, Session, Transport};

/// Bytes of a message's body, at most.
const BODY_BYTES: usize = 300;
/// Kind, length, and check byte.
const HEAD: usize = 4;
/// A ticket follows so many records of the peer.
const TICKET_EVERY: u32 = 8;
/// What a handshake costs, in nanoseconds.
const HANDSHAKE_NS: u32 = 20_000;

const HELLO: u8 = 1;
const ANSWER: u8 = 2;
const PROOF: u8 = 3;
const DONE: u8 = 4;
const DATA: u8 = 5;
const TICKET: u8 = 6;
const GOODBYE: u8 = 7;
const ALERT: u8 = 8;

/// The transport. Connections of the first listener are plain, all others have records.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    record_bytes: usize,
    wears_after: u32,
    begun: u64,
}

impl Record {
    /// Records of at most `record_bytes`, within 1..=300; a session seals up to `wears_after`.
    #[must_use]
    pub fn new(record_bytes: usize, wears_after: u32) -> Record {
        Record { record_bytes: record_bytes.clamp(1, BODY_BYTES), wears_after, begun: 0 }
    }
}

impl Transport for Record {
    type Session = ServerEnd;

    fn begin(&mut self, listener: u8) -> Option<ServerEnd> {
        if listener == 0 {
            return None;
        }
        self.begun += 1;
        Some(ServerEnd {
            stage: Stage::Hello { answered: false },
            partial: Vec::new(),
            nonce: mixed(self.begun, 0x5EED),
            secret: 0,
            opened: 0,
            sealed: 0,
            record_bytes: self.record_bytes,
            wears_after: self.wears_after,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The peer's hello is awaited; the head of the answer goes out with the first of it.
    Hello {
        answered: bool,
    },
    /// Its proof.
    Proof,
    Open,
    /// The peer said goodbye.
    Closed,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct ServerEnd {
    stage: Stage,
    /// Wire bytes of a message that is not whole yet.
    partial: Vec<u8>,
    nonce: u64,
    secret: u64,
    opened: u32,
    sealed: u32,
    record_bytes: usize,
    wears_after: u32,
}

/// Two numbers as one that tells nothing of either.
fn mixed(a: u64, b: u64) -> u64 {
    let mixed = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.rotate_left(23);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// The key of the n-th record of one direction: it changes every byte, differently in each record.
fn key(secret: u64, number: u32, from_server: bool) -> u8 {
    let key = mixed(secret ^ u64::from(from_server), u64::from(number)) >> 56;
    u8::try_from(key).expect("eight bits")
}

/// The check byte of a message before there are keys.
fn early(kind: u8) -> u8 {
    0xA5 ^ kind
}

fn put(kind: u8, check: u8, body: &[u8], mask: u8, wire: &mut Vec<u8>) {
    let length = u16::try_from(body.len()).expect("a body is short");
    wire.push(kind);
    wire.extend_from_slice(&length.to_be_bytes());
    wire.push(check);
    wire.extend(body.iter().map(|byte| byte ^ mask));
}

impl ServerEnd {
    /// Appends the next sealed message.
    fn put_sealed(&mut self, kind: u8, body: &[u8], wire: &mut Vec<u8>) {
        let key = key(self.secret, self.sealed, true);
        put(kind, key, body, key, wire);
        self.sealed = self.sealed.wrapping_add(1);
    }

    /// Takes the messages that are whole off the front of what came.
    fn messages(
        &mut self,
        came: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<Opened, Failure> {
        let (mut at, mut opened) = (0, Opened::default());
        while let Some(&[kind, high, low, check]) = came.get(at..at + HEAD) {
            let length = usize::from(u16::from_be_bytes([high, low]));
            self.check(kind, check, length)?;
            if self.stage == (Stage::Hello { answered: false }) {
                // What it knows already goes out, before the hello is whole.
                own.extend_from_slice(&[ANSWER, 0, 8, early(ANSWER)]);
                self.stage = Stage::Hello { answered: true };
            }
            let Some(body) = came.get_mut(at + HEAD..at + HEAD + length) else { break };
            at += HEAD + length;
            match self.stage {
                Stage::Hello { .. } | Stage::Proof => {
                    opened.work_ns += self.shake(kind, body, own)?;
                }
                Stage::Open => self.record(kind, body, plain, own)?,
                Stage::Closed => {}
            }
        }
        came.drain(..at);
        opened.is_closed = self.stage == Stage::Closed;
        Ok(opened)
    }

    /// Is a message's head as it must be, whether or not its body is there?
    fn check(&self, kind: u8, check: u8, length: usize) -> Result<(), Failure> {
        let fits = (1..=BODY_BYTES).contains(&length);
        match self.stage {
            Stage::Hello { .. } | Stage::Proof => {
                let due = if self.stage == Stage::Proof { PROOF } else { HELLO };
                let good = kind == due && check == early(kind) && length == 8;
                if good { Ok(()) } else { Err(Failure::Handshake) }
            }
            Stage::Open if fits && check == key(self.secret, self.opened, false) => Ok(()),
            Stage::Open => Err(Failure::Record),
            Stage::Closed => Ok(()),
        }
    }

    /// A message of the handshake. What it cost.
    fn shake(&mut self, kind: u8, body: &[u8], own: &mut Vec<u8>) -> Result<u32, Failure> {
        let number = u64::from_be_bytes(body.try_into().map_err(|_| Failure::Handshake)?);
        if kind == HELLO {
            self.secret = mixed(number, self.nonce);
            own.extend_from_slice(&self.nonce.to_be_bytes());
            self.stage = Stage::Proof;
            return Ok(0);
        }
        if number != mixed(self.secret, self.nonce) {
            return Err(Failure::Handshake);
        }
        put(DONE, early(DONE), &mixed(self.nonce, self.secret).to_be_bytes(), 0, own);
        self.stage = Stage::Open;
        self.put_sealed(TICKET, &self.opened.to_be_bytes(), own);
        Ok(HANDSHAKE_NS)
    }

    /// A record, whose key was checked.
    fn record(
        &mut self,
        kind: u8,
        body: &mut [u8],
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let key = key(self.secret, self.opened, false);
        self.opened = self.opened.wrapping_add(1);
        match kind {
            DATA => plain.extend(body.iter().map(|byte| *byte ^ key)),
            GOODBYE => self.stage = Stage::Closed,
            ALERT => return Err(Failure::Alert),
            _ => return Err(Failure::Record),
        }
        if self.opened.is_multiple_of(TICKET_EVERY) && self.stage == Stage::Open {
            self.put_sealed(TICKET, &self.opened.to_be_bytes(), own);
        }
        Ok(())
    }
}

impl Session for ServerEnd {
    fn open(
        &mut self,
        wire: &mut [u8],
        plain: &mut Vec<u8>,
        own: &mut Vec<u8>,
    ) -> Result<Opened, Failure> {
        let mut came = std::mem::take(&mut self.partial);
        came.extend_from_slice(wire);
        let opened = self.messages(&mut came, plain, own);
        self.partial = came;
        self.partial.shrink_to_fit();
        assert!(opened.is_err() || self.partial.len() < HEAD + BODY_BYTES, "whole ones are taken");
        match opened {
            Err(Failure::Handshake) => put(ALERT, early(ALERT), &[1], 0, own),
            Err(Failure::Record) => self.put_sealed(ALERT, &[2], own),
            Ok(_) | Err(Failure::Alert | Failure::Unread) => {}
        }
        opened
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closed)
    }

    fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        assert!(self.is_open(), "nothing is sealed before the handshake is done");
        if self.sealed >= self.wears_after {
            return Err(Failure::Record);
        }
        for piece in plain.chunks(self.record_bytes) {
            self.put_sealed(DATA, piece, wire);
        }
        Ok(())
    }

    fn close(&mut self, wire: &mut Vec<u8>) {
        self.put_sealed(GOODBYE, &[0], wire);
    }

    fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
