//! Backlogs by hand: order, bounds, and what they say of their memory.

use super::*;
use crate::clock::Now;

const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };
use crate::codec::command::SubscribeResult;
use crate::contract::block::{Block, Placed};

/// All that waits, chunk by chunk.
fn drain(backlog: &mut Backlog) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while let Some(chunk) = backlog.next_chunk() {
        chunks.push(chunk);
        backlog.sent();
    }
    assert!(backlog.is_empty() && backlog.bytes() == 0 && backlog.held_bytes() == 0);
    chunks
}

#[test]
fn control_overtakes_between_frames() {
    let mut backlog = Backlog::behind(7);
    backlog.push(b"[one]", Class::Publication, 1);
    backlog.push(b"[two]", Class::Reply, NO_CHANNEL);
    assert!(backlog.push_control(b"<ping>"));
    assert_eq!((backlog.bytes(), backlog.is_empty()), (17, false));
    backlog.sent();
    assert_eq!(drain(&mut backlog), [b"<ping>".as_slice(), b"[one][two]"]);
}

#[test]
fn the_rest_of_a_frame_comes_before_everything() {
    let mut backlog = Backlog::default();
    backlog.push_rest(b"rest]", Class::Publication, 1);
    backlog.push(b"[two]", Class::Publication, 1);
    assert!(backlog.push_control(b"<ping>") && backlog.drop_publications(1));
    assert_eq!(drain(&mut backlog), [b"rest]".as_slice(), b"<ping>"]);

    let mut backlog = Backlog::default();
    backlog.push_rest(b"rest]", Class::Publication, 1);
    backlog.push(b"[two]", Class::Publication, 1);
    assert!(backlog.discard_for_close(b"<close>"));
    assert_eq!(drain(&mut backlog), [b"rest]".as_slice(), b"<close>"]);
}

#[test]
fn a_ping_behind_a_recovery_answer_comes_before_the_close() {
    let block = |size| Block::plain("c", &vec![b'1'; size], ZERO);
    let missed = [(1, block(CHUNK_BYTES)), (2, block(1))];
    let missed = missed.map(|(offset, block)| Placed { offset, block }).into();
    let result = SubscribeResult::default();
    let of = Replayed { channel: 1, sequence: 1 };
    let mut backlog = Backlog::default();
    backlog.push_replay(Box::new(Replay::new(crate::codec::Codec::Json, 1, &result, missed, of)));
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
    assert_eq!(backlog.bytes(), 6);
    assert!(backlog.held_bytes() > large.len());
    backlog.push(&large, Class::Reply, NO_CHANNEL);
    assert_eq!(backlog.bytes(), large.len() + 6, "the second one counts");
    backlog.next_chunk().unwrap();
    assert_eq!(backlog.bytes(), large.len() + 6);
    backlog.sent();
    let chunks = drain(&mut backlog);
    assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES), "a slow reader is seen");
}

#[test]
fn nothing_comes_into_a_frame_that_is_longer_than_a_chunk() {
    let large = vec![b'p'; 2 * CHUNK_BYTES + 1];
    let mut backlog = Backlog::default();
    backlog.push(&large, Class::Publication, 1);
    backlog.push(b"[two]", Class::Publication, 1);
    backlog.next_chunk().unwrap();
    assert!(backlog.push_control(b"<ping>") && backlog.drop_publications(1));
    backlog.sent();
    let sent = drain(&mut backlog).concat();
    assert_eq!(sent, [&large[CHUNK_BYTES..], b"<ping>"].concat());

    let mut backlog = Backlog::default();
    backlog.push(&large, Class::Publication, 1);
    backlog.push(b"[two]", Class::Publication, 1);
    backlog.next_chunk().unwrap();
    assert!(backlog.discard_for_close(b"<close>"));
    backlog.sent();
    let sent = drain(&mut backlog).concat();
    assert_eq!(sent, [&large[CHUNK_BYTES..], b"<close>"].concat());
}

#[test]
fn what_it_says_it_takes_is_what_it_takes() {
    let mut backlog = Backlog::behind(1);
    for number in 0..10_000_u32 {
        let frame = vec![0; 2 + number as usize % 700];
        backlog.push(&frame, Class::Publication, number % 7);
        let blocks = backlog.pieces.iter().map(|piece| match piece {
            Piece::Block(block) => {
                block.bytes.capacity() + block.runs.capacity() * size_of::<Run>()
            }
            Piece::Replay(_) => 0,
        });
        assert_eq!(backlog.held_bytes(), 1 + blocks.sum::<usize>());
    }
    assert!(backlog.held_bytes() < backlog.bytes() + backlog.bytes() / 10);
    assert!(backlog.drop_publications(3));
    backlog.sent();
    drain(&mut backlog);
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
    assert!(all.chunks(1_000).enumerate().all(|(number, frame)| usize::from(frame[0]) == number));
}

#[test]
fn bytes_that_went_out_are_given_back_however_long_it_stays_behind() {
    let mut backlog = Backlog::default();
    let frame = [7; 1_000];
    (0..200).for_each(|_| backlog.push(&frame, Class::Publication, 1));
    for _ in 0..1_000 {
        let chunk = backlog.next_chunk().unwrap();
        backlog.sent();
        (0..chunk.len() / frame.len()).for_each(|_| backlog.push(&frame, Class::Publication, 1));
    }
    assert_eq!(backlog.waiting, 200_000);
    assert!(backlog.held_bytes() < 2 * 200_000, "{} bytes", backlog.held_bytes());
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
