//! The scenario `idle`: memory and CPU of connections that do nothing.
//!
//! Must not know the server. Invariant: a slope is taken over settled states of the same
//! processes, so what the server takes at its start is not in it.

use super::clock::{self, SECOND};
use super::fanout::{grow, prepare};
use super::fleet::Fleet;
use super::meter::{Figures, Meter};
use super::options::Options;
use super::plan::{Plan, Room};
use super::session;
use super::streams::Streams;
use crate::proc;
use anyhow::{Result, bail};

/// Counts of connections at which memory is read: a line through them says more than two of them.
const STATES: usize = 6;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Examples: the memory of a connection; and its CPU, over a round of pings
  corecast-bench idle --url ws://127.0.0.1:8000/connection/websocket --server-pid $(pidof corecast)
  corecast-bench idle --url ws://127.0.0.1:8000/connection/websocket --server-pid $(pidof corecast) \\
      --from 0 --connections 10000 --window-s 50")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    /// Connections at the first reading; one process only.
    #[arg(long, default_value_t = 5_000)]
    from: usize,
    /// Connections at the last.
    #[arg(long, alias = "to", default_value_t = 15_000)]
    connections: usize,
    #[arg(long, default_value = "plain:idle")]
    channel: String,
    /// Channels that the subscriptions are spread over; 0: one for each connection.
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Pings that a connection is owed, on average, until the window closes: with fewer the run has
    /// failed.
    #[arg(long, default_value_t = 0)]
    pings_least: u64,
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    let options = &args.options;
    options.check(args.connections)?;
    if args.connections == 0 || args.from > args.connections {
        bail!("from {} to {} connections is no range", args.from, args.connections);
    }
    if options.server_pid.is_empty() {
        bail!("idle needs --server-pid, whose memory it reads");
    }
    session::run("idle", options, serde_json::to_value(args)?, None, || measure(args))
}

fn plan(args: &Args) -> Plan {
    let channels = if args.channels == 0 { args.connections } else { args.channels };
    let room = |number: usize| Room {
        name: if channels == 1 {
            args.channel.clone()
        } else {
            format!("{}-{number:07}", args.channel)
        },
        subscribers: (args.connections + channels - 1 - number) / channels,
        senders: 0,
    };
    let rooms = (0..channels).map(room).collect();
    let (processes, part) = (args.options.processes, args.options.part());
    Plan { rooms, publishers: Some(0), processes, part }
}

fn measure(args: &Args) -> Result<Figures> {
    let options = &args.options;
    let mut states = Vec::new();
    let alone = options.part.is_none();
    if alone {
        states.push((0, session::rss(&options.server_pid)?));
    }
    let own_before = proc::rss(std::process::id())?;
    let kernel = proc::kernel_bytes()?;
    let server = session::rss(&options.server_pid)?;
    let (mut streams, mut fleet) = prepare(options, plan(args))?;
    fleet.wire.lean = true;
    let total = streams.connections();
    if alone {
        grow_in_steps(args, &mut streams, &mut fleet, &mut states)?;
    } else {
        grow(&mut streams, &mut fleet, total)?;
    }
    let more_than = |now: u64, before: u64| now as f64 - before as f64;
    let own = more_than(proc::rss(std::process::id())?, own_before);
    let taken = more_than(proc::kernel_bytes()?, kernel)
        + more_than(session::rss(&options.server_pid)?, server)
        + own;
    let start = session::start_time(options, &mut fleet, &mut streams, total)?;
    streams.meter = Some(Meter::new(session::times(options, start), session::servers(options)));
    let pings = fleet.wire.pings;
    let mut figures = stay(&mut streams, &mut fleet);
    let (pinged, owed) = (fleet.wire.pings - pings, args.pings_least * total as u64);
    if pinged < owed && figures.failure.is_none() {
        figures.failure = Some(format!("{pinged} pings came until the window closed, not {owed}"));
    }
    (figures.deliveries, figures.rss) = (total as u64, states);
    let us = figures.server_cpu_ns as f64 / 1e3;
    let span = args.connections as f64 * figures.window_s.max(1e-9);
    let each = total as f64;
    let more = [
        ("server_cpu_us_per_connection_s", us / span),
        ("pings", pinged as f64),
        ("machine_bytes_per_connection", if alone { taken / each } else { 0.0 }),
        ("generator_bytes_per_connection", if alone { own / each } else { 0.0 }),
    ];
    figures.more.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok(figures)
}

/// From `--from` to all, reading memory at each step.
fn grow_in_steps(
    args: &Args,
    streams: &mut Streams,
    fleet: &mut Fleet,
    states: &mut Vec<(u64, u64)>,
) -> Result<()> {
    let total = streams.connections();
    let from = args.from.min(total);
    for number in 0..STATES {
        let size = from + (total - from) * number / (STATES - 1);
        grow(streams, fleet, size)?;
        let until = clock::now() + session::SETTLE.as_nanos() as u64;
        while clock::now() < until && fleet.wire.failure.is_none() {
            fleet.turn(streams, until);
        }
        if let Some(failure) = fleet.wire.failure.take() {
            bail!("{failure}");
        }
        if size > 0 {
            states.push((size as u64, session::rss(&args.options.server_pid)?));
        }
    }
    Ok(())
}

/// Answers pings until the window is over.
fn stay(streams: &mut Streams, fleet: &mut Fleet) -> Figures {
    loop {
        let now = clock::now();
        let Some(meter) = &mut streams.meter else { return Figures::default() };
        let close = meter.times.close;
        if let Err(why) = meter.tick(now) {
            fleet.wire.fail(why);
        }
        if now >= close || fleet.wire.failure.is_some() {
            return meter.figures(fleet.wire.failure.take());
        }
        fleet.turn(streams, close.min(now + SECOND / 50));
    }
}
