//! What a backend may expect after the answers to its calls.
//!
//! Must not know whether it is kept.

/// A client and its connection.
pub type Seat = (u16, u32);

/// What an answer promises to a backend.
#[derive(Clone, Debug)]
pub enum Promise {
    /// These connections receive a publication, unless they end before.
    Heard { number: u32, seats: Vec<Seat> },
    /// This many clients were present, when these connections had been subscribed.
    Present { clients: u32, seats: Vec<Seat> },
    /// The errand is over; slow readers have yet to read its end.
    Over { seats: Vec<Seat> },
}
