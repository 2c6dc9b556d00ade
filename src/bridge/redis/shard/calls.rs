//! What homes call for, as what is to be done for it.

use super::members::MembersTask;
use super::{Event, Shard};
use crate::bridge::redis::interest::Watching;
use crate::bridge::redis::lines::{Fate, NewJob, Publish, Task};
use crate::contract::engine::{Answer, Call, CallId, Failure, Page, Session};
use crate::contract::name::Name;
use crate::limits::REDIS_CALL_US;
use crate::metrics::StoreCall;

impl Shard {
    /// Takes a home's call over.
    pub fn call(&mut self, worker: usize, call: Call, now_us: u64) {
        self.now_us = now_us;
        self.metrics.call(kind(&call));
        let (id, channel, task) = match call {
            Call::Unwatch { channel, session } => {
                return self.interest.unwatch(&channel, session, now_us);
            }
            Call::Users { id, changes } => return self.change_users(worker, id, &changes),
            Call::Nodes { id } => return self.tell_nodes(worker, id),
            Call::Channels { number, pattern } => {
                return self.ask_channels(worker, number, pattern);
            }
            Call::Listed { number, part } => return self.take_listed(number, &part),
            Call::ToUser { id, user, what } => return self.ask_others((worker, id), user, what),
            Call::CommandDone { number, took_effect } => {
                return self.control.command_done(number, took_effect);
            }
            Call::Watch { id, channel, session, page } => {
                return self.watch(worker, (id, channel, session), *page, now_us);
            }
            Call::Publish { id, block, wish } => {
                self.numbers += 1;
                let (number, fate) = (self.numbers, Fate::Open);
                let channel = Name::from(block.channel());
                let publish = Publish { block, wish, number, fate, begins: false };
                (id, channel, Task::Publish(Box::new(publish)))
            }
            Call::Pass { id, block } => (id, Name::from(block.channel()), Task::Pass(block)),
            Call::Read { id, channel, page } => (id, channel, Task::read(None, *page)),
            Call::Remove { id, channel } => (id, channel, Task::Remove),
            Call::Announce { id, channel, who, joined } => {
                (id, channel, Task::Announce(self.membership(*who, joined)))
            }
            Call::Note { id, channel, change } => {
                return self.ask_members(worker, (id, channel), MembersTask::Note(change));
            }
            Call::Members { id, channel, on, most } => {
                let list = self.listing(on, most);
                return self.ask_members(worker, (id, channel), list);
            }
            Call::Count { id, channel } => {
                return self.ask_members(worker, (id, channel), MembersTask::Count);
            }
        };
        // Whoever was asked before it in its channel is answered before it: what is in flight on a
        // connection that is about to be closed too.
        let is_behind = self.lines.is_busy(&channel) || self.lines.first(&channel).is_some();
        if !self.may_send() && !is_behind {
            return self.say(worker, Answer::Failed { id, why: Failure::Away });
        }
        let job = NewJob { worker, call: id, channel, task };
        let job = self.lines.add(job, now_us + REDIS_CALL_US);
        self.lines.stand(job);
    }

    fn watch(
        &mut self,
        worker: usize,
        (call, channel, session): (CallId, Name, Session),
        page: Page,
        now_us: u64,
    ) {
        if !self.is_ready() {
            return self.say(worker, Answer::Failed { id: call, why: Failure::Away });
        }
        let task = Task::read(Some(session), page);
        let job = NewJob { worker, call, channel: channel.clone(), task };
        let job = self.lines.add(job, now_us + REDIS_CALL_US);
        match self.interest.watch(&channel, worker, session, job) {
            Watching::Heard => self.begin_session(job),
            Watching::Waits => {}
            Watching::Full => {
                self.note(Event::Refused("too many channels are heard".into()));
                self.fail(job, Failure::Refused);
            }
        }
    }
}

fn kind(call: &Call) -> StoreCall {
    match call {
        Call::Watch { .. } => StoreCall::Watch,
        Call::Unwatch { .. } => StoreCall::Unwatch,
        Call::Publish { .. } => StoreCall::Publish,
        Call::Pass { .. } => StoreCall::Pass,
        Call::Read { .. } => StoreCall::Read,
        Call::Remove { .. } => StoreCall::Remove,
        Call::Users { .. } => StoreCall::Users,
        Call::ToUser { .. } => StoreCall::ToUser,
        Call::Nodes { .. } => StoreCall::Nodes,
        Call::CommandDone { .. } => StoreCall::CommandDone,
        Call::Channels { .. } => StoreCall::Channels,
        Call::Listed { .. } => StoreCall::Listed,
        Call::Announce { .. } => StoreCall::Announce,
        Call::Note { .. } => StoreCall::Note,
        Call::Members { .. } => StoreCall::Members,
        Call::Count { .. } => StoreCall::Count,
    }
}
