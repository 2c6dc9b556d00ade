//! Connections that are cut and reconnect, and calls, while publications continue.
//!
//! Must not judge: `Streams` does. Invariant: every connection that is cut reconnects, and none is
//! cut after the window.

use super::clock::SECOND;
use super::streams::Streams;
use super::wire_state::Wire;
use crate::rng::Rng;
use std::collections::VecDeque;

/// Something that happens so many times a second.
struct Beat {
    interval: u64,
    next: u64,
}

impl Beat {
    fn new(start: u64, per_s: f64) -> Beat {
        let interval = if per_s > 0.0 { (SECOND as f64 / per_s) as u64 } else { u64::MAX };
        Beat { interval, next: start.saturating_add(interval) }
    }

    fn is_due(&mut self, now: u64) -> bool {
        let due = self.next <= now;
        if due {
            self.next = self.next.saturating_add(self.interval.max(1));
        }
        due
    }
}

pub struct Churn {
    subscribers: Vec<usize>,
    cuts: Beat,
    calls: Beat,
    /// Nanoseconds from a cut to the return.
    away: u64,
    gone: VecDeque<(u64, usize)>,
    rng: Rng,
    close: u64,
}

impl Churn {
    /// So many cuts and calls per second among these connections, until `close`.
    #[must_use]
    pub fn new(
        subscribers: Vec<usize>,
        (start, close): (u64, u64),
        cuts_per_s: f64,
        away_ms: u64,
        calls_per_s: f64,
    ) -> Churn {
        Churn {
            subscribers,
            cuts: Beat::new(start, cuts_per_s),
            calls: Beat::new(start, calls_per_s),
            away: away_ms * SECOND / 1_000,
            gone: VecDeque::new(),
            rng: Rng::new(0xc47),
            close,
        }
    }

    /// Does what is due; when the next is.
    pub fn pump(&mut self, streams: &mut Streams, wire: &mut Wire, now: u64) -> u64 {
        while self.gone.front().is_some_and(|(back, _)| *back <= now) {
            if let Some((_, who)) = self.gone.pop_front() {
                streams.come_back(wire, who, now);
            }
        }
        let back = self.gone.front().map_or(u64::MAX, |(back, _)| *back);
        if now >= self.close {
            return back;
        }
        while self.cuts.is_due(now) {
            if let Some(who) = self.choose(streams) {
                streams.cut(wire, who);
                self.gone.push_back((now + self.away, who));
            }
        }
        while self.calls.is_due(now) {
            if let Some(who) = self.choose(streams) {
                streams.call(wire, who);
            }
        }
        back.min(self.cuts.next).min(self.calls.next)
    }

    fn choose(&mut self, streams: &Streams) -> Option<usize> {
        let who = self.subscribers[self.rng.below(self.subscribers.len())];
        streams.is_there(who).then_some(who)
    }
}
