//! What commands were answered with, and what becomes of those that never will be.

use super::sending::is_fork;
use super::{Asked, Event, Search, Shard, Wire};
use crate::bridge::redis::error::{Cause, Remedy, StoreError};
use crate::bridge::redis::greeting::Server;
use crate::bridge::redis::keys::Partition;
use crate::bridge::redis::lines::{Fate, JobId, Task};
use crate::bridge::redis::link::Ended;
use crate::bridge::redis::link_error::{LinkError, shortened};
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::script::{self, By, Incarnation, Outcome};
use crate::bridge::redis::settling;
use crate::bridge::redis::stream::{Found, Part, removed};
use crate::contract::block::Placed;
use crate::contract::engine::{Answer, CallId, Failure, StreamRead};
use crate::contract::name::Name;
use crate::contract::position::Position;
use crate::contract::wire::{Reading, decode};
use crate::limits::{REDIS_EARLIER, REDIS_PAUSE_US};
use crate::rules::sabotage;

/// What becomes of a command that was answered with an error.
pub(super) enum Verdict {
    /// It was not carried out, and is sent again.
    Again,
    /// Whether it was carried out is not known.
    Unknown,
    /// It was not carried out, and is not asked for again.
    Refused,
}

impl Shard {
    /// The connection for commands is greeted: asks for what has to be known first (rule 29).
    pub(super) fn greeted(&mut self, server: Server) {
        self.note(Event::Up { wire: Wire::Commands, version: server.version.clone() });
        let is_same = |before: &&Server| {
            before.replication_id.is_some() && before.replication_id == server.replication_id
        };
        // In another incarnation the numbers are others'.
        match self.server.as_ref().filter(is_same) {
            Some(before) if self.earlier.len() < REDIS_EARLIER => {
                self.earlier.push(before.connection);
            }
            _ => {
                self.earlier.clear();
                self.users.forgotten();
                self.control.forgotten();
            }
        }
        self.server = Some(server);
        self.is_fenced = false;
        sabotage!(OneSender => (self.earlier, self.is_fenced) = (Vec::new(), true));
        self.must_load = false;
        self.paused_until_us = 0;
        if self.are_different() {
            self.subscriptions.end(LinkError::OtherServer);
        }
        self.ask_who();
    }

    pub(super) fn replied(&mut self, asked: Asked, value: Value) {
        match asked {
            Asked::Script => self.script_loaded(&value),
            // One that failed is tried again by the next fork, or after the next large read.
            Asked::Renew | Asked::Trim => {}
            Asked::Lease => self.take_lease(&value),
            Asked::Leave { is_last } => self.take_leave(is_last, &value),
            Asked::EchoKept => self.echo_kept(&value),
            Asked::Echo(number) => self.echo_answered(number, &value),
            Asked::Users { is_last } => self.told_users(is_last, &value),
            Asked::UsersLease(partition) => self.renewed_users(partition, &value),
            Asked::Nodes(question) => self.take_nodes(question, &value),
            Asked::Holds(question, node) => self.take_holder(question, node, &value),
            Asked::Tell(letter) => self.told(*letter, &value),
            Asked::Control => self.take_control(&value),
            Asked::Members(id) => self.take_members(id, &value),
            Asked::Kill(connection) => self.take_kill(connection, &value),
            Asked::Time => self.take_time(&value),
            Asked::Floor => self.take_floor(&value),
            Asked::Publish(items) => self.published(items, value),
            Asked::Begin(channel, job) => self.begun(channel, job, value),
            Asked::Open(channel, job) => self.opened(channel, job, value),
            Asked::Read(channel, job) => self.took_read(channel, job, value),
            Asked::Settle(search) => self.took_search(search, value),
            Asked::Pass(channel, job) => {
                self.done(&channel, job, &value, |id| Answer::Passed { id })
            }
            Asked::Remove(channel, job) => {
                self.done(&channel, job, &value, |id| Answer::Removed { id });
            }
        }
    }

    fn take_kill(&mut self, connection: i64, value: &Value) {
        if matches!(value, Value::Integer(_)) {
            self.earlier.retain(|earlier| *earlier != connection);
            self.is_fenced = self.earlier.is_empty();
        }
    }

    fn script_loaded(&mut self, value: &Value) {
        if let Value::Error(text) = value {
            self.end_unfit(&StoreError::new(text));
        }
    }

    /// Ends a connection on which what is always needed was refused.
    fn end_unfit(&mut self, error: &StoreError) {
        let text = shortened(error.text());
        let other = if error.cause() == Cause::NoPermission {
            LinkError::Login(text)
        } else {
            LinkError::Unavailable(text)
        };
        self.commands.end(LinkError::of(error).unwrap_or(other));
    }

    fn take_time(&mut self, value: &Value) {
        let Some(unix_us) = unix_us(value) else {
            return self.end_unfit(&StoreError::of(value));
        };
        self.started_us = unix_us.saturating_sub(self.now_us);
        let id = self.server.as_ref().and_then(|server| server.replication_id.clone());
        let Some(id) = id else {
            self.note(Event::NoIncarnation);
            return self.begin_serving();
        };
        let partition = Partition::all().next().expect("there is a first");
        let scripts = &self.scripts;
        self.commands.send(Asked::Floor, self.now_us, |out| {
            scripts.incarnation(
                out,
                By::Text,
                &Incarnation { partition, id: &id, now_us: unix_us },
            );
        });
    }

    fn take_floor(&mut self, value: &Value) {
        match script::floor(value) {
            Ok(floor) => {
                sabotage!(Incarnation => return self.begin_serving());
                if self.epochs.raise(floor.epoch.0) {
                    self.note(Event::FloorRaised(floor.epoch.0));
                    self.news.push_back(Answer::Forgotten);
                }
                self.begin_serving();
            }
            Err(error) => self.end_unfit(&error),
        }
    }

    fn begin_serving(&mut self) {
        self.serves = true;
        self.directory.reconnected();
        self.note_ready();
    }

    /// Does what an error asks for.
    pub(super) fn judge(&mut self, error: &StoreError) -> Verdict {
        match error.cause().remedy() {
            Remedy::Reload => {
                if !std::mem::replace(&mut self.must_load, true) {
                    self.note(Event::ScriptsLost);
                }
                Verdict::Again
            }
            Remedy::Later => {
                if self.paused_until_us <= self.now_us {
                    self.note(Event::Busy);
                }
                self.paused_until_us = self.now_us + REDIS_PAUSE_US;
                Verdict::Again
            }
            Remedy::Redial => {
                self.end_unfit(error);
                let is_known = error.cause() != Cause::Unexpected;
                if is_known { Verdict::Again } else { Verdict::Unknown }
            }
            Remedy::Refuse => {
                self.note(Event::Refused(error.text().into()));
                Verdict::Refused
            }
        }
    }

    fn published(&mut self, items: Vec<(Name, JobId)>, value: Value) {
        let mut again = Vec::new();
        match script::outcomes(value, items.len()) {
            Ok(outcomes) => {
                for ((channel, job), outcome) in items.iter().zip(outcomes) {
                    again.extend(self.take_outcome(channel, *job, outcome));
                }
            }
            Err(error) => {
                let verdict = self.judge(&error);
                for (_, job) in &items {
                    again.extend(self.take_verdict(*job, &verdict));
                }
            }
        }
        again.into_iter().rev().for_each(|job| self.lines.put_back(job));
        self.end_all(items.into_iter().map(|(channel, _)| channel));
    }

    /// The command about these channels is over, of which one may be named several times.
    fn end_all(&mut self, channels: impl Iterator<Item = Name>) {
        let mut channels: Vec<Name> = channels.collect();
        channels.sort_unstable();
        channels.dedup();
        channels.iter().for_each(|channel| self.lines.end(channel));
    }

    fn begun(&mut self, channel: Name, job: JobId, value: Value) {
        let again = match script::begun(value) {
            Ok(outcome) => self.take_outcome(&channel, job, outcome),
            Err(error) => {
                let verdict = self.judge(&error);
                self.take_verdict(job, &verdict)
            }
        };
        again.into_iter().for_each(|job| self.lines.put_back(job));
        self.lines.end(&channel);
    }

    /// What became of a publication. Gives it back if it is to be sent again.
    fn take_outcome(&mut self, channel: &Name, job: JobId, outcome: Outcome) -> Option<JobId> {
        match outcome {
            Outcome::Published(position) => {
                self.epochs.note(channel, position.epoch);
                let above = self.publish(job).and_then(|publish| publish.wish.above);
                if is_fork(above, position) {
                    self.epochs.forget(channel);
                    self.note(Event::Forked(channel.clone()));
                    self.renew(channel, position.epoch);
                    self.fail(job, Failure::Lost);
                } else {
                    self.succeed(job, position, true);
                }
                None
            }
            Outcome::Repeated(position) => {
                self.succeed(job, position, false);
                None
            }
            Outcome::Unknown => {
                self.epochs.forget(channel);
                let publish = self.publish(job)?;
                publish.begins = true;
                Some(job)
            }
            Outcome::Failed(error) => {
                let verdict = self.judge(&error);
                self.take_verdict(job, &verdict)
            }
        }
    }

    fn publish(&mut self, job: JobId) -> Option<&mut crate::bridge::redis::lines::Publish> {
        match &mut self.lines.job_mut(job)?.task {
            Task::Publish(publish) => Some(publish),
            Task::Pass(_) | Task::Announce(_) | Task::Remove | Task::Read { .. } => None,
        }
    }

    /// A command for this job came to nothing. Gives it back if it is to be sent again.
    fn take_verdict(&mut self, job: JobId, verdict: &Verdict) -> Option<JobId> {
        match verdict {
            Verdict::Again => Some(job),
            Verdict::Refused => {
                self.fail(job, Failure::Refused);
                None
            }
            Verdict::Unknown => {
                let floor = self.epochs.floor();
                match self.publish(job) {
                    Some(publish) => {
                        publish.fate = Fate::Unknown { floor };
                        Some(job)
                    }
                    None => {
                        self.fail(job, Failure::Lost);
                        None
                    }
                }
            }
        }
    }

    /// What has a number for an answer.
    fn done(
        &mut self,
        channel: &Name,
        job: JobId,
        value: &Value,
        answer: impl Fn(CallId) -> Answer,
    ) {
        match removed(value) {
            Ok(()) => {
                if let Some(job) = self.finish(job) {
                    self.say(job.worker, answer(job.call));
                }
            }
            Err(error) => self.come_to_nothing(job, &error),
        }
        self.lines.end(channel);
    }

    fn come_to_nothing(&mut self, job: JobId, error: &StoreError) {
        let verdict = self.judge(error);
        let again = self.take_verdict(job, &verdict);
        again.into_iter().for_each(|job| self.lines.put_back(job));
    }

    fn took_read(&mut self, channel: Name, job: JobId, value: Value) {
        let Some(Task::Read { reading, .. }) = self.lines.job_mut(job).map(|job| &mut job.task)
        else {
            return self.lines.end(&channel);
        };
        match reading.receive(value) {
            Ok(None) => return self.read_on(channel, job),
            Ok(Some(Found::Part(part))) if !self.epochs.is_below(part.epoch) => {
                self.epochs.note(&channel, part.epoch);
                self.answer_read(&channel, job, part);
            }
            Ok(Some(Found::Missing | Found::Part(_))) => return self.open(channel, job),
            Err(error) => self.come_to_nothing(job, &error),
        }
        self.lines.end(&channel);
    }

    fn answer_read(&mut self, channel: &Name, job: JobId, part: Part) {
        let Some(job) = self.finish(job) else { return };
        let wire = Reading { own: self.node, channel: channel.as_str(), now_us: self.now_us };
        let Part { epoch, mut after, entries: found, end, cut, top } = part;
        let mut entries = Vec::with_capacity(found.len());
        for (offset, data) in found {
            match decode(&data, &wire) {
                Ok(received) => entries.push(Placed { offset, block: received.block }),
                Err(error) => {
                    // What cannot be read is a hole: what is before it leads nowhere.
                    self.note(Event::Unreadable(error.to_string().into()));
                    entries.clear();
                    after = offset;
                }
            }
        }
        let (id, entries) = (job.call, entries.into_boxed_slice());
        let read = StreamRead { id, epoch, after, entries, end, cut, top };
        self.say(job.worker, Answer::Read(Box::new(read)));
    }

    fn opened(&mut self, channel: Name, job: JobId, value: Value) {
        match script::begun(value) {
            Ok(
                Outcome::Published(Position { epoch, offset })
                | Outcome::Repeated(Position { epoch, offset }),
            ) => {
                self.epochs.note(&channel, epoch);
                let entries = Vec::new();
                let (after, end, top) = (offset, offset, offset);
                let part = Part { epoch, after, entries, end, cut: false, top };
                self.answer_read(&channel, job, part);
            }
            Ok(Outcome::Unknown) => self.fail(job, Failure::Lost),
            Ok(Outcome::Failed(error)) | Err(error) => self.come_to_nothing(job, &error),
        }
        self.lines.end(&channel);
    }

    fn took_search(&mut self, mut search: Box<Search>, value: Value) {
        let found = match search.reading.receive(value) {
            Ok(None) => return self.search_on(search),
            Ok(Some(found)) => Some(found),
            Err(error) => match self.judge(&error) {
                Verdict::Again | Verdict::Unknown => None,
                Verdict::Refused => {
                    search.settling.jobs().for_each(|job| self.fail(job, Failure::Lost));
                    return self.lines.end(&search.channel);
                }
            },
        };
        let again = match found {
            Some(found) => self.settled(&search.settling.outcomes(&found)),
            None => search.settling.jobs().collect(),
        };
        again.into_iter().rev().for_each(|job| self.lines.put_back(job));
        self.lines.end(&search.channel);
    }

    /// What became of publications is known as far as it ever will be. Gives those to send again.
    fn settled(&mut self, outcomes: &[(JobId, settling::Outcome)]) -> Vec<JobId> {
        let is_found =
            |(_, it): &(JobId, settling::Outcome)| matches!(it, settling::Outcome::Found(_));
        let last = outcomes.iter().rposition(is_found);
        let mut again = Vec::new();
        for (index, (job, outcome)) in outcomes.iter().enumerate() {
            // Sent again it would come after one that was asked after it.
            let is_passed = last.is_some_and(|last| index < last);
            let publish = self.publish(*job);
            let has_key = publish.is_some_and(|publish| !publish.wish.key.is_empty());
            let may_go = match outcome {
                settling::Outcome::Found(position) => {
                    self.succeed(*job, *position, true);
                    continue;
                }
                settling::Outcome::Absent => !is_passed,
                settling::Outcome::Unclear => has_key && !is_passed,
            };
            match self.publish(*job) {
                Some(publish) if may_go => {
                    publish.fate = Fate::Open;
                    again.push(*job);
                }
                _ => self.fail(*job, Failure::Lost),
            }
        }
        again
    }

    /// The connection for commands is no more: publications in flight are looked for by the next,
    /// what was asked after them waits, and all else fails now.
    pub(super) fn strand(&mut self, ended: Ended<Asked>) {
        self.strand_control();
        let mut channels = Vec::new();
        let mut letters = Vec::new();
        let unsent = ended.unsent.into_iter().map(|asked| (asked, Verdict::Again));
        let lost = ended.lost.into_iter().map(|asked| (asked, Verdict::Unknown));
        for (asked, verdict) in lost.chain(unsent) {
            let items = match asked {
                Asked::Script
                | Asked::Time
                | Asked::Kill(_)
                | Asked::Floor
                | Asked::Renew
                // The next connection begins with one.
                | Asked::Lease
                | Asked::Leave { .. }
                | Asked::EchoKept
                | Asked::Echo(_)
                | Asked::Users { .. }
                | Asked::UsersLease(_)
                | Asked::Nodes(_)
                | Asked::Holds(..)
                | Asked::Control
                | Asked::Trim
                // Their homes ask again.
                | Asked::Members(_) => Vec::new(),
                Asked::Tell(letter) => {
                    letters.push(*letter);
                    Vec::new()
                }
                Asked::Publish(items) => items,
                Asked::Begin(channel, job)
                | Asked::Open(channel, job)
                | Asked::Read(channel, job)
                | Asked::Pass(channel, job)
                | Asked::Remove(channel, job) => vec![(channel, job)],
                Asked::Settle(search) => {
                    let channel = &search.channel;
                    search.settling.jobs().map(|job| (channel.clone(), job)).collect()
                }
            };
            let mut again = Vec::new();
            for (channel, job) in items {
                again.extend(self.take_verdict(job, &verdict));
                channels.push(channel);
            }
            again.into_iter().rev().for_each(|job| self.lines.put_back(job));
        }
        letters.into_iter().rev().for_each(|letter| self.control.send_again(letter));
        self.end_all(channels.into_iter());
        for job in self.lines.take_stranded() {
            let why = job.failure();
            self.answer_failed(job, why);
        }
    }
}

/// What TIME answers, in microseconds.
fn unix_us(value: &Value) -> Option<u64> {
    let Value::Array(parts) = value else { return None };
    let [Value::Blob(seconds), Value::Blob(rest)] = &parts[..] else { return None };
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    number(seconds)?.checked_mul(1_000_000)?.checked_add(number(rest)?)
}
