//! The places of a core's connections: who has which, and which kind of slot each takes.
//!
//! Must not know sockets, commands or clocks. Invariants: a place is used by one connection at a
//! time, and its generation grows when it is freed, so that a late answer finds nobody; every
//! connection that is not dead holds exactly one slot.

use crate::edge::ConnectionId;
use crate::edge::connection::exchange::Exchange;
use crate::edge::connection::{Aside, Connection, Fact, Facts, Life};
use crate::limits::{INTERNAL_SLOTS, Limits, REFUSAL_SLOTS};

/// What a new connection counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// One of `limits.connections_per_worker`.
    Shared,
    /// One that only the internal listener can fill.
    Internal,
    /// There is none: the connection is answered 503.
    Refusal,
}

/// The connections of one core.
pub struct Places {
    connections: Vec<Connection>,
    free: Vec<u32>,
    /// Connections in shared slots; at most `shared_max`.
    shared: u32,
    /// Connections in the internal listener's slots; at most `INTERNAL_SLOTS`.
    internal: u32,
    shared_max: u32,
}

impl Places {
    #[must_use]
    pub fn new(limits: &Limits) -> Places {
        Places {
            connections: Vec::with_capacity(Places::max(limits)),
            free: Vec::new(),
            shared: 0,
            internal: 0,
            shared_max: limits.connections_per_worker,
        }
    }

    /// Places that a worker with these limits has, those for refusals included.
    #[must_use]
    pub fn max(limits: &Limits) -> usize {
        (limits.connections_per_worker + REFUSAL_SLOTS + INTERNAL_SLOTS) as usize
    }

    /// Places in use, dead connections that still owe something included.
    #[must_use]
    pub fn used(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// Connections that are neither dead nor refusals.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.shared + self.internal
    }

    /// Is there a place for one more, be it to answer 503 from? What the internal listener has not
    /// filled yet is kept for it.
    #[must_use]
    pub fn has_place(&self, internal: bool) -> bool {
        let kept = if internal { 0 } else { INTERNAL_SLOTS - self.internal } as usize;
        let max = (self.shared_max + REFUSAL_SLOTS + INTERNAL_SLOTS) as usize;
        self.used() + kept < max
    }

    /// The slot that a new connection would get.
    #[must_use]
    pub fn slot_for(&self, internal: bool) -> Slot {
        if internal && self.internal < INTERNAL_SLOTS {
            Slot::Internal
        } else if self.shared < self.shared_max {
            Slot::Shared
        } else {
            Slot::Refusal
        }
    }

    /// Gives a new connection a place. It begins by speaking HTTP.
    pub fn take(&mut self, slot: Slot, internal: bool, since_ms: u32) -> ConnectionId {
        debug_assert_eq!(slot, self.slot_for(internal), "the slot is still there");
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Connection::default());
            u32::try_from(self.connections.len() - 1).expect("places are bounded")
        });
        let it = &mut self.connections[index as usize];
        it.become_(Life::Http);
        it.since_ms = since_ms;
        it.facts = Facts::default();
        it.facts.set(Fact::Refused, slot == Slot::Refusal);
        it.facts.set(Fact::Internal, internal);
        it.facts.set(Fact::OwnSlot, slot == Slot::Internal);
        it.aside = Some(Box::new(Aside::Http(Exchange::default())));
        let conn = ConnectionId { index, generation: it.generation };
        self.shared += u32::from(slot == Slot::Shared);
        self.internal += u32::from(slot == Slot::Internal);
        self.assert_bounds();
        conn
    }

    /// A connection is dead: its slot is free, its place is not while it still owes something.
    pub fn give_slot_back(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        it.become_(Life::Dead);
        let facts = it.facts;
        let shared = !facts.has(Fact::Refused) && !facts.has(Fact::OwnSlot);
        self.shared -= u32::from(shared);
        self.internal -= u32::from(facts.has(Fact::OwnSlot));
        self.assert_bounds();
    }

    /// Frees the place of a dead connection that owes nothing any more; who has it next.
    pub fn free(&mut self, conn: ConnectionId) -> ConnectionId {
        let it = self.at(conn);
        assert!(it.subscriptions.is_empty() && !it.facts.has(Fact::Registered), "nothing is owed");
        debug_assert!(!it.facts.has(Fact::Waiting), "it is in no line");
        debug_assert!(it.backlog.is_none(), "nothing is kept for it");
        it.become_(Life::Free);
        let next = ConnectionId { index: conn.index, generation: conn.generation.wrapping_add(1) };
        *it = Connection { generation: next.generation, ..Connection::default() };
        self.free.push(conn.index);
        debug_assert!(self.free.len() <= self.connections.len(), "a place is freed once");
        next
    }

    /// Is the connection still the one that was meant?
    #[must_use]
    pub fn is_current(&self, conn: ConnectionId) -> bool {
        self.connections
            .get(conn.index as usize)
            .is_some_and(|it| it.generation == conn.generation && it.life != Life::Free)
    }

    /// A connection that is there.
    pub fn at(&mut self, conn: ConnectionId) -> &mut Connection {
        debug_assert!(self.is_current(conn), "only a current connection is used");
        &mut self.connections[conn.index as usize]
    }

    /// The same, to be looked at.
    #[must_use]
    pub fn connection(&self, conn: ConnectionId) -> &Connection {
        debug_assert!(self.is_current(conn), "only a current connection is looked at");
        &self.connections[conn.index as usize]
    }

    /// Whoever has this place now.
    #[must_use]
    pub fn get(&self, index: u32) -> &Connection {
        &self.connections[index as usize]
    }

    /// The id of whoever has this place now.
    #[must_use]
    pub fn id(&self, index: u32) -> ConnectionId {
        ConnectionId { index, generation: self.get(index).generation }
    }

    #[must_use]
    pub fn life(&self, conn: ConnectionId) -> Life {
        if self.is_current(conn) { self.get(conn.index).life } else { Life::Free }
    }

    /// Places that have been in use at some time.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.connections.len()).expect("as many as a place's number has")
    }

    /// Every connection that is there, in the order of places.
    pub fn conns(&self) -> impl Iterator<Item = ConnectionId> {
        (0_u32..)
            .zip(&self.connections)
            .filter(|(_, it)| it.life != Life::Free)
            .map(|(index, it)| ConnectionId { index, generation: it.generation })
    }

    fn assert_bounds(&self) {
        assert!(self.shared <= self.shared_max, "{} of {}", self.shared, self.shared_max);
        assert!(self.internal <= INTERNAL_SLOTS, "{} of {INTERNAL_SLOTS}", self.internal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(shared: u32) -> Places {
        Places::new(&Limits { connections_per_worker: shared, ..Limits::default() })
    }

    fn come(places: &mut Places, internal: bool) -> (ConnectionId, Slot) {
        let slot = places.slot_for(internal);
        (places.take(slot, internal, 0), slot)
    }

    #[test]
    fn slots_are_shared_internal_or_none_and_come_back() {
        let mut places = places(1);
        let (first, slot) = come(&mut places, false);
        assert_eq!(slot, Slot::Shared);
        assert_eq!(come(&mut places, false).1, Slot::Refusal);
        assert_eq!(come(&mut places, true).1, Slot::Internal);
        assert_eq!(places.open(), 2);
        places.give_slot_back(first);
        assert_eq!((places.open(), places.used()), (1, 3), "a dead connection keeps its place");
        assert_eq!(come(&mut places, false).1, Slot::Shared);
    }

    #[test]
    fn who_comes_next_to_a_place_is_somebody_else() {
        let mut places = places(2);
        let (first, _) = come(&mut places, false);
        places.give_slot_back(first);
        let next = places.free(first);
        assert!(!places.is_current(first) && !places.is_current(next));
        assert_eq!(places.life(first), Life::Free);
        let (second, _) = come(&mut places, false);
        assert_eq!(second, next);
        assert_eq!(places.conns().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn strangers_leave_the_internal_listener_its_places() {
        let mut places = places(1);
        while places.has_place(false) {
            come(&mut places, false);
        }
        assert!(places.has_place(true), "{} used", places.used());
        assert_eq!(come(&mut places, true).1, Slot::Internal);
    }
}
