//! What lies beyond the bridge: for the `late` engine a store that answers turns later, with other
//! nodes' publications in between, some lost or doubled. By seed calls fail, carried out or not,
//! and now and then nothing of a worker's is carried out for seconds. The bridge itself is the real
//! one.
//!
//! Must not know homes' state. Invariant: the store answers every call but `Unwatch` once, however
//! late, those about one channel in order; its way to the bridge loses publications alone.

use super::ledger::SharedLedger;
use super::net::SharedNet;
use super::plan::Failures;
use super::random::Random;
use super::stream::Store;
use crate::bridge::{self, Outside};
use crate::clock::Now;
use crate::contract::block::Block;
use crate::contract::engine::{Answer, Call, CallId, Failure, Page, Session, Wish};
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use std::collections::{BTreeMap, VecDeque};

/// How the store and the way from it misbehave.
#[derive(Clone, Copy, Debug)]
pub struct StoreFaults {
    /// Copies of a publication lost on the way, in 1,000.
    pub loss: u32,
    /// Copies doubled.
    pub double: u32,
    pub failures: Failures,
    /// Publications kept of a stream.
    pub trim: usize,
    /// How a channel's epoch is written on the wire.
    pub epoch_text: fn(Epoch) -> String,
}

/// What is asked of the store.
enum Command {
    Call(Call),
    /// The read that answers a `Watch`.
    FirstRead {
        id: CallId,
        channel: Name,
        page: Box<Page>,
    },
}

/// What the store keeps for one worker: its two connections.
#[derive(Default)]
struct Peer {
    /// Publishes and reads, in the order they came.
    commands: VecDeque<Command>,
    /// Nothing is carried out before; 0 when it is.
    frozen_until_us: u64,
    /// Watches and their ends, on a way of their own.
    interests: VecDeque<Call>,
    /// Answers to commands, on their way.
    answers: VecDeque<Answer>,
    /// What the subscription side says, in order, on its way.
    heard: VecDeque<Heard>,
    /// Lists that are to be answered.
    lists: VecDeque<u64>,
    watched: BTreeMap<Name, Session>,
}

/// A publication that comes by a subscription; without a position it is not kept.
struct Heard {
    session: Session,
    position: Option<Position>,
    block: Block,
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

    /// When it does something next by itself, in simulated time.
    #[must_use]
    pub fn deadline_us(&self) -> u64 {
        let frozen = self.far.peers.iter().map(|peer| peer.frozen_until_us);
        let thaw = frozen.filter(|until_us| *until_us > 0).min();
        thaw.unwrap_or(u64::MAX).min(self.bridge.deadline_us())
    }

    /// Is the store silent, so that what waits for it is not forgotten?
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.far.peers.iter().any(|peer| peer.frozen_until_us > 0)
    }

    /// The store, for the host's judgement.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.far.store
    }

    /// Is every call answered, and everything sent?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bridge.lanes().is_idle() && !self.far.has_work() && !self.is_frozen()
    }

    /// Turns the bridge, or lets the store do something; sleeps when there is nothing to do.
    pub fn step(&mut self, now: Now) {
        if self.asleep {
            self.asleep = false;
            self.bridge.awake();
            let bridge = self.far.peers.len();
            self.far.net.borrow_mut().bells[bridge] = false;
        }
        self.far.thaw(now.monotonic_us);
        if self.far.random.chance(400) || !self.far.has_work() {
            self.bridge.turn(now, &mut self.far);
        } else {
            self.far.step(self.bridge.lanes_mut(), now.monotonic_us);
        }
        if !self.far.has_work() {
            self.bridge.announce_sleep();
            self.asleep = !self.bridge.look_again();
            if !self.asleep {
                self.bridge.awake();
            }
        }
    }

    /// Another node publishes `block`.
    pub fn publish_elsewhere(&mut self, block: Block, now_us: u64) {
        let wish = Wish {
            key: Box::default(),
            size: u32::MAX,
            ttl_s: 3_600,
            numbering_s: 3_600,
            version: None,
            above: None,
        };
        self.far.publish(block, &wish, now_us);
        self.asleep = false;
    }

    /// Another node publishes in a channel without history: who watches hears it once, or not.
    pub fn pass_elsewhere(&mut self, channel: &Name, block: &Block) {
        self.far.pass(channel, block);
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
            Call::Publish { .. }
            | Call::Pass { .. }
            | Call::Read { .. }
            | Call::Remove { .. }
            | Call::Announce { .. }
            | Call::Note { .. }
            | Call::Members { .. }
            | Call::Count { .. } => {
                peer.commands.push_back(Command::Call(call));
            }
            // There is no other node.
            Call::Users { id, .. } => peer.answers.push_back(Answer::UsersTold { id }),
            Call::ToUser { id, .. } => {
                peer.answers.push_back(Answer::UserTold { id, missing: Box::default() });
            }
            Call::Nodes { id } => {
                peer.answers.push_back(Answer::Nodes { id, nodes: Box::default() });
            }
            Call::Channels { number, .. } => peer.lists.push_back(number),
            Call::CommandDone { .. } | Call::Listed { .. } => {}
        }
    }

    fn wake(&mut self, worker: usize) {
        self.net.borrow_mut().bells[worker] = true;
    }
}

impl Far {
    fn has_work(&self) -> bool {
        self.peers.iter().any(|peer| {
            let serves = peer.frozen_until_us == 0;
            !((peer.commands.is_empty() || !serves)
                && peer.interests.is_empty()
                && peer.answers.is_empty()
                && peer.lists.is_empty()
                && peer.heard.is_empty())
        })
    }

    /// Does something for one worker, whatever comes to hand.
    fn step(&mut self, lanes: &mut bridge::Lanes, now_us: u64) {
        let worker = self.random.below(self.peers.len());
        // What a connection brings comes one by one, or many at once, for which there is no room.
        let run = self.random.pick(&[1, 1, 40]);
        match self.random.below(4) {
            0 => self.command(worker, now_us),
            1 => self.interest(worker),
            2 => {
                if let Some(number) = self.peers[worker].lists.pop_front() {
                    let channels = Ok(Box::default());
                    lanes.list(worker, Answer::Channels { number, channels });
                }
                for _ in 0..run {
                    let Some(answer) = self.peers[worker].answers.pop_front() else { return };
                    lanes.answer(worker, answer);
                }
            }
            _ => {
                for _ in 0..run {
                    let Some(heard) = self.peers[worker].heard.pop_front() else { return };
                    let Heard { session, position, block } = heard;
                    lanes.forward(worker, session, position, block);
                }
            }
        }
    }

    fn thaw(&mut self, now_us: u64) {
        for peer in self.peers.iter_mut().filter(|peer| now_us >= peer.frozen_until_us) {
            peer.frozen_until_us = 0;
        }
    }

    fn command(&mut self, worker: usize, now_us: u64) {
        let peer = &mut self.peers[worker];
        if peer.frozen_until_us > 0 || peer.commands.is_empty() {
            return;
        }
        if self.random.below(100_000) < self.faults.failures.freezes as usize {
            peer.frozen_until_us = now_us + self.random.between(100_000, 12_000_000) as u64;
            return;
        }
        let Some(command) = peer.commands.pop_front() else { return };
        let failure = self.random.chance(self.faults.failures.calls).then(|| {
            self.random.pick(&[Failure::Away, Failure::Refused, Failure::Lost, Failure::Lost])
        });
        // With its answer lost, a call may have been carried out all the same.
        let is_done =
            failure.is_none() || failure == Some(Failure::Lost) && self.random.chance(500);
        let (id, answer) = self.carry_out(worker, command, is_done, now_us);
        let answer = match (failure, answer) {
            (None, Some(answer)) => answer,
            (why, _) => Answer::Failed { id, why: why.unwrap_or(Failure::Refused) },
        };
        self.peers[worker].answers.push_back(answer);
    }

    /// The call of a command, and the answer to it where it `is_done`.
    fn carry_out(
        &mut self,
        worker: usize,
        command: Command,
        is_done: bool,
        now_us: u64,
    ) -> (CallId, Option<Answer>) {
        match command {
            Command::Call(Call::Publish { id, block, wish }) => {
                let publish = |it: &mut Self| {
                    let (position, is_new) = it.publish(block, &wish, now_us);
                    Answer::Published { id, position, is_new }
                };
                (id, is_done.then(|| publish(self)))
            }
            Command::Call(Call::Pass { id, block }) => {
                if is_done {
                    self.note_passed(&block);
                }
                (id, is_done.then_some(Answer::Passed { id }))
            }
            Command::Call(Call::Remove { id, channel }) => {
                if is_done {
                    self.store.remove(&channel, now_us);
                }
                (id, is_done.then_some(Answer::Removed { id }))
            }
            Command::Call(Call::Read { id, channel, page }) => {
                let read = self.store.read(id, &channel, &page, now_us);
                (id, is_done.then(|| Answer::Read(Box::new(read))))
            }
            // No other node has members here.
            Command::Call(Call::Announce { id, .. }) => {
                (id, is_done.then_some(Answer::Passed { id }))
            }
            Command::Call(Call::Note { id, .. }) => (id, is_done.then_some(Answer::Noted { id })),
            Command::Call(Call::Members { id, .. }) => {
                let entries = Box::default();
                (id, is_done.then_some(Answer::Members { id, entries }))
            }
            Command::Call(Call::Count { id, .. }) => {
                (id, is_done.then_some(Answer::Counted { id, clients: 0, users: 0 }))
            }
            Command::FirstRead { id, channel, page } => {
                if is_done {
                    let read = self.store.read(id, &channel, &page, now_us);
                    return (id, Some(Answer::Read(Box::new(read))));
                }
                // What failed is not heard.
                self.peers[worker].watched.remove(&channel);
                (id, None)
            }
            Command::Call(
                call @ (Call::Watch { .. }
                | Call::Unwatch { .. }
                | Call::Users { .. }
                | Call::ToUser { .. }
                | Call::Nodes { .. }
                | Call::Channels { .. }
                | Call::Listed { .. }
                | Call::CommandDone { .. }),
            ) => unreachable!("it has a way of its own: {call:?}"),
        }
    }

    fn interest(&mut self, worker: usize) {
        let peer = &mut self.peers[worker];
        match peer.interests.pop_front() {
            Some(Call::Watch { id, channel, session, page }) => {
                peer.watched.insert(channel.clone(), session);
                peer.commands.push_back(Command::FirstRead { id, channel, page });
            }
            Some(Call::Unwatch { channel, session }) => {
                let is_current = peer.watched.get(&channel) == Some(&session);
                is_current.then(|| peer.watched.remove(&channel));
            }
            Some(other) => unreachable!("it has a way of its own: {other:?}"),
            None => {}
        }
    }

    /// Puts a publication in order at the store, and tells everybody who watches.
    fn publish(&mut self, block: Block, wish: &Wish, now_us: u64) -> (Position, bool) {
        let channel = &Name::from(block.channel());
        let (position, is_new) = self.store.publish(block.clone(), wish, now_us);
        if !is_new {
            return (position, false);
        }
        self.note(channel, &block, position);
        for peer in &mut self.peers {
            let Some(session) = peer.watched.get(channel).copied() else { continue };
            if self.random.chance(self.faults.loss) {
                continue;
            }
            let copies = if self.random.chance(self.faults.double) { 2 } else { 1 };
            for _ in 0..copies {
                let (position, block) = (Some(position), block.clone());
                peer.heard.push_back(Heard { session, position, block });
            }
        }
        (position, true)
    }

    /// Hands a publication that is not kept to those who watch.
    fn pass(&mut self, channel: &Name, block: &Block) {
        for peer in &mut self.peers {
            let Some(session) = peer.watched.get(channel).copied() else { continue };
            if !self.random.chance(self.faults.loss) {
                peer.heard.push_back(Heard { session, position: None, block: block.clone() });
            }
        }
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

    /// A worker hands a publication to other nodes.
    fn note_passed(&self, block: &Block) {
        let mut ledger = self.ledger.borrow_mut();
        let Some(index) = self.channels.iter().position(|name| name.as_str() == block.channel())
        else {
            return;
        };
        if let Some(number) = ledger.recognise(index, block.data(), false) {
            ledger.passed(number);
        }
    }
}
