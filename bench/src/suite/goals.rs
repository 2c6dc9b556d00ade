//! The goals that one host can show, against what was measured here.
//!
//! Must not know how it was measured. Invariant: missed only when the whole interval is on the wrong
//! side of the bound; met only when the median is within it and the interval is clear of what the
//! goal has to be clear of.

use super::contender::OURS;
use super::results::{Entry, Metric, Results};
use super::stats::{Estimate, ROUNDS_FOR_A_VERDICT, estimate};
use super::summary::{disturbance, ratio};

/// A bound on a ratio of two contenders in a case, or on a figure of one.
struct Goal {
    what: &'static str,
    case: &'static str,
    ours: &'static str,
    /// Empty: the figure itself is bound.
    to: &'static str,
    at_most: bool,
    bound: f64,
    /// Where the interval has to be on the bound's side for the goal to be met: at 1 for a goal that
    /// says better than a peer, which a median alone does not show.
    clear_of: Option<f64>,
}

const fn at_most(
    what: &'static str,
    case: &'static str,
    ours: &'static str,
    to: &'static str,
    bound: f64,
) -> Goal {
    Goal { what, case, ours, to, at_most: true, bound, clear_of: None }
}

/// At least so many times what a peer does.
const fn at_least(
    what: &'static str,
    case: &'static str,
    ours: &'static str,
    to: &'static str,
    bound: f64,
) -> Goal {
    Goal { what, case, ours, to, at_most: false, bound, clear_of: None }
}

impl Goal {
    /// The same, for a goal that claims to be better than a peer.
    const fn beats(self) -> Goal {
        Goal { clear_of: Some(1.0), ..self }
    }

    fn verdict(&self, it: &Estimate) -> String {
        if it.pairs < ROUNDS_FOR_A_VERDICT {
            return format!("no verdict: {} rounds", it.pairs);
        }
        // Turned over, at least is at most.
        let turned = |value: f64| if self.at_most { value } else { -value };
        let bound = turned(self.bound);
        let (best, worst) = if self.at_most { (it.low, it.high) } else { (-it.high, -it.low) };
        let clear = self.clear_of.is_none_or(|edge| worst < turned(edge));
        if best > bound {
            "missed".into()
        } else if turned(it.median) <= bound && clear {
            "met".into()
        } else {
            "no verdict".into()
        }
    }
}

const EPOLL: &str = "corecast-epoll";
const CENTRIFUGE: &str = "centrifuge";
const GOALS: [Goal; 14] = [
    at_most("CPU per delivery, to uWebSockets", "fanout", OURS, "uwebsockets", 0.95).beats(),
    at_most("CPU per delivery, to the floor", "fanout", OURS, "floor-ring", 1.05),
    at_most("CPU per delivery, to Centrifugo's library", "fanout", OURS, CENTRIFUGE, 0.48).beats(),
    at_most("CPU per delivery on epoll, to uWebSockets", "fanout", EPOLL, "uwebsockets", 1.05),
    at_most("CPU per command, to uWebSockets' raw echo", "echo", OURS, "uwebsockets", 1.10),
    at_most("CPU per raw echo", "echo", "corecast-io_uring-raw", "uwebsockets", 1.0).beats(),
    at_least("highest rate at p99 <= 5 ms, to uWebSockets", "saturate", OURS, "uwebsockets", 1.0)
        .beats(),
    at_least(
        "highest rate at p99 <= 5 ms, to Centrifugo's library",
        "saturate",
        OURS,
        CENTRIFUGE,
        2.5,
    )
    .beats(),
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
    pub verdict: String,
}

/// The goals whose cases were run with both sides.
#[must_use]
pub fn outcomes(results: &Results) -> Vec<Outcome> {
    GOALS.iter().filter_map(|goal| outcome(results, goal)).collect()
}

fn outcome(results: &Results, goal: &Goal) -> Option<Outcome> {
    let case = results.cases.iter().find(|case| case.id == goal.case)?;
    let entry = |name: &str| case.entries.iter().find(|entry| entry.name == name);
    let ours = entry(goal.ours)?;
    let to = if goal.to.is_empty() { ours } else { entry(goal.to)? };
    let estimate =
        if goal.to.is_empty() { of_figures(ours, case.metric)? } else { ratio(case, ours, to)? };
    let verdict = goal.verdict(&estimate) + &disturbance(ours, to);
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
        outcomes[0].verdict.clone()
    };
    assert_eq!(judged(&[0.90; 7]), "met");
    assert_eq!(judged(&[0.99; 7]), "missed");
    // The median is within the bound, and the interval has the bound in it but not 1.
    assert_eq!(judged(&[0.90, 0.99, 0.91, 0.98, 0.92, 0.97, 0.93]), "met");
    assert_eq!(judged(&[0.90, 1.20, 0.91, 1.10, 0.92, 1.05, 0.93]), "no verdict", "1 is inside");
    assert_eq!(judged(&[0.90, 0.99, 0.91, 0.98, 0.96, 0.97, 0.93]), "no verdict", "beyond 0.95");
    assert_eq!(judged(&[0.50; 3]), "no verdict: 3 rounds");
}

#[test]
fn at_least_is_at_most_the_other_way_round() {
    let goal = at_least("rate", "saturate", OURS, "uwebsockets", 2.5).beats();
    let judged = |ratios: &[f64]| goal.verdict(&estimate(ratios).expect("numbers"));
    assert_eq!(judged(&[2.6; 7]), "met");
    assert_eq!(judged(&[2.4, 2.6, 2.7, 2.5, 2.6, 2.7, 2.4]), "met", "clear of 1");
    assert_eq!(judged(&[2.4; 7]), "missed");
    assert_eq!(judged(&[0.9, 2.6, 0.8, 2.6, 0.7, 2.6, 2.6]), "no verdict", "1 is inside");
}
