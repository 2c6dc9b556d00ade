//! The participants of a run with rooms.
//!
//! Must not know connections. Invariant: all processes of a run have the same plan except for their
//! own number.

/// A room of a plan, over all processes.
#[derive(Clone, Debug)]
pub struct Room {
    pub name: String,
    pub subscribers: usize,
    pub senders: usize,
}

/// The participants.
#[derive(Clone, Debug)]
pub struct Plan {
    pub rooms: Vec<Room>,
    /// Connections that publish for all senders in turn; `None`: each sender has its own.
    pub publishers: Option<usize>,
    /// Of how many processes this is which.
    pub processes: usize,
    pub part: usize,
}

impl Plan {
    /// Senders of all rooms.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.rooms.iter().map(|room| room.senders).sum()
    }

    /// Connections of all processes.
    #[must_use]
    pub fn connections(&self) -> usize {
        let subscribers: usize = self.rooms.iter().map(|room| room.subscribers).sum();
        subscribers + self.publishers.unwrap_or_else(|| self.senders())
    }

    /// Is number `index` of some kind this process's?
    #[must_use]
    pub fn is_ours(&self, index: usize) -> bool {
        index % self.processes == self.part
    }
}
