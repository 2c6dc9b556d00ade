//! Homes: every channel lives on one worker that orders it.

pub mod block;
pub mod engine;
pub mod envelope;
pub mod name;
