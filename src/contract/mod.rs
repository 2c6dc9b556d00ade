//! What crosses cores: the data that edges, homes, the bridge and their tests share.
//!
//! Data only: nothing here sends, waits or decides. What travels by a lane fits into one of its
//! slots, and anything larger is boxed; both are asserted beside the types.

pub mod block;
pub mod engine;
pub mod envelope;
pub mod infos;
pub mod key;
pub mod listing;
pub mod name;
pub mod node;
pub mod position;
pub mod presence;
pub mod user;
pub mod wire;
