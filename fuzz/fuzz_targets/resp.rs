//! Redis' values: whatever the cuts between reads, the same ones come out, and the same error.
#![no_main]

use corecast::bridge::redis::resp::decode::Decoder;
use corecast::bridge::redis::resp::{RespError, Value, encode};
use corecast::limits::REDIS_DEPTH;
use corecast_fuzz::choices::Choices;
use libfuzzer_sys::fuzz_target;

/// Reads `wire`, of which `cut` says how many bytes each read brings.
fn read(wire: &[u8], mut cut: impl FnMut() -> usize) -> (String, Option<RespError>) {
    let (mut decoder, mut values, mut at) = (Decoder::new(), Vec::new(), 0);
    while at < wire.len() {
        let end = wire.len().min(at + cut().max(1));
        decoder.receive(&wire[at..end]);
        at = end;
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(value)) => {
                    assert!(depth(&value) <= REDIS_DEPTH);
                    values.push(value);
                }
                // As text, for one NaN is not another.
                Err(error) => return (format!("{values:?}"), Some(error)),
            }
        }
    }
    (format!("{values:?}"), None)
}

fn depth(value: &Value) -> usize {
    let inner: Vec<&Value> = match value {
        Value::Array(values) | Value::Push(values) => values.iter().collect(),
        Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => return 0,
    };
    1 + inner.into_iter().map(depth).max().unwrap_or(0)
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
    assert_eq!(whole, cut);
    // A command is an array of blobs, whatever is in it.
    let mut command = Vec::new();
    encode::command(&mut command, &[cuts, wire]);
    let mut decoder = Decoder::new();
    decoder.receive(&command);
    let Ok(Some(Value::Array(parts))) = decoder.next() else { panic!("a command is a value") };
    let bytes = |part: &Value| match part {
        Value::Blob(bytes) => bytes.to_vec(),
        part => panic!("a part is a blob: {part:?}"),
    };
    assert_eq!(parts.iter().map(bytes).collect::<Vec<_>>(), [cuts, wire]);
});
