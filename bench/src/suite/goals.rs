//! The goals that one host can show, against what was measured here.
//!
//! Must not know how it was measured. Invariant: met or missed only when the interval is clear of
//! the bound.

use super::contender::OURS;
use super::results::{Entry, Metric, Results};
use super::stats::{Estimate, Verdict, estimate};
use super::summary::ratio;

/// A bound on a ratio of two contenders in a case, or on a figure of one.
struct Goal {
    what: &'static str,
    case: &'static str,
    ours: &'static str,
    /// Empty: the figure itself is bound.
    to: &'static str,
    at_most: bool,
    bound: f64,
}

const fn at_most(
    what: &'static str,
    case: &'static str,
    ours: &'static str,
    to: &'static str,
    bound: f64,
) -> Goal {
    Goal { what, case, ours, to, at_most: true, bound }
}

const EPOLL: &str = "corecast-epoll";
const GOALS: [Goal; 14] = [
    at_most("CPU per delivery, to uWebSockets", "fanout", OURS, "uwebsockets", 0.95),
    at_most("CPU per delivery, to the floor", "fanout", OURS, "floor-ring", 1.05),
    at_most("CPU per delivery, to Centrifugo's library", "fanout", OURS, "centrifuge", 0.48),
    at_most("CPU per delivery on epoll, to uWebSockets", "fanout", EPOLL, "uwebsockets", 1.05),
    at_most("CPU per command, to uWebSockets' raw echo", "echo", OURS, "uwebsockets", 1.10),
    at_most("CPU per raw echo", "echo", "corecast-io_uring-raw", "uwebsockets", 1.0),
    Goal {
        what: "highest rate at p99 <= 5 ms, to uWebSockets",
        case: "saturate",
        ours: OURS,
        to: "uwebsockets",
        at_most: false,
        bound: 1.0,
    },
    Goal {
        what: "highest rate at p99 <= 5 ms, to Centrifugo's library",
        case: "saturate",
        ours: OURS,
        to: "centrifuge",
        at_most: false,
        bound: 2.5,
    },
    at_most("one channel over 2 workers, to 1", "workers", "corecast-io_uring-2", OURS, 1.1),
    at_most("bytes per idle connection, io_uring", "idle", OURS, "", 512.0),
    at_most("bytes per idle connection, epoll", "idle", EPOLL, "", 512.0),
    at_most("CPU us per connect, io_uring", "connect", OURS, "", 30.0),
    at_most("CPU us per connect, epoll", "connect", EPOLL, "", 30.0),
    at_most("CPU us per HTTP publish, half of Centrifugo's 16", "http", OURS, "", 8.0),
];

/// A goal's line in the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub what: &'static str,
    pub bound: String,
    pub estimate: Estimate,
    pub verdict: &'static str,
}

/// The goals whose cases were run with both sides.
#[must_use]
pub fn outcomes(results: &Results) -> Vec<Outcome> {
    GOALS.iter().filter_map(|goal| outcome(results, goal)).collect()
}

fn outcome(results: &Results, goal: &Goal) -> Option<Outcome> {
    let case = results.cases.iter().find(|case| case.id == goal.case)?;
    let entry = |name: &str| case.entries.iter().find(|entry| entry.name == name);
    let estimate = if goal.to.is_empty() {
        of_figures(entry(goal.ours)?, case.metric)?
    } else {
        ratio(case, entry(goal.ours)?, entry(goal.to)?)?
    };
    let verdict = match (estimate.verdict_at(goal.bound), goal.at_most) {
        (Verdict::None, _) => "no verdict",
        (Verdict::Below, true) | (Verdict::Above, false) => "met",
        _ => "missed",
    };
    let sign = if goal.at_most { "<=" } else { ">=" };
    Some(Outcome { what: goal.what, bound: format!("{sign} {}", goal.bound), estimate, verdict })
}

fn of_figures(entry: &Entry, metric: Metric) -> Option<Estimate> {
    let figures = entry.runs.iter().filter_map(|run| run.report.figure(metric));
    estimate(&figures.collect::<Vec<f64>>())
}

#[test]
fn a_goal_is_met_missed_or_open() {
    use super::summary::tests::{case, entry};
    let judged = |ours: &[f64]| {
        let others = vec![entry(OURS, ours), entry("uwebsockets", &[1.0; 7])];
        let results = Results { cases: vec![case(others)], ..Results::default() };
        let outcomes = outcomes(&results);
        assert_eq!(outcomes.len(), 1, "one has both sides: {outcomes:?}");
        outcomes[0].verdict
    };
    assert_eq!(judged(&[0.90; 7]), "met");
    assert_eq!(judged(&[0.99; 7]), "missed");
    assert_eq!(judged(&[0.90, 0.99, 0.91, 0.98, 0.92, 0.97, 0.93]), "no verdict");
    assert_eq!(judged(&[0.50; 3]), "no verdict", "three rounds are too few");
}
