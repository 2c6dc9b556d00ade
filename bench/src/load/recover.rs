//! The scenario `recover`: all are cut, miss something, and reconnect at once.
//!
//! Must not know the server. Invariant: every client recovers everything; CPU is counted from the
//! first reconnect to the last recovery, summed over rounds.

use super::clock::{self, SECOND};
use super::fanout::{equal_rooms, ready};
use super::fleet::Fleet;
use super::meter::{Figures, Meter, Times};
use super::options::Options;
use super::plan::Plan;
use super::schedule::Schedule;
use super::session;
use super::streams::Streams;
use anyhow::{Result, bail};

/// Publications per second while everybody is away.
const RATE: f64 = 5_000.0;
/// Time in which the server forgets those that were cut.
const SETTLE: u64 = SECOND / 2;
/// Time for a whole storm.
const STORM: u64 = 60 * SECOND;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example: 1,000 clients miss 20 publications and come back
  corecast-bench recover --url ws://127.0.0.1:8000/connection/websocket --connections 1000 \\
      --missed 20")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    #[arg(long, default_value_t = 100)]
    channels: usize,
    /// Publications that each misses.
    #[arg(long, default_value_t = 20)]
    missed: usize,
    /// Connects under way at once.
    #[arg(long, default_value_t = 64)]
    depth: usize,
    /// Storms; one more comes first and is not counted.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Channels are NAME-00000 and so on, in a namespace with recovery.
    #[arg(long, default_value = "chat:recover")]
    channel: String,
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    let options = &args.options;
    options.needs_centrifuge("recover")?;
    if options.processes > 1 {
        bail!("recover works in one process");
    }
    if [args.connections, args.channels, args.depth, args.rounds].contains(&0) {
        bail!("--connections, --channels, --depth and --rounds must be at least 1");
    }
    let each = args.connections.div_ceil(args.channels);
    let rooms = equal_rooms(&args.channel, args.channels, each, 1);
    let plan = Plan { rooms, publishers: Some(1), processes: 1, part: 0 };
    options.check(plan.connections())?;
    session::run("recover", options, serde_json::to_value(args)?, None, || {
        let (mut streams, mut fleet) = ready(options, plan)?;
        streams.times_returns = true;
        let mut sum = Figures::default();
        for number in 0..=args.rounds {
            let figures = round(args, &mut streams, &mut fleet);
            if number > 0 || figures.failure.is_some() {
                let window_s = sum.window_s + figures.window_s;
                sum.add(figures);
                sum.window_s = window_s;
            }
            if sum.failure.is_some() {
                break;
            }
        }
        Ok(sum)
    })
}

fn round(args: &Args, streams: &mut Streams, fleet: &mut Fleet) -> Figures {
    let subscribers = streams.subscribers();
    for who in &subscribers {
        streams.cut(&mut fleet.wire, *who);
    }
    pass(streams, fleet, SETTLE);
    publish(args, streams, fleet);
    pass(streams, fleet, SETTLE);
    let start = clock::now();
    let times = Times { open: start, close: u64::MAX };
    streams.meter =
        Some(Meter::new(times, &args.options.server_pid).watching(session::watch(&args.options)));
    storm(args, streams, fleet, &subscribers);
    let Some(meter) = &mut streams.meter else { return Figures::default() };
    meter.times.close = clock::now();
    if let Err(why) = meter.tick(clock::now()) {
        fleet.wire.fail(why);
    }
    let failure = fleet.wire.failure.take().or_else(|| streams.audit().err());
    let mut figures = streams.meter.as_ref().map(|m| m.figures(failure)).unwrap_or_default();
    figures.messages = subscribers.len() as u64;
    figures
}

/// Publishes to all clients that are offline, until everything is answered.
fn publish(args: &Args, streams: &mut Streams, fleet: &mut Fleet) {
    let count = (args.missed * streams.senders()) as f64;
    let start = clock::now();
    let schedule =
        Schedule::new(start, streams.next, RATE, (count + 0.5) / RATE, streams.senders());
    let times = Times { open: u64::MAX, close: u64::MAX };
    streams.begin(schedule, Meter::new(times, &[]));
    let deadline = start + STORM;
    while fleet.wire.failure.is_none() {
        let due = streams.pump(&mut fleet.wire, clock::now());
        if due == u64::MAX && streams.unanswered() == 0 {
            return;
        }
        if clock::now() > deadline {
            fleet.wire.fail(format!("{} publishes were not answered", streams.unanswered()));
        }
        fleet.turn(streams, due.min(clock::now() + SECOND / 100));
    }
}

/// Everybody comes back, few at a time.
fn storm(args: &Args, streams: &mut Streams, fleet: &mut Fleet, subscribers: &[usize]) {
    let bar = session::bar("recovering", subscribers.len() as u64);
    let (before, deadline) = (streams.resumed, clock::now() + STORM);
    let mut next = 0;
    while fleet.wire.failure.is_none() {
        let now = clock::now();
        if let Some(Err(why)) = streams.meter.as_mut().map(|meter| meter.tick(now)) {
            fleet.wire.fail(why);
        }
        let back = (streams.resumed - before) as usize;
        if back == subscribers.len() {
            break;
        }
        while next < subscribers.len() && next - back < args.depth {
            streams.come_back(&mut fleet.wire, subscribers[next], clock::now());
            next += 1;
        }
        if now > deadline {
            fleet.wire.fail(format!("only {back} of {} came back", subscribers.len()));
        }
        fleet.turn(streams, now + SECOND / 100);
        bar.set_position(back as u64);
    }
    bar.finish_and_clear();
}

/// Lets time pass.
fn pass(streams: &mut Streams, fleet: &mut Fleet, time: u64) {
    let until = clock::now() + time;
    while clock::now() < until && fleet.wire.failure.is_none() {
        fleet.turn(streams, until);
    }
}
