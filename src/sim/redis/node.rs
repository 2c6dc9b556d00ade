//! One host's bridge and its shard, on the ways to the simulated Redis: what `bridge::Store` does
//! with sockets.
//!
//! Must not know what is asked or answered. Invariants: the shard is told of the end of every
//! connection that it was told of, once; nothing is read or written for one that it wants closed.

use super::{Read, SharedRedis, WayId};
use crate::bridge::redis::directory::NodeRecord;
use crate::bridge::redis::greeting::Timeouts;
use crate::bridge::redis::shard::{Shard, ShardConfig, Wire};
use crate::bridge::{self, Lanes, Outside};
use crate::clock::Now;
use crate::contract::engine::{Answer, Call};
use crate::contract::wire::NodeId;
use crate::edge::ids::client_id::ClientIds;
use crate::hashing::Homes;
use crate::sim::net::SharedNet;
use crate::sim::random::Random;

const WIRES: [Wire; 2] = [Wire::Commands, Wire::Subscriptions];

/// A dial that nobody answers, in 1,000, where the plan fails.
const HANGING: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wired {
    Closed,
    /// `is_heard`: it will be answered.
    Dialling {
        is_heard: bool,
    },
    Open(WayId),
}

/// See the module's page.
pub struct Node {
    bridge: bridge::Bridge,
    shard: Shard,
    wires: [Wired; 2],
    beyond: Beyond,
    redis: SharedRedis,
    asleep: bool,
    random: Random,
}

/// Where a node's cores, and its bridge, are among all.
struct Beyond {
    first_core: usize,
    bell: usize,
    net: SharedNet,
    /// Calls that the shard has yet to take.
    calls: Vec<(usize, Call)>,
}

impl Outside for Beyond {
    fn call(&mut self, worker: usize, call: Call) {
        self.calls.push((worker, call));
    }

    fn wake(&mut self, worker: usize) {
        self.net.borrow_mut().bells[self.first_core + worker] = true;
    }
}

impl Node {
    /// The bridge of the host with this number. `net`: its first core's place there, and its
    /// bell's.
    #[must_use]
    pub fn new(
        bridge: bridge::Bridge,
        (number, homes, ids): (u8, Homes, ClientIds),
        (net, first_core, bell): (SharedNet, usize, usize),
        (redis, mut random): (SharedRedis, Random),
    ) -> Node {
        let config = ShardConfig {
            user: None,
            password: None,
            database: 0,
            prefix: "cc".into(),
            homes,
            timeouts: Timeouts::default(),
        };
        let client_ids = Box::new(move |connection| ids.bytes(connection));
        let shard = Shard::new(config, (NodeId([number; 16]), client_ids), random.word());
        let beyond = Beyond { first_core, bell, net, calls: Vec::new() };
        let wires = [Wired::Closed; 2];
        Node { bridge, shard, wires, beyond, redis, asleep: false, random }
    }

    /// Publications that a worker had no room for.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shard.metrics().dropped.get()
    }

    /// Is it awake, or would it wake?
    #[must_use]
    pub fn is_runnable(&self, now_us: u64) -> bool {
        let rung = self.beyond.net.borrow().bells[self.beyond.bell];
        !self.asleep || rung || now_us >= self.deadline_us() || self.has_news(now_us)
    }

    fn has_news(&self, now_us: u64) -> bool {
        let redis = self.redis.borrow();
        self.wires.iter().any(|wired| match wired {
            Wired::Closed => false,
            Wired::Dialling { is_heard } => *is_heard,
            Wired::Open(way) => redis.is_readable(*way, now_us),
        })
    }

    /// When it does something next by itself, in simulated time.
    #[must_use]
    pub fn deadline_us(&self) -> u64 {
        self.bridge.deadline_us().min(self.shard.deadline_us().unwrap_or(u64::MAX))
    }

    /// Are both connections up, and calls carried out?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shard.is_ready()
    }

    /// Is every call answered, and everything sent?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bridge.lanes().is_idle() && self.shard.unanswered() == 0
    }

    /// Does one thing: takes what a way brings, or turns; sleeps when there is nothing to do.
    pub fn step(&mut self, now: Now) {
        if std::mem::take(&mut self.asleep) {
            self.bridge.awake();
            self.beyond.net.borrow_mut().bells[self.beyond.bell] = false;
        }
        let now_us = now.monotonic_us;
        if self.has_news(now_us) && self.random.chance(600) {
            let wire = self.random.pick(&WIRES);
            return self.hear(wire, now_us);
        }
        self.turn(now);
        self.bridge.announce_sleep();
        self.asleep = !self.bridge.look_again();
        if !self.asleep {
            self.bridge.awake();
        }
    }

    fn hear(&mut self, wire: Wire, now_us: u64) {
        match self.wires[wire as usize] {
            Wired::Dialling { is_heard: true } => {
                let way = self.redis.borrow_mut().dial(now_us);
                self.wires[wire as usize] = way.map_or(Wired::Closed, Wired::Open);
                match way {
                    Some(_) => self.shard.connected(wire, now_us),
                    None => self.shard.closed(wire, now_us),
                }
            }
            Wired::Open(way) if self.redis.borrow().is_readable(way, now_us) => {
                let most = self.random.pick(&[1, 20, 300, 64 << 10]);
                let read = self.redis.borrow_mut().read(way, most);
                match read {
                    Read::Bytes(bytes) => self.shard.received(wire, &bytes, now_us),
                    Read::End => {
                        self.wires[wire as usize] = Wired::Closed;
                        self.shard.closed(wire, now_us);
                    }
                }
            }
            Wired::Closed | Wired::Dialling { .. } | Wired::Open(_) => {}
        }
    }

    /// What the node says of itself.
    fn record(&self) -> NodeRecord {
        let name = format!("host of core {}", self.beyond.first_core);
        NodeRecord { name, ..NodeRecord::default() }
    }

    fn turn(&mut self, now: Now) {
        let now_us = now.monotonic_us;
        self.bridge.turn(now, &mut self.beyond);
        for (worker, call) in self.beyond.calls.drain(..) {
            self.shard.call(worker, call, now_us);
        }
        self.shard.turn(now_us);
        if self.shard.wants_beat() {
            self.shard.beat(self.record());
        }
        hand_over(&mut self.shard, self.bridge.lanes_mut());
        for wire in WIRES {
            let wired = &mut self.wires[wire as usize];
            if self.shard.wants_dial(wire) {
                assert_eq!(*wired, Wired::Closed, "a wire has one connection at a time");
                let fails = self.redis.borrow().fails();
                *wired = Wired::Dialling { is_heard: !fails || !self.random.chance(HANGING) };
            }
            if self.shard.wants_close(wire) {
                if let Wired::Open(way) = std::mem::replace(wired, Wired::Closed) {
                    self.redis.borrow_mut().leave(way);
                }
                self.shard.closed(wire, now_us);
            }
            if let Wired::Open(way) = *wired {
                let mut out = Vec::new();
                self.shard.take_output(wire, &mut out);
                self.redis.borrow_mut().write(way, &out);
            }
        }
    }
}

/// Hands the shard's answers to the lanes.
fn hand_over(shard: &mut Shard, lanes: &mut Lanes) {
    while let Some((worker, answer)) = shard.next_answer() {
        match answer {
            Answer::Publication { session, position, block } => {
                let fits = lanes.forward(worker, session, position, block);
                shard.metrics().dropped.add(u64::from(!fits));
            }
            Answer::Lost { session } => lanes.mark_lost(worker, session),
            Answer::Command { .. } => lanes.command(worker, answer),
            Answer::List { .. } | Answer::Channels { .. } => {
                lanes.list(worker, answer);
            }
            Answer::Membership { .. } => lanes.pass_on(worker, answer),
            Answer::Node { .. } | Answer::Forgotten => lanes.tell(&answer),
            Answer::Published { .. }
            | Answer::Passed { .. }
            | Answer::Removed { .. }
            | Answer::Read(_)
            | Answer::UsersTold { .. }
            | Answer::UserTold { .. }
            | Answer::Nodes { .. }
            | Answer::Noted { .. }
            | Answer::Members { .. }
            | Answer::Counted { .. }
            | Answer::Failed { .. } => lanes.answer(worker, answer),
        }
    }
    while let Some(news) = shard.next_news() {
        lanes.tell(&news);
    }
    while shard.next_event().is_some() {}
}
