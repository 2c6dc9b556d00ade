//! The hosts of a run, one or more on one clock: their workers and bridges, clients, and who acts
//! next.
//!
//! Must not know what is right or wrong: `rest` judges. Invariant: whatever happens follows from
//! the plan and the seed alone.

use super::beyond::Beyond;
use super::caller::Caller;
use super::client::{Around, Client, Phase};
use super::core::{Core, Woken};
use super::errand::Step;
use super::ledger::{NODE, SharedLedger};
use super::net::SharedNet;
use super::plan::{EngineKind, Plan};
use super::random::Random;
use super::redis::SharedRedis;
use crate::clock::Now;
use crate::contract::block::Block;
use crate::contract::engine::Engine;
use crate::contract::name::Name;
use crate::metrics::CoreMetrics;
use crate::transport::Transport;
use std::sync::Arc;

/// Steps in which a lull, or the end, must have come to rest.
const REST_STEPS: u32 = 2_000_000;
/// Times that the clock may jump to a timer before everybody must have settled.
const JUMPS: u32 = 12_000;
/// Microseconds of one step, at most.
const STEP_US: usize = 20;

/// See the module's page.
pub struct Host<T: Transport, E> {
    pub plan: Plan,
    pub net: SharedNet,
    pub ledger: SharedLedger,
    /// Of all hosts, one after the other.
    pub cores: Vec<Core<T, E>>,
    /// By host.
    pub bridges: Vec<Beyond>,
    pub redis: Option<SharedRedis>,
    pub clients: Vec<Client>,
    pub caller: Caller,
    /// Lists of channels that were not what hosts have.
    pub lists: u32,
    /// Connections of the user whose disconnect is out.
    pub doomed: Vec<(u16, u32)>,
    pub names: Vec<Name>,
    /// What the cores count.
    pub metrics: Vec<Arc<CoreMetrics>>,
    pub random: Random,
    pub now_us: u64,
    pub elsewhere: u32,
    pub steps: u64,
}

impl<T: Transport, E: Engine> Host<T, E> {
    /// The whole run: busy, then at rest, or stopped.
    pub fn run(&mut self) {
        self.warm_up();
        let lull_every = self.random.between(500, 4_000) as u64;
        let mut next_lull = lull_every;
        while self.ledger.borrow().publications.len() < self.plan.publications && !self.is_broken()
        {
            self.busy_step();
            if self.steps >= next_lull {
                self.lull();
                next_lull = self.steps + lull_every;
            }
        }
        self.end_of_busy();
        if self.plan.shutdown {
            self.shut_down();
        } else {
            self.settle();
        }
    }

    /// Nothing more is learnt from a run that has gone wrong.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.ledger.borrow().violation_count > 0
    }

    /// The moment that cores are told.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic_us: self.now_us, unix_ms: 1_900_000_000_000 + self.now_us / 1_000 }
    }

    fn pass(&mut self, us: u64, clean: bool) {
        self.now_us += us;
        let mut ledger = self.ledger.borrow_mut();
        ledger.now_us = self.now_us;
        if clean {
            ledger.clean_us += us;
        }
    }

    fn busy_step(&mut self) {
        self.steps += 1;
        let stalled = self.cores.iter().any(|core| core.is_stalled(self.now_us));
        let us = self.random.between(1, STEP_US) as u64;
        let mut clean = !stalled;
        match self.random.below(100) {
            0..68 => clean &= self.core_step(),
            68..76 => self.bridge_step(),
            76..88 => self.client_reads(),
            88..98 => self.client_acts(),
            98 => self.caller_acts(),
            _ => self.fate(),
        }
        self.pass(us, clean);
    }

    /// A core that can do something does it; false when its timer woke it.
    fn core_step(&mut self) -> bool {
        let now = self.now();
        let first = self.random.below(self.cores.len());
        for turn in 0..self.cores.len() {
            let core = (first + turn) % self.cores.len();
            if self.cores[core].is_runnable(self.now_us) {
                let mut clean = true;
                for _ in 0..self.random.pick(&[1, 1, 3]) {
                    clean &= self.cores[core].step(now) != Woken::ByTimer;
                }
                return clean;
            }
        }
        true
    }

    fn bridge_step(&mut self) {
        for _ in 0..self.random.pick(&[1, 4, 8]) {
            self.beyond_step();
        }
    }

    /// One of the bridges, or the Redis, does something.
    fn beyond_step(&mut self) {
        let now = self.now();
        if let Some(redis) = &self.redis
            && self.random.chance(400)
        {
            return redis.borrow_mut().step(self.now_us);
        }
        // Without a choice nothing is drawn.
        let host = if self.bridges.len() == 1 { 0 } else { self.random.below(self.bridges.len()) };
        if self.bridges[host].is_runnable(self.now_us) {
            self.bridges[host].step(now);
        }
    }

    /// Lets hosts connect to their Redis before anybody comes, where nothing is to fail.
    fn warm_up(&mut self) {
        if self.redis.is_none() || self.plan.fails() {
            return;
        }
        while !self.bridges.iter().all(Beyond::is_ready) && !self.is_broken() {
            self.beyond_step();
            self.pass(1, false);
        }
    }

    /// Lends the clients what they act upon.
    pub fn with_client<R>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut Client, &mut Around) -> R,
    ) -> R {
        let (mut net, mut ledger) = (self.net.borrow_mut(), self.ledger.borrow_mut());
        let mut around = Around { net: &mut net, ledger: &mut ledger, plan: &self.plan };
        act(&mut self.clients[client], &mut around)
    }

    fn client_reads(&mut self) {
        let client = self.random.below(self.clients.len());
        let limit = self.random.pick(&[1, 50, 500, 20_000]);
        let now_us = self.now_us;
        self.with_client(client, |client, around| client.read(limit, around, now_us));
    }

    fn client_acts(&mut self) {
        let client = self.random.below(self.clients.len());
        let now_us = self.now_us;
        self.with_client(client, |client, around| client.act(around, now_us));
    }

    fn caller_acts(&mut self) {
        self.caller_reads();
        let (mut net, mut ledger) = (self.net.borrow_mut(), self.ledger.borrow_mut());
        let mut around = Around { net: &mut net, ledger: &mut ledger, plan: &self.plan };
        let Some(user) = self.caller.act(&mut around) else { return };
        drop((net, ledger));
        let seats = self.seats(user);
        match &mut self.caller.errand {
            Some(errand) if errand.step == Step::Subscribe => errand.seats = seats,
            _ => self.doomed = seats,
        }
    }

    fn caller_reads(&mut self) {
        let (mut net, mut ledger) = (self.net.borrow_mut(), self.ledger.borrow_mut());
        let mut around = Around { net: &mut net, ledger: &mut ledger, plan: &self.plan };
        self.caller.read(&mut around);
        if std::mem::take(&mut self.caller.disconnected) {
            // Who was connected when it was asked for has to go, now that it was carried out.
            for client in &mut self.clients {
                client.must_end |= self.doomed.contains(&(client.index, client.connection));
            }
            self.doomed.clear();
        }
    }

    /// What happens to the host from outside.
    fn fate(&mut self) {
        if self.random.chance(self.plan.core_stall_per_mille) {
            let core = self.random.below(self.cores.len());
            let us = self.random.between(1_000, 300_000) as u64;
            self.cores[core].stall_until(self.now_us + us);
        }
        if let Some(redis) = &self.redis {
            return redis.borrow_mut().befall(self.now_us);
        }
        if self.plan.engine == EngineKind::Memory {
            return;
        }
        if self.random.chance(300) {
            let channel = self.random.below(self.names.len());
            self.publish_elsewhere(channel);
        }
        if self.random.chance(self.plan.renew_per_mille) {
            let channel = self.random.pick(&self.names.iter().collect::<Vec<_>>()).clone();
            self.bridges[0].store_mut().expect("it is late").renew(&channel);
        }
    }

    fn publish_elsewhere(&mut self, channel: usize) {
        self.elsewhere += 1;
        let mut data = Vec::new();
        {
            let mut ledger = self.ledger.borrow_mut();
            let number = ledger.publish((NODE, 0, self.elsewhere), NODE, channel, 10);
            ledger.payload(number, &mut data);
        }
        let block = Block::plain(self.names[channel].as_str(), &data, self.now());
        let name = self.names[channel].clone();
        let bridge = self.bridges[0].store_mut().expect("it is late");
        if self.plan.channels[channel].keeps {
            bridge.publish_elsewhere(block, self.now_us);
        } else {
            bridge.pass_elsewhere(&name, &block);
        }
    }

    /// Can anything happen without the clock or a client?
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        !self.bridges.iter().any(|bridge| bridge.is_runnable(self.now_us))
            && !self.redis.as_ref().is_some_and(|redis| redis.borrow().has_work(self.now_us))
            && !self.cores.iter().any(|core| core.may_run(self.now_us))
    }

    /// Does anything wait for a store that fails or is silent, or for what a stream has lost and
    /// may be on its way? Then the time brings it on.
    fn waits_for_engine(&self) -> bool {
        let waits = |core: &Core<T, E>| core.worker.home().waits_for_engine();
        let rests = |core: &Core<T, E>| core.worker.home().rests();
        let is_held_up = self.bridges.iter().any(Beyond::is_held_up);
        let is_disturbed =
            self.redis.as_ref().is_some_and(|redis| redis.borrow().is_disturbed(self.now_us));
        // What Redis is told of users waits for a while, so that it is told of many.
        is_disturbed
            || self.cores.iter().any(rests)
            || self.redis.is_some() && is_held_up
            || self.plan.fails() && (is_held_up || self.cores.iter().any(waits))
    }

    /// Has every client that reads read all there is?
    pub(super) fn is_read(&self) -> bool {
        let net = self.net.borrow();
        let called = self.caller.link.is_none_or(|link| net.links[link].down.is_empty());
        called
            && self.clients.iter().all(|client| {
                client.dead
                    || self.now_us < client.stalled_until_us
                    || client
                        .link
                        .is_none_or(|link| net.links[link].down.is_empty() && !net.at_end(link))
            })
    }

    /// Nobody starts anything: all that was begun must come to its end without a timer's help.
    fn lull(&mut self) {
        let mut burst = self.plan.engine == EngineKind::Late && self.random.chance(500);
        for _ in 0..REST_STEPS {
            if self.is_broken() {
                return;
            }
            if self.is_at_rest() && self.is_read() && self.waits_for_engine() {
                self.jump();
            } else if self.is_at_rest() && self.is_read() {
                if self.cores.iter().all(|core| !core.is_stalled(self.now_us)) {
                    self.judge_rest();
                    if !std::mem::take(&mut burst) {
                        return;
                    }
                    // Another node's, of which a narrow way drops the end.
                    let channel = self.random.below(self.names.len());
                    for _ in 0..self.random.between(1, 40) {
                        self.publish_elsewhere(channel);
                    }
                }
                let awake = self.cores.iter().map(Core::stalled_until_us).max().unwrap_or(0);
                self.pass(awake.saturating_sub(self.now_us), false);
            }
            self.quiet_step();
        }
        self.ledger.borrow_mut().violation("never_quiet", || "a lull never came to rest".into());
    }

    pub(super) fn quiet_step(&mut self) {
        self.steps += 1;
        let stalled = self.cores.iter().any(|core| core.is_stalled(self.now_us));
        let us = self.random.between(1, STEP_US) as u64;
        let clean = match self.random.below(10) {
            0..5 => self.core_step(),
            5..7 => {
                self.bridge_step();
                true
            }
            7 => {
                self.caller_reads();
                true
            }
            _ => {
                self.client_reads();
                true
            }
        };
        self.pass(us, clean && !stalled);
    }

    fn end_of_busy(&mut self) {
        for core in &mut self.cores {
            core.stall_until(0);
        }
        for client in 0..self.clients.len() {
            if self.plan.mass_death && client % 2 == 0 {
                self.with_client(client, |client, around| client.leave(around));
                self.clients[client].dead = true;
            } else if self.plan.hang && client % 3 == 0 {
                self.clients[client].stalled_until_us = u64::MAX;
                self.clients[client].slow = true;
                self.clients[client].dead = true;
            } else {
                self.clients[client].stalled_until_us = 0;
            }
        }
    }

    /// Brings everybody to rest: connected, subscribed, all answered; then judges the whole run.
    fn settle(&mut self) {
        let mut jumps = 0;
        let mut settled_us = None;
        for _ in 0..REST_STEPS {
            if self.is_broken() {
                return;
            }
            if self.is_at_rest() && self.is_read() && self.waits_for_engine() {
                self.jump();
            } else if self.is_at_rest() && self.is_read() {
                self.judge_rest();
                if self.clients.iter().all(Client::settled) {
                    let since_us = *settled_us.get_or_insert(self.now_us);
                    let is_over = self.now_us >= since_us + self.plan.watch_us;
                    if is_over && self.judge_list() {
                        return self.judge_end();
                    }
                }
                jumps += 1;
                if jumps > JUMPS * self.bridges.len() as u32 {
                    break;
                }
                self.jump();
            }
            let client = self.random.below(self.clients.len());
            if !self.clients[client].dead {
                self.with_client(client, |client, around| client.settle(around));
            }
            self.quiet_step();
        }
        let unsettled: Vec<_> = self
            .clients
            .iter()
            .filter(|client| !client.settled())
            .map(|client| (client.index, client.phase, client.waiting.clone()))
            .take(3)
            .collect();
        self.ledger
            .borrow_mut()
            .violation("never_quiet", || format!("after {jumps} jumps: {unsettled:?}"));
    }

    /// Everybody sleeps: the clock goes on to the next timer.
    pub(super) fn jump(&mut self) {
        let next = self.cores.iter().filter_map(Core::deadline_us).min();
        let beyond = self.bridges.iter().map(Beyond::deadline_us).min().unwrap_or(u64::MAX);
        let redis = self.redis.as_ref().map(|redis| redis.borrow().deadline_us(self.now_us));
        let next = next.unwrap_or(u64::MAX).min(beyond).min(redis.unwrap_or(u64::MAX));
        let us = next.saturating_sub(self.now_us).max(1);
        self.pass(us, false);
    }

    /// Is the client one that the host still expects things of?
    #[must_use]
    pub fn is_served(&self, client: &Client) -> bool {
        !client.dead && self.now_us >= client.stalled_until_us && client.phase != Phase::Offline
    }
}
