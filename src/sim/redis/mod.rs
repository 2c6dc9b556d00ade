//! The Redis that all simulated hosts share, and the ways to it: bytes under way, some slow, some
//! cut, some lost; and what befalls the server itself.
//!
//! Must not know what hosts do with it. Invariants: bytes of a way come in the order in which they
//! were written, each once; what was published is noted in the ledger when it is.

pub mod fates;
pub mod keyspace;
pub mod node;
pub mod plan;
pub mod resp;
pub mod scripts;
pub mod server;

use super::ledger::SharedLedger;
use super::random::Random;
use crate::contract::position::Epoch;
use bytes::Bytes;
use keyspace::{Id, Keyspace};
use plan::RedisPlan;
use server::{ConnectionId, Server};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// The Redis of one run.
pub type SharedRedis = Rc<RefCell<Redis>>;

/// A way's number, never used again.
pub type WayId = u64;

/// Unix time at which a run begins, in microseconds.
const BEGIN_US: u64 = 1_900_000_000_000_000;

/// Names of channels in Redis end so many bytes after this.
const TAG_END: u8 = b'}';

/// One connection between a node and a server.
#[derive(Debug)]
struct Way {
    server: usize,
    connection: ConnectionId,
    up: VecDeque<u8>,
    /// What was on its way when the server's end was closed.
    rest: VecDeque<u8>,
    /// The node has closed its end: what it wrote still comes.
    is_left: bool,
    /// Nothing comes through any more, and neither end is told.
    is_dead: bool,
    /// The node's end is cut. What it wrote still comes.
    is_broken: bool,
    slow_up_until_us: u64,
    slow_down_until_us: u64,
}

/// What a node reads.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Bytes(Vec<u8>),
    /// There will be no more.
    End,
}

/// What it had saved, and how many publications that were noted are in it.
#[derive(Debug, Default)]
struct Snapshot {
    keyspace: Keyspace,
    noted: usize,
}

/// See the module's page. Times are in simulated microseconds.
pub struct Redis {
    plan: RedisPlan,
    /// The last is who is dialled; those before it were demoted.
    servers: Vec<Server>,
    ways: BTreeMap<WayId, Way>,
    last_way: WayId,
    snapshot: Snapshot,
    /// Publications that are kept, in their order.
    noted: Vec<u32>,
    /// Times that it forgot something.
    forgot: u32,
    /// Nobody listens before.
    away_until_us: u64,
    /// Nothing is carried out before.
    frozen_until_us: u64,
    /// Its mood, and what it refuses, is over then.
    moody_until_us: u64,
    /// A server that was demoted ends then.
    retires_us: u64,
    channels: Vec<String>,
    epoch_text: fn(Epoch) -> String,
    ledger: SharedLedger,
    random: Random,
}

impl Redis {
    /// An empty one. `channels` are those of the ledger, in its order.
    #[must_use]
    pub fn new(
        plan: RedisPlan,
        channels: Vec<String>,
        (ledger, epoch_text): (SharedLedger, fn(Epoch) -> String),
        mut random: Random,
    ) -> Redis {
        let mut redis = Redis {
            plan,
            servers: Vec::new(),
            ways: BTreeMap::new(),
            last_way: 0,
            snapshot: Snapshot::default(),
            noted: Vec::new(),
            forgot: 0,
            away_until_us: 0,
            frozen_until_us: 0,
            moody_until_us: 0,
            retires_us: 0,
            channels,
            epoch_text,
            ledger,
            random: random.fork(),
        };
        redis.launch(Keyspace::default());
        redis
    }

    /// Another server takes over, with this.
    fn launch(&mut self, mut keyspace: Keyspace) {
        keyspace.refusal = None;
        let before = self.servers.last().map_or(0, Server::last_connection);
        let mut server = Server::new(keyspace, before, self.random.fork());
        server.copies = self.plan.copies;
        server.hides_incarnation = self.plan.hides_incarnation;
        self.servers.push(server);
    }

    fn server(&mut self) -> &mut Server {
        self.servers.last_mut().expect("there is one")
    }

    /// May calls come to nothing?
    #[must_use]
    pub fn fails(&self) -> bool {
        self.plan.unkindness.fails()
    }

    /// Times that it forgot something.
    #[must_use]
    pub fn forgot(&self) -> u32 {
        self.forgot
    }

    /// Where a channel's stream stands.
    #[must_use]
    pub fn position(&self, channel: &str, now_us: u64) -> Option<(String, u64)> {
        let mut keyspace = self.servers.last()?.keyspace().clone();
        let key = keyspace.keys().find(|key| channel_of(key) == Some(channel)).cloned()?;
        let last = keyspace.last_id(&key, unix_us(now_us)).ok()?;
        Some(((self.epoch_text)(Epoch(last.epoch)), last.offset))
    }

    /// A node dials; `None`: it is refused.
    pub fn dial(&mut self, now_us: u64) -> Option<WayId> {
        if now_us < self.away_until_us {
            return None;
        }
        let server = self.servers.len() - 1;
        let connection = self.server().connect();
        self.last_way += 1;
        let way = Way {
            server,
            connection,
            up: VecDeque::new(),
            rest: VecDeque::new(),
            is_left: false,
            is_dead: false,
            is_broken: false,
            slow_up_until_us: 0,
            slow_down_until_us: 0,
        };
        self.ways.insert(self.last_way, way);
        Some(self.last_way)
    }

    /// A node writes.
    pub fn write(&mut self, way: WayId, bytes: &[u8]) {
        if let Some(way) = self.ways.get_mut(&way).filter(|way| !way.is_dead) {
            way.up.extend(bytes);
        }
    }

    /// Would a node read something?
    #[must_use]
    pub fn is_readable(&self, way: WayId, now_us: u64) -> bool {
        let Some(way) = self.ways.get(&way).filter(|way| !way.is_broken) else { return true };
        let server = &self.servers[way.server];
        let is_over = !server.is_open(way.connection);
        !way.is_dead
            && now_us >= way.slow_down_until_us
            && (is_over || server.waiting(way.connection) > 0)
    }

    /// A node reads at most so many bytes.
    pub fn read(&mut self, id: WayId, most: usize) -> Read {
        let Some(way) = self.ways.get_mut(&id) else { return Read::End };
        if way.is_broken {
            way.is_left = true;
            return Read::End;
        }
        let mut bytes = Vec::new();
        let count = most.min(way.rest.len());
        bytes.extend(way.rest.drain(..count));
        self.servers[way.server].take_output(way.connection, most - count, &mut bytes);
        let is_over = !self.servers[way.server].is_open(way.connection);
        if bytes.is_empty() && is_over {
            self.ways.remove(&id);
            return Read::End;
        }
        Read::Bytes(bytes)
    }

    /// A node closes its end. What it wrote may still come.
    pub fn leave(&mut self, way: WayId) {
        if let Some(way) = self.ways.get_mut(&way) {
            way.is_left = true;
        }
    }

    fn can_move(&self, way: &Way, now_us: u64) -> bool {
        let waits = !way.up.is_empty() || way.is_left;
        waits && now_us >= way.slow_up_until_us && now_us >= self.frozen_until_us
    }

    /// Does it have anything to do now?
    #[must_use]
    pub fn has_work(&self, now_us: u64) -> bool {
        self.ways.values().any(|way| self.can_move(way, now_us))
    }

    /// Carries out what one way brings.
    pub fn step(&mut self, now_us: u64) {
        self.pass(now_us);
        let able = self.ways.iter().filter(|(_, way)| self.can_move(way, now_us));
        let able: Vec<WayId> = able.map(|(id, _)| *id).collect();
        if able.is_empty() {
            return;
        }
        let id = self.random.pick(&able);
        let count = self.random.pick(&[1, 30, 500, 20_000]);
        let way = self.ways.get_mut(&id).expect("it is able");
        let count = count.min(way.up.len());
        let bytes: Vec<u8> = way.up.drain(..count).collect();
        let server = &mut self.servers[way.server];
        server.receive(way.connection, &bytes, unix_us(now_us));
        if way.is_left && way.up.is_empty() {
            if !way.is_dead {
                server.close(way.connection);
            }
            self.ways.remove(&id);
        }
        self.note();
    }

    /// Takes note of what was published: the order of the streams is the truth that clients are
    /// held to.
    fn note(&mut self) {
        for server in &mut self.servers {
            for (key, message) in server.take_published() {
                let mut ledger = self.ledger.borrow_mut();
                let Some((channel, id, data)) = published(&self.channels, &key, &message) else {
                    continue;
                };
                let Some(number) = ledger.recognise(channel, data, false) else { continue };
                match id {
                    None => ledger.passed(number),
                    Some(id) => {
                        let epoch = (self.epoch_text)(Epoch(id.epoch));
                        ledger.seen_at(channel, &epoch, id.offset, number);
                        self.noted.push(number);
                    }
                }
            }
        }
    }
}

/// What was published: in which channel, with which id, and its payload, which comes last.
fn published<'a>(
    channels: &[String],
    key: &[u8],
    message: &'a Bytes,
) -> Option<(usize, Option<Id>, &'a [u8])> {
    let name = channel_of(key)?;
    let channel = channels.iter().position(|channel| channel == name)?;
    let space = message.iter().position(|byte| *byte == b' ')?;
    let id = std::str::from_utf8(&message[..space]).ok().and_then(Id::read);
    let begin = message.windows(5).position(|five| five == b"{\"n\":")?;
    Some((channel, id, &message[begin..]))
}

/// The channel whose stream has this key.
fn channel_of(key: &[u8]) -> Option<&str> {
    let rest = key.strip_prefix(b"cc:{")?;
    let end = rest.iter().position(|byte| *byte == TAG_END)?;
    std::str::from_utf8(&rest[end + 1..]).ok()
}

/// Unix time at a moment of the simulation.
fn unix_us(now_us: u64) -> u64 {
    BEGIN_US + now_us
}
