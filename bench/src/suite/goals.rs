//! The goals of the design compared with the measurements.
//!
//! Must not know how it was measured. Invariant: missed only if the whole interval is on the wrong
//! side of the bound; met only if all of it is on the right side, or, for a goal to be better than
//! a peer, if the median is within the bound and the interval clear of 1; unmeasured goals have a
//! row too.

use super::goal_rows::{Bound, GOALS, Goal, Judge};
use super::numbers::{interval, number};
use super::results::{Case, Entry, Metric, Results};
use super::stats::{Estimate, ROUNDS_FOR_A_VERDICT, estimate};
use super::summary::{disturbance, ratio};
use serde::Deserialize;

/// What scripts/instructions counted of the tree that this program is built from.
const INSTRUCTIONS: &str = include_str!("../../instructions.json");
/// Receivers of the publication that its deliveries are counted from.
const RECEIVERS: f64 = 1_000.0;

/// A goal's line in the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub what: &'static str,
    /// `<= 0.95, clear of 1`.
    pub bound: String,
    /// Median and interval, or what there is of a figure.
    pub measured: String,
    pub rounds: usize,
    pub verdict: String,
    /// Id of the case, where one judges it.
    pub case: &'static str,
    /// What was measured, as the results file says.
    pub commit: String,
}

/// Every goal, against these results: of a case the newest that has both sides of the goal counts.
#[must_use]
pub fn outcomes(sources: &[Results]) -> Vec<Outcome> {
    GOALS.iter().map(|goal| outcome(sources, goal)).collect()
}

fn outcome(sources: &[Results], goal: &Goal) -> Outcome {
    let what = goal.what;
    match goal.judge {
        Judge::Case(bound) => {
            let nothing = || Outcome { verdict: bound.unmeasured(sources), ..Outcome::default() };
            let found = bound.newest(sources);
            let judged = found.and_then(|(results, case)| bound.outcome(results, case));
            let judged = judged.unwrap_or_else(nothing);
            Outcome { what, bound: bound.text(), case: bound.case, ..judged }
        }
        Judge::Instructions(most) => {
            let bound = format!("<= {most}");
            Outcome { what, bound, ..instructions(most) }
        }
        Judge::Not(why) => Outcome { what, verdict: why.into(), ..Outcome::default() },
    }
}

fn entry<'a>(case: &'a Case, name: &str) -> Option<&'a Entry> {
    case.entries.iter().find(|entry| entry.name == name)
}

impl Bound {
    fn text(&self) -> String {
        let sign = if self.at_most { "<=" } else { ">=" };
        let times = if self.to.is_empty() { "" } else { " x" };
        let clear = self.clear_of.map_or_else(String::new, |edge| format!(", clear of {edge}"));
        format!("{sign} {}{times}{clear}", self.bound)
    }

    /// The newest results that have the case with both sides.
    fn newest<'a>(&self, sources: &'a [Results]) -> Option<(&'a Results, &'a Case)> {
        let cases = |results: &'a Results| results.cases.iter().map(move |case| (results, case));
        let has = |name: &str, case: &Case| name.is_empty() || entry(case, name).is_some();
        sources
            .iter()
            .flat_map(cases)
            .filter(|(_, case)| case.id == self.case && has(self.ours, case) && has(self.to, case))
            .max_by_key(|(results, _)| results.started.clone())
    }

    /// Why there is no figure.
    fn unmeasured(&self, sources: &[Results]) -> String {
        let mut all = sources.iter().rev().flat_map(|results| &results.missing);
        let named = [self.case, self.ours, self.to];
        let why = all.find(|missing| named.contains(&missing.name.as_str()));
        why.map_or_else(
            || "not measured".into(),
            |missing| format!("not measured: {} {}", missing.name, missing.why),
        )
    }

    fn outcome(&self, results: &Results, case: &Case) -> Option<Outcome> {
        let ours = entry(case, self.ours)?;
        let to = if self.to.is_empty() { ours } else { entry(case, self.to)? };
        let metric = self.metric.unwrap_or(case.metric);
        let commit = results.commit.clone();
        let estimate =
            if self.to.is_empty() { of_figures(ours, metric) } else { ratio(metric, ours, to) };
        let failed = [ours, to].into_iter().find(|entry| entry.failure.is_some());
        let failed = failed.map(|entry| {
            let said = entry.outcome.as_deref().unwrap_or("failed");
            format!("no verdict: {} {said}", entry.label)
        });
        let Some(it) = estimate else {
            let verdict = failed.unwrap_or_else(|| "no verdict: no figure".into());
            return Some(Outcome { verdict, commit, ..Outcome::default() });
        };
        Some(Outcome {
            measured: interval(Some(it)),
            rounds: it.pairs,
            verdict: failed.unwrap_or_else(|| self.verdict(&it)) + &disturbance(ours, to),
            commit,
            ..Outcome::default()
        })
    }

    fn verdict(&self, it: &Estimate) -> String {
        if it.pairs < ROUNDS_FOR_A_VERDICT {
            return format!("no verdict: {} rounds", it.pairs);
        }
        // Turned over, at least is at most.
        let turned = |value: f64| if self.at_most { value } else { -value };
        let (bound, median) = (turned(self.bound), turned(it.median));
        let (best, worst) = if self.at_most { (it.low, it.high) } else { (-it.high, -it.low) };
        let within = match self.clear_of {
            Some(edge) => median <= bound && worst < turned(edge),
            None => worst <= bound,
        };
        if best > bound {
            "missed".into()
        } else if within {
            "met".into()
        } else {
            "no verdict".into()
        }
    }
}

fn of_figures(entry: &Entry, metric: Metric) -> Option<Estimate> {
    let figures = entry.runs.iter().filter_map(|run| run.report.figure(metric));
    estimate(&figures.collect::<Vec<f64>>())
}

/// A delivery with its share of the publication taken off: that is paid once for all receivers.
fn instructions(most: f64) -> Outcome {
    #[derive(Deserialize)]
    struct Counted {
        delivery: f64,
        publish: f64,
    }
    let Ok(counted) = serde_json::from_str::<Counted>(INSTRUCTIONS) else {
        let verdict = "bench/instructions.json has no such figure".into();
        return Outcome { verdict, ..Outcome::default() };
    };
    let each = counted.delivery - counted.publish / RECEIVERS;
    // Counting is exact: there is no interval to be clear of anything.
    let verdict = if each <= most { "met" } else { "missed" };
    Outcome {
        measured: number(each),
        rounds: 1,
        verdict: format!("{verdict}, counted"),
        commit: "bench/instructions.json".into(),
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contender::OURS;
    use super::super::results::Missing;
    use super::super::summary::tests::{case, entry};
    use super::*;

    fn of<'a>(outcomes: &'a [Outcome], what: &str) -> &'a Outcome {
        outcomes.iter().find(|outcome| outcome.what.starts_with(what)).expect("the row")
    }

    #[test]
    fn a_goal_is_met_missed_or_open() {
        let judged = |ours: &[f64]| {
            let others = vec![entry(OURS, ours), entry("uwebsockets", &[1.0; 7])];
            let results = Results { cases: vec![case(others)], ..Results::default() };
            let outcomes = outcomes(&[results]);
            let figures = outcomes.iter().filter(|outcome| outcome.rounds > 1).count();
            assert_eq!(figures, 1, "one has both sides: {outcomes:?}");
            of(&outcomes, "CPU per delivery, 1 to 1,000").verdict.clone()
        };
        assert_eq!(judged(&[0.90; 7]), "met");
        assert_eq!(judged(&[0.99; 7]), "missed");
        // The median is within the bound, and the interval has the bound in it but not 1.
        assert_eq!(judged(&[0.90, 0.99, 0.91, 0.98, 0.92, 0.97, 0.93]), "met");
        assert_eq!(judged(&[0.90, 1.20, 0.91, 1.10, 0.92, 1.05, 0.93]), "no verdict", "1 inside");
        assert_eq!(judged(&[0.90, 0.99, 0.91, 0.98, 0.96, 0.97, 0.93]), "no verdict", "beyond");
        assert_eq!(judged(&[0.50; 3]), "no verdict: 3 rounds");
    }

    #[test]
    fn a_bound_alone_is_kept_by_the_whole_interval() {
        let floor = GOALS.iter().find_map(|row| match row.judge {
            Judge::Case(bound) if bound.to == "floor-ring" => Some(bound),
            _ => None,
        });
        let floor = floor.expect("a goal to the floor");
        assert_eq!(floor.text(), "<= 1.05 x");
        let judged = |ratios: &[f64]| floor.verdict(&estimate(ratios).expect("numbers"));
        assert_eq!(judged(&[1.04; 7]), "met");
        assert_eq!(judged(&[0.94, 0.95, 0.90, 1.13, 0.92, 0.93, 1.00]), "no verdict");
        assert_eq!(judged(&[1.06; 7]), "missed");
    }

    #[test]
    fn at_least_is_at_most_the_other_way_round() {
        let bounds = GOALS.iter().filter_map(|row| match row.judge {
            Judge::Case(bound) => Some(bound),
            _ => None,
        });
        let mut at_least = bounds.filter(|bound| !bound.at_most);
        let goal =
            at_least.find(|bound| bound.to == "centrifuge").expect("a goal that is at least");
        assert_eq!(goal.text(), ">= 2.5 x, clear of 1");
        let judged = |ratios: &[f64]| goal.verdict(&estimate(ratios).expect("numbers"));
        assert_eq!(judged(&[2.6; 7]), "met");
        assert_eq!(judged(&[2.4, 2.6, 2.7, 2.5, 2.6, 2.7, 2.4]), "met", "clear of 1");
        assert_eq!(judged(&[2.4; 7]), "missed");
        assert_eq!(judged(&[0.9, 2.6, 0.8, 2.6, 0.7, 2.6, 2.6]), "no verdict", "1 is inside");
    }

    #[test]
    fn every_case_of_a_goal_is_planned_with_both_sides() {
        let cases = super::super::plan::Set::Full.cases();
        for goal in GOALS {
            let Judge::Case(bound) = goal.judge else { continue };
            let case = cases.iter().find(|case| case.id == bound.case).expect(bound.case);
            for name in [bound.ours, bound.to].into_iter().filter(|name| !name.is_empty()) {
                assert!(case.seats.iter().any(|seat| seat.name == name), "{name}: {}", case.id);
            }
        }
    }

    #[test]
    fn the_newest_file_counts_and_what_is_not_measured_says_why() {
        let file = |started: &str, ours: f64| Results {
            started: started.into(),
            commit: started.into(),
            cases: vec![case(vec![entry(OURS, &[ours; 7]), entry("uwebsockets", &[1.0; 7])])],
            ..Results::default()
        };
        let missing = Missing { name: "hop-spin".into(), why: "needs 3 cores".into() };
        let mut last = file("2026-11-25", 0.9);
        last.missing.push(missing);
        let outcomes = outcomes(&[file("2026-11-24", 0.99), last, file("2026-11-23", 0.99)]);
        assert_eq!(outcomes.len(), GOALS.len());
        let fanout = of(&outcomes, "CPU per delivery, 1 to 1,000");
        assert_eq!((fanout.verdict.as_str(), fanout.commit.as_str()), ("met", "2026-11-25"));
        let spinning = of(&outcomes, "hop between cores, spinning");
        assert_eq!(spinning.verdict, "not measured: hop-spin needs 3 cores");
        assert_eq!(of(&outcomes, "CPU us per connect").verdict, "not measured");
        assert_eq!(of(&outcomes, "publishes with history").verdict, "not measured");
        assert!(of(&outcomes, "instructions").verdict.ends_with("counted"));
    }
}
