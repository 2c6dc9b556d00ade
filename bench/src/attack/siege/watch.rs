//! A neighbour under siege: a pair that publishes and receives all the while, and how long each
//! publication took.
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

const INTERVAL: Duration = Duration::from_millis(5);
/// A delivery that took longer has the time deducted for which the machine kept a thread from a
/// core: others may be building on it.
const BRIEF: Duration = Duration::from_millis(5);
/// A delivery that has not come by then is lost.
const LOST: Duration = Duration::from_secs(25);
const SUBSCRIBE_ID: u32 = 2;
const SUBSCRIBER: usize = 0;
const PUBLISHER: usize = 1;
/// Samples without which nothing can be said of a 99th percentile.
const FEWEST: usize = 100;

/// When a publication was sent, and what it took.
type Sample = (Instant, Duration);

pub struct Watch {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: JoinHandle<Result<(), String>>,
}

impl Watch {
    pub fn start(target: &Target, server_pid: u32, channel: &str) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (target, channel) = (target.clone(), channel.to_owned());
        let (stopped, kept) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = std::thread::spawn(move || live(target, server_pid, channel, &stopped, &kept));
        Watch { stop, samples, thread }
    }

    /// Ends it: how many it received, or what it missed.
    pub fn end(self) -> Result<usize, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the neighbour panicked".to_owned())??;
        Ok(self.samples.lock().map_err(|_| "the neighbour panicked".to_owned())?.len())
    }

    pub fn lives(&self) -> bool {
        !self.thread.is_finished()
    }

    /// The 99th percentile of what was sent between two moments; waits until all of it has come.
    pub fn p99(&self, from: Instant, until: Instant) -> Result<Duration, String> {
        let gives_up = Instant::now() + LOST + LOST;
        loop {
            if !self.lives() || Instant::now() > gives_up {
                return Err("the neighbour is gone".to_owned());
            }
            let samples = self.samples.lock().map_err(|_| "the neighbour panicked".to_owned())?;
            // They arrive in the order in which they were sent.
            if samples.last().is_some_and(|(at, _)| *at > until) {
                let within = samples.iter().filter(|(at, _)| (from..until).contains(at));
                let mut took: Vec<Duration> = within.map(|(_, took)| *took).collect();
                took.sort_unstable();
                if took.len() < FEWEST {
                    return Err(format!("the neighbour sent {} publications", took.len()));
                }
                return Ok(took[(took.len() * 99).div_ceil(100) - 1]);
            }
            drop(samples);
            std::thread::sleep(INTERVAL);
        }
    }
}

/// What each thread had work for and no core, so far.
type Delays = BTreeMap<u32, Duration>;

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

    /// What a publication took, but for the time in which this thread, and the one of the server
    /// that waited longest, had no core.
    fn took(&self, sent: &Sent) -> Duration {
        let took = sent.at.elapsed();
        if took < BRIEF {
            return took;
        }
        let now = self.note();
        let waited = |(thread, delay): (&u32, &Duration)| {
            delay.saturating_sub(sent.server.get(thread).copied().unwrap_or_default())
        };
        let server = now.server.iter().map(waited).max().unwrap_or_default();
        let own = now.own.saturating_sub(sent.own);
        // No less than what needs no deduction, so that these do not come out as the faster ones.
        took.saturating_sub(server + own).max(BRIEF)
    }
}

impl Handler for Life<'_> {
    fn message(&mut self, client: &mut Client, tag: usize, message: &Message<'_>) {
        if let Some(error) = &message.error {
            self.failure = Some(format!("error {} {}", error.code, error.message));
        }
        if let Some(publication) = message.push.as_ref().and_then(|push| push.publication.as_ref())
        {
            if publication.data.get() != self.received.to_string() {
                let got = publication.data.get();
                self.failure = Some(format!("{got} instead of {}", self.received));
                return;
            }
            let sent = &self.sent[self.received];
            let sample = (sent.at, self.took(sent));
            self.received += 1;
            match self.samples.lock() {
                Ok(mut samples) => samples.push(sample),
                Err(_) => self.failure = Some("nobody reads the samples".to_owned()),
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
    stop: &AtomicBool,
    samples: &Mutex<Vec<Sample>>,
) -> Result<(), String> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut client = Client::new(target, Identity::Anonymous).map_err(wrong)?;
    let own = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    let mut life = Life {
        channel,
        keys: Vec::new(),
        live: 0,
        sent: Vec::new(),
        server_pid,
        own,
        samples,
        received: 0,
        failure: None,
    };
    for tag in [SUBSCRIBER, PUBLISHER] {
        life.keys.push(client.open(tag).map_err(wrong)?);
    }
    let mut due = Instant::now();
    let mut begun = due;
    while !stop.load(Ordering::Relaxed) || life.received < life.sent.len() {
        if life.live == 2 && due <= Instant::now() && !stop.load(Ordering::Relaxed) {
            let (number, channel) = (life.sent.len(), &life.channel);
            let (id, data) = (number as u32 + 16, number.to_string());
            client.command(life.keys[PUBLISHER], |out| protocol::publish(out, id, channel, &data));
            life.sent.push(life.note());
            due = (due + INTERVAL).max(Instant::now());
        }
        client.poll(&mut life, Duration::from_millis(1)).map_err(wrong)?;
        if let Some(failure) = life.failure {
            return Err(failure);
        }
        begun = life.sent.get(life.received).map_or_else(Instant::now, |sent| sent.at.max(begun));
        if life.live == 2 && begun.elapsed() > LOST {
            return Err(format!("{} received, then nothing for {LOST:?}", life.received));
        }
    }
    Ok(())
}
