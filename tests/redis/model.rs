//! The simulation's Redis against the real one: random scripts, reads and messages are answered
//! alike, and heard alike.

use crate::rig::{Client, Redis};
use corecast::bridge::redis::keys::Partition;
use corecast::bridge::redis::resp::decode::Decoder;
use corecast::bridge::redis::resp::{Value, encode};
use corecast::bridge::redis::script::{Begin, By, Class, Incarnation, Item, Kept};
use corecast::bridge::redis::stream::{Reading, remove};
use corecast::contract::engine::Page;
use corecast::contract::position::{Epoch, Position, Since, Version};
use corecast::contract::wire::NodeId;
use corecast::sim::random::Random;
use corecast::sim::redis::keyspace::{Keyspace, Refusal};
use corecast::sim::redis::server::{ConnectionId, Server};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CHANNELS: [&str; 2] = ["a", "b"];
const SEEDS: u64 = 60;
const OPERATIONS: usize = 120;

/// Both servers, each with a connection that commands and one that hears.
struct Pair {
    commands: Client,
    hearer: Client,
    model: Server,
    model_commands: ConnectionId,
    model_hearer: ConnectionId,
    random: Random,
    /// What is said when they differ.
    said: Vec<String>,
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    u64::try_from(since.as_micros()).expect("a time that fits")
}

/// Values in what the model wrote.
fn values(bytes: &[u8]) -> Vec<Value> {
    let mut decoder = Decoder::new();
    decoder.receive(bytes);
    std::iter::from_fn(|| decoder.next().expect("RESP")).collect()
}

/// Leaves out what no two servers have alike: ages, and the order of a hash's fields.
fn comparable(value: Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let is_last =
                |(key, _): &(Value, Value)| *key == Value::Blob("last-generated-id".into());
            Value::Map(pairs.into_iter().filter(is_last).collect())
        }
        Value::Array(mut parts) if parts.len() % 3 == 1 && is_lease(&parts) => {
            let mut nodes: Vec<String> = parts
                .split_off(1)
                .chunks(3)
                .map(|node| format!("{:?} {:?}", node[0], node[2]))
                .collect();
            nodes.sort_unstable();
            let known = matches!(parts[0], Value::Integer(0..));
            Value::Array(vec![Value::Boolean(known), Value::Simple(nodes.join(", ").into())])
        }
        value => value,
    }
}

/// Is it what a beat is answered with?
fn is_lease(parts: &[Value]) -> bool {
    let is_node =
        |node: &[Value]| matches!(node, [Value::Blob(_), Value::Integer(_), Value::Blob(_)]);
    matches!(parts[0], Value::Integer(_)) && parts[1..].chunks(3).all(is_node)
}

impl Pair {
    fn new(redis: &Redis, seed: u64) -> Pair {
        let mut random = Random::new(seed);
        let (mut commands, hearer) = (redis.connect(), redis.connect());
        commands.ask(&["FLUSHALL"]);
        commands.ask(&["SCRIPT", "FLUSH"]);
        let mut model = Server::new(Keyspace::default(), 0, random.fork());
        let (model_commands, model_hearer) = (model.connect(), model.connect());
        Pair { commands, hearer, model, model_commands, model_hearer, random, said: Vec::new() }
    }

    /// Both are told the same, and answer the same.
    fn ask(&mut self, what: String, bytes: &[u8]) -> Value {
        self.said.push(what);
        self.commands.send(bytes);
        let theirs = self.commands.answer();
        self.model.receive(self.model_commands, bytes, now_us());
        let mut out = Vec::new();
        self.model.take_output(self.model_commands, usize::MAX, &mut out);
        let mut ours = values(&out);
        let story = self.said.join("\n");
        assert_eq!(ours.len(), 1, "one answer: {ours:?}\n{story}");
        let (theirs, ours) = (theirs, ours.remove(0));
        let pair = (comparable(theirs.clone()), comparable(ours));
        assert_eq!(pair.0, pair.1, "Redis, then the model:\n{story}");
        theirs
    }

    /// What was heard by both is the same.
    fn compare_heard(&mut self) {
        self.hearer.ask(&["PING"]);
        let theirs = self.hearer.take_pushes();
        let mut out = Vec::new();
        self.model.take_output(self.model_hearer, usize::MAX, &mut out);
        let ours: Vec<_> = values(&out)
            .into_iter()
            .map(|value| match value {
                Value::Push(parts) => parts,
                value => panic!("nobody asked for {value:?}"),
            })
            .collect();
        assert_eq!(theirs, ours, "Redis, then the model:\n{}", self.said.join("\n"));
    }

    fn subscribe(&mut self, joins: bool) {
        let channel = self.commands.key(self.random.pick(&CHANNELS));
        let name = if joins { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        self.said.push(format!("{name} {channel}"));
        let mut out = Vec::new();
        encode::command(&mut out, &[name.as_bytes(), channel.as_bytes()]);
        self.hearer.send(&out);
        self.model.receive(self.model_hearer, &out, now_us());
    }

    fn class(&mut self) -> Class {
        let ttl_s = self.random.pick(&[0, 60]);
        Class { size: self.random.pick(&[1, 3]), ttl_s, numbering_s: 600 }
    }

    fn by(&mut self) -> By {
        self.random.pick(&[By::Digest, By::Text])
    }

    fn position(&mut self) -> Position {
        let epoch = Epoch(self.random.between(10, 16) as u64);
        Position { epoch, offset: self.random.below(5) as u64 }
    }

    fn publish(&mut self) {
        let (class, by) = (self.class(), self.by());
        let items: Vec<Item<'_>> = (0..self.random.between(1, 4))
            .map(|_| Item {
                channel: self.random.pick(&CHANNELS),
                epoch: Epoch(self.random.between(10, 16) as u64),
                key: self.random.pick(&["", "", "k", "l"]),
                block: self.random.pick(&[b"one".as_slice(), b"two\r\n", b""]),
            })
            .collect();
        let mut out = Vec::new();
        self.commands.scripts.publish(&mut out, by, class, items.iter().copied());
        self.ask(format!("publish {by:?} {class:?} {items:?}"), &out);
    }

    fn begin(&mut self) {
        let by = self.by();
        let number = self.random.below(4) as u64;
        let version = Version { number, epoch: self.random.pick(&["", "", "of two"]).into() };
        let version = (number > 0).then_some(&version);
        let item = Kept { key: self.random.pick(&["", "", "k"]), block: b"new", version };
        let begin = Begin {
            channel: self.random.pick(&CHANNELS),
            class: self.class(),
            floor: Epoch(self.random.pick(&[0, 12, 14])),
            candidate: Epoch(self.random.between(10, 15) as u64),
            low: self.random.chance(500).then(|| self.position()),
            item: self.random.chance(600).then_some(item),
        };
        let mut out = Vec::new();
        self.commands.scripts.begin(&mut out, by, &begin);
        self.ask(format!("begin {by:?} {begin:?}"), &out);
    }

    fn floor(&mut self) {
        let by = self.by();
        let id = self.random.pick(&["one", "two"]);
        let server = Incarnation {
            partition: Partition::of("any"),
            id,
            now_us: self.random.between(10, 20) as u64,
        };
        let mut out = Vec::new();
        self.commands.scripts.incarnation(&mut out, by, &server);
        self.ask(format!("floor {by:?} {server:?}"), &out);
    }

    fn beat(&mut self) {
        let (by, node) = (self.by(), NodeId([self.random.below(3) as u8; 16]));
        let mut out = Vec::new();
        self.commands.scripts.lease(&mut out, by, node, b"a record");
        self.ask(format!("beat {by:?} {node:?}"), &out);
    }

    /// Reads a page by as many commands as it takes.
    fn read(&mut self) {
        let key = self.commands.key(self.random.pick(&CHANNELS));
        let at = self.position();
        let from = self.random.chance(700).then_some(Since {
            epoch: self.random.chance(800).then_some(at.epoch),
            offset: at.offset,
        });
        let (reverse, limit) = (self.random.chance(500), self.random.pick(&[0, 1, 2, u32::MAX]));
        let page = Page { from, reverse, limit, bytes: self.random.pick(&[1, 1 << 20]) };
        let mut reading = Reading::new(page, self.random.between(1, 4) as u32);
        loop {
            let mut out = Vec::new();
            reading.command(&mut out, &[key.as_bytes()]);
            let answer = self.ask(format!("{}", String::from_utf8_lossy(&out)), &out);
            if !matches!(reading.receive(answer), Ok(None)) {
                return;
            }
        }
    }

    fn plain(&mut self) {
        let key = self.commands.key(self.random.pick(&CHANNELS));
        let mut out = Vec::new();
        match self.random.below(6) {
            0 => remove(&mut out, &[key.as_bytes()]),
            1 => encode::command(&mut out, &[b"PUBLISH", key.as_bytes(), b" passed"]),
            2 => encode::command(&mut out, &[b"SET", b"cc:echo{0}", b"1", b"PX", b"10000"]),
            3 => encode::command(&mut out, &[b"PING"]),
            4 => encode::command(&mut out, &[b"SELECT", b"0"]),
            _ => encode::command(&mut out, &[b"CLIENT", b"KILL", b"ID", b"999999"]),
        }
        self.ask(format!("{}", String::from_utf8_lossy(&out)), &out);
    }

    /// What befalls a Redis.
    fn befall(&mut self) {
        let channel = self.random.pick(&CHANNELS);
        let key = self.commands.key(channel);
        match self.random.below(5) {
            0 => {
                self.said.push(format!("{channel} is evicted"));
                self.commands.ask(&["DEL", &key]);
                self.model.keyspace_mut().evict(key.as_bytes());
            }
            1 => {
                self.said.push(format!("{channel} becomes a text"));
                self.commands.ask(&["SET", &key, "text"]);
                let set = self.model.keyspace_mut().set(&key.into(), "text".into(), None);
                assert!(set.is_ok() || self.model.keyspace().refusal.is_some());
            }
            2 => {
                self.said.push("scripts are lost".into());
                self.commands.ask(&["SCRIPT", "FLUSH"]);
                self.model.flush_scripts();
            }
            _ => {
                let is_full = self.model.keyspace().refusal.is_none();
                self.said.push(format!("full: {is_full}"));
                let most = if is_full { "1" } else { "0" };
                self.commands.ask(&["CONFIG", "SET", "maxmemory", most]);
                self.model.keyspace_mut().refusal = is_full.then_some(Refusal::OutOfMemory);
            }
        }
    }

    fn operate(&mut self) {
        match self.random.below(100) {
            0..35 => self.publish(),
            35..55 => self.begin(),
            55..60 => self.floor(),
            60..65 => self.beat(),
            65..83 => self.read(),
            83..90 => self.plain(),
            90..94 => self.subscribe(true),
            94..96 => self.subscribe(false),
            _ => self.befall(),
        }
        self.compare_heard();
    }
}

#[test]
fn the_model_answers_as_redis_does() {
    let redis = Redis::start();
    for seed in 0..SEEDS {
        let mut pair = Pair::new(&redis, seed);
        for _ in 0..OPERATIONS {
            pair.operate();
        }
        pair.commands.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

#[test]
fn the_model_forgets_when_redis_does() {
    let redis = Redis::start();
    let mut pair = Pair::new(&redis, 1);
    let class = Class { size: 3, ttl_s: 1, numbering_s: 3 };
    let item = Some(Kept { key: "", block: b"one", version: None });
    let (floor, candidate) = (Epoch(1), Epoch(10));
    let begin = Begin { channel: "a", class, floor, candidate, low: None, item };
    for wait_ms in [0, 1_200, 3_200] {
        std::thread::sleep(Duration::from_millis(wait_ms));
        for begin in [Begin { item: None, candidate: Epoch(11), ..begin }, begin] {
            let mut out = Vec::new();
            pair.commands.scripts.begin(&mut out, By::Text, &begin);
            pair.ask(format!("after {wait_ms} ms {begin:?}"), &out);
        }
    }
}
