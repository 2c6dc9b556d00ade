//! The ledger on real sockets: publishers and subscribers are killed at random and recover, and
//! every acknowledged publication must reach each subscriber exactly once, in order.
//!
//! Must not know the wire. Invariant: exit 0 means that every check was made and held.

mod book;
mod chaos;
mod run;

use crate::client::Client;
use crate::net::Target;
use crate::rng::Rng;
use anyhow::{Result, bail};
use book::Book;
use chaos::Chaos;
use indicatif::{ProgressBar, ProgressStyle};
use run::{Channel, Member, Placing, Run, State};
use std::time::{Duration, Instant};

/// How long after the last acknowledgement every subscriber must have everything.
const CATCH_UP: Duration = Duration::from_secs(20);
/// How long a doubled delivery may take to show after the last one.
const SETTLE: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(2);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// ws://address:port/path
    #[arg(long)]
    url: Target,
    /// HS256 secret; without it connections are anonymous.
    #[arg(long)]
    secret: Option<String>,
    #[arg(long, default_value_t = 8)]
    channels: usize,
    #[arg(long, default_value_t = 25)]
    subscribers: usize,
    /// Publishers of each channel.
    #[arg(long, default_value_t = 2)]
    publishers: usize,
    /// Acknowledged publications in all.
    #[arg(long, default_value_t = 200_000)]
    publications: u64,
    /// Connections killed per second.
    #[arg(long, default_value_t = 150.0)]
    kill_rate: f64,
    /// Unanswered publishes of one publisher.
    #[arg(long, default_value_t = 32)]
    window: usize,
    /// Publications that a channel may be ahead of its slowest subscriber.
    #[arg(long, default_value_t = 1_000)]
    lag: u64,
    /// Namespace of the channels; empty for names without one.
    #[arg(long, default_value = "ledger")]
    namespace: String,
    /// Workers of the server: publisher, home and subscriber sit on three of them. 0: wherever.
    #[arg(long, default_value_t = 4)]
    workers: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds until the run is given up.
    #[arg(long, default_value_t = 120)]
    timeout_s: u64,
}

pub fn run(args: &Args) -> Result<()> {
    if args.workers != 0 && args.workers < 3 {
        bail!("three different workers need at least 3; --workers 0 places nothing");
    }
    let token = args.secret.as_deref().map(|secret| crate::token::sign(secret, "ledger"));
    let mut client = Client::new(args.url.clone(), token.transpose()?)?;
    let mut run = members(args);
    let deadline = Instant::now() + Duration::from_secs(args.timeout_s);
    for tag in 0..run.members.len() {
        run.open(&mut client, tag);
    }
    wait(&mut client, &mut run, deadline, "every member is live", |run| {
        run.members.iter().all(|member| member.state == State::Live)
    })?;
    let mut chaos = Chaos::new(Rng::new(args.seed), args.kill_rate);
    let seconds = publish(args, &mut client, &mut run, &mut chaos, deadline)?;
    chaos.rest(&mut client);
    let caught_up = catch_up(&mut client, &mut run)?;
    read_back(&mut client, &mut run)?;
    report(args, &mut run, &chaos, &client, seconds, caught_up)
}

fn members(args: &Args) -> Run {
    let mut run = Run {
        members: Vec::new(),
        channels: Vec::new(),
        placing: (args.workers > 0).then_some(Placing { workers: args.workers }),
        failures: Vec::new(),
        failure_count: 0,
        recoveries: 0,
        recovered_publications: 0,
        misplaced: 0,
        placed: 0,
        opened: 0,
        deliveries: 0,
    };
    // A channel of its own for each run, so that offsets start at 1.
    let unique = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
    let prefix = match args.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{namespace}:"),
    };
    for channel in 0..args.channels {
        run.channels.push(Channel {
            name: format!("{prefix}{unique}-{channel}"),
            book: Book::new(channel),
            home: None,
            read_back: 0,
            history_top: None,
        });
        let publishers = std::iter::repeat_n(Some(0), args.publishers);
        let subscribers = std::iter::repeat_n(None, args.subscribers);
        run.members
            .extend(publishers.chain(subscribers).map(|publisher| Member::new(channel, publisher)));
    }
    run
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

fn publish(
    args: &Args,
    client: &mut Client,
    run: &mut Run,
    chaos: &mut Chaos,
    deadline: Instant,
) -> Result<f64> {
    let style = "{bar:40} {pos}/{len} acknowledged, {per_sec}, {eta} left; {msg}";
    let bar = ProgressBar::new(args.publications).with_style(ProgressStyle::with_template(style)?);
    let started = Instant::now();
    loop {
        let acknowledged = run.channels.iter().map(|channel| channel.book.acknowledged).sum();
        if acknowledged >= args.publications {
            break;
        }
        bar.set_position(acknowledged);
        bar.set_message(format!("{} killed", chaos.killed()));
        pump(args, client, run);
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

/// Lets every live publisher fill its window, as far as its channel's slowest subscriber allows.
fn pump(args: &Args, client: &mut Client, run: &mut Run) {
    let quota = args.publications.div_ceil(args.channels as u64);
    let each = args.publishers + args.subscribers;
    for channel in 0..args.channels {
        let tags = channel * each..(channel + 1) * each;
        let subscribers = tags.clone().skip(args.publishers);
        let slowest = subscribers.map(|tag| run.members[tag].last).min().unwrap_or(0);
        let waiting = |run: &Run| -> u64 {
            let publishers = tags.clone().take(args.publishers);
            publishers.map(|tag| run.members[tag].unanswered.len() as u64).sum()
        };
        for tag in tags.clone().take(args.publishers) {
            while run.members[tag].state == State::Live
                && run.members[tag].unanswered.len() < args.window
                && run.channels[channel].book.acknowledged + waiting(run) < quota
                && run.channels[channel].book.top() + waiting(run) < slowest + args.lag
            {
                run.publish(client, tag);
            }
        }
    }
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
    let expected = offsets * args.subscribers as u64;
    if run.deliveries != expected {
        run.fail(format!("{} deliveries, expected {expected}", run.deliveries));
    }
    if client.draining() > 0 {
        run.fail(format!("the server keeps {} connections open that we ended", client.draining()));
    }
    give_up(run)?;
    println!(
        "  ledger clean: every acknowledged publication once, in order, to each of {} subscribers",
        args.channels * args.subscribers
    );
    Ok(())
}
