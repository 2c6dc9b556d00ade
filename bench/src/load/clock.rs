//! Monotonic time in nanoseconds: the same for all processes of a machine.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Now, in nanoseconds since some point before the machine's programs.
#[must_use]
pub fn now() -> u64 {
    read(ClockId::Monotonic)
}

/// CPU time that this process took so far, in nanoseconds.
#[must_use]
pub fn own_cpu() -> u64 {
    read(ClockId::ProcessCPUTime)
}
