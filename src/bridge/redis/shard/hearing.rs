//! The connection that hears: what Redis is told to send, and what it sends.

use super::leaving::LEFT;
use super::{Asked, Event, Shard, Wire};
use crate::bridge::redis::error::{Remedy, StoreError};
use crate::bridge::redis::id;
use crate::bridge::redis::interest::{Batch, Confirmed};
use crate::bridge::redis::lines::{JobId, Task};
use crate::bridge::redis::link::Heard;
use crate::bridge::redis::link_error::LinkError;
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::encode::{Command, Decimal, command};
use crate::contract::engine::{Answer, Failure, Session, StreamRead};
use crate::contract::position::Epoch;
use crate::contract::wire::members::{Membership, decode_membership, is_membership};
use crate::contract::wire::{Reading, decode};
use crate::limits::REDIS_OUTPUT_BYTES;
use bytes::Bytes;

impl Shard {
    /// Puts what Redis has to be told into bytes.
    pub(super) fn fill_subscriptions(&mut self) {
        let mut bytes = 0;
        while self.subscriptions.is_open() && bytes < REDIS_OUTPUT_BYTES {
            let Some(batch) = self.interest.take_batch() else { return };
            let name: &[u8] = if batch.joins { b"SUBSCRIBE" } else { b"UNSUBSCRIBE" };
            let (keys, names) = (self.scripts.keys(), batch.names.clone());
            self.subscriptions.send_fenced(batch, self.now_us, |out| {
                let before = out.len();
                let mut command = Command::new(out, 1 + names.len());
                command.part(name);
                for name in &names {
                    command.joined(&keys.channel(name.as_str()));
                }
                drop(command);
                bytes += out.len() - before;
            });
        }
    }

    /// Takes what that connection brought.
    pub(super) fn hear(&mut self, heard: Heard<Batch>) {
        match heard {
            Heard::Open(server) => {
                let version = server.version.clone();
                self.publisher = Some(server);
                if self.are_different() {
                    // The commands were there before: Redis has moved since.
                    self.commands.end(LinkError::OtherServer);
                }
                self.note(Event::Up { wire: Wire::Subscriptions, version });
                let control = &self.control_key;
                let batch = Batch { joins: true, names: Box::default() };
                self.subscriptions.send_fenced(batch, self.now_us, |out| {
                    command(out, &[b"SUBSCRIBE", control]);
                });
                self.echo.connected(self.now_us);
                self.turn_echo();
                self.note_ready();
            }
            Heard::Objection(text) => {
                // What a busy server says now it does not say later.
                let is_lasting = StoreError::new(&text).cause().remedy() == Remedy::Refuse;
                let why = if is_lasting { Failure::Refused } else { Failure::Away };
                self.note(Event::Refused(text));
                let Some(batch) = self.subscriptions.first().cloned() else { return };
                if batch.names.is_empty() {
                    return self.echo.refused(self.now_us);
                }
                for job in self.interest.objected(&batch, self.now_us) {
                    self.fail(job, why);
                }
            }
            Heard::Reply(..) => {}
            Heard::Push(parts) => self.take_push(&parts),
        }
    }

    /// Do the two connections reach different incarnations?
    pub(super) fn are_different(&self) -> bool {
        let one = self.server.as_ref().and_then(|server| server.replication_id.as_ref());
        let other = self.publisher.as_ref().and_then(|server| server.replication_id.as_ref());
        let are_both = self.commands.is_open() && self.subscriptions.is_open();
        are_both && one.is_some() && other.is_some() && one != other
    }

    fn take_push(&mut self, parts: &[Value]) {
        let [Value::Blob(kind), Value::Blob(key), rest @ ..] = parts else { return };
        if key[..] == self.control_key[..] {
            // Rung, or heard from now on: what came before was not.
            self.control.rung();
            if matches!(rest, [Value::Blob(said)] if said[..] == *LEFT) {
                self.directory.hurry(self.now_us);
            }
            return;
        }
        match (&kind[..], rest) {
            (b"message", [Value::Blob(payload)]) => self.take_message(key, payload),
            (b"subscribe", _) => self.take_confirmation(key, true),
            (b"unsubscribe", _) => self.take_confirmation(key, false),
            _ => {}
        }
    }

    fn take_confirmation(&mut self, key: &Bytes, joins: bool) {
        if joins && key[..] == self.echo_key[..] {
            return self.echo.heard();
        }
        let Some(name) = self.scripts.keys().name_of(key) else { return };
        match self.interest.confirmed(name, joins) {
            Confirmed::First(job) => self.begin_session(job),
            Confirmed::Again(worker, session) => self.say(worker, Answer::Lost { session }),
            Confirmed::Nothing => {}
        }
    }

    /// A channel is heard: its stream is read now, unless it has none, because nothing is kept.
    pub(super) fn begin_session(&mut self, id: JobId) {
        let is_kept = match self.lines.job(id).map(|job| &job.task) {
            Some(Task::Read { reading, .. }) => !reading.wants_nothing(),
            Some(Task::Publish(_) | Task::Pass(_) | Task::Announce(_) | Task::Remove) | None => {
                true
            }
        };
        if is_kept {
            return self.lines.stand(id);
        }
        let Some(job) = self.finish(id) else { return };
        let (epoch, entries) = (Epoch::NONE, Box::default());
        let read =
            StreamRead { id: job.call, epoch, after: 0, entries, end: 0, cut: false, top: 0 };
        self.say(job.worker, Answer::Read(Box::new(read)));
    }

    /// Somebody published.
    fn take_message(&mut self, key: &Bytes, payload: &Bytes) {
        if key[..] == self.echo_key[..] {
            return self.echo_came(payload);
        }
        self.metrics.heard.add(1);
        let Some(channel) = self.scripts.keys().name_of(key) else { return };
        let Some((worker, session)) = self.interest.hearer(channel) else { return };
        let Some((position, data)) = id::published(payload) else {
            return self.note(Event::Unreadable("a message without a position".into()));
        };
        if position.is_none() && is_membership(&data) {
            return self.take_membership((worker, session), &data);
        }
        let reading = Reading { own: self.node, channel, now_us: self.now_us };
        match decode(&data, &reading) {
            // This home has said it to its own subscribers.
            Ok(received) if position.is_none() && received.origin.node == self.node => {}
            Ok(received) => {
                let block = received.block;
                if received.origin.node != self.node {
                    let lag_us =
                        self.unix_us().saturating_sub(block.time_ms().saturating_mul(1_000));
                    self.metrics.lag.record(lag_us);
                }
                self.say(worker, Answer::Publication { session, position, block });
            }
            Err(error) => {
                self.note(Event::Unreadable(error.to_string().into()));
                // It has its place in the stream, which whoever reads on has to pass.
                if position.is_some() {
                    self.say(worker, Answer::Lost { session });
                }
            }
        }
    }

    /// Has Redis send what this node publishes to hear itself.
    fn hear_echoes(&mut self) {
        let (batch, key) = (Batch { joins: true, names: Box::default() }, &self.echo_key);
        self.subscriptions.send_fenced(batch, self.now_us, |out| {
            command(out, &[b"SUBSCRIBE", key]);
        });
    }

    /// Publishes what has to come back if it is time, and ends the connection by which the last
    /// did not.
    pub(super) fn turn_echo(&mut self) {
        if self.subscriptions.is_open() && self.echo.take_hearing(self.now_us) {
            self.hear_echoes();
        }
        if !self.is_ready() {
            return;
        }
        if self.echo.is_deaf(self.now_us) {
            return self.subscriptions.end(LinkError::Deaf);
        }
        let Some(number) = self.echo.begin(self.now_us) else { return };
        let (key, digits) = (&self.echo_key, Decimal::new(number));
        // A server that became a replica publishes, and may not be written.
        self.commands.send(Asked::EchoKept, self.now_us, |out| {
            command(out, &[b"SET", key, digits.as_bytes(), b"PX", ECHO_KEPT_MS]);
        });
        self.commands.send(Asked::Echo(number), self.now_us, |out| {
            command(out, &[b"PUBLISH", key, digits.as_bytes()]);
        });
    }

    /// Whether this server may be written is known.
    pub(super) fn echo_kept(&mut self, value: &Value) {
        if let Value::Error(text) = value {
            self.judge(&StoreError::new(text));
        }
    }

    pub(super) fn echo_answered(&mut self, number: u64, value: &Value) {
        if let Value::Error(text) = value {
            self.judge(&StoreError::new(text));
            return;
        }
        self.echo.answered(number, self.now_us);
    }

    /// What this node published has come back.
    fn echo_came(&mut self, payload: &Bytes) {
        let number = std::str::from_utf8(payload).ok().and_then(|digits| digits.parse().ok());
        if let Some(took_us) = number.and_then(|number| self.echo.came(number, self.now_us)) {
            self.metrics.echo.record(took_us);
            self.metrics.echo_ms.set((self.now_us / 1_000).max(1));
        }
    }

    /// Microseconds of Unix time, by the clock of Redis.
    fn unix_us(&self) -> u64 {
        self.started_us.saturating_add(self.now_us)
    }
    /// Somebody has joined or left.
    fn take_membership(&mut self, (worker, session): (usize, Session), data: &Bytes) {
        match decode_membership(data) {
            // This home has told its own subscribers.
            Ok(Membership { node, .. }) if node == self.node => {}
            Ok(Membership { who, joined, .. }) => {
                self.say(worker, Answer::Membership { session, who: Box::new(who), joined });
            }
            Err(error) => self.note(Event::Unreadable(error.to_string().into())),
        }
    }
}

/// Milliseconds for which Redis keeps what was written.
const ECHO_KEPT_MS: &[u8] = b"10000";
