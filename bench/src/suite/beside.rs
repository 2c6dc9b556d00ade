//! README's figures: Corecast beside its alternatives, from committed results.
//!
//! Must not know how it was measured. Invariant: a figure that is in no file is shown as missing.

use super::contender::{self, OURS};
use super::numbers::milliseconds;
use super::results::{Case, Results};
use super::summary::{Row, rows};
use std::fmt::Write;

/// The columns, by the names of results files.
const COLUMNS: [&str; 3] = [OURS, "centrifugo", "socketio-redis"];
const MISSING: &str = "not measured";

/// A row: its name, the case it is from, and how a server's figure is written.
type Figure = (&'static str, &'static str, fn(&Row) -> Option<String>);

const FIGURES: [Figure; 3] = [
    ("Server CPU per delivered message", "everybody", microseconds),
    ("Latency, 99th percentile", "everybody", latency),
    ("Server CPU per connect with a token", "connect", microseconds),
];

fn microseconds(row: &Row) -> Option<String> {
    row.figure.map(|figure| format!("{figure:.1} us"))
}

fn latency(row: &Row) -> Option<String> {
    row.p99_us.map(|us| format!("{} ms", milliseconds(Some(us))))
}

/// The table as Markdown. A case is taken from the first file that has the contender in it.
#[must_use]
pub fn table(sources: &[Results]) -> String {
    let labels = COLUMNS.map(|name| {
        contender::ALL.iter().find(|known| known.name == name).map_or(name, |known| known.label)
    });
    let mut text = format!("| | {} |\n| --- |{}\n", labels.join(" | "), " --- |".repeat(3));
    for (title, id, write) in FIGURES {
        let cells = COLUMNS.map(|name| {
            let found = sources.iter().find_map(|source| row(source, id, name));
            found.filter(|row| !row.could_not).as_ref().and_then(write)
        });
        let cells = cells.map(|cell| cell.unwrap_or_else(|| MISSING.into()));
        let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
    }
    text
}

fn row(source: &Results, id: &str, name: &str) -> Option<Row> {
    let case: &Case = source.cases.iter().find(|case| case.id == id)?;
    rows(case).into_iter().find(|row| row.name == name)
}

#[test]
fn what_nobody_measured_is_said_to_be_missing() {
    use super::summary::tests::{case, entry};
    let mut fanout = case(vec![entry(OURS, &[6.0; 7]), entry("centrifugo", &[14.0; 7])]);
    fanout.id = "everybody".into();
    let text = table(&[Results { cases: vec![fanout], ..Results::default() }]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[2], "| Server CPU per delivered message | 6.0 us | 14.0 us | not measured |");
    assert_eq!(lines[3], "| Latency, 99th percentile | 1.80 ms | 4.20 ms | not measured |");
    let none =
        "| Server CPU per connect with a token | not measured | not measured | not measured |";
    assert_eq!(lines[4..], [none]);
}
