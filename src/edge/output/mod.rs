//! The bytes that a turn writes: frames in one arena, ranges of it, and backlogs of slow
//! connections. Data only: `outbound` decides what each connection is sent.

pub mod arena;
pub mod backlog;
pub mod frames;
pub mod replay;
