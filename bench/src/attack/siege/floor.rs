//! What the machine makes of a message that busy threads pass on, as workers do with a publication:
//! the floor under what a neighbour waits while every worker has more to do than it gets done.
//!
//! Must not know servers. Invariant: no thread looks later than `TURN` after it got a core, so
//! whatever is longer is the kernel's scheduling.

use super::super::neighbour::{self, BRIEF, Delays, FEWEST_OF_P99, INTERVAL};
use crate::proc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A busy worker's turn.
const TURN: Duration = Duration::from_micros(100);
/// The publisher's worker, the channel's, the subscriber's.
const HOPS: usize = 3;

/// Where the message is, and which thread waits for it.
struct Way {
    /// Hops completed; `HOPS` once it has arrived.
    hops: AtomicUsize,
    /// The thread of the first hop.
    first: AtomicUsize,
    over: AtomicBool,
    receiver: Thread,
}

/// The 99th percentile of messages that `threads` threads pass on which otherwise spin.
pub fn p99(threads: usize, lasts: Duration) -> Result<Duration, String> {
    if threads == 0 {
        return Err("the server's metrics name no worker".to_owned());
    }
    let way = Way {
        hops: AtomicUsize::new(HOPS),
        first: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        receiver: thread::current(),
    };
    thread::scope(|scope| {
        let (says, ids) = mpsc::channel();
        for number in 0..threads {
            let (way, says) = (&way, says.clone());
            scope.spawn(move || {
                // The receiver waits for it.
                says.send(neighbour::thread_id()).expect("a receiver");
                spin(way, number, threads);
            });
        }
        let spinning = ids.iter().take(threads).collect::<Vec<u32>>();
        let times = send(&way, threads, &spinning, lasts);
        way.over.store(true, Ordering::Relaxed);
        neighbour::p99(times)
    })
}

/// Is busy, and passes the message on when it is here.
fn spin(way: &Way, number: usize, threads: usize) {
    while !way.over.load(Ordering::Relaxed) {
        let turn = Instant::now();
        while turn.elapsed() < TURN {
            std::hint::spin_loop();
        }
        let hops = way.hops.load(Ordering::Acquire);
        let is_here = (way.first.load(Ordering::Relaxed) + hops) % threads == number;
        if hops < HOPS && is_here {
            way.hops.store(hops + 1, Ordering::Release);
            if hops + 1 == HOPS {
                way.receiver.unpark();
            }
        }
    }
}

/// Sends one message after the other, and says what each took. There are enough, also where it
/// takes longer.
fn send(way: &Way, threads: usize, spinning: &[u32], lasts: Duration) -> Vec<Duration> {
    let own = neighbour::thread_id();
    // A process that cannot be looked at has waited for nothing, which makes times longer.
    let delays = || proc::run_delays(std::process::id()).unwrap_or_default();
    let of_spinning = |all: &Delays| {
        let known = |id: &u32| Some((*id, *all.get(id)?));
        spinning.iter().filter_map(known).collect::<Delays>()
    };
    let (mut times, until) = (Vec::new(), Instant::now() + lasts);
    while times.len() < FEWEST_OF_P99 || Instant::now() < until {
        let before = delays();
        let sent = Instant::now();
        way.first.store(times.len() % threads, Ordering::Relaxed);
        way.hops.store(0, Ordering::Release);
        while way.hops.load(Ordering::Acquire) < HOPS {
            thread::park_timeout(INTERVAL);
        }
        let elapsed = sent.elapsed();
        let waited = |all: &Delays| all.get(&own).copied().unwrap_or_default();
        times.push(if elapsed < BRIEF {
            elapsed
        } else {
            let now = delays();
            let own = waited(&now).saturating_sub(waited(&before));
            neighbour::took(elapsed, own, &of_spinning(&before), &of_spinning(&now))
        });
        thread::sleep(INTERVAL.saturating_sub(elapsed));
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pass_every_thread() {
        for threads in [1, 2, 4] {
            let floor = p99(threads, Duration::from_secs(1)).expect("enough messages");
            assert!(floor >= TURN / 2, "{threads} threads that look once a turn: {floor:?}");
        }
    }
}
