//! Identifiers: of connections on this core, of clients everywhere, and epochs as text.
//!
//! Must not know what they identify.

pub mod client_id;
pub mod epoch;

/// Identifies a connection on its core: its place and the place's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub index: u32,
    pub generation: u32,
}
