//! What is asked of one shard and not answered: every call once, and of each channel in order.
//!
//! At most one command about a channel is in flight, so that one that has to be sent again passes
//! nothing that was asked after it. Must not know commands or answers. Invariants: a job is in the
//! table until it is answered, and is taken out of it once; a channel is ready exactly while
//! something of it waits and nothing is in flight.

use super::stream::{Reading, entries_per_command};
use crate::contract::block::Block;
use crate::contract::engine::{CallId, Failure, Page, Session, Wish};
use crate::contract::name::Name;
use crate::limits::{HTTP_BODY_BYTES, REDIS_CALL_US};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Counts what was asked; a later one has a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(u64);

/// What is to be done for a call.
#[derive(Debug)]
pub enum Task {
    Publish(Box<Publish>),
    Pass(Block),
    /// A join or a leave, for the wire.
    Announce(Vec<u8>),
    Remove,
    /// With the session that it begins, where it does.
    Read {
        session: Option<Session>,
        reading: Box<Reading>,
    },
}

/// A publication that is to be put in order.
#[derive(Debug)]
pub struct Publish {
    pub block: Block,
    pub wish: Box<Wish>,
    /// What it is known by on the wire, the same however often it is sent.
    pub number: u64,
    pub fate: Fate,
    /// The quick way was tried and there was nothing to append to.
    pub begins: bool,
}

/// What may have become of a publication that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not sent, or is known not to have been carried out.
    Open,
    /// The connection ended while it was in flight, when the floor was this.
    Unknown { floor: u64 },
}

/// A call that is not answered.
#[derive(Debug)]
pub struct Job {
    pub worker: usize,
    pub call: CallId,
    pub channel: Name,
    pub task: Task,
    deadline_us: u64,
    /// It was in a command once.
    was_sent: bool,
}

impl Task {
    /// The read of a page, for the session that it begins, where it does. Its channel has to be
    /// heard before it is sent.
    #[must_use]
    pub fn read(session: Option<Session>, page: Page) -> Task {
        Task::Read { session, reading: Box::new(begin_reading(page)) }
    }
}

/// Begins to read a page, of a stream in which no block is larger than what may be published.
#[must_use]
pub fn begin_reading(page: Page) -> Reading {
    Reading::new(page, entries_per_command(2 * HTTP_BODY_BYTES))
}

impl Job {
    /// Microseconds since it was asked.
    #[must_use]
    pub fn waited_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.deadline_us.saturating_sub(REDIS_CALL_US))
    }

    /// Why it fails when its time is over, or when there is no connection for it any more.
    #[must_use]
    pub fn failure(&self) -> Failure {
        if self.was_sent || self.is_unknown() { Failure::Lost } else { Failure::Away }
    }

    /// Is it a publication of which nobody knows whether it was carried out?
    #[must_use]
    fn is_unknown(&self) -> bool {
        let Task::Publish(publish) = &self.task else { return false };
        publish.fate != Fate::Open
    }
}

/// The jobs of one channel.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<JobId>,
    /// A command about it is in flight.
    is_busy: bool,
    /// It is in the list of those that are ready.
    is_ready: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Lines {
    jobs: BTreeMap<JobId, Job>,
    lines: BTreeMap<Name, Line>,
    ready: VecDeque<Name>,
    asked: u64,
}

impl Lines {
    /// Takes a call over, that has to be answered by `deadline_us`. It waits in no line yet.
    pub fn add(&mut self, job: NewJob, deadline_us: u64) -> JobId {
        self.asked += 1;
        let id = JobId(self.asked);
        let NewJob { worker, call, channel, task } = job;
        let last = self.jobs.last_key_value().map_or(0, |(_, job)| job.deadline_us);
        debug_assert!(last <= deadline_us, "who asks first is due first");
        let job = Job { worker, call, channel, task, deadline_us, was_sent: false };
        self.jobs.insert(id, job);
        id
    }

    /// Puts a job at the end of its channel's line.
    pub fn stand(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let channel = job.channel.clone();
        self.lines.entry(channel.clone()).or_default().waiting.push_back(id);
        self.make_ready(&channel);
    }

    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(&id)
    }

    /// Is a channel ready?
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes a channel that is ready: something of it is to be sent now, and then `end` has to be
    /// called for it.
    pub fn take_ready(&mut self) -> Option<Name> {
        while let Some(channel) = self.ready.pop_front() {
            let Some(line) = self.lines.get_mut(&channel) else { continue };
            debug_assert!(line.is_ready && !line.is_busy, "it was in the list");
            line.is_ready = false;
            if self.first(&channel).is_some() {
                let line = self.lines.get_mut(&channel).expect("it has a first");
                line.is_busy = true;
                return Some(channel);
            }
            self.forget_if_idle(&channel);
        }
        None
    }

    /// Is a command about a channel in flight?
    #[must_use]
    pub fn is_busy(&self, channel: &Name) -> bool {
        self.lines.get(channel).is_some_and(|line| line.is_busy)
    }

    /// The first job of a channel that waits and is not answered.
    pub fn first(&mut self, channel: &Name) -> Option<JobId> {
        let line = self.lines.get_mut(channel)?;
        while let Some(id) = line.waiting.front() {
            if self.jobs.contains_key(id) {
                return Some(*id);
            }
            line.waiting.pop_front();
        }
        None
    }

    /// Takes the first job out of its line: a command carries it out.
    ///
    /// # Panics
    /// If there is none.
    pub fn take_first(&mut self, channel: &Name) -> JobId {
        let id = self.first(channel).expect("it was looked at");
        let line = self.lines.get_mut(channel).expect("it has a first");
        debug_assert!(line.is_busy, "only who was taken from the list is served");
        line.waiting.pop_front();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.was_sent = true;
        }
        id
    }

    /// Puts a job back to the head of its line.
    pub fn put_back(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if let Some(line) = self.lines.get_mut(&job.channel) {
            // A read that waited until its channel was heard is older than its place.
            let is_later = |next: &JobId| {
                let next_job = self.jobs.get(next);
                id < *next || next_job.is_none_or(|it| matches!(it.task, Task::Read { .. }))
            };
            debug_assert!(line.waiting.front().is_none_or(is_later), "out of order");
            line.waiting.push_front(id);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.was_sent = false;
        }
    }

    /// The command about a channel is over: the next may be sent.
    pub fn end(&mut self, channel: &Name) {
        if let Some(line) = self.lines.get_mut(channel) {
            debug_assert!(line.is_busy, "a command ends once");
            line.is_busy = false;
        }
        self.make_ready(channel);
        self.forget_if_idle(channel);
    }

    fn make_ready(&mut self, channel: &Name) {
        let Some(line) = self.lines.get_mut(channel) else { return };
        if !line.is_busy && !line.is_ready && !line.waiting.is_empty() {
            line.is_ready = true;
            self.ready.push_back(channel.clone());
        }
    }

    fn forget_if_idle(&mut self, channel: &Name) {
        let line = self.lines.get(channel);
        if line.is_some_and(|it| !it.is_busy && !it.is_ready && it.waiting.is_empty()) {
            self.lines.remove(channel);
        }
    }

    /// Takes a job out of the table: it is answered now. `None` where that was done before.
    pub fn finish(&mut self, id: JobId) -> Option<Job> {
        self.jobs.remove(&id)
    }

    /// The next job whose time is over. What is in flight for it is not waited for any more.
    pub fn take_overdue(&mut self, now_us: u64) -> Option<Job> {
        let entry = self.jobs.first_entry()?;
        let is_due = entry.get().deadline_us <= now_us;
        is_due.then(|| entry.remove())
    }

    /// When the first job's time is over.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        self.jobs.first_key_value().map(|(_, job)| job.deadline_us)
    }

    /// Jobs that are not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.jobs.len()
    }

    /// There is no connection any more, and nothing is in flight: takes out every job that cannot
    /// wait for the next one. What stays are publications whose fate is not known, and those asked
    /// after them in the same channels.
    pub fn take_stranded(&mut self) -> Vec<Job> {
        let mut stays: BTreeSet<&Name> = BTreeSet::new();
        let mut stranded = Vec::new();
        for (id, job) in &self.jobs {
            let is_publish = matches!(job.task, Task::Publish(_));
            if job.is_unknown() {
                stays.insert(&job.channel);
            } else if !is_publish || !stays.contains(&job.channel) {
                stranded.push(*id);
            }
        }
        let stranded = stranded.into_iter().filter_map(|id| self.jobs.remove(&id)).collect();
        debug_assert!(self.lines.values().all(|line| !line.is_busy), "something is in flight");
        self.lines.retain(|_, line| {
            line.waiting.retain(|id| self.jobs.contains_key(id));
            !line.waiting.is_empty()
        });
        self.ready.retain(|channel| self.lines.contains_key(channel));
        stranded
    }
}

/// A call to be taken over.
#[derive(Debug)]
pub struct NewJob {
    pub worker: usize,
    pub call: CallId,
    pub channel: Name,
    pub task: Task,
}
