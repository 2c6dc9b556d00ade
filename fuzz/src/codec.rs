//! What holds for every codec: how commands are read, and that what is written can be read.
//!
//! Must not know which one is fuzzed. Invariant: it looks at the public interface alone.

use corecast::clock::Now;
use corecast::codec::command::{Command, Method, Publication, Tags};
use corecast::codec::{Codec, msgpack_to_json, payload};
use corecast::home::block::{Block, Parts};
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
        assert!(back.is_ok(), "what a receiver is given, it may publish");
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
        codec.write_push_publication(&mut out, channel, &publication);
        match codec {
            Codec::Json => {
                assert!(!out.contains(&b'\n'), "a line is a message");
                let _: &RawValue = serde_json::from_slice(&out).expect("a push is JSON");
            }
            Codec::MessagePack => {
                let mut json = Vec::new();
                msgpack_to_json::append(&mut json, &out).expect("a push is one value");
            }
            Codec::Protobuf => assert!(out.windows(data.len().max(1)).any(|it| it == data)),
        }
    }
}
