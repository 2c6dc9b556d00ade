//! The unsent bytes of a slow connection: whole frames in order, and control frames that overtake
//! them at frame boundaries (rules 19, 20 and 24).
//!
//! Frames are in blocks of up to `CHUNK_BYTES`, each of which becomes a chunk unchanged: nothing is
//! copied twice, and a block's memory is freed once it is sent. Must not know sockets. Invariant: a
//! chunk that was handed out ends on a frame boundary, or inside a frame that is longer than a
//! chunk, or inside a recovery answer, and then its rest follows next.

#[cfg(test)]
mod tests;

use crate::edge::output::arena::{Class, NO_CHANNEL};
use crate::edge::output::replay::{Replay, Replayed};
use crate::limits::{CHUNK_BYTES, CONTROL_BACKLOG_BYTES};
use crate::rules::sabotage;
use bytes::Bytes;
use std::collections::VecDeque;

/// Size of the first block, unless its first frame is longer. Each next block has twice as much
/// room, up to a chunk.
const FIRST_BLOCK_BYTES: usize = 1 << 10;

/// Neighbouring frames of one class and channel.
#[derive(Clone, Copy, Debug)]
struct Run {
    bytes: u32,
    class: Class,
    channel: u32,
}

/// Waiting frames that are sent as one chunk.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// It begins or ends inside a frame, so no other frame is added to it.
    sealed: bool,
    /// It ends inside a frame, whose rest is the next block.
    cut: bool,
    /// It belongs to the one large reply that does not count against the bound.
    exempt: bool,
}

impl Block {
    fn with_room(bytes: usize) -> Block {
        let bytes = Vec::with_capacity(bytes);
        Block { bytes, runs: Vec::new(), sealed: false, cut: false, exempt: false }
    }

    /// Its memory.
    fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<Run>()
    }

    fn takes(&self, bytes: usize) -> bool {
        !self.sealed && self.bytes.capacity() - self.bytes.len() >= bytes
    }

    fn push(&mut self, frame: &[u8], class: Class, channel: u32) {
        self.bytes.extend_from_slice(frame);
        let bytes = u32::try_from(frame.len()).expect("a frame is bounded");
        match self.runs.last_mut() {
            Some(last) if (last.class, last.channel) == (class, channel) => last.bytes += bytes,
            _ => self.runs.push(Run { bytes, class, channel }),
        }
    }

    /// Removes the publications of a channel; returns their bytes.
    fn drop_publications(&mut self, of: u32) -> usize {
        let dropped = |run: &Run| run.class == Class::Publication && run.channel == of;
        if !self.runs.iter().any(dropped) {
            return 0;
        }
        let before = self.bytes.len();
        let mut kept = Vec::with_capacity(before);
        let mut at = 0;
        self.runs.retain(|run| {
            let bytes = &self.bytes[at..at + run.bytes as usize];
            at += bytes.len();
            if !dropped(run) {
                kept.extend_from_slice(bytes);
            }
            !dropped(run)
        });
        self.bytes = kept;
        before - self.bytes.len()
    }
}

/// Part of a backlog, in order.
#[derive(Debug)]
enum Piece {
    Block(Block),
    Replay(Box<Replay>),
}

/// One connection's backlog.
#[derive(Debug, Default)]
pub struct Backlog {
    pieces: VecDeque<Piece>,
    control: Vec<u8>,
    /// Bytes of the chunk that the driver has, 0 if there is none.
    in_flight: usize,
    /// Memory of that chunk.
    in_flight_held: usize,
    /// Bytes of recovery answers in it, and the subscriptions that these begin.
    replay_in_flight: usize,
    replays_in_flight: Vec<Replayed>,
    /// The stream is inside a frame: its rest must be sent next.
    mid_frame: bool,
    /// Bytes of waiting frames.
    waiting: usize,
    /// Memory of their blocks.
    blocks_held: usize,
    /// Size of the last block.
    block_bytes: usize,
    /// Bytes of waiting recovery answers.
    replaying: usize,
    /// Bytes of one large reply, waiting or in flight, that do not count against the bound.
    answer: usize,
    answer_in_flight: usize,
    /// A chunk was sent since the last call of `take_moved`.
    moved: bool,
}

impl Backlog {
    /// A backlog after a chunk that the driver has already.
    #[must_use]
    pub fn behind(in_flight: usize) -> Backlog {
        Backlog { in_flight, in_flight_held: in_flight, ..Backlog::default() }
    }

    /// Appends a whole frame.
    pub fn push(&mut self, frame: &[u8], class: Class, channel: u32) {
        if frame.len() > CHUNK_BYTES {
            return self.push_large(frame, class, channel);
        }
        self.waiting += frame.len();
        if let Some(Piece::Block(block)) = self.pieces.back_mut()
            && block.takes(frame.len())
        {
            self.blocks_held -= block.held_bytes();
            block.push(frame, class, channel);
            self.blocks_held += block.held_bytes();
            return;
        }
        let room = (2 * self.block_bytes).clamp(FIRST_BLOCK_BYTES, CHUNK_BYTES).max(frame.len());
        self.block_bytes = room;
        let mut block = Block::with_room(room);
        block.push(frame, class, channel);
        self.push_block(block);
    }

    /// Appends a frame that is longer than a chunk, block by block.
    fn push_large(&mut self, frame: &[u8], class: Class, channel: u32) {
        self.waiting += frame.len();
        // A client that asks for a large answer is not slow because of it. Only one is exempt at a
        // time, since otherwise a client could ask on and on without reading.
        let exempt = class == Class::Reply && self.answer == 0;
        if exempt {
            self.answer = frame.len();
        }
        let mut parts = frame.chunks(CHUNK_BYTES).peekable();
        while let Some(part) = parts.next() {
            let mut block = Block::with_room(part.len());
            block.push(part, class, channel);
            (block.sealed, block.cut, block.exempt) = (true, parts.peek().is_some(), exempt);
            self.push_block(block);
        }
    }

    fn push_block(&mut self, block: Block) {
        self.blocks_held += block.held_bytes();
        self.pieces.push_back(Piece::Block(block));
    }

    /// Starts with the rest of a frame that was begun inline.
    pub fn push_rest(&mut self, rest: &[u8], class: Class, channel: u32) {
        assert!(self.is_empty(), "only the first frame of a backlog was begun");
        self.mid_frame = true;
        self.push(rest, class, channel);
        if let Some(Piece::Block(block)) = self.pieces.back_mut() {
            block.sealed = true;
        }
    }

    /// Appends a recovery answer, which is framed as the socket drains.
    pub fn push_replay(&mut self, replay: Box<Replay>) {
        self.replaying += replay.held_bytes();
        self.pieces.push_back(Piece::Replay(replay));
    }

    /// Queues a control frame for the next frame boundary. False: there are too many already.
    #[must_use]
    pub fn push_control(&mut self, frame: &[u8]) -> bool {
        if self.control.len() + frame.len() > CONTROL_BACKLOG_BYTES {
            return false;
        }
        self.control.extend_from_slice(frame);
        true
    }

    /// Bytes that count against the connection's bound.
    #[must_use]
    pub fn bytes(&self) -> usize {
        sabotage!(BigAnswer => return self.waiting + self.in_flight + self.replaying);
        self.waiting + self.in_flight - self.replay_in_flight - self.answer
    }

    /// All memory that it takes or references, which the worker's bound counts.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.blocks_held + self.in_flight_held + self.replaying + self.control.capacity()
    }

    /// Bytes that wait or are in flight, of any kind.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.waiting + self.in_flight + self.replaying + self.control.len()
    }

    /// Has everything been sent?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.control.is_empty() && self.in_flight == 0
    }

    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.in_flight > 0
    }

    /// The chunk in flight was sent.
    pub fn sent(&mut self) {
        assert!(self.in_flight > 0, "nothing was in flight");
        self.in_flight = 0;
        self.in_flight_held = 0;
        self.replay_in_flight = 0;
        self.replays_in_flight.clear();
        self.answer -= std::mem::take(&mut self.answer_in_flight);
        self.moved = true;
    }

    /// Was a chunk sent since the last call? Then its reader makes progress.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The next chunk for the driver: control frames at a frame boundary, else the next block, or
    /// the next part of a recovery answer.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        assert!(self.in_flight == 0, "one chunk at a time");
        let may_overtake = !self.mid_frame;
        sabotage!(CtlCut: may_overtake = true);
        let chunk = if may_overtake && !self.control.is_empty() {
            std::mem::take(&mut self.control)
        } else {
            match self.pieces.pop_front()? {
                Piece::Block(block) => self.take_block(block),
                Piece::Replay(replay) => self.take_part(replay),
            }
        };
        self.in_flight = chunk.len();
        self.in_flight_held = chunk.capacity();
        Some(Bytes::from(chunk))
    }

    fn take_block(&mut self, block: Block) -> Vec<u8> {
        self.blocks_held -= block.held_bytes();
        self.waiting -= block.bytes.len();
        self.mid_frame = block.cut;
        if block.exempt {
            self.answer_in_flight = block.bytes.len();
        }
        block.bytes
    }

    fn take_part(&mut self, mut replay: Box<Replay>) -> Vec<u8> {
        self.replaying -= replay.held_bytes();
        let mut chunk = Vec::new();
        let done = replay.write(&mut chunk, CHUNK_BYTES);
        chunk.shrink_to_fit();
        self.replay_in_flight = chunk.len();
        self.replays_in_flight.push(replay.subscription());
        self.mid_frame = !done;
        if !done {
            self.replaying += replay.held_bytes();
            self.pieces.push_front(Piece::Replay(replay));
        }
        chunk
    }

    /// Drops the publications of a channel that wait after a recovery answer; returns whether there
    /// were any.
    pub fn drop_publications(&mut self, of: u32) -> bool {
        let mut dropped = 0;
        // The rest of a frame that was begun cannot be dropped.
        let mut begun = self.mid_frame && matches!(self.pieces.front(), Some(Piece::Block(_)));
        for piece in &mut self.pieces {
            let Piece::Block(block) = piece else { continue };
            if begun {
                begun = block.cut;
                continue;
            }
            self.blocks_held -= block.held_bytes();
            dropped += block.drop_publications(of);
            self.blocks_held += block.held_bytes();
        }
        let mut freed = 0;
        self.pieces.retain(|piece| match piece {
            Piece::Block(block) if block.bytes.is_empty() => {
                freed += block.held_bytes();
                false
            }
            _ => true,
        });
        self.blocks_held -= freed;
        self.waiting -= dropped;
        dropped > 0
    }

    /// Subscriptions whose recovery answers wait here, or are being sent.
    pub fn replayed(&self) -> impl Iterator<Item = Replayed> {
        let waiting = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Replay(replay) => Some(replay.subscription()),
            Piece::Block(_) => None,
        });
        waiting.chain(self.replays_in_flight.iter().copied())
    }

    /// Discards everything that waits and makes `close` the last frame, after the one that was
    /// begun. A recovery answer that has begun cannot be abandoned: then there is no place for a
    /// close frame, and the result is false.
    #[must_use]
    pub fn discard_for_close(&mut self, close: &[u8]) -> bool {
        let mut begun = self.mid_frame;
        if begun && !matches!(self.pieces.front(), Some(Piece::Block(_))) {
            return false;
        }
        self.pieces.retain_mut(|piece| {
            let Piece::Block(block) = piece else { return false };
            block.exempt = false;
            let kept = begun;
            begun &= block.cut;
            kept
        });
        self.control = Vec::new();
        (self.answer, self.answer_in_flight) = (0, 0);
        (self.waiting, self.blocks_held, self.replaying) = (0, 0, 0);
        for piece in &self.pieces {
            if let Piece::Block(block) = piece {
                self.waiting += block.bytes.len();
                self.blocks_held += block.held_bytes();
            }
        }
        self.block_bytes = 0;
        self.push(close, Class::Control, NO_CHANNEL);
        true
    }
}
