//! The scenario `script`: the script that publishes with history, sent to Redis by nobody but us.
//!
//! It is the most that any server could reach with that script. Must not know a server. Invariant:
//! every publication got the id after the one before in its channel.

use super::clock::{self, SECOND};
use super::meter::{Figures, Meter};
use super::options::Options;
use super::redis::{Redis, Reply, append};
use super::session;
use anyhow::{Context, Result, bail};

/// The script itself, as the server sends it.
const SCRIPT: &str = include_str!("../../../src/bridge/redis/pub.lua");
/// What a block has beside its payload, roughly.
const BESIDE: usize = 60;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example: of a Redis on port 7399
  corecast-bench script --url ws://127.0.0.1:7399/ --batch 16")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    /// Publications of one call.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Calls that are written at once; so many more wait meanwhile.
    #[arg(long, default_value_t = 8)]
    depth: usize,
    /// Channels, which the publications of a call are shared among.
    #[arg(long, default_value_t = 16)]
    channels: usize,
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    if [args.batch, args.depth, args.channels].contains(&0) {
        bail!("--batch, --depth and --channels must be at least 1");
    }
    args.options.check(1)?;
    session::run("script", &args.options, serde_json::to_value(args)?, None, || measure(args))
}

fn measure(args: &Args) -> Result<Figures> {
    let options = &args.options;
    let mut redis = Redis::connect(options.url.address.port())?;
    let digest = redis.text(&["SCRIPT", "LOAD", SCRIPT])?;
    let names: Vec<String> = (0..args.channels).map(|at| format!("cc:script-{at}")).collect();
    for name in &names {
        redis.text(&["DEL", name])?;
        redis.text(&["XADD", name, "1-1", "b", ""])?;
    }
    let mut calls = Calls { args, digest, names, next: 0, came: 0, lasts: vec![1; args.channels] };
    let times = session::times(options, clock::now());
    let mut meter = Meter::new(times, &options.server_pid).watching(session::watch(options));
    calls.write(&mut redis)?;
    while clock::now() < times.close {
        meter.tick(clock::now()).map_err(anyhow::Error::msg)?;
        let sent = clock::now();
        calls.write(&mut redis)?;
        calls.read(&mut redis, sent, &mut meter)?;
    }
    meter.tick(clock::now()).map_err(anyhow::Error::msg)?;
    calls.read(&mut redis, clock::now() + SECOND, &mut meter)?;
    Ok(meter.figures(None))
}

/// Calls under way.
struct Calls<'a> {
    args: &'a Args,
    digest: String,
    names: Vec<String>,
    /// Publications that were sent, and answered.
    next: usize,
    came: usize,
    /// The offset that each channel has come to.
    lasts: Vec<u64>,
}

impl Calls<'_> {
    /// Writes `--depth` calls.
    fn write(&mut self, redis: &mut Redis) -> Result<()> {
        let batch = self.args.batch;
        let count = (2 * batch).to_string();
        let block = "x".repeat(self.args.options.payload_bytes + BESIDE);
        let mut bytes = Vec::new();
        for _ in 0..self.args.depth {
            let places = (self.next..self.next + batch).map(|at| at % self.names.len());
            let names: Vec<&str> = places.map(|at| self.names[at].as_str()).collect();
            let numberings: Vec<String> =
                names.iter().map(|name| name.replace("cc:", "cc:num")).collect();
            let mut words = vec!["EVALSHA", &self.digest, &count];
            words.extend(&names);
            words.extend(numberings.iter().map(String::as_str));
            // What `--dev` keeps of a chat.
            words.extend(["1000", "300", "300000", "2592000"]);
            (0..batch).for_each(|_| words.extend(["1-*", "", &block]));
            append(&mut bytes, &words);
            self.next += batch;
        }
        redis.send(&bytes)
    }

    /// Reads the answers of `--depth` calls.
    fn read(&mut self, redis: &mut Redis, sent: u64, meter: &mut Meter) -> Result<()> {
        for _ in 0..self.args.depth {
            let Reply::Many(ids) = redis.reply()? else { bail!("no answers of a batch") };
            if ids.len() != self.args.batch {
                bail!("{} answers of {}", ids.len(), self.args.batch);
            }
            for id in &ids {
                let Reply::Text(id) = id else { bail!("a publication is answered with {id:?}") };
                let offset: u64 = id.strip_prefix("1-").context("another epoch")?.parse()?;
                let place = self.came % self.names.len();
                if offset != self.lasts[place] + 1 {
                    bail!("{id} came after 1-{}", self.lasts[place]);
                }
                self.lasts[place] = offset;
                self.came += 1;
                meter.sent();
                meter.arrived(sent, clock::now());
            }
        }
        Ok(())
    }
}
