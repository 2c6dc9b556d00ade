//! A healthy pair beside the attacks: it publishes and receives all the while.
//!
//! Must not know the attacks. Invariant: a neighbour that missed one publication has failed.

use crate::client::{CONNECT_ID, Cause, Client, Handler, Identity, Key};
use crate::net::Target;
use crate::proc;
use crate::protocol::{self, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(10);
/// A delivery later than this says that the attack was felt. What the machine kept server or
/// neighbour from a core does not count: others may be building on it.
const LATEST: Duration = Duration::from_millis(500);
/// A delivery that has not come by then is lost: the kernel accounts for a wait only at its end.
const LOST: Duration = Duration::from_secs(10);
/// Publications that it takes to call it untouched.
const FEWEST: usize = 20;
/// Time in which the first of them arrives.
const SETTLED: Duration = Duration::from_secs(5);
const SUBSCRIBE_ID: u32 = 2;
const SUBSCRIBER: usize = 0;
const PUBLISHER: usize = 1;

pub struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<String, String>>,
}

impl Neighbour {
    /// Moves in: connects, subscribes, and starts to publish.
    pub fn start(target: &Target, server_pid: u32, channel: &str) -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let (target, channel, stopped) = (target.clone(), channel.to_owned(), stop.clone());
        let thread = std::thread::spawn(move || live(target, server_pid, channel, &stopped));
        Neighbour { stop, thread }
    }

    /// Ends it: what it received, or what it missed.
    pub fn end(self) -> Result<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the neighbour panicked".to_owned())?
    }

    pub fn lives(&self) -> bool {
        !self.thread.is_finished()
    }
}

struct Life {
    channel: String,
    keys: Vec<Key>,
    live: usize,
    /// When a publication was sent, and how long cores had been missing until then.
    sent_at: Vec<(Instant, Duration)>,
    server_pid: u32,
    received: usize,
    slowest: Duration,
    failure: Option<String>,
}

impl Life {
    /// Time that threads of the server and of the neighbour waited for a core so far.
    fn starved(&self) -> Duration {
        [self.server_pid, std::process::id()]
            .into_iter()
            .map(|pid| proc::run_delay(pid).unwrap_or_default())
            .sum()
    }

    /// How long a publication has taken until now, but for the time without a core.
    fn took(&self, number: usize) -> Duration {
        let (at, starved) = self.sent_at[number];
        match at.elapsed() {
            brief if brief < LATEST => brief,
            long => long.saturating_sub(self.starved().saturating_sub(starved)),
        }
    }
}

impl Handler for Life {
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
            self.slowest = self.slowest.max(self.took(self.received));
            self.received += 1;
        } else if message.id == CONNECT_ID && tag == SUBSCRIBER {
            client.command(self.keys[tag], |out| {
                protocol::subscribe(out, SUBSCRIBE_ID, &self.channel, None);
            });
        } else if message.id == CONNECT_ID || message.id == SUBSCRIBE_ID && tag == SUBSCRIBER {
            self.live += 1;
        }
    }

    fn closed(&mut self, _client: &mut Client, tag: usize, cause: Cause) {
        self.failure = Some(format!("connection {tag} closed: {cause:?}"));
    }
}

fn live(
    target: Target,
    server_pid: u32,
    channel: String,
    stop: &AtomicBool,
) -> Result<String, String> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut client = Client::new(target, Identity::Anonymous).map_err(wrong)?;
    let mut life = Life {
        channel,
        keys: Vec::new(),
        live: 0,
        sent_at: Vec::new(),
        server_pid,
        received: 0,
        slowest: Duration::ZERO,
        failure: None,
    };
    for tag in [SUBSCRIBER, PUBLISHER] {
        life.keys.push(client.open(tag).map_err(wrong)?);
    }
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed)
        || life.received < life.sent_at.len()
        || life.received < FEWEST
    {
        if started.elapsed() > SETTLED && life.received == 0 {
            return Err("nothing was received".to_owned());
        }
        let due = started + INTERVAL * life.sent_at.len() as u32;
        let stops = stop.load(Ordering::Relaxed) && life.sent_at.len() >= FEWEST;
        if life.live == 2 && due <= Instant::now() && !stops {
            let data = life.sent_at.len().to_string();
            let id = life.sent_at.len() as u32 + 16;
            let channel = &life.channel;
            client.command(life.keys[PUBLISHER], |out| protocol::publish(out, id, channel, &data));
            let starved = life.starved();
            life.sent_at.push((Instant::now(), starved));
        }
        client.poll(&mut life, Duration::from_millis(2)).map_err(wrong)?;
        if let Some(failure) = life.failure {
            return Err(failure);
        }
        let (received, sent) = (life.received, life.sent_at.len());
        if life.slowest > LATEST {
            return Err(format!("delivery {received} of {sent} took {:?}", life.slowest));
        }
        if life.sent_at.get(received).is_some_and(|(at, _)| at.elapsed() > LOST) {
            return Err(format!("{received} of {sent} received, then nothing for {LOST:?}"));
        }
    }
    let (received, slowest) = (life.received, life.slowest.as_millis());
    Ok(format!("{received} publications, none missed, the slowest after {slowest} ms"))
}
