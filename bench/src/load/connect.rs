//! The scenario `connect`: a storm of connects. Closing is not in the figures.
//!
//! Must not know the server. Invariant: connections are cut between the rounds that are measured.

use super::clock::{self, SECOND};
use super::fleet::{Fleet, Handler};
use super::meter::{Figures, Meter, Times};
use super::options::{Options, Pace};
use super::schedule::Schedule;
use super::session;
use super::wire_state::Wire;
use crate::wire::{Said, Shape};
use anyhow::{Result, bail};

/// Time in which the server forgets the connections of a round.
const SETTLE: u64 = SECOND / 2;
const ROUND: u64 = 60 * SECOND;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Examples:
  corecast-bench connect --url ws://127.0.0.1:8000/connection/websocket --connections 4000
  corecast-bench connect --url ws://127.0.0.1:8000/connection/websocket --rate 2000 --rounds 1")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pace: Pace,
    /// Connects of one round; a closed loop has 64 under way, or --depth if that is more.
    #[arg(long, default_value_t = 4_000)]
    connections: usize,
    /// Rounds; one more, of a tenth, comes first and is not counted.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

struct Storm {
    intended: Vec<u64>,
    ready: usize,
    meter: Meter,
}

impl Handler for Storm {
    fn opened(&mut self, _wire: &mut Wire, who: usize, now: u64) {
        self.ready += 1;
        self.meter.arrived(self.intended[who], now);
    }

    fn said(&mut self, wire: &mut Wire, who: usize, said: Said<'_>, _now: u64) {
        if let Said::Refused { code, message, .. } = said {
            wire.fail(format!("connection {who} was refused: {code} {message}"));
        }
    }
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    let options = &args.options;
    options.check(args.connections)?;
    if options.processes > 1 {
        bail!("connect works in one process");
    }
    if args.connections == 0 || args.rounds == 0 {
        bail!("--connections and --rounds must be at least 1");
    }
    let rate = args.pace.rate.map(|_| args.pace.rate(0.0)).transpose()?.flatten();
    session::run("connect", options, serde_json::to_value(args)?, rate, || {
        let mut fleet = session::fleet(options, options.tongue(Shape::Echo))?;
        fleet.wire.rooms = vec!["connect".into()];
        let mut sum = Figures::default();
        for number in 0..=args.rounds {
            let count = if number == 0 { args.connections / 10 } else { args.connections };
            let figures = round(args, &mut fleet, count, rate);
            if number > 0 || figures.failure.is_some() {
                let window_s = sum.window_s + figures.window_s;
                sum.add(figures);
                sum.window_s = window_s;
            }
            if sum.failure.is_some() {
                break;
            }
        }
        let per_s = sum.deliveries as f64 / sum.window_s;
        sum.more.insert("connects_per_s".into(), per_s);
        Ok(sum)
    })
}

fn round(args: &Args, fleet: &mut Fleet, count: usize, rate: Option<f64>) -> Figures {
    let start = clock::now();
    let times = Times { open: start, close: u64::MAX };
    let meter = Meter::new(times, &args.options.server_pid);
    let mut storm = Storm { intended: vec![0; count], ready: 0, meter };
    if let Err(why) = storm.meter.tick(start) {
        return Figures::failed(why);
    }
    let schedule = rate.map(|rate| Schedule::new(start, 0, rate, f64::from(u32::MAX), 1));
    let at_once = args.pace.depth.max(64);
    let bar = session::bar("connecting", count as u64);
    let mut next = 0;
    while fleet.wire.failure.is_none() && storm.ready < count {
        let now = clock::now();
        let mut due = now + SECOND / 100;
        while next < count {
            let time = match schedule {
                Some(schedule) => schedule.time(next as u64),
                None if next - storm.ready < at_once => clock::now(),
                None => break,
            };
            if time > clock::now() {
                due = due.min(time);
                break;
            }
            storm.intended[next] = time;
            storm.meter.sent();
            fleet.wire.open(next, None);
            next += 1;
        }
        if now > start + ROUND {
            fleet.wire.fail(format!("only {} of {count} connected", storm.ready));
        }
        fleet.turn(&mut storm, due);
        bar.set_position(storm.ready as u64);
    }
    bar.finish_and_clear();
    storm.meter.times.close = clock::now();
    if let Err(why) = storm.meter.tick(clock::now()) {
        fleet.wire.fail(why);
    }
    let figures = storm.meter.figures(fleet.wire.failure.clone());
    (0..count).for_each(|who| _ = fleet.wire.cut(who));
    let until = clock::now() + SETTLE;
    while clock::now() < until {
        fleet.turn(&mut storm, until);
    }
    figures
}
