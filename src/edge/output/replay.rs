//! A recovery answer that is being sent: framed piece by piece as the socket drains (rule 24), so
//! that 20,000 clients that reconnect at once hold references to blocks, not copies of history.
//!
//! Invariant: all that `write` appends is exactly one frame of the announced length.

use crate::codec::command::SubscribeResult;
use crate::codec::{Codec, Pieces};
use crate::contract::block::Placed;
use crate::edge::output::frames::{opcode, publication, publisher_id};
use crate::ws::frame;

/// The subscription that an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The edge's number of its channel, which may be reused once no connection here is in that
    /// channel.
    pub channel: u32,
    pub sequence: u32,
}

/// A subscribe reply with the publications that were missed.
#[derive(Debug)]
pub struct Replay {
    codec: Codec,
    /// Its receiver applies deltas, so payloads are sent unchanged.
    verbatim: bool,
    head: Vec<u8>,
    publications: Box<[Placed]>,
    next: usize,
    subscription: Replayed,
    /// Bytes of blocks that are still referenced.
    held: usize,
}

impl Replay {
    /// The answer to command `id`, which begins a subscription.
    #[must_use]
    pub fn new(
        codec: Codec,
        id: u32,
        result: &SubscribeResult<'_>,
        publications: Box<[Placed]>,
        subscription: Replayed,
    ) -> Replay {
        let mut bytes = 0;
        for (index, placed) in publications.iter().enumerate() {
            let id = publisher_id(&placed.block);
            let mut publication = publication(&placed.block, placed.offset, id.as_ref());
            publication.verbatim = result.delta;
            bytes += codec.piece_len(&publication, index == 0);
        }
        let pieces = Pieces { count: publications.len(), bytes };
        let mut start = Vec::with_capacity(128);
        codec.write_subscribe_head(&mut start, id, result, pieces);
        let length = start.len() + bytes + codec.subscribe_tail().len();
        let mut head = Vec::with_capacity(frame::header_len(length) + start.len());
        frame::write_header(&mut head, opcode(codec), length);
        head.append(&mut start);
        let held = publications.iter().map(|placed| placed.block.size()).sum();
        let verbatim = result.delta;
        Replay { codec, verbatim, head, publications, next: 0, subscription, held }
    }

    #[must_use]
    pub fn subscription(&self) -> Replayed {
        self.subscription
    }

    /// Bytes that it references and has not written.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held + self.head.len()
    }

    /// Appends the next part, until `chunk` holds `bytes_max` or more. True: that was the last.
    pub fn write(&mut self, chunk: &mut Vec<u8>, bytes_max: usize) -> bool {
        chunk.append(&mut self.head);
        while let Some(placed) = self.publications.get(self.next) {
            if chunk.len() >= bytes_max {
                return false;
            }
            let id = publisher_id(&placed.block);
            let mut publication = publication(&placed.block, placed.offset, id.as_ref());
            publication.verbatim = self.verbatim;
            self.codec.write_piece(chunk, &publication, self.next == 0);
            self.held -= placed.block.size();
            self.next += 1;
        }
        chunk.extend_from_slice(self.codec.subscribe_tail());
        true
    }
}
