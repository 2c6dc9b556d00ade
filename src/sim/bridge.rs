//! What lies beyond the bridge: for the `late` engine a store that answers turns later, with other
//! nodes' publications in between, some lost or doubled. The bridge itself is the real one.
//!
//! Must not know homes' state. Invariant: the store answers every call once, however late; its way
//! to the bridge loses publications alone.

use super::ledger::SharedLedger;
use super::net::SharedNet;
use super::random::Random;
use super::stream::Store;
use crate::bridge::{self, Outside};
use crate::clock::Now;
use crate::contract::block::Block;
use crate::contract::engine::{Answer, Call};
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use std::collections::{BTreeSet, VecDeque};

/// How the store and the way from it misbehave.
#[derive(Clone, Copy, Debug)]
pub struct StoreFaults {
    /// Copies of a publication lost on the way, in 1,000.
    pub loss: u32,
    /// Copies doubled.
    pub double: u32,
    /// Publications kept of a stream.
    pub trim: usize,
    /// How a channel's epoch is written on the wire.
    pub epoch_text: fn(Epoch) -> String,
}

/// What the store keeps for one worker: its two connections.
#[derive(Default)]
struct Peer {
    /// Publishes and reads, in the order they came.
    commands: VecDeque<Call>,
    /// Watches and their ends, on a way of their own.
    interests: VecDeque<Call>,
    /// Answers to commands, on their way.
    answers: VecDeque<Answer>,
    /// What the subscription side says, in order, on its way.
    heard: VecDeque<Heard>,
    watched: BTreeSet<Name>,
}

/// What comes by a subscription.
enum Heard {
    Watching { channel: Name },
    Publication { channel: Name, position: Position, block: Block },
}

/// The store, and its connections to the bridge.
struct Far {
    peers: Vec<Peer>,
    store: Store,
    faults: StoreFaults,
    channels: Vec<Name>,
    net: SharedNet,
    ledger: SharedLedger,
    random: Random,
}

/// See the module's page.
pub struct Bridge {
    bridge: bridge::Bridge,
    far: Far,
    asleep: bool,
}

impl Bridge {
    /// The bridge of a host.
    #[must_use]
    pub fn new(
        bridge: bridge::Bridge,
        faults: StoreFaults,
        channels: Vec<Name>,
        (net, ledger): (SharedNet, SharedLedger),
        random: Random,
    ) -> Bridge {
        let peers = (0..bridge.lanes().workers()).map(|_| Peer::default()).collect();
        let store = Store::new(faults.trim);
        let far = Far { peers, store, faults, channels, net, ledger, random };
        Bridge { bridge, far, asleep: false }
    }

    /// Is it awake, or would it wake?
    #[must_use]
    pub fn is_runnable(&self, now_us: u64) -> bool {
        let rung = self.far.net.borrow().bells[self.far.peers.len()];
        !self.asleep || rung || now_us >= self.deadline_us()
    }

    /// When it sends its next probes, in simulated time.
    #[must_use]
    pub fn deadline_us(&self) -> u64 {
        self.bridge.deadline_us()
    }

    /// The store, for the host's judgement.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.far.store
    }

    /// Is every call answered, and everything sent?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bridge.lanes().is_idle() && !self.far.has_work()
    }

    /// Turns the bridge, or lets the store do something; sleeps when there is nothing to do.
    pub fn step(&mut self, now: Now) {
        if self.asleep {
            self.asleep = false;
            self.bridge.awake();
            let bridge = self.far.peers.len();
            self.far.net.borrow_mut().bells[bridge] = false;
        }
        if self.far.random.chance(400) || !self.far.has_work() {
            self.bridge.turn(now, &mut self.far);
        } else {
            self.far.step(self.bridge.lanes_mut());
        }
        if !self.far.has_work() {
            self.bridge.announce_sleep();
            self.asleep = !self.bridge.look_again();
            if !self.asleep {
                self.bridge.awake();
            }
        }
    }

    /// Another node publishes `block` in `channel`.
    pub fn publish_elsewhere(&mut self, channel: &Name, block: Block) {
        self.far.publish(channel, block);
        self.asleep = false;
    }

    /// The store loses a channel's stream.
    pub fn renew(&mut self, channel: &Name) {
        self.far.store.renew(channel);
    }
}

impl Outside for Far {
    fn call(&mut self, worker: usize, call: Call) {
        let peer = &mut self.peers[worker];
        match call {
            Call::Watch { .. } | Call::Unwatch { .. } => peer.interests.push_back(call),
            Call::Publish { .. } | Call::Read { .. } => peer.commands.push_back(call),
        }
    }

    fn wake(&mut self, worker: usize) {
        self.net.borrow_mut().bells[worker] = true;
    }
}

impl Far {
    fn has_work(&self) -> bool {
        self.peers.iter().any(|peer| {
            !(peer.commands.is_empty()
                && peer.interests.is_empty()
                && peer.answers.is_empty()
                && peer.heard.is_empty())
        })
    }

    /// Does something for one worker, whatever comes to hand.
    fn step(&mut self, lanes: &mut bridge::Lanes) {
        let worker = self.random.below(self.peers.len());
        // What a connection brings comes one by one, or many at once, for which there is no room.
        let run = self.random.pick(&[1, 1, 40]);
        match self.random.below(4) {
            0 => self.command(worker),
            1 => self.interest(worker),
            2 => {
                for _ in 0..run {
                    let Some(answer) = self.peers[worker].answers.pop_front() else { return };
                    lanes.answer(worker, answer);
                }
            }
            _ => {
                for _ in 0..run {
                    match self.peers[worker].heard.pop_front() {
                        None => return,
                        Some(Heard::Watching { channel }) => {
                            lanes.answer_watch(worker, Answer::Watching { channel });
                        }
                        Some(Heard::Publication { channel, position, block }) => {
                            lanes.forward(worker, channel, position, block);
                        }
                    }
                }
            }
        }
    }

    fn command(&mut self, worker: usize) {
        match self.peers[worker].commands.pop_front() {
            Some(Call::Publish { id, block }) => {
                let channel = Name::from(block.channel());
                let position = self.publish(&channel, block);
                let answer = Answer::Published { id, channel, position };
                self.peers[worker].answers.push_back(answer);
            }
            Some(Call::Read { id, channel, since }) => {
                let read = self.store.read(id, &channel, since);
                self.peers[worker].answers.push_back(Answer::Read(Box::new(read)));
            }
            Some(Call::Watch { .. } | Call::Unwatch { .. }) | None => {}
        }
    }

    fn interest(&mut self, worker: usize) {
        let peer = &mut self.peers[worker];
        match peer.interests.pop_front() {
            Some(Call::Watch { channel }) => {
                peer.watched.insert(channel.clone());
                peer.heard.push_back(Heard::Watching { channel });
            }
            Some(Call::Unwatch { channel }) => {
                peer.watched.remove(&channel);
            }
            Some(Call::Publish { .. } | Call::Read { .. }) | None => {}
        }
    }

    /// Puts a publication in order at the store, and tells everybody who watches.
    fn publish(&mut self, channel: &Name, block: Block) -> Position {
        let position = self.store.publish(channel, block.clone());
        self.note(channel, &block, position);
        for peer in &mut self.peers {
            if !peer.watched.contains(channel) || self.random.chance(self.faults.loss) {
                continue;
            }
            let copies = if self.random.chance(self.faults.double) { 2 } else { 1 };
            for _ in 0..copies {
                let (channel, block) = (channel.clone(), block.clone());
                peer.heard.push_back(Heard::Publication { channel, position, block });
            }
        }
        position
    }

    /// The store's order is the truth that the clients are held to.
    fn note(&mut self, channel: &Name, block: &Block, position: Position) {
        let mut ledger = self.ledger.borrow_mut();
        let Some(index) = self.channels.iter().position(|name| name == channel) else { return };
        if let Some(number) = ledger.recognise(index, block.data(), false) {
            let epoch = (self.faults.epoch_text)(position.epoch);
            ledger.seen_at(index, &epoch, position.offset, number);
        }
    }
}
