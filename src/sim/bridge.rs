//! A stub of the bridge: probes, and for the `late` engine a store that answers turns later, with
//! other nodes' publications in between, some lost or doubled.
//!
//! Must not know homes' state. Invariant (rule 14): an answer is never dropped as long as homes
//! keep to their credits; of publications it may drop any, and then says so until it was heard.

use super::ledger::SharedLedger;
use super::net::SharedNet;
use super::random::Random;
use super::stream::Store;
use crate::contract::block::Block;
use crate::contract::engine::{Answer, Call, FromBridge, ToBridge};
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use crate::mesh::BridgeEndpoint;
use crate::rules::sabotage;
use std::collections::{BTreeSet, VecDeque};

/// Publications that wait for a lane, at most; more are dropped, and said to be lost.
const HEARD: usize = 16;

/// How the store and the way from it misbehave.
#[derive(Clone, Copy, Debug)]
pub struct StoreFaults {
    /// Copies of a publication lost on the way, in 1,000.
    pub loss: u32,
    /// Copies doubled.
    pub double: u32,
    /// Time between probes.
    pub probe_us: u64,
    /// Publications kept of a stream.
    pub trim: usize,
    /// How a channel's epoch is written on the wire.
    pub epoch_text: fn(Epoch) -> String,
}

/// What the bridge keeps for one worker.
#[derive(Default)]
struct Peer {
    /// Publishes and reads, in the order they came.
    commands: VecDeque<Call>,
    /// Watches and their ends, on a way of their own.
    interests: VecDeque<Call>,
    /// Answers to commands.
    answers: VecDeque<Answer>,
    /// What the subscription side says, in order.
    heard: VecDeque<Answer>,
    watched: BTreeSet<Name>,
    /// The sticky marks of rule 14.
    lost: Vec<Name>,
    /// Calls that will be answered and were not.
    owed: usize,
    probe: Option<u64>,
}

/// See the module's page.
pub struct Bridge {
    ends: BridgeEndpoint<ToBridge, FromBridge>,
    slots: usize,
    peers: Vec<Peer>,
    store: Store,
    faults: StoreFaults,
    channels: Vec<Name>,
    net: SharedNet,
    ledger: SharedLedger,
    random: Random,
    next_probe_us: u64,
    probes: u64,
    asleep: bool,
}

impl Bridge {
    /// The bridge of a host; `slots` are those of each of its lanes.
    #[must_use]
    pub fn new(
        ends: BridgeEndpoint<ToBridge, FromBridge>,
        slots: usize,
        faults: StoreFaults,
        channels: Vec<Name>,
        (net, ledger): (SharedNet, SharedLedger),
        random: Random,
    ) -> Bridge {
        let peers = ends.to_workers.iter().map(|_| Peer::default()).collect();
        Bridge {
            ends,
            slots,
            peers,
            store: Store::new(faults.trim),
            faults,
            channels,
            net,
            ledger,
            random,
            next_probe_us: 0,
            probes: 0,
            asleep: false,
        }
    }

    /// Is it awake, or would it wake?
    #[must_use]
    pub fn is_runnable(&self, now_us: u64) -> bool {
        !self.asleep || self.net.borrow().bells[self.peers.len()] || now_us >= self.next_probe_us
    }

    /// When it sends its next probes, in simulated time.
    #[must_use]
    pub fn deadline_us(&self) -> u64 {
        self.next_probe_us
    }

    /// The store, for the host's judgement.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Does anything wait here for an answer, or to be told?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.peers
            .iter()
            .all(|peer| peer.owed == 0 && peer.heard.is_empty() && peer.lost.is_empty())
    }

    /// Probes sent and not answered.
    #[must_use]
    pub fn unanswered_probes(&self) -> usize {
        self.peers.iter().filter(|peer| peer.probe.is_some()).count()
    }

    /// Does something, whatever comes to hand; sleeps when there is nothing.
    pub fn step(&mut self, now_us: u64) {
        let bridge = self.peers.len();
        if self.asleep {
            self.asleep = false;
            self.ends.bells[bridge].awake();
            self.net.borrow_mut().bells[bridge] = false;
        }
        if now_us >= self.next_probe_us {
            self.next_probe_us = now_us + self.faults.probe_us;
            self.probe();
        }
        let worker = self.random.below(bridge);
        match self.random.below(6) {
            0 | 1 => self.take(worker),
            2 => self.command(worker),
            3 => self.interest(worker),
            4 => self.answer(worker),
            _ => self.tell(worker),
        }
        if !(0..bridge).any(|worker| self.can_act(worker)) {
            self.sleep();
        }
    }

    fn can_act(&self, worker: usize) -> bool {
        let peer = &self.peers[worker];
        let room = self.ends.to_workers[worker].has_room();
        !self.ends.from_workers[worker].is_empty()
            || !peer.commands.is_empty()
            || !peer.interests.is_empty()
            || (room && !(peer.answers.is_empty() && peer.heard.is_empty() && peer.lost.is_empty()))
    }

    fn sleep(&mut self) {
        let bridge = self.peers.len();
        self.ends.bells[bridge].announce();
        for (peer, lane) in self.peers.iter().zip(&self.ends.to_workers) {
            if !(peer.answers.is_empty() && peer.heard.is_empty() && peer.lost.is_empty()) {
                lane.want_room();
            }
        }
        self.asleep = !(0..bridge).any(|worker| self.can_act(worker));
        if !self.asleep {
            self.ends.bells[bridge].awake();
        }
    }

    fn probe(&mut self) {
        self.probes += 1;
        for worker in 0..self.peers.len() {
            // A full lane means "not ready"; nobody waits.
            if self.push(worker, FromBridge::Probe { sequence: self.probes }) {
                self.peers[worker].probe = Some(self.probes);
            }
        }
    }

    fn push(&mut self, worker: usize, item: FromBridge) -> bool {
        let pushed = self.ends.to_workers[worker].push(item).is_ok();
        if pushed && self.ends.bells[worker].ring() {
            self.net.borrow_mut().bells[worker] = true;
        }
        pushed
    }

    /// Takes from a worker's lane.
    fn take(&mut self, worker: usize) {
        let lane = &mut self.ends.from_workers[worker];
        let item = lane.pop();
        if lane.freed() && self.ends.bells[worker].ring() {
            self.net.borrow_mut().bells[worker] = true;
        }
        let peer = &mut self.peers[worker];
        match item {
            None => {}
            Some(ToBridge::Probed { sequence }) => {
                peer.probe = peer.probe.filter(|probe| *probe != sequence);
            }
            Some(ToBridge::Call(call)) => {
                peer.owed += usize::from(!matches!(call, Call::Unwatch { .. }));
                match call {
                    Call::Watch { .. } | Call::Unwatch { .. } => peer.interests.push_back(call),
                    Call::Publish { .. } | Call::Read { .. } => peer.commands.push_back(call),
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
                peer.heard.push_back(Answer::Watching { channel });
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
                if peer.heard.len() >= HEARD {
                    peer.drop_copy(channel);
                } else {
                    let (channel, block) = (channel.clone(), block.clone());
                    peer.heard.push_back(Answer::Publication { channel, position, block });
                }
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

    fn answer(&mut self, worker: usize) {
        let peer = &mut self.peers[worker];
        while peer.answers.len() > self.slots {
            // More answers than credits: there is no place to keep them.
            peer.answers.pop_back();
            peer.owed -= 1;
        }
        if !self.ends.to_workers[worker].has_room() {
            return;
        }
        if let Some(answer) = peer.answers.pop_front() {
            peer.owed -= 1;
            self.push(worker, FromBridge::Answer(answer));
        }
    }

    /// Passes on what the subscription side said; publications that find no room are dropped.
    fn tell(&mut self, worker: usize) {
        let peer = &mut self.peers[worker];
        if !self.ends.to_workers[worker].has_room() {
            if let Some(Answer::Publication { channel, .. }) = peer.heard.front() {
                let channel = channel.clone();
                peer.heard.pop_front();
                peer.drop_copy(&channel);
            }
            return;
        }
        if let Some(channel) = peer.lost.pop() {
            self.push(worker, FromBridge::Answer(Answer::Lost { channel }));
        } else if let Some(answer) = peer.heard.pop_front() {
            peer.owed -= usize::from(answer.returns_credit());
            self.push(worker, FromBridge::Answer(answer));
        }
    }

    /// Another node publishes `block` in `channel`.
    pub fn publish_elsewhere(&mut self, channel: &Name, block: Block) {
        self.publish(channel, block);
        self.asleep = false;
    }

    /// The store loses a channel's stream.
    pub fn renew(&mut self, channel: &Name) {
        self.store.renew(channel);
    }
}

impl Peer {
    fn drop_copy(&mut self, channel: &Name) {
        sabotage!(StickyMark => return);
        if !self.lost.contains(channel) {
            self.lost.push(channel.clone());
        }
    }
}
