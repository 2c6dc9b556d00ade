//! The bridge's side of Redis: what is said to it and what its answers mean.
//!
//! Must not know lanes, homes or how bytes get there: no file here has a socket or a clock.
//! Invariant: whatever Redis answers is a value or an error, never a panic.

pub mod backoff;
pub mod control;
pub mod directory;
pub mod echo;
pub mod epochs;
pub mod error;
pub mod greeting;
pub mod id;
pub mod interest;
pub mod keys;
pub mod lines;
pub mod link;
pub mod link_error;
pub mod lists;
pub mod members;
pub mod message;
pub mod resp;
pub mod script;
pub mod settling;
pub mod shard;
pub mod stream;
pub mod users;
