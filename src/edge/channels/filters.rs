//! The filters of this edge's subscriptions: the table of those that are distinct, and what each
//! connection is charged for.
//!
//! Must not know subscriptions. Invariant: a connection is charged for exactly the filters that it
//! was given and has not given back, and is not listed without one.

use crate::codec::command::Tags;
use crate::contract::block::Placed;
use crate::filter::{Charge, Filter, Filters};
use crate::hashing::Key;
use crate::limits::Limits;
use foldhash::quality::FixedState;
use std::collections::HashMap;

/// The table, with the charges by a connection's place.
pub struct ChargedFilters {
    table: Filters,
    charged: HashMap<u32, Charge, FixedState>,
}

impl ChargedFilters {
    #[must_use]
    pub fn new(limits: &Limits, key: Key) -> ChargedFilters {
        let charged = HashMap::with_hasher(FixedState::default());
        ChargedFilters { table: Filters::new(limits, key), charged }
    }

    /// Gives a connection a filter; its number, or none when it or the worker has too many.
    pub fn give(&mut self, connection: u32, filter: Filter) -> Option<u16> {
        let mut charge = self.charged.get(&connection).copied().unwrap_or_default();
        let before = charge.filters;
        let number = self.table.add(filter, &mut charge)?;
        debug_assert!(charge.filters == before + 1, "one filter was given");
        self.charged.insert(connection, charge);
        Some(number)
    }

    /// Takes a filter back that a connection was given.
    pub fn take_back(&mut self, connection: u32, number: u16) {
        let charge = self.charged.get_mut(&connection).expect("whoever has a filter is charged");
        self.table.remove(number, charge);
        if charge.filters == 0 {
            assert!(charge.bytes == 0, "without filters nothing is charged");
            self.charged.remove(&connection);
        }
    }

    /// Begins with another publication: nothing is known about it.
    pub fn begin(&mut self) {
        self.table.begin();
    }

    /// Asks a filter about the publication with these tags; what that cost, in nanoseconds.
    pub fn judge(&mut self, number: u16, tags: Tags<'_>) -> usize {
        self.table.judge(number, tags)
    }

    /// Does the publication with these tags pass a filter?
    pub fn matches(&mut self, number: u16, tags: Tags<'_>) -> bool {
        self.table.matches(number, tags)
    }

    /// What asking a filter costs at most, in nanoseconds; 0 for none.
    #[must_use]
    pub fn cost_ns(&self, number: u16) -> usize {
        self.table.cost_ns(number)
    }

    /// Of what was missed, what passes a filter.
    #[must_use]
    pub fn keep(&self, number: u16, missed: Box<[Placed]>) -> Box<[Placed]> {
        self.table.keep(number, missed)
    }

    /// Memory of all filters, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    #[cfg(test)]
    pub fn is_unused(&self) -> bool {
        self.charged.is_empty() && self.table.is_unused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_charged_until_it_has_none() {
        let mut filters = ChargedFilters::new(&Limits::default(), Key::of(1));
        let first = filters.give(1, Filter::Any(Box::new([]))).expect("room");
        assert_eq!(
            filters.give(2, Filter::Any(Box::new([]))),
            Some(first),
            "equal filters have one number"
        );
        let second = filters.give(1, Filter::All(Box::new([]))).expect("room");
        assert_ne!(first, second);
        assert_eq!(filters.charged.len(), 2);
        filters.take_back(1, first);
        filters.take_back(1, second);
        assert_eq!(filters.charged.len(), 1);
        filters.take_back(2, first);
        assert!(filters.is_unused());
    }
}
