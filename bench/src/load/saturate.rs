//! The search for the highest rate at which latency stays within a limit.
//!
//! Must not know the server. Invariant: the rate that is printed was run for a whole window, with
//! every delivery judged, and held.

use super::clock::{self, SECOND};
use super::fleet::Fleet;
use super::meter::{Figures, Meter, Times};
use super::options::Options;
use super::schedule::Schedule;
use super::session;
use super::streams::Streams;
use super::window::measure_window;

/// A delivery so late means that the rate is far too high.
const HOPELESS: u64 = SECOND / 4;
const TRIAL_WARM_S: f64 = 0.3;
const TRIAL_S: f64 = 0.7;
/// How often it is looked whether a stretch can still hold.
const LOOK: u64 = SECOND / 100;
/// Time for the search: then the highest rate so far counts.
const SEARCH: u64 = 45 * SECOND;
/// Time for whole windows afterwards: some servers take ten seconds to recover from overload.
const WINDOWS: u64 = 90 * SECOND;
/// Trials of a rate, and windows: one that other load has disturbed is not a verdict.
const ATTEMPTS: u32 = 2;
/// The search ends when the bounds are so close.
const CLOSE_ENOUGH: f64 = 1.04;
const FIRST_RATE: f64 = 500.0;
/// A window of seconds meets more of the machine's own pauses than a trial.
const STEP_DOWN: f64 = 1.1;
/// At the end of a search this much more is tried: a bound that only noise has set falls then.
const DOUBT: f64 = 1.2;

/// What is searched for, and where it begins.
pub struct Search<'a> {
    pub options: &'a Options,
    /// Latency that is allowed.
    pub limit_ms: f64,
    pub first_rate: Option<f64>,
}

/// The rate that was found, and what was measured at it.
pub fn run(search_for: &Search<'_>, streams: &mut Streams, fleet: &mut Fleet) -> Figures {
    let limit = (search_for.limit_ms * 1e6) as u64;
    let begun = clock::now();
    let mut rate = match search(search_for, streams, fleet, limit, begun + SEARCH) {
        Ok(rate) => rate,
        Err(figures) => return *figures,
    };
    let seconds = (search_for.options.warm_s, search_for.options.window_s);
    // The whole window is harder than a trial: step down until one holds.
    while clock::now() < begun + SEARCH + WINDOWS {
        if let Some(held) = attempt(search_for, streams, fleet, rate, seconds, limit) {
            return Figures { offered_per_s: Some(rate), ..held };
        }
        rate /= STEP_DOWN;
    }
    let limit_ms = search_for.limit_ms;
    Figures::failed(format!("down to {rate:.0} a second, none holds {limit_ms} ms for the window"))
}

/// The highest rate, about, that holds for a short while; or the run that failed. At `end` it is
/// the highest so far.
fn search(
    search_for: &Search<'_>,
    streams: &mut Streams,
    fleet: &mut Fleet,
    limit: u64,
    end: u64,
) -> Result<f64, Box<Figures>> {
    let (mut holds, mut fails) = (0.0, f64::INFINITY);
    let mut rate = search_for.first_rate.unwrap_or(FIRST_RATE);
    let bar = session::bar("searching", 20);
    let mut doubted = false;
    loop {
        if rate < 1.0 {
            let why = format!("not even one message a second holds {} ms", search_for.limit_ms);
            return Err(Box::new(Figures::failed(why)));
        }
        let seconds = (TRIAL_WARM_S, TRIAL_S);
        let held = match attempt(search_for, streams, fleet, rate, seconds, limit) {
            Some(figures) if figures.failure.is_some() => return Err(Box::new(figures)),
            held => held.is_some(),
        };
        eprintln!("{rate:.0} per second: {}", if held { "holds" } else { "does not hold" });
        if held && rate > fails {
            (fails, doubted) = (f64::INFINITY, false);
        }
        (holds, fails) = if held { (rate, fails) } else { (holds, fails.min(rate)) };
        if holds > 0.0 && clock::now() > end {
            break;
        }
        rate = match (holds, fails) {
            (_, f64::INFINITY) => rate * 2.0,
            (0.0, _) => rate / 2.0,
            _ if fails / holds > CLOSE_ENOUGH => (holds * fails).sqrt(),
            _ if !doubted => {
                doubted = true;
                holds * DOUBT
            }
            _ => break,
        };
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(holds)
}

/// A stretch within the limit, or one that failed; `None` if the rate does not hold.
fn attempt(
    search_for: &Search<'_>,
    streams: &mut Streams,
    fleet: &mut Fleet,
    rate: f64,
    seconds: (f64, f64),
    limit: u64,
) -> Option<Figures> {
    for _ in 0..ATTEMPTS {
        let (hopeless, figures) = stretch(search_for, streams, fleet, rate, seconds, limit);
        let holds = !hopeless && figures.histogram().value_at_quantile(0.99) <= limit;
        if holds || figures.failure.is_some() {
            return Some(figures);
        }
    }
    None
}

/// One stretch at a rate; true: it could not hold any more and was broken off.
fn stretch(
    search_for: &Search<'_>,
    streams: &mut Streams,
    fleet: &mut Fleet,
    rate: f64,
    (warm_s, window_s): (f64, f64),
    limit: u64,
) -> (bool, Figures) {
    let start = clock::now() + SECOND / 100;
    let first = streams.next;
    let schedule = Schedule::new(start, first, rate, warm_s + window_s, streams.senders());
    let times = Times::new(start, warm_s, window_s);
    streams.begin(schedule, Meter::new(times, &search_for.options.server_pid));
    let before = first + (warm_s * rate) as u64;
    let window = streams.deliveries_of(first + schedule.count) - streams.deliveries_of(before);
    let mut look = times.open;
    while fleet.wire.failure.is_none() {
        let now = clock::now();
        if now >= times.close {
            break;
        }
        let due = streams.pump(&mut fleet.wire, now);
        fleet.turn(streams, due.min(times.close));
        let old = now.saturating_sub(HOPELESS);
        let mut hopeless = false;
        if old > start {
            let sent = ((old - start) as f64 / 1e9 * rate) as u64;
            hopeless = streams.delivered < streams.deliveries_of(first + sent.min(schedule.count));
        }
        if now > look {
            look = now + LOOK;
            let late = streams.meter.as_ref().map_or(0, |meter| meter.beyond(limit));
            hopeless |= late * 100 > window;
        }
        if hopeless {
            streams.stop_here();
            return (true, measure_window(streams, fleet, None, 0.0));
        }
    }
    (false, measure_window(streams, fleet, None, 0.0))
}
