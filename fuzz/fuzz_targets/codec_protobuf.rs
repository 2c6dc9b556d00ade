//! Messages of Protobuf.
#![no_main]

use corecast::codec::Codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    corecast_fuzz::codec::read(Codec::Protobuf, message);
});
