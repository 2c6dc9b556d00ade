//! Bad input over raw sockets: every attack gets its documented answer, and a neighbour of all
//! attackers keeps receiving.
//!
//! Must not know the server's code. The server runs with the limits that `scripts/attack` sets;
//! they are passed here as options.

mod bombs;
mod commands;
mod frames;
mod ids;
mod neighbour;
mod siege;
mod slots;
mod upgrades;
mod wire;

use crate::net::Target;
use crate::proc;
use anyhow::{Result, bail};
use neighbour::Neighbour;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// A check's result: what was seen, or what was wrong.
type Checked = Result<String, String>;
type Check = fn(&Site) -> Checked;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    site: Site,
    /// Run only checks whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Run the sieges: attacks that last, by what a neighbour feels and what memory they take.
    #[arg(long)]
    siege: bool,
}

/// The server under attack.
#[derive(Clone, Debug, clap::Args)]
struct Site {
    #[arg(id = "url", long = "url")]
    target: Target,
    #[arg(long)]
    server_pid: u32,
    /// The one origin that the server allows.
    #[arg(long, default_value = "https://app.example")]
    origin: String,
    /// Connection slots of all workers.
    #[arg(long, default_value_t = 200)]
    slots: usize,
    #[arg(long, default_value_t = 65_536)]
    message_bytes: usize,
    #[arg(long, default_value_t = 1_000)]
    channels_per_connection: usize,
    /// A channel that is open to everyone, for the neighbour.
    #[arg(long, default_value = "plain:neighbour")]
    neighbour: String,
    /// The internal listener, where the server has one.
    #[arg(long)]
    internal: Option<SocketAddrV4>,
}

/// A delivery later than this says that bad input was felt.
const LATEST: Duration = Duration::from_millis(500);

impl Site {
    /// A neighbour that has failed when a publication takes longer than `latest`.
    fn neighbour(&self, latest: Duration) -> Neighbour {
        Neighbour::start(&self.target, self.server_pid, &self.neighbour, latest)
    }
}

const CHECKS: &[(&str, Check)] = &[
    ("malformed upgrades: 400, 405, 426", upgrades::malformed),
    ("large heads: 431", upgrades::large_heads),
    ("dripping head: 408", upgrades::drip),
    ("foreign origins: 403", upgrades::origins),
    ("frames in the upgrade's packet", upgrades::early_frames),
    ("broken frames: 1002", frames::protocol_errors),
    ("oversize messages: 1009", frames::oversize),
    ("text that is not UTF-8: 1007", frames::bad_utf8),
    ("ping flood: 1008", frames::ping_flood),
    ("empty-fragment flood: 1008", frames::fragment_flood),
    ("close handshake: answered, and timed", frames::close_handshake),
    ("binary frames to JSON", frames::binary),
    ("malformed commands: 3501", commands::malformed),
    ("session order: 3501, 3502", commands::session_order),
    ("refused commands: an error each", commands::refused),
    ("subscriptions over the limit: 106", commands::over_limits),
    ("client ids tell nothing", ids::tell_nothing),
    ("10,000 colliding names", commands::colliding_names),
    ("100,000 subscriptions with long names", commands::subscription_bomb),
    ("bombs in Protobuf: 107, 3501", bombs::protobuf),
    ("bombs in MessagePack: 107, 3501", bombs::msgpack),
    ("more connections than slots: 503", slots::full),
];

pub fn run(args: &Args) -> Result<()> {
    proc::sockets();
    if args.siege {
        return siege::run(&args.site, &args.only);
    }
    let neighbour = args.site.neighbour(LATEST);
    let checks = CHECKS.iter().filter(|(name, _)| name.contains(&args.only));
    let checks = checks.map(|(name, check)| (*name, || check(&args.site)));
    let failed = report(&args.site, &neighbour, checks)?;
    conclude(neighbour, failed)
}

/// Runs one row after the other and prints what came of it, then what the neighbour says.
fn report<F: FnOnce() -> Checked>(
    site: &Site,
    neighbour: &Neighbour,
    rows: impl Iterator<Item = (&'static str, F)>,
) -> Result<usize> {
    let mut failed = 0;
    for (name, row) in rows {
        let started = Instant::now();
        let result = row();
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(seen) => println!("  pass  {name:40} {seconds:5.1} s  {seen}"),
            Err(wrong) => {
                failed += 1;
                println!("  FAIL  {name:40} {seconds:5.1} s  {wrong}");
            }
        }
        if proc::ended(site.server_pid) {
            bail!("the server died in: {name}");
        }
        if !neighbour.lives() {
            println!("  the neighbour was hurt in: {name}");
            break;
        }
    }
    Ok(failed)
}

/// Ends the neighbour; an error if it, or a row, has failed.
fn conclude(neighbour: Neighbour, mut failed: usize) -> Result<()> {
    match neighbour.end() {
        Ok(seen) => println!("  pass  the neighbour: {seen}"),
        Err(wrong) => {
            failed += 1;
            println!("  FAIL  the neighbour: {wrong}");
        }
    }
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

/// Turns a condition into a check's result.
fn expect(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}
