//! The published table, and beside it what was measured here.
//!
//! Must not know where it is shown. Invariant: no table without all three of its cases.

use super::numbers::{maybe, milliseconds, number};
use super::published::PUBLISHED;
use super::results::{COULD_NOT, Case, Results};
use super::summary::{Row, rows};

/// Columns of the published table.
const HERE: [&str; 3] = ["Corecast, io_uring", "Corecast, epoll", "npm ws"];

/// A case by its id.
#[must_use]
pub fn find<'a>(results: &'a Results, id: &str) -> Option<&'a Case> {
    results.cases.iter().find(|case| case.id == id)
}

/// The head and the rows, each with as many cells.
#[must_use]
pub fn grid(results: &Results) -> Option<Vec<Vec<String>>> {
    let (Some(load), Some(peak), Some(memory)) =
        (find(results, "table-load"), find(results, "table-peak"), find(results, "table-memory"))
    else {
        return None;
    };
    let machine = &results.machine;
    let host =
        format!("{} cores, {} GiB, clients included, 256 B", machine.cores, machine.memory_gib);
    let (load, peak, memory) = (rows(load), rows(peak), rows(memory));
    let of = |rows: &[Row], column: usize| {
        rows.iter().find(|row| row.label.starts_with(HERE[column])).cloned()
    };
    let held = |column: usize| {
        let Some(row) = of(&load, column) else { return "-".into() };
        let count = connections(results, &row.name);
        let note = row.notes.first().map_or_else(String::new, |note| format!(" ({note})"));
        format!("{count}{note}")
    };
    let rate = |column: usize| {
        let row = of(&peak, column);
        let could_not = row.as_ref().is_some_and(|row| row.could_not);
        if could_not { COULD_NOT.into() } else { maybe(row.and_then(|row| row.per_s)) }
    };
    let tail = |column: usize| {
        let at = |row: &Row| {
            if row.could_not {
                return COULD_NOT.into();
            }
            format!("{} ms at {} messages/s", milliseconds(row.p99_us), maybe(row.per_s))
        };
        let all = load.iter().filter(|row| row.label.starts_with(HERE[column]));
        // Where one stands for all connections, and one for as many as the others hold.
        let told =
            |row: &Row| format!("{} ({} connections)", at(row), connections(results, &row.name));
        let told: Vec<String> = all.map(told).collect();
        if told.is_empty() { "-".into() } else { told.join("; ") }
    };
    let megabytes = |column: usize| {
        let slope = of(&memory, column).and_then(|row| row.slope);
        slope.map_or_else(|| "-".into(), |slope| format!("{} MB", number(slope * 10_000.0 / 1e6)))
    };
    let head = ["", "published", "published, with Redis"].into_iter().chain(HERE);
    let head = head.chain(["with Redis"]).map(str::to_owned).collect();
    let rows = PUBLISHED.iter().enumerate().map(|(index, told)| {
        let here = (0..HERE.len()).map(|column| match index {
            0 => host.clone(),
            1 => held(column),
            2 => rate(column),
            3 => tail(column),
            _ => megabytes(column),
        });
        let told = told.iter().map(|cell| (*cell).to_owned());
        told.chain(here).chain(["not there yet".to_owned()]).collect()
    });
    Some(std::iter::once(head).chain(rows).collect())
}

/// The connections of a row of the load, from the generator's options.
fn connections(results: &Results, name: &str) -> String {
    let held = || {
        let case = find(results, "table-load")?;
        let entry = case.entries.iter().find(|entry| entry.name == name)?;
        let params = &entry.runs.first()?.report.params;
        let told = |what: &str| params.get(what)?.as_f64();
        Some(told("rooms")? * (told("subscribers")? + told("publishers")?))
    };
    maybe(held())
}
