//! The epoll driver's state of one connection, and its key in the epoll set.
//!
//! Must not know sends or listeners. Invariant: a slot is 24 bytes, and no key of a connection
//! equals that of a listener or the bell.

use crate::driver::Tag;
use crate::driver::chunks::NONE;
use rustix::event::epoll::{EventData, EventFlags};
use rustix::fd::OwnedFd;

/// Generation in keys that are not of connections: their index is a listener's, or `BELL`.
pub const SPECIAL: u32 = u32::MAX;
pub const BELL: u32 = u32::MAX;

/// One connection's place.
#[derive(Debug)]
pub struct Slot {
    pub tag: Tag,
    pub fd: Option<OwnedFd>,
    /// Counts the connections that have used this slot; never `SPECIAL`.
    pub generation: u32,
    /// Its armed send's chunk, or `NONE`.
    pub armed: u32,
    /// What the epoll set waits for; if nothing, the descriptor is not in the set. It may be more
    /// than is wanted until an event arrives, so that a short pause takes no system call.
    pub registered: Interest,
    pub state: State,
    /// A send failed and the owner was told.
    pub failed: bool,
    /// A FIN is to follow the armed send.
    pub fin: bool,
}

const _: () = assert!(size_of::<Slot>() <= 24);

impl Slot {
    pub fn wanted(&self) -> Interest {
        Interest::new(self.state == State::Receiving, self.armed != NONE)
    }
}

/// What is waited for: reading, writing, both or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest(u8);

impl Interest {
    pub const NOTHING: Interest = Interest(0);

    fn new(read: bool, write: bool) -> Interest {
        Interest(u8::from(read) | u8::from(write) << 1)
    }

    pub fn reads(self) -> bool {
        self.0 & 1 != 0
    }

    pub fn writes(self) -> bool {
        self.0 & 2 != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Accepted, not adopted.
    New,
    Receiving,
    Paused,
    Ended,
}

pub fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.reads());
    flags.set(EventFlags::OUT, interest.writes());
    flags
}

/// The key in the set: a slot and its generation.
pub fn key(index: u32, generation: u32) -> EventData {
    EventData::new_u64(u64::from(generation) << 32 | u64::from(index))
}

pub fn unkey(data: EventData) -> (u32, u32) {
    let key = data.u64();
    (key as u32, (key >> 32) as u32)
}
