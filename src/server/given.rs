//! The cores and memory that the server may use, given the machine, the process's affinity and its
//! control groups, and what follows for workers and their pools.
//!
//! Must not know where the numbers come from. Invariant: the memory that workers take before the
//! first client is a small part of the available memory.

use super::cgroup::Groups;
use crate::config::Config;
use crate::driver::uring::Tuning;
use crate::limits::{Limits, MESH_BYTES, lane_slots};

/// Memory for which one worker is started; there are no more workers than that, unless configured.
const MEMORY_PER_WORKER: u64 = 16 << 20;
/// All workers' receive buffers, their arenas, and the mesh each take at most one such part of the
/// memory.
const PART_FOR_POOLS: u64 = 64;
/// Number and size of a worker's receive buffers where workers share cores: 256 KiB, since 56
/// workers with the usual size would take 450 MiB. They are small, so that each of many pongs that
/// arrive together finds one.
const CROWDED: (u16, u32) = (256, 1_024);
/// A smaller arena would be flushed after every few frames.
const ARENA_BYTES_MIN: u32 = 256 << 10;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Usable cores, a fraction of one rounded up.
    pub cores: usize,
    /// The number of cores comes from a quota.
    pub by_quota: bool,
    pub memory_bytes: u64,
}

impl Given {
    /// For a process that may run on `allowed` cores of a machine with this much memory.
    pub fn new(allowed: usize, machine_bytes: u64, groups: &Groups) -> Given {
        let allowed = allowed.max(1);
        let quota = groups.cpu.map_or(usize::MAX, |quota| quota.cores());
        Given {
            cores: allowed.min(quota),
            by_quota: quota < allowed,
            memory_bytes: machine_bytes.min(groups.memory_bytes.unwrap_or(u64::MAX)),
        }
    }

    /// Workers to start.
    pub fn workers(&self, config: &Config) -> usize {
        let room = usize::try_from(self.memory_bytes / MEMORY_PER_WORKER).unwrap_or(usize::MAX);
        config.workers_on(self.cores.min(room).max(1))
    }

    /// Sizes of each worker's ring and buffers.
    pub fn tuning(&self, workers: usize) -> Tuning {
        let tuning = Tuning::default();
        let (buffers, buffer_bytes) = CROWDED;
        if workers > self.cores {
            return Tuning { buffers, buffer_bytes, ..tuning };
        }
        let fit = self.part_of(workers) / u64::from(tuning.buffer_bytes);
        let fit = u16::try_from(fit).unwrap_or(u16::MAX).clamp(buffers, tuning.buffers);
        // A power of two.
        Tuning { buffers: 1 << fit.ilog2(), ..tuning }
    }

    /// The bounds of each worker. Its arena, which is touched at the start, is limited by the
    /// available memory.
    pub fn limits(&self, limits: Limits, workers: usize) -> Limits {
        let fit = u32::try_from(self.part_of(workers)).unwrap_or(u32::MAX).max(ARENA_BYTES_MIN);
        Limits { arena_bytes: limits.arena_bytes.min(fit), ..limits }
    }

    /// Slots of each lane.
    pub fn lane_slots(&self, workers: usize) -> usize {
        let bytes = self.memory_bytes / PART_FOR_POOLS;
        lane_slots(workers, usize::try_from(bytes).unwrap_or(usize::MAX).min(MESH_BYTES))
    }

    fn part_of(&self, workers: usize) -> u64 {
        self.memory_bytes / PART_FOR_POOLS / workers.max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::Quota;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn given(allowed: usize, machine_bytes: u64, cpu: Option<u64>, memory: Option<u64>) -> Given {
        let cpu = cpu.map(|percent| Quota { run_us: percent * 1_000, period_us: 100_000 });
        let groups = Groups { cpu, memory_bytes: memory, ..Groups::default() };
        Given::new(allowed, machine_bytes, &groups)
    }

    #[test]
    fn a_quota_and_little_memory_make_fewer_workers() {
        let config = crate::config::Config::load(crate::config::Sources {
            dev: true,
            ..crate::config::Sources::default()
        });
        let config = config.expect("the defaults are good");
        for (allowed, cpu, memory, workers) in [
            (64, None, None, 63),
            (64, Some(200), None, 2),
            (64, Some(150), None, 2),
            (64, Some(10), None, 1),
            (2, Some(400), None, 2),
            (64, None, Some(256 << 20), 16),
            (64, None, Some(4 << 20), 1),
        ] {
            let given = given(allowed, 256 * GIB, cpu, memory);
            assert_eq!(given.workers(&config), workers, "{allowed} {cpu:?} {memory:?}");
            assert_eq!(given.by_quota, given.cores < allowed);
        }
    }

    #[test]
    fn pools_are_a_small_part_of_the_memory() {
        for memory in [256 << 20, 512 << 20, GIB, 4 * GIB, 24 * GIB, 256 * GIB] {
            for workers in [1, 2, 16, 63] {
                let given = given(64, memory, None, None);
                let tuning = given.tuning(workers);
                let buffers = u64::from(tuning.buffers) * u64::from(tuning.buffer_bytes);
                let arena = u64::from(given.limits(Limits::default(), workers).arena_bytes);
                let all = workers as u64 * (buffers + arena);
                // The minimum of each, on a machine with less memory than any worker needs.
                let least = workers as u64 * ((512 << 10) + u64::from(ARENA_BYTES_MIN));
                assert!(all <= memory / 32 + least, "{workers} in {memory}: {all}");
            }
        }
        let usual = given(2, 4 * GIB, None, None);
        assert_eq!(usual.tuning(2).buffers, Tuning::default().buffers);
        assert_eq!(usual.limits(Limits::default(), 2), Limits::default());
        assert_eq!(usual.lane_slots(2), 1_024);
        assert_eq!(usual.tuning(3).buffers, CROWDED.0, "three workers share two cores");
    }
}
