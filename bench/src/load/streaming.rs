//! The scenarios `tokens` and `mixed`: publications to clients that come and go.
//!
//! Must not know the server. Invariant: in the end a client that was offline has everything that
//! was sent meanwhile.

use super::churn::Churn;
use super::fanout::{equal_rooms, ready};
use super::meter::Meter;
use super::options::Options;
use super::plan::{Plan, Room};
use super::schedule::Schedule;
use super::session;
use super::window::measure_window;
use anyhow::{Result, bail};
use serde_json::Value;

/// Messages per second to each user: as language models answer.
const TOKENS_PER_S: f64 = 30.0;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example: 1,000 answers at once, 20 readers a second lose their connection
  corecast-bench tokens --url ws://127.0.0.1:8000/connection/websocket --connections 1000")]
pub struct TokensArgs {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    /// Messages per second over all users; 30 for each if it is not given.
    #[arg(long)]
    rate: Option<f64>,
    /// Users, each with a stream of its own.
    #[arg(long, default_value_t = 200)]
    connections: usize,
    /// Connections that publish.
    #[arg(long, default_value_t = 4)]
    publishers: usize,
    /// Connections cut per second; a fiftieth of them if it is not given.
    #[arg(long)]
    cuts_per_s: Option<f64>,
    /// From a cut to the return.
    #[arg(long, default_value_t = 200)]
    away_ms: u64,
    /// Streams are NAME-00000 and so on, in a namespace with recovery.
    #[arg(long, default_value = "chat:tokens")]
    channel: String,
}

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example:
  corecast-bench mixed --url ws://127.0.0.1:8000/connection/websocket --connections 2000")]
pub struct MixedArgs {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    /// Messages per second over all rooms.
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// People: half in pairs, a quarter in rooms of ten, a quarter in one large room.
    #[arg(long, default_value_t = 400)]
    connections: usize,
    /// Connections that publish for all.
    #[arg(long, default_value_t = 8)]
    publishers: usize,
    /// Connections cut per second; a hundredth of them if it is not given.
    #[arg(long)]
    cuts_per_s: Option<f64>,
    /// From a cut to the return.
    #[arg(long, default_value_t = 200)]
    away_ms: u64,
    /// Calls (rpc) per second.
    #[arg(long, default_value_t = 100.0)]
    calls_per_s: f64,
    /// Rooms are NAME-00000 and so on, in a namespace with recovery.
    #[arg(long, default_value = "chat:mixed")]
    channel: String,
}

/// What happens beside publications.
struct Life {
    rate: f64,
    cuts_per_s: f64,
    away_ms: u64,
    calls_per_s: f64,
}

/// # Errors
/// When the run could not begin.
pub fn tokens(args: &TokensArgs) -> Result<bool> {
    let rooms = equal_rooms(&args.channel, args.connections, 1, 1);
    let users = args.connections as f64;
    let life = Life {
        rate: args.rate.unwrap_or(users * TOKENS_PER_S),
        cuts_per_s: args.cuts_per_s.unwrap_or(users / 50.0),
        away_ms: args.away_ms,
        calls_per_s: 0.0,
    };
    measure("tokens", &args.options, serde_json::to_value(args)?, rooms, args.publishers, &life)
}

/// # Errors
/// When the run could not begin.
pub fn mixed(args: &MixedArgs) -> Result<bool> {
    let people = args.connections;
    let sizes = std::iter::repeat_n(2, people / 4)
        .chain(std::iter::repeat_n(10, people / 40))
        .chain((people >= 4).then_some(people / 4));
    let name = |number: usize| format!("{}-{number:05}", args.channel);
    let room = |(number, subscribers): (usize, usize)| Room {
        name: name(number),
        subscribers,
        senders: subscribers.div_ceil(10),
    };
    let life = Life {
        rate: args.rate,
        cuts_per_s: args.cuts_per_s.unwrap_or(people as f64 / 100.0),
        away_ms: args.away_ms,
        calls_per_s: args.calls_per_s,
    };
    let rooms: Vec<Room> = sizes.enumerate().map(room).collect();
    measure("mixed", &args.options, serde_json::to_value(args)?, rooms, args.publishers, &life)
}

fn measure(
    scenario: &str,
    options: &Options,
    own: Value,
    rooms: Vec<Room>,
    publishers: usize,
    life: &Life,
) -> Result<bool> {
    options.needs_centrifuge(scenario)?;
    let rates = [life.rate, life.cuts_per_s, life.calls_per_s];
    if publishers == 0 || rooms.is_empty() || life.rate <= 0.0 {
        bail!("there is nobody to send, or nobody to listen");
    }
    if rates.iter().any(|rate| *rate < 0.0 || !rate.is_finite()) {
        bail!("a rate per second that is none");
    }
    let plan = Plan {
        rooms,
        publishers: Some(publishers),
        processes: options.processes,
        part: options.part(),
    };
    options.check(plan.connections())?;
    session::run(scenario, options, own, Some(life.rate), || {
        let (mut streams, mut fleet) = ready(options, plan)?;
        let all = streams.connections();
        let start = session::start_time(options, &mut fleet, &mut streams, all)?;
        let times = session::times(options, start);
        let senders = streams.senders();
        let schedule = Schedule::new(start, 0, life.rate, options.seconds(), senders);
        streams.begin(schedule, Meter::new(times, session::servers(options)));
        let subscribers = streams.subscribers();
        if subscribers.is_empty() {
            bail!("more processes than subscribers");
        }
        let span = (start, times.close);
        let share = options.processes as f64;
        let (cuts, calls) = (life.cuts_per_s / share, life.calls_per_s / share);
        let mut churn = Churn::new(subscribers, span, cuts, life.away_ms, calls);
        Ok(measure_window(&mut streams, &mut fleet, Some(&mut churn), options.window_s))
    })
}
