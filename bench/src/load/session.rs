//! The course of a run: its processes, their common start, growth, end, and result.
//!
//! Must not know scenarios. Invariant: every process measures the same window, and a failure of one
//! is a failure of all.

use super::clock::{self, SECOND};
use super::fleet::{Fleet, Handler};
use super::meter::{Figures, Times};
use super::options::Options;
use super::report::Report;
use super::watch::Watch;
use crate::proc;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Connects under way at once: below any listen queue.
const AT_ONCE: usize = 64;
/// Time without progress after which a growth is given up.
const PATIENCE: u64 = 10 * SECOND;
/// Time in which the last deliveries come.
pub const LAST_DELIVERY: u64 = 5 * SECOND;
/// Time from the end of a server's connections to its own.
const DEATH: u64 = SECOND / 5;
/// Time in which buffers of a set-up go back.
pub const SETTLE: Duration = Duration::from_secs(3);
/// From everybody's being ready to the start.
const LEAD: u64 = SECOND / 20;

/// A bar on stderr; nothing where stderr is not a terminal.
#[must_use]
pub fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>12} [{bar:40}] {pos}/{len} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_prefix(what)
}

/// Pins this thread, if a core is named.
///
/// # Errors
/// When there is no such core for us.
pub fn pin(cpu: Option<usize>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        bail!("--cpu {cpu}: there is no such core");
    }
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("--cpu {cpu}"))
}

/// Runs a scenario in this process, or in several, and prints what was measured. False: it failed.
///
/// # Errors
/// When it could not begin.
pub fn run(
    scenario: &str,
    options: &Options,
    own: Value,
    offered_per_s: Option<f64>,
    measure: impl FnOnce() -> Result<Figures>,
) -> Result<bool> {
    pin(options.cpu)?;
    if options.part.is_some() {
        let figures = measure().unwrap_or_else(|error| Figures::failed(format!("{error:#}")));
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(figures.failure.is_none());
    }
    let measured = if options.processes > 1 { coordinate(scenario, options) } else { measure() };
    let mut figures = measured.unwrap_or_else(|error| Figures::failed(format!("{error:#}")));
    figures.failure = figures.failure.map(|failure| or_death(failure, &options.server_pid));
    let verified = figures.failure.is_none();
    if let Some(failure) = &figures.failure {
        eprintln!("FAILED: {failure}");
    }
    Report { scenario, options, own, offered_per_s, figures }.print();
    Ok(verified)
}

/// A failure, or the death of a server that caused it.
fn or_death(failure: String, servers: &[u32]) -> String {
    if servers.is_empty() || failure.contains("died during the run") {
        return failure;
    }
    let deadline = clock::now() + DEATH;
    while clock::now() < deadline {
        if let Some(pid) = servers.iter().find(|pid| proc::ended(**pid)) {
            return format!("the server (process {pid}) died during the run ({failure})");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    failure
}

/// One of several processes.
struct Part {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Part {
    fn start(number: usize) -> Result<Part> {
        let own = std::env::current_exe().context("this program's own path")?;
        let mut child = Command::new(own)
            .args(std::env::args_os().skip(1))
            .arg(format!("--part={number}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("another process")?;
        let to = child.stdin.take().context("a pipe")?;
        let from = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Part { child, to, from })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line).context("a process of the generator")?;
        Ok(line)
    }

    fn figures(line: &str) -> Result<Figures> {
        serde_json::from_str(line).context("a process of the generator died")
    }
}

/// Starts the processes one after the other, lets all begin at once, and adds up what they say.
fn coordinate(scenario: &str, options: &Options) -> Result<Figures> {
    let processes = options.processes;
    let mut parts = Vec::with_capacity(processes);
    let mut sum = Figures::default();
    if scenario == "idle" {
        sum.rss.push((0, rss(&options.server_pid)?));
    }
    for number in 0..processes {
        let mut part = Part::start(number)?;
        let line = part.line()?;
        if !line.starts_with("ready ") {
            // It failed before the start: what it says is the result of all.
            sum.add(Part::figures(&line)?);
            let _ = part.child.wait();
            break;
        }
        parts.push(part);
        if scenario == "idle" {
            // Memory is read between one process's connections and the next one's.
            let connections: u64 = line.trim_start_matches("ready ").trim().parse().unwrap_or(0);
            let before = sum.rss.last().map_or(0, |(connections, _)| *connections);
            std::thread::sleep(SETTLE);
            sum.rss.push((before + connections, rss(&options.server_pid)?));
        }
    }
    let begins = parts.len() == processes;
    let start = clock::now() + LEAD;
    for part in &mut parts {
        if begins {
            // One that has failed meanwhile says so below.
            let _ = writeln!(part.to, "{start}");
        } else {
            part.child.kill().context("a process of the generator")?;
        }
    }
    for mut part in parts {
        if begins {
            let line = part.line()?;
            sum.add(Part::figures(&line)?);
        }
        part.child.wait().context("a process of the generator")?;
    }
    Ok(sum)
}

/// All of this process's connections are ready: when does everybody start? Pings are answered
/// until that is known.
///
/// # Errors
/// When the starting process is gone, or a connection.
pub fn start_time(
    options: &Options,
    fleet: &mut Fleet,
    handler: &mut impl Handler,
    connections: usize,
) -> Result<u64> {
    if options.part.is_none() {
        return Ok(clock::now() + LEAD);
    }
    println!("ready {connections}");
    let told = std::thread::spawn(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    while !told.is_finished() && fleet.wire.failure.is_none() {
        fleet.turn(handler, clock::now() + SECOND / 100);
    }
    if let Some(failure) = fleet.wire.failure.take() {
        bail!("{failure}");
    }
    let line = told.join().ok().context("the starting process is gone")??;
    line.trim().parse().context("the starting process is gone")
}

/// Resident bytes of servers.
///
/// # Errors
/// When one of them is gone.
pub fn rss(servers: &[u32]) -> Result<u64> {
    servers.iter().map(|pid| proc::rss(*pid)).sum()
}

/// The times of a run that begins at `start`.
#[must_use]
pub fn times(options: &Options, start: u64) -> Times {
    Times::new(start, options.warm_s, options.window_s)
}

/// The servers that this process measures: one measures for all.
#[must_use]
pub fn servers(options: &Options) -> &[u32] {
    if options.part() == 0 { &options.server_pid } else { &[] }
}

/// The Redis that this process watches beside them, if there is one.
#[must_use]
pub fn watch(options: &Options) -> Option<Watch> {
    let port = options.redis_port.filter(|_| options.part() == 0)?;
    let node = options.publish_url.as_ref().unwrap_or(&options.url).address;
    Some(Watch::new(port, node, &options.server_pid))
}

/// A fleet as the options have it.
///
/// # Errors
/// When the kernel has no ring for us.
pub fn fleet(options: &Options, tongue: crate::wire::Tongue) -> Result<Fleet> {
    let mut fleet = Fleet::new(options.url.clone(), tongue, options.token_secret.clone())
        .context("io_uring")?;
    fleet.wire.spins = options.spin;
    fleet.wire.first_user = options.part() * 100_000;
    fleet.wire.first_source = options.part() as u64;
    Ok(fleet)
}

/// Turns until it is so.
///
/// # Errors
/// A failure, or that `what` did not come about in time.
pub fn until<H: Handler>(
    fleet: &mut Fleet,
    handler: &mut H,
    what: &str,
    so: impl Fn(&H) -> bool,
) -> Result<()> {
    let deadline = clock::now() + LAST_DELIVERY;
    while !so(handler) && fleet.wire.failure.is_none() {
        fleet.turn(handler, clock::now() + SECOND / 100);
        if clock::now() > deadline {
            fleet.wire.fail(format!("{what} was not heard of before the window"));
        }
    }
    match fleet.wire.failure.take() {
        None => Ok(()),
        Some(failure) => bail!("{failure}"),
    }
}

/// Opens connections `range` with `open`, few at a time, until `ready` says that all are. Stops at
/// a failure.
pub fn grow<H: Handler>(
    fleet: &mut Fleet,
    handler: &mut H,
    range: std::ops::Range<usize>,
    ready: impl Fn(&H) -> usize,
    mut open: impl FnMut(&mut Fleet, &mut H, usize),
) {
    let bar = bar("connecting", range.len() as u64);
    let before = ready(handler);
    let (mut next, mut seen) = (range.start, before);
    let mut deadline = clock::now() + PATIENCE;
    while fleet.wire.failure.is_none() && ready(handler) - before < range.len() {
        while next < range.end && next - range.start - (ready(handler) - before) < AT_ONCE {
            open(fleet, handler, next);
            next += 1;
        }
        fleet.turn(handler, clock::now() + SECOND / 100);
        let now = clock::now();
        if ready(handler) != seen {
            (seen, deadline) = (ready(handler), now + PATIENCE);
            bar.set_position((seen - before) as u64);
        }
        if now > deadline {
            let (got, all) = (seen - before, range.len());
            fleet.wire.fail(format!("only {got} of {all} connections became ready"));
        }
    }
    bar.finish_and_clear();
}
