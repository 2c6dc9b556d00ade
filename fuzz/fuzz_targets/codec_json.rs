//! Messages of JSON: read as `serde_json` reads them, and payloads of it in every codec.
#![no_main]

use corecast::codec::Codec;
use corecast::codec::command::DecodeError;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// The values of a message, as long as they are JSON; the flag says whether all were.
fn values(message: &[u8]) -> (usize, bool) {
    let mut stream = serde_json::Deserializer::from_slice(message).into_iter::<&RawValue>();
    let count = stream.by_ref().take_while(Result::is_ok).count();
    (count, stream.byte_offset() == message.len())
}

fuzz_target!(|message: &[u8]| {
    // The edge and the server API refuse what is not UTF-8 before they read it.
    if std::str::from_utf8(message).is_err() {
        return;
    }
    let read = corecast_fuzz::codec::read(Codec::Json, message);
    let (count, all) = values(message);
    assert!(read <= count, "{read} commands in {count} JSON values");
    let first = Codec::Json.commands(message).find_map(Result::err);
    if all {
        assert_ne!(first, Some(DecodeError::Malformed), "it is JSON");
    }
});
