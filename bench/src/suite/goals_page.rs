//! The table of goals in docs/goals.md, made from committed results files.
//!
//! Must not judge. Invariant: there is a row for every goal, measured or not.

use super::goals::{Outcome, outcomes};
use super::results::Results;
use std::fmt::Write;

const COLUMNS: [&str; 7] =
    ["Goal", "bound", "measured (95 %)", "rounds", "verdict", "case", "measured at"];

/// The table as Markdown.
#[must_use]
pub fn table(sources: &[Results]) -> String {
    let mut text = format!("| {} |\n|{}\n", COLUMNS.join(" | "), " --- |".repeat(COLUMNS.len()));
    for outcome in outcomes(sources) {
        let _ = writeln!(text, "| {} |", cells(&outcome).join(" | "));
    }
    text
}

/// The text of the columns; a dash if there is none.
#[must_use]
pub fn cells(outcome: &Outcome) -> [String; 7] {
    let or_stroke = |text: &str| if text.is_empty() { "-".into() } else { text.replace('|', "/") };
    let rounds = if outcome.rounds == 0 { String::new() } else { outcome.rounds.to_string() };
    [
        outcome.what,
        &outcome.bound,
        &outcome.measured,
        &rounds,
        &outcome.verdict,
        outcome.case,
        &outcome.commit,
    ]
    .map(or_stroke)
}

#[test]
fn every_row_has_every_column() {
    use super::contender::OURS;
    use super::summary::tests::{case, entry};
    let cases = vec![case(vec![entry(OURS, &[0.9; 7]), entry("uwebsockets", &[1.0; 7])])];
    let results = Results { cases, commit: "abc".into(), ..Results::default() };
    let text = table(&[results]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), super::goal_rows::GOALS.len() + 2);
    assert!(lines.iter().all(|line| line.matches('|').count() == 8), "{text}");
    let first = "| CPU per delivery, 1 to 1,000, to uWebSockets | <= 0.95 x, clear of 1 | \
                 0.90 (0.90-0.90) | 7 | met | fanout | abc |";
    assert_eq!(lines[2], first);
    assert!(text.contains("| - | - | - | not of this suite: "), "{text}");
}
