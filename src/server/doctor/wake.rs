//! How long a sleeping thread takes to wake, measured with an eventfd between two threads, like
//! that of a doorbell.
//!
//! Must not know lanes. Invariant: both threads sleep before each ring, so spinning is not
//! measured.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// Measured round trips, and unmeasured ones before them.
const ROUNDS: usize = 4_000;
const WARM_UP: usize = 200;

/// One-way wake-up times.
#[derive(Clone, Copy, Debug)]
pub struct Wakes {
    pub p50: Duration,
    pub p99: Duration,
}

/// Rings back and forth between two cores; half of a round trip is one wake-up.
///
/// # Errors
/// If eventfd, read or write fails.
pub fn measure(cores: [usize; 2]) -> io::Result<Wakes> {
    let bells = [eventfd(0, EventfdFlags::CLOEXEC)?, eventfd(0, EventfdFlags::CLOEXEC)?];
    let [here, there] = [bells[0].try_clone()?, bells[1].try_clone()?];
    let other = thread::spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: cores[1] });
        for _ in 0..WARM_UP + ROUNDS {
            await_ring(&there)?;
            ring(&here)?;
        }
        io::Result::Ok(())
    });
    let [here, there] = bells;
    // A separate thread, so that this thread's affinity does not change.
    let one = thread::spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: cores[0] });
        let mut halves = Vec::with_capacity(ROUNDS);
        for round in 0..WARM_UP + ROUNDS {
            let rung = Instant::now();
            ring(&there)?;
            await_ring(&here)?;
            if round >= WARM_UP {
                halves.push(rung.elapsed() / 2);
            }
        }
        io::Result::Ok(halves)
    });
    let broken = |_| io::Error::other("a thread ended early");
    let mut halves = one.join().map_err(broken)??;
    other.join().map_err(broken)??;
    halves.sort_unstable();
    Ok(Wakes { p50: halves[ROUNDS / 2], p99: halves[ROUNDS * 99 / 100] })
}

fn ring(bell: &OwnedFd) -> io::Result<()> {
    rustix::io::write(bell, &1u64.to_ne_bytes())?;
    Ok(())
}

fn await_ring(bell: &OwnedFd) -> io::Result<()> {
    let mut count = [0; 8];
    rustix::io::read(bell, &mut count)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_are_measured() {
        // One core is enough: the two threads take turns.
        let wakes = measure([0, 0]).expect("eventfds");
        assert!(Duration::ZERO < wakes.p50 && wakes.p50 <= wakes.p99);
    }
}
