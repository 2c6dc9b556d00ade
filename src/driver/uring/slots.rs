//! The ring driver's state of one connection, and the user data of its operations.
//!
//! Must not know the ring. Invariant: a slot is reused only when no operation of it is under way,
//! so no late completion and no late operation reaches another connection.

use crate::driver::Tag;
use crate::driver::chunks::NONE;
use crate::driver::shares::Shares;
use std::ops::{Index, IndexMut};

listed! {
    /// The kind of an operation; the upper four bits of its user data.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        Bell,
        Accept,
        Recv,
        /// An armed send.
        Armed,
        /// A send of a flush; the index is its index in the flush.
        Flush,
        Cancel,
        Shutdown,
        Close,
        /// A message of another core, which wakes this one.
        Rung,
        /// A message to another core that failed; the index is the core.
        Message,
    }
}

const GENERATIONS: u32 = 1 << 28;

/// The user data of an operation on `index`.
pub fn tag(kind: Kind, generation: u32, index: u32) -> u64 {
    debug_assert!(generation < GENERATIONS);
    (kind as u64) << 60 | u64::from(generation) << 32 | u64::from(index)
}

/// What `tag` was made of: kind, generation, index.
pub fn untag(data: u64) -> (Kind, u32, u32) {
    (Kind::ALL[(data >> 60) as usize], (data >> 32) as u32 % GENERATIONS, data as u32)
}

/// Whether a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Unused, or reserved for an accept.
    Free,
    /// Accepted, not adopted.
    New,
    Receiving,
    Paused,
    Ended,
    /// Closed by its owner; operations are still under way.
    Closing,
}

/// Bits of `Slot::under_way`: operations that will still complete.
pub const RECV: u8 = 1;
pub const ARMED: u8 = 2;
pub const SHUTDOWN: u8 = 4;
pub const CLOSE: u8 = 8;

/// One connection's place.
#[derive(Debug)]
pub struct Slot {
    pub tag: Tag,
    /// Counts the connections that have used this slot.
    pub generation: u32,
    /// Its armed send's chunk.
    pub armed: u32,
    pub under_way: u8,
    pub state: State,
    /// A cancel of its receive is under way.
    pub cancelling: bool,
    /// Its receive waits in a line (`starved`).
    pub starved: bool,
    /// It was armed when there were buffers, and has received nothing since.
    pub fed: bool,
    /// Its last receive left a buffer part empty: there was no more.
    pub drained: bool,
    /// A send failed and the owner was told.
    pub failed: bool,
    /// A FIN is to follow the armed send.
    pub fin: bool,
}

const _: () = assert!(size_of::<Slot>() <= 24);

impl Slot {
    /// May the owner name its socket: is it accepted, and not closed?
    pub fn is_owners(&self) -> bool {
        match self.state {
            State::New | State::Receiving | State::Paused | State::Ended => true,
            State::Free | State::Closing => false,
        }
    }
}

/// The slots; only those that were used once take memory.
#[derive(Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    shares: Shares,
}

impl Slots {
    /// At most `max` slots, of which `kept` are not for the first listener.
    pub fn new(max: u32, kept: u32) -> Slots {
        let shares = Shares::new(max, kept);
        Slots { slots: Vec::with_capacity(max as usize), free: Vec::new(), shares }
    }

    /// A free slot, for an accept of this listener.
    pub fn take(&mut self, listener: u32) -> Option<u32> {
        if !self.shares.has_room(listener) {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| self.add());
        let slot = &self.slots[index as usize];
        debug_assert!(slot.state == State::Free && slot.under_way == 0 && slot.armed == NONE);
        self.shares.take(index, listener);
        Some(index)
    }

    fn add(&mut self) -> u32 {
        self.slots.push(Slot {
            tag: Tag(0),
            generation: 0,
            armed: NONE,
            under_way: 0,
            state: State::Free,
            cancelling: false,
            starved: false,
            fed: false,
            drained: true,
            failed: false,
            fin: false,
        });
        self.slots.len() as u32 - 1
    }

    /// Gives a slot back.
    pub fn give(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        assert!(slot.under_way == 0 && slot.armed == NONE);
        slot.generation = (slot.generation + 1) % GENERATIONS;
        slot.state = State::Free;
        slot.cancelling = false;
        slot.starved = false;
        slot.fed = false;
        slot.drained = true;
        slot.failed = false;
        slot.fin = false;
        self.free.push(index);
        debug_assert!(self.free.len() <= self.slots.len(), "a slot was given back twice");
        self.shares.give(index);
    }

    /// Does the owner still have the connection that a completion belongs to?
    pub fn is_open(&self, index: u32, generation: u32) -> bool {
        let slot = &self.slots[index as usize];
        slot.generation == generation && slot.is_owners()
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }
}
