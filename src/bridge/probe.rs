//! Probes: at an interval each worker is asked whether it turns, and `/ready` reads when it
//! answered last.
//!
//! Must not know lanes. Invariant: a probe waits for nobody (rule 7). A worker whose lane is full
//! is asked again with the next ones, and counts as not ready until it answers.

use crate::clock::Now;
use crate::metrics::CoreMetrics;
use std::sync::Arc;

/// See the module's page.
pub struct Probes {
    interval_us: u64,
    /// When the next ones are due.
    due_us: u64,
    /// The number of the last ones.
    sequence: u64,
    /// By worker: where the moment of its last answer is noted.
    metrics: Vec<Arc<CoreMetrics>>,
}

impl Probes {
    #[must_use]
    pub fn new(interval_us: u64, metrics: Vec<Arc<CoreMetrics>>) -> Probes {
        assert!(interval_us > 0, "probes without a pause between them");
        Probes { interval_us, due_us: 0, sequence: 0, metrics }
    }

    /// The number of the probes to send now, if they are due.
    pub fn begin(&mut self, now: Now) -> Option<u64> {
        if now.monotonic_us < self.due_us {
            return None;
        }
        self.due_us = now.monotonic_us + self.interval_us;
        self.sequence += 1;
        Some(self.sequence)
    }

    /// When the next ones are due, in microseconds of the process.
    #[must_use]
    pub fn due_us(&self) -> u64 {
        self.due_us
    }

    /// Notes that a worker answered.
    pub fn note_answer(&mut self, worker: usize, sequence: u64, now: Now) {
        assert!(sequence <= self.sequence, "an answer to a probe that was not sent");
        self.metrics[worker].probe.answered_ms.set(now.monotonic_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic_us: u64) -> Now {
        Now { monotonic_us, unix_ms: 0 }
    }

    #[test]
    fn probes_are_due_at_once_and_then_at_the_interval() {
        let mut probes = Probes::new(250, vec![Arc::new(CoreMetrics::new())]);
        assert_eq!(probes.begin(at(1_000)), Some(1));
        assert_eq!(probes.due_us(), 1_250);
        assert_eq!(probes.begin(at(1_249)), None);
        assert_eq!(probes.begin(at(1_400)), Some(2));
        assert_eq!(probes.due_us(), 1_650);
    }

    #[test]
    fn the_moment_of_an_answer_is_noted() {
        let metrics = vec![Arc::new(CoreMetrics::new()), Arc::new(CoreMetrics::new())];
        let mut probes = Probes::new(250, metrics.clone());
        let sequence = probes.begin(at(1_000)).expect("due at first");
        probes.note_answer(1, sequence, at(7_000));
        let noted: Vec<u64> = metrics.iter().map(|core| core.probe.answered_ms.get()).collect();
        assert_eq!(noted, [0, 7]);
    }
}
