//! Messages of JSON: read as `serde_json` reads them, and payloads of it in every codec.
#![no_main]

use corecast::codec::Codec;
use corecast::codec::command::DecodeError;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// The values of a message, as long as they are JSON; the flag says whether all were, with a newline
/// between each and the next.
fn values(message: &[u8]) -> (usize, bool) {
    let mut stream = serde_json::Deserializer::from_slice(message).into_iter::<&RawValue>();
    let (mut count, mut apart, mut end) = (0, true, 0);
    loop {
        match stream.next() {
            Some(Ok(value)) => {
                let between = &message[end..stream.byte_offset() - value.get().len()];
                apart &= count == 0 || between.contains(&b'\n');
                end = stream.byte_offset();
                count += 1;
            }
            Some(Err(_)) => return (count, false),
            None => return (count, apart),
        }
    }
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
