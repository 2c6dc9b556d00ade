//! The ledger: what was acknowledged, what each subscriber was given, and what was declared to it.
//!
//! Must not know connections. Invariants: no two contents have one epoch and offset; a subscriber
//! is given each publication once, a publisher's in order, and without a hole between two
//! declarations; what was asked for after its last declaration and acknowledged is given to it; and
//! what it lacks of the time before was acknowledged not long before it was told so.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Longest time from an acknowledgement to the declaration that it may be lost: Redis may be away
/// for half of it.
const TOLD: Duration = Duration::from_secs(10);

/// Who published in which channel, and the number there.
pub type Payload = (usize, u32, u32);

/// What one subscriber knows.
#[derive(Debug)]
pub struct Account {
    channel: usize,
    pub epoch: String,
    last: u64,
    /// When what it is given now began: at its subscription, or at the last declaration.
    began: Instant,
    declared: u64,
    given: HashSet<Payload>,
    newest: HashMap<u32, u32>,
}

impl Account {
    #[must_use]
    pub fn declared(&self) -> u64 {
        self.declared
    }
}

#[derive(Default)]
pub struct Book {
    contents: HashMap<(usize, String, u64), Payload>,
    /// When each acknowledged publication was asked for, and when it was acknowledged.
    acknowledged: HashMap<Payload, (Instant, Instant)>,
    pub accounts: Vec<Account>,
    pub published: u64,
    pub errors: u64,
    pub delivered: u64,
    pub faults: Vec<String>,
}

impl Book {
    pub fn open(&mut self, channel: usize) -> usize {
        self.accounts.push(Account {
            channel,
            epoch: String::new(),
            last: 0,
            began: Instant::now(),
            declared: 0,
            given: HashSet::new(),
            newest: HashMap::new(),
        });
        self.accounts.len() - 1
    }

    pub fn acknowledge(&mut self, payload: Payload, asked: Instant) {
        if self.acknowledged.insert(payload, (asked, Instant::now())).is_some() {
            self.faults.push(format!("{payload:?} was acknowledged twice"));
        }
    }

    /// A subscriber begins anew: it was told so, unless it is its first time.
    pub fn begin(&mut self, who: usize, (epoch, offset): (String, u64), now: Instant) {
        if !self.accounts[who].epoch.is_empty() {
            self.judge_declaration(who, now);
        }
        let account = &mut self.accounts[who];
        account.declared += u64::from(!account.epoch.is_empty());
        (account.epoch, account.last, account.began) = (epoch, offset, now);
    }

    /// What a subscriber lacks when it is told that it may have missed something is excused, unless
    /// it was acknowledged long ago.
    fn judge_declaration(&mut self, who: usize, now: Instant) {
        let account = &self.accounts[who];
        let mine = self.acknowledged.iter().filter(|(it, _)| it.0 == account.channel);
        let lost = mine.filter(|(it, (asked, _))| {
            (account.declared == 0 || *asked > account.began) && !account.given.contains(*it)
        });
        let oldest = lost.min_by_key(|(_, (_, acknowledged))| *acknowledged);
        if let Some((payload, (_, acknowledged))) = oldest
            && now.duration_since(*acknowledged) > TOLD
        {
            let late = now.duration_since(*acknowledged);
            self.faults.push(format!("subscriber {who}: told of {payload:?} after {late:?}"));
        }
    }

    pub fn deliver(&mut self, who: usize, offset: u64, payload: Payload) {
        let account = &mut self.accounts[who];
        let (channel, last) = (account.channel, account.last);
        if offset != last + 1 {
            self.faults.push(format!("subscriber {who}: offset {offset} after {last}"));
        }
        account.last = offset;
        if !account.given.insert(payload) {
            self.faults.push(format!("subscriber {who}: {payload:?} twice, at {offset}"));
        }
        if account.newest.insert(payload.1, payload.2).is_some_and(|before| before > payload.2) {
            self.faults.push(format!("subscriber {who}: {payload:?} late, at {offset}"));
        }
        let at = (channel, account.epoch.clone(), offset);
        let first = *self.contents.entry(at).or_insert(payload);
        if first != payload {
            self.faults.push(format!("two contents at {offset}: {first:?} and {payload:?}"));
        }
        self.delivered += 1;
    }

    /// Channel, epoch and offset of a subscriber.
    #[must_use]
    pub fn place(&self, who: usize) -> (usize, String, u64) {
        let account = &self.accounts[who];
        (account.channel, account.epoch.clone(), account.last)
    }

    #[must_use]
    pub fn is_of(&self, who: usize, channel: usize) -> bool {
        self.accounts[who].channel == channel
    }

    #[must_use]
    pub fn has(&self, who: usize, payload: &Payload) -> bool {
        self.accounts[who].given.contains(payload)
    }

    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    #[must_use]
    pub fn declared(&self) -> u64 {
        self.accounts.iter().map(|account| account.declared).sum()
    }

    /// Acknowledged publications that a subscriber lacks, though nothing was declared to it since.
    #[must_use]
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        for (who, account) in self.accounts.iter().enumerate() {
            let mine = self.acknowledged.iter().filter(|(it, _)| it.0 == account.channel);
            let since =
                mine.filter(|(_, (asked, _))| account.declared == 0 || *asked > account.began);
            let lost = since.filter(|(payload, _)| !account.given.contains(*payload));
            lacking.extend(lost.map(|(payload, _)| format!("subscriber {who} lacks {payload:?}")));
        }
        lacking
    }
}
