//! A window of publications to rooms: sent, received and judged.
//!
//! Must not know the server. Invariant: what is measured was delivered and checked, all of it.

use super::churn::Churn;
use super::clock::{self, SECOND};
use super::drive::{Driven, drive};
use super::fleet::Fleet;
use super::meter::{Figures, Times};
use super::session;
use super::streams::Streams;
use super::wire_state::Wire;

/// How long it is listened for deliveries too many.
const LINGER: u64 = SECOND / 20;

impl Driven for Streams {
    fn times(&self) -> Option<Times> {
        self.meter.as_ref().map(|meter| meter.times)
    }

    fn send_due(&mut self, wire: &mut Wire, now: u64) -> Result<u64, String> {
        Ok(self.pump(wire, now))
    }

    fn missing(&self, wire: &Wire) -> u64 {
        self.missing(wire.tongue.acknowledges())
    }

    fn describe(&self, missing: u64) -> String {
        let why = self.audit().err().unwrap_or_else(|| "publishes".into());
        format!("{missing} deliveries or answers ({why})")
    }
}

/// Sends, receives and judges until all has arrived.
pub fn measure_window(
    streams: &mut Streams,
    fleet: &mut Fleet,
    mut churn: Option<&mut Churn>,
    window_s: f64,
) -> Figures {
    let bar = session::bar("measuring", (window_s * 10.0) as u64);
    drive(streams, fleet, |streams, wire, now| {
        let due = churn.as_mut().map_or(u64::MAX, |churn| churn.pump(streams, wire, now));
        let open = streams.times().map_or(now, |times| times.open);
        bar.set_position((now.saturating_sub(open) / (SECOND / 10)).min(bar.length().unwrap_or(0)));
        due
    });
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
