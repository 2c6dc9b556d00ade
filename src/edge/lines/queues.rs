//! Which connections wait for which lane, which have work left over, and which owe something.
//!
//! Must not know requests or lanes: whoever pushes asks `claim_turn` first. Invariants: a
//! connection is in at most one line, and in each queue at most once, because a fact of its own
//! says that it is there; whoever is served first and finds no room keeps the first place (rule 4).

use crate::edge::ConnectionId;
use crate::edge::connection::{Fact, Facts};
use crate::rules::sabotage;
use std::collections::VecDeque;

/// The lines and queues of one edge. Each holds at most as many connections as there are places.
#[derive(Debug)]
pub struct Lines {
    /// By home: connections whose next request found the lane full, first come first served.
    waiting: Vec<VecDeque<ConnectionId>>,
    /// The home whose line is being served: its first may pass the line, once.
    serving: Option<u16>,
    /// The push now tried is that of the first in line: without room it keeps its place.
    first_in_line: bool,
    /// Connections with commands or bytes left over.
    ready: VecDeque<ConnectionId>,
    /// Connections with Unsubscribes or a Deregister to push (rules 3 and 10).
    owing: VecDeque<ConnectionId>,
}

impl Lines {
    #[must_use]
    pub fn new(homes: usize) -> Lines {
        Lines {
            waiting: vec![VecDeque::new(); homes],
            serving: None,
            first_in_line: false,
            ready: VecDeque::new(),
            owing: VecDeque::new(),
        }
    }

    /// Takes a connection's turn at a lane. False: others wait in its line before it.
    #[must_use]
    pub fn claim_turn(&mut self, home: u16) -> bool {
        self.first_in_line = self.serving == Some(home);
        if self.first_in_line {
            // Once: what it asks next goes to the end of the line.
            self.serving = None;
        }
        sabotage!(LaneFifo => return true);
        self.first_in_line || !self.has_line(home)
    }

    /// Puts a connection in a lane's line, where it is in none. Whoever was served first and found
    /// no room comes first again.
    pub fn join(&mut self, conn: ConnectionId, facts: &mut Facts, home: u16) {
        let first = std::mem::take(&mut self.first_in_line);
        sabotage!(LaneFifo: first = true);
        if !facts.replace(Fact::Waiting, true) {
            let line = &mut self.waiting[usize::from(home)];
            debug_assert!(!line.contains(&conn), "a connection is in its line once");
            if first { line.push_front(conn) } else { line.push_back(conn) }
        }
    }

    /// Connections in a lane's line.
    #[must_use]
    pub fn line_len(&self, home: u16) -> usize {
        self.waiting[usize::from(home)].len()
    }

    /// Takes the first out of a lane's line: until `end_turn` it may push before the others.
    pub fn begin_turn(&mut self, home: u16) -> Option<ConnectionId> {
        debug_assert!(self.serving.is_none(), "one line is served at a time");
        let first = self.waiting[usize::from(home)].pop_front()?;
        self.serving = Some(home);
        Some(first)
    }

    /// The first of a line was served. True: it found no room, and is the first again.
    pub fn end_turn(&mut self, conn: ConnectionId, home: u16) -> bool {
        self.serving = None;
        self.waiting[usize::from(home)].front() == Some(&conn)
    }

    /// Does anybody wait for this home's lane?
    #[must_use]
    pub fn has_line(&self, home: u16) -> bool {
        !self.waiting[usize::from(home)].is_empty()
    }

    /// Connections in all lines.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Puts a connection in the queue of those with work left over, where it is not there.
    pub fn make_ready(&mut self, conn: ConnectionId, facts: &mut Facts) {
        if !facts.replace(Fact::Ready, true) {
            self.ready.push_back(conn);
        }
    }

    #[must_use]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Takes the first with work left over; it may be gone since.
    pub fn pop_ready(&mut self) -> Option<ConnectionId> {
        self.ready.pop_front()
    }

    /// Puts a connection in the queue of those that owe, where it is not there.
    pub fn owe(&mut self, conn: ConnectionId, facts: &mut Facts) {
        if !facts.replace(Fact::Owing, true) {
            self.owing.push_back(conn);
        }
    }

    #[must_use]
    pub fn owing_len(&self) -> usize {
        self.owing.len()
    }

    /// Takes the first that owes; it may be gone since.
    pub fn pop_owing(&mut self) -> Option<ConnectionId> {
        self.owing.pop_front()
    }

    /// Is there work that no event will bring? Lines of full lanes are not: their room rings.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.owing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(index: u32) -> ConnectionId {
        ConnectionId { index, generation: 1 }
    }

    #[test]
    fn whoever_finds_no_room_keeps_the_first_place_once() {
        let mut lines = Lines::new(2);
        let mut facts = [Facts::default(); 3];
        for index in 0..3 {
            assert_eq!(lines.claim_turn(1), index == 0, "the others wait behind the first");
            lines.join(conn(index), &mut facts[index as usize], 1);
        }
        assert!(lines.claim_turn(0), "another lane has no line");
        let first = lines.begin_turn(1).expect("three wait");
        facts[0].set(Fact::Waiting, false);
        assert!(lines.claim_turn(1), "the first passes the line");
        lines.join(first, &mut facts[0], 1);
        assert!(lines.end_turn(first, 1), "it found no room");
        let again = lines.begin_turn(1).expect("three wait");
        facts[0].set(Fact::Waiting, false);
        assert!(again == first && lines.claim_turn(1));
        assert!(!lines.claim_turn(1), "its second request goes to the end of the line");
        lines.join(first, &mut facts[0], 1);
        assert!(!lines.end_turn(first, 1));
        let order: Vec<u32> = std::iter::from_fn(|| {
            let next = lines.begin_turn(1)?;
            lines.end_turn(next, 1);
            Some(next.index)
        })
        .collect();
        assert_eq!((order.as_slice(), lines.waiting()), ([1, 2, 0].as_slice(), 0));
    }

    #[test]
    fn a_connection_is_in_each_queue_once() {
        let mut lines = Lines::new(1);
        let mut facts = Facts::default();
        for _ in 0..2 {
            lines.make_ready(conn(4), &mut facts);
            lines.owe(conn(4), &mut facts);
            lines.join(conn(4), &mut facts, 0);
        }
        assert_eq!((lines.ready_len(), lines.owing_len(), lines.line_len(0)), (1, 1, 1));
        assert!(lines.has_work() && lines.has_line(0));
        assert_eq!((lines.pop_ready(), lines.pop_owing()), (Some(conn(4)), Some(conn(4))));
        assert!(!lines.has_work(), "a line is no work: its lane's room rings");
    }
}
