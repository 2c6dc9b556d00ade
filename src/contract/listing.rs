//! Lists of channels: which are meant, and how many subscriptions each has.
//!
//! Must not know who lists them. Invariant: the counts of other nodes are by rising names, each of
//! which is there once.

use super::name::Name;
use crate::limits::PATTERN_BYTES;
use globset::{GlobBuilder, GlobMatcher};

/// Which channels are to be listed: a glob over their names.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    /// `None`: all names match.
    matcher: Option<GlobMatcher>,
}

impl Pattern {
    /// None where the text is no glob, or is longer than `limits::PATTERN_BYTES`.
    #[must_use]
    pub fn read(text: &str) -> Option<Pattern> {
        if text.is_empty() || text == "*" {
            return Some(Pattern { text: "".into(), matcher: None });
        }
        if text.len() > PATTERN_BYTES {
            return None;
        }
        let glob = GlobBuilder::new(text).literal_separator(false).backslash_escape(true).build();
        Some(Pattern { text: text.into(), matcher: Some(glob.ok()?.compile_matcher()) })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.matcher.as_ref().is_none_or(|matcher| matcher.is_match(name))
    }
}

/// How far a list of a home's channels has progressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListCursor {
    /// The next place to visit.
    pub place: u32,
    /// Channels made after this many are not listed, so that none is listed twice; 0 at the start.
    pub made: u64,
}

/// A part of the list of a home's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsPart {
    /// Channels with the number of their subscriptions; at most `limits::CHANNELS_PER_PART`.
    pub channels: Box<[(Name, u32)]>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<ListCursor>,
}

/// Channels of other nodes, with the number of their subscriptions there. They are in two pieces of
/// memory, so that any number is dropped at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelCounts {
    names: String,
    /// Where each name ends, and its number.
    counts: Vec<(u32, u32)>,
}

impl ChannelCounts {
    /// Adds a channel, whose name is above those that are there.
    pub fn push(&mut self, name: &str, clients: u32) {
        debug_assert!(self.counts.last().is_none_or(|_| self.name(self.counts.len() - 1) < name));
        self.names.push_str(name);
        let end = u32::try_from(self.names.len()).expect("what one call is answered is bounded");
        self.counts.push((end, clients));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Memory that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.names.len() + self.counts.len() * size_of::<(u32, u32)>()
    }

    fn name(&self, place: usize) -> &str {
        let start = place.checked_sub(1).map_or(0, |before| self.counts[before].0);
        &self.names[start as usize..self.counts[place].0 as usize]
    }

    /// The channel at a place; its number is 0 if it was taken.
    #[must_use]
    pub fn at(&self, place: usize) -> (&str, u32) {
        (self.name(place), self.counts[place].1)
    }

    /// Takes the number of a channel; 0 where it is not there.
    pub fn take(&mut self, name: &str) -> u32 {
        let (mut low, mut high) = (0, self.counts.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return std::mem::take(&mut self.counts[middle].1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_globs_of_a_bounded_length() {
        for (text, name, matches) in [
            ("", "a:b", true),
            ("*", "a/b", true),
            ("a:*", "a:b", true),
            ("a:*", "b:a", false),
            ("?[ab]", "xb", true),
            ("?[!ab]", "xb", false),
            ("{a,b}x", "bx", true),
        ] {
            let pattern = Pattern::read(text).expect("a glob");
            assert_eq!(pattern.matches(name), matches, "{text} {name}");
        }
        assert!(Pattern::read("[a").is_none());
        assert!(Pattern::read(&"a".repeat(PATTERN_BYTES)).is_some());
        assert!(Pattern::read(&"a".repeat(PATTERN_BYTES + 1)).is_none());
    }

    #[test]
    fn counts_are_taken_once() {
        let mut counts = ChannelCounts::default();
        assert_eq!(counts.take("a"), 0);
        for (name, clients) in [("", 1), ("a", 2), ("ab", 3), ("\u{e9}", 4)] {
            counts.push(name, clients);
        }
        for (name, clients) in [("ab", 3), ("", 1), ("b", 0), ("a", 2), ("z", 0), ("a", 0)] {
            assert_eq!(counts.take(name), clients, "{name}");
        }
        assert_eq!((counts.len(), counts.at(1), counts.at(3)), (4, ("a", 0), ("\u{e9}", 4)));
    }
}
