//! A healthy pair beside the attacks: it publishes and receives all the while, and notes how long
//! each publication took.
//!
//! Must not know the attacks. Invariant: a neighbour that missed one publication, or was closed,
//! has failed, whatever its times were.

use crate::client::{CONNECT_ID, Cause, Client, Handler, Identity, Key};
use crate::net::Target;
use crate::proc;
use crate::protocol::{self, Message};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const INTERVAL: Duration = Duration::from_millis(5);
/// A delivery that took longer has the time deducted for which the machine kept a thread from a
/// core: others may be building on it.
pub const BRIEF: Duration = Duration::from_millis(5);
/// A delivery that has not come by then is lost: the kernel accounts for a wait only at its end.
const LOST: Duration = Duration::from_secs(25);
/// Publications that it takes to call it untouched.
const FEWEST: usize = 20;
/// Samples without which nothing can be said of a 99th percentile.
pub const FEWEST_OF_P99: usize = 100;
const SUBSCRIBE_ID: u32 = 2;
const SUBSCRIBER: usize = 0;
const PUBLISHER: usize = 1;

/// When a publication was sent, and what it took.
type Sample = (Instant, Duration);

pub struct Neighbour {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: JoinHandle<Result<(), String>>,
}

fn panicked<E>(_: E) -> String {
    "the neighbour panicked".to_owned()
}

impl Neighbour {
    /// Moves in: connects, subscribes, and starts to publish. It has failed when a publication
    /// takes longer than `latest`.
    pub fn start(target: &Target, server_pid: u32, channel: &str, latest: Duration) -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (target, channel) = (target.clone(), channel.to_owned());
        let (stopped, kept) = (Arc::clone(&stop), Arc::clone(&samples));
        let live = move || live(target, server_pid, channel, latest, &stopped, &kept);
        Neighbour { stop, samples, thread: std::thread::spawn(live) }
    }

    /// Ends it: what it received, or what it missed.
    pub fn end(self) -> Result<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(panicked)??;
        let samples = self.samples.lock().map_err(panicked)?;
        let slowest = samples.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let (received, slowest_ms) = (samples.len(), slowest.as_millis());
        Ok(format!("{received} publications, none missed, the slowest after {slowest_ms} ms"))
    }

    pub fn lives(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The 99th percentile of what was sent between two moments; waits until all of it has come.
    pub fn p99(&self, from: Instant, until: Instant) -> Result<Duration, String> {
        let gives_up = Instant::now() + 2 * LOST;
        while self.lives() && Instant::now() < gives_up {
            let samples = self.samples.lock().map_err(panicked)?;
            // They arrive in the order in which they were sent.
            if samples.last().is_some_and(|(at, _)| *at > until) {
                let within = samples.iter().filter(|(at, _)| (from..until).contains(at));
                return p99(within.map(|(_, took)| *took).collect());
            }
            drop(samples);
            std::thread::sleep(INTERVAL);
        }
        Err("the neighbour is gone".to_owned())
    }
}

/// The 99th percentile of enough times.
pub fn p99(mut took: Vec<Duration>) -> Result<Duration, String> {
    if took.len() < FEWEST_OF_P99 {
        return Err(format!("only {} messages were sent", took.len()));
    }
    took.sort_unstable();
    Ok(took[(took.len() * 99).div_ceil(100) - 1])
}

/// The thread that asks, as `Delays` names it.
pub fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// What each thread had work for and no core, so far.
pub type Delays = BTreeMap<u32, Duration>;

/// What a message took, but for the time in which the thread that waits for it, and the one of
/// those on its way that waited longest, had no core.
pub fn took(elapsed: Duration, own: Duration, before: &Delays, now: &Delays) -> Duration {
    let waited = |(thread, delay): (&u32, &Duration)| {
        delay.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    let longest = now.iter().map(waited).max().unwrap_or_default();
    // No less than what needs no deduction, so that these do not come out as the faster ones.
    elapsed.saturating_sub(longest + own).max(BRIEF)
}

struct Sent {
    at: Instant,
    server: Delays,
    own: Duration,
}

struct Life<'a> {
    channel: String,
    keys: Vec<Key>,
    live: usize,
    sent: Vec<Sent>,
    server_pid: u32,
    /// The thread of this neighbour.
    own: u32,
    latest: Duration,
    samples: &'a Mutex<Vec<Sample>>,
    received: usize,
    failure: Option<String>,
}

impl Life<'_> {
    fn note(&self) -> Sent {
        let own = proc::run_delays(std::process::id()).unwrap_or_default();
        Sent {
            at: Instant::now(),
            server: proc::run_delays(self.server_pid).unwrap_or_default(),
            own: own.get(&self.own).copied().unwrap_or_default(),
        }
    }

    fn took(&self, sent: &Sent) -> Duration {
        let elapsed = sent.at.elapsed();
        if elapsed < BRIEF {
            return elapsed;
        }
        let now = self.note();
        took(elapsed, now.own.saturating_sub(sent.own), &sent.server, &now.server)
    }

    /// A publication has come, with this as its data.
    fn receive(&mut self, data: &str) -> Result<(), String> {
        let number = self.received;
        if data != number.to_string() {
            return Err(format!("{data} instead of {number}"));
        }
        let sent = &self.sent[number];
        let took = self.took(sent);
        self.samples.lock().map_err(panicked)?.push((sent.at, took));
        self.received += 1;
        if took > self.latest {
            return Err(format!("delivery {number} took {took:?}"));
        }
        Ok(())
    }
}

impl Handler for Life<'_> {
    fn message(&mut self, client: &mut Client, tag: usize, message: &Message<'_>) {
        if let Some(error) = &message.error {
            self.failure = Some(format!("error {} {}", error.code, error.message));
        }
        if let Some(publication) = message.push.as_ref().and_then(|push| push.publication.as_ref())
        {
            if let Err(wrong) = self.receive(publication.data.get()) {
                self.failure = Some(wrong);
            }
        } else if message.id == CONNECT_ID && tag == SUBSCRIBER {
            client.command(self.keys[tag], |out| {
                protocol::subscribe(out, SUBSCRIBE_ID, &self.channel, None);
            });
        } else if message.id == CONNECT_ID || message.id == SUBSCRIBE_ID && tag == SUBSCRIBER {
            self.live += 1;
        }
    }

    fn closed(&mut self, _client: &mut Client, tag: usize, cause: Cause) {
        self.failure = Some(format!("connection {tag} of the neighbour closed: {cause:?}"));
    }
}

fn live(
    target: Target,
    server_pid: u32,
    channel: String,
    latest: Duration,
    stop: &AtomicBool,
    samples: &Mutex<Vec<Sample>>,
) -> Result<(), String> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut client = Client::new(target, Identity::Anonymous).map_err(wrong)?;
    let own = thread_id();
    let mut life = Life {
        channel,
        keys: Vec::new(),
        live: 0,
        sent: Vec::new(),
        server_pid,
        own,
        latest,
        samples,
        received: 0,
        failure: None,
    };
    for tag in [SUBSCRIBER, PUBLISHER] {
        life.keys.push(client.open(tag).map_err(wrong)?);
    }
    let started = Instant::now();
    let mut due = started;
    loop {
        let (received, sent) = (life.received, life.sent.len());
        let ends = stop.load(Ordering::Relaxed) && sent >= FEWEST;
        if ends && received == sent {
            return Ok(());
        }
        if life.live == 2 && due <= Instant::now() && !ends {
            let (id, data) = (sent as u32 + 16, sent.to_string());
            let channel = &life.channel;
            client.command(life.keys[PUBLISHER], |out| protocol::publish(out, id, channel, &data));
            life.sent.push(life.note());
            due = (due + INTERVAL).max(Instant::now());
        }
        client.poll(&mut life, Duration::from_millis(1)).map_err(wrong)?;
        if let Some(failure) = life.failure {
            return Err(failure);
        }
        let waits_for = life.sent.get(life.received);
        let is_lost = |since: Instant| since.elapsed() > LOST;
        if waits_for.is_some_and(|sent| is_lost(sent.at)) || life.live < 2 && is_lost(started) {
            return Err(format!("{} received, then nothing for {LOST:?}", life.received));
        }
    }
}
