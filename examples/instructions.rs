//! The hot paths, for counting instructions: a worker's code per delivery, per frame and per command.
//!
//! `scripts/instructions` runs this under callgrind and divides. Must not measure anything itself.
//! Invariant: each path is one function that is not inlined, and does its work the same number of
//! times in every run.

#[path = "instructions/worker.rs"]
mod worker;

use corecast::codec::command::{ClientInfo, Named, Publication};
use corecast::codec::json;
use corecast::ws::deframer::{Deframer, Item, MessageLimits};
use corecast::ws::frame::{self, OpCode};
use corecast::ws::mask;
use std::hint::black_box;
use worker::Rig;

/// How often each path is run; `scripts/instructions` divides by these.
const SUBSCRIBERS: usize = 1_000;
const TURNS: usize = 100;
const FRAMES: usize = 1_000;
const UNMASKED_BYTES: usize = 64 << 10;

/// 64 bytes, as in README's figures.
const PAYLOAD: &[u8] = br#"{"text":"sixty-four bytes of what people say to each other...."}"#;

fn main() {
    assert_eq!(PAYLOAD.len(), 64);
    let publish = format!(
        r#"{{"id":7,"publish":{{"channel":"chat:lobby","data":{}}}}}"#,
        std::str::from_utf8(PAYLOAD).expect("it is text")
    );
    let mut rig = Rig::new(SUBSCRIBERS);
    for _ in 0..TURNS {
        rig.say(&publish);
        assert_eq!(fan_out(&mut rig), SUBSCRIBERS + 1, "everybody, and the answer");
    }
    let mut alone = Rig::new(0);
    for _ in 0..TURNS {
        alone.say(&publish);
        assert_eq!(publish_alone(&mut alone), 1, "the answer");
        alone.say(r#"{"id":8,"rpc":{"method":"echo","data":{"a":1}}}"#);
        assert_eq!(rpc(&mut alone), 1, "the answer");
    }
    unmask(&mut vec![0x5a; UNMASKED_BYTES]);
    read_envelope(publish.as_bytes());
    let mut frames = Vec::new();
    for _ in 0..FRAMES {
        frame::write_masked(&mut frames, OpCode::Text, true, [1, 2, 3, 4], publish.as_bytes());
    }
    deframe(&mut frames);
    write_push(&mut Vec::with_capacity(1 << 20));
}

// The names keep the compiler from merging the three functions.

/// The turns of a worker from a publish command to the last of `SUBSCRIBERS` sends.
#[inline(never)]
fn fan_out(rig: &mut Rig) -> usize {
    black_box("fan_out");
    rig.turn_until_idle()
}

/// The same without subscribers: the cost of a publication before its first delivery.
#[inline(never)]
fn publish_alone(rig: &mut Rig) -> usize {
    black_box("publish_alone");
    rig.turn_until_idle()
}

/// The turns from an rpc command to its answer.
#[inline(never)]
fn rpc(rig: &mut Rig) -> usize {
    black_box("rpc");
    rig.turn_until_idle()
}

#[inline(never)]
fn unmask(bytes: &mut [u8]) {
    mask::unmask(black_box(bytes), [1, 2, 3, 4], 0);
}

#[inline(never)]
fn read_envelope(text: &[u8]) {
    for _ in 0..FRAMES {
        let mut commands = json::Commands::new(black_box(text));
        assert!(black_box(commands.next()).is_some_and(|command| command.is_ok()));
    }
}

#[inline(never)]
fn deframe(bytes: &mut [u8]) {
    let limits = MessageLimits { message_bytes: 65_536, fragments_per_message: 1_024 };
    let mut deframer = Deframer::default();
    let (mut at, mut texts) = (0, 0);
    while at < bytes.len() {
        let next = deframer.next(&mut bytes[at..], limits).expect("frames are valid");
        at += next.consumed;
        texts += usize::from(matches!(black_box(&next.item), Some(Item::Text(_))));
    }
    assert_eq!(texts, FRAMES);
}

#[inline(never)]
fn write_push(out: &mut Vec<u8>) {
    let info = ClientInfo {
        user: "user-42".into(),
        client: "0123456789abcdef0123456789abcdef".into(),
        ..ClientInfo::default()
    };
    let publication = Publication {
        data: PAYLOAD,
        info: Some(info),
        offset: 123_456,
        time_ms: 1_700_000_000_000,
        ..Publication::default()
    };
    for _ in 0..FRAMES {
        out.clear();
        let length = json::push_publication_len(Named::Name("chat:lobby"), black_box(&publication));
        frame::write_header(out, OpCode::Text, length);
        json::write_push_publication(out, Named::Name("chat:lobby"), black_box(&publication));
        black_box(&out);
    }
}
