//! The options of all scenarios.
//!
//! Must not know any scenario. Invariant: what is checked here is not checked again.

use crate::load::wire_state::user_name;
use crate::net::Target;
use crate::proc;
use crate::wire::{Dialect, LEAST_PAYLOAD, Shape, Tongue};
use anyhow::{Result, bail};

/// Sockets of one process: below the limit of 20,000 descriptors that many hosts have.
const SOCKETS: usize = 19_900;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub struct Options {
    /// Where the server is, ws://ADDRESS:PORT/PATH. Raw and Socket.IO servers have paths of their
    /// own.
    #[arg(long)]
    pub url: Target,
    #[arg(long, value_enum, default_value = "centrifuge-json")]
    pub dialect: Dialect,
    /// Where publishers connect, if elsewhere: another node over the same Redis.
    #[arg(long)]
    pub publish_url: Option<Target>,
    /// Publishers do not go elsewhere after all: nobody does.
    #[arg(long)]
    #[serde(skip)]
    pub nobody_elsewhere: bool,
    /// Port on 127.0.0.1 of the Redis whose commands are counted.
    #[arg(long)]
    pub redis_port: Option<u16>,
    /// Bytes of a payload as JSON; plain messages are made so long that their frames have as many
    /// bytes.
    #[arg(long, default_value_t = 64)]
    pub payload_bytes: usize,
    /// Seconds before the window: not in the figures.
    #[arg(long, default_value_t = 1.0)]
    pub warm_s: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 4.0)]
    pub window_s: f64,
    /// Processes of the server, whose CPU time is measured (all their threads).
    #[arg(long, value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// Core to run on.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// HS256 secret: every connection is a user with a token. Without it they are anonymous.
    #[arg(long, alias = "secret")]
    #[serde(skip)]
    pub token_secret: Option<String>,
    /// Share the connections among so many processes, of at most 19,900 sockets each.
    #[arg(long, default_value_t = 1)]
    pub processes: usize,
    /// Never sleep: exacter times, for a whole core.
    #[arg(long)]
    pub spin: bool,
    /// Print one line of JSON on stdout. Progress goes to stderr.
    #[arg(long)]
    pub json: bool,
    /// Which of the processes this is.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub part: Option<usize>,
}

impl Options {
    /// What dialect with messages for that purpose.
    #[must_use]
    pub fn tongue(&self, shape: Shape) -> Tongue {
        Tongue::new(self.dialect, self.payload_bytes, shape)
    }

    /// Messages to a channel of that name.
    #[must_use]
    pub fn pushes(&self, channel: &str) -> Shape {
        let user = self.token_secret.as_ref().map_or(0, |_| user_name(0).len());
        Shape::Push { channel: channel.len(), user }
    }

    /// This process's part, of `processes`.
    #[must_use]
    pub fn part(&self) -> usize {
        self.part.unwrap_or(0)
    }

    /// Seconds of warm-up and window.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.warm_s + self.window_s
    }

    /// Is this dialect one of the Centrifuge protocol's? Else says which scenario needs it.
    ///
    /// # Errors
    /// When it is not.
    pub fn needs_centrifuge(&self, scenario: &str) -> Result<()> {
        if matches!(self.dialect, Dialect::Raw | Dialect::Socketio) {
            bail!("{scenario} needs a dialect of the Centrifuge protocol");
        }
        Ok(())
    }

    /// # Errors
    /// When the options do not fit together, or not the machine.
    pub fn check(&self, connections: usize) -> Result<()> {
        if self.payload_bytes < LEAST_PAYLOAD {
            bail!("--payload-bytes {}: the least is {LEAST_PAYLOAD}", self.payload_bytes);
        }
        let window = self.window_s > 0.0 && self.window_s.is_finite();
        if !window || self.warm_s < 0.0 || !self.warm_s.is_finite() {
            bail!("--window-s must be above 0, and --warm-s not below");
        }
        if self.processes == 0 {
            bail!("--processes must be at least 1");
        }
        let each = connections.div_ceil(self.processes);
        let limit = SOCKETS.min(proc::sockets() as usize);
        if each > limit {
            let enough = connections.div_ceil(limit);
            bail!("{each} sockets in one process, of at most {limit}: try --processes {enough}");
        }
        for pid in &self.server_pid {
            if proc::ended(*pid) {
                bail!("--server-pid {pid}: there is no such process");
            }
        }
        Ok(())
    }
}

/// How messages are paced.
#[derive(Clone, Debug, clap::Args, serde::Serialize)]
pub struct Pace {
    /// Open loop: messages per second over all senders, each at its time whatever happens.
    #[arg(long, conflicts_with = "closed")]
    pub rate: Option<f64>,
    /// Closed loop: a sender's next message goes out when one of its own has arrived.
    #[arg(long)]
    pub closed: bool,
    /// Closed loop: messages of one sender under way.
    #[arg(long, default_value_t = 1)]
    pub depth: usize,
}

impl Pace {
    /// Messages per second; `None` for a closed loop.
    ///
    /// # Errors
    /// If the rate or the depth is invalid.
    pub fn rate(&self, default: f64) -> Result<Option<f64>> {
        if self.closed {
            if self.depth == 0 {
                bail!("--depth must be at least 1");
            }
            return Ok(None);
        }
        let rate = self.rate.unwrap_or(default);
        if !(rate > 0.0 && rate.is_finite()) {
            bail!("--rate {rate} is no rate");
        }
        Ok(Some(rate))
    }
}
