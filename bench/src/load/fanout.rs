//! The scenarios `fanout`, `rooms` and `p2p`: publications to the members of rooms.
//!
//! Must not know the server. Invariant: printed figures are of deliveries that were all checked.

use super::churn::Churn;
use super::clock::{self, SECOND};
use super::fleet::Fleet;
use super::meter::{Figures, Meter};
use super::options::{Options, Pace};
use super::plan::{Plan, Room};
use super::saturate;
use super::schedule::Schedule;
use super::session::{self, LAST_DELIVERY};
use super::streams::Streams;
use anyhow::{Result, bail};

/// How long it is listened for deliveries too many.
const LINGER: u64 = SECOND / 20;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Examples:
  corecast-bench fanout --url ws://127.0.0.1:8000/connection/websocket --server-pid $(pidof corecast)
  corecast-bench fanout --url ws://127.0.0.1:9001/ --dialect raw --publishers 32 --subscribers 250 \\
      --saturate --json")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    pub options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pub pace: Pace,
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: usize,
    #[arg(long, default_value = "plain:bench")]
    pub channel: String,
    /// Search the highest rate at which the 99th percentile is at most --limit-ms.
    #[arg(long, conflicts_with = "closed")]
    pub saturate: bool,
    /// Latency that a saturation search allows.
    #[arg(long, default_value_t = 5.0)]
    pub limit_ms: f64,
}

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example: a hundred rooms of fifty, each with two who talk
  corecast-bench rooms --url ws://127.0.0.1:8000/connection/websocket --rooms 100 \\
      --subscribers 50 --publishers 2 --rate 2000")]
pub struct RoomsArgs {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pace: Pace,
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Publishers of each room.
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Subscribers of each room.
    #[arg(long, default_value_t = 20)]
    subscribers: usize,
    /// Rooms are NAME-00000 and so on.
    #[arg(long, default_value = "plain:room")]
    channel: String,
}

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example:
  corecast-bench p2p --url ws://127.0.0.1:8000/connection/websocket --connections 1000 --closed")]
pub struct PairsArgs {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pace: Pace,
    /// Half of them send, each to one of the other half.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    #[arg(long, default_value = "plain:pair")]
    channel: String,
}

fn plan(options: &Options, rooms: Vec<Room>) -> Plan {
    Plan { rooms, publishers: None, processes: options.processes, part: options.part() }
}

/// Rooms of one size.
#[must_use]
pub fn equal_rooms(name: &str, count: usize, subscribers: usize, senders: usize) -> Vec<Room> {
    let name = |number: usize| format!("{name}-{number:05}");
    (0..count).map(|number| Room { name: name(number), subscribers, senders }).collect()
}

/// # Errors
/// When the run could not begin.
pub fn fanout(args: &Args) -> Result<bool> {
    let name = args.channel.clone();
    let rooms = vec![Room { name, subscribers: args.subscribers, senders: args.publishers }];
    if !args.saturate {
        return measure(
            "fanout",
            &args.options,
            &args.pace,
            serde_json::to_value(args)?,
            rooms,
            100.0,
        );
    }
    if args.options.processes > 1 {
        bail!("--saturate works in one process");
    }
    let plan = plan(&args.options, rooms);
    args.options.check(plan.connections())?;
    let own = serde_json::to_value(args)?;
    session::run("fanout", &args.options, own, None, || {
        let (mut streams, mut fleet) = ready(&args.options, plan)?;
        Ok(saturate::run(args, &mut streams, &mut fleet))
    })
}

/// # Errors
/// When the run could not begin.
pub fn rooms(args: &RoomsArgs) -> Result<bool> {
    let rooms = equal_rooms(&args.channel, args.rooms, args.subscribers, args.publishers);
    let own = serde_json::to_value(args)?;
    measure("rooms", &args.options, &args.pace, own, rooms, 1_000.0)
}

/// # Errors
/// When the run could not begin.
pub fn pairs(args: &PairsArgs) -> Result<bool> {
    let rooms = equal_rooms(&args.channel, args.connections / 2, 1, 1);
    let own = serde_json::to_value(args)?;
    measure("p2p", &args.options, &args.pace, own, rooms, 10_000.0)
}

fn measure(
    scenario: &str,
    options: &Options,
    pace: &Pace,
    own: serde_json::Value,
    rooms: Vec<Room>,
    default_rate: f64,
) -> Result<bool> {
    if rooms.iter().all(|room| room.subscribers == 0 || room.senders == 0) {
        bail!("there is nobody to send, or nobody to listen");
    }
    let rate = pace.rate(default_rate)?;
    if rate.is_none() && options.processes > 1 {
        bail!("--closed works in one process");
    }
    let plan = plan(options, rooms);
    options.check(plan.connections())?;
    session::run(scenario, options, own, rate, || {
        let (mut streams, mut fleet) = ready(options, plan)?;
        let all = streams.connections();
        let start = session::start_time(options, &mut fleet, &mut streams, all)?;
        let meter = Meter::new(session::times(options, start), session::servers(options));
        match rate {
            Some(rate) => {
                let senders = streams.senders();
                let schedule = Schedule::new(start, 0, rate, options.seconds(), senders);
                streams.begin(schedule, meter);
            }
            None => streams.begin_closed(pace.depth, meter),
        }
        Ok(drive(&mut streams, &mut fleet, None, options.window_s))
    })
}

/// Everybody connected and subscribed.
///
/// # Errors
/// If a connection or subscription fails.
pub fn ready(options: &Options, plan: Plan) -> Result<(Streams, Fleet)> {
    let (mut streams, mut fleet) = prepare(options, plan)?;
    let everybody = streams.connections();
    grow(&mut streams, &mut fleet, everybody)?;
    Ok((streams, fleet))
}

/// All clients known, and none connected.
///
/// # Errors
/// If the kernel offers no ring.
pub fn prepare(options: &Options, plan: Plan) -> Result<(Streams, Fleet)> {
    let name = plan.rooms.iter().map(|room| room.name.as_str()).max_by_key(|name| name.len());
    let tongue = options.tongue(options.pushes(name.unwrap_or_default()));
    let names = plan.rooms.iter().map(|room| room.name.clone()).collect();
    let streams = Streams::new(plan, !tongue.acknowledges());
    let mut fleet = session::fleet(options, tongue)?;
    fleet.wire.rooms = names;
    Ok((streams, fleet))
}

/// Connects and subscribes the first `size` of them.
///
/// # Errors
/// If a connection or subscription fails.
pub fn grow(streams: &mut Streams, fleet: &mut Fleet, size: usize) -> Result<()> {
    session::grow(
        fleet,
        streams,
        streams.ready..size,
        |s| s.ready,
        |fleet, streams, who| {
            fleet.wire.open(who, Some(streams.room(who)));
        },
    );
    match fleet.wire.failure.take() {
        None => Ok(()),
        Some(failure) => bail!("{failure}"),
    }
}

/// Sends, receives and judges until all has arrived.
pub fn drive(
    streams: &mut Streams,
    fleet: &mut Fleet,
    mut churn: Option<&mut Churn>,
    window_s: f64,
) -> Figures {
    let bar = session::bar("measuring", (window_s * 10.0) as u64);
    let acknowledges = fleet.wire.tongue.acknowledges();
    // How much is missing, and since when that has not changed: a slow server loses nothing.
    let mut behind = (0, 0);
    while fleet.wire.failure.is_none() {
        let now = clock::now();
        let mut due = streams.pump(&mut fleet.wire, now);
        if let Some(churn) = &mut churn {
            due = due.min(churn.pump(streams, &mut fleet.wire, now));
        }
        let Some(times) = streams.meter.as_ref().map(|meter| meter.times) else { break };
        if now >= times.close && due == u64::MAX {
            let missing = streams.missing(acknowledges);
            if missing == 0 {
                break;
            }
            if missing != behind.0 {
                behind = (missing, now);
            }
            if now > behind.1 + LAST_DELIVERY {
                let why = streams.audit().err().unwrap_or_else(|| "publishes".into());
                let late = LAST_DELIVERY / SECOND;
                fleet.wire.fail(format!(
                    "{missing} deliveries or answers did not come within {late} s: {why}"
                ));
            }
        }
        let next = if now < times.open { times.open } else { times.close.max(now + SECOND / 100) };
        fleet.turn(streams, due.min(next));
        bar.set_position(
            (now.saturating_sub(times.open) / (SECOND / 10)).min(bar.length().unwrap_or(0)),
        );
    }
    bar.finish_and_clear();
    // What came twice may have come last.
    let until = clock::now() + LINGER;
    while fleet.wire.failure.is_none() && clock::now() < until {
        fleet.turn(streams, until);
    }
    finish(streams, fleet)
}

/// What was measured and judged.
fn finish(streams: &mut Streams, fleet: &mut Fleet) -> Figures {
    let failure = fleet.wire.failure.take().or_else(|| streams.audit().err());
    let Some(meter) = &streams.meter else { return Figures::failed("nothing was sent".into()) };
    let mut figures = meter.figures(failure);
    figures.more.insert("late_us_max".into(), streams.late as f64 / 1e3);
    figures.more.insert("frame_bytes".into(), fleet.wire.frame_bytes as f64);
    if streams.resumed > 0 {
        figures.more.insert("resumed".into(), streams.resumed as f64);
        figures.more.insert("recovered".into(), streams.recovered as f64);
    }
    if streams.answered > 0 {
        figures.more.insert("answered".into(), streams.answered as f64);
    }
    figures
}
