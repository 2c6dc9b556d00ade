//! The pictures: bars of ratios with their intervals, curves of latency, lines over an axis.
//!
//! Must not know how it was measured. Invariant: a contender has one colour in all pictures.

use super::contender::OURS;
use super::results::{Case, Entry, Results};
use super::stats::median;
use super::summary::{Row, base, rows, verdict};
use super::svg::{Anchor, Scale, Svg};
use super::terminal::{interval, maybe, number, tick};

const WIDTH: f64 = 760.0;
const LABELS: f64 = 210.0;
const ROW: f64 = 26.0;
const AXIS: f64 = 34.0;
const PLOT_HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;

/// The class that gives a contender its colour.
#[must_use]
pub fn colour(name: &str) -> &'static str {
    match name {
        "floor-ring" | "floor-epoll" => "floor",
        "uwebsockets" => "c3",
        "ws" => "c4",
        "centrifuge" | "centrifugo" => "c5",
        "socketio" | "socketio-redis" => "c6",
        name if name.starts_with("centrif") => "c5",
        name if name.starts_with("corecast-epoll") => "c2",
        _ => "c1",
    }
}

/// Those that share a colour are told apart by a broken line.
fn dash(name: &str) -> &'static str {
    let second = ["floor-epoll", "-raw", "-protobuf", "-msgpack", "-redis"];
    if second.iter().any(|end| name.ends_with(end)) { " dash" } else { "" }
}

/// Ratios to ours, a bar each, the interval on it.
#[must_use]
pub fn ratio_bars(case: &Case) -> Option<String> {
    let base = base(case)?.name.clone();
    let one = |row: &Row| if row.name == base { Some(1.0) } else { Some(row.ratio?.median) };
    let rows: Vec<Row> = rows(case).into_iter().filter(|row| one(row).is_some()).collect();
    if rows.len() < 2 {
        return None;
    }
    let high = rows.iter().map(|row| row.ratio.map_or(1.0, |ratio| ratio.high)).fold(1.0, f64::max);
    let height = ROW * rows.len() as f64 + AXIS;
    let x = Scale::linear(high, LABELS, WIDTH - 190.0);
    let title = format!("{}: {}, ratio to {base}", case.title, case.metric.title());
    let mut svg = Svg::new(WIDTH, height, &title);
    let foot = height - AXIS + 4.0;
    for at in x.ticks() {
        svg.line("grid", (x.place(at), 0.0), (x.place(at), foot));
        svg.text("tick", (x.place(at), foot + 14.0), Anchor::Middle, &tick(at));
    }
    svg.line("one", (x.place(1.0), 0.0), (x.place(1.0), foot));
    for (index, row) in rows.iter().enumerate() {
        let top = ROW * index as f64;
        let middle = top + ROW / 2.0;
        let value = one(row).unwrap_or(1.0);
        let said = verdict(case.metric, row.ratio);
        let told = format!(
            "{}: {} {}, {} {said}",
            row.label,
            maybe(row.figure),
            case.metric.title(),
            interval(row.ratio)
        );
        svg.text("label", (LABELS - 8.0, middle + 4.0), Anchor::End, &row.label);
        let end = x.place(value);
        svg.bar(
            &format!("fill {}", colour(&row.name)),
            (LABELS, top + 5.0),
            (end - LABELS, ROW - 10.0),
            &told,
        );
        let mut right = end;
        if let Some(ratio) = row.ratio {
            let (low, high) = (x.place(ratio.low), x.place(ratio.high));
            right = right.max(high);
            svg.line("whisker", (low, middle), (high, middle));
            for edge in [low, high] {
                svg.line("whisker", (edge, middle - 4.0), (edge, middle + 4.0));
            }
        }
        let value = if row.name == base { "1".into() } else { format!("{value:.2}") };
        let text = [value.as_str(), said].join("  ");
        svg.text("value", (right + 8.0, middle + 4.0), Anchor::Start, text.trim_end());
    }
    Some(svg.finish())
}

/// One named line of a picture.
struct Line {
    name: String,
    label: String,
    points: Vec<(f64, f64)>,
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
    line_plot(&title, "percentile of deliveries", "ms", &lines, &percent, true)
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
    line_plot(title, axis, unit, &lines, &tick, false)
}

/// Lines over a logarithmic axis, with their names at the end.
fn line_plot(
    title: &str,
    axis: &str,
    unit: &str,
    lines: &[Line],
    tick_text: &dyn Fn(f64) -> String,
    logarithmic: bool,
) -> Option<String> {
    let all: Vec<(f64, f64)> = lines.iter().flat_map(|line| line.points.clone()).collect();
    let least = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).fold(0.0, f64::max);
    if all.len() < 2 || least(|point| point.0) >= most(|point| point.0) {
        return None;
    }
    let right = WIDTH - 200.0;
    let foot = PLOT_HEIGHT - AXIS - 8.0;
    let x = Scale::logarithmic(least(|point| point.0), most(|point| point.0), LEFT, right);
    let highest = most(|point| point.1);
    let y = if logarithmic {
        Scale::logarithmic(least(|point| point.1), highest, foot, 18.0)
    } else {
        Scale::linear(highest, foot, 18.0)
    };
    let mut svg = Svg::new(WIDTH, PLOT_HEIGHT, title);
    for at in y.ticks() {
        svg.line("grid", (LEFT, y.place(at)), (right, y.place(at)));
        svg.text("tick", (LEFT - 6.0, y.place(at) + 4.0), Anchor::End, &tick(at));
    }
    for at in x.ticks() {
        svg.line("grid", (x.place(at), 18.0), (x.place(at), foot));
        svg.text("tick", (x.place(at), foot + 15.0), Anchor::Middle, &tick_text(at));
    }
    svg.text("axis", (f64::midpoint(LEFT, right), foot + 32.0), Anchor::Middle, axis);
    svg.text("axis", (4.0, 10.0), Anchor::Start, unit);
    let mut ends: Vec<(f64, &Line)> = Vec::new();
    for line in lines {
        let class = format!("{}{}", colour(&line.name), dash(&line.name));
        let places: Vec<(f64, f64)> =
            line.points.iter().map(|(at, value)| (x.place(*at), y.place(*value))).collect();
        svg.path(&format!("curve {class}"), &places);
        let few = line.points.len() <= 6;
        for (place, (at, value)) in places.iter().zip(&line.points).filter(|_| few) {
            let told = format!("{}, {}: {} {unit}", line.label, tick_text(*at), number(*value));
            svg.dot(&format!("fill {class}"), *place, &told);
        }
        ends.extend(places.last().map(|place| (place.1, line)));
    }
    name_ends(&mut svg, ends, right);
    Some(svg.finish())
}

/// Writes the names at the lines' ends, none over another.
fn name_ends(svg: &mut Svg, mut ends: Vec<(f64, &Line)>, right: f64) {
    const APART: f64 = 15.0;
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let floor = PLOT_HEIGHT - AXIS - 4.0;
    let mut lowest = f64::NEG_INFINITY;
    for (place, _) in &mut ends {
        *place = place.max(lowest + APART);
        lowest = *place;
    }
    let mut ceiling = floor + APART;
    for (place, _) in ends.iter_mut().rev() {
        *place = place.min(ceiling - APART);
        ceiling = *place;
    }
    for (place, line) in ends {
        let key = right + 10.0;
        let class = format!("curve {}{}", colour(&line.name), dash(&line.name));
        svg.line(&class, (key, place), (key + 16.0, place));
        let weight = if line.name == OURS { "label ours" } else { "label" };
        svg.text(weight, (key + 22.0, place + 4.0), Anchor::Start, &line.label);
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::Point;
    use super::super::summary::tests::{case, entry};
    use super::*;

    #[test]
    fn bars_stand_for_everybody_with_a_figure() {
        let mut failed = entry("centrifuge", &[]);
        failed.failure = Some("round 1: it died".into());
        let two = case(vec![entry(OURS, &[2.0; 7]), entry("ws", &[3.0; 7]), failed]);
        let svg = ratio_bars(&two).expect("two bars");
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.contains(">1.50  costs more<") && !svg.contains("centrifuge"), "{svg}");
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
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (2, 4));
        assert!(over_axis(&results, "rate", "Rate", "rate").is_none(), "one place is no line");
    }
}
