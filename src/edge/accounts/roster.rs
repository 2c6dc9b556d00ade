//! A list of connections that are searched later: those that hold bytes, or those without a
//! session. A connection that no longer belongs there may stay in the list for a while.
//!
//! Must not know why a connection is in it. Invariant: the list is compacted only when it is twice
//! as long as after the last time, so adding a connection has a constant cost on average.

use crate::edge::ConnectionId;
use std::collections::VecDeque;

/// Connections in the order in which they were added.
#[derive(Debug, Default)]
pub struct Roster {
    conns: VecDeque<ConnectionId>,
    compact_at: usize,
}

/// Length below which the list is not compacted.
const FEW: usize = 256;

impl Roster {
    /// Must the list be compacted before another connection is added?
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.conns.len() >= self.compact_at.max(FEW)
    }

    /// Compacts the list to the connections that still belong there.
    pub fn compact(&mut self, keeps: impl FnMut(&ConnectionId) -> bool) {
        self.conns.retain(keeps);
        self.compact_at = 2 * self.conns.len();
        self.conns.shrink_to(self.compact_at);
    }

    pub fn push(&mut self, conn: ConnectionId) {
        self.conns.push_back(conn);
    }

    /// Removes the one that was added first.
    pub fn pop(&mut self) -> Option<ConnectionId> {
        self.conns.pop_front()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConnectionId> {
        self.conns.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(index: u32) -> ConnectionId {
        ConnectionId { index, generation: 1 }
    }

    /// Adds `count` connections as edges do; returns how often the list was compacted, and its
    /// greatest length.
    fn add(roster: &mut Roster, count: u32, keeps: fn(&ConnectionId) -> bool) -> (u32, usize) {
        let (mut looks, mut longest) = (0, 0);
        for index in 0..count {
            if roster.is_crowded() {
                roster.compact(keeps);
                looks += 1;
            }
            roster.push(conn(index));
            longest = longest.max(roster.len());
        }
        (looks, longest)
    }

    #[test]
    fn those_not_to_be_found_go() {
        let mut roster = Roster::default();
        let (_, longest) = add(&mut roster, 100_000, |conn| conn.index % 1_000 == 0);
        assert!(longest <= 2 * FEW, "{longest}");
        let (kept, first) = (roster.iter().filter(|it| it.index % 1_000 == 0).count(), conn(0));
        assert_eq!((kept, roster.pop()), (100, Some(first)), "the others stay, in their order");
    }

    #[test]
    fn looking_through_it_grows_rarer() {
        let (looks, longest) = add(&mut Roster::default(), 100_000, |_| true);
        assert_eq!(longest, 100_000);
        assert!(looks < 12, "{looks} looks while it doubles");
    }
}
