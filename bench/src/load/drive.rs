//! The loop of every scenario: sends what is due, receives, and waits for what is missing.
//!
//! Must not know what is sent. Invariant: a scenario ends when nothing is missing, or with the
//! reason why it failed.

use super::clock::{self, SECOND};
use super::fleet::{Fleet, Handler};
use super::meter::Times;
use super::session::LAST_DELIVERY;
use super::wire_state::Wire;

/// What a scenario sends and waits for.
pub trait Driven: Handler {
    /// The window that is measured; none ends the loop.
    fn times(&self) -> Option<Times>;

    /// Sends what is due; when the next message is, or never.
    ///
    /// # Errors
    /// Why the run is void.
    fn send_due(&mut self, wire: &mut Wire, now: u64) -> Result<u64, String>;

    /// How much has not come yet of what was sent.
    fn missing(&self, wire: &Wire) -> u64;

    /// Says what did not come, and why, where that is known.
    fn describe(&self, missing: u64) -> String;
}

/// Runs until all has come, or the run failed. `beside` does what else is due in each turn, and
/// says when it is due next.
pub fn drive<D: Driven>(
    driven: &mut D,
    fleet: &mut Fleet,
    mut beside: impl FnMut(&mut D, &mut Wire, u64) -> u64,
) {
    // What is missed, and since when no more of it came: a server far behind loses nothing.
    let mut behind = (0, 0);
    while fleet.wire.failure.is_none() {
        let now = clock::now();
        let due = match driven.send_due(&mut fleet.wire, now) {
            Ok(due) => due.min(beside(driven, &mut fleet.wire, now)),
            Err(why) => return fleet.wire.fail(why),
        };
        let Some(times) = driven.times() else { return };
        if now >= times.close && due == u64::MAX {
            let missing = driven.missing(&fleet.wire);
            if missing == 0 {
                return;
            }
            if missing != behind.0 {
                behind = (missing, now);
            }
            if now > behind.1 + LAST_DELIVERY {
                let late = LAST_DELIVERY / SECOND;
                let what = driven.describe(missing);
                return fleet.wire.fail(format!("{what} did not come within {late} s"));
            }
        }
        let next = if now < times.open { times.open } else { times.close.max(now + SECOND / 100) };
        fleet.turn(driven, due.min(next));
    }
}

/// For scenarios that have nothing else to do.
pub fn nothing_beside<D>(_driven: &mut D, _wire: &mut Wire, _now: u64) -> u64 {
    u64::MAX
}
