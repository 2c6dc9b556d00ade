//! The summary of a case: medians, ratios to Corecast in the same round, and the conclusion.
//!
//! Must not know where it is shown. Invariant: nothing is concluded from inside an interval.

use super::contender::OURS;
use super::results::{Case, Entry, Metric, Report, Run};
use super::stats::{Estimate, ROUNDS_FOR_A_VERDICT, Verdict, estimate, median};

/// A generator as busy as this may have been what was measured.
const GENERATOR_BUSY: f64 = 0.95;
/// A load that was offered but not carried.
const KEPT_UP: f64 = 0.98;

/// One contender of a case.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub label: String,
    /// The median of the compared figure.
    pub figure: Option<f64>,
    /// To ours, paired by round.
    pub ratio: Option<Estimate>,
    /// What the ratio lets one say, and how many of its rounds were disturbed.
    pub verdict: String,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub generator_us: Option<f64>,
    pub per_s: Option<f64>,
    pub slope: Option<f64>,
    pub runs: usize,
    /// What has to be said beside the figures.
    pub notes: Vec<String>,
    /// That it failed, or could not carry the load, and why.
    pub failure: Option<String>,
    /// It is another project's server, and the load was too much for it.
    pub could_not: bool,
}

/// The server that ratios refer to: Corecast, or the first that has a figure.
#[must_use]
pub fn base(case: &Case) -> Option<&Entry> {
    let has_figure =
        |entry: &&Entry| entry.runs.iter().any(|run| run.report.figure(case.metric).is_some());
    let ours = case.entries.iter().find(|entry| entry.name == OURS);
    ours.filter(has_figure).or_else(|| case.entries.iter().find(has_figure))
}

/// The ratio of two contenders, paired by round.
#[must_use]
pub fn ratio(metric: Metric, above: &Entry, below: &Entry) -> Option<Estimate> {
    let figure = |run: &Run| run.report.figure(metric);
    let pairs = above.runs.iter().filter_map(|run| {
        let other = below.runs.iter().find(|other| other.round == run.round)?;
        Some(figure(run)? / figure(other)?)
    });
    estimate(&pairs.collect::<Vec<f64>>())
}

/// Every contender of a case, in its order.
#[must_use]
pub fn rows(case: &Case) -> Vec<Row> {
    let base = base(case);
    case.entries.iter().map(|entry| row(case, entry, base)).collect()
}

/// The same, the best ratio first; those without one last, in their order.
#[must_use]
pub fn ranked(case: &Case) -> Vec<Row> {
    let base = base(case).map(|base| base.name.clone());
    let better = if case.metric.less_is_better() { 1.0 } else { -1.0 };
    let place = |row: &Row| match row.ratio {
        _ if base.as_ref() == Some(&row.name) => better,
        Some(ratio) => better * ratio.median,
        None => f64::INFINITY,
    };
    let mut rows = rows(case);
    rows.sort_by(|one, other| place(one).total_cmp(&place(other)));
    rows
}

fn row(case: &Case, entry: &Entry, base: Option<&Entry>) -> Row {
    let over = |of: &dyn Fn(&Run) -> Option<f64>| {
        median(&entry.runs.iter().filter_map(of).collect::<Vec<f64>>())
    };
    let latency = |run: &Run| run.report.latency_us.clone();
    let base = base.filter(|base| base.name != entry.name);
    let ratio = base.and_then(|base| ratio(case.metric, entry, base));
    let said = verdict(case.metric, ratio);
    Row {
        name: entry.name.clone(),
        label: entry.label.clone(),
        figure: over(&|run| run.report.figure(case.metric)),
        ratio,
        verdict: base.map_or(said.clone(), |base| said + &disturbance(entry, base)),
        p50_us: over(&|run| Some(latency(run)?.p50)),
        p99_us: over(&|run| Some(latency(run)?.p99)),
        generator_us: over(&|run| run.report.generator_cpu_us_per_delivery),
        per_s: over(&|run| Some(run.report.deliveries as f64 / run.report.window_s)),
        slope: over(&|run| run.report.figure(Metric::BytesPerConnection)),
        runs: entry.runs.len(),
        notes: notes(entry),
        failure: entry.failure.as_ref().map(|why| match &entry.outcome {
            Some(outcome) => format!("{outcome}: {why}"),
            None => format!("FAILED: {why}"),
        }),
        could_not: entry.outcome.is_some(),
    }
}

fn notes(entry: &Entry) -> Vec<String> {
    let mut notes: Vec<String> = entry.note.iter().cloned().collect();
    let runs = &entry.runs;
    let count = |is: &dyn Fn(&Run) -> bool| runs.iter().filter(|run| is(run)).count();
    let behind = count(&|run| {
        let Report { messages, deliveries, deliveries_due, window_s, .. } = &run.report;
        run.report.offered_per_s.is_some_and(|offered| {
            let sent = *messages as f64 / window_s;
            let due = deliveries_due.map_or(0.0, |due| due as f64);
            sent < offered * KEPT_UP || (*deliveries as f64) < due * KEPT_UP
        })
    });
    if behind > 0 {
        notes.push(format!("did not keep up in {behind} of {} runs", runs.len()));
    }
    let busy = count(&|run| {
        let each = run.report.generator_cpu_us_per_delivery.unwrap_or(0.0);
        each * run.report.deliveries as f64 / run.report.window_s / 1e6 > GENERATOR_BUSY
    });
    if busy > 0 {
        notes.push(format!("generator at its limit in {busy} of {} runs", runs.len()));
    }
    let disturbed = count(&|run| run.disturbed());
    if disturbed > 0 {
        notes.push(format!(
            "disturbed in {disturbed} of {} runs: over 2 % of the time stolen, or taken by other \
             programs",
            runs.len()
        ));
    }
    if runs.iter().any(|run| run.others.is_none()) {
        notes.push("what other programs took was not recorded".into());
    }
    notes.extend(pools(runs));
    notes
}

/// What a verdict from two servers' rounds has to add: nothing, if none was disturbed.
#[must_use]
pub fn disturbance(above: &Entry, below: &Entry) -> String {
    let pairs = above.runs.iter().filter_map(|run| {
        let other = below.runs.iter().find(|other| other.round == run.round)?;
        Some(run.disturbed() || other.disturbed())
    });
    let pairs: Vec<bool> = pairs.collect();
    match pairs.iter().filter(|disturbed| **disturbed).count() {
        0 => String::new(),
        count => format!(", {count} of {} rounds disturbed", pairs.len()),
    }
}

/// Memory between no connections and all: more than the slope if pools are touched on the way.
fn pools(runs: &[Run]) -> Option<String> {
    let each = |run: &Run| {
        let states = &run.report.rss_bytes.as_ref()?.states;
        let ((_, before), (connections, after)) = (states.first()?, states.last()?);
        (states[0].0 == 0.0).then(|| (after - before) / connections)
    };
    let each = median(&runs.iter().filter_map(each).collect::<Vec<f64>>())?;
    Some(format!("{each:.0} bytes each from none to all, pools that are touched once included"))
}

impl Metric {
    /// What the compared figure is called, with its unit.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Metric::CpuPerDelivery => "server CPU us per delivery",
            Metric::DeliveriesPerSecond => "deliveries/s",
            Metric::BytesPerConnection => "bytes per connection",
            Metric::Latency => "latency p50 us",
            Metric::IdleCpu => "server CPU us a second per connection",
            Metric::MachineBytes => "bytes of the machine per connection",
            Metric::Hop => "us from core to core",
        }
    }

    #[must_use]
    pub fn less_is_better(self) -> bool {
        self != Metric::DeliveriesPerSecond
    }
}

/// What the ratio to ours lets one say, in words.
fn verdict(metric: Metric, ratio: Option<Estimate>) -> String {
    let Some(ratio) = ratio else { return String::new() };
    if ratio.pairs < ROUNDS_FOR_A_VERDICT {
        return format!("no verdict: {} rounds", ratio.pairs);
    }
    let (above, below) = match metric {
        Metric::DeliveriesPerSecond => ("carries more", "carries less"),
        Metric::Latency | Metric::Hop => ("is slower", "is faster"),
        _ => ("costs more", "costs less"),
    };
    let said = match ratio.verdict() {
        Verdict::None => "no verdict",
        Verdict::Above => above,
        Verdict::Below => below,
    };
    said.into()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::suite::results::{Latency, Rss};

    /// An entry whose rounds cost so much.
    #[must_use]
    pub fn entry(name: &str, costs: &[f64]) -> Entry {
        let run = |(index, cost): (usize, &f64)| Run {
            round: index as u32 + 1,
            report: Report {
                verified: true,
                offered_per_s: Some(100.0),
                messages: 400,
                deliveries: 400_000,
                deliveries_due: Some(400_000),
                window_s: 4.0,
                server_cpu_us_per_delivery: Some(*cost),
                generator_cpu_us_per_delivery: Some(1.0),
                latency_us: Some(Latency {
                    p50: cost * 100.0,
                    p90: cost * 200.0,
                    p99: cost * 300.0,
                    p999: cost * 400.0,
                    max: cost * 500.0,
                    curve: vec![(0.0, cost * 50.0), (50.0, cost * 100.0), (99.0, cost * 300.0)],
                }),
                ..Report::default()
            },
            steal: 0.0,
            others: Some(0.0),
        };
        Entry {
            name: name.into(),
            label: name.into(),
            dialect: "raw".into(),
            note: None,
            runs: costs.iter().enumerate().map(run).collect(),
            failure: None,
            outcome: None,
        }
    }

    /// A case of these entries.
    #[must_use]
    pub fn case(entries: Vec<Entry>) -> Case {
        Case {
            id: "fanout".into(),
            title: "Fan-out".into(),
            scenario: "fanout".into(),
            metric: Metric::CpuPerDelivery,
            options: Vec::new(),
            point: None,
            complete: Some(true),
            entries,
        }
    }

    #[test]
    fn ratios_pair_the_rounds() {
        // A machine that slows down: each round costs more, the ratio stays.
        let slowing: Vec<f64> = (1..=7).map(f64::from).collect();
        let dearer: Vec<f64> = slowing.iter().map(|cost| cost * 1.5).collect();
        let rows = rows(&case(vec![entry("ws", &dearer), entry(OURS, &slowing)]));
        let ratio = rows[0].ratio.expect("a ratio");
        assert_eq!((ratio.median, ratio.low, ratio.high), (1.5, 1.5, 1.5));
        assert_eq!(rows[0].verdict, "costs more");
        assert_eq!((rows[1].ratio, rows[1].figure), (None, Some(4.0)));
    }

    #[test]
    fn inside_the_interval_nothing_is_said() {
        let noisy = entry("ws", &[0.8, 1.3, 0.9, 1.2, 1.0, 0.7, 1.1]);
        let rows = rows(&case(vec![entry(OURS, &[1.0; 7]), noisy]));
        assert_eq!(rows[1].verdict, "no verdict");
    }

    #[test]
    fn a_round_that_one_of_them_lacks_is_no_pair() {
        let mut failed = entry("ws", &[2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
        failed.runs.remove(2);
        failed.failure = Some("round 3: lost".into());
        let rows = rows(&case(vec![entry(OURS, &[1.0; 7]), failed]));
        let ratio = rows[1].ratio.expect("six pairs");
        assert_eq!((ratio.pairs, ratio.median), (6, 2.0));
        assert_eq!(rows[1].verdict, "no verdict: 6 rounds");
        assert_eq!(rows[1].failure.as_deref(), Some("FAILED: round 3: lost"));
    }

    #[test]
    fn what_spoils_a_figure_is_said_beside_it() {
        let mut spoiled = entry("ws", &[1.0; 7]);
        spoiled.runs[0].report.messages = 300;
        spoiled.runs[1].report.generator_cpu_us_per_delivery = Some(9.9);
        spoiled.runs[2].steal = 0.1;
        spoiled.runs[3].others = Some(0.1);
        // All was sent in time, and a tenth came late.
        spoiled.runs[4].report.deliveries = 360_000;
        let rows = rows(&case(vec![spoiled.clone()]));
        let expected = [
            "did not keep up in 2 of 7 runs",
            "generator at its limit in 1 of 7 runs",
            "disturbed in 2 of 7 runs: over 2 % of the time stolen, or taken by other programs",
        ];
        assert_eq!(rows[0].notes, expected);
        // Nothing is concluded in silence, whichever of the two was disturbed.
        let both = case(vec![entry(OURS, &[2.0; 7]), spoiled]);
        let rows = super::rows(&both);
        assert_eq!(rows[1].verdict, "costs less, 2 of 7 rounds disturbed");
        assert_eq!(rows[0].verdict, "");
    }

    #[test]
    fn memory_is_also_told_from_nobody_on() {
        let mut idle = entry("ws", &[1.0]);
        let states = vec![(0.0, 1e6), (5_000.0, 5e6), (15_000.0, 7e6)];
        let rss = Rss { slope_per_connection: Some(200.0), states, ..Rss::default() };
        idle.runs[0].report.rss_bytes = Some(rss);
        let note = "400 bytes each from none to all, pools that are touched once included";
        assert_eq!(rows(&case(vec![idle]))[0].notes, [note]);
    }
}
