//! What the kernel's ring can do, step by step, for an operator who wants to know why it is not
//! used.
//!
//! Must not know the server. Invariant: everything that it made is gone when it returns.

use super::probe::{self, Kind};
use super::uring::buffers::BufRing;
use super::uring::{Tuning, Uring};
use super::{Options, socket};
use io_uring::{IoUring, Probe, opcode};
use std::io;
use std::sync::Barrier;
use std::thread;

/// One step: what was tried, and the result.
#[derive(Debug)]
pub struct Step {
    pub name: &'static str,
    /// What was found, or why it does not work.
    pub found: Result<String, String>,
}

/// What the server would ask for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub workers: usize,
    /// Direct descriptors of each ring.
    pub slots: u32,
    /// Sizes of each ring.
    pub tuning: Tuning,
}

impl Plan {
    /// Memory that the kernel locks for the rings of all workers (Linux 6.18; others lock less):
    /// queues, and the rings of buffers.
    #[must_use]
    pub fn locked_bytes(&self) -> u64 {
        const PAGE: u64 = 4_096;
        let Tuning { submissions, completions, buffers, .. } = self.tuning;
        let queues = u64::from(submissions) * (64 + 4) + u64::from(completions) * 16 + PAGE;
        let buffers = (u64::from(buffers) * 16).next_multiple_of(PAGE);
        self.workers as u64 * (queues.next_multiple_of(PAGE) + buffers)
    }
}

/// Tries everything that a start of the server needs. If there is no ring, it ends there.
#[must_use]
pub fn survey(plan: Plan) -> Vec<Step> {
    let ring = match IoUring::new(8) {
        Ok(ring) => ring,
        Err(error) => {
            let found = Err(probe::why(&error));
            return vec![Step { name: "io_uring", found }];
        }
    };
    let mut steps = vec![Step { name: "io_uring", found: Ok("the kernel gives a ring".into()) }];
    let mut step = |name, found: Result<String, String>| steps.push(Step { name, found });
    step("io_uring features", features(&ring));
    step("io_uring operations", operations(&ring));
    let mut builder = IoUring::builder();
    let deferred = builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(8)
        .map(|_: IoUring| "run when the worker asks".to_owned());
    step("io_uring deferred completions", deferred.map_err(|error| probe::why(&error)));
    step("io_uring provided buffers", provided_buffers());
    let direct = ring.submitter().register_files_sparse(plan.slots);
    let direct = direct.map(|()| format!("{} for each worker", plan.slots));
    step("io_uring direct descriptors", direct.map_err(|error| descriptors(&error)));
    step("io_uring connection", connection());
    let all = rings(plan).map(|()| format!("{} made at once", plan.workers));
    step("io_uring rings of all workers", all);
    steps
}

fn features(ring: &IoUring) -> Result<String, String> {
    let has = ring.params();
    let all = [
        ("completions are never dropped", has.is_feature_nodrop()),
        ("waits with a time limit", has.is_feature_ext_arg()),
        ("sockets are polled inside", has.is_feature_fast_poll()),
        ("silent successes", has.is_feature_skip_cqe_on_success()),
    ];
    complete(&all)
}

/// What is available, or what is missing.
fn complete(all: &[(&'static str, bool)]) -> Result<String, String> {
    let names = |there: bool| {
        let some = all.iter().filter(|(_, has)| *has == there).map(|(name, _)| *name);
        some.collect::<Vec<_>>().join(", ")
    };
    let missing = names(false);
    if missing.is_empty() { Ok(names(true)) } else { Err(format!("without {missing}")) }
}

fn operations(ring: &IoUring) -> Result<String, String> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| probe::why(&error))?;
    let all = [
        ("accept", opcode::Accept::CODE),
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("sendmsg", opcode::SendMsg::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
        ("shutdown", opcode::Shutdown::CODE),
        ("close", opcode::Close::CODE),
    ];
    complete(&all.map(|(name, code)| (name, probe.is_supported(code))))
}

fn provided_buffers() -> Result<String, String> {
    let tried = || -> io::Result<()> {
        // Declared first, so that it outlives the ring.
        let buffers = BufRing::new(1, 4_096)?;
        let ring = IoUring::new(8)?;
        buffers.register(&ring)
    };
    tried().map(|()| "a receive takes its buffer when bytes come".to_owned()).map_err(|error| {
        format!("the kernel takes no ring of buffers (Linux 5.19 does): {}", probe::why(&error))
    })
}

fn descriptors(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "more than RLIMIT_NOFILE, to which a ring's table is held".to_owned(),
        _ => probe::why(error),
    }
}

fn connection() -> Result<String, String> {
    match probe::probe() {
        (Kind::IoUring, _) => Ok("accepted, received from and closed".to_owned()),
        (Kind::Epoll, why) => Err(why),
    }
}

/// Makes the rings of all workers at once, as a start does, because locked memory is counted for
/// all together. Each is made in its own thread, like a worker's, because a thread may register
/// only 16.
///
/// # Errors
/// Which worker cannot have one, and why.
pub fn rings(plan: Plan) -> Result<(), String> {
    let all_tried = Barrier::new(plan.workers);
    let hold = |worker: usize| {
        let made = own_ring(plan);
        all_tried.wait();
        made.map(drop).map_err(|error| format!("worker {worker} gets none: {}", probe::why(&error)))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.workers).map(|at| scope.spawn(move || hold(at))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err("making a ring panicked".to_owned()))
        });
        joined.collect()
    })
}

fn own_ring(plan: Plan) -> io::Result<Uring> {
    let options = Options {
        slots: plan.slots,
        kept_slots: 0,
        listeners: Vec::new(),
        own_bell: socket::bell()?,
        own_ring: None,
        bells: Vec::new(),
    };
    Uring::new(options, plan.tuning).map_err(|error| match error {
        super::Error::Ring(error) | super::Error::Epoll(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(complete(&[("a", true), ("b", true)]), Ok("a, b".into()));
        assert_eq!(
            complete(&[("a", true), ("b", false), ("c", false)]),
            Err("without b, c".into())
        );
    }

    #[test]
    fn locked_memory_is_what_was_measured() {
        // 8 MiB were enough for the rings of 40 workers that share cores, and not for 41.
        let tuning = Tuning { buffers: 256, ..Tuning::default() };
        let plan = |workers| Plan { workers, slots: 1, tuning };
        assert!(plan(40).locked_bytes() <= 8 << 20 && plan(41).locked_bytes() > 8 << 20);
    }

    #[test]
    fn more_rings_are_made_than_one_thread_may_register() {
        let tuning = Tuning {
            buffers: 1,
            buffer_bytes: 64,
            submissions: 8,
            completions: 64,
            ..Tuning::default()
        };
        let made = |workers| rings(Plan { workers, slots: 1, tuning });
        match made(1) {
            Ok(()) => assert_eq!(made(40), Ok(())),
            Err(why) => eprintln!("SKIPPED: no ring here: {why}"),
        }
    }

    #[test]
    fn a_table_beyond_the_limit_is_told_apart() {
        let plan = Plan { workers: 1, slots: u32::MAX >> 1, tuning: Tuning::default() };
        let steps = survey(plan);
        if steps[0].found.is_err() {
            assert_eq!(steps.len(), 1, "without a ring nothing else is tried");
            return;
        }
        let direct = steps.iter().find(|step| step.name == "io_uring direct descriptors");
        let found = direct.map(|step| step.found.is_err());
        assert_eq!(found, Some(true));
    }
}
