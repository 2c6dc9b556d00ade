//! One run: the generator as a child process, watched together with the server.
//!
//! Must not know which case this is. Invariant: a run counts only if its report says `verified` and
//! the server still runs after it.

use super::machine::{Others, Steal};
use super::results::{Report, Run};
use super::server::{Process, Server, last_words};
use anyhow::{Context, Error, Result, bail};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Connecting, draining and verifying, beside warm-up and window.
const AROUND: Duration = Duration::from_secs(90);

/// What is asked of the generator.
#[derive(Clone, Debug)]
pub struct Order {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub cpus: Vec<usize>,
    /// Warm-up and window together.
    pub measured: Duration,
    pub scratch: PathBuf,
}

/// What the server did under the load: it lost something, or ended. All else that goes wrong says
/// nothing of it.
#[derive(Debug)]
pub struct ByServer(String);

impl fmt::Display for ByServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ByServer {}

/// Set by a signal: the set ends as soon as it can.
pub type Interrupted = Arc<AtomicBool>;

/// Runs it against a server, or alone.
///
/// # Errors
/// What went wrong, in one line: a server that ended, a report that is not verified, no report,
/// no end in time, an interrupt.
pub fn run(
    order: &Order,
    mut server: Option<&mut Server>,
    round: u32,
    stop: &Interrupted,
) -> Result<Run> {
    let log = order.scratch.join("generator.log");
    let report = order.scratch.join("generator.json");
    // The report alone is on standard output; the shell keeps it apart from the progress.
    let mut command = Command::new("sh");
    command.args(["-c", "out=$1; shift; exec \"$@\" >\"$out\"", "sh"]);
    command.arg(&report).arg(&order.program).args(&order.arguments);
    let servers = server.as_ref().map_or_else(Vec::new, |server| server.pids());
    let before = (Steal::now(), Others::now(&servers));
    let mut generator = Process::start("generator", command, &order.cpus, &log)?;
    let limit = Instant::now() + order.measured + AROUND;
    while generator.must_run().is_ok() {
        server.as_mut().map_or(Ok(()), |server| still_runs(server))?;
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if Instant::now() > limit {
            bail!("the generator did not end in time{}", last_words(&log));
        }
        thread::sleep(LOOK_AGAIN);
    }
    let (steal, others) = (Steal::now(), Others::now(&servers).since(&before.1));
    let (steal, others) = (steal.since(before.0), others / steal.ticks_since(before.0));
    let report = read(&report, &log)?;
    server.map_or(Ok(()), still_runs)?;
    Ok(Run { round, report, steal, others: Some(others) })
}

/// Did the server fail, and not the generator or the set-up before anything was measured?
fn of_server(report: &Report) -> bool {
    let told = report.failure.as_deref().unwrap_or_default();
    let words = ["died during the run", "was closed by the server"];
    report.messages + report.deliveries > 0 || words.iter().any(|word| told.contains(word))
}

fn still_runs(server: &mut Server) -> Result<()> {
    server.must_run().map_err(|error| ByServer(format!("{error:#}")).into())
}

/// Reads the generator's line, and believes it only when it says that all was verified.
fn read(path: &Path, log: &Path) -> Result<Report> {
    let text = fs::read_to_string(path).context("the generator's report")?;
    let line = text.trim();
    if line.is_empty() {
        bail!("the generator reported nothing{}", last_words(log));
    }
    let report: Report = serde_json::from_str(line)
        .with_context(|| format!("the generator's report is not one: {line:.200}"))?;
    if !report.verified && !of_server(&report) {
        bail!("{}", report.failure.as_deref().unwrap_or("not verified, and no reason given"));
    }
    if !report.verified {
        let why = report.failure.unwrap_or_else(|| "not verified, and no reason given".into());
        return Err(Error::new(ByServer(why)));
    }
    if report.deliveries == 0 || report.window_s <= 0.0 {
        bail!("{} deliveries in {} s are no figure", report.deliveries, report.window_s);
    }
    Ok(report)
}

#[cfg(test)]
fn told(text: &str) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("corecast-report-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).expect("a temporary file");
    let told = read(&path, Path::new("/nonexistent")).map_or_else(
        |error| format!("{error:#}"),
        |report| format!("{} deliveries", report.deliveries),
    );
    fs::remove_file(&path).expect("it was just written");
    told
}

#[test]
fn only_a_verified_report_is_a_run() {
    let report = |verified: bool, failure: &str, deliveries: u64| {
        format!(
            r#"{{"scenario":"echo","dialect":"raw","verified":{verified},"failure":{failure},
            "messages":5,"deliveries":{deliveries},"window_s":1.0}}"#
        )
    };
    let cases = [
        (report(true, "null", 5), "5 deliveries"),
        (report(false, "\"2 deliveries lost\"", 3), "2 deliveries lost"),
        (report(false, "null", 3), "not verified, and no reason given"),
        (report(true, "null", 0), "0 deliveries in 1 s are no figure"),
        (String::new(), "the generator reported nothing"),
        ("{\"scenario\":".into(), "the generator's report is not one"),
    ];
    for (text, expected) in cases {
        let told = told(&text);
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn what_failed_before_anything_was_sent_says_nothing_of_the_server() {
    let report = |why: &str, messages: u64| Report {
        failure: Some(why.into()),
        messages,
        ..Report::default()
    };
    assert!(!of_server(&report("io_uring: Cannot allocate memory", 0)));
    assert!(!of_server(&report("the subscriber was refused: 102 unknown channel", 0)));
    assert!(of_server(&report("2 deliveries lost", 400)));
    assert!(of_server(&report("the server (process 7) died during the run", 0)));
    assert!(of_server(&report("connection 3 was closed by the server: reset", 0)));
}
