//! The rounds of a case: every server once, then every server once in the other order, and so on.
//!
//! Must not know what the figures mean. Invariant: a server that failed once has no more runs and
//! its reason is kept; the others continue.

use super::contender::{API_KEY, Contender, Kind, Places};
use super::generator::{self, ByServer, Interrupted, Order};
use super::machine::Cores;
use super::plan::{Pace, Planned, Seat};
use super::results::{COULD_NOT, Case, Entry, Run};
use super::server::{Ports, Server};
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// HS256 secret of ours and of the generator's tokens, for runs that end with the set.
const SECRET: &str = "bench-bench-bench-bench-bench-bench";
/// The first run of a server is thrown away: its code is compiled and its pools grow.
const FIRST_RUN: Pace = Pace { rounds: 1, warm_s: 0.5, window_s: 1.0 };

/// Time for a search, or for what takes as long as it takes.
const OPEN_END: Duration = Duration::from_secs(120);

/// All that runs have in common.
pub struct Rounds {
    pub places: Places,
    pub cores: Cores,
    pub usable: Vec<usize>,
    pub ports: Ports,
    pub pace: Pace,
    pub stop: Interrupted,
    pub bar: ProgressBar,
}

/// A seat that is taken.
struct Place<'a> {
    contender: Contender,
    seat: &'a Seat,
    server: Option<Server>,
    entry: Entry,
}

/// How many runs a case has, for the bar.
#[must_use]
pub fn runs(planned: &Planned, pace: Pace) -> u64 {
    let rounds = pace.rounds.min(planned.rounds_max);
    let first = u32::from(has_first_run(planned));
    u64::from(rounds + first) * planned.seats.len() as u64
}

fn has_first_run(planned: &Planned) -> bool {
    planned.windowed && !planned.fresh && !planned.options.iter().any(|word| word == "--saturate")
}

/// A bar where there is a terminal; elsewhere each run is a line.
///
/// # Panics
/// Never: the template is a constant.
#[must_use]
pub fn bar(runs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}");
    ProgressBar::new(runs).with_style(style.expect("a constant template"))
}

impl Rounds {
    /// Runs a case to its end.
    ///
    /// # Errors
    /// Only an interrupt: what goes wrong with a contender is in its entry.
    pub fn case(&mut self, planned: &Planned) -> Result<Case> {
        let seats = planned.seats.iter().filter_map(|seat| {
            let contender = Contender::named(seat.name)?;
            let entry = Entry {
                name: seat.name.into(),
                label: contender.label.into(),
                dialect: contender.dialect.into(),
                note: seat.note.clone(),
                runs: Vec::new(),
                failure: None,
                outcome: None,
            };
            Some(Place { contender, seat, server: None, entry })
        });
        let mut places: Vec<Place<'_>> = seats.collect();
        let first = if has_first_run(planned) { 0 } else { 1 };
        for round in first..=self.pace.rounds.min(planned.rounds_max) {
            for turn in 0..places.len() {
                let index = if round % 2 == 1 { turn } else { places.len() - 1 - turn };
                self.bar.inc(1);
                self.step(planned, &mut places[index], round)?;
            }
        }
        for place in &mut places {
            if let Some(server) = place.server.take() {
                server.stop();
            }
        }
        let entries: Vec<Entry> = places.into_iter().map(|place| place.entry).collect();
        let is_whole = |entry: &Entry| entry.failure.is_none() || entry.outcome.is_some();
        Ok(Case {
            id: planned.id.clone(),
            title: planned.title.clone(),
            scenario: planned.scenario.into(),
            metric: planned.metric,
            options: planned.options.clone(),
            point: planned.point.clone(),
            complete: Some(entries.iter().all(is_whole)),
            entries,
        })
    }

    /// One run of one server, recorded or reported.
    fn step(&mut self, planned: &Planned, place: &mut Place<'_>, round: u32) -> Result<()> {
        if place.entry.failure.is_some() {
            return Ok(());
        }
        let doing = format!("{}, round {round}: {}", planned.id, place.entry.label);
        let began = Instant::now();
        self.bar.set_message(doing.clone());
        let done = self.run(planned, place, round);
        if self.bar.is_hidden() {
            eprintln!("{doing}, {} s", began.elapsed().as_secs());
        }
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        match done {
            // The first is thrown away.
            Ok(_) if round == 0 => {}
            Ok(run) => place.entry.runs.push(run),
            Err(error) => {
                let why = format!("{error:#}");
                self.bar.suspend(|| {
                    eprintln!(
                        "{}: {} failed in round {round}: {why}",
                        planned.id, place.entry.label
                    );
                });
                place.entry.failure = Some(format!("round {round}: {why}"));
                if place.contender.is_peer() && error.is::<ByServer>() {
                    place.entry.outcome = Some(COULD_NOT.into());
                }
                place.server = None;
            }
        }
        Ok(())
    }

    /// The cores of the server, and of the generator.
    fn cpus(&self, planned: &Planned, contender: Contender) -> (Vec<usize>, Vec<usize>) {
        let (all, workers) = (self.usable.clone(), contender.workers());
        if planned.spread && contender.has_redis() {
            // A node, its bridge and Redis are three threads that want a core.
            return (all.clone(), all);
        }
        let first = all[..workers.min(all.len())].to_vec();
        if planned.spread {
            (first, all)
        } else if planned.cores > 2 {
            (first, vec![self.cores.generator])
        } else {
            (vec![self.cores.server], vec![self.cores.generator])
        }
    }

    fn run(&mut self, planned: &Planned, place: &mut Place<'_>, round: u32) -> Result<Run> {
        let pace = if round == 0 { FIRST_RUN } else { self.pace };
        let measured = if has_first_run(planned) {
            Duration::from_secs_f64(pace.warm_s + pace.window_s)
        } else {
            OPEN_END
        };
        let (server_cpus, cpus) = self.cpus(planned, place.contender);
        let (program, scratch) = (self.places.generator.clone(), self.places.scratch.clone());
        if let Kind::Threads { program: threads } = place.contender.kind {
            let arguments = threads_arguments(threads, &self.usable, pace);
            let cpus = self.usable.clone();
            let order = Order { program, arguments, cpus, measured, scratch };
            return generator::run(&order, None, round, &self.stop);
        }
        if place.server.is_none() {
            place.server = Some(Server::start(
                &place.contender,
                &self.places,
                (planned.scenario, planned.nodes),
                &server_cpus,
                SECRET,
                &mut self.ports,
            )?);
        }
        let server = place.server.as_mut().context("a server that was just started")?;
        server.must_run()?;
        let mut arguments = arguments(planned, place.contender, place.seat, server, pace, &cpus);
        if planned.scenario == "hop" && planned.spread {
            arguments.extend(["--worker-cpus".to_owned(), list(&server_cpus)]);
        }
        let order = Order { program, arguments, cpus, measured, scratch };
        let done = generator::run(&order, Some(&mut *server), round, &self.stop);
        if planned.fresh
            && let Some(server) = place.server.take()
        {
            server.stop();
        }
        done
    }
}

fn list<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<String>>().join(",")
}

/// The command line of a floor program that needs no server.
fn threads_arguments(program: &str, usable: &[usize], pace: Pace) -> Vec<String> {
    let cpus = list(&usable[..2.min(usable.len())]);
    let window = pace.window_s.to_string();
    let words = ["floor", program, "--cpus", &cpus, "--window-s", &window, "--json"];
    words.map(str::to_owned).into()
}

/// The generator's command line.
fn arguments(
    planned: &Planned,
    contender: Contender,
    seat: &Seat,
    server: &Server,
    pace: Pace,
    cpus: &[usize],
) -> Vec<String> {
    let mut arguments: Vec<String> = vec![
        contender.scenario(planned.scenario).into(),
        "--url".into(),
        contender.url(planned.scenario, server.port),
        "--dialect".into(),
        contender.dialect.into(),
        "--server-pid".into(),
        list(&server.pids()),
        "--json".into(),
    ];
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    if planned.windowed {
        add("--warm-s", pace.warm_s.to_string());
        add("--window-s", pace.window_s.to_string());
    }
    if let [cpu] = cpus {
        add("--cpu", cpu.to_string());
    }
    // Plain frames are as long as those of users with a token. Centrifugo's library checks none.
    if contender.takes_tokens() || contender.dialect == "raw" {
        add("--token-secret", SECRET.into());
    }
    if planned.scenario == "http" {
        add("--api-url", format!("http://127.0.0.1:{}/api/publish", server.port));
        add("--api-key", API_KEY.into());
    }
    let own = contender.has_redis().then_some(server.port);
    let own = own.filter(|_| !contender.needs_redis());
    if let Some(port) = server.redis_port().or(own) {
        add("--redis-port", port.to_string());
    }
    if let Some(port) = server.other_port() {
        add("--publish-url", contender.url(planned.scenario, port));
    }
    arguments.extend(planned.options_of(contender, seat));
    arguments
}
