//! Filters over a publication's tags: compiled when a client subscribes, shared by subscriptions
//! with equal filters, and evaluated once per distinct filter and publication.
//!
//! Must not know channels or connections. Invariants: evaluation allocates nothing and is no
//! deeper than `FILTER_DEPTH`; two subscriptions with equal filters have the same number.
//!
//! A filter matches exactly what it matches in Centrifugo, including publications without the
//! tag.

mod decimal;
mod table;

use crate::codec::command::{ErrorCode, FilterNode, Tags};
use crate::contract::block::Placed;
use crate::hashing::{Key, Keyed};
use crate::limits::{FILTERS_PER_WORKER, Limits};
use crate::work::cost;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::BuildHasher;
use table::{TagName, TagTable};

/// Why a filter cannot be compiled. Each is answered 107.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// `op` is not one of "", `and`, `or`, `not`.
    UnknownOperation,
    /// `cmp` is not one of the thirteen comparisons.
    UnknownComparison,
    /// A comparison without a key; only `ex` and `nex` may have the key "".
    NoKey,
    /// Operands are missing or of the wrong kind.
    WrongValues,
    /// `and` or `or` without nodes, or `not` with other than one node.
    WrongNodes,
}

impl FilterError {
    /// The error code for a subscribe command with such a filter.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        ErrorCode::BadRequest
    }
}

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    All(Box<[Filter]>),
    Any(Box<[Filter]>),
    Not(Box<Filter>),
    Test { key: TagName, test: Test },
}

/// The test of one tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    Equal(Box<str>),
    /// Sorted.
    In(Box<[Box<str>]>),
    Exists,
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<str>),
    /// Compares decimal numbers; the fields say which results pass: less, equal or greater.
    Number {
        value: Box<str>,
        less: bool,
        equal: bool,
        greater: bool,
    },
}

impl Filter {
    /// Compiles the filter of a subscribe command, whose size the codec has already bounded.
    ///
    /// # Errors
    /// If it is not a valid filter.
    pub fn compile(node: &FilterNode<'_>) -> Result<Filter, FilterError> {
        let nodes = || node.nodes.iter().map(Filter::compile).collect::<Result<Box<[_]>, _>>();
        match &*node.op {
            "" => comparison(node),
            "and" | "or" if node.nodes.is_empty() => Err(FilterError::WrongNodes),
            "and" => Ok(Filter::All(nodes()?)),
            "or" => Ok(Filter::Any(nodes()?)),
            "not" => match node.nodes.as_slice() {
                [node] => Ok(Filter::Not(Box::new(Filter::compile(node)?))),
                _ => Err(FilterError::WrongNodes),
            },
            _ => Err(FilterError::UnknownOperation),
        }
    }

    /// Does a publication with these tags pass? Looks them up without a table.
    #[cfg(test)]
    pub fn matches(&self, tags: Tags<'_>) -> bool {
        self.passes(&|key| tags.get(key.as_str()))
    }

    /// The same, with the tags' values given by a function.
    fn passes<'a>(&self, value: &impl Fn(&TagName) -> Option<&'a str>) -> bool {
        match self {
            Filter::All(filters) => filters.iter().all(|filter| filter.passes(value)),
            Filter::Any(filters) => filters.iter().any(|filter| filter.passes(value)),
            Filter::Not(filter) => !filter.passes(value),
            Filter::Test { key, test } => test.passes(value(key)),
        }
    }

    /// Stores the tags' hashes for tables with this key, and returns the number of comparisons.
    fn keyed(&mut self, by: &Keyed) -> u32 {
        match self {
            Filter::All(filters) | Filter::Any(filters) => {
                filters.iter_mut().map(|filter| filter.keyed(by)).sum()
            }
            Filter::Not(filter) => filter.keyed(by),
            Filter::Test { key, .. } => {
                key.keyed(by);
                1
            }
        }
    }
}

impl Filter {
    /// Memory that it takes, in bytes: about what the allocator provides for it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let inside = match self {
            Filter::All(filters) | Filter::Any(filters) => {
                return size_of::<Filter>() + filters.iter().map(Filter::bytes).sum::<usize>();
            }
            Filter::Not(filter) => filter.bytes(),
            Filter::Test { key, test } => text_bytes(key.as_str()) + test.bytes(),
        };
        size_of::<Filter>() + inside
    }
}

/// Bytes that the allocator provides for a text.
fn text_bytes(text: &str) -> usize {
    text.len().next_multiple_of(16)
}

impl Test {
    fn bytes(&self) -> usize {
        match self {
            Test::Exists => 0,
            Test::In(values) => {
                values.iter().map(|value| size_of::<Box<str>>() + text_bytes(value)).sum()
            }
            Test::Equal(value)
            | Test::StartsWith(value)
            | Test::EndsWith(value)
            | Test::Contains(value)
            | Test::Number { value, .. } => text_bytes(value),
        }
    }

    fn passes(&self, tag: Option<&str>) -> bool {
        match self {
            Test::Exists => tag.is_some(),
            // A missing tag counts as "" only here.
            Test::In(values) => {
                let tag = tag.unwrap_or("");
                values.binary_search_by(|value| (**value).cmp(tag)).is_ok()
            }
            Test::Equal(value) => tag == Some(value),
            Test::StartsWith(value) => tag.is_some_and(|tag| tag.starts_with(&**value)),
            Test::EndsWith(value) => tag.is_some_and(|tag| tag.ends_with(&**value)),
            Test::Contains(value) => tag.is_some_and(|tag| tag.contains(&**value)),
            Test::Number { value, less, equal, greater } => {
                let ordering = tag.and_then(|tag| decimal::compare(tag, value));
                ordering.is_some_and(|ordering| match ordering {
                    Ordering::Less => *less,
                    Ordering::Equal => *equal,
                    Ordering::Greater => *greater,
                })
            }
        }
    }
}

fn comparison(node: &FilterNode<'_>) -> Result<Filter, FilterError> {
    let value = || Box::<str>::from(&*node.val);
    let number = |less, equal, greater| Test::Number { value: value(), less, equal, greater };
    let (test, negated) = match &*node.cmp {
        "eq" => (Test::Equal(value()), false),
        "neq" => (Test::Equal(value()), true),
        "in" => (Test::In(sorted(node)), false),
        "nin" => (Test::In(sorted(node)), true),
        "ex" => (Test::Exists, false),
        "nex" => (Test::Exists, true),
        "sw" => (Test::StartsWith(value()), false),
        "ew" => (Test::EndsWith(value()), false),
        "ct" => (Test::Contains(value()), false),
        "lt" => (number(true, false, false), false),
        "lte" => (number(true, true, false), false),
        "gt" => (number(false, false, true), false),
        "gte" => (number(false, true, true), false),
        _ => return Err(FilterError::UnknownComparison),
    };
    let (one, many) = match test {
        Test::Exists => (false, false),
        Test::In(_) => (false, true),
        Test::Equal(_)
        | Test::StartsWith(_)
        | Test::EndsWith(_)
        | Test::Contains(_)
        | Test::Number { .. } => (true, false),
    };
    if node.val.is_empty() == one || node.vals.is_empty() == many {
        return Err(FilterError::WrongValues);
    }
    if node.key.is_empty() && test != Test::Exists {
        return Err(FilterError::NoKey);
    }
    let test = Filter::Test { key: TagName::new(&node.key), test };
    Ok(if negated { Filter::Not(Box::new(test)) } else { test })
}

fn sorted(node: &FilterNode<'_>) -> Box<[Box<str>]> {
    let mut values: Vec<Box<str>> = node.vals.iter().map(|value| Box::from(&**value)).collect();
    values.sort_unstable();
    values.dedup();
    values.into_boxed_slice()
}

/// How much of the bounds on filters one connection uses. A filter counts in full for each
/// subscription, even if other connections share it, because it exists as long as any of them does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub bytes: usize,
    pub filters: usize,
}

/// One connection may use at most this part of what is left of a worker's bounds. The less is left,
/// the less each connection gets, so there is always some for one that needs little.
const SHARES: usize = 64;
/// Bytes that the table takes for a filter, in addition to the filter's own.
const ENTRY_BYTES: usize = 160;

/// The filters of one edge, each once.
#[derive(Debug)]
pub struct Filters {
    /// Numbers of filters by the hash of the filter.
    by_hash: HashMap<u64, Vec<u16>, Keyed>,
    entries: Vec<Option<Entry>>,
    free: Vec<u16>,
    bytes: usize,
    /// Most bytes of all filters together, and of one connection's.
    bytes_max: usize,
    bytes_each_max: usize,
    /// Counts publications, to recognise a verdict about the current one.
    publication: u64,
    /// The tags of the current publication, filled when the first filter needs them.
    table: TagTable,
    filled: bool,
}

#[derive(Debug)]
struct Entry {
    filter: Filter,
    comparisons: u32,
    hash: u64,
    bytes: usize,
    subscriptions: u32,
    /// The publication that `matches` is about.
    publication: u64,
    matches: bool,
}

impl Filters {
    #[must_use]
    pub fn new(limits: &Limits, key: Key) -> Filters {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Filters {
            by_hash: HashMap::with_hasher(Keyed::new(key)),
            entries: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            bytes_max: bytes(limits.filter_bytes_per_worker),
            bytes_each_max: bytes(limits.filter_bytes_per_connection),
            publication: 0,
            table: TagTable::default(),
            filled: false,
        }
    }

    /// Adds a subscription with this filter to a connection that uses `held` already, and returns
    /// the filter's number; `None` if that connection would use too much, or too much of what is
    /// left (106).
    pub fn add(&mut self, filter: Filter, held: &mut Charge) -> Option<u16> {
        let bytes = ENTRY_BYTES + filter.bytes();
        let with = Charge { bytes: held.bytes + bytes, filters: held.filters + 1 };
        if with.bytes > self.bytes_each_max {
            return None;
        }
        let number = self.number(filter, bytes, with)?;
        *held = with;
        Some(number)
    }

    /// The filter's number; `None` if the filter is new and larger than the connection's share of
    /// what is left.
    fn number(&mut self, mut filter: Filter, bytes: usize, with: Charge) -> Option<u16> {
        let comparisons = filter.keyed(self.by_hash.hasher());
        let hash = self.by_hash.hasher().hash_one(&filter);
        let alike = self.by_hash.get(&hash).map_or(&[][..], Vec::as_slice);
        for number in alike {
            let entry = self.entries[usize::from(*number)].as_mut().expect("it is in use");
            if entry.filter == filter {
                entry.subscriptions += 1;
                return Some(*number);
            }
        }
        let used = self.entries.len() - self.free.len();
        let filters_left = usize::from(FILTERS_PER_WORKER).saturating_sub(used);
        let bytes_left = self.bytes_max.saturating_sub(self.bytes);
        if with.filters > filters_left.div_ceil(SHARES) || with.bytes > bytes_left / SHARES {
            return None;
        }
        let (subscriptions, publication, matches) = (1, 0, false);
        let entry =
            Some(Entry { filter, comparisons, hash, bytes, subscriptions, publication, matches });
        let number = if let Some(number) = self.free.pop() {
            self.entries[usize::from(number)] = entry;
            number
        } else {
            let number = u16::try_from(self.entries.len()).ok()?;
            if number >= FILTERS_PER_WORKER {
                return None;
            }
            self.entries.push(entry);
            number
        };
        self.by_hash.entry(hash).or_default().push(number);
        self.bytes += bytes;
        Some(number)
    }

    /// Bytes of all filters.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Removes a subscription of a connection that uses `held`; with the last one the filter is
    /// forgotten.
    ///
    /// # Panics
    /// If the number is not in use.
    pub fn remove(&mut self, number: u16, held: &mut Charge) {
        let place = &mut self.entries[usize::from(number)];
        let entry = place.as_mut().expect("a number is in use until its last subscription ends");
        entry.subscriptions -= 1;
        *held = Charge { bytes: held.bytes - entry.bytes, filters: held.filters - 1 };
        if entry.subscriptions > 0 {
            return;
        }
        self.bytes -= entry.bytes;
        let hash = entry.hash;
        *place = None;
        self.free.push(number);
        let alike = self.by_hash.get_mut(&hash).expect("it was added");
        alike.retain(|other| *other != number);
        if alike.is_empty() {
            self.by_hash.remove(&hash);
        }
    }

    /// Begins with another publication.
    pub fn begin(&mut self) {
        self.publication += 1;
        self.filled = false;
    }

    /// The most that it can cost to check a publication against a filter, in nanoseconds. Long
    /// values, which few tags have, cost more.
    #[must_use]
    pub fn cost_ns(&self, number: u16) -> usize {
        let entry = self.entries.get(usize::from(number)).and_then(Option::as_ref);
        entry.map_or(0, |entry| entry.comparisons as usize * cost::COMPARISON)
    }

    /// Checks the current publication against a filter, and returns what that cost, in nanoseconds.
    pub fn judge(&mut self, number: u16, tags: Tags<'_>) -> usize {
        let known = self.entries.get(usize::from(number)).and_then(Option::as_ref);
        if known.is_none_or(|entry| entry.publication == self.publication) {
            return cost::MARK;
        }
        self.matches(number, tags);
        let comparisons = self.cost_ns(number) / cost::COMPARISON;
        comparisons * (cost::COMPARISON + self.table.longest_bytes() / cost::SEARCHED_BYTES_PER_NS)
    }

    /// Does the current publication, with these tags, pass a filter?
    pub fn matches(&mut self, number: u16, tags: Tags<'_>) -> bool {
        let Some(entry) = self.entries[usize::from(number)].as_mut() else {
            debug_assert!(false, "a number is in use until its last subscription ends");
            return true;
        };
        if entry.publication != self.publication {
            if !std::mem::replace(&mut self.filled, true) {
                self.table.fill(tags, self.by_hash.hasher());
            }
            entry.publication = self.publication;
            let table = &self.table;
            entry.matches = entry.filter.passes(&|key| table.value(tags, key));
        }
        entry.matches
    }

    /// Is there no filter?
    #[cfg(test)]
    pub fn is_unused(&self) -> bool {
        self.by_hash.is_empty() && self.entries.iter().all(Option::is_none)
    }

    /// The publications of a recovery that pass a filter, or all of them if there is none.
    #[must_use]
    pub fn keep(&self, number: u16, missed: Box<[Placed]>) -> Box<[Placed]> {
        let entry = self.entries.get(usize::from(number)).and_then(Option::as_ref);
        let Some(entry) = entry else { return missed };
        let mut kept = missed.into_vec();
        let (mut table, key) = (TagTable::default(), self.by_hash.hasher());
        kept.retain(|placed| {
            let tags = placed.block.tags();
            table.fill(tags, key);
            entry.filter.passes(&|key| table.value(tags, key))
        });
        kept.into_boxed_slice()
    }
}

#[cfg(test)]
mod tests;
