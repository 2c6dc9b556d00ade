//! The pictures: bars of ratios with their intervals, curves of latency, lines over an axis.
//!
//! Must not know how it was measured. Invariant: a server has the same colour in all pictures.

use super::colours::colour;
use super::lines::{Line, LinePlot};
use super::numbers::{interval, maybe, tick};
use super::results::{Case, Entry, Results};
use super::stats::median;
use super::summary::{Row, base, ranked, rows};
use super::svg::{Scale, escape};
use std::fmt::Write;

/// Ratios to ours, a bar each, the best first, the interval on it. In HTML: names and figures stay
/// readable at any width.
#[must_use]
pub fn ratio_bars(case: &Case) -> Option<String> {
    let base = base(case)?.name.clone();
    let one = |row: &Row| if row.name == base { Some(1.0) } else { Some(row.ratio?.median) };
    let rows: Vec<Row> = ranked(case).into_iter().filter(|row| one(row).is_some()).collect();
    if rows.len() < 2 {
        return None;
    }
    let high = rows.iter().map(|row| row.ratio.map_or(1.0, |ratio| ratio.high)).fold(1.0, f64::max);
    let x = Scale::linear(high, 0.0, 100.0);
    let mut text = String::from("<div class=\"bars\">\n");
    for row in rows {
        let value = one(&row).unwrap_or(1.0);
        let told = format!(
            "{}: {} {}, {} {}",
            row.label,
            maybe(row.figure),
            case.metric.title(),
            interval(row.ratio),
            row.verdict
        );
        let own = if row.name == base { " ours" } else { "" };
        let _ = write!(
            text,
            "<div class=\"bar\" title=\"{}\"><span class=\"name{own}\">{}</span>\
             <span class=\"track\"><span class=\"fill {}\" style=\"width:{:.1}%\"></span>\
             <span class=\"one\" style=\"left:{:.1}%\"></span>",
            escape(&told),
            escape(&row.label),
            colour(&row.name),
            x.place(value),
            x.place(1.0),
        );
        if let Some(ratio) = row.ratio {
            let (low, high) = (x.place(ratio.low), x.place(ratio.high));
            let width = high - low;
            let _ = write!(
                text,
                "<span class=\"whisker\" style=\"left:{low:.1}%;width:{width:.1}%\"></span>"
            );
        }
        let value = if row.name == base { "1".into() } else { format!("{value:.2}") };
        let said = [value.as_str(), row.verdict.as_str()].join("  ");
        let _ = writeln!(
            text,
            "</span><span class=\"figure\">{}</span></div>",
            escape(said.trim_end())
        );
    }
    Some(text + "</div>\n")
}

/// Latency over percentiles: a point is the median of the rounds.
#[must_use]
pub fn latency_curves(case: &Case) -> Option<String> {
    let lines: Vec<Line> = case
        .entries
        .iter()
        .map(|entry| Line {
            name: entry.name.clone(),
            label: entry.label.clone(),
            points: curve(entry),
        })
        .filter(|line| line.points.len() > 1)
        .collect();
    let percent = |nines: f64| {
        let percentile = 100.0 - 100.0 / nines;
        if percentile <= 0.0 { "0 %".into() } else { format!("{percentile} %") }
    };
    let title = format!("{}: latency by percentile", case.title);
    LinePlot {
        title: &title,
        axis: "percentile of deliveries",
        unit: "ms",
        x_tick: &percent,
        x_linear: false,
        y_linear: false,
    }
    .draw(&lines)
}

/// Percentiles as 1 / (1 - p): equal room for each further nine.
fn curve(entry: &Entry) -> Vec<(f64, f64)> {
    let curves: Vec<&Vec<(f64, f64)>> =
        entry.runs.iter().filter_map(|run| Some(&run.report.latency_us.as_ref()?.curve)).collect();
    let Some(longest) = curves.iter().max_by_key(|curve| curve.len()) else {
        return Vec::new();
    };
    let point = |percentile: f64| {
        let at = |curve: &&Vec<(f64, f64)>| within(curve, percentile);
        let latency = median(&curves.iter().filter_map(at).collect::<Vec<f64>>())?;
        Some((1.0 / (1.0 - percentile / 100.0), latency / 1_000.0))
    };
    let percentiles = longest.iter().map(|(percentile, _)| *percentile);
    percentiles.filter(|percentile| (0.0..99.995).contains(percentile)).filter_map(point).collect()
}

/// The latency that so many stayed within, as a curve has it.
fn within(curve: &[(f64, f64)], percentile: f64) -> Option<f64> {
    let reached = curve.iter().find(|(at, _)| *at >= percentile - 1e-9);
    reached.or(curve.last()).map(|(_, latency)| *latency)
}

/// A figure's cases as lines over their axis.
#[must_use]
pub fn over_axis(results: &Results, figure: &str, title: &str, axis: &str) -> Option<String> {
    let mut lines: Vec<Line> = Vec::new();
    let mut unit = "";
    for case in &results.cases {
        let Some(point) = case.point.as_ref().filter(|point| point.figure == figure) else {
            continue;
        };
        unit = case.metric.title();
        for row in rows(case) {
            let Some(value) = row.figure else { continue };
            let known = lines.iter().position(|line| line.name == row.name);
            let index = known.unwrap_or_else(|| {
                let (name, label) = (row.name.clone(), row.label.clone());
                lines.push(Line { name, label, points: Vec::new() });
                lines.len() - 1
            });
            lines[index].points.push((point.x, value));
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    LinePlot { title, axis, unit, x_tick: &tick, x_linear: false, y_linear: true }.draw(&lines)
}

/// Resident memory over connections: the steeper, the dearer each of them.
#[must_use]
pub fn memory(case: &Case) -> Option<String> {
    let points = |entry: &Entry| {
        // The last round: each has a server of its own, and the same counts.
        let states = entry.runs.last().and_then(|run| run.report.rss_bytes.as_ref());
        let states = states.map_or(&[][..], |rss| rss.states.as_slice());
        states.iter().map(|(connections, bytes)| (*connections, bytes / 1_048_576.0)).collect()
    };
    let line = |entry: &Entry| Line {
        name: entry.name.clone(),
        label: entry.label.clone(),
        points: points(entry),
    };
    let lines: Vec<Line> = case.entries.iter().map(line).collect();
    LinePlot {
        title: &format!("{}: resident memory", case.title),
        axis: "connections",
        unit: "MiB",
        x_tick: &tick,
        x_linear: true,
        y_linear: true,
    }
    .draw(&lines)
}

#[cfg(test)]
mod tests {
    use super::super::contender::OURS;
    use super::super::results::{Point, Rss};
    use super::super::summary::tests::{case, entry};
    use super::*;

    #[test]
    fn bars_stand_for_everybody_with_a_figure() {
        let mut failed = entry("centrifuge", &[]);
        failed.failure = Some("round 1: it died".into());
        let dearer = entry("ws", &[3.0; 7]);
        let cheaper = entry("uwebsockets", &[1.0; 7]);
        let three = case(vec![dearer, entry(OURS, &[2.0; 7]), failed, cheaper]);
        let text = ratio_bars(&three).expect("three bars");
        assert!(text.contains(">1.50  costs more<") && !text.contains("centrifuge"), "{text}");
        let places = ["uwebsockets", OURS, "ws"].map(|name| text.find(&format!(">{name}</span>")));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "the best first: {text}");
        assert_eq!(text.matches("class=\"bar\"").count(), 3);
        assert!(ratio_bars(&case(vec![entry(OURS, &[2.0])])).is_none(), "one bar says nothing");
    }

    #[test]
    fn curves_are_medians_of_the_rounds() {
        let points = curve(&entry("ws", &[1.0, 9.0, 2.0]));
        let expected = [(1.0, 0.1), (2.0, 0.2), (100.0, 0.6)];
        assert_eq!(points.len(), expected.len(), "{points:?}");
        for (got, expected) in points.iter().zip(expected) {
            assert!((got.0 - expected.0).abs() < 1e-6 && (got.1 - expected.1).abs() < 1e-9);
        }
    }

    #[test]
    fn a_figure_joins_its_cases_and_leaves_the_others() {
        let at = |x: f64, figure: &str| {
            let mut at = case(vec![entry(OURS, &[x]), entry("ws", &[2.0 * x])]);
            at.point = Some(Point { figure: figure.into(), x });
            at
        };
        let cases = vec![at(10.0, "size"), at(100.0, "size"), at(50.0, "rate")];
        let results = Results { cases, ..Results::default() };
        let svg = over_axis(&results, "size", "Size", "subscribers").expect("two points");
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (4, 8));
        assert!(over_axis(&results, "rate", "Rate", "rate").is_none(), "one place is no line");
    }

    #[test]
    fn memory_is_drawn_from_its_states() {
        let mut idle = case(vec![entry(OURS, &[1.0]), entry("ws", &[1.0])]);
        assert!(memory(&idle).is_none(), "no states, no picture");
        let states = vec![(0.0, 1e6), (5_000.0, 2e6), (15_000.0, 4e6)];
        let rss = Rss { states, ..Rss::default() };
        idle.entries[0].runs[0].report.rss_bytes = Some(rss);
        let svg = memory(&idle).expect("three states");
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 6));
        assert!(svg.contains(">16,000<") && !svg.contains(">ws<"), "{svg}");
    }
}
