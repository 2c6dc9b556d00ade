//! From bytes received to commands: HTTP heads, frames, messages, and what has to wait.

mod blocking;
pub mod http;
mod receive;
mod subprotocol;
