//! When a floor program pings which connection.
//!
//! Must not know sockets. Invariant: every connection is pinged once per interval, in steps as long
//! as a gateway's, with an equal share in each.

use super::rooms::Rooms;
use crate::load::clock;
use std::time::Duration;

/// Nanoseconds from one step to the next.
const STEP: u64 = clock::SECOND / 4;
/// The wait of a program without pings.
const IDLE: Duration = Duration::from_secs(3_600);

/// Whose turn comes when.
pub struct Pings {
    steps: u32,
    step: u32,
    due: u64,
}

impl Pings {
    /// Pings once in so many milliseconds, at least a step; 0: never.
    #[must_use]
    pub fn new(interval_ms: u32, now: u64) -> Pings {
        let interval = u64::from(interval_ms) * (clock::SECOND / 1_000);
        let steps = if interval == 0 { 0 } else { (interval / STEP).max(1) as u32 };
        Pings { steps, step: 0, due: now + STEP }
    }

    /// How long to wait for the next step.
    #[must_use]
    pub fn wait(&self, now: u64) -> Duration {
        if self.steps == 0 { IDLE } else { Duration::from_nanos(self.due.saturating_sub(now)) }
    }

    /// Says a ping to those whose turn it is.
    pub fn say(&mut self, rooms: &mut Rooms, now: u64) {
        if self.steps == 0 || now < self.due {
            return;
        }
        rooms.ping(self.step, self.steps);
        self.step = (self.step + 1) % self.steps;
        self.due += STEP;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws;

    #[test]
    fn everybody_is_pinged_once_in_an_interval() {
        let mut rooms = Rooms::default();
        for who in 0..10 {
            rooms.came(who);
            assert!(rooms.received(who, &ws::upgrade_request("h", "/echo", "")));
        }
        rooms.flush(|sends| assert_eq!(sends.count(), 10));
        let mut pings = Pings::new(1_000, 0);
        let mut pinged = Vec::new();
        let mut now = 0;
        for _ in 0..4 {
            assert_eq!(pings.wait(now), Duration::from_nanos(STEP));
            now += STEP;
            pings.say(&mut rooms, now - 1);
            rooms.flush(|_| panic!("before its time"));
            pings.say(&mut rooms, now);
            rooms.flush(|sends| {
                pinged.extend(sends.map(|(who, bytes)| {
                    assert_eq!(bytes, [0x80 | ws::PING, 2, b'{', b'}']);
                    who
                }));
            });
        }
        pinged.sort_unstable();
        assert_eq!(pinged, (0..10).collect::<Vec<_>>());
        assert_eq!(Pings::new(0, 0).wait(0), IDLE);
    }
}
