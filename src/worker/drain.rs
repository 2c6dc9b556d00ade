//! Shutdown with a barrier (rule 25): acknowledged publications are delivered, then every client is
//! sent 3001.

use super::Worker;
use super::lanes::Out;
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::contract::envelope::Request;
use crate::driver::Driver;
use crate::edge::{Cut, RequestLanes};
use crate::rules::sabotage;
use crate::transport::Transport;

/// How far a shutdown has progressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is no shutdown.
    Running,
    /// Markers are under way, or deliveries have not been flushed.
    Draining,
    /// Clients were sent 3001; their closes are awaited.
    Said,
    /// No connection is left.
    Quiet,
}

/// A shutdown in progress.
pub(super) struct Drain {
    /// Homes whose lane has this edge's marker.
    marked: Vec<bool>,
    back: usize,
    said: bool,
    reported: bool,
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Makes `/ready` report that a shutdown is near.
    pub fn leave(&mut self) {
        self.edge.leave();
    }

    /// Accepts nobody from here on, and tells clients one after the other, in this time, to
    /// reconnect elsewhere.
    pub fn begin_pace(&mut self, over_ms: u64, now: Now) {
        self.driver.stop_listening();
        self.edge.begin_pace(over_ms, now);
    }

    /// Have all been told, or is nobody left?
    #[must_use]
    pub fn is_pace_over(&self) -> bool {
        self.edge.is_pace_over()
    }

    /// Begins the shutdown: nothing more is accepted or parsed.
    pub fn begin_drain(&mut self, now: Now) {
        if self.drain.is_some() {
            return;
        }
        self.driver.stop_listening();
        self.edge.begin_drain(now);
        let marked = vec![false; self.mesh.requests_out.len()];
        debug_assert!(!marked.is_empty(), "a barrier of no homes");
        self.drain = Some(Drain { marked, back: 0, said: false, reported: false });
    }

    /// How far the shutdown has progressed. The owner ends a worker only when every worker is at
    /// `Said` or `Quiet`: until then another may need its home.
    #[must_use]
    pub fn drain_stage(&self) -> Stage {
        match &self.drain {
            None => Stage::Running,
            Some(drain) if !drain.said => Stage::Draining,
            Some(_) if self.edge.is_deserted() => Stage::Quiet,
            Some(_) => Stage::Said,
        }
    }

    /// True once, after the clients were sent 3001.
    pub fn report_once(&mut self) -> bool {
        self.drain.as_mut().is_some_and(|it| it.said && !std::mem::replace(&mut it.reported, true))
    }

    /// What is lost if the worker ends now, and was lost since the shutdown began.
    #[must_use]
    pub fn cut(&self) -> Cut {
        self.edge.cut()
    }

    pub(super) fn marker_back(&mut self) {
        debug_assert!(self.drain.is_some(), "a marker comes back to the edge that sent it");
        if let Some(drain) = &mut self.drain {
            drain.back += 1;
            let sent = drain.marked.iter().filter(|marked| **marked).count();
            debug_assert!(drain.back <= sent, "more markers came back than were sent");
        }
    }

    /// Sends the markers for which there is room, and sends 3001 once all are back and everything
    /// is flushed.
    pub(super) fn drain_step(&mut self, now: Now) {
        let Some(drain) = &mut self.drain else { return };
        if drain.said {
            return;
        }
        let core = u16::try_from(self.mesh.core).expect("few cores");
        let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
        for (home, marked) in (0_u16..).zip(&mut drain.marked) {
            if !*marked && !self.edge.waits_for(home) {
                *marked = lanes.push(home, Request::Marker { core }).is_ok();
            }
        }
        let behind = drain.back == drain.marked.len() && self.edge.is_clean();
        sabotage!(DrainBarrier: behind = true);
        if behind {
            drain.said = true;
            self.edge.say_shutdown(now);
        }
    }
}
