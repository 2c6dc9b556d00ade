//! One turn of a worker, stage by stage.

use super::{TurnOutcome, Worker};
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::driver::Driver;
use crate::rules::sabotage;
use crate::transport::Transport;

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Runs all stages, each within its budget: completions, frames, commands, lanes, timers,
    /// doorbells, flush. What is left in the lanes and in the driver is found by the check before a
    /// sleep.
    pub fn turn(&mut self, now: Now) -> TurnOutcome {
        self.edge.begin_turn(self.budgets.work_ns, now);
        let mut worked = self.receive(now);
        self.resume_work(now);
        // Deliveries of this core's home to its own edge are sent in the same turn.
        worked |= self.serve_requests(now);
        worked |= self.take_deliveries(now);
        self.report(now);
        self.edge.timers(now);
        self.drain_step(now);
        self.apply_effects();
        self.ring();
        self.flush();
        sabotage!(NoBellAfter => self.push_after_the_bells(now));
        self.apply_effects();
        self.count();
        TurnOutcome { worked, rest: self.rest() }
    }

    /// Sets the gauges.
    fn count(&mut self) {
        let metrics = &self.metrics;
        metrics.arena_bytes.set(self.edge.arena_bytes() as u64);
        metrics.parked.set(self.edge.parked() as u64);
        metrics.backlog_bytes.set(self.edge.backlog_bytes());
        metrics.spill_bytes.set(self.edge.spill_bytes());
        metrics.channels.set(self.edge.channel_count() as u64);
        metrics.filter_bytes.set(self.edge.filter_bytes() as u64);
        metrics.home_channels.set(self.home.channels() as u64);
        metrics.numberings.set(self.home.numberings() as u64);
        metrics.subscribed_channels.set(self.home.subscribed_channels() as u64);
        metrics.users.set(self.home.users() as u64);
        metrics.api_bytes.set(self.edge.api_bytes());
        metrics.history_bytes.set(self.home.history_bytes() as u64);
        metrics.publications.set(self.home.published());
        metrics.history_evictions.set(self.home.evicted());
        metrics.numbering_evictions.set(self.home.numberings_forgotten());
        metrics.channels_refused.set(self.home.channels_refused());
        let stats = self.driver.stats();
        metrics.out_of_buffers.set(stats.out_of_buffers);
        metrics.overflows.set(stats.overflows);
    }
}
