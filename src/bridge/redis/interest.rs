//! Which channels are heard, for whom, and how far Redis has been told.
//!
//! A channel has one home here, so at most one session hears it. One that nobody hears any more is
//! told to Redis after a while, for subscribers often come back. Must not know connections or
//! homes. Invariants: a channel waits to be told of exactly while what is wanted is not what Redis
//! was told, and no command about it is in flight; a session is confirmed before its first read.

use super::lines::JobId;
use crate::contract::engine::Session;
use crate::contract::name::Name;
use crate::hashing::{Key, Keyed};
use crate::limits::{
    REDIS_CHANNELS, REDIS_LINGER_US, REDIS_NAMES_PER_COMMAND, REDIS_RETRY_US, REDIS_UNCONFIRMED,
};
use std::collections::{HashMap, VecDeque};

/// What Redis was told of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Off,
    Joining,
    On,
    Leaving,
}

/// Who hears a channel.
#[derive(Clone, Copy, Debug)]
struct Hearer {
    worker: usize,
    session: Session,
    /// The call that waits for the confirmation.
    waits: Option<JobId>,
    /// Publications may have been missed since.
    has_missed: bool,
}

#[derive(Debug)]
struct Channel {
    hearer: Option<Hearer>,
    told: Told,
    /// It is in the list of those that Redis has to be told of.
    is_listed: bool,
    /// Nobody has heard it since then, and an entry in the list of those that linger says so.
    idle_since_us: Option<u64>,
}

/// Names for one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// To be heard, or no more.
    pub joins: bool,
    pub names: Box<[Name]>,
}

/// What a confirmation, or its absence, is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// The first read of this call may be asked now.
    First(JobId),
    /// Publications may have been missed.
    Again(usize, Session),
    Nothing,
}

/// What becomes of a wish to hear a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// It is heard already.
    Heard,
    /// `confirmed` will say so.
    Waits,
    /// Too many are.
    Full,
}

/// See the module's page.
#[derive(Debug)]
pub struct Interest {
    channels: HashMap<Name, Channel, Keyed>,
    /// Those that Redis has to be told of.
    listed: VecDeque<Name>,
    /// Those that nobody hears, and since when.
    lingering: VecDeque<(u64, Name)>,
    /// Those that Redis refused, until they are tried again.
    refused: Vec<Name>,
    retry_us: u64,
    /// Names in flight.
    unconfirmed: usize,
}

impl Interest {
    /// Nothing is heard; `secret` keeps its hashing from being guessed.
    #[must_use]
    pub fn new(secret: Key) -> Interest {
        Interest {
            channels: HashMap::with_hasher(Keyed::new(secret)),
            listed: VecDeque::new(),
            lingering: VecDeque::new(),
            refused: Vec::new(),
            retry_us: u64::MAX,
            unconfirmed: 0,
        }
    }

    /// Channels that are heard, or were until just now.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.channels.len()
    }

    /// Hears a channel for this session, instead of any before.
    pub fn watch(&mut self, name: &Name, worker: usize, session: Session, job: JobId) -> Watching {
        if !self.channels.contains_key(name) && self.channels.len() >= REDIS_CHANNELS {
            return Watching::Full;
        }
        let channel = self.channels.entry(name.clone()).or_insert(Channel {
            hearer: None,
            told: Told::Off,
            is_listed: false,
            idle_since_us: None,
        });
        let is_heard = channel.told == Told::On;
        let waits = (!is_heard).then_some(job);
        channel.hearer = Some(Hearer { worker, session, waits, has_missed: false });
        self.list(name);
        if is_heard { Watching::Heard } else { Watching::Waits }
    }

    /// A session is over.
    pub fn unwatch(&mut self, name: &Name, session: Session, now_us: u64) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        if channel.hearer.is_none_or(|hearer| hearer.session != session) {
            return;
        }
        channel.hearer = None;
        if channel.idle_since_us.replace(now_us).is_none() {
            self.lingering.push_back((now_us, name.clone()));
        }
    }

    /// Who hears a channel.
    #[must_use]
    pub fn hearer(&self, name: &str) -> Option<(usize, Session)> {
        let hearer = self.channels.get(name)?.hearer?;
        Some((hearer.worker, hearer.session))
    }

    /// Lists a channel, where Redis has to be told of it.
    fn list(&mut self, name: &Name) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        let is_wanted = channel.hearer.is_some() || channel.idle_since_us.is_some();
        let is_due = match channel.told {
            Told::Off => is_wanted,
            Told::On => !is_wanted,
            Told::Joining | Told::Leaving => false,
        };
        if is_due && !channel.is_listed {
            channel.is_listed = true;
            self.listed.push_back(name.clone());
        } else if !is_wanted && channel.told == Told::Off && !channel.is_listed {
            self.channels.remove(name);
        }
    }

    /// Lets go of what has lingered, and tries again what was refused.
    pub fn turn(&mut self, now_us: u64) {
        while let Some((since_us, name)) = self.lingering.front().cloned()
            && now_us >= since_us + REDIS_LINGER_US
        {
            self.lingering.pop_front();
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            let idle_since_us = channel.idle_since_us.take();
            if let (None, Some(idle_us)) = (channel.hearer, idle_since_us)
                && idle_us > since_us
            {
                channel.idle_since_us = idle_since_us;
                self.lingering.push_back((idle_us, name));
                continue;
            }
            self.list(&name);
        }
        if now_us >= self.retry_us {
            self.retry_us = u64::MAX;
            for name in std::mem::take(&mut self.refused) {
                self.list(&name);
            }
        }
    }

    /// When `turn` has something to do.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        let lingers = self.lingering.front().map(|(since_us, _)| since_us + REDIS_LINGER_US);
        let retries = (self.retry_us < u64::MAX).then_some(self.retry_us);
        lingers.into_iter().chain(retries).min()
    }

    /// Names to tell Redis of by the next command, in the order in which they were listed.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut names = Vec::new();
        let mut joins = true;
        while names.len() < REDIS_NAMES_PER_COMMAND && self.unconfirmed < REDIS_UNCONFIRMED {
            let Some(name) = self.listed.front().cloned() else { break };
            let Some(channel) = self.channels.get_mut(&name) else {
                self.listed.pop_front();
                continue;
            };
            let is_wanted = channel.hearer.is_some() || channel.idle_since_us.is_some();
            let (is_due, next) = match (channel.told, is_wanted) {
                (Told::Off, true) => (true, Told::Joining),
                (Told::On, false) => (true, Told::Leaving),
                (told, _) => (false, told),
            };
            if is_due && !names.is_empty() && joins != is_wanted {
                break;
            }
            self.listed.pop_front();
            channel.is_listed = false;
            channel.told = next;
            if is_due {
                joins = is_wanted;
                self.unconfirmed += 1;
                names.push(name);
            } else {
                self.list(&name);
            }
        }
        (!names.is_empty()).then(|| Batch { joins, names: names.into_boxed_slice() })
    }

    /// Redis has confirmed that a channel is heard, or no more.
    pub fn confirmed(&mut self, name: &str, joins: bool) -> Confirmed {
        let expected = if joins { Told::Joining } else { Told::Leaving };
        let Some((name, channel)) = self.channels.get_key_value(name) else {
            return Confirmed::Nothing;
        };
        if channel.told != expected {
            return Confirmed::Nothing;
        }
        let name = name.clone();
        self.unconfirmed -= 1;
        let channel = self.channels.get_mut(&name).expect("it was just there");
        channel.told = if joins { Told::On } else { Told::Off };
        let confirmed = match &mut channel.hearer {
            Some(hearer) if joins => match hearer.waits.take() {
                Some(job) => Confirmed::First(job),
                None if std::mem::take(&mut hearer.has_missed) => {
                    Confirmed::Again(hearer.worker, hearer.session)
                }
                None => Confirmed::Nothing,
            },
            _ => Confirmed::Nothing,
        };
        self.list(&name);
        confirmed
    }

    /// Redis has refused a command: the calls that waited for its names come to nothing. Who heard
    /// one of them before still wants to.
    #[must_use]
    pub fn objected(&mut self, batch: &Batch, now_us: u64) -> Vec<JobId> {
        let mut failed = Vec::new();
        for name in &batch.names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            if !matches!(channel.told, Told::Joining | Told::Leaving) {
                continue;
            }
            self.unconfirmed -= 1;
            channel.told = if batch.joins { Told::Off } else { Told::On };
            failed.extend(channel.hearer.and_then(|hearer| hearer.waits));
            if self.refused.is_empty() {
                self.retry_us = now_us + REDIS_RETRY_US;
            }
            self.refused.push(name.clone());
        }
        failed
    }

    /// The connection is no more, so nothing is heard: gives the calls that waited for a
    /// confirmation. Who heard a channel wants to again, and has missed what came meanwhile.
    #[must_use]
    pub fn lost(&mut self) -> Vec<JobId> {
        let mut failed = Vec::new();
        self.unconfirmed = 0;
        self.refused.clear();
        self.retry_us = u64::MAX;
        let mut names = Vec::with_capacity(self.channels.len());
        for (name, channel) in &mut self.channels {
            channel.told = Told::Off;
            if let Some(hearer) = &mut channel.hearer {
                failed.extend(hearer.waits.take());
                hearer.has_missed = true;
            } else {
                channel.idle_since_us = None;
            }
            names.push(name.clone());
        }
        names.iter().for_each(|name| self.list(name));
        // By time, and not as the table has them.
        failed.sort_unstable();
        failed
    }
}

#[cfg(test)]
mod tests;
