//! Names: of connections on this core, of clients everywhere, and of epochs in text.
//!
//! Must not know what they name.

pub mod client_id;
pub mod epoch;

/// A connection's name: its place and the place's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub index: u32,
    pub generation: u32,
}
