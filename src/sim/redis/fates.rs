//! What befalls a simulated Redis and the ways to it, and when that is over.
//!
//! Must not know nodes. Invariant: everything that befalls it is over by itself, at a time that
//! `deadline_us` tells.

use super::keyspace::Refusal;
use super::plan::Unkindness;
use super::server::{Mood, Server};
use super::{Redis, Snapshot, WayId, channel_of};
use bytes::Bytes;

impl Redis {
    /// A stroke of fate, which most often does nothing.
    pub fn befall(&mut self, now_us: u64) {
        self.pass(now_us);
        let Unkindness { cuts, deaths, slows, freezes, restarts, failovers, .. } =
            self.plan.unkindness;
        if self.random.chance(20) {
            self.save();
        }
        if self.random.chance(cuts) {
            self.on_any_way(|redis, way| redis.break_off(way, now_us));
        }
        if self.random.chance(deaths) {
            self.on_any_way(Redis::let_die);
        }
        if self.random.chance(slows) {
            self.on_any_way(|redis, way| redis.slow_down(way, now_us));
        }
        if self.random.chance(freezes) {
            self.frozen_until_us = now_us + self.random.between(10_000, 8_000_000) as u64;
        }
        if self.random.chance(restarts) {
            self.restart(now_us);
        } else if self.random.chance(failovers) {
            self.fail_over(now_us);
        }
        if self.random.chance(self.plan.unkindness.refusals) {
            self.refuse(now_us);
        }
        if self.random.chance(self.plan.unkindness.evictions) {
            self.evict();
        }
    }

    fn on_any_way(&mut self, act: impl FnOnce(&mut Redis, WayId)) {
        let open = self.ways.iter().filter(|(_, way)| !way.is_left);
        let open: Vec<WayId> = open.map(|(id, _)| *id).collect();
        if !open.is_empty() {
            let way = self.random.pick(&open);
            act(self, way);
        }
    }

    /// A connection is cut at the server's end, or between.
    fn break_off(&mut self, id: WayId, now_us: u64) {
        if self.random.chance(500) {
            return self.cut(id);
        }
        let Some(way) = self.ways.get_mut(&id) else { return };
        way.is_broken = true;
        way.slow_up_until_us = now_us + self.random.pick(&[0, 10_000, 200_000]);
    }

    /// The server's end is closed. A part of what was under way still comes.
    fn cut(&mut self, id: WayId) {
        let Some(way) = self.ways.get_mut(&id) else { return };
        let server = &mut self.servers[way.server];
        let waiting = server.waiting(way.connection);
        let mut rest = Vec::new();
        server.take_output(way.connection, self.random.below(waiting + 1), &mut rest);
        way.rest.extend(rest);
        way.up.clear();
        server.close(way.connection);
    }

    fn let_die(&mut self, id: WayId) {
        if let Some(way) = self.ways.get_mut(&id) {
            way.is_dead = true;
            let come = self.random.below(way.up.len() + 1);
            way.up.truncate(come);
        }
    }

    fn slow_down(&mut self, id: WayId, now_us: u64) {
        let until_us = now_us + self.random.pick(&[1_000, 20_000, 300_000]);
        let Some(way) = self.ways.get_mut(&id) else { return };
        if self.random.chance(500) {
            way.slow_up_until_us = until_us;
        } else {
            way.slow_down_until_us = until_us;
        }
    }

    /// It saves what it holds.
    fn save(&mut self) {
        let keyspace = self.server().keyspace().clone();
        self.snapshot = Snapshot { keyspace, noted: self.noted.len() };
    }

    /// What it holds becomes what it had saved, or nothing; or nothing was lost.
    fn saved(&mut self) -> Snapshot {
        match self.random.below(4) {
            0 => self.save(),
            1 => self.snapshot = Snapshot::default(),
            _ => {}
        }
        let Snapshot { keyspace, noted } = &self.snapshot;
        Snapshot { keyspace: keyspace.clone(), noted: *noted }
    }

    /// What was noted after this many is forgotten.
    fn forget(&mut self, noted: usize) {
        let mut ledger = self.ledger.borrow_mut();
        for number in self.noted.drain(noted..) {
            ledger.forgotten(number);
        }
        self.forgot += 1;
    }

    fn restart(&mut self, now_us: u64) {
        let Snapshot { keyspace, noted } = self.saved();
        self.forget(noted);
        let ways: Vec<WayId> = self.ways.keys().copied().collect();
        ways.into_iter().for_each(|way| self.cut(way));
        self.launch(keyspace);
        if self.random.chance(500) {
            self.away_until_us = now_us + self.random.between(1_000, 2_000_000) as u64;
        }
        if self.random.chance(300) {
            self.server().mood = Mood::Loads;
            self.moody_until_us = now_us + self.random.between(1_000, 3_000_000) as u64;
        }
        self.frozen_until_us = 0;
    }

    /// Another server takes over. Who is connected to the one before stays so.
    fn fail_over(&mut self, now_us: u64) {
        let Snapshot { keyspace, noted } = self.saved();
        self.forget(noted);
        self.servers.iter_mut().for_each(Server::demote);
        self.launch(keyspace);
        self.retires_us = now_us + self.random.between(100_000, 10_000_000) as u64;
    }

    fn refuse(&mut self, now_us: u64) {
        self.moody_until_us = now_us + self.random.between(1_000, 1_000_000) as u64;
        let kind = self.random.below(6);
        let server = self.server();
        match kind {
            0 => server.keyspace_mut().refusal = Some(Refusal::OutOfMemory),
            1 => server.keyspace_mut().refusal = Some(Refusal::CannotSave),
            2 => server.keyspace_mut().refusal = Some(Refusal::TooFewReplicas),
            3 => server.mood = Mood::Busy,
            _ => server.flush_scripts(),
        }
    }

    fn evict(&mut self) {
        let is_channels = |key: &&Bytes| channel_of(key).is_some() || key.starts_with(b"cc:num{");
        let streams = self.server().keyspace().keys().filter(is_channels);
        let streams: Vec<_> = streams.cloned().collect();
        if !streams.is_empty() {
            let victim = streams[self.random.below(streams.len())].clone();
            self.server().keyspace_mut().evict(&victim);
            self.forgot += 1;
        }
    }

    /// What has befallen it is over in its time.
    pub(super) fn pass(&mut self, now_us: u64) {
        if self.moody_until_us > 0 && now_us >= self.moody_until_us {
            self.moody_until_us = 0;
            let server = self.server();
            server.mood = Mood::Serves;
            server.keyspace_mut().refusal = None;
        }
        if self.retires_us > 0 && now_us >= self.retires_us {
            self.retires_us = 0;
            let last = self.servers.len() - 1;
            let old = self.ways.iter().filter(|(_, way)| way.server < last);
            let old: Vec<WayId> = old.map(|(id, _)| *id).collect();
            old.into_iter().for_each(|way| self.cut(way));
        }
        for until_us in [&mut self.away_until_us, &mut self.frozen_until_us] {
            if now_us >= *until_us {
                *until_us = 0;
            }
        }
    }

    /// Does something wait that time alone brings on?
    #[must_use]
    pub fn is_disturbed(&self, now_us: u64) -> bool {
        self.deadline_us(now_us) < u64::MAX || self.ways.values().any(|way| way.is_dead)
    }

    /// When something of that is over next, in simulated time.
    #[must_use]
    pub fn deadline_us(&self, now_us: u64) -> u64 {
        let slow = self.ways.values().filter(|way| !way.is_dead);
        let slow = slow.flat_map(|way| [way.slow_up_until_us, way.slow_down_until_us]);
        let own = [self.away_until_us, self.frozen_until_us, self.moody_until_us, self.retires_us];
        slow.chain(own).filter(|until_us| *until_us > now_us).min().unwrap_or(u64::MAX)
    }
}
