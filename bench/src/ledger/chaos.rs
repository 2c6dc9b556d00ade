//! Which connections are killed, how and when: random from one seed, in whatever state they are.
//!
//! Must not know the judge. Invariant: a connection that it stalls is released again.

use super::run::{Run, State};
use crate::client::{Client, Key, Kill};
use crate::rng::Rng;
use std::fmt;
use std::time::{Duration, Instant};

/// How long a killed member stays away, at most.
const AWAY_MS: usize = 150;
/// How long a stalled member does not read, at most.
const STALL_MS: usize = 300;

pub struct Chaos {
    rng: Rng,
    rate: f64,
    started: Instant,
    /// Kills and stalls so far: what the rate is held against.
    acts: u64,
    resets: u64,
    ends: u64,
    closes: u64,
    stalls: u64,
    of_publishers: u64,
    early: u64,
    stalled: Vec<(Instant, Key)>,
}

impl Chaos {
    pub fn new(rng: Rng, rate: f64) -> Chaos {
        Chaos {
            rng,
            rate,
            started: Instant::now(),
            acts: 0,
            resets: 0,
            ends: 0,
            closes: 0,
            stalls: 0,
            of_publishers: 0,
            early: 0,
            stalled: Vec::new(),
        }
    }

    pub fn killed(&self) -> u64 {
        self.resets + self.ends + self.closes
    }

    /// Does what is due: kills, stalls, and ends of stalls.
    pub fn act(&mut self, client: &mut Client, run: &mut Run) {
        let now = Instant::now();
        self.stalled.retain(|(until, key)| {
            let over = *until <= now;
            if over {
                client.stall(*key, false);
            }
            !over
        });
        while (self.acts as f64) < self.started.elapsed().as_secs_f64() * self.rate {
            self.acts += 1;
            self.one(client, run);
        }
    }

    /// Lets go of everything stalled.
    pub fn rest(&mut self, client: &mut Client) {
        for (_, key) in self.stalled.drain(..) {
            client.stall(key, false);
        }
    }

    fn one(&mut self, client: &mut Client, run: &mut Run) {
        // Publishers are few: every fourth kill is theirs.
        let publisher = self.rng.below(4) == 0;
        let chosen: Vec<usize> = (0..run.members.len())
            .filter(|tag| {
                let member = &run.members[*tag];
                member.publisher.is_some() == publisher && member.key.is_some()
            })
            .collect();
        if chosen.is_empty() {
            return;
        }
        let tag = chosen[self.rng.below(chosen.len())];
        let Some(key) = run.members[tag].key else { return };
        let how = match self.rng.below(16) {
            0..=6 => Kill::Reset,
            7..=12 => Kill::Fin,
            13 => Kill::Close,
            _ => {
                self.stalls += 1;
                let until = Duration::from_millis(self.rng.below(STALL_MS) as u64);
                client.stall(key, true);
                self.stalled.push((Instant::now() + until, key));
                return;
            }
        };
        match how {
            Kill::Reset => self.resets += 1,
            Kill::Fin => self.ends += 1,
            Kill::Close => self.closes += 1,
        }
        self.of_publishers += u64::from(publisher);
        self.early += u64::from(run.members[tag].state != State::Live);
        client.kill(key, how);
        let away = Duration::from_millis(self.rng.below(AWAY_MS) as u64);
        run.lost(tag, Instant::now() + away);
    }
}

impl fmt::Display for Chaos {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} connections killed ({} by RST, {} by FIN, {} by close frame; {} of publishers, {} before \
             they had joined), {} stalled",
            self.killed(),
            self.resets,
            self.ends,
            self.closes,
            self.of_publishers,
            self.early,
            self.stalls
        )
    }
}
