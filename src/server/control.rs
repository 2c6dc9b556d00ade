//! How main and the cores communicate: made, go, leave, stop, and how far a stop has progressed.
//!
//! Must not know what a core does. Invariant: no core serves before all are made, so a start
//! that fails half-way can be repeated with another driver.

use crate::driver::socket::Bell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// Interval at which main checks for threads that ended without a report.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// State of a start.
const MAKING: u8 = 0;
const GO: u8 = 1;
const ABANDONED: u8 = 2;

/// No core.
const NOBODY: usize = usize::MAX;

/// See the module's page.
pub struct Control {
    phase: AtomicU8,
    /// Cores, including the bridge, that have what they need.
    made: AtomicUsize,
    failed: AtomicBool,
    leaving: AtomicBool,
    stopping: AtomicBool,
    /// Main no longer waits for anything.
    cut_short: AtomicBool,
    bridge_stopping: AtomicBool,
    timeout_ms: AtomicU32,
    /// The time in which clients are told one after the other, before the shutdown; 0: not yet.
    pace_ms: AtomicU32,
    /// Workers that have told all of theirs.
    paced: AtomicUsize,
    /// Workers that have sent 3001 to their clients and need no home any more.
    said: AtomicUsize,
    /// Workers whose loop has ended.
    ended: AtomicUsize,
    /// The core whose thread ended first, the bridge's number being the one after the workers'.
    gone: AtomicUsize,
    workers: usize,
    bells: Vec<Option<Bell>>,
    main: Thread,
}

/// Kept by a core's thread for as long as it runs. Dropping it, be it by a panic, wakes main.
pub struct Presence {
    core: usize,
    control: Arc<Control>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Control { gone, main, .. } = &*self.control;
        // Whoever ends later follows from the first.
        let _ = gone.compare_exchange(NOBODY, self.core, Ordering::AcqRel, Ordering::Relaxed);
        main.unpark();
    }
}

impl Control {
    /// Of so many workers. The calling thread is main.
    pub fn new(workers: usize, bells: Vec<Option<Bell>>) -> Control {
        Control {
            phase: AtomicU8::new(MAKING),
            made: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            cut_short: AtomicBool::new(false),
            bridge_stopping: AtomicBool::new(false),
            timeout_ms: AtomicU32::new(0),
            pace_ms: AtomicU32::new(0),
            paced: AtomicUsize::new(0),
            said: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            gone: AtomicUsize::new(NOBODY),
            workers,
            bells,
            main: thread::current(),
        }
    }

    /// The presence of a core's thread, which that thread has to keep.
    pub fn presence(self: &Arc<Self>, core: usize) -> Presence {
        assert!(core <= self.workers, "the bridge has the highest number");
        Presence { core, control: Arc::clone(self) }
    }

    /// The core whose thread ended first, if one has.
    pub fn gone(&self) -> Option<usize> {
        Some(self.gone.load(Ordering::Acquire)).filter(|core| *core != NOBODY)
    }

    /// Waits until every core is made, or one cannot be; `is_gone` says whether a thread has ended.
    /// False: it failed.
    pub fn await_made(&self, is_gone: impl Fn() -> bool) -> bool {
        while self.made.load(Ordering::Acquire) <= self.workers {
            if self.failed.load(Ordering::Acquire) || is_gone() {
                return false;
            }
            thread::park_timeout(LOOK_AGAIN);
        }
        true
    }

    /// Reports that a core has what it needs, or has failed, and waits for the others. Returns
    /// false if the core is not needed.
    pub fn report(&self, is_made: bool) -> bool {
        if is_made {
            self.made.fetch_add(1, Ordering::AcqRel);
        } else {
            self.failed.store(true, Ordering::Release);
        }
        self.main.unpark();
        while is_made && self.phase.load(Ordering::Acquire) == MAKING {
            thread::park();
        }
        is_made && self.phase.load(Ordering::Acquire) == GO
    }

    /// Lets the cores start serving, or end. The caller then unparks their threads.
    pub fn begin(&self, go: bool) {
        self.phase.store(if go { GO } else { ABANDONED }, Ordering::Release);
    }

    /// From now on `/ready` is 503.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
        self.ring();
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// From now on nobody is accepted, and clients are told one after the other, in this time.
    pub fn pace(&self, over_ms: u32) {
        self.pace_ms.store(over_ms, Ordering::Release);
        self.ring();
    }

    /// The time in which clients are told, once that has begun.
    pub fn paces_over_ms(&self) -> Option<u32> {
        Some(self.pace_ms.load(Ordering::Acquire)).filter(|over_ms| *over_ms > 0)
    }

    /// Counts a worker that has told all of its clients.
    pub fn paced(&self) {
        self.paced.fetch_add(1, Ordering::AcqRel);
        self.main.unpark();
    }

    pub fn all_paced(&self) -> bool {
        self.paced.load(Ordering::Acquire) >= self.workers
    }

    /// Begins the shutdown.
    pub fn stop(&self, timeout_ms: u32) {
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
        self.stopping.store(true, Ordering::Release);
        self.ring();
    }

    /// Longest duration of the shutdown, once it has begun.
    pub fn stops_within_ms(&self) -> Option<u32> {
        self.stopping.load(Ordering::Acquire).then(|| self.timeout_ms.load(Ordering::Relaxed))
    }

    /// Ends the shutdown at once, whatever is left to do.
    pub fn cut_short(&self) {
        self.cut_short.store(true, Ordering::Release);
        self.ring();
    }

    pub fn is_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Acquire)
    }

    /// Counts a worker that has sent 3001 to its clients. The last one lets the bridge know.
    pub fn said(&self) {
        self.said.fetch_add(1, Ordering::AcqRel);
        if self.all_said() {
            self.ring();
        }
    }

    /// Have all workers sent 3001 to their clients?
    pub fn all_said(&self) -> bool {
        self.said.load(Ordering::Acquire) >= self.workers
    }

    /// Counts a worker whose loop has ended.
    pub fn ended(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
        self.main.unpark();
    }

    pub fn all_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) >= self.workers
    }

    pub fn stop_bridge(&self) {
        self.bridge_stopping.store(true, Ordering::Release);
        self.ring();
    }

    pub fn bridge_stops(&self) -> bool {
        self.bridge_stopping.load(Ordering::Acquire)
    }

    fn ring(&self) {
        self.bells.iter().flatten().for_each(Bell::ring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_learns_which_core_ended_first_even_by_a_panic() {
        let control = Arc::new(Control::new(2, Vec::new()));
        assert_eq!(control.gone(), None);
        for core in [2, 0] {
            let presence = control.presence(core);
            let ended = thread::spawn(move || {
                let _presence = presence;
                assert!(core > 2, "a core that panics");
            });
            assert!(ended.join().is_err());
            assert_eq!(control.gone(), Some(2));
        }
        // Main was woken: this returns at once, and is not the test's time-out.
        thread::park();
    }
}
