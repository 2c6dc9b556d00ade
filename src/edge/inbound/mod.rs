//! From bytes received to commands: HTTP heads, frames, messages, and the lines before full lanes.

pub(super) mod blocking;
pub(super) mod http;
pub(super) mod lines;
pub(super) mod receive;
pub(super) mod subprotocol;
