//! A node as far as Redis sees it: a shard, and two blocking sockets that are polled.

use corecast::bridge::redis::greeting::Timeouts;
use corecast::bridge::redis::shard::{Event, Shard, ShardConfig, Wire};
use corecast::clock::Now;
use corecast::contract::block::{Block, Parts, Publisher};
use corecast::contract::engine::{Answer, Call, CallId, Page, Session, Wish};
use corecast::contract::key::ConnectionKey;
use corecast::contract::position::Position;
use corecast::contract::wire::NodeId;
use corecast::hashing::{Homes, Key};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const WIRES: [Wire; 2] = [Wire::Commands, Wire::Subscriptions];

/// The connection that publishes on every node.
pub const KEY: ConnectionKey = ConnectionKey { core: 0, index: 7, generation: 1 };

pub struct Node {
    pub shard: Shard,
    /// Where Redis listens, looked up at every dial.
    pub port: u16,
    sockets: [Option<TcpStream>; 2],
    started: Instant,
    calls: u64,
    /// With when they came, in microseconds.
    pub answers: Vec<(u64, Answer)>,
    pub events: Vec<Event>,
}

impl Node {
    pub fn new(id: u8, port: u16) -> Node {
        let config = ShardConfig {
            user: None,
            password: None,
            database: 0,
            prefix: "cc".into(),
            homes: Homes::new(Key::of(1), 1),
            timeouts: Timeouts::default(),
        };
        Node {
            shard: Shard::new(config, (NodeId([id; 16]), Box::new(client_id)), u64::from(id)),
            port,
            sockets: [None, None],
            started: Instant::now(),
            calls: 0,
            answers: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).expect("a short test")
    }

    fn call(&mut self, call: impl FnOnce(CallId) -> Call) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        let now_us = self.now_us();
        self.shard.call(0, call(id), now_us);
        id
    }

    pub fn watch(&mut self, channel: &str, number: u32) -> CallId {
        let session = Session { place: 0, number };
        let page = Box::new(Page::newest(100, 1 << 20));
        self.call(|id| Call::Watch { id, channel: channel.into(), session, page })
    }

    pub fn unwatch(&mut self, channel: &str, number: u32) {
        let session = Session { place: 0, number };
        let now_us = self.now_us();
        self.shard.call(0, Call::Unwatch { channel: channel.into(), session }, now_us);
    }

    pub fn publish(&mut self, channel: &str, data: &str, above: Option<Position>) -> CallId {
        let wish = Box::new(Wish {
            key: "".into(),
            size: 1_000,
            ttl_s: 60,
            numbering_s: 600,
            version: None,
            above,
        });
        self.call(|id| Call::Publish { id, block: block(channel, data), wish })
    }

    pub fn pass(&mut self, channel: &str, data: &str) -> CallId {
        self.call(|id| Call::Pass { id, block: block(channel, data) })
    }

    pub fn remove(&mut self, channel: &str) -> CallId {
        self.call(|id| Call::Remove { id, channel: channel.into() })
    }

    pub fn read(&mut self, channel: &str, page: Page) -> CallId {
        self.call(|id| Call::Read { id, channel: channel.into(), page: Box::new(page) })
    }

    /// The connection breaks after what was written last.
    pub fn cut(&mut self, wire: Wire) {
        self.sockets[wire as usize] = None;
        let now_us = self.now_us();
        self.shard.closed(wire, now_us);
    }

    /// Does what there is to do now.
    pub fn pump(&mut self) {
        let now_us = self.now_us();
        self.shard.turn(now_us);
        for wire in WIRES {
            if self.shard.wants_dial(wire) {
                self.dial(wire);
            }
            self.write(wire);
            self.receive(wire);
            if self.shard.wants_close(wire) {
                self.cut(wire);
            }
        }
        let now_us = self.now_us();
        while let Some((worker, answer)) = self.shard.next_answer() {
            assert_eq!(worker, 0);
            self.answers.push((now_us, answer));
        }
        while let Some(event) = self.shard.next_event() {
            self.events.push(event);
        }
    }

    fn dial(&mut self, wire: Wire) {
        let dialled = TcpStream::connect(("127.0.0.1", self.port));
        let now_us = self.now_us();
        match dialled {
            Ok(socket) => {
                socket.set_nodelay(true).expect("a socket");
                socket.set_read_timeout(Some(Duration::from_micros(200))).expect("a socket");
                self.sockets[wire as usize] = Some(socket);
                self.shard.connected(wire, now_us);
            }
            Err(_) => self.shard.closed(wire, now_us),
        }
    }

    /// Writes what waits; true: something did.
    pub fn write(&mut self, wire: Wire) -> bool {
        let Some(socket) = &mut self.sockets[wire as usize] else { return false };
        let mut out = Vec::new();
        self.shard.take_output(wire, &mut out);
        if !out.is_empty() && socket.write_all(&out).is_err() {
            self.cut(wire);
        }
        !out.is_empty()
    }

    fn receive(&mut self, wire: Wire) {
        let Some(socket) = &mut self.sockets[wire as usize] else { return };
        let mut bytes = vec![0; 64 << 10];
        match socket.read(&mut bytes) {
            Ok(0) => self.cut(wire),
            Ok(length) => {
                let now_us = self.now_us();
                self.shard.received(wire, &bytes[..length], now_us);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.cut(wire),
        }
    }

    /// The answer to a call, if it has come.
    pub fn answer(&self, id: CallId) -> Option<&Answer> {
        let mut answers = self.answers.iter().filter(|(_, answer)| answer.call() == Some(id));
        let first = answers.next().map(|(_, answer)| answer);
        assert!(answers.next().is_none(), "{id:?} is answered twice");
        first
    }

    /// What was heard: the position, and the data.
    pub fn heard(&self) -> Vec<(Option<Position>, String)> {
        let text = |block: &Block| String::from_utf8(block.data().to_vec()).expect("text");
        let heard = |(_, answer): &(u64, Answer)| match answer {
            Answer::Publication { position, block, .. } => Some((*position, text(block))),
            _ => None,
        };
        self.answers.iter().filter_map(heard).collect()
    }
}

fn block(channel: &str, data: &str) -> Block {
    let publisher = Publisher {
        key: Some(KEY),
        client: *b"a client of ours",
        user: "al",
        conn_info: b"",
        chan_info: b"",
        exclude_self: false,
    };
    Block::new(&Parts {
        channel,
        publisher: Some(publisher),
        tags: Default::default(),
        data: data.as_bytes(),
        now: Now { monotonic_us: 0, unix_ms: 1 },
    })
}

/// Pumps nodes until something is true.
pub fn pump_until(
    nodes: &mut [&mut Node],
    what: &str,
    mut is_true: impl FnMut(&[&mut Node]) -> bool,
) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_true(nodes) {
        assert!(Instant::now() < until, "in vain: {what}");
        nodes.iter_mut().for_each(|node| node.pump());
    }
}

/// The client id of a connection.
fn client_id(connection: ConnectionKey) -> [u8; 16] {
    [connection.index as u8; 16]
}
