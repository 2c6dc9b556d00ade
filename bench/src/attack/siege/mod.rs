//! Sieges: attacks that last, and what a neighbour feels and the server holds meanwhile. The
//! answers to bad input are the business of the checks beside this; here everything sent is of the
//! protocol.
//!
//! Must not know the server's code. The server runs with the limits that `scripts/attack` sets, and
//! says them in its metrics. Invariant: a row fails when the neighbour waits longer than twice what
//! it waits beside ordinary work, or than twice what messages wait for that as many threads pass on
//! that only spin (`floor`), or when the server's memory passes what its limits add up to.

mod crowd;
mod floor;
mod responses;
mod strangers;
mod tables;
mod work;

use super::neighbour::Neighbour;
use super::{Checked, Site, expect};
use crate::proc;
use anyhow::Result;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an attack lasts before what it does is measured. Memory that is touched for the first
/// time costs a virtual machine up to 40 us a page, which is the host's time, not the server's.
const BEGINS: Duration = Duration::from_secs(1);
/// How long each attack lasts from then on.
const LASTS: Duration = Duration::from_secs(2);
/// Time without anything, and of ordinary work, to which the attacks are compared.
const COMPARED: Duration = Duration::from_millis(1_500);
/// Connections that do what is ordinary.
const ORDINARY: usize = 50;
/// Time in which the server answers for its limits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory beside what the limits of bytes add up to, in parts of it: what an allocator keeps of
/// blocks that were given back.
const ALLOCATOR: f64 = 1.25;
/// Memory of a channel, its name and its place in the tables of a home and an edge.
const CHANNEL_BYTES: u64 = 1_024;
/// Memory of a connection without anything that waits, its subscriptions apart.
const CONNECTION_BYTES: u64 = 1_024;
/// Memory of a subscription.
const SUBSCRIPTION_BYTES: u64 = 64;
/// What a worker has otherwise: frames of a turn, a response being written, tables half full.
const WORKER_BYTES: u64 = 16 << 20;

/// What lasts until a moment, and says what was done.
type Attack = Box<dyn FnOnce(Instant) -> Checked + Send>;
/// Makes everything ready for one.
type Prepare = fn(&Site) -> Result<Attack, String>;

/// Name, whether it is for a server with an internal listener, which then has all pages, and what
/// it takes to begin.
const SIEGES: &[(&str, bool, Prepare)] = &[
    ("pipelined requests that nobody reads", false, responses::unread),
    ("an upgrade behind responses, read late", false, responses::late_upgrades),
    ("half messages and half heads", true, strangers::halves),
    ("pipelined HEAD /metrics", false, work::heads_of_metrics),
    ("1,000 connections of pongs", false, work::pongs),
    ("forged subscription tokens, eight keys", false, work::forged_tokens),
    ("presence of 2,000, by 40 members", false, work::presence),
    ("400 filters of 255 comparisons", false, work::filters),
    ("deltas of made-up texts", false, work::deltas),
    ("new names without end", false, tables::new_names),
    ("filters of as many bytes as fit", false, tables::filter_bytes),
    ("leaving with the most subscriptions", false, tables::leaving),
];

/// Runs the sieges whose name contains `only`.
pub fn run(site: &Site, only: &str) -> Result<()> {
    // What is too long is said by the rows: each compares.
    let neighbour = site.neighbour(Duration::MAX);
    let field = Field::new(site, &neighbour)?;
    println!(
        "  neighbour's p99: {:.1} ms alone, {:.1} ms beside ordinary work, {:.1} ms by threads that \
         spin; may be {:.1} ms; memory may be {} MiB",
        ms(field.alone),
        ms(field.busy),
        ms(field.floor),
        ms(field.patience()),
        field.bound >> 20,
    );
    let here = SIEGES
        .iter()
        .filter(|(name, internal, _)| name.contains(only) && *internal == site.internal.is_some());
    let rows = here.map(|(name, _, prepare)| (*name, || field.besiege(*prepare)));
    let failed = super::report(site, &neighbour, rows)?;
    super::conclude(neighbour, failed)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The server and its neighbour before the attacks.
struct Field<'a> {
    site: &'a Site,
    neighbour: &'a Neighbour,
    /// The neighbour's 99th percentile while nothing happens, and beside ordinary work.
    alone: Duration,
    busy: Duration,
    /// The same of messages that as many threads as the server has workers pass on, all of them
    /// busy.
    floor: Duration,
    /// Resident bytes that the server may have.
    bound: u64,
}

impl Field<'_> {
    fn new<'a>(site: &'a Site, neighbour: &'a Neighbour) -> Result<Field<'a>> {
        let wrong = anyhow::Error::msg;
        let before = proc::rss(site.server_pid)?;
        let metrics = metrics(site).map_err(wrong)?;
        let bound = bound(before, &metrics);
        let floor = floor::p99(workers(&metrics), COMPARED).map_err(wrong)?;
        let never = Duration::MAX;
        let mut field = Field { site, neighbour, alone: never, busy: never, floor, bound };
        let idle: Attack = Box::new(|until| {
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            Ok(String::new())
        });
        field.alone = field.last(idle, COMPARED).map_err(wrong)?.p99;
        let ordinary = ordinary(site).map_err(wrong)?;
        field.busy = field.last(ordinary, COMPARED).map_err(wrong)?.p99;
        Ok(field)
    }

    /// What the neighbour's 99th percentile may be.
    fn patience(&self) -> Duration {
        self.alone.max(self.busy).max(self.floor) * 2
    }

    fn besiege(&self, prepare: Prepare) -> Checked {
        let seen = self.last(prepare(self.site)?, LASTS)?;
        let Seen { said, p99, rss } = seen;
        let what = format!("p99 {:.1} ms, {} MiB; {said}", ms(p99), rss >> 20);
        expect(p99 <= self.patience(), || format!("the neighbour waits: {what}"))?;
        expect(rss <= self.bound, || format!("more memory than the limits add up to: {what}"))?;
        Ok(what)
    }

    /// Lets an attack last; the neighbour's times count from when it is under way to when its
    /// connections end.
    fn last(&self, attack: Attack, lasts: Duration) -> Result<Seen, String> {
        let from = Instant::now();
        let attacking = std::thread::spawn(move || {
            yield_to_others();
            attack(from + BEGINS + lasts)
        });
        let mut rss = 0;
        while !attacking.is_finished() {
            rss = rss.max(proc::rss(self.site.server_pid).map_err(|error| error.to_string())?);
            std::thread::sleep(Duration::from_millis(10));
        }
        let said = attacking.join().map_err(|_| "the attacker panicked".to_owned())??;
        let p99 = self.neighbour.p99(from + BEGINS, from + BEGINS + lasts)?;
        Ok(Seen { said, p99, rss })
    }
}

/// What an attack showed.
struct Seen {
    said: String,
    p99: Duration,
    /// The most bytes that the server had resident.
    rss: u64,
}

/// An attacker has machines of its own: the CPU that it takes here goes to it only where server and
/// neighbour have no use for it.
fn yield_to_others() {
    // Without it the attack disturbs more than it should, which fails nothing that is right.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Commands of the cheapest kind from many connections, as fast as they are answered.
fn ordinary(site: &Site) -> Result<Attack, String> {
    let mut members = crowd::members(&site.target, ORDINARY, |_| Vec::new())?;
    for member in &mut members {
        member.block = crowd::text(r#"{"id":2,"ping":{}}"#);
    }
    Ok(Box::new(move |until| {
        let mut bytes = vec![0; 4 << 10];
        members.iter_mut().for_each(|member| {
            member.push_once();
        });
        while Instant::now() < until {
            for member in &mut members {
                if member.drain(&mut bytes) > 0 {
                    member.push_once();
                }
            }
        }
        Ok(String::new())
    }))
}

/// The page of the metrics, by the sample's name with its labels.
fn metrics(site: &Site) -> Result<BTreeMap<String, f64>, String> {
    let page = get(site.internal.unwrap_or(site.target.address).into(), "/metrics")?;
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
}

/// The body of a page that has to be there.
fn get(at: SocketAddr, path: &str) -> Result<String, String> {
    let wrong = |error: std::io::Error| format!("{path} on {at}: {error}");
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).map_err(wrong)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(wrong)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(wrong)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(format!("{path} on {at} was answered {answer:.100}")),
    }
}

/// The workers of a server.
fn workers(metrics: &BTreeMap<String, f64>) -> usize {
    metrics.keys().filter(|name| name.starts_with("corecast_backlog_bytes{")).count()
}

/// What the limits in force add up to, above what the process took before anybody came.
fn bound(before: u64, metrics: &BTreeMap<String, f64>) -> u64 {
    let limit = |name: &str| {
        let sample = format!("corecast_limit{{name=\"{name}\"}}");
        metrics.get(&sample).map_or(0, |value| *value as u64)
    };
    // Strangers before and after their upgrade, and the internal listener, have a quarter each.
    let spill = limit("spill_bytes_per_worker") / 4 * 7;
    let bytes = limit("backlog_bytes_per_worker")
        + spill
        + limit("api_bytes_per_worker")
        + limit("history_bytes_per_worker")
        + limit("numbering_bytes_per_worker")
        + limit("filter_bytes_per_worker")
        + limit("channels_per_worker") * CHANNEL_BYTES
        + limit("subscriptions_per_worker") * SUBSCRIPTION_BYTES
        + limit("connections_per_worker") * CONNECTION_BYTES
        + WORKER_BYTES;
    before + workers(metrics) as u64 * (bytes as f64 * ALLOCATOR) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_add_up() {
        let none = bound(1 << 20, &BTreeMap::new());
        assert_eq!(none, 1 << 20, "no worker has said a word");
        let samples = [
            ("corecast_backlog_bytes{worker=\"0\"}", 0.0),
            ("corecast_backlog_bytes{worker=\"1\"}", 0.0),
            ("corecast_limit{name=\"spill_bytes_per_worker\"}", 4e6),
        ];
        let samples = samples.map(|(name, value)| (name.to_owned(), value)).into();
        let worker = (7e6 + WORKER_BYTES as f64) * ALLOCATOR;
        assert_eq!(bound(0, &samples), 2 * worker as u64);
    }
}
