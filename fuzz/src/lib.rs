//! What the fuzz targets share: how bytes are read as choices, and a host that is driven by them.
//!
//! Must not know which target runs. Invariant: the same bytes make the same run.

pub mod choices;
pub mod client;
pub mod codec;
pub mod host;
