//! What a worker holds for its connections in bytes, by whose it is, and who goes when it is too
//! much.

pub(super) mod shedding;
pub(super) mod spill;
pub(super) mod strangers;
