//! The report as one HTML page that needs nothing else.
//!
//! Must not know how it was measured. Invariant: no script, no link to elsewhere; what is not
//! whole says so first.

use super::goals;
use super::goals_page::cells;
use super::plots::{latency_curves, memory, over_axis, ratio_bars};
use super::published_table::grid;
use super::results::{Case, Metric, Results};
use super::stats::ROUNDS_FOR_A_VERDICT;
use super::summary::{base, rows};
use super::svg::escape;
use super::terminal::{interval, maybe, milliseconds};
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

/// Cases that stand alone; the points of a curve are in its picture.
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

fn table(case: &Case) -> String {
    let mut text = format!(
        "<div class=\"wide\"><table><thead><tr><th></th><th>{}</th><th>ratio (95 %)</th><th>verdict</th>\
         <th>p50 ms</th><th>p99 ms</th><th>per second</th><th>generator us</th><th>rounds</th>\
         </tr></thead>\n<tbody>\n",
        case.metric.title()
    );
    let base = base(case).map(|entry| entry.name.clone());
    for row in rows(case) {
        let class = if base.as_ref() == Some(&row.name) { " class=\"base\"" } else { "" };
        let _ = write!(text, "<tr{class}><th>{}</th>", escape(&row.label));
        let cells = [
            maybe(row.figure),
            interval(row.ratio),
            row.verdict.clone(),
            milliseconds(row.p50_us),
            milliseconds(row.p99_us),
            maybe(row.per_s),
            maybe(row.generator_us),
            row.runs.to_string(),
        ];
        for cell in cells {
            let _ = write!(text, "<td>{}</td>", escape(&cell));
        }
        text.push_str("</tr>\n");
        for said in row.notes.iter().chain(&row.failure) {
            let _ = writeln!(
                text,
                "<tr class=\"said\"><th></th><td colspan=\"8\">{}: {}</td></tr>",
                escape(&row.label),
                escape(said)
            );
        }
    }
    text + "</tbody></table></div>\n"
}

/// The table that a vendor published, where its cases were run.
fn published(results: &Results) -> String {
    let Some(grid) = grid(results) else { return String::new() };
    let mut text = String::from(
        "<section><h2>The published table, measured here</h2>\n<div class=\"wide\"><table>\n",
    );
    for (index, row) in grid.iter().enumerate() {
        let cell = |(column, cell): (usize, &String)| {
            let tag = if index == 0 || column == 0 { "th" } else { "td class=\"prose\"" };
            format!("<{tag}>{}</{}>", escape(cell), &tag[..2])
        };
        let cells: String = row.iter().enumerate().map(cell).collect();
        let _ = writeln!(text, "<tr>{cells}</tr>");
    }
    text + "</table></div></section>\n"
}

fn goal_table(results: &Results) -> String {
    let goals = goals::outcomes(std::slice::from_ref(results));
    let mut text = String::from(
        "<section><h2>Goals</h2>\n<div class=\"wide\"><table><thead><tr><th></th><th>bound</th>\
         <th>measured (95 %)</th><th>rounds</th><th>verdict</th><th>case</th><th>measured at</th>\
         </tr></thead>\n<tbody>\n",
    );
    for goal in goals {
        let [what, cells @ ..] = cells(&goal);
        let cells = cells.map(|cell| format!("<td>{}</td>", escape(&cell))).concat();
        let _ = writeln!(text, "<tr><th>{}</th>{cells}</tr>", escape(&what));
    }
    text + "</tbody></table></div></section>\n"
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
    text.push_str("<div class=\"wide\"><table><tbody>\n");
    for (name, value) in rows {
        let _ = writeln!(
            text,
            "<tr><th>{}</th><td class=\"prose\">{}</td></tr>",
            escape(&name),
            escape(&value)
        );
    }
    text + "</tbody></table></div></section>\n"
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
        // Goals that nobody measured are rows too.
        assert!(text.contains("not there yet") && text.contains("not measured"));
    }

    #[test]
    fn what_is_not_whole_says_so() {
        assert!(page(&results(false)).contains("Not complete"));
        assert!(!page(&results(true)).contains("Not complete"));
    }
}
