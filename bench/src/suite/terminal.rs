//! The report as lines of text.
//!
//! Must not know how it was measured.

use super::goals;
use super::published_table::grid;
use super::results::{Case, Metric, Results};
use super::stats::Estimate;
use super::summary::{Row, base, rows};
use std::fmt::Write;

/// A number with as many digits as say something.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let first = digits.len() % 3;
            let mut text = digits[..first].to_owned();
            for (index, digit) in digits[first..].chars().enumerate() {
                if index % 3 == 0 && !text.is_empty() {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        big if big >= 100.0 => format!("{value:.0}"),
        big if big >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The same at an axis: without zeros that say nothing.
#[must_use]
pub fn tick(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[must_use]
pub fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), number)
}

/// Microseconds as milliseconds.
#[must_use]
pub fn milliseconds(us: Option<f64>) -> String {
    us.map_or_else(|| "-".into(), |us| format!("{:.2}", us / 1_000.0))
}

#[must_use]
pub fn interval(ratio: Option<Estimate>) -> String {
    let text = |it: Estimate| format!("{:.2} ({:.2}-{:.2})", it.median, it.low, it.high);
    ratio.map_or_else(String::new, text)
}

/// The whole report.
#[must_use]
pub fn report(results: &Results) -> String {
    let mut text = String::new();
    for case in &results.cases {
        text.push_str(&table(case));
    }
    text.push_str(&published(results));
    text.push_str("\nGoals\n");
    for goal in goals::outcomes(std::slice::from_ref(results)) {
        let line =
            format!("  {:86} {:>22}  {:22} {}", goal.what, goal.bound, goal.measured, goal.verdict);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for missing in &results.missing {
        let _ = writeln!(text, "missing: {}: {}", missing.name, missing.why);
    }
    text
}

/// The published table on its side: a narrow terminal has no room for its columns.
fn published(results: &Results) -> String {
    let Some(grid) = grid(results) else { return String::new() };
    let Some((head, rows)) = grid.split_first() else { return String::new() };
    let mut text = String::from("\nThe published table, measured here\n");
    for row in rows {
        let _ = writeln!(text, "  {}", row[0]);
        for (name, cell) in head.iter().zip(row).skip(1) {
            let _ = writeln!(text, "    {name:24} {cell}");
        }
    }
    text
}

fn table(case: &Case) -> String {
    let rows = rows(case);
    let rounds = rows.iter().map(|row| row.runs).max().unwrap_or(0);
    let mut text = format!("\n{} ({rounds} rounds)\n", case.title);
    let _ = writeln!(
        text,
        "  {:30} {:>12} {:24} {:>9} {:>9} {:>10}",
        "",
        unit(case.metric),
        format!("  to {} (95 %)", base(case).map_or("nobody", |entry| first_word(&entry.label))),
        "p50 ms",
        "p99 ms",
        "generator"
    );
    for row in &rows {
        let _ = writeln!(text, "{}", line(row));
    }
    text
}

/// `Corecast, io_uring` is Corecast in a narrow column.
fn first_word(label: &str) -> &str {
    label.split(',').next().unwrap_or(label)
}

fn unit(metric: Metric) -> &'static str {
    match metric {
        Metric::CpuPerDelivery => "us each",
        Metric::DeliveriesPerSecond => "each second",
        Metric::BytesPerConnection => "bytes each",
        Metric::Latency => "p50 us",
        Metric::IdleCpu => "us/s each",
        Metric::MachineBytes => "bytes each",
        Metric::Hop => "us a hop",
    }
}

fn line(row: &Row) -> String {
    if let (Some(failure), 0) = (&row.failure, row.runs) {
        return format!("  {:30} {failure}", row.label);
    }
    let mut line = format!(
        "  {:30} {:>12}   {:22} {:>9} {:>9} {:>10}",
        row.label,
        maybe(row.figure),
        interval(row.ratio),
        milliseconds(row.p50_us),
        milliseconds(row.p99_us),
        maybe(row.generator_us),
    );
    let said = Some(row.verdict.clone()).filter(|text| !text.is_empty());
    let said: Vec<String> =
        said.into_iter().chain(row.notes.clone()).chain(row.failure.clone()).collect();
    let _ = write!(line, "  {}", said.join("; "));
    line.truncate(line.trim_end().len());
    line
}

#[test]
fn numbers_keep_what_says_something() {
    let cases = [
        (0.5, "0.50"),
        (3.456, "3.46"),
        (34.56, "34.6"),
        (345.6, "346"),
        (9_999.0, "9,999"),
        (12_345.0, "12,345"),
        (123_456.0, "123,456"),
        (1_234_567.8, "1,234,568"),
    ];
    for (value, expected) in cases {
        assert_eq!(number(value), expected);
    }
    for (value, expected) in [(0.5, "0.5"), (1.0, "1"), (20.0, "20"), (200.0, "200"), (0.0, "0")] {
        assert_eq!(tick(value), expected);
    }
}

#[test]
fn a_failure_is_in_its_row_and_the_missing_are_named() {
    use super::contender::OURS;
    use super::results::Missing;
    use super::summary::tests::{case, entry};
    let mut dead = entry("ws", &[]);
    dead.failure = Some("round 1: ws ended by itself".into());
    let missing = Missing { name: "centrifugo".into(), why: "not on PATH".into() };
    let results = Results {
        cases: vec![case(vec![entry(OURS, &[2.0; 7]), dead, entry("uwebsockets", &[3.0; 7])])],
        missing: vec![missing],
        ..Results::default()
    };
    let text = report(&results);
    assert!(text.contains("FAILED: round 1: ws ended by itself"), "{text}");
    assert!(text.contains("missing: centrifugo: not on PATH"), "{text}");
    assert!(text.contains("3.00   1.50 (1.50-1.50)"), "{text}");
    assert!(text.contains("costs more"), "{text}");
}
