//! Frames: whatever the cuts between reads, the same messages come out, within their bounds.
#![no_main]

use corecast::ws::deframer::{Deframer, Item, MessageLimits, Violation};
use corecast_fuzz::choices::Choices;
use libfuzzer_sys::fuzz_target;

const LIMITS: MessageLimits = MessageLimits { message_bytes: 2_000, fragments_per_message: 8 };

/// An item that outlives its input.
#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
    Broken(Violation),
}

fn seen(item: Item<'_>) -> Seen {
    match item {
        Item::Text(text) => {
            assert!(text.len() <= LIMITS.message_bytes as usize);
            Seen::Text(String::from_utf8(text.to_vec()).expect("text is checked"))
        }
        Item::Binary(bytes) => {
            assert!(bytes.len() <= LIMITS.message_bytes as usize);
            Seen::Binary(bytes.to_vec())
        }
        Item::Ping(payload) => {
            assert!(payload.len() <= 125);
            Seen::Ping(payload.to_vec())
        }
        Item::Pong => Seen::Pong,
        Item::Close { code, reason } => {
            Seen::Close(code, String::from_utf8(reason.to_vec()).expect("a reason is checked"))
        }
    }
}

/// Reads `wire`, of which `cut` says how many bytes each read brings.
fn read(wire: &[u8], mut cut: impl FnMut() -> usize) -> Vec<Seen> {
    let mut deframer = Deframer::default();
    let (mut found, mut pending, mut at) = (Vec::new(), Vec::new(), 0);
    while at < wire.len() {
        let end = wire.len().min(at + cut().max(1));
        pending.extend_from_slice(&wire[at..end]);
        at = end;
        loop {
            let length = pending.len();
            let (consumed, item) = match deframer.next(&mut pending, LIMITS) {
                Ok(next) => (next.consumed, next.item.map(seen)),
                Err(violation) => {
                    found.push(Seen::Broken(violation));
                    return found;
                }
            };
            assert!(consumed <= length, "no more is used than there was");
            pending.drain(..consumed);
            assert!(deframer.held_bytes() <= 2 * (wire.len() + 64), "held for what came alone");
            let Some(item) = item else { break };
            assert!(consumed > 0 || matches!(item, Seen::Text(_) | Seen::Binary(_)));
            let last = matches!(item, Seen::Close(..));
            found.push(item);
            if last {
                return found;
            }
        }
    }
    found
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let cuts = choices.bytes();
    let wire = choices.rest();
    let whole = read(wire, || wire.len());
    let mut at = 0;
    let cut = read(wire, || {
        at += 1;
        cuts.get((at - 1) % cuts.len().max(1)).map_or(1, |cut| usize::from(*cut % 16))
    });
    // Cut off inside a text, what is wrong with it is seen before its end.
    assert_eq!(whole, cut);
});
