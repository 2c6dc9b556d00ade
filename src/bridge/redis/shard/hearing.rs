//! The connection that hears: what Redis is told to send, and what it sends.

use super::{Event, Shard, Wire};
use crate::bridge::redis::id;
use crate::bridge::redis::interest::{Batch, Confirmed};
use crate::bridge::redis::link::Heard;
use crate::bridge::redis::link_error::LinkError;
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::encode::Command;
use crate::contract::engine::{Answer, Failure};
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
                self.note_ready();
            }
            Heard::Objection(text) => {
                self.note(Event::Refused(text));
                let Some(batch) = self.subscriptions.first().cloned() else { return };
                for job in self.interest.objected(&batch, self.now_us) {
                    self.fail(job, Failure::Refused);
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
        match (&kind[..], rest) {
            (b"message", [Value::Blob(payload)]) => self.take_message(key, payload),
            (b"subscribe", _) => self.take_confirmation(key, true),
            (b"unsubscribe", _) => self.take_confirmation(key, false),
            _ => {}
        }
    }

    fn take_confirmation(&mut self, key: &Bytes, joins: bool) {
        let Some(name) = self.scripts.keys().name_of(key) else { return };
        match self.interest.confirmed(name, joins) {
            Confirmed::First(job) => self.lines.stand(job),
            Confirmed::Again(worker, session) => self.say(worker, Answer::Lost { session }),
            Confirmed::Nothing => {}
        }
    }

    /// Somebody published.
    fn take_message(&mut self, key: &Bytes, payload: &Bytes) {
        let Some(channel) = self.scripts.keys().name_of(key) else { return };
        let Some((worker, session)) = self.interest.hearer(channel) else { return };
        let Some((position, data)) = id::published(payload) else {
            return self.note(Event::Unreadable("a message without a position".into()));
        };
        let reading = Reading { own: self.node, channel, now_us: self.now_us };
        match decode(&data, &reading) {
            // This home has said it to its own subscribers.
            Ok(received) if position.is_none() && received.origin.node == self.node => {}
            Ok(received) => {
                let block = received.block;
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
}
