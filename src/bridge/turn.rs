//! One turn of the bridge: probes that are due, what workers ask, what waits for them, doorbells.
//!
//! Like a worker it is a function of `now`: it never sleeps, reads no clock and knows no socket.
//! `run` of the module drives it on monoio, the simulation steps it. Invariant: a turn takes and
//! sends a bounded number of items, and whatever it could not do keeps `look_again` true.

use super::lanes::Lanes;
use super::probe::Probes;
use crate::clock::Now;
use crate::contract::engine::{Call, FromBridge, ToBridge};
use crate::mesh::BridgeEndpoint;
use crate::metrics::CoreMetrics;
use std::sync::Arc;

/// What the bridge is made of.
pub struct Parts {
    pub ends: BridgeEndpoint<ToBridge, FromBridge>,
    /// By worker: where its answers to probes are noted.
    pub metrics: Vec<Arc<CoreMetrics>>,
    /// Microseconds between probes.
    pub probe_interval_us: u64,
    /// Items that a turn takes from each lane, and sends into each.
    pub items_per_lane: usize,
    /// Publications that wait for a worker's lane, at most; more are dropped, and reported lost.
    pub most_notices: usize,
}

/// What lies beyond the bridge: the store that homes call, and what wakes a worker.
pub trait Outside {
    /// Takes over a home's call. Its answer, which every call but `Unwatch` has, comes by
    /// `Lanes::answer`.
    fn call(&mut self, worker: usize, call: Call);

    /// Wakes a worker that sleeps.
    fn wake(&mut self, worker: usize);
}

/// See the module's page.
pub struct Bridge {
    lanes: Lanes,
    probes: Probes,
    items_per_lane: usize,
}

impl Bridge {
    #[must_use]
    pub fn new(parts: Parts) -> Bridge {
        let Parts { ends, metrics, probe_interval_us, items_per_lane, most_notices } = parts;
        assert_eq!(metrics.len(), ends.to_workers.len(), "metrics of every worker");
        assert!(items_per_lane > 0 && most_notices > 0, "a bridge that does nothing");
        let lanes = Lanes::new(ends, most_notices);
        Bridge { lanes, probes: Probes::new(probe_interval_us, metrics), items_per_lane }
    }

    /// Where the store hands over its answers.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The same, to be used; what is handed over is sent by the next turn.
    pub fn lanes_mut(&mut self) -> &mut Lanes {
        &mut self.lanes
    }

    /// Does what there is to do now. Its owner has to turn it again at `deadline_us`, or when it is
    /// rung.
    pub fn turn(&mut self, now: Now, outside: &mut impl Outside) {
        if let Some(sequence) = self.probes.begin(now) {
            for worker in 0..self.lanes.workers() {
                // A full lane means "not ready", which shows by the missing answer.
                let _ = self.lanes.probe(worker, sequence);
            }
        }
        for worker in 0..self.lanes.workers() {
            self.take(worker, now, outside);
            self.lanes.send(worker, self.items_per_lane);
        }
        self.lanes.ring(|worker| outside.wake(worker));
    }

    fn take(&mut self, worker: usize, now: Now, outside: &mut impl Outside) {
        for _ in 0..self.items_per_lane {
            match self.lanes.take(worker) {
                None => break,
                Some(ToBridge::Probed { sequence }) => {
                    self.probes.note_answer(worker, sequence, now);
                }
                Some(ToBridge::Fenced { number }) => self.lanes.passed(worker, number),
                Some(ToBridge::Call(call)) => outside.call(worker, call),
            }
        }
        self.lanes.make_room(worker);
    }

    /// When it has something to do without being rung, in microseconds of the process.
    #[must_use]
    pub fn deadline_us(&self) -> u64 {
        self.probes.due_us()
    }

    /// Announces that the bridge will sleep. Then `look_again` has to follow.
    pub fn announce_sleep(&self) {
        self.lanes.announce_sleep();
    }

    /// Looks again after the announcement: is there anything that it could do now?
    #[must_use]
    pub fn look_again(&self) -> bool {
        self.lanes.has_work()
    }

    /// The bridge is awake again.
    pub fn awake(&self) {
        self.lanes.awake();
    }
}
