//! Messages of MessagePack, and its values as JSON.
#![no_main]

use corecast::codec::{Codec, json_to_msgpack, msgpack_to_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    corecast_fuzz::codec::read(Codec::MessagePack, message);
    let mut json = Vec::new();
    if msgpack_to_json::append(&mut json, message).is_ok() {
        let value: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
        let mut again = Vec::new();
        json_to_msgpack::append(&mut again, &json).expect("JSON is always a value");
        let mut back = Vec::new();
        msgpack_to_json::append(&mut back, &again).expect("as before");
        let back: serde_json::Value = serde_json::from_slice(&back).expect("it is JSON");
        assert_eq!(value, back, "the way there and back changes nothing");
    }
});
