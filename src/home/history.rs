//! The history of a channel: its last publications in order, without a gap.
//!
//! Must not know engines or lanes. Invariant: offsets rise by one from front to back.

use crate::contract::block::{Block, Placed};
use std::collections::VecDeque;

/// The ring of a channel's kept publications.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Placed>,
    bytes: usize,
}

impl History {
    /// Appends the next publication, and drops the oldest over `size`.
    pub fn push(&mut self, offset: u64, block: Block, size: usize) {
        if let Some(back) = self.entries.back() {
            debug_assert_eq!(back.offset + 1, offset, "history has no gap");
        }
        self.bytes += block.size();
        self.entries.push_back(Placed { offset, block });
        while self.entries.len() > size {
            let oldest = self.entries.pop_front().expect("it is not empty");
            self.bytes -= oldest.block.size();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything that was published after `offset`, up to `last`, the channel's last offset;
    /// `None` if some of it is gone, or it has more than `bytes_max`.
    #[must_use]
    pub fn since(&self, offset: u64, last: u64, bytes_max: usize) -> Option<Box<[Placed]>> {
        if offset > last {
            return None;
        }
        let missed = usize::try_from(last - offset).ok()?;
        let start = self.entries.len().checked_sub(missed)?;
        let range = self.entries.range(start..);
        if range.clone().map(|placed| placed.block.size()).sum::<usize>() > bytes_max {
            return None;
        }
        debug_assert!(range.clone().next().is_none_or(|first| first.offset == offset + 1));
        Some(range.cloned().collect())
    }

    /// A page for a history call: after (or, reversed, before) `since`, at most `limit`
    /// publications (negative: no limit) and `bytes_max` bytes, but at least one, so that a reader
    /// that asks for further pages reaches the end. Also returns whether `bytes_max` cut it.
    #[must_use]
    pub fn page(&self, query: &Page) -> (Box<[Placed]>, bool) {
        let count = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let mut left = query.bytes_max;
        let (mut first, mut cut) = (true, false);
        let mut fits = |placed: &&Placed| {
            let size = placed.block.size();
            cut = size > left && !first;
            first = false;
            left = left.saturating_sub(size);
            !cut
        };
        let publications = match (query.reverse, query.since) {
            (false, since) => {
                let after = |placed: &&Placed| placed.offset > since.unwrap_or(0);
                let entries = self.entries.iter().filter(after).take(count);
                entries.take_while(&mut fits).cloned().collect()
            }
            (true, since) => {
                // If the publication before it is not kept, or not published yet, there is nothing
                // after it.
                let kept = since.is_none_or(|since| {
                    since.checked_sub(1).is_some_and(|before| self.get(before).is_some())
                });
                let before = |placed: &&Placed| kept && placed.offset < since.unwrap_or(u64::MAX);
                let entries = self.entries.iter().rev().filter(before).take(count);
                entries.take_while(&mut fits).cloned().collect()
            }
        };
        (publications, cut)
    }

    /// The kept publication with this offset.
    #[must_use]
    pub fn get(&self, offset: u64) -> Option<&Placed> {
        let first = self.entries.front()?.offset;
        self.entries.get(usize::try_from(offset.checked_sub(first)?).ok()?)
    }
}

/// What a history call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub since: Option<u64>,
    pub limit: i32,
    pub reverse: bool,
    pub bytes_max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    const ZERO: Now = Now { monotonic_us: 0, unix_ms: 0 };

    fn filled(count: u64, size: usize) -> History {
        let mut history = History::default();
        for offset in 1..=count {
            history.push(offset, Block::plain("c", offset.to_string().as_bytes(), ZERO), size);
        }
        history
    }

    fn offsets(entries: &[Placed]) -> Vec<u64> {
        entries.iter().map(|placed| placed.offset).collect()
    }

    #[test]
    fn recovery_is_whole_or_not_at_all() {
        let history = filled(10, 4);
        assert_eq!(offsets(&history.since(6, 10, 1 << 20).unwrap()), [7, 8, 9, 10]);
        assert_eq!(history.since(10, 10, 1 << 20).unwrap().len(), 0);
        assert!(history.since(5, 10, 1 << 20).is_none(), "6 is gone");
        assert!(history.since(11, 10, 1 << 20).is_none(), "from the future");
        assert!(history.since(6, 10, 10).is_none(), "more than the bound");
    }

    #[test]
    fn pages_run_both_ways() {
        let history = filled(10, 8);
        let page = |since, limit, reverse| {
            let (page, cut) = history.page(&Page { since, limit, reverse, bytes_max: 1 << 20 });
            assert!(!cut);
            offsets(&page)
        };
        assert_eq!(page(None, -1, false), (3..=10).collect::<Vec<_>>());
        assert_eq!(page(Some(5), 2, false), [6, 7]);
        assert_eq!(page(None, 2, true), [10, 9]);
        assert_eq!(page(Some(5), -1, true), [4, 3]);
        assert_eq!(page(None, 0, false), Vec::<u64>::new());
        assert_eq!(page(Some(11), 2, true), [10, 9]);
        for past in [0, 1, 2, 3, 12, u64::MAX] {
            assert_eq!(page(Some(past), -1, true), Vec::<u64>::new(), "{past}");
        }
        let one = Block::plain("c", b"1", ZERO).size();
        // Two fit; if not even one fits, one is returned anyway.
        let table = [
            (2 * one, -1, false, vec![3, 4], true),
            (2 * one, 2, false, vec![3, 4], false),
            (2 * one + 1, 3, true, vec![10, 9], true),
            (1, -1, false, vec![3], true),
            (0, -1, true, vec![10], true),
            (0, 1, false, vec![3], false),
            (0, 0, false, vec![], false),
        ];
        for (bytes_max, limit, reverse, expected, cut) in table {
            let page = history.page(&Page { since: None, limit, reverse, bytes_max });
            assert_eq!(
                (offsets(&page.0), page.1),
                (expected, cut),
                "{bytes_max} {limit} {reverse}"
            );
        }
    }

    #[test]
    fn bytes_follow_what_is_kept() {
        let mut history = filled(100, 3);
        assert_eq!(
            history.bytes(),
            (98..=100)
                .map(|n: u64| { Block::plain("c", n.to_string().as_bytes(), ZERO).size() })
                .sum::<usize>()
        );
        assert_eq!(history.get(99).map(|placed| placed.offset), Some(99));
        assert!(history.get(97).is_none() && history.get(101).is_none());
        history.clear();
        assert_eq!(history.bytes(), 0);
    }
}
