//! From one thread to another: over a shared cache line while both spin, and by eventfd or by a
//! message from ring to ring while both sleep.
//!
//! Must not know sockets. Invariant: every pass is answered before the next, so a round is two
//! passes.

use super::Driver;
use crate::load::{clock, pin};
use crate::ring::{Event, Ring, Socket};
use anyhow::{Context, Result, bail};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longest wait of a sleeping thread.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  corecast-bench floor hop --cpus 0,1 --window-s 2 --json")]
pub struct Args {
    /// The two cores.
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    cpus: Vec<usize>,
    #[arg(long, default_value_t = 2.0)]
    window_s: f64,
    /// What the sleepers of `wake` sleep in.
    #[arg(long, value_enum, default_value = "ring")]
    driver: Driver,
    #[arg(long)]
    json: bool,
}

/// 64 bytes that one side writes and the other reads; the last word says which pass it is.
#[repr(align(128))]
#[derive(Default)]
struct Line([AtomicU64; 8]);

impl Line {
    fn write(&self, pass: u64) {
        self.0[..7].iter().for_each(|word| word.store(pass, Ordering::Relaxed));
        self.0[7].store(pass, Ordering::Release);
    }

    /// Spins until the pass is there; its bytes are read too.
    fn await_pass(&self, pass: u64) -> u64 {
        while self.0[7].load(Ordering::Acquire) != pass {
            std::hint::spin_loop();
        }
        self.0[..7].iter().map(|word| word.load(Ordering::Relaxed)).sum()
    }
}

fn two(cpus: &[usize]) -> Result<(usize, usize)> {
    match cpus {
        [first, second] if first != second => Ok((*first, *second)),
        _ => bail!("--cpus takes two different cores, such as 0,1"),
    }
}

/// As a scenario reports: a pass is a delivery, and a hop.
fn print(name: &str, args: &Args, passes: u64, took: u64) {
    let us = (took as f64 / passes as f64).round() / 1e3;
    if args.json {
        let report = serde_json::json!({
            "scenario": name, "dialect": "raw", "verified": true, "failure": null,
            "messages": passes, "deliveries": passes, "window_s": took as f64 / 1e9,
            "more": {"hop_us": us},
        });
        println!("{report}");
    } else {
        println!("{name} {us} us, {passes} passes");
    }
}

/// # Errors
/// When a core cannot be had.
pub fn hop(args: &Args) -> Result<()> {
    let (near, far) = two(&args.cpus)?;
    let (there, back, over) = (Line::default(), Line::default(), AtomicBool::new(false));
    let (rounds, took) = thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            pin(Some(far))?;
            let mut pass = 0;
            while !over.load(Ordering::Relaxed) {
                pass += 1;
                std::hint::black_box(there.await_pass(pass));
                back.write(pass);
            }
            Ok(())
        });
        let measured = pin(Some(near)).map(|()| {
            let (start, end) = (clock::now(), (args.window_s * 1e9) as u64);
            let mut pass = 0;
            while clock::now() - start < end && !other.is_finished() {
                for _ in 0..1_000 {
                    pass += 1;
                    there.write(pass);
                    std::hint::black_box(back.await_pass(pass));
                }
            }
            let took = clock::now() - start;
            over.store(true, Ordering::Relaxed);
            // The other side awaits one more.
            there.write(pass + 1);
            (pass, took)
        });
        match other.join() {
            Ok(done) => done.and(measured),
            Err(_) => bail!("the other thread died"),
        }
    })?;
    print("floor-hop", args, rounds * 2, took);
    Ok(())
}

/// Sleeps until the counter is written.
enum Sleeper {
    Ring(Box<Ring>),
    Epoll(crate::net::Poller),
}

impl Sleeper {
    fn new(driver: Driver, bell: &OwnedFd) -> Result<Sleeper> {
        Ok(match driver {
            Driver::Ring => {
                let mut ring = Ring::new(256, 64, 0).context("io_uring")?;
                ring.poll_readable(Socket::Plain(bell.as_raw_fd()), 0);
                Sleeper::Ring(Box::new(ring))
            }
            Driver::Epoll => {
                let poller = crate::net::Poller::new()?;
                poller.add(bell, 0, crate::net::Want::Read)?;
                Sleeper::Epoll(poller)
            }
        })
    }

    /// False: nothing came for a while.
    fn sleep(&mut self, bell: &OwnedFd) -> Result<bool> {
        let rang = match self {
            Sleeper::Ring(ring) => {
                // By edges: the counter need not be read.
                return Ok(awaits_ready(ring));
            }
            Sleeper::Epoll(poller) => {
                let mut ready = Vec::new();
                poller.wait(&mut ready, PATIENCE)?;
                !ready.is_empty()
            }
        };
        if rang {
            rustix::io::read(bell, &mut [0; 8])?;
        }
        Ok(rang)
    }
}

fn ring_bell(bell: &OwnedFd) -> Result<()> {
    rustix::io::write(bell, &1u64.to_ne_bytes())?;
    Ok(())
}

/// # Errors
/// When a core cannot be had, or a wake-up is lost.
pub fn wake(args: &Args) -> Result<()> {
    let (near, far) = two(&args.cpus)?;
    let bell = || eventfd(0, EventfdFlags::CLOEXEC).context("an eventfd");
    let (there, back, over) = (bell()?, bell()?, AtomicBool::new(false));
    let (rounds, took) = thread::scope(|scope| {
        let other = scope.spawn(|| -> Result<()> {
            pin(Some(far))?;
            let mut sleeper = Sleeper::new(args.driver, &there)?;
            while !over.load(Ordering::Acquire) {
                if sleeper.sleep(&there)? {
                    ring_bell(&back)?;
                }
            }
            Ok(())
        });
        let measured = measure_wake(args, near, &there, &back);
        over.store(true, Ordering::Release);
        let rung = ring_bell(&there);
        match other.join() {
            Ok(done) => done.and(rung).and(measured),
            Err(_) => bail!("the other thread died"),
        }
    })?;
    print("floor-wake", args, rounds * 2, took);
    Ok(())
}

/// # Errors
/// When a core cannot be had, or a message is lost.
pub fn message(args: &Args) -> Result<()> {
    let (near, far) = two(&args.cpus)?;
    let over = AtomicBool::new(false);
    let ((tell_here, here), (tell_there, there)) = (mpsc::channel(), mpsc::channel());
    let (rounds, took) = thread::scope(|scope| {
        let over = &over;
        let other = scope.spawn(move || -> Result<()> {
            pin(Some(far))?;
            let mut ring = known_ring(&tell_there)?;
            let near = here.recv().context("the other thread could not start")?;
            while !over.load(Ordering::Acquire) {
                if awaits_ready(&mut ring) {
                    ring.message(near, 0);
                }
            }
            Ok(())
        });
        // Dropped with an error, the channel ends the other's wait.
        let tell_here = tell_here;
        pin(Some(near))?;
        let mut ring = known_ring(&tell_here)?;
        let Ok(far) = there.recv() else {
            return match other.join() {
                Ok(Err(error)) => Err(error),
                _ => bail!("the other thread died"),
            };
        };
        let measured = measure_messages(args, &mut ring, far);
        over.store(true, Ordering::Release);
        ring.message(far, 0);
        ring.flush(&[]);
        match other.join() {
            Ok(done) => done.and(measured),
            Err(_) => bail!("the other thread died"),
        }
    })?;
    print("floor-message", args, rounds * 2, took);
    Ok(())
}

/// A ring whose number is sent to the other side.
fn known_ring(tell: &mpsc::Sender<RawFd>) -> Result<Ring> {
    let ring = Ring::new(256, 64, 0).context("io_uring")?;
    // If the other side is gone, it reports that itself.
    let _ = tell.send(ring.number());
    Ok(ring)
}

/// Sleeps until the bell or a message wakes it; false: nothing came for a while.
fn awaits_ready(ring: &mut Ring) -> bool {
    ring.wait(PATIENCE);
    let mut came = false;
    while let Some(event) = ring.next() {
        came |= matches!(event, Event::Ready { .. });
    }
    came
}

fn measure_messages(args: &Args, ring: &mut Ring, far: RawFd) -> Result<(u64, u64)> {
    let (start, end) = (clock::now(), (args.window_s * 1e9) as u64);
    let mut rounds = 0;
    while clock::now() - start < end {
        ring.message(far, 0);
        if !awaits_ready(ring) {
            bail!("a message was lost");
        }
        rounds += 1;
    }
    Ok((rounds, clock::now() - start))
}

fn measure_wake(args: &Args, cpu: usize, there: &OwnedFd, back: &OwnedFd) -> Result<(u64, u64)> {
    pin(Some(cpu))?;
    let mut sleeper = Sleeper::new(args.driver, back)?;
    let (start, end) = (clock::now(), (args.window_s * 1e9) as u64);
    let mut rounds = 0;
    while clock::now() - start < end {
        ring_bell(there)?;
        if !sleeper.sleep(back)? {
            bail!("a wake-up was lost");
        }
        rounds += 1;
    }
    Ok((rounds, clock::now() - start))
}
