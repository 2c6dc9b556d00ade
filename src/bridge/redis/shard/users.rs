//! Who is here becomes sets in Redis, and what those answers mean.

use super::{Asked, Shard};
use crate::bridge::redis::keys::Partition;
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::encode::Command;
use crate::bridge::redis::users::Batch;
use crate::contract::engine::{Answer, CallId, Failure, UserChange};
use crate::limits::{REDIS_USERS_BYTES, USERS_LEASE_S, USERS_PER_CALL};

/// What is done to a set.
#[derive(Clone, Copy)]
enum Change {
    Add,
    Remove,
}

impl Shard {
    /// Takes over who came and went.
    pub(super) fn change_users(&mut self, worker: usize, id: CallId, changes: &[UserChange]) {
        let waits = self.may_send().then_some((worker, id));
        self.users.change(changes, waits, self.now_us);
        if waits.is_none() {
            self.say(worker, Answer::Failed { id, why: Failure::Away });
        }
    }

    /// Puts what Redis has to be told of users into bytes, as far as they go for now.
    pub(super) fn fill_users(&mut self) {
        let mut bytes = 0;
        while bytes < REDIS_USERS_BYTES
            && let Some(batch) = self.users.take_batch()
        {
            bytes += self.tell_users(&batch);
        }
    }

    fn tell_users(&mut self, batch: &Batch) -> usize {
        let Batch { partition, is_whole, come, gone } = batch;
        let mut bytes = 0;
        if *is_whole {
            self.send_users(*partition, b"DEL", &[], false);
        }
        for (change, names) in [(Change::Add, come), (Change::Remove, gone)] {
            let name: &[u8] = match change {
                Change::Add => b"SADD",
                Change::Remove => b"SREM",
            };
            for names in names.chunks(USERS_PER_CALL) {
                let names: Vec<&[u8]> = names.iter().map(|it| it.as_str().as_bytes()).collect();
                bytes += names.iter().map(|name| name.len() + 16).sum::<usize>();
                self.send_users(*partition, name, &names, false);
            }
        }
        let lease = USERS_LEASE_S.to_string();
        self.send_users(*partition, b"EXPIRE", &[lease.as_bytes()], true);
        bytes + 256
    }

    fn send_users(&mut self, partition: Partition, name: &[u8], parts: &[&[u8]], is_last: bool) {
        let (node, keys) = (self.node, self.scripts.keys());
        self.commands.send(Asked::Users { is_last }, self.now_us, |out| {
            let mut command = Command::new(out, 2 + parts.len());
            command.part(name);
            keys.push_users(&mut command, partition, node);
            for part in parts {
                command.part(part);
            }
        });
    }

    pub(super) fn told_users(&mut self, is_last: bool, value: &Value) {
        if !matches!(value, Value::Integer(_)) {
            self.users.refused();
            let error = crate::bridge::redis::error::StoreError::of(value);
            let _ = self.judge(&error);
        }
        if is_last {
            for (worker, id) in self.users.confirmed(self.now_us) {
                self.say(worker, Answer::UsersTold { id });
            }
        }
    }

    /// Has the sets live on for a while.
    pub(super) fn renew_users(&mut self) {
        let partitions: Vec<Partition> = self.users.partitions().collect();
        let (node, lease) = (self.node, USERS_LEASE_S.to_string());
        for partition in partitions {
            let keys = self.scripts.keys();
            self.commands.send(Asked::UsersLease(partition), self.now_us, |out| {
                let mut command = Command::new(out, 3);
                command.part(b"EXPIRE");
                keys.push_users(&mut command, partition, node);
                command.part(lease.as_bytes());
            });
        }
    }

    /// A set that is not there was lost: it is told anew.
    pub(super) fn renewed_users(&mut self, partition: Partition, value: &Value) {
        if matches!(value, Value::Integer(0)) && self.users.is_settled(partition) {
            self.users.tell_whole(partition);
        }
    }
}
