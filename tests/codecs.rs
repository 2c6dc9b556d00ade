//! What the codecs read and write, against tables, Centrifugo's own output and serde_json.

#[path = "codecs/binary_decode.rs"]
mod binary_decode;
#[path = "codecs/crossing.rs"]
mod crossing;
#[path = "codecs/json_decode.rs"]
mod json_decode;
#[path = "codecs/json_encode.rs"]
mod json_encode;
#[path = "codecs/json_nested.rs"]
mod json_nested;
#[path = "codecs/newest.rs"]
mod newest;
#[path = "codecs/payloads.rs"]
mod payloads;
#[path = "codecs/replies.rs"]
mod replies;
#[path = "codecs/schema.rs"]
mod schema;
