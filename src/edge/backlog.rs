//! What a slow connection has not been sent yet: whole frames in order, and control frames that
//! overtake them at frame boundaries (rules 19, 20 and 24).
//!
//! Must not know sockets. Invariant: a chunk that was handed out ends on a frame boundary, or
//! inside a recovery answer, and then nothing but its rest follows.

use super::output::{Class, NO_CHANNEL};
use super::replay::{Replay, Replayed};
use crate::limits::{CHUNK_BYTES, CONTROL_BACKLOG_BYTES};
use crate::rules::{Rule, holds};
use bytes::Bytes;
use std::collections::VecDeque;

/// A frame that waits.
#[derive(Clone, Copy, Debug)]
struct Frame {
    bytes: u32,
    class: Class,
    channel: u32,
    /// It is the one large reply that does not count against the bound.
    exempt: bool,
}

/// Part of a backlog, in order.
#[derive(Debug)]
enum Piece {
    Frames { bytes: Vec<u8>, frames: VecDeque<Frame>, taken: usize },
    Replay(Box<Replay>),
}

/// One connection's backlog.
#[derive(Debug, Default)]
pub struct Backlog {
    pieces: VecDeque<Piece>,
    control: Vec<u8>,
    /// Bytes of the chunk that the driver has, 0 when it has none.
    in_flight: usize,
    /// Those of them that are recovery answers', and the subscriptions that these begin.
    replay_in_flight: usize,
    replays_in_flight: Vec<Replayed>,
    /// The stream stands inside a frame: its rest is first, and nothing may come before that.
    mid_frame: bool,
    /// Bytes of waiting frames.
    waiting: usize,
    /// Bytes of waiting recovery answers.
    replaying: usize,
    /// Bytes of one large reply, waiting or in flight, that do not count against the bound.
    answer: usize,
    answer_in_flight: bool,
}

impl Backlog {
    /// A backlog behind a chunk that the driver has already.
    #[must_use]
    pub fn behind(in_flight: usize) -> Backlog {
        Backlog { in_flight, ..Backlog::default() }
    }

    /// Appends a whole frame.
    pub fn push(&mut self, frame: &[u8], class: Class, channel: u32) {
        self.waiting += frame.len();
        let size = u32::try_from(frame.len()).expect("a frame is bounded");
        // A client that asks for a large answer is not slow because it gets it; but one at a time,
        // or asking on and on without reading would be free.
        let exempt = class == Class::Reply && frame.len() > CHUNK_BYTES && self.answer == 0;
        if exempt {
            self.answer = frame.len();
        }
        let meta = Frame { bytes: size, class, channel, exempt };
        if let Some(Piece::Frames { bytes, frames, .. }) = self.pieces.back_mut() {
            bytes.extend_from_slice(frame);
            frames.push_back(meta);
        } else {
            let frames = VecDeque::from([meta]);
            self.pieces.push_back(Piece::Frames { bytes: frame.to_vec(), frames, taken: 0 });
        }
    }

    /// Starts with the rest of a frame that was begun inline.
    pub fn push_rest(&mut self, rest: &[u8], class: Class, channel: u32) {
        assert!(self.is_empty(), "only the first frame of a backlog was begun");
        self.mid_frame = true;
        self.push(rest, class, channel);
    }

    /// Appends a recovery answer; it is framed as the socket drains.
    pub fn push_replay(&mut self, replay: Box<Replay>) {
        self.replaying += replay.held_bytes();
        self.pieces.push_back(Piece::Replay(replay));
    }

    /// Lets a control frame overtake at the next frame boundary. False: there are too many already.
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
        if !holds(Rule::BigAnswer) {
            return self.waiting + self.in_flight + self.replaying;
        }
        self.waiting + self.in_flight - self.replay_in_flight - self.answer
    }

    /// All bytes it holds or refers to; what the worker's bound counts.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
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

    /// The chunk in flight went out.
    pub fn sent(&mut self) {
        assert!(self.in_flight > 0, "nothing was in flight");
        self.in_flight = 0;
        self.replay_in_flight = 0;
        self.replays_in_flight.clear();
        if std::mem::take(&mut self.answer_in_flight) {
            self.answer = 0;
        }
    }

    /// The next chunk for the driver: control frames first where a frame boundary is, then whole
    /// frames up to `CHUNK_BYTES`, or the next part of a recovery answer.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        assert!(self.in_flight == 0, "one chunk at a time");
        let mut chunk = Vec::new();
        if !holds(Rule::CtlCut) {
            chunk.append(&mut self.control);
        }
        if self.mid_frame && matches!(self.pieces.front(), Some(Piece::Frames { .. })) {
            self.take_frame(&mut chunk);
            self.mid_frame = false;
        }
        if !self.mid_frame {
            chunk.append(&mut self.control);
        }
        while chunk.len() < CHUNK_BYTES {
            match self.pieces.front_mut() {
                None => break,
                Some(Piece::Replay(replay)) => {
                    self.replaying -= replay.held_bytes();
                    let before = chunk.len();
                    let done = replay.write(&mut chunk, CHUNK_BYTES);
                    self.replay_in_flight += chunk.len() - before;
                    self.replays_in_flight.push(replay.subscription());
                    self.mid_frame = !done;
                    if !done {
                        self.replaying += replay.held_bytes();
                        break;
                    }
                    self.pieces.pop_front();
                    // Here at the latest: a close frame may be behind, and nothing follows that.
                    chunk.append(&mut self.control);
                }
                Some(Piece::Frames { .. }) => self.take_frame(&mut chunk),
            }
        }
        self.in_flight = chunk.len();
        (!chunk.is_empty()).then(|| Bytes::from(chunk))
    }

    /// Moves the first frame of the first piece to a chunk.
    fn take_frame(&mut self, chunk: &mut Vec<u8>) {
        let Some(Piece::Frames { bytes, frames, taken }) = self.pieces.front_mut() else { return };
        if let Some(frame) = frames.pop_front() {
            let size = frame.bytes as usize;
            chunk.extend_from_slice(&bytes[*taken..*taken + size]);
            *taken += size;
            self.waiting -= size;
            self.answer_in_flight |= frame.exempt;
        }
        if frames.is_empty() {
            self.pieces.pop_front();
        } else if *taken >= CHUNK_BYTES && *taken >= bytes.len() / 2 {
            // A connection that is always a little behind never empties the piece.
            bytes.drain(..*taken);
            *taken = 0;
        }
    }

    /// Drops the publications of a channel that wait behind a recovery answer; gives whether any
    /// did.
    pub fn drop_publications(&mut self, of: u32) -> bool {
        let mut dropped = 0;
        let mut mid_frame = self.mid_frame;
        for piece in &mut self.pieces {
            let Piece::Frames { bytes, frames, taken } = piece else { continue };
            // The rest of a frame that was begun cannot be dropped.
            let mut begun = std::mem::take(&mut mid_frame);
            let mut kept = Vec::with_capacity(bytes.len() - *taken);
            let mut at = *taken;
            frames.retain(|frame| {
                let size = frame.bytes as usize;
                let first = std::mem::take(&mut begun);
                let keep = first || frame.class != Class::Publication || frame.channel != of;
                if keep {
                    kept.extend_from_slice(&bytes[at..at + size]);
                } else {
                    dropped += size;
                }
                at += size;
                keep
            });
            *bytes = kept;
            *taken = 0;
        }
        self.waiting -= dropped;
        dropped > 0
    }

    /// Subscriptions whose recovery answers wait here, or are on their way.
    pub fn replayed(&self) -> impl Iterator<Item = Replayed> {
        let waiting = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Replay(replay) => Some(replay.subscription()),
            Piece::Frames { .. } => None,
        });
        waiting.chain(self.replays_in_flight.iter().copied())
    }

    /// Discards all that waits and lets `close` be the last frame, behind the one that was begun. A
    /// recovery answer that has begun cannot be left: then there is no place for a close frame, and
    /// the answer is false.
    #[must_use]
    pub fn discard_for_close(&mut self, close: &[u8]) -> bool {
        let mut rest = Vec::new();
        if self.mid_frame {
            if !matches!(self.pieces.front(), Some(Piece::Frames { .. })) {
                return false;
            }
            self.take_frame(&mut rest);
        }
        self.pieces.clear();
        self.control.clear();
        self.answer = 0;
        self.answer_in_flight = false;
        self.waiting = 0;
        self.replaying = 0;
        if !rest.is_empty() {
            self.push(&rest, Class::Reply, NO_CHANNEL);
        }
        self.push(close, Class::Control, NO_CHANNEL);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };
    use crate::codec::command::SubscribeResult;
    use crate::home::block::Block;
    use crate::home::envelope::Placed;

    #[test]
    fn control_overtakes_between_frames() {
        let mut backlog = Backlog::behind(7);
        backlog.push(b"[one]", Class::Publication, 1);
        backlog.push(b"[two]", Class::Reply, NO_CHANNEL);
        assert!(backlog.push_control(b"<ping>"));
        assert_eq!((backlog.bytes(), backlog.is_empty()), (17, false));
        backlog.sent();
        assert_eq!(backlog.next_chunk().unwrap(), b"<ping>[one][two]".as_slice());
        backlog.sent();
        assert!(backlog.next_chunk().is_none() && backlog.is_empty());
    }

    #[test]
    fn the_rest_of_a_frame_comes_before_everything() {
        let mut backlog = Backlog::default();
        backlog.push_rest(b"rest]", Class::Publication, 1);
        backlog.push(b"[two]", Class::Publication, 1);
        assert!(backlog.push_control(b"<ping>") && backlog.drop_publications(1));
        assert_eq!(backlog.next_chunk().unwrap(), b"rest]<ping>".as_slice());

        let mut backlog = Backlog::default();
        backlog.push_rest(b"rest]", Class::Publication, 1);
        backlog.push(b"[two]", Class::Publication, 1);
        assert!(backlog.discard_for_close(b"<close>"));
        assert_eq!(backlog.next_chunk().unwrap(), b"rest]<close>".as_slice());
    }

    #[test]
    fn a_ping_behind_a_recovery_answer_comes_before_the_close() {
        let block = |size| Block::plain("c", &vec![b'1'; size], ZERO);
        let missed = [(1, block(CHUNK_BYTES)), (2, block(1))];
        let missed = missed.map(|(offset, block)| Placed { offset, block }).into();
        let result = SubscribeResult::default();
        let of = Replayed { channel: 1, sequence: 1 };
        let mut backlog = Backlog::default();
        backlog.push_replay(Box::new(Replay::new(
            crate::codec::Codec::Json,
            1,
            &result,
            missed,
            of,
            0,
        )));
        assert!(backlog.next_chunk().is_some() && backlog.mid_frame);
        assert!(backlog.push_control(b"<ping>"));
        backlog.push(b"<close>", Class::Control, NO_CHANNEL);
        let mut sent = Vec::new();
        backlog.sent();
        while let Some(chunk) = backlog.next_chunk() {
            sent.extend_from_slice(&chunk);
            backlog.sent();
        }
        assert!(sent.ends_with(b"<ping><close>"));
    }

    #[test]
    fn one_large_reply_is_not_held_against_its_client() {
        let mut backlog = Backlog::default();
        let large = vec![b'r'; 4 * CHUNK_BYTES];
        backlog.push(&large, Class::Reply, NO_CHANNEL);
        backlog.push(b"[next]", Class::Publication, 1);
        assert_eq!((backlog.bytes(), backlog.held_bytes()), (6, large.len() + 6));
        backlog.push(&large, Class::Reply, NO_CHANNEL);
        assert_eq!(backlog.bytes(), large.len() + 6, "the second one counts");
        backlog.next_chunk().unwrap();
        assert_eq!(backlog.bytes(), large.len() + 6);
        backlog.sent();
        backlog.next_chunk().unwrap();
        backlog.sent();
        assert!(backlog.is_empty() && backlog.bytes() == 0);
    }

    #[test]
    fn control_frames_are_bounded() {
        let mut backlog = Backlog::behind(1);
        let frame = [0; 100];
        let taken = (0..100).filter(|_| backlog.push_control(&frame)).count();
        assert_eq!(taken, CONTROL_BACKLOG_BYTES / frame.len());
    }

    #[test]
    fn a_chunk_holds_whole_frames() {
        let mut backlog = Backlog::default();
        for number in 0..100_u8 {
            backlog.push(&[number; 1_000], Class::Publication, 1);
        }
        let mut all = Vec::new();
        while let Some(chunk) = backlog.next_chunk() {
            assert_eq!(chunk.len() % 1_000, 0);
            all.extend_from_slice(&chunk);
            backlog.sent();
        }
        assert_eq!(all.len(), 100_000);
        assert!(
            all.chunks(1_000).enumerate().all(|(number, frame)| usize::from(frame[0]) == number)
        );
    }

    #[test]
    fn bytes_that_went_out_are_given_back_however_long_it_stays_behind() {
        let mut backlog = Backlog::default();
        let frame = [7; 1_000];
        (0..200).for_each(|_| backlog.push(&frame, Class::Publication, 1));
        for _ in 0..1_000 {
            let chunk = backlog.next_chunk().unwrap();
            backlog.sent();
            (0..chunk.len() / frame.len())
                .for_each(|_| backlog.push(&frame, Class::Publication, 1));
        }
        let Some(Piece::Frames { bytes, .. }) = backlog.pieces.front() else { panic!("it waits") };
        assert_eq!(backlog.waiting, 200_000);
        assert!(bytes.len() < 3 * 200_000, "{} bytes for 200,000 that wait", bytes.len());
    }

    #[test]
    fn one_channels_publications_can_be_dropped() {
        let mut backlog = Backlog::behind(1);
        backlog.push(b"a1", Class::Publication, 1);
        backlog.push(b"b1", Class::Publication, 2);
        backlog.push(b"r1", Class::Reply, NO_CHANNEL);
        backlog.push(b"a2", Class::Publication, 1);
        assert!(backlog.drop_publications(1) && !backlog.drop_publications(1));
        assert_eq!(backlog.bytes(), 5);
        backlog.sent();
        assert_eq!(backlog.next_chunk().unwrap(), b"b1r1".as_slice());
    }
}
