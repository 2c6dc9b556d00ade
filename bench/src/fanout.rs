//! One publisher to many subscribers: server CPU per delivery and latency at a fixed offered load.
//!
//! Must not know the server. Invariant: the load is an open loop; latency counts from the time at
//! which a publication was due, so a late generator or server cannot hide.

use crate::client::Client;
use crate::crowd::Crowd;
use crate::net::Target;
use crate::{proc, protocol};
use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use std::cell::RefCell;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_secs(1);
const LAST_DELIVERY: Duration = Duration::from_secs(10);
/// A generator that is later than this was disturbed: its figures say nothing.
const DISTURBED: Duration = Duration::from_millis(20);
const FIRST_PUBLISH_ID: u32 = 16;

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    url: Target,
    #[arg(long)]
    secret: Option<String>,
    #[arg(long, default_value_t = 1_000)]
    subscribers: usize,
    /// Publications per second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    #[arg(long)]
    server_pid: u32,
    #[arg(long, default_value = "plain:fanout")]
    channel: String,
    /// Bytes of the payload.
    #[arg(long, default_value_t = 64)]
    payload_bytes: usize,
}

/// What was delivered, by the publication's number.
struct Tally {
    started: Instant,
    interval: Duration,
    deliveries: u64,
    wrong: u64,
    next: Vec<u64>,
    latency: Histogram<u64>,
}

impl Tally {
    fn deliver(&mut self, subscriber: usize, data: &str) {
        let number = data.strip_prefix("{\"n\":").and_then(|rest| rest.split(',').next());
        let number = number.and_then(|number| number.parse::<u64>().ok());
        if number != Some(self.next[subscriber]) {
            self.wrong += 1;
            return;
        }
        let due = self.started + self.interval * self.next[subscriber] as u32;
        self.next[subscriber] += 1;
        self.deliveries += 1;
        let late_us = due.elapsed().as_micros() as u64;
        self.latency.saturating_record(late_us.max(1));
    }
}

pub fn run(args: &Args) -> Result<()> {
    let limit = proc::sockets();
    if args.subscribers as u64 >= limit {
        bail!("{} subscribers need more than the {limit} sockets of a process", args.subscribers);
    }
    let tally = RefCell::new(Tally {
        started: Instant::now(),
        interval: Duration::from_secs(1) / args.rate,
        deliveries: 0,
        wrong: 0,
        next: vec![0; args.subscribers],
        latency: Histogram::new_with_bounds(1, 60_000_000, 3)?,
    });
    let mut client = Client::new(args.url.clone(), args.secret.as_deref().into())?;
    // The last member publishes, and does not subscribe.
    let channel = |tag: usize| (tag < args.subscribers).then(|| args.channel.clone());
    let deliver = |tag: usize, publication: &protocol::Publication<'_>| {
        tally.borrow_mut().deliver(tag, publication.data.get());
    };
    let mut crowd = Crowd::new(channel, deliver);
    crowd.grow(&mut client, args.subscribers + 1)?;
    crowd.stay(&mut client, Duration::from_millis(500))?;
    round(args, &mut client, &mut crowd, &tally, WARM_UP)?;
    let before = (proc::cpu(args.server_pid)?, proc::cpu(std::process::id())?, Instant::now());
    let window = Duration::from_secs(args.seconds.into());
    let late = round(args, &mut client, &mut crowd, &tally, window)?;
    let server = proc::cpu(args.server_pid)? - before.0;
    let own = proc::cpu(std::process::id())? - before.1;
    let seconds = before.2.elapsed().as_secs_f64();
    let tally = tally.borrow();
    println!(
        "cpu_us_per_delivery={:.3} deliveries={} deliveries_per_s={:.0} p50_us={} p99_us={} max_us={} \
         server_busy={:.2} generator_busy={:.2} publisher_late_max_us={}",
        server.as_secs_f64() * 1e6 / tally.deliveries as f64,
        tally.deliveries,
        tally.deliveries as f64 / seconds,
        tally.latency.value_at_quantile(0.5),
        tally.latency.value_at_quantile(0.99),
        tally.latency.max(),
        server.as_secs_f64() / seconds,
        own.as_secs_f64() / seconds,
        late.as_micros(),
    );
    if late > DISTURBED {
        eprintln!("warning: the generator was up to {late:?} late; the machine is busy elsewhere");
    }
    Ok(())
}

/// Publishes for `window`, waits for the last delivery; how late a publication went out at worst.
fn round(
    args: &Args,
    client: &mut Client,
    crowd: &mut Crowd<'_>,
    tally: &RefCell<Tally>,
    window: Duration,
) -> Result<Duration> {
    let interval = Duration::from_secs(1) / args.rate;
    let count = (window.as_secs_f64() * f64::from(args.rate)) as u32;
    let started = Instant::now();
    {
        let mut tally = tally.borrow_mut();
        (tally.started, tally.deliveries) = (started, 0);
        tally.next.fill(0);
        tally.latency.reset();
    }
    let expected = u64::from(count) * args.subscribers as u64;
    let acknowledged = crowd.acknowledged + u64::from(count);
    let publisher = crowd.keys[args.subscribers];
    let (mut sent, mut late) = (0, Duration::ZERO);
    let deadline = started + window + LAST_DELIVERY;
    while tally.borrow().deliveries < expected || crowd.acknowledged < acknowledged {
        while sent < count && started + interval * sent <= Instant::now() {
            late = late.max((started + interval * sent).elapsed());
            let head = format!("{{\"n\":{sent},\"pad\":\"");
            let pad = args.payload_bytes.saturating_sub(head.len() + 2);
            let data = format!("{head}{:x<pad$}\"}}", "");
            let id = FIRST_PUBLISH_ID + sent;
            client.command(publisher, |out| protocol::publish(out, id, &args.channel, &data));
            sent += 1;
        }
        crowd.poll(client, Duration::ZERO)?;
        let (deliveries, wrong) = (tally.borrow().deliveries, tally.borrow().wrong);
        if wrong > 0 || Instant::now() > deadline {
            bail!("{deliveries} of {expected} deliveries, {wrong} out of order");
        }
    }
    Ok(late)
}
