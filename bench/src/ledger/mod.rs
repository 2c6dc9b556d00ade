//! Publishers and subscribers on real sockets, and a book that judges every delivery.
//!
//! Two proofs share them: `proof` kills connections, `terminate` the server. Must not know the
//! wire. Invariant: success means that every check was made and held.

mod book;
mod chaos;
mod proof;
mod run;
mod terminate;

pub use proof::{Args, run};
pub use terminate::{Args as TerminateArgs, run as terminate};

use crate::client::Client;
use crate::dialect::Dialect;
use crate::net::Target;
use anyhow::{Result, bail};
use run::{Run, State};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(2);

/// What connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Codecs {
    Json,
    /// JSON, MessagePack and Protobuf by turns, as SDKs ask for them and as we do.
    Mixed,
}

/// The participants.
#[derive(Clone, Debug, clap::Args)]
pub struct Setup {
    /// ws://address:port/path
    #[arg(long)]
    url: Target,
    /// HS256 secret; without it connections are anonymous.
    #[arg(long)]
    secret: Option<String>,
    #[arg(long, default_value_t = 8)]
    channels: usize,
    /// Subscribers of each channel.
    #[arg(long, default_value_t = 25)]
    subscribers: usize,
    /// Publishers of each channel.
    #[arg(long, default_value_t = 2)]
    publishers: usize,
    /// Unanswered publishes of one publisher.
    #[arg(long, default_value_t = 32)]
    window: usize,
    /// Publications that a channel may be ahead of its slowest subscriber.
    #[arg(long, default_value_t = 1_000)]
    lag: u64,
    /// What the connections speak.
    #[arg(long, default_value = "mixed")]
    codecs: Codecs,
    /// Namespace of the channels; empty for names without one.
    #[arg(long, default_value = "ledger")]
    namespace: String,
    /// Workers of the server: publisher, home and subscriber sit on three of them. 0: wherever.
    #[arg(long, default_value_t = 4)]
    workers: u32,
    /// Seconds until the run is given up.
    #[arg(long, default_value_t = 120)]
    timeout_s: u64,
}

/// Connects everybody, and waits until all are subscribed.
fn start(setup: &Setup, deadline: Instant) -> Result<(Client, Run)> {
    if setup.workers != 0 && setup.workers < 3 {
        bail!("three different workers need at least 3; --workers 0 places nothing");
    }
    let mut client = Client::new(setup.url.clone(), setup.secret.as_deref().into())?;
    if setup.codecs == Codecs::Mixed {
        client.dialects = &Dialect::ALL;
    }
    let mut run = Run::new(setup);
    for tag in 0..run.members.len() {
        run.open(&mut client, tag);
    }
    wait(&mut client, &mut run, deadline, "every member is live", |run| {
        run.members.iter().all(|member| member.state == State::Live)
    })?;
    Ok((client, run))
}

/// Polls until `done`; gives up at the deadline or at the first failures.
fn wait(
    client: &mut Client,
    run: &mut Run,
    deadline: Instant,
    what: &str,
    done: impl Fn(&Run) -> bool,
) -> Result<()> {
    while !done(run) {
        client.poll(run, TICK)?;
        revive(client, run);
        if Instant::now() > deadline {
            run.fail(format!("gave up waiting until {what}"));
        }
        give_up(run)?;
    }
    Ok(())
}

/// Ends the run early: after a failure there is nothing left to prove.
fn give_up(run: &Run) -> Result<()> {
    if run.failure_count == 0 {
        return Ok(());
    }
    for failure in &run.failures {
        eprintln!("  {failure}");
    }
    bail!("{} failures, {} deliveries", run.failure_count, run.deliveries)
}

/// Opens again what is due.
fn revive(client: &mut Client, run: &mut Run) {
    let now = Instant::now();
    for tag in 0..run.members.len() {
        let member = &run.members[tag];
        if member.state == State::Away && member.again_at <= now {
            run.open(client, tag);
        }
    }
}

/// Lets every live publisher fill its window, as far as its channel's slowest subscriber allows.
fn pump(setup: &Setup, client: &mut Client, run: &mut Run, quota: u64) {
    let each = setup.publishers + setup.subscribers;
    for channel in 0..setup.channels {
        let tags = channel * each..(channel + 1) * each;
        let subscribers = tags.clone().skip(setup.publishers);
        let slowest = subscribers.map(|tag| run.members[tag].last).min().unwrap_or(0);
        let waiting = |run: &Run| -> u64 {
            let publishers = tags.clone().take(setup.publishers);
            publishers.map(|tag| run.members[tag].unanswered.len() as u64).sum()
        };
        for tag in tags.clone().take(setup.publishers) {
            while run.members[tag].state == State::Live
                && run.members[tag].unanswered.len() < setup.window
                && run.channels[channel].book.acknowledged + waiting(run) < quota
                && run.channels[channel].book.top() + waiting(run) < slowest + setup.lag
            {
                run.publish(client, tag);
            }
        }
    }
}
