//! What the codecs read and write, against tables, the incumbent's own output and serde_json.

#[path = "codecs/json_decode.rs"]
mod json_decode;
#[path = "codecs/json_encode.rs"]
mod json_encode;
#[path = "codecs/json_nested.rs"]
mod json_nested;
