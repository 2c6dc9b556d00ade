//! The end of a server under load: SIGTERM while publishers publish.
//!
//! Must not know the wire. Invariant: acknowledged publications have reached every connected
//! subscriber, then each client got close code 3001, and the process ended in time.

use super::run::State;
use super::{Setup, TICK, give_up, pump, start};
use crate::proc;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// Close code of a shutdown.
const SHUTDOWN: u16 = 3001;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    setup: Setup,
    #[arg(long)]
    server_pid: u32,
    /// The server's `shutdown_timeout_ms`.
    #[arg(long, default_value_t = 5_000)]
    shutdown_timeout_ms: u64,
    /// Time under load before the signal.
    #[arg(long, default_value_t = 1_000)]
    load_ms: u64,
}

pub fn run(args: &Args) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(args.setup.timeout_s);
    let (mut client, mut run) = start(&args.setup, deadline)?;
    let load = Instant::now() + Duration::from_millis(args.load_ms);
    while Instant::now() < load {
        pump(&args.setup, &mut client, &mut run, u64::MAX);
        client.poll(&mut run, TICK)?;
        give_up(&run)?;
    }
    let acknowledged = |run: &super::Run| -> u64 {
        run.channels.iter().map(|channel| channel.book.acknowledged).sum()
    };
    let before = acknowledged(&run);
    let pid = i32::try_from(args.server_pid).ok().and_then(Pid::from_raw).context("no such pid")?;
    kill_process(pid, Signal::TERM)?;
    let signalled = Instant::now();
    run.expected_close = Some(SHUTDOWN);
    let limit = Duration::from_millis(args.shutdown_timeout_ms);
    while !proc::ended(args.server_pid)
        || run.members.iter().any(|member| member.state == State::Live)
    {
        pump(&args.setup, &mut client, &mut run, u64::MAX);
        client.poll(&mut run, TICK)?;
        give_up(&run)?;
        if signalled.elapsed() > limit {
            let left = run.members.iter().filter(|member| member.state == State::Live).count();
            let ended = proc::ended(args.server_pid);
            bail!("after {limit:?}: ended {ended}, {left} clients without a close frame");
        }
    }
    let took = signalled.elapsed();
    for member in &run.members {
        let book = &run.channels[member.channel].book;
        if member.publisher.is_none() && member.last < book.last_acknowledged() {
            let (last, top) = (member.last, book.last_acknowledged());
            bail!("a subscriber was given up to {last}, acknowledged was {top}");
        }
        if book.awaited > 0 {
            bail!("{} acknowledged publications were given to nobody", book.awaited);
        }
    }
    println!(
        "  {} publications acknowledged, {} of them after SIGTERM; {} of {} clients got {SHUTDOWN}; \
         ended after {} ms",
        acknowledged(&run),
        acknowledged(&run) - before,
        run.closed_as_expected,
        run.members.len(),
        took.as_millis(),
    );
    Ok(())
}
