//! What holds for every codec: how commands are read, and that what is written can be read.
//!
//! Must not know which one is fuzzed. Invariant: it looks at the public interface alone.

use corecast::clock::Now;
use corecast::codec::command::{Command, Method, Named, Publication, Tags};
use corecast::codec::{Codec, payload};
use corecast::contract::block::{Block, Parts};
use corecast::limits;
use corecast::namespace::Payload;
use serde_json::value::RawValue;

/// Reads a message as an edge does, and says how many commands it has. What has to hold whatever
/// the bytes is asserted.
pub fn read(codec: Codec, message: &[u8]) -> usize {
    let mut commands = codec.commands(message);
    let mut count = 0;
    let mut before = commands.rest();
    loop {
        let Some(next) = commands.next() else { break };
        let rest = commands.rest();
        assert!(rest >= before && rest <= message.len(), "it goes forward, within the message");
        let Ok(command) = next else {
            assert!(commands.next().is_none(), "behind an error nothing is read");
            break;
        };
        assert!(rest > before, "a command has bytes");
        judge(codec, &command);
        // A message is read on from where it was left, as after a pause.
        let again = codec.commands(&message[before..]).next();
        assert_eq!(again, Some(Ok(command)), "it is the same when it is read again");
        before = rest;
        count += 1;
    }
    count
}

fn judge(codec: Codec, command: &Command<'_>) {
    match &command.method {
        Method::Publish(publish) => {
            assert!(publish.tags.len() <= limits::TAGS_PER_PUBLICATION);
            data(codec, publish.data);
        }
        Method::Rpc { data: bytes, .. } | Method::Send { data: bytes } => data(codec, bytes),
        Method::Connect(connect) => assert!(connect.subs.len() <= limits::CONNECT_SUBS),
        _ => {}
    }
}

/// A payload is refused, or kept in a form that reaches receivers of every codec.
fn data(codec: Codec, bytes: &[u8]) {
    if let Ok(kept) = payload::keep(codec, Payload::Json, bytes) {
        let _: &RawValue = serde_json::from_slice(&kept).expect("what is kept is JSON");
        let msgpack = payload::from_json(Codec::MessagePack, &kept);
        let back = payload::keep(Codec::MessagePack, Payload::Json, &msgpack);
        // A number over the largest double is infinite there, and JSON has no such number.
        let finite = serde_json::from_slice::<serde_json::Value>(&kept).is_ok();
        assert!(
            back.is_ok() || !finite,
            "what a receiver is given, it may publish: {kept:?} as {msgpack:?}"
        );
        push(Payload::Json, &kept);
    }
    if let Ok(kept) = payload::keep(codec, Payload::Binary, bytes) {
        push(Payload::Binary, &kept);
    }
}

/// A publication is written for every codec.
fn push(payload: Payload, kept: &[u8]) {
    let (channel, publisher, tags) = ("chat:a", None, Tags::default());
    let now = Now { monotonic_us: 0, unix_ms: 0 };
    let block = Block::of(payload, &Parts { channel, publisher, tags, data: kept, now });
    let data = block.data();
    let publication = Publication { data, payload, offset: 7, ..Publication::default() };
    for codec in Codec::ALL {
        let mut out = Vec::new();
        codec.write_push_publication(&mut out, Named::Name(channel), &publication);
        match codec {
            Codec::Json => {
                assert!(!out.contains(&b'\n'), "a line is a message");
                let _: &RawValue = serde_json::from_slice(&out).expect("a push is JSON");
            }
            Codec::MessagePack => assert_eq!(value(&out), Some(out.len()), "it is one value"),
            Codec::Protobuf => {
                assert!(data.is_empty() || out.windows(data.len()).any(|it| it == data))
            }
        }
    }
}

/// Bytes of the MessagePack value at the start; none when there is no whole one.
fn value(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut left) = (0, 1_usize);
    while left > 0 {
        let first = *bytes.get(at)?;
        let number = |bytes_of: usize| {
            let digits = bytes.get(at + 1..at + 1 + bytes_of)?;
            Some(digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)))
        };
        // Bytes of the head, bytes that follow it, values that follow.
        let (head, body, inner) = match first {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (1, 0, 0),
            0x80..=0x8f => (1, 0, 2 * usize::from(first & 15)),
            0x90..=0x9f => (1, 0, usize::from(first & 15)),
            0xa0..=0xbf => (1, usize::from(first & 31), 0),
            0xc1 => return None,
            0xc4 | 0xd9 => (2, number(1)?, 0),
            0xc5 | 0xda => (3, number(2)?, 0),
            0xc6 | 0xdb => (5, number(4)?, 0),
            0xc7 => (3, number(1)?, 0),
            0xc8 => (4, number(2)?, 0),
            0xc9 => (6, number(4)?, 0),
            0xcc | 0xd0 => (2, 0, 0),
            0xcd | 0xd1 => (3, 0, 0),
            0xca | 0xce | 0xd2 => (5, 0, 0),
            0xcb | 0xcf | 0xd3 => (9, 0, 0),
            0xd4..=0xd8 => (2, 1 << (first - 0xd4), 0),
            0xdc => (3, 0, number(2)?),
            0xdd => (5, 0, number(4)?),
            0xde => (3, 0, 2 * number(2)?),
            0xdf => (5, 0, 2 * number(4)?),
        };
        at += head + body;
        left += inner;
        left -= 1;
    }
    (at <= bytes.len()).then_some(at)
}
