//! The ledger: connections are killed at random and recover, and every acknowledged publication
//! must reach each subscriber exactly once, in order; history must hold them all.
//!
//! Must not know the wire.

use super::book::Book;
use super::chaos::Chaos;
use super::run::{Channel, Run, State};
use super::{Setup, TICK, give_up, pump, revive, start, wait};
use crate::client::Client;
use crate::rng::Rng;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// How long after the last acknowledgement every subscriber must have everything.
const CATCH_UP: Duration = Duration::from_secs(20);
/// How long a doubled delivery may take to show after the last one.
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    setup: Setup,
    /// Acknowledged publications in all.
    #[arg(long, default_value_t = 200_000)]
    publications: u64,
    /// Connections killed per second.
    #[arg(long, default_value_t = 150.0)]
    kill_rate: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &Args) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(args.setup.timeout_s);
    let (mut client, mut run) = start(&args.setup, deadline)?;
    let mut chaos = Chaos::new(Rng::new(args.seed), args.kill_rate);
    let seconds = publish(args, &mut client, &mut run, &mut chaos, deadline)?;
    chaos.rest(&mut client);
    let caught_up = catch_up(&mut client, &mut run)?;
    read_back(&mut client, &mut run)?;
    report(args, &mut run, &chaos, &client, seconds, caught_up)
}

fn publish(
    args: &Args,
    client: &mut Client,
    run: &mut Run,
    chaos: &mut Chaos,
    deadline: Instant,
) -> Result<f64> {
    let style = "{bar:40} {pos}/{len} acknowledged, {per_sec}, {eta} left; {msg}";
    let bar = ProgressBar::new(args.publications).with_style(ProgressStyle::with_template(style)?);
    let quota = args.publications.div_ceil(args.setup.channels as u64);
    let started = Instant::now();
    loop {
        let acknowledged = run.channels.iter().map(|channel| channel.book.acknowledged).sum();
        if acknowledged >= args.publications {
            break;
        }
        bar.set_position(acknowledged);
        bar.set_message(format!("{} killed", chaos.killed()));
        pump(&args.setup, client, run, quota);
        chaos.act(client, run);
        client.poll(run, TICK)?;
        revive(client, run);
        if Instant::now() > deadline {
            run.fail(format!("gave up at {acknowledged} acknowledged publications"));
        }
        give_up(run)?;
    }
    bar.finish_and_clear();
    Ok(started.elapsed().as_secs_f64())
}

/// Waits until every subscriber has everything, and then for what should not come.
fn catch_up(client: &mut Client, run: &mut Run) -> Result<Duration> {
    let started = Instant::now();
    wait(client, run, started + CATCH_UP, "every subscriber has everything", |run| {
        run.members.iter().all(|member| {
            let book = &run.channels[member.channel].book;
            let complete = member.publisher.is_some() || member.last == book.top();
            member.state == State::Live && complete && book.awaited == 0
        })
    })?;
    let took = started.elapsed();
    let settled = Instant::now() + SETTLE;
    wait(client, run, settled + CATCH_UP, "the rest is silence", |_| Instant::now() > settled)?;
    while client.draining() > 0 && started.elapsed() < CATCH_UP {
        client.poll(run, TICK)?;
    }
    Ok(took)
}

/// Reads each channel's whole history and compares it with what was delivered.
fn read_back(client: &mut Client, run: &mut Run) -> Result<()> {
    for channel in 0..run.channels.len() {
        let first = run.members.iter().position(|member| member.channel == channel);
        if let Some(tag) = first {
            run.read_back(client, tag);
        }
    }
    wait(client, run, Instant::now() + CATCH_UP, "history is read back", |run| {
        run.channels.iter().all(|channel| channel.history_top == Some(channel.read_back))
    })?;
    for channel in 0..run.channels.len() {
        let Channel { name, book, read_back, .. } = &run.channels[channel];
        if *read_back != book.top() {
            let what = format!("{name}: history holds {read_back}, delivered were {}", book.top());
            run.fail(what);
        }
    }
    give_up(run)
}

fn report(
    args: &Args,
    run: &mut Run,
    chaos: &Chaos,
    client: &Client,
    seconds: f64,
    caught_up: Duration,
) -> Result<()> {
    let books = || run.channels.iter().map(|channel| &channel.book);
    let acknowledged: u64 = books().map(|book| book.acknowledged).sum();
    let offsets: u64 = books().map(Book::top).sum();
    let (appeared, vanished) =
        books().map(Book::unanswered).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!(
        "  {acknowledged} acknowledged publications in {seconds:.1} s ({:.0}/s)",
        acknowledged as f64 / seconds
    );
    println!(
        "  {} deliveries ({:.0}/s), last one {} ms after the last acknowledgement",
        run.deliveries,
        run.deliveries as f64 / seconds,
        caught_up.as_millis()
    );
    println!("  {chaos}");
    println!(
        "  {} recoveries, all recovered, {} publications in them",
        run.recoveries, run.recovered_publications
    );
    println!("  unanswered publishes: {appeared} appeared once, {vanished} never");
    match run.placing {
        Some(_) => println!(
            "  publisher, home and subscriber on three workers: all of {} joins ({} more connects landed elsewhere)",
            run.placed, run.misplaced
        ),
        None => println!("  not placed: workers are whatever the kernel chose"),
    }
    let expected = offsets * args.setup.subscribers as u64;
    if run.deliveries != expected {
        run.fail(format!("{} deliveries, expected {expected}", run.deliveries));
    }
    if client.draining() > 0 {
        run.fail(format!("the server keeps {} connections open that we ended", client.draining()));
    }
    give_up(run)?;
    println!(
        "  ledger clean: every acknowledged publication once, in order, to each of {} subscribers",
        args.setup.channels * args.setup.subscribers
    );
    Ok(())
}
