//! What holds for every codec: how commands are read, and that what is written can be read.
//!
//! Must not know which one is fuzzed. Invariant: it looks at the public interface alone.

use corecast::codec::command::{Command, Method, Publication};
use corecast::codec::{Codec, payload};
use corecast::limits;
use corecast::namespace::Payload;

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
        let value: Box<serde_json::value::RawValue> =
            serde_json::from_slice(&kept).expect("what is kept is JSON");
        for receiver in Codec::ALL {
            push(receiver, &payload::from_json(receiver, value.get().as_bytes()));
        }
        let msgpack = payload::from_json(Codec::MessagePack, &kept);
        let back = payload::keep(Codec::MessagePack, Payload::Json, &msgpack);
        assert!(back.is_ok(), "what a receiver is given, it may publish");
    }
    let _ = payload::keep(codec, Payload::Binary, bytes);
}

/// A publication is written, in one message.
fn push(codec: Codec, data: &[u8]) {
    let publication = Publication { data, offset: 7, ..Publication::default() };
    let mut out = Vec::new();
    codec.write_push_publication(&mut out, "chat:a", &publication);
    assert!(out.len() >= data.len());
}
