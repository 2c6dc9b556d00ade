//! Message codecs, sans-IO: bytes of a WebSocket message to commands, replies to bytes.

pub mod command;
pub mod json;
pub mod json_write;
pub mod scanner;
pub mod unescape;
