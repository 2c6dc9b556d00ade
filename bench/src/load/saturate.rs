//! The search for the highest rate at which latency stays within a limit.
//!
//! Must not know the server. Invariant: the rate that is printed was run for a whole window, with
//! every delivery judged, and held.

use super::clock::{self, SECOND};
use super::fanout::{Args, drive};
use super::fleet::Fleet;
use super::meter::{Figures, Meter, Times};
use super::schedule::Schedule;
use super::session;
use super::streams::Streams;
use anyhow::Result;
use serde_json::Value;

/// A delivery so late means that the rate is far too high.
const HOPELESS: u64 = SECOND / 4;
const TRIAL_WARM_S: f64 = 0.3;
const TRIAL_S: f64 = 0.7;
const ATTEMPTS: usize = 2;
/// The search ends when the bounds are so close.
const CLOSE_ENOUGH: f64 = 1.04;
const FIRST_RATE: f64 = 500.0;
const WINDOWS: usize = 6;

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args, own: Value, streams: &mut Streams, fleet: &mut Fleet) -> Result<bool> {
    session::pin(args.options.cpu)?;
    let limit = (args.limit_ms * 1e6) as u64;
    let mut rate = search(args, streams, fleet, limit);
    let mut figures = Figures::failed("no rate holds the limit".into());
    // The whole window is harder than a trial: step down until one holds.
    for _ in 0..WINDOWS {
        if fleet.wire.failure.is_some() || rate < 1.0 {
            break;
        }
        let (warm, window) = (args.options.warm_s, args.options.window_s);
        let held = (0..ATTEMPTS).find_map(|_| {
            stretch(args, streams, fleet, rate, (warm, window)).filter(|held| {
                held.failure.is_some() || held.histogram().value_at_quantile(0.99) <= limit
            })
        });
        if let Some(held) = held {
            figures = held;
            break;
        }
        rate /= CLOSE_ENOUGH;
    }
    figures.failure = fleet.wire.failure.take().or(figures.failure);
    session::run("fanout", &args.options, own, Some(rate), || Ok(figures))
}

/// The highest rate, about, that holds for a short while.
fn search(args: &Args, streams: &mut Streams, fleet: &mut Fleet, limit: u64) -> f64 {
    let (mut holds, mut fails) = (0.0, f64::INFINITY);
    let mut rate = args.pace.rate.unwrap_or(FIRST_RATE);
    let bar = session::bar("searching", 20);
    while fails / holds > CLOSE_ENOUGH && fleet.wire.failure.is_none() && rate >= 1.0 {
        // One bad moment of the machine is no verdict.
        let held = (0..ATTEMPTS).any(|_| {
            let figures = stretch(args, streams, fleet, rate, (TRIAL_WARM_S, TRIAL_S));
            figures.is_some_and(|figures| {
                figures.failure.is_none() && figures.histogram().value_at_quantile(0.99) <= limit
            })
        });
        eprintln!("{rate:.0} per second: {}", if held { "holds" } else { "does not hold" });
        if held {
            holds = rate
        } else {
            fails = rate
        }
        rate = match (holds, fails) {
            (_, f64::INFINITY) => rate * 2.0,
            (0.0, _) => rate / 2.0,
            _ => (holds * fails).sqrt(),
        };
        bar.inc(1);
    }
    bar.finish_and_clear();
    holds
}

/// One stretch at a rate; none if it is hopeless and was broken off.
fn stretch(
    args: &Args,
    streams: &mut Streams,
    fleet: &mut Fleet,
    rate: f64,
    (warm_s, window_s): (f64, f64),
) -> Option<Figures> {
    let start = clock::now() + SECOND / 100;
    let first = streams.next;
    let schedule = Schedule::new(start, first, rate, warm_s + window_s, streams.senders());
    let times = Times::new(start, warm_s, window_s);
    streams.begin(schedule, Meter::new(times, &args.options.server_pid));
    while fleet.wire.failure.is_none() {
        let now = clock::now();
        if now >= times.close {
            break;
        }
        let due = streams.pump(&mut fleet.wire, now);
        fleet.turn(streams, due.min(times.close));
        let old = now.saturating_sub(HOPELESS);
        if old > start {
            let sent = ((old - start) as f64 / 1e9 * rate) as u64;
            if streams.delivered < streams.deliveries_of(first + sent.min(schedule.count)) {
                streams.stop_here();
                drive(streams, fleet, None, 0.0);
                return None;
            }
        }
    }
    Some(drive(streams, fleet, None, 0.0))
}
