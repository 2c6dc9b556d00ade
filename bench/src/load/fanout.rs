//! The scenarios `fanout`, `rooms` and `p2p`: publications to the members of rooms.
//!
//! Must not know the server. Invariant: printed figures are of deliveries that were all checked.

use super::fleet::Fleet;
use super::meter::Meter;
use super::options::{Options, Pace};
use super::plan::{Plan, Room};
use super::saturate::{self, Search};
use super::schedule::Schedule;
use super::session;
use super::streams::Streams;
use super::window::measure_window;
use anyhow::{Result, bail};

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
        let search =
            Search { options: &args.options, limit_ms: args.limit_ms, first_rate: args.pace.rate };
        Ok(saturate::run(&search, &mut streams, &mut fleet))
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
        let meter = Meter::new(session::times(options, start), session::servers(options))
            .watching(session::watch(options));
        match rate {
            Some(rate) => {
                let senders = streams.senders();
                let schedule = Schedule::new(start, 0, rate, options.seconds(), senders);
                streams.begin(schedule, meter);
            }
            None => streams.begin_closed(pace.depth, meter),
        }
        Ok(measure_window(&mut streams, &mut fleet, None, options.window_s))
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
    let listening = |room: &Room| (0..room.subscribers).filter(|one| plan.is_ours(*one)).count();
    let publishers_from = plan.rooms.iter().map(listening).sum();
    let streams = Streams::new(plan, !tongue.acknowledges());
    let mut fleet = session::fleet(options, tongue)?;
    fleet.wire.rooms = names;
    let elsewhere = options.publish_url.clone().filter(|_| !options.nobody_elsewhere);
    fleet.wire.elsewhere = elsewhere.map(|url| (publishers_from, url));
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
