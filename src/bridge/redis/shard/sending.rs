//! What waits in lines becomes commands: publications of many channels together, all else one by
//! one, and one command about a channel at a time.

use super::{Asked, Search, Shard};
use crate::bridge::redis::id::EPOCHS_END;
use crate::bridge::redis::lines::{Fate, JobId, Publish, Task, begin_reading};
use crate::bridge::redis::resp::encode::{Command, command};
use crate::bridge::redis::script::{Begin, By, Class, Item, Kept, Script, Scripts};
use crate::bridge::redis::settling::Settling;
use crate::bridge::redis::stream;
use crate::contract::engine::Failure;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use crate::contract::wire::{NodeId, Origin, encode};
use crate::limits::{REDIS_BATCH_ITEMS, REDIS_CALL_US, REDIS_CLOCK_SKEW_US, REDIS_OUTPUT_BYTES};
use std::collections::BTreeMap;

/// A publication of a batch.
struct BatchItem {
    job: JobId,
    channel: Name,
    epoch: Epoch,
    key: Box<str>,
    data: Vec<u8>,
}

/// Batches that are being filled, by what they ask for.
#[derive(Default)]
struct Batches(BTreeMap<Class, Vec<BatchItem>>);

impl Shard {
    /// Puts as much of what waits into bytes as is written at once.
    pub(super) fn fill_commands(&mut self) {
        let may_send = self.may_send() && !self.has_said_goodbye();
        if !may_send || self.now_us < self.paused_until_us {
            return;
        }
        self.paused_until_us = 0;
        if std::mem::take(&mut self.must_load) {
            self.load_scripts();
        }
        self.fill_users();
        self.fill_control();
        let begin = self.commands.waiting_bytes();
        while self.commands.waiting_bytes() - begin < REDIS_OUTPUT_BYTES && self.send_members() {}
        let mut batches = Batches::default();
        let mut bytes = 0;
        while bytes < REDIS_OUTPUT_BYTES
            && let Some(channel) = self.lines.take_ready()
        {
            bytes += self.serve(&channel, &mut batches);
        }
        for (class, items) in std::mem::take(&mut batches.0) {
            self.send_batch(class, &items);
        }
        self.fill_leave();
    }

    /// Appends what makes Redis keep our scripts.
    fn load_scripts(&mut self) {
        for script in Script::ALL {
            self.commands.send(Asked::Script, self.now_us, |out| Scripts::load(out, script));
        }
    }

    /// Begins what comes first of a channel. Gives the bytes that it takes, roughly.
    fn serve(&mut self, channel: &Name, batches: &mut Batches) -> usize {
        loop {
            let Some(first) = self.lines.first(channel) else {
                self.lines.end(channel);
                return 0;
            };
            let job = self.lines.job(first).expect("who comes first is not answered");
            match &job.task {
                Task::Publish(publish) => match publish.fate {
                    Fate::Unknown { floor } if publish.wish.key.is_empty() => {
                        if self.is_fenced && floor == self.epochs.floor() {
                            return self.settle(channel);
                        }
                        // What Redis forgot may have been heard: sent again it would be doubled.
                        self.fail(first, Failure::Lost);
                    }
                    Fate::Open | Fate::Unknown { .. } => {
                        return match self.quick_epoch(channel, first) {
                            Some(epoch) => self.batch(channel, epoch, batches),
                            None => self.begin(channel),
                        };
                    }
                },
                Task::Pass(_) | Task::Announce(_) => return self.pass(channel),
                Task::Remove => return self.remove(channel),
                Task::Read { .. } => return self.read(channel),
            }
        }
    }

    /// The epoch that a channel's stream has, if a publication may be appended as it is.
    fn quick_epoch(&mut self, channel: &Name, job: JobId) -> Option<Epoch> {
        let known = self.epochs.of(channel);
        let Task::Publish(publish) = &self.lines.job(job)?.task else { return None };
        // Only `begin` compares versions.
        if publish.begins || publish.wish.version.is_some() {
            return None;
        }
        let above = publish.wish.above.map(|above| above.epoch);
        let above = above.filter(|epoch| !self.epochs.is_below(*epoch) && *epoch != Epoch::NONE);
        // The later one is the newer.
        [known, above].into_iter().flatten().max_by_key(|epoch| epoch.0)
    }

    /// Puts the publications that come first into a batch, as many as fit and are of one class.
    fn batch(&mut self, channel: &Name, epoch: Epoch, batches: &mut Batches) -> usize {
        let mut class = None;
        let mut bytes = 0;
        let mut full = None;
        while let Some(first) = self.lines.first(channel)
            && let Some(Task::Publish(publish)) = self.lines.job(first).map(|job| &job.task)
            && !publish.begins
            && publish.wish.version.is_none()
            && (publish.fate == Fate::Open || !publish.wish.key.is_empty())
            && class.is_none_or(|class| class == Class::of(&publish.wish))
        {
            let of = Class::of(&publish.wish);
            let items = batches.0.entry(of).or_default();
            if items.len() >= REDIS_BATCH_ITEMS {
                full = Some(of);
                break;
            }
            class = Some(of);
            let data = encoded(self.node, publish);
            bytes += data.len() + ITEM_BYTES;
            let (channel, key) = (channel.clone(), publish.wish.key.clone());
            items.push(BatchItem { job: first, channel, epoch, key, data });
            self.lines.take_first(&items[items.len() - 1].channel);
        }
        if let Some(of) = full {
            let items = batches.0.remove(&of).expect("it is full");
            self.send_batch(of, &items);
            if class.is_none() {
                return bytes + self.batch(channel, epoch, batches);
            }
        }
        bytes
    }

    fn send_batch(&mut self, class: Class, items: &[BatchItem]) {
        debug_assert!(!items.is_empty() && items.len() <= REDIS_BATCH_ITEMS);
        self.metrics.batches.add(1);
        self.metrics.batched.add(items.len() as u64);
        let jobs = items.iter().map(|item| (item.channel.clone(), item.job)).collect();
        let scripts = &self.scripts;
        self.commands.send(Asked::Publish(jobs), self.now_us, |out| {
            let items = items.iter().map(|item| Item {
                channel: item.channel.as_str(),
                epoch: item.epoch,
                key: &item.key,
                block: &item.data,
            });
            scripts.publish(out, By::Digest, class, items);
        });
    }

    /// Publishes what comes first the slow way, which finds out the epoch or begins one.
    fn begin(&mut self, channel: &Name) -> usize {
        let job = self.lines.take_first(channel);
        let (floor, candidate) = (Epoch(self.epochs.floor()), self.candidate());
        let Some(Task::Publish(publish)) = self.lines.job(job).map(|job| &job.task) else {
            unreachable!("it was looked at");
        };
        let data = encoded(self.node, publish);
        let begin = Begin {
            channel: channel.as_str(),
            class: Class::of(&publish.wish),
            floor,
            candidate,
            low: publish.wish.above,
            item: Some(Kept {
                key: &publish.wish.key,
                block: &data,
                version: publish.wish.version.as_ref(),
            }),
        };
        let scripts = &self.scripts;
        self.commands.send(Asked::Begin(channel.clone(), job), self.now_us, |out| {
            scripts.begin(out, By::Digest, &begin);
        });
        data.len() + ITEM_BYTES
    }

    /// Gives a stream that is missing, or below the floor, a position for a read.
    pub(super) fn open(&mut self, channel: Name, job: JobId) {
        let begin = Begin {
            channel: channel.as_str(),
            class: Class::OPENED,
            floor: Epoch(self.epochs.floor()),
            candidate: self.candidate(),
            low: None,
            item: None,
        };
        let scripts = &self.scripts;
        self.commands.send(Asked::Open(channel.clone(), job), self.now_us, |out| {
            scripts.begin(out, By::Digest, &begin);
        });
    }

    /// Has a stream that gave a position twice begin an epoch, so that all who hear it are told.
    pub(super) fn renew(&mut self, channel: &Name, epoch: Epoch) {
        if !self.commands.is_open() {
            return;
        }
        // No stream has come as far.
        let low = Position { epoch, offset: EPOCHS_END - 1 };
        let begin = Begin {
            channel: channel.as_str(),
            class: Class::OPENED,
            floor: Epoch(self.epochs.floor()),
            candidate: self.candidate(),
            low: Some(low),
            item: None,
        };
        let scripts = &self.scripts;
        self.commands.send(Asked::Renew, self.now_us, |out| {
            scripts.begin(out, By::Text, &begin);
        });
    }

    /// What an epoch that begins now is, if nothing is above it: the time by Redis' clock. A floor
    /// is ahead of that at first, and a stream may begin there, expire, and begin again. So that
    /// its epochs differ, candidates go on from the floor, at half the pace, until the time has
    /// caught up.
    fn candidate(&self) -> Epoch {
        let now_us = self.started_us.saturating_add(self.now_us);
        let floor = self.epochs.floor();
        let raised_us = floor.saturating_sub(REDIS_CLOCK_SKEW_US);
        let ahead = floor.saturating_add(now_us.saturating_sub(raised_us) / 2);
        Epoch(now_us.max(ahead))
    }

    fn pass(&mut self, channel: &Name) -> usize {
        let job = self.lines.take_first(channel);
        let mut data = Vec::new();
        match self.lines.job_mut(job).map(|job| &mut job.task) {
            Some(Task::Pass(block)) => {
                self.numbers += 1;
                let origin = Origin { node: self.node, number: self.numbers };
                encode(block, origin, &mut data);
            }
            Some(Task::Announce(announced)) => data.clone_from(announced),
            Some(Task::Publish(_) | Task::Remove | Task::Read { .. }) | None => {
                unreachable!("it was looked at")
            }
        }
        let keys = self.scripts.keys();
        self.commands.send(Asked::Pass(channel.clone(), job), self.now_us, |out| {
            let mut command = Command::new(out, 3);
            // An empty id says that it is not kept.
            command.part(b"PUBLISH").joined(&keys.channel(channel.as_str())).joined(&[b" ", &data]);
        });
        data.len() + ITEM_BYTES
    }

    fn remove(&mut self, channel: &Name) -> usize {
        let job = self.lines.take_first(channel);
        let keys = self.scripts.keys();
        self.commands.send(Asked::Remove(channel.clone(), job), self.now_us, |out| {
            stream::remove(out, &keys.channel(channel.as_str()));
        });
        ITEM_BYTES
    }

    fn read(&mut self, channel: &Name) -> usize {
        let job = self.lines.take_first(channel);
        self.read_on(channel.clone(), job);
        ITEM_BYTES
    }

    /// Asks for the next part of a read; its channel is served again if nobody waits for it.
    pub(super) fn read_on(&mut self, channel: Name, job: JobId) {
        let Some(Task::Read { reading, .. }) = self.lines.job(job).map(|job| &job.task) else {
            return self.lines.end(&channel);
        };
        let keys = self.scripts.keys();
        self.commands.send(Asked::Read(channel.clone(), job), self.now_us, |out| {
            reading.command(out, &keys.channel(channel.as_str()));
        });
    }

    /// Looks for the publications that come first and whose fate is not known.
    fn settle(&mut self, channel: &Name) -> usize {
        let mut settling: Option<Settling> = None;
        while let Some(first) = self.lines.first(channel)
            && let Some(Task::Publish(publish)) = self.lines.job(first).map(|job| &job.task)
            && publish.fate != Fate::Open
        {
            let outlives = u64::from(publish.wish.ttl_s) * 1_000_000 > REDIS_CALL_US;
            let (above, number) = (publish.wish.above, publish.number);
            settling
                .get_or_insert_with(|| Settling::new(self.node, above, outlives))
                .seek(first, number);
            self.lines.take_first(channel);
        }
        let settling = settling.expect("the first was looked at");
        let reading = begin_reading(settling.page());
        self.search_on(Box::new(Search { channel: channel.clone(), settling, reading }));
        ITEM_BYTES
    }

    /// Asks for the next part of what a search reads.
    pub(super) fn search_on(&mut self, search: Box<Search>) {
        let keys = self.scripts.keys();
        let mut bytes = Vec::new();
        search.reading.command(&mut bytes, &keys.channel(search.channel.as_str()));
        self.commands.send(Asked::Settle(search), self.now_us, |out| out.append(&mut bytes));
    }

    /// Asks Redis for its clock, and for the end of the connections before, of which nothing may be
    /// carried out any more.
    pub(super) fn ask_who(&mut self) {
        self.load_scripts();
        for earlier in self.earlier.clone() {
            self.commands.send(Asked::Kill(earlier), self.now_us, |out| {
                let mut kill = Command::new(out, 4);
                kill.part(b"CLIENT").part(b"KILL").part(b"ID").number(earlier.unsigned_abs());
            });
        }
        self.commands.send(Asked::Time, self.now_us, |out| command(out, &[b"TIME"]));
    }
}

/// Bytes that a command takes beside a publication, roughly.
const ITEM_BYTES: usize = 256;

/// A publication in its form for the wire.
fn encoded(node: NodeId, publish: &Publish) -> Vec<u8> {
    let mut data = Vec::new();
    encode(&publish.block, Origin { node, number: publish.number }, &mut data);
    data
}

/// Was a position given before, to something else?
pub(super) fn is_fork(above: Option<Position>, position: Position) -> bool {
    above.is_some_and(|above| above.epoch == position.epoch && above.offset >= position.offset)
}
