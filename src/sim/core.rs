//! One simulated core: a real worker, and the steps between a turn and sleep, so that other cores
//! may run in between.
//!
//! Must not know other cores. Invariant: a sleeping core runs only when it was rung, its sockets
//! have events, or its deadline has come.

use super::driver::SimDriver;
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::driver::Driver;
use crate::transport::Transport;
use crate::worker::{DrainStage, Rest, Worker};

/// Where a core is in its loop; the deadline is when it wakes by itself, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Awake,
    /// Its turn found nothing more to do; it has not announced sleep yet.
    Idle(Option<u64>),
    /// It announced sleep, and has yet to check for work once more.
    Announced(Option<u64>),
    Asleep(Option<u64>),
    /// The worker has ended.
    Ended,
}

/// Why a core ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It was awake, rung, or its sockets had events.
    ByWork,
    /// Only its deadline.
    ByTimer,
}

/// See the module's documentation.
pub struct Core<T: Transport, E> {
    pub worker: Worker<SimDriver, T, E>,
    state: State,
    stalled_until_us: u64,
    pub turns: u64,
}

impl<T: Transport, E: Engine> Core<T, E> {
    #[must_use]
    pub fn new(worker: Worker<SimDriver, T, E>) -> Core<T, E> {
        Core { worker, state: State::Awake, stalled_until_us: 0, turns: 0 }
    }

    /// The core does nothing before that time.
    pub fn stall_until(&mut self, us: u64) {
        self.stalled_until_us = us;
    }

    #[must_use]
    pub fn stalled_until_us(&self) -> u64 {
        self.stalled_until_us
    }

    #[must_use]
    pub fn is_stalled(&self, now_us: u64) -> bool {
        now_us < self.stalled_until_us
    }

    /// Begins its shutdown, as a signal does.
    pub fn stop(&mut self, now: Now) {
        self.worker.begin_drain(now);
        self.worker.awake();
        if self.state != State::Ended {
            self.state = State::Awake;
        }
    }

    /// Is its part of the shutdown done, as far as other cores are concerned?
    #[must_use]
    pub fn has_said(&self) -> bool {
        matches!(self.worker.drain_stage(), DrainStage::Said | DrainStage::Quiet)
    }

    /// Does no other core need it any more?
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.worker.drain_stage() == DrainStage::Quiet
    }

    /// Ends it, as its owner does.
    pub fn end(&mut self) {
        self.worker.driver_mut().begin_wait();
        self.state = State::Ended;
    }

    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// When it wakes by itself.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        match self.state {
            State::Asleep(deadline) => deadline,
            State::Awake | State::Idle(_) | State::Announced(_) | State::Ended => None,
        }
    }

    /// Could it run now?
    #[must_use]
    pub fn is_runnable(&self, now_us: u64) -> bool {
        !self.is_stalled(now_us) && self.may_run(now_us)
    }

    /// Could it run now if it were not stalled?
    #[must_use]
    pub fn may_run(&self, now_us: u64) -> bool {
        match self.state {
            State::Ended => false,
            State::Awake | State::Idle(_) | State::Announced(_) => true,
            State::Asleep(deadline) => {
                self.worker.driver().has_work() || deadline.is_some_and(|at| at <= now_us)
            }
        }
    }

    /// One step of its loop.
    pub fn step(&mut self, now: Now) -> Woken {
        match self.state {
            State::Ended => {}
            State::Awake => {
                self.turns += 1;
                self.state = match self.worker.turn(now).rest {
                    Rest::Busy => {
                        self.worker.driver_mut().wait(Some(std::time::Duration::ZERO));
                        State::Awake
                    }
                    Rest::Until(deadline) => State::Idle(deadline),
                };
            }
            State::Idle(deadline) => {
                self.worker.announce_sleep();
                self.state = State::Announced(deadline);
            }
            State::Announced(deadline) => {
                self.state = if self.worker.look_again() {
                    self.worker.awake();
                    self.worker.driver_mut().wait(Some(std::time::Duration::ZERO));
                    State::Awake
                } else {
                    self.worker.driver_mut().begin_wait();
                    State::Asleep(deadline)
                };
            }
            State::Asleep(_) => {
                let woken =
                    if self.worker.driver().has_work() { Woken::ByWork } else { Woken::ByTimer };
                self.worker.awake();
                self.worker.driver_mut().wait(None);
                self.state = State::Awake;
                return woken;
            }
        }
        Woken::ByWork
    }
}
