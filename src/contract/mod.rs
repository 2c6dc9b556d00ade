//! What crosses cores: the data that edges, homes, the bridge and their tests have in common.
//!
//! Data only: nothing here sends, waits or decides. What travels by a lane fits one of its slots,
//! and what is larger lies in a box; both are asserted where the types are.

pub mod block;
pub mod engine;
pub mod envelope;
pub mod infos;
pub mod key;
pub mod name;
pub mod position;
pub mod user;
