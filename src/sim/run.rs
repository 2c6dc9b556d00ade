//! From a seed to an outcome: builds the host of the seed's plan, runs it, and reports.
//!
//! A panic of the code under test is a violation like any other. Invariant: nothing of one run
//! affects the next.

use super::ledger::Violation;
use super::plan::{Plan, Size};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;

thread_local! {
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    /// The plan in words.
    pub plan: String,
    pub violations: Vec<Violation>,
    pub publications: u64,
    pub deliveries: u64,
    pub turns: u64,
    pub steps: u64,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// Times that a client was told about missing publications.
    pub told: u64,
    /// The latest delivery, in microseconds of clean time.
    pub latest_us: u64,
    /// Most others that overtook a publication.
    pub most_passed: u32,
    /// Stages of turns that ended with work left over.
    pub stages_cut: u64,
    /// Most bytes by which an arena exceeded its bound.
    pub arena_over: usize,
}

impl Outcome {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The figures in one line.
    #[must_use]
    pub fn figures(&self) -> String {
        format!(
            "seed {}: {} publications, {} deliveries, {} turns in {} steps, {} us simulated; told \
             {} times; latest delivery {} us; most passed {}; {} stages cut; arena over by {}",
            self.seed,
            self.publications,
            self.deliveries,
            self.turns,
            self.steps,
            self.simulated_us,
            self.told,
            self.latest_us,
            self.most_passed,
            self.stages_cut,
            self.arena_over
        )
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} us: {}", self.kind, self.at_us, self.detail)
    }
}

/// Keeps panics of runs off the terminal, because they are reported as violations.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANICKED.with(|panicked| *panicked.borrow_mut() = Some(info.to_string()));
    }));
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, size: Size) -> Outcome {
    let plan = Plan::new(seed, size);
    let text = format!("{plan}");
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| super::assemble::run(plan)));
    let mut outcome = outcome.unwrap_or_else(|_| {
        let said = PANICKED.with(|panicked| panicked.borrow_mut().take());
        let detail = said.unwrap_or_default().replace('\n', " ");
        let violations = vec![Violation { kind: "panic", detail, at_us: 0 }];
        Outcome { violations, ..Outcome::default() }
    });
    outcome.seed = seed;
    outcome.plan = text;
    outcome
}
