//! Corecast, the floor and peers, measured side by side, and the report about it.
//!
//! Must not know the server's code, nor how the generator works: it starts both as programs.
//! Invariant: results say `complete` only if every requested run was made and verified, except
//! those of a peer that could not carry the load, whose row says so.

mod beside;
mod colours;
mod contender;
mod full;
mod generator;
mod goal_rows;
mod goals;
mod goals_page;
mod lines;
mod machine;
mod numbers;
mod over_redis;
mod page;
mod plan;
mod planned;
mod plots;
mod published;
mod published_table;
mod readme;
mod results;
mod rounds;
mod server;
mod stats;
mod summary;
mod svg;
mod terminal;

use anyhow::{Context, Result, bail};
use contender::{Contender, Places};
use machine::{Cores, Machine};
use plan::{Planned, Set};
use results::{FORMAT, Missing, Results, timestamp};
use rounds::Rounds;
use server::Ports;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const PORTS: u16 = 200;

#[derive(Clone, Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "Examples:
  corecast-bench suite --quick              a look at fan-out, no verdict
  corecast-bench suite                      the standard set: fan-out and echo
  corecast-bench suite --only echo ws corecast-io_uring
  corecast-bench suite --full --only table  the published table alone
  corecast-bench suite --table FILE         the tables of docs/benchmarks.md from a results file
  corecast-bench suite --page FILE          a results file's page again
  corecast-bench suite --goals FILE...      the table of docs/goals.md from results files
  corecast-bench suite --beside FILE...     README's figures from results files

scripts/bench builds what is compared, sets the congestion control and calls this."
)]
pub struct Args {
    /// Fan-out alone, three rounds: under two minutes, no verdict.
    #[arg(long, conflicts_with_all = ["standard", "full"])]
    quick: bool,
    /// Fan-out and echo, seven rounds: the default.
    #[arg(long, conflicts_with = "full")]
    standard: bool,
    /// The matrix: hours.
    #[arg(long)]
    full: bool,
    /// Ids of cases, or beginnings of them, and names of contenders.
    #[arg(long, num_args = 1.., value_name = "WORD")]
    only: Vec<String>,
    /// Rounds, instead of the set's; fewer than seven carry no verdict.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// The server.
    #[arg(long, default_value = "target/release/corecast")]
    corecast: PathBuf,
    /// The generator; default: this program.
    #[arg(long)]
    generator: Option<PathBuf>,
    /// Where scripts/bench built the peers.
    #[arg(long, default_value = ".cache/peers")]
    peers: PathBuf,
    /// Configurations and logs of the runs.
    #[arg(long, default_value = ".cache/bench")]
    scratch: PathBuf,
    /// Where the results and their page go.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
    /// First of the 200 ports that servers may use on 127.0.0.1.
    #[arg(long, default_value_t = 22_000)]
    #[arg(value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    port: u16,
    /// Core of the server; default: the first that may be used.
    #[arg(long)]
    server_cpu: Option<usize>,
    /// Core of the generator; default: the last.
    #[arg(long)]
    generator_cpu: Option<usize>,
    /// The machine's name in the results; default: its host name.
    #[arg(long)]
    machine: Option<String>,
    /// What was measured, as `git describe --always --dirty` says it.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Print the tables of docs/benchmarks.md from a results file, and measure nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["page", "quick", "standard", "full"])]
    table: Option<PathBuf>,
    /// Write the page of a results file beside it, and measure nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "standard", "full"])]
    page: Option<PathBuf>,
    /// Print the table of goals from results files, and measure nothing.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    #[arg(conflicts_with_all = ["table", "page", "quick", "standard", "full"])]
    goals: Vec<PathBuf>,
    /// Print README's figures from results files, and measure nothing.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    #[arg(conflicts_with_all = ["table", "page", "goals", "quick", "standard", "full"])]
    beside: Vec<PathBuf>,
}

/// # Errors
/// What could not be measured, in one line.
pub fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.table {
        print!("{}", readme::tables(&Results::read_whole(file)?));
        return Ok(());
    }
    if let Some(file) = &args.page {
        let page = page::page(&Results::read(file)?);
        return fs::write(file.with_extension("html"), page).context("the page");
    }
    if !args.beside.is_empty() {
        let sources: Result<Vec<Results>> =
            args.beside.iter().map(|file| Results::read_cases(file)).collect();
        print!("{}", beside::table(&sources?));
        return Ok(());
    }
    if !args.goals.is_empty() {
        let sources: Result<Vec<Results>> =
            args.goals.iter().map(|file| Results::read_cases(file)).collect();
        print!("{}", goals_page::table(&sources?));
        return Ok(());
    }
    measure(args)
}

fn measure(args: &Args) -> Result<()> {
    let set = match (args.quick, args.full) {
        (true, _) => Set::Quick,
        (_, true) => Set::Full,
        _ => Set::Standard,
    };
    let (mut rounds, cores) = set_up(args, set)?;
    let cases = plan::only(set.cases(), &args.only)?;
    let (cases, missing) = present(cases, &rounds.places, rounds.usable.len());
    for missing in &missing {
        println!("missing: {}: {}", missing.name, missing.why);
    }
    if let Some(ours) = missing.iter().find(|missing| missing.name.starts_with("corecast")) {
        bail!("{} cannot be started: {}", ours.name, ours.why);
    }
    if cases.is_empty() {
        bail!("nobody of these cases can be started here");
    }
    let mut results = Results {
        format: FORMAT,
        complete: false,
        set: [&[set.name().to_owned()], args.only.as_slice()].concat().join("-"),
        started: timestamp(),
        ended: String::new(),
        commit: args.commit.clone(),
        machine: Machine::read(args.machine.as_deref(), cores),
        cores,
        missing,
        cases: Vec::new(),
    };
    rounds.bar = rounds::bar(cases.iter().map(|case| rounds::runs(case, rounds.pace)).sum());
    for planned in &cases {
        let case = rounds.case(planned)?;
        results.cases.push(case);
        results.ended = timestamp();
        // An interrupt costs one case, not hours.
        let (json, _) = results.write(&args.results, &page::page(&results))?;
        rounds.bar.suspend(|| eprintln!("{} is in {}", planned.id, json.display()));
    }
    rounds.bar.finish_and_clear();
    results.ended = timestamp();
    finish(args, results)
}

/// Shows and writes what there is, and says whether it is whole.
fn finish(args: &Args, mut results: Results) -> Result<()> {
    let failures: Vec<String> = results
        .cases
        .iter()
        .flat_map(|case| case.entries.iter().map(move |entry| (case, entry)))
        .filter_map(|(case, entry)| {
            let failure = entry.failure.as_ref().filter(|_| entry.outcome.is_none())?;
            Some(format!("{} in {}: {failure}", entry.label, case.id))
        })
        .collect();
    results.complete = failures.is_empty();
    print!("{}", terminal::report(&results));
    if args.quick {
        println!("no verdict: three rounds are a look; scripts/bench without --quick has seven");
    }
    let (json, html) = results.write(&args.results, &page::page(&results))?;
    println!("\nresults: {}\npage:    {}", json.display(), html.display());
    if let Some(first) = failures.first() {
        let count = failures.len();
        bail!("not complete, and recorded as such: {count} failed, the first: {first}");
    }
    Ok(())
}

fn set_up(args: &Args, set: Set) -> Result<(Rounds, Cores)> {
    let usable = machine::usable()?;
    let first = usable.first().copied().context("no core may be used")?;
    let last = usable.last().copied().unwrap_or(first);
    let cores = Cores {
        server: args.server_cpu.unwrap_or(first),
        generator: args.generator_cpu.unwrap_or(last),
    };
    for cpu in [cores.server, cores.generator] {
        if !usable.contains(&cpu) {
            bail!("core {cpu} cannot be used here; there are {usable:?}");
        }
    }
    if cores.server == cores.generator {
        eprintln!("warning: server and generator share core {first}: the figures say little");
    }
    let generator = match &args.generator {
        Some(generator) => generator.clone(),
        None => std::env::current_exe().context("this program's path")?,
    };
    fs::create_dir_all(&args.scratch).with_context(|| format!("{}", args.scratch.display()))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("signals")?;
    }
    let mut pace = set.pace();
    pace.rounds = args.rounds.unwrap_or(pace.rounds);
    let places = Places {
        corecast: args.corecast.clone(),
        generator,
        peers: args.peers.clone(),
        scratch: args.scratch.clone(),
    };
    let ports = Ports::new(args.port, PORTS);
    let bar = rounds::bar(0);
    Ok((Rounds { places, cores, usable, ports, pace, stop, bar }, cores))
}

/// The cases with the servers that can take part, and those that cannot.
fn present(mut cases: Vec<Planned>, places: &Places, cores: usize) -> (Vec<Planned>, Vec<Missing>) {
    let too_few = |case: &Planned| {
        let why = format!("needs {} cores, and there are {cores}", case.cores);
        (case.cores > cores).then(|| Missing { name: case.id.clone(), why })
    };
    let mut missing: Vec<Missing> = cases.iter().filter_map(too_few).collect();
    cases.retain(|case| case.cores <= cores);
    let names: Vec<&str> =
        cases.iter().flat_map(|case| case.seats.iter().map(|seat| seat.name)).collect();
    for name in names {
        if missing.iter().any(|known| known.name == name) {
            continue;
        }
        if let Some(why) = Contender::named(name).and_then(|known| known.missing(places)) {
            missing.push(Missing { name: name.into(), why });
        }
    }
    for case in &mut cases {
        case.seats.retain(|seat| missing.iter().all(|missing| missing.name != seat.name));
    }
    cases.retain(|case| !case.seats.is_empty());
    (cases, missing)
}
