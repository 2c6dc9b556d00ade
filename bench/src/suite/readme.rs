//! The tables of docs/benchmarks.md, made from a committed results file.
//!
//! Must not know how it was measured. Invariant: no table from incomplete results.

use super::numbers::milliseconds;
use super::published_table::{find, grid};
use super::results::{COULD_NOT, Results};
use super::summary::{Row, rows};
use std::fmt::Write;

/// The cases of the headline table, and what each column is called.
const HEADLINE: [(&str, &str); 2] =
    [("fanout", "CPU per delivery, 1 to 1,000"), ("echo", "CPU per echo")];

/// Markdown of every table that the results have the cases for.
#[must_use]
pub fn tables(results: &Results) -> String {
    [headline(results), published(results)].join("")
}

fn headline(results: &Results) -> String {
    let cases: Vec<(&str, Vec<Row>)> = HEADLINE
        .iter()
        .filter_map(|(id, title)| Some((*title, rows(find(results, id)?))))
        .collect();
    let Some((_, longest)) = cases.iter().max_by_key(|(_, rows)| rows.len()) else {
        return String::new();
    };
    let machine = &results.machine;
    let date = results.started.split('T').next().unwrap_or_default();
    let kind = if machine.virtual_machine { " of a virtual machine" } else { "" };
    let rounds = longest.iter().map(|row| row.runs).max().unwrap_or(0);
    let mut text = format!(
        "| {date}, kernel {}, {} cores{kind}, {rounds} rounds |",
        release(&machine.kernel),
        machine.cores
    );
    for (title, _) in &cases {
        let _ = write!(text, " {title} | to {} | p99 |", longest[0].label);
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- | --- | --- |".repeat(cases.len()));
    text.push('\n');
    for seat in longest {
        let _ = write!(text, "| {} |", seat.label);
        for (_, rows) in &cases {
            let row = rows.iter().find(|row| row.name == seat.name);
            text.push_str(&row.map_or_else(|| " | | |".into(), cells));
        }
        text.push('\n');
    }
    let mut noted: Vec<(String, Vec<String>)> = Vec::new();
    for (title, rows) in &cases {
        for row in rows.iter().filter(|row| has_mark(row)) {
            let (notes, who) = (row.notes.join("; "), format!("{} ({title})", row.label));
            match noted.iter_mut().find(|(other, _)| *other == notes) {
                Some((_, all)) => all.push(who),
                None => noted.push((notes, vec![who])),
            }
        }
    }
    for (notes, who) in noted {
        let _ = write!(text, "\n\\* {}: {notes}.\n", who.join(", "));
    }
    text
}

/// Something has to be said beside its figures.
fn has_mark(row: &Row) -> bool {
    !row.could_not && !row.notes.is_empty()
}

/// `6.18.44-fc-v595` is 6.18 to a reader.
fn release(kernel: &str) -> String {
    kernel.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn cells(row: &Row) -> String {
    // Rounds before the one that was too much are no figure of it.
    if row.could_not {
        return format!(" {COULD_NOT} | | |");
    }
    let ratio = row.ratio.map_or_else(
        || "1".into(),
        |ratio| format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.low, ratio.high),
    );
    let cost = row.figure.map_or_else(|| "-".into(), |cost| format!("{cost:.2} us"));
    let mark = if has_mark(row) { " \\*" } else { "" };
    format!(" {cost}{mark} | {ratio} | {} ms |", milliseconds(row.p99_us))
}

/// The published rows, and beside them what was measured here.
fn published(results: &Results) -> String {
    let Some(grid) = grid(results) else { return String::new() };
    let columns = grid.first().map_or(0, Vec::len);
    let mut text = String::new();
    for (index, row) in grid.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", " --- |".repeat(columns));
        }
    }
    // Without a name the first column is a blank.
    format!("\n{}", text.replacen("|  |", "| |", 1))
}

#[cfg(test)]
mod tests {
    use super::super::contender::OURS;
    use super::super::results::{Case, Metric, Rss};
    use super::super::summary::tests::{case, entry};
    use super::*;

    #[test]
    fn the_headline_has_a_row_for_everybody() {
        let fanout = case(vec![entry(OURS, &[2.0; 7]), entry("ws", &[3.0; 7])]);
        let mut echo =
            case(vec![entry(OURS, &[8.0; 7]), entry("raw", &[6.0; 7]), entry("ws", &[9.0; 7])]);
        echo.id = "echo".into();
        let results = Results { complete: true, cases: vec![fanout, echo], ..Results::default() };
        let text = tables(&results);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == 8), "{text}");
        let raw = "| raw | | | | 6.00 us | 0.75 (0.75 to 0.75) | 1.80 ms |";
        assert_eq!(lines[3], raw);
    }

    #[test]
    fn what_spoils_a_figure_stands_under_the_table() {
        let mut slow = entry("ws", &[3.0; 7]);
        slow.runs[2].report.deliveries /= 2;
        let fanout = case(vec![entry(OURS, &[2.0; 7]), slow]);
        let text = tables(&Results { cases: vec![fanout], ..Results::default() });
        assert!(text.contains("| ws | 3.00 us \\* | 1.50"), "{text}");
        let note = "\n\\* ws (CPU per delivery, 1 to 1,000): did not keep up in 1 of 7 runs.\n";
        assert!(text.ends_with(note), "{text}");
    }

    #[test]
    fn the_published_table_needs_its_three_cases() {
        let part = |id: &str, metric: Metric| {
            let mut part = case(vec![entry("ws", &[3.0; 3])]);
            (part.id, part.metric) = (id.into(), metric);
            let seat = &mut part.entries[0];
            seat.label = "npm ws".into();
            for run in &mut seat.runs {
                run.report.params =
                    serde_json::json!({"rooms": 1_500, "subscribers": 9, "publishers": 1});
                let slope = Rss { slope_per_connection: Some(10_400.0), ..Rss::default() };
                run.report.rss_bytes = Some(slope);
            }
            part
        };
        let mut cases = vec![
            part("table-load", Metric::CpuPerDelivery),
            part("table-peak", Metric::DeliveriesPerSecond),
        ];
        let results = |cases: &Vec<Case>| Results { cases: cases.clone(), ..Results::default() };
        assert_eq!(tables(&results(&cases)), "");
        cases.push(part("table-memory", Metric::BytesPerConnection));
        let text = tables(&results(&cases));
        assert!(text.contains("| 50,000 | 45,000 | - | - | 15,000 | not there yet |"), "{text}");
        assert!(text.contains("| 180 MB | 220 MB | - | - | 104 MB | not there yet |"), "{text}");
        assert_eq!(text.trim().lines().count(), 7, "{text}");
        // It is shown wherever results are.
        let shown = super::super::terminal::report(&results(&cases));
        assert!(shown.contains("    npm ws                   104 MB"), "{shown}");
        let page = super::super::page::page(&results(&cases));
        assert!(page.contains("data-name=\"npm ws\">104 MB</td>"), "{page}");
        assert!(!page.contains("not there yet"), "only what was measured: {page}");
    }
}
