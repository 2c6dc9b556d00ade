//! What has to be over by a time that is the same for all: the first noted is the first due.
//!
//! Must not know what waits. Invariant: what is due comes up in the order in which it was noted.

use std::collections::BTreeMap;

/// Names what was noted, until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// See the module's page.
#[derive(Debug)]
pub struct Waits<T> {
    noted: BTreeMap<Ticket, (u64, T)>,
    next: u64,
    for_ms: u64,
}

impl<T> Waits<T> {
    /// Each waits for so long.
    #[must_use]
    pub fn new(for_ms: u64) -> Waits<T> {
        Waits { noted: BTreeMap::new(), next: 0, for_ms }
    }

    /// The name that the next to be noted will have.
    #[must_use]
    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.next)
    }

    /// Notes what begins to wait now.
    pub fn begin(&mut self, what: T, now_ms: u64) -> Ticket {
        let (ticket, due_ms) = (self.next_ticket(), now_ms + self.for_ms);
        let last = self.noted.last_key_value();
        debug_assert!(last.is_none_or(|(_, (last, _))| *last <= due_ms), "time goes forward");
        self.next += 1;
        self.noted.insert(ticket, (due_ms, what));
        ticket
    }

    /// It waits no more; none where its time was over already.
    pub fn end(&mut self, ticket: Ticket) -> Option<T> {
        debug_assert!(ticket.0 < self.next, "{ticket:?} was never noted");
        self.noted.remove(&ticket).map(|(_, what)| what)
    }

    /// What is due, one by one.
    pub fn take_due(&mut self, now_ms: u64) -> Option<(Ticket, T)> {
        let first = self.noted.first_entry()?;
        if first.get().0 > now_ms {
            return None;
        }
        let (ticket, (_, what)) = first.remove_entry();
        Some((ticket, what))
    }

    /// When the first is due, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.noted.first_key_value().map(|(_, (due_ms, _))| *due_ms)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_not_due() {
        let mut waits = Waits::new(100);
        let tickets = [0, 10, 10, 20].map(|at_ms| waits.begin(at_ms, at_ms));
        assert_eq!((waits.noted.len(), waits.next_ms()), (4, Some(100)));
        assert_eq!(waits.end(tickets[1]), Some(10));
        assert_eq!(waits.take_due(99), None);
        assert_eq!(waits.take_due(110), Some((tickets[0], 0)));
        assert_eq!(waits.take_due(110), Some((tickets[2], 10)));
        assert_eq!((waits.take_due(110), waits.end(tickets[0])), (None, None));
        assert_eq!(
            (waits.end(tickets[3]), waits.is_empty(), waits.next_ms()),
            (Some(20), true, None)
        );
    }
}
