//! Deadlines that have passed: pings, pongs, tokens, and connections that took too long.

use crate::clock::Now;
use crate::codec::command::Disconnect;
use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge};

impl Edge {
    /// Handles the deadlines that have passed.
    pub fn timers(&mut self, now: Now) {
        while let Some((tick, entries)) = self.wheel.expire(now.monotonic_ms()) {
            for &index in &entries {
                // A free place has tick 0, which no entry has.
                if self.places.get(index).timer_tick != tick {
                    continue;
                }
                let conn = self.places.id(index);
                self.at(conn).timer_tick = 0;
                if self.expires_ms(conn) <= now.monotonic_ms() {
                    self.expire(conn, now);
                }
                let deadline = self.at(conn).deadline_ms;
                if deadline > now.monotonic_ms() {
                    self.set_deadline(conn, deadline);
                } else {
                    self.deadline(conn, now);
                }
            }
            self.wheel.recycle(tick, entries);
        }
        self.keep_pace(now);
        self.tell_left_out(Some(now));
    }

    /// The next deadline, in milliseconds of the process.
    #[must_use]
    pub fn next_timer_ms(&self) -> Option<u64> {
        let others = [self.refusals.next_ms(), self.next_pace_ms()];
        self.wheel.next_ms().into_iter().chain(others.into_iter().flatten()).min()
    }

    fn deadline(&mut self, conn: ConnectionId, now: Now) {
        let it = self.at(conn);
        let ours = it.facts.has(Fact::Paused) || it.facts.has(Fact::AwaitsConnect);
        match it.life {
            Life::Http => self.http_deadline(conn, now),
            Life::Authenticating if ours => {
                // The server causes the delay, so its time does not count.
                let wait = u64::from(self.times.connect_timeout_ms);
                self.set_deadline(conn, now.monotonic_ms() + wait);
            }
            Life::Authenticating => self.close_with(conn, Disconnect::Stale, now),
            Life::Active => self.ping_deadline(conn, now),
            Life::Closing => {
                if self.take_moved(conn) {
                    self.await_close(conn, now);
                } else {
                    self.close_now(conn, now);
                }
            }
            Life::Dead | Life::Free => {}
        }
    }
}
