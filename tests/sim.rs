//! Whole hosts from seeds, small ones: what `scripts/sim` runs by the thousand.

use corecast::sim::plan::Size;
use corecast::sim::run::run;

/// Enough seeds to draw each of the engines, transports and endings several times.
const SEEDS: u64 = 200;

#[test]
fn small_hosts_are_clean() {
    let threads = 4;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let outcomes = (1 + thread..=SEEDS).step_by(threads as usize);
                    let outcomes = outcomes.map(|seed| run(seed, Size::Small));
                    outcomes.filter(|outcome| !outcome.is_clean()).collect::<Vec<_>>()
                })
            })
            .collect();
        runs.into_iter()
            .flat_map(|run| run.join().expect("violations are reported, not thrown"))
            .map(|outcome| format!("{}\n    {:?}", outcome.plan, outcome.violations))
            .collect()
    });
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn one_seed_is_one_run() {
    for seed in [3, 11] {
        let (one, two) = (run(seed, Size::Small), run(seed, Size::Small));
        assert_eq!(one.figures(), two.figures());
        assert!(one.deliveries > 0, "a run in which nothing is delivered proves nothing");
    }
}
