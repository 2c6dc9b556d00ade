//! Runs simulated hosts from seeds: 1,000 clean ones, a single one again, or with a rule switched off.
//!
//! `scripts/sim` is the way in. Exit 1 when a clean seed fails, or a broken rule is not found.

use clap::Parser;
use corecast::rules::{RULES, Rule, switch_off};
use corecast::sim::plan::Size;
use corecast::sim::run::{Outcome, quiet_panics, run};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Simulates whole hosts, each from one seed")]
struct Arguments {
    /// Run only this seed, and print what was drawn and what was found.
    seed: Option<u64>,
    /// Seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Switch a rule off, or each in turn: the violation must be found within the seeds.
    #[arg(long, value_name = "RULE|all")]
    sabotage: Option<String>,
    /// What CI runs: the clean seeds, then every rule.
    #[arg(long)]
    ci: bool,
    /// Threads; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    quiet_panics();
    if let Some(seed) = arguments.seed {
        let rules = named(arguments.sabotage.as_deref().unwrap_or(""));
        switch_off(rules.first().map(|(_, rule)| *rule));
        let outcome = run(seed, Size::Standard);
        println!("{}", outcome.plan);
        println!("{}", outcome.figures());
        outcome.violations.iter().for_each(|found| println!("{found}"));
        return exit(outcome.is_clean());
    }
    let mut good = true;
    if arguments.ci || arguments.sabotage.is_none() {
        good &= clean(&arguments);
    }
    let rule = if arguments.ci { Some("all") } else { arguments.sabotage.as_deref() };
    if let Some(rule) = rule {
        good &= broken(rule, &arguments);
    }
    exit(good)
}

fn exit(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn named(name: &str) -> Vec<(&'static str, Rule)> {
    RULES.iter().filter(|(text, _)| name == "all" || name == *text).copied().collect()
}

/// Runs the seeds without sabotage; true when all are clean.
fn clean(arguments: &Arguments) -> bool {
    let started = Instant::now();
    let (failed, figures) = (Mutex::new(Vec::new()), Mutex::new(Figures::default()));
    each_seed(arguments, |outcome| {
        figures.lock().expect("no thread panics").add(&outcome);
        if !outcome.is_clean() {
            failed.lock().expect("no thread panics").push(outcome);
        }
        true
    });
    let mut failed = failed.into_inner().expect("no thread panics");
    failed.sort_by_key(|outcome: &Outcome| outcome.seed);
    for outcome in failed.iter().take(10) {
        let first = outcome.violations.first().map(ToString::to_string).unwrap_or_default();
        println!("seed {}: {first}", outcome.seed);
        println!("    replay: scripts/sim {}", outcome.seed);
    }
    let figures = figures.into_inner().expect("no thread panics");
    let seconds = started.elapsed().as_secs_f64();
    let (seeds, bad) = (arguments.seeds, failed.len());
    println!("{seeds} seeds in {seconds:.1} s, {bad} failed; {figures}");
    failed.is_empty()
}

/// Breaks each rule until the simulation notices; true if it notices all.
fn broken(name: &str, arguments: &Arguments) -> bool {
    let rules = named(name);
    if rules.is_empty() {
        let known: Vec<_> = RULES.iter().map(|(text, _)| *text).collect();
        println!("no rule is called {name}; there are: {}", known.join(" "));
        return false;
    }
    let mut good = true;
    println!("{:<16} {:>6} {:>7}  violation", "rule", "seed", "s");
    for (text, rule) in rules {
        let started = Instant::now();
        let first: Mutex<Option<Outcome>> = Mutex::new(None);
        switch_off(Some(rule));
        each_seed(arguments, |outcome| {
            let mut first = first.lock().expect("no thread panics");
            if !outcome.is_clean() && first.as_ref().is_none_or(|it| outcome.seed < it.seed) {
                *first = Some(outcome);
            }
            first.is_none()
        });
        switch_off(None);
        let seconds = started.elapsed().as_secs_f64();
        match first.into_inner().expect("no thread panics") {
            Some(outcome) => {
                let kind = outcome.violations.first().map(ToString::to_string).unwrap_or_default();
                println!("{text:<16} {:>6} {seconds:>7.1}  {}", outcome.seed, short(&kind));
            }
            None => {
                good = false;
                println!("{text:<16} {:>6} {seconds:>7.1}  NOT FOUND", "-");
            }
        }
    }
    good
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Runs the seeds on all threads, as long as `go_on` says so.
fn each_seed(arguments: &Arguments, go_on: impl Fn(Outcome) -> bool + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if arguments.threads == 0 { cores } else { arguments.threads };
    let end = arguments.from + arguments.seeds;
    let (next, done) = (AtomicU64::new(arguments.from), AtomicU64::new(0));
    let bar = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if !go_on(run(seed, Size::Standard)) {
                        next.store(end, Ordering::Relaxed);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if bar {
                        let _ = write!(std::io::stderr(), "\r{done} of {}", arguments.seeds);
                    }
                }
            });
        }
    });
    if bar {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// Totals of all runs: a simulation that does little finds little.
#[derive(Default)]
struct Figures {
    publications: u64,
    deliveries: u64,
    turns: u64,
    told: u64,
    latest_us: u64,
    most_passed: u32,
    stages_cut: u64,
    arena_over: usize,
}

impl Figures {
    fn add(&mut self, outcome: &Outcome) {
        self.publications += outcome.publications;
        self.deliveries += outcome.deliveries;
        self.turns += outcome.turns;
        self.told += outcome.told;
        self.latest_us = self.latest_us.max(outcome.latest_us);
        self.most_passed = self.most_passed.max(outcome.most_passed);
        self.stages_cut += outcome.stages_cut;
        self.arena_over = self.arena_over.max(outcome.arena_over);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} publications, {} deliveries, {} turns; told {} times; latest delivery {} us; most \
             passed {}; {} stages cut; arena over by {}",
            self.publications,
            self.deliveries,
            self.turns,
            self.told,
            self.latest_us,
            self.most_passed,
            self.stages_cut,
            self.arena_over
        )
    }
}
