//! The goals of the design, one row each: what is bounded, in which case, and what cannot be
//! judged.
//!
//! Must not judge. Invariant: every goal is here, even if nothing measures it yet.

use super::contender::{OURS, OVER_REDIS, SPINNING, TWO_WORKERS};
use super::results::Metric;

/// A bound on a ratio of two contenders in a case, or on a figure of one.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub case: &'static str,
    pub ours: &'static str,
    /// Empty: the figure itself is bound.
    pub to: &'static str,
    /// None: the figure that the case compares.
    pub metric: Option<Metric>,
    pub at_most: bool,
    pub bound: f64,
    /// Where the interval has to be on the bound's side for the goal to be met: at 1 for a goal
    /// that says better than a peer, which a median alone does not show.
    pub clear_of: Option<f64>,
}

const EPOLL: &str = "corecast-epoll";
const UWEBSOCKETS: &str = "uwebsockets";
/// The library that Centrifugo is made of, in a program of ours: the harder bound.
const CENTRIFUGE: &str = "centrifuge";
const CENTRIFUGO: &str = "centrifugo";

/// How a row gets its figure.
#[derive(Clone, Copy, Debug)]
pub enum Judge {
    /// A bound on a ratio of two contenders in a case, or on a figure of one.
    Case(Bound),
    /// Instructions of a delivery, counted by scripts/instructions, at most so many.
    Instructions(f64),
    /// Nothing here can judge it, and why.
    Not(&'static str),
}

/// One row of the table of goals.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub what: &'static str,
    pub judge: Judge,
}

const fn at_most(
    what: &'static str,
    case: &'static str,
    ours: &'static str,
    to: &'static str,
    bound: f64,
) -> Goal {
    let bound = Bound { case, ours, to, metric: None, at_most: true, bound, clear_of: None };
    Goal { what, judge: Judge::Case(bound) }
}

/// At least so many times what a peer does.
const fn at_least(what: &'static str, case: &'static str, to: &'static str, bound: f64) -> Goal {
    let ours = OURS;
    let bound = Bound { case, ours, to, metric: None, at_most: false, bound, clear_of: None };
    Goal { what, judge: Judge::Case(bound) }
}

/// At least so many times what somebody else publishes with history through Redis.
const fn through_redis(what: &'static str, to: &'static str, bound: f64) -> Goal {
    let (case, ours) = ("redis-history", OVER_REDIS);
    let bound = Bound { case, ours, to, metric: None, at_most: false, bound, clear_of: None };
    Goal { what, judge: Judge::Case(bound) }
}

const fn not(what: &'static str, why: &'static str) -> Goal {
    Goal { what, judge: Judge::Not(why) }
}

impl Goal {
    /// The same, for a goal that claims to be better than a peer.
    const fn beats(self) -> Goal {
        match self.judge {
            Judge::Case(bound) => {
                let bound = Bound { clear_of: Some(1.0), ..bound };
                Goal { judge: Judge::Case(bound), ..self }
            }
            _ => self,
        }
    }

    /// The same, of another figure than the case compares.
    const fn by(self, metric: Metric) -> Goal {
        match self.judge {
            Judge::Case(bound) => {
                let bound = Bound { metric: Some(metric), ..bound };
                Goal { judge: Judge::Case(bound), ..self }
            }
            _ => self,
        }
    }
}

/// In the design's order.
pub const GOALS: [Goal; 33] = [
    at_most("CPU per delivery, 1 to 1,000, to uWebSockets", "fanout", OURS, UWEBSOCKETS, 0.95)
        .beats(),
    at_most("CPU per delivery, to the floor program", "fanout", OURS, "floor-ring", 1.05),
    at_most("CPU per delivery, to Centrifugo's library", "fanout", OURS, CENTRIFUGE, 0.48).beats(),
    // On a slow machine 100,000 a second fill its core, and it joins messages to one write.
    at_most("the same, at 50,000 deliveries/s", "everybody", OURS, CENTRIFUGE, 0.48).beats(),
    at_most("the same, to Centrifugo itself", "everybody", OURS, CENTRIFUGO, 0.48).beats(),
    at_most("CPU per delivery on epoll, to uWebSockets", "fanout", EPOLL, UWEBSOCKETS, 1.05),
    at_least(
        "32 publishers to 250, deliveries/s at p99 <= 5 ms, to uWebSockets",
        "saturate",
        UWEBSOCKETS,
        1.0,
    )
    .beats(),
    at_least("the same, to Centrifugo's library", "saturate", CENTRIFUGE, 2.5).beats(),
    at_least("the same, to Centrifugo itself", "saturate", CENTRIFUGO, 2.5).beats(),
    at_most(
        "CPU per delivery, one channel over 2 workers, to 1",
        "workers",
        TWO_WORKERS,
        OURS,
        1.1,
    ),
    at_most("CPU per command, to uWebSockets' raw echo", "echo", OURS, UWEBSOCKETS, 1.10),
    at_most("the same, the aim", "echo", OURS, UWEBSOCKETS, 1.0).beats(),
    at_most("CPU per raw echo, to uWebSockets", "echo", "corecast-io_uring-raw", UWEBSOCKETS, 1.0)
        .beats(),
    Goal {
        what: "instructions per delivery, its thousandth of the publication taken off",
        judge: Judge::Instructions(100.0),
    },
    at_most("resident bytes per idle connection, io_uring", "idle", OURS, "", 512.0),
    at_most("the same, then", "idle", OURS, "", 256.0),
    at_most("resident bytes per idle connection, epoll", "idle", EPOLL, "", 512.0),
    at_most("the same, then", "idle", EPOLL, "", 256.0),
    not(
        "resident memory without clients, connections_per_worker 100 and the most, within 1 MiB",
        "not of this suite: held by tests/bounds/connections.rs, on both drivers",
    ),
    at_most(
        "machine's bytes per connection, io_uring, to bare sockets",
        "idle",
        OURS,
        "floor-ring",
        1.1,
    )
    .by(Metric::MachineBytes),
    at_most(
        "machine's bytes per connection, epoll, to bare sockets",
        "idle",
        EPOLL,
        "floor-epoll",
        1.1,
    )
    .by(Metric::MachineBytes),
    at_most("CPU us/s per idle connection, pings every 25 s, io_uring", "pings", OURS, "", 0.25),
    at_most("CPU us/s per idle connection, pings every 25 s, epoll", "pings", EPOLL, "", 0.25),
    at_most("CPU us per connect, io_uring", "connect", OURS, "", 30.0),
    at_most("CPU us per connect, epoll", "connect", EPOLL, "", 30.0),
    at_most(
        "CPU per HTTP publish, io_uring, to Centrifugo's library",
        "http",
        OURS,
        CENTRIFUGE,
        0.5,
    )
    .beats(),
    at_most("CPU per HTTP publish, epoll, to Centrifugo's library", "http", EPOLL, CENTRIFUGE, 0.5)
        .beats(),
    at_most("CPU per HTTP publish, io_uring, to Centrifugo itself", "http", OURS, CENTRIFUGO, 0.5)
        .beats(),
    at_most(
        "hop between cores, spinning (lane and a turn), to the floor's line",
        "hop-spin",
        SPINNING,
        "floor-hop",
        1.3,
    ),
    at_most(
        "hop between cores, asleep (lane, doorbell, wake-up and a turn), to the floor's wake-up",
        "hop",
        TWO_WORKERS,
        "floor-wake",
        1.05,
    ),
    through_redis("publishes with history through Redis, to the script alone", "script-16", 0.85),
    through_redis("the same, to Centrifugo over Redis", "centrifugo-redis", 2.0).beats(),
    not(
        "1,000,000 idle connections on 2 cores and 24 GiB",
        "not of this suite: scripts/million records it in bench/results",
    ),
];
