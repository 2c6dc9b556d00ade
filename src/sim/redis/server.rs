//! A simulated Redis: what it does with the commands of its connections.
//!
//! It knows exactly what the bridge sends. Must not know how bytes travel, nor who is connected.
//! Invariant: every command is answered in its turn, on its own connection.

use super::keyspace::{Id, Keyspace, Range, Refusal};
use super::plan::Copies;
use super::resp::{Reply, take_command};
use super::scripts::{Run, Script};
use crate::sim::random::Random;
use bytes::Bytes;
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

/// A connection's number, never used again.
pub type ConnectionId = u64;

/// What a server may be up to beside serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Serves,
    /// It reads its data after a start.
    Loads,
    /// A script runs for long.
    Busy,
}

#[derive(Debug, Default)]
struct Connection {
    input: Vec<u8>,
    out: VecDeque<u8>,
    subscribed: BTreeSet<Bytes>,
}

/// See the module's page. Times are in microseconds of Unix time.
pub struct Server {
    keyspace: Keyspace,
    scripts: BTreeMap<String, Option<Script>>,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: ConnectionId,
    replication_id: String,
    is_replica: bool,
    pub mood: Mood,
    pub copies: Copies,
    /// INFO may not be asked.
    pub hides_incarnation: bool,
    /// What was published since it was asked: where, and what.
    published: Vec<(Bytes, Bytes)>,
    random: Random,
}

impl Server {
    /// One that holds this. `first` is above every number of a connection before.
    #[must_use]
    pub fn new(keyspace: Keyspace, first: ConnectionId, mut random: Random) -> Server {
        Server {
            keyspace,
            scripts: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_connection: first,
            replication_id: format!("{:016x}{:024x}", random.word(), random.word()),
            is_replica: false,
            mood: Mood::default(),
            copies: Copies::default(),
            hides_incarnation: false,
            published: Vec::new(),
            random,
        }
    }

    /// Somebody connects.
    pub fn connect(&mut self) -> ConnectionId {
        self.last_connection += 1;
        self.connections.insert(self.last_connection, Connection::default());
        self.last_connection
    }

    /// The number that was given last.
    #[must_use]
    pub fn last_connection(&self) -> ConnectionId {
        self.last_connection
    }

    #[must_use]
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    /// A connection is no more.
    pub fn close(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }

    /// What it holds.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    pub fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// It follows another from now on.
    pub fn demote(&mut self) {
        self.is_replica = true;
        self.keyspace.refusal = Some(Refusal::ReadOnly);
    }

    /// It forgets the scripts.
    pub fn flush_scripts(&mut self) {
        self.scripts.clear();
    }

    /// What was published since the last time: where, and what.
    pub fn take_published(&mut self) -> Vec<(Bytes, Bytes)> {
        std::mem::take(&mut self.published)
    }

    /// Bytes that wait for a connection to take them.
    #[must_use]
    pub fn waiting(&self, connection: ConnectionId) -> usize {
        self.connections.get(&connection).map_or(0, |it| it.out.len())
    }

    /// Appends as many as `most` of them.
    pub fn take_output(&mut self, connection: ConnectionId, most: usize, into: &mut Vec<u8>) {
        let Some(it) = self.connections.get_mut(&connection) else { return };
        let count = most.min(it.out.len());
        into.extend(it.out.drain(..count));
    }

    /// Takes what a connection brought, and carries out what is whole.
    pub fn receive(&mut self, connection: ConnectionId, bytes: &[u8], now_us: u64) {
        let Some(it) = self.connections.get_mut(&connection) else { return };
        it.input.extend_from_slice(bytes);
        while let Some(it) = self.connections.get_mut(&connection) {
            match take_command(&mut it.input) {
                Ok(Some(parts)) => self.command(connection, &parts, now_us),
                Ok(None) => return,
                Err(_) => return self.close(connection),
            }
        }
    }

    fn command(&mut self, connection: ConnectionId, parts: &[Bytes], now_us: u64) {
        let name = String::from_utf8_lossy(&parts[0]).into_owned();
        let reply = match self.objection(&name) {
            Some(error) => Reply::Error(error.into()),
            None => match (name.as_str(), &parts[1..]) {
                ("SUBSCRIBE", names) => return self.subscribe(connection, names, true),
                ("UNSUBSCRIBE", names) => return self.subscribe(connection, names, false),
                (name, arguments) => self.answer(connection, (name, arguments), now_us),
            },
        };
        self.say(connection, &reply);
    }

    /// What it says instead of carrying out a command.
    fn objection(&self, name: &str) -> Option<&'static str> {
        let is_greeting = matches!(name, "HELLO" | "SELECT" | "INFO");
        match self.mood {
            Mood::Loads
                if !is_greeting && !matches!(name, "TIME" | "SUBSCRIBE" | "UNSUBSCRIBE") =>
            {
                Some("LOADING Redis is loading the dataset in memory")
            }
            Mood::Busy if name != "HELLO" => Some(
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
                 NOSAVE.",
            ),
            Mood::Serves | Mood::Loads | Mood::Busy => None,
        }
    }

    fn say(&mut self, connection: ConnectionId, reply: &Reply) {
        if let Some(it) = self.connections.get_mut(&connection) {
            let mut out = Vec::new();
            reply.write(&mut out);
            it.out.extend(out);
        }
    }

    fn answer(
        &mut self,
        connection: ConnectionId,
        (name, arguments): (&str, &[Bytes]),
        now_us: u64,
    ) -> Reply {
        let reply = match (name, arguments) {
            ("HELLO", [_, ..]) => Ok(self.hello(connection)),
            ("SELECT", [_]) => Ok(Reply::Status("OK")),
            ("PING", []) => Ok(Reply::Status("PONG")),
            ("INFO", [_]) => self.info(),
            ("TIME", []) => {
                let parts = [now_us / 1_000_000, now_us % 1_000_000];
                Ok(Reply::List(parts.iter().map(|part| Reply::text(&part.to_string())).collect()))
            }
            ("CLIENT", [_, _, number]) => Ok(self.kill(number)),
            ("SCRIPT", [_, text]) => Ok(Reply::text(&self.load(text))),
            ("EVAL", [text, rest @ ..]) => {
                let digest = self.load(text);
                self.run(&digest, rest, now_us)
            }
            ("EVALSHA", [digest, rest @ ..]) => {
                let digest = String::from_utf8_lossy(digest).into_owned();
                self.run(&digest, rest, now_us)
            }
            ("PUBLISH", [channel, message]) => {
                Ok(Reply::Number(self.publish(channel.clone(), message.clone())))
            }
            ("SET", [key, text, _, milliseconds]) => {
                let until_us = number(milliseconds).map(|ms| now_us + ms * 1_000);
                self.keyspace.set(key, text.clone(), until_us).map(|()| Reply::Status("OK"))
            }
            ("DEL", [key]) => self.keyspace.delete(key, now_us).map(Reply::Number),
            ("EXPIRE", [key, seconds]) => {
                let until_us = now_us + number(seconds).unwrap_or(0) * 1_000_000;
                self.keyspace.expire(key, until_us, now_us).map(Reply::Number)
            }
            ("SADD", [key, members @ ..]) => {
                self.keyspace.change_set(key, (members, true), now_us).map(Reply::Number)
            }
            ("SREM", [key, members @ ..]) => {
                self.keyspace.change_set(key, (members, false), now_us).map(Reply::Number)
            }
            ("SISMEMBER", [key, member]) => self
                .keyspace
                .fields(key, now_us)
                .map(|fields| Reply::Number(i64::from(fields.contains_key(member)))),
            ("HKEYS", [key]) => self
                .keyspace
                .fields(key, now_us)
                .map(|fields| Reply::List(fields.into_keys().map(Reply::Blob).collect())),
            ("HSCAN", [key, ..]) => self.keyspace.fields(key, now_us).map(scanned),
            ("XTRIM", [key, how, what]) => {
                self.keyspace.trim(key, lowest(how, what), now_us).map(Reply::Number)
            }
            ("XINFO", [_, key]) => self.keyspace.last_id(key, now_us).map(|last| {
                let of = |name: &str, value| (Reply::text(name), value);
                Reply::Map(vec![of("last-generated-id", Reply::text(&last.to_string()))])
            }),
            ("XRANGE", [key, from, to, _, count]) => {
                self.range((key, from, to), (false, count), now_us)
            }
            ("XREVRANGE", [key, to, from, _, count]) => {
                self.range((key, from, to), (true, count), now_us)
            }
            (name, _) => Err(format!("ERR unknown command '{name}', with args beginning with: ")),
        };
        reply.unwrap_or_else(Reply::Error)
    }

    fn hello(&self, connection: ConnectionId) -> Reply {
        let role = if self.is_replica { "replica" } else { "master" };
        let pair = |(name, value): (&str, Reply)| (Reply::text(name), value);
        let fields = [
            ("server", Reply::text("redis")),
            ("version", Reply::text("7.0.15")),
            ("proto", Reply::Number(3)),
            ("id", Reply::Number(connection as i64)),
            ("mode", Reply::text("standalone")),
            ("role", Reply::text(role)),
            ("modules", Reply::List(Vec::new())),
        ];
        Reply::Map(fields.into_iter().map(pair).collect())
    }

    fn info(&self) -> Result<Reply, String> {
        if self.hides_incarnation {
            let error = "NOPERM this user has no permissions to run the 'info' command";
            return Err(error.into());
        }
        let role = if self.is_replica { "slave" } else { "master" };
        let mut text = String::new();
        let _ = write!(text, "# Replication\r\nrole:{role}\r\nconnected_slaves:0\r\n");
        let _ = write!(text, "master_replid:{}\r\n", self.replication_id);
        Ok(Reply::Verbatim(text))
    }

    fn kill(&mut self, number: &Bytes) -> Reply {
        let number = std::str::from_utf8(number).ok().and_then(|digits| digits.parse().ok());
        let killed = number.and_then(|number| self.connections.remove(&number));
        Reply::Number(i64::from(killed.is_some()))
    }

    fn load(&mut self, text: &Bytes) -> String {
        let mut digest = String::new();
        for byte in Sha1::digest(text) {
            let _ = write!(digest, "{byte:02x}");
        }
        self.scripts.insert(digest.clone(), Script::of(text));
        digest
    }

    fn run(&mut self, digest: &str, rest: &[Bytes], now_us: u64) -> Result<Reply, String> {
        let Some(script) = self.scripts.get(digest) else {
            return Err("NOSCRIPT No matching script. Please use EVAL.".into());
        };
        let script = script.ok_or("ERR it is no script that this model knows")?;
        let count = rest.first().and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
        let count: usize = count.ok_or("ERR value is not an integer or out of range")?;
        let (keys, arguments) = rest[1..]
            .split_at_checked(count)
            .ok_or("ERR Number of keys can't be greater than number of args")?;
        let keyspace = &mut self.keyspace;
        let mut run = Run { keyspace, now_us, keys, arguments, published: Vec::new() };
        let reply = run.run(script);
        for (channel, message) in run.published {
            self.publish(channel, message);
        }
        Ok(reply)
    }

    fn range(
        &mut self,
        (key, from, to): (&Bytes, &Bytes, &Bytes),
        (falls, count): (bool, &Bytes),
        now_us: u64,
    ) -> Result<Reply, String> {
        let wrong = "ERR Invalid stream ID specified as stream command argument";
        let read = |text: &Bytes| {
            let text = std::str::from_utf8(text).ok()?;
            let (text, is_open) = text.strip_prefix('(').map_or((text, false), |it| (it, true));
            let id = match text {
                "-" => Id::default(),
                "+" => Id { epoch: u64::MAX, offset: u64::MAX },
                text => Id::read(text)?,
            };
            Some((id, is_open))
        };
        let ((from, opens_from), (to, opens_to)) = read(from).zip(read(to)).ok_or(wrong)?;
        let count = std::str::from_utf8(count).ok().and_then(|count| count.parse().ok());
        let count = count.ok_or("ERR value is not an integer or out of range")?;
        let is_open = if falls { opens_to } else { opens_from };
        self.keyspace.range(&Range { key, from, to, is_open, falls, count }, now_us)
    }

    /// Hands a message to those who hear the channel: how many they are.
    fn publish(&mut self, channel: Bytes, message: Bytes) -> i64 {
        let mut push = Vec::new();
        let parts = ["message".as_bytes().into(), channel.clone(), message.clone()];
        Reply::Push(parts.into_iter().map(Reply::Blob).collect()).write(&mut push);
        let mut heard = 0;
        for connection in self.connections.values_mut() {
            if !connection.subscribed.contains(&channel) {
                continue;
            }
            heard += 1;
            // An echo that does not come ends the connection, which is a fault of its own.
            let is_echo = channel.starts_with(b"cc:echo");
            if !is_echo && self.copies.lost > 0 && self.random.chance(self.copies.lost) {
                continue;
            }
            connection.out.extend(&push);
            // What is not kept has no id, by which a copy is known.
            let has_id = !message.starts_with(b" ");
            if has_id && self.copies.doubled > 0 && self.random.chance(self.copies.doubled) {
                connection.out.extend(&push);
            }
        }
        self.published.push((channel, message));
        heard
    }

    fn subscribe(&mut self, connection: ConnectionId, names: &[Bytes], joins: bool) {
        for name in names {
            let Some(it) = self.connections.get_mut(&connection) else { return };
            if joins {
                it.subscribed.insert(name.clone());
            } else {
                it.subscribed.remove(name);
            }
            let kind = if joins { "subscribe" } else { "unsubscribe" };
            let count = it.subscribed.len() as i64;
            let parts = vec![Reply::text(kind), Reply::Blob(name.clone()), Reply::Number(count)];
            self.say(connection, &Reply::Push(parts));
        }
    }
}

/// All of a hash at once, as of a small one.
fn scanned(fields: BTreeMap<Bytes, Bytes>) -> Reply {
    let pairs = fields.into_iter().flat_map(|(field, value)| [field, value]);
    Reply::List(vec![Reply::text("0"), Reply::List(pairs.map(Reply::Blob).collect())])
}

fn number(digits: &Bytes) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The lowest id that XTRIM leaves; none where it leaves nothing.
fn lowest(how: &Bytes, what: &Bytes) -> Option<Id> {
    std::str::from_utf8(what).ok().and_then(Id::read).filter(|_| **how == *b"MINID")
}
