//! The report as lines of text.
//!
//! Must not know how it was measured.

use super::goals;
use super::numbers::{interval, maybe, milliseconds};
use super::published_table::grid;
use super::results::{Case, Metric, Results};
use super::summary::{Row, base, rows};
use std::fmt::Write;

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
