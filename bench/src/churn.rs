//! Server CPU per connect: TCP, upgrade and connect command; closing is not in it.
//!
//! Must not know the server. Invariant: connections close between the windows that are measured.

use crate::client::Client;
use crate::crowd::Crowd;
use crate::net::Target;
use crate::proc;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// Time in which the server forgets the connections of a round.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    url: Target,
    #[arg(long)]
    secret: Option<String>,
    /// Connects of one round.
    #[arg(long, default_value_t = 4_000)]
    connections: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long)]
    server_pid: u32,
}

pub fn run(args: &Args) -> Result<()> {
    let limit = proc::sockets();
    if args.connections as u64 > limit {
        bail!("{} connections are more than the {limit} sockets of a process", args.connections);
    }
    let mut client = Client::new(args.url.clone(), args.secret.as_deref().into())?;
    let mut crowd = Crowd::new(|_| None, |_, _| {});
    let mut rounds = Vec::with_capacity(args.rounds);
    for _ in 0..args.rounds {
        let (before, started) = (proc::cpu(args.server_pid)?, Instant::now());
        crowd.grow(&mut client, args.connections)?;
        let cpu = proc::cpu(args.server_pid)? - before;
        let per_s = args.connections as f64 / started.elapsed().as_secs_f64();
        rounds.push((cpu.as_secs_f64() * 1e6 / args.connections as f64, per_s));
        crowd.dismiss(&mut client);
        crowd.stay(&mut client, SETTLE)?;
    }
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu_us, per_s) = rounds.get(rounds.len() / 2).context("no rounds")?;
    println!("cpu_us_per_connect={cpu_us:.1} connects_per_s={per_s:.0} rounds={}", args.rounds);
    Ok(())
}
