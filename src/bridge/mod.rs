//! The bridge's thread: its runtime, its bell, and the loop around its turn. It talks to programs
//! outside of the host; without Redis there are none.
//!
//! It owns no protocol: `turn` decides what is done, `lanes` and `probe` do it. Must not know
//! connections or channels. Invariant: a bridge that cannot hear its bell ends with an error, which
//! its thread's owner makes the end of the process.

mod lanes;
mod probe;
pub mod redis;
mod turn;

pub use lanes::Lanes;
pub use turn::{Bridge, Outside, Parts};

use crate::clock::Now;
use crate::contract::engine::Call;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Entries of the bridge's submission queue, the fewest that monoio allows. The queues use locked
/// memory, of which a user may have little.
const RING_ENTRIES: u32 = 256;

/// Rings of the bell that are taken at once.
const BELL_BYTES: usize = 256;

/// How a bridge waits for sockets and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// On a ring, or by polling if it cannot have one.
    RingOrPolling,
    /// Without any io_uring call, because a host that forbids io_uring may kill processes that call
    /// it.
    Polling,
}

/// The bridge's runtime. It belongs to the thread that made it.
pub struct Runtime(Built);

enum Built {
    Ring(monoio::Runtime<TimeDriver<IoUringDriver>>),
    Polling(monoio::Runtime<TimeDriver<LegacyDriver>>),
}

impl Runtime {
    /// Makes it. monoio's own choice tries io_uring whatever driver the workers use, and fails if a
    /// small ring can be had but not the one that it needs.
    ///
    /// # Errors
    /// If descriptors have run out.
    pub fn new(via: Via) -> io::Result<Runtime> {
        if via == Via::RingOrPolling {
            let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES);
            match builder.enable_timer().build() {
                Ok(runtime) => return Ok(Runtime(Built::Ring(runtime))),
                Err(error) => tracing::info!(%error, "the bridge gets no ring, and polls"),
            }
        }
        let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
        Ok(Runtime(Built::Polling(runtime)))
    }
}

/// What the bridge's thread is given beside its runtime.
pub struct Surroundings {
    /// What workers ring.
    pub bell: std::os::unix::net::UnixStream,
    /// Rings a worker.
    pub ring: Box<dyn Fn(usize)>,
    pub now: Box<dyn Fn() -> Now>,
    pub is_stopping: Box<dyn Fn() -> bool>,
}

/// Runs a bridge until it is to stop.
///
/// # Errors
/// The bell cannot be waited for.
pub fn run(bridge: Bridge, runtime: Runtime, around: Surroundings) -> io::Result<()> {
    match runtime.0 {
        Built::Ring(mut runtime) => runtime.block_on(turn_on(bridge, around)),
        Built::Polling(mut runtime) => runtime.block_on(turn_on(bridge, around)),
    }
}

/// Turns the bridge whenever it is rung or its time has come.
async fn turn_on(mut bridge: Bridge, around: Surroundings) -> io::Result<()> {
    let Surroundings { bell, ring, now, is_stopping } = around;
    let mut nothing = Nothing { ring };
    let mut rung = pin!(hear(UnixStream::from_std(bell)?, vec![0; BELL_BYTES]));
    while !is_stopping() {
        let moment = now();
        bridge.turn(moment, &mut nothing);
        bridge.announce_sleep();
        if bridge.look_again() {
            bridge.awake();
            give_way().await;
            continue;
        }
        let rest_us = bridge.deadline_us().saturating_sub(moment.monotonic_us);
        monoio::select! {
            heard = &mut rung => {
                let (bell, buffer) = heard?;
                rung.set(hear(bell, buffer));
            }
            () = monoio::time::sleep(Duration::from_micros(rest_us)) => {}
        }
        bridge.awake();
    }
    Ok(())
}

/// Waits until the bell was rung, and takes what was rung so far.
async fn hear(mut bell: UnixStream, buffer: Vec<u8>) -> io::Result<(UnixStream, Vec<u8>)> {
    let (read, buffer) = bell.read(buffer).await;
    match read? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its bell was closed")),
        _ => Ok((bell, buffer)),
    }
}

/// Lets what else the runtime has to do be done.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Without Redis there is nothing beyond the bridge.
struct Nothing {
    ring: Box<dyn Fn(usize)>,
}

impl Outside for Nothing {
    fn call(&mut self, worker: usize, call: Call) {
        debug_assert!(false, "worker {worker} has no engine beyond the bridge: {call:?}");
    }

    fn wake(&mut self, worker: usize) {
        (self.ring)(worker);
    }
}
