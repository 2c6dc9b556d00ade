//! Which users have connections at this node, and how far Redis has been told.
//!
//! Redis has a set of them for each partition, which ends by itself when the node does. Must not
//! know who asks for a user. Invariants: a partition is in the queue exactly while something of it
//! has to be told; what was in flight when a connection ended is told again; whoever waits is
//! answered once.

use super::keys::Partition;
use crate::contract::engine::{CallId, UserChange};
use crate::contract::name::Name;
use crate::hashing::{Key, Keyed};
use crate::limits::{REDIS_RETRY_US, REDIS_USERS_US, USERS_PER_CALL};
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Counts the calls that were taken over.
type WaitId = u64;

/// What one partition has.
#[derive(Debug)]
struct Part {
    here: HashSet<Name, Keyed>,
    /// Users of whom Redis has to be told, for these calls.
    pending: VecDeque<(Name, WaitId)>,
    /// It has to be told of all.
    is_whole: bool,
    is_queued: bool,
}

/// A call that waits until its users are told.
#[derive(Debug)]
struct Wait {
    worker: usize,
    call: CallId,
    left: usize,
    deadline_us: u64,
}

/// What is in flight about one partition.
#[derive(Debug)]
struct Flying {
    partition: Partition,
    items: Vec<(Name, WaitId)>,
    is_whole: bool,
    has_failed: bool,
}

/// What Redis is to be told of one partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub partition: Partition,
    /// Nothing that it knows holds any more.
    pub is_whole: bool,
    pub come: Vec<Name>,
    pub gone: Vec<Name>,
}

/// See the module's page.
#[derive(Debug)]
pub struct Users {
    hasher: Keyed,
    parts: BTreeMap<Partition, Part>,
    queue: VecDeque<Partition>,
    flying: VecDeque<Flying>,
    waits: BTreeMap<WaitId, Wait>,
    asked: WaitId,
    /// Partitions that Redis refused, until they are tried again.
    refused: Vec<Partition>,
    retry_us: u64,
}

impl Users {
    /// Nobody is here; `secret` keeps its hashing from being guessed.
    #[must_use]
    pub fn new(secret: Key) -> Users {
        Users {
            hasher: Keyed::new(secret),
            parts: BTreeMap::new(),
            queue: VecDeque::new(),
            flying: VecDeque::new(),
            waits: BTreeMap::new(),
            asked: 0,
            refused: Vec::new(),
            retry_us: u64::MAX,
        }
    }

    /// Notes who came and went. The call is answered when that is told, or `None` waits for it.
    pub fn change(&mut self, changes: &[UserChange], wait: Option<(usize, CallId)>, now_us: u64) {
        self.asked += 1;
        for UserChange { user, is_here } in changes {
            let partition = Partition::of(user.as_str());
            let part = self.parts.entry(partition).or_insert_with(|| Part {
                here: HashSet::with_hasher(self.hasher),
                pending: VecDeque::new(),
                is_whole: false,
                is_queued: false,
            });
            if *is_here {
                part.here.insert(user.clone());
            } else {
                part.here.remove(user);
            }
            part.pending.push_back((user.clone(), self.asked));
            self.line_up(partition);
        }
        if let Some((worker, call)) = wait {
            let (left, deadline_us) = (changes.len(), now_us + REDIS_USERS_US);
            self.waits.insert(self.asked, Wait { worker, call, left, deadline_us });
        }
    }

    fn line_up(&mut self, partition: Partition) {
        let Some(part) = self.parts.get_mut(&partition) else { return };
        let is_due = part.is_whole || !part.pending.is_empty();
        if is_due && !part.is_queued {
            part.is_queued = true;
            self.queue.push_back(partition);
        } else if !is_due && part.here.is_empty() {
            debug_assert!(!part.is_queued, "it has nothing to tell");
            self.parts.remove(&partition);
        }
    }

    /// What Redis is to be told next; `confirmed` follows when it was.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let partition = self.queue.pop_front()?;
        let part = self.parts.get_mut(&partition).expect("one in the queue is there");
        part.is_queued = false;
        let is_whole = std::mem::take(&mut part.is_whole);
        let most = if is_whole { part.pending.len() } else { USERS_PER_CALL };
        let most = most.min(part.pending.len());
        let items: Vec<_> = part.pending.drain(..most).collect();
        let (come, gone) = if is_whole {
            (part.here.iter().cloned().collect(), Vec::new())
        } else {
            items.iter().map(|(user, _)| user.clone()).partition(|user| part.here.contains(user))
        };
        self.flying.push_back(Flying { partition, items, is_whole, has_failed: false });
        if self.parts.get(&partition).is_some_and(|part| !part.pending.is_empty()) {
            self.line_up(partition);
        }
        Some(Batch { partition, is_whole, come, gone })
    }

    /// Redis has refused a command of the first batch in flight.
    pub fn refused(&mut self) {
        if let Some(first) = self.flying.front_mut() {
            first.has_failed = true;
        }
    }

    /// All of the first batch in flight was answered: gives the calls that need not wait any more.
    pub fn confirmed(&mut self, now_us: u64) -> Vec<(usize, CallId)> {
        let Some(Flying { partition, items, has_failed, .. }) = self.flying.pop_front() else {
            debug_assert!(false, "nothing was told");
            return Vec::new();
        };
        if has_failed {
            if self.refused.is_empty() {
                self.retry_us = now_us + REDIS_RETRY_US;
            }
            self.refused.push(partition);
        } else {
            self.line_up(partition);
        }
        let mut done = Vec::new();
        for (_, id) in items {
            let Some(wait) = self.waits.get_mut(&id) else { continue };
            debug_assert!(wait.left > 0, "each user is told once for a call");
            wait.left = wait.left.saturating_sub(1);
            if wait.left == 0 {
                done.push((wait.worker, wait.call));
                self.waits.remove(&id);
            }
        }
        done
    }

    /// Tries again what was refused; gives the calls that have waited long enough.
    pub fn turn(&mut self, now_us: u64) -> Vec<(usize, CallId)> {
        if now_us >= self.retry_us {
            self.retry_us = u64::MAX;
            std::mem::take(&mut self.refused).into_iter().for_each(|it| self.tell_whole(it));
        }
        let mut over = Vec::new();
        while let Some(entry) = self.waits.first_entry()
            && entry.get().deadline_us <= now_us
        {
            let wait = entry.remove();
            over.push((wait.worker, wait.call));
        }
        over
    }

    /// When `turn` has something to do.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        let waits = self.waits.first_key_value().map(|(_, wait)| wait.deadline_us);
        let retries = (self.retry_us < u64::MAX).then_some(self.retry_us);
        waits.into_iter().chain(retries).min()
    }

    /// Redis has lost what it was told of a partition.
    pub fn tell_whole(&mut self, partition: Partition) {
        if let Some(part) = self.parts.get_mut(&partition) {
            part.is_whole = true;
            self.line_up(partition);
        }
    }

    /// Redis is another than before: it is told of everybody.
    pub fn forgotten(&mut self) {
        let parts: Vec<Partition> = self.parts.keys().copied().collect();
        parts.into_iter().for_each(|partition| self.tell_whole(partition));
    }

    /// The connection is no more: what was in flight is told again. Gives the calls that waited.
    pub fn lost(&mut self) -> Vec<(usize, CallId)> {
        while let Some(Flying { partition, items, is_whole, .. }) = self.flying.pop_back() {
            if let Some(part) = self.parts.get_mut(&partition) {
                part.is_whole |= is_whole;
                items.into_iter().rev().for_each(|item| part.pending.push_front(item));
            }
            self.line_up(partition);
        }
        let waits = std::mem::take(&mut self.waits).into_values();
        waits.map(|wait| (wait.worker, wait.call)).collect()
    }

    /// Partitions that have users here.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.parts.iter().filter(|(_, part)| !part.here.is_empty()).map(|(part, _)| *part)
    }

    /// Has a partition users here, of whom nothing is in flight?
    #[must_use]
    pub fn is_settled(&self, partition: Partition) -> bool {
        let has_users = self.parts.get(&partition).is_some_and(|part| !part.here.is_empty());
        has_users && self.flying.iter().all(|flying| flying.partition != partition)
    }
}

#[cfg(test)]
mod tests;
