//! What a turn writes, as bytes: frames in one arena, ranges of it, and what waits for a slow
//! connection. Data only: who is given what is decided in `outbound`.

pub mod arena;
pub mod backlog;
pub mod frames;
pub mod replay;
