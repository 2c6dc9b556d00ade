//! The report as one HTML page that needs nothing else.
//!
//! Must not know how it was measured. Invariant: no script, no external link; incomplete results
//! say so first; it shows nothing that was not measured.

use super::contender::OURS;
use super::goals;
use super::goals_page::cells;
use super::numbers::{interval, maybe, milliseconds};
use super::plots::{latency_curves, memory, over_axis, ratio_bars};
use super::published_table::grid;
use super::results::{Case, Metric, Results};
use super::stats::ROUNDS_FOR_A_VERDICT;
use super::summary::{Row, base, ranked};
use super::svg::escape;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
/// Figures over an axis: name, title, axis.
const FIGURES: [(&str, &str, &str); 4] = [
    ("echo-connections", "Cost of an echo against connections", "connections"),
    ("echo-bytes", "Cost of an echo against its size", "bytes of payload"),
    ("fanout-size", "Cost of a delivery against the size of the fan-out", "subscribers"),
    ("fanout-rate", "Cost of a delivery against the rate", "publications per second"),
];

/// The page.
#[must_use]
pub fn page(results: &Results) -> String {
    let mut body = head(results);
    for case in results.cases.iter().filter(|case| is_section(case)) {
        body.push_str(&section(case));
    }
    for (figure, title, axis) in FIGURES {
        if let Some(svg) = over_axis(results, figure, title, axis) {
            let _ = writeln!(body, "<section><h2>{title}</h2>\n<figure>{svg}</figure></section>");
        }
    }
    body.push_str(&published(results));
    body.push_str(&goal_table(results));
    body.push_str(&appendix(results));
    let title = escape(&format!("Corecast bench, {}, {}", results.set, date(results)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         </body>\n</html>\n"
    )
}

fn date(results: &Results) -> &str {
    results.started.split('T').next().unwrap_or_default()
}

/// Cases with a section of their own; the points of a curve are in its picture.
fn is_section(case: &Case) -> bool {
    case.point.is_none() || case.metric == Metric::BytesPerConnection
}

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let kind = if machine.virtual_machine { "Virtual machine" } else { "Machine" };
    let mut head =
        format!("<h1>Corecast bench, {}, {}</h1>\n", escape(&results.set), date(results));
    let _ = writeln!(
        head,
        "<p class=\"lead\">{} with {} cores ({}), {} GiB, Linux {}, congestion control {}. Server on \
         core {}, generator on core {}, over loopback. Source {}.</p>",
        kind,
        machine.cores,
        escape(&machine.processor),
        machine.memory_gib,
        escape(&machine.kernel),
        escape(&machine.congestion_control),
        results.cores.server,
        results.cores.generator,
        escape(&results.commit),
    );
    if let Some(sentence) = headline(results).filter(|_| results.complete) {
        let _ = writeln!(head, "<p class=\"headline\">{}</p>", escape(&sentence));
    }
    if !results.complete {
        head.push_str(
            "<p class=\"warning\">Not complete: runs failed or are missing. Take no table from \
             this page.</p>\n",
        );
    }
    let fewest = results
        .cases
        .iter()
        .filter_map(|case| case.entries.iter().map(|entry| entry.runs.len()).max());
    if fewest.min().is_some_and(|rounds| rounds < ROUNDS_FOR_A_VERDICT) {
        let _ = writeln!(
            head,
            "<p class=\"note\">Cases with fewer than {ROUNDS_FOR_A_VERDICT} rounds carry no \
             verdict.</p>"
        );
    }
    head
}

fn section(case: &Case) -> String {
    let mut text = format!("<section><h2>{}</h2>\n", escape(&case.title));
    let better = if case.metric.less_is_better() { "less" } else { "more" };
    let _ = writeln!(
        text,
        "<p class=\"note\">{}, {better} is better; ratios are to {}, paired by round, with the 95 % \
         interval of their median.</p>",
        case.metric.title(),
        base(case).map_or("nobody", |entry| entry.label.as_str())
    );
    if let Some(svg) = ratio_bars(case) {
        let _ = writeln!(text, "<figure>{svg}</figure>");
    }
    text.push_str(&table(case));
    if let Some(svg) = latency_curves(case) {
        let _ = writeln!(text, "<h3>Latency by percentile</h3>\n<figure>{svg}</figure>");
    }
    if let Some(svg) = memory(case) {
        let _ = writeln!(text, "<h3>Resident memory</h3>\n<figure>{svg}</figure>");
    }
    text + "</section>\n"
}

/// What the first case says, in one sentence: ours, and how many times as much the others'.
fn headline(results: &Results) -> Option<String> {
    let case = results.cases.iter().find(|case| is_section(case))?;
    let rows = ranked(case);
    let ours = rows.iter().find(|row| row.name == OURS)?;
    let is_peer = |row: &&Row| !row.name.starts_with("corecast") && !row.name.starts_with("floor");
    let other = |row: &&Row| row.name != OURS;
    let any_peer = rows.iter().any(|row| is_peer(&row) && row.ratio.is_some());
    let told: Vec<String> = rows
        .iter()
        .filter(|row| if any_peer { is_peer(row) } else { other(row) })
        .filter_map(|row| {
            let ratio = row.ratio?;
            let open = if row.verdict.starts_with("no verdict") { ", no verdict" } else { "" };
            Some(format!(
                "{} {:.2} times as much ({:.2} to {:.2}{open})",
                row.label, ratio.median, ratio.low, ratio.high
            ))
        })
        .collect();
    let metric = case.metric.title();
    let mut text = format!("{}: {} {} {metric}", case.title, ours.label, maybe(ours.figure));
    if let Some((last, before)) = told.split_last() {
        let before = if before.is_empty() { String::new() } else { before.join(", ") + " and " };
        let _ = write!(text, "; {before}{last}");
    }
    Some(text + ".")
}

/// A table's rows under its columns; on a narrow page each cell has its column's name beside it
/// (`page.css`). An empty column is left out.
struct Grid {
    columns: Vec<String>,
    /// Columns of words, which may be broken.
    prose: &'static [usize],
    rows: Vec<GridRow>,
}

struct GridRow {
    class: &'static str,
    cells: Vec<String>,
    /// What has to be said below it.
    said: Vec<String>,
}

impl Grid {
    fn class(&self, column: usize) -> &'static str {
        if self.prose.contains(&column) { " class=\"prose\"" } else { "" }
    }

    fn write(&self) -> String {
        let has = |column: usize| {
            let mut cells = self.rows.iter().map(|row| row.cells[column].as_str());
            column == 0 || cells.any(|cell| !matches!(cell, "" | "-" | "not there yet"))
        };
        let kept: Vec<usize> = (0..self.columns.len()).filter(|column| has(*column)).collect();
        let mut text = String::from("<table class=\"grid-table\"><thead><tr>");
        for column in &kept {
            let class = self.class(*column);
            let _ = write!(text, "<th{class}>{}</th>", escape(&self.columns[*column]));
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            let _ = write!(text, "<tr class=\"{}\">", row.class);
            for column in &kept {
                let (cell, name) = (escape(&row.cells[*column]), escape(&self.columns[*column]));
                let class = self.class(*column);
                let _ = match column {
                    0 => write!(text, "<th>{cell}</th>"),
                    _ => write!(text, "<td{class} data-name=\"{name}\">{cell}</td>"),
                };
            }
            text.push_str("</tr>\n");
            for said in &row.said {
                let (columns, said) = (kept.len(), escape(said));
                let _ =
                    writeln!(text, "<tr class=\"said\"><td colspan=\"{columns}\">{said}</td></tr>");
            }
        }
        text + "</tbody></table>\n"
    }
}

fn table(case: &Case) -> String {
    let columns = [
        "",
        case.metric.title(),
        "ratio (95 %)",
        "verdict",
        "p50 ms",
        "p99 ms",
        "per second",
        "generator us",
        "rounds",
    ];
    let base = base(case).map(|entry| entry.name.clone());
    let row = |row: Row| GridRow {
        class: if base.as_ref() == Some(&row.name) { "base" } else { "" },
        said: row.notes.iter().chain(&row.failure).cloned().collect(),
        cells: vec![
            row.label,
            maybe(row.figure),
            interval(row.ratio),
            row.verdict,
            milliseconds(row.p50_us),
            milliseconds(row.p99_us),
            maybe(row.per_s),
            maybe(row.generator_us),
            row.runs.to_string(),
        ],
    };
    let rows = ranked(case).into_iter().map(row).collect();
    Grid { columns: columns.map(String::from).to_vec(), prose: &[3], rows }.write()
}

/// The table that a vendor published, where its cases were run.
fn published(results: &Results) -> String {
    let Some(grid) = grid(results) else { return String::new() };
    let mut rows = grid.into_iter();
    let columns = rows.next().unwrap_or_default();
    let row = |cells: Vec<String>| GridRow { class: "", cells, said: Vec::new() };
    let grid = Grid { columns, prose: &[1, 2, 3, 4, 5, 6], rows: rows.map(row).collect() };
    let table = grid.write();
    format!("<section><h2>The published table, measured here</h2>\n{table}</section>\n")
}

/// The goals that this run measured; docs/goals.md has them all.
fn goal_table(results: &Results) -> String {
    let goals = goals::outcomes(std::slice::from_ref(results)).into_iter();
    let measured = goals.filter(|goal| !goal.case.is_empty() && !goal.measured.is_empty());
    let row = |goal| GridRow { class: "", cells: cells(&goal).to_vec(), said: Vec::new() };
    let rows: Vec<GridRow> = measured.map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = ["", "bound", "measured (95 %)", "rounds", "verdict", "case", "measured at"];
    let grid = Grid { columns: columns.map(String::from).to_vec(), prose: &[4], rows };
    format!("<section><h2>Goals</h2>\n{}</section>\n", grid.write())
}

fn appendix(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = String::from("<section><h2>How</h2>\n");
    text.push_str(
        "<p>Each server runs on one core, the generator on another, unless a case says that they \
         share cores. Every round runs each server \
         once, every other round in the opposite order; a first run is thrown away. CPU is the \
         sum of the server's threads' <code>schedstat</code>, the kernel's work in their name \
         included, and that of the softirq thread of a core that is its alone. Latency counts from the time at \
         which a message was due. Every delivery is checked for order and content; a run that \
         lost one is no run. A verdict needs seven rounds, and an interval of the median ratio \
         (bootstrap, and by rank: at least 95 %) that is clear of 1. Compare ratios of one page, not figures of two.</p>\n",
    );
    let mut rows = vec![
        ("began, ended".to_owned(), format!("{}, {}", results.started, results.ended)),
        ("load before".into(), machine.load.clone()),
        ("governor".into(), machine.governor.clone()),
        ("transparent huge pages".into(), machine.transparent_huge_pages.clone()),
    ];
    rows.extend(machine.mitigations.iter().map(|(name, state)| (name.clone(), state.clone())));
    let steal: Vec<f64> = results
        .cases
        .iter()
        .flat_map(|case| &case.entries)
        .flat_map(|entry| entry.runs.iter().map(|run| run.steal))
        .collect();
    let worst = steal.iter().copied().fold(0.0, f64::max) * 100.0;
    rows.push(("time stolen in the worst run".into(), format!("{worst:.1} %")));
    for missing in &results.missing {
        rows.push((format!("missing: {}", missing.name), missing.why.clone()));
    }
    text.push_str("<table><tbody>\n");
    rows.retain(|(_, value)| !matches!(value.as_str(), "" | "unknown"));
    for (name, value) in rows {
        let _ = writeln!(
            text,
            "<tr><th>{}</th><td class=\"prose\">{}</td></tr>",
            escape(&name),
            escape(&value)
        );
    }
    text + "</tbody></table></section>\n"
}

#[cfg(test)]
mod tests {
    use super::super::contender::OURS;
    use super::super::summary::tests::{case, entry};
    use super::*;

    fn results(complete: bool) -> Results {
        let mut failed = entry("ws", &[2.0; 7]);
        failed.failure = Some("round 8: <it died>".into());
        let cases = vec![case(vec![entry(OURS, &[1.0; 7]), failed])];
        Results { complete, set: "standard".into(), cases, ..Results::default() }
    }

    #[test]
    fn a_page_needs_nothing_else_and_escapes_what_it_was_told() {
        let text = page(&results(true));
        for outside in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert!(text.contains("round 8: &lt;it died&gt;") && !text.contains("<it died>"));
        assert!(text.contains("2.00 (2.00-2.00)") && text.contains("costs more"));
        assert!(!text.contains("not there yet") && !text.contains("not measured"));
        let sentence = "<p class=\"headline\">Fan-out: corecast-io_uring 1.00 server CPU us per \
                        delivery; ws 2.00 times as much (2.00 to 2.00).</p>";
        assert!(text.contains(sentence), "{text}");
    }

    #[test]
    fn what_is_not_whole_says_so() {
        let text = page(&results(false));
        assert!(text.contains("Not complete") && !text.contains("class=\"headline\""));
        assert!(!page(&results(true)).contains("Not complete"));
    }
}
