//! Message codecs, sans-IO: bytes of a WebSocket message to commands, replies to bytes.

pub mod command;
pub mod json;
mod json_fields;
mod json_sink;
pub mod json_write;
pub mod scanner;
pub mod tags;
pub mod unescape;
