//! The bridge's thread: its runtime, its bell, and the loop around its turn. It talks to programs
//! outside of the host; without Redis there are none.
//!
//! It owns no protocol: `turn` decides what is done, `lanes` and `probe` do it. Must not know
//! connections or channels. Invariant: a bridge that cannot hear its bell ends with an error, which
//! its thread's owner makes the end of the process.

mod events;
mod lanes;
mod probe;
pub mod redis;
mod signal;
mod store;
mod tls;
mod turn;

pub use lanes::Lanes;
pub use store::{Address, StoreParts};
pub use tls::{Session, Tls, TlsError};
pub use turn::{Bridge, Outside, Parts};

use crate::clock::Now;
use crate::contract::engine::Call;
use monoio::blocking::DefaultThreadPool;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use store::Store;

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
    /// Makes it; one that `dials` has a thread for resolving names, which blocks. monoio's own
    /// choice tries io_uring whatever driver the workers use, and fails if a small ring can be had
    /// but not the one that it needs.
    ///
    /// # Errors
    /// If descriptors have run out.
    pub fn new(via: Via, dials: bool) -> io::Result<Runtime> {
        if via == Via::RingOrPolling {
            let mut builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES);
            if dials {
                builder = builder.attach_thread_pool(Box::new(DefaultThreadPool::new(1)));
            }
            match builder.enable_timer().build() {
                Ok(runtime) => return Ok(Runtime(Built::Ring(runtime))),
                Err(error) => tracing::info!(%error, "the bridge gets no ring, and polls"),
            }
        }
        let mut builder = RuntimeBuilder::<LegacyDriver>::new();
        if dials {
            builder = builder.attach_thread_pool(Box::new(DefaultThreadPool::new(1)));
        }
        Ok(Runtime(Built::Polling(builder.enable_timer().build()?)))
    }
}

/// What the bridge's thread is given beside its runtime.
pub struct Surroundings {
    /// What workers ring.
    pub bell: std::os::unix::net::UnixStream,
    /// Rings a worker.
    pub ring: Box<dyn Fn(usize)>,
    pub now: Box<dyn Fn() -> Now>,
    /// Clients have been told that the host stops: other nodes may be told too.
    pub is_leaving: Box<dyn Fn() -> bool>,
    pub is_stopping: Box<dyn Fn() -> bool>,
    /// Nothing is waited for.
    pub is_cut_short: Box<dyn Fn() -> bool>,
    /// The store that homes call, if there is one.
    pub store: Option<StoreParts>,
}

/// Runs a bridge until it is to stop.
///
/// # Errors
/// The bell cannot be waited for.
pub fn run(bridge: Bridge, runtime: Runtime, around: Surroundings) -> io::Result<()> {
    match runtime.0 {
        Built::Ring(mut runtime) => runtime.block_on(as_task(turn_on(bridge, around))),
        Built::Polling(mut runtime) => runtime.block_on(as_task(turn_on(bridge, around))),
    }
}

/// Runs this as a task like the others. The future that a runtime blocks on is polled again before
/// any task where it gave way, so that sockets would wait for it.
async fn as_task<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    monoio::spawn(work).await
}

/// Turns the bridge whenever it is rung, its time has come, or the store has said something.
async fn turn_on(mut bridge: Bridge, around: Surroundings) -> io::Result<()> {
    let Surroundings { bell, ring, now, is_leaving, is_stopping, is_cut_short, store } = around;
    let now: Rc<dyn Fn() -> Now> = now.into();
    let store = store.map(|parts| Store::new(parts, Rc::clone(&now)));
    if let Some(store) = &store {
        store.start();
    }
    let mut beyond = Beyond { ring, store };
    let mut rung = pin!(hear(UnixStream::from_std(bell)?, vec![0; BELL_BYTES]));
    while !(is_stopping() && (beyond.has_left() || is_cut_short())) {
        let moment = now();
        bridge.turn(moment, &mut beyond);
        beyond.turn(bridge.lanes_mut());
        if is_leaving() && !bridge.look_again() {
            beyond.leave();
        }
        bridge.announce_sleep();
        if bridge.look_again() {
            bridge.awake();
            give_way().await;
            continue;
        }
        let deadline_us = bridge.deadline_us().min(beyond.deadline_us());
        let rest_us = deadline_us.saturating_sub(moment.monotonic_us);
        monoio::select! {
            heard = &mut rung => {
                let (bell, buffer) = heard?;
                rung.set(hear(bell, buffer));
            }
            () = beyond.change() => {}
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

/// What there is beyond the bridge: the bells of workers, and a store with `engine = "redis"`.
struct Beyond {
    ring: Box<dyn Fn(usize)>,
    store: Option<Rc<Store>>,
}

impl Beyond {
    fn turn(&self, lanes: &mut Lanes) {
        if let Some(store) = &self.store {
            store.turn(lanes);
        }
    }

    /// Tells a store that this node ends.
    fn leave(&self) {
        if let Some(store) = &self.store {
            store.leave();
        }
    }

    /// Is there nobody who has to be told that this node ends?
    fn has_left(&self) -> bool {
        self.store.as_ref().is_none_or(|store| store.has_left())
    }

    fn deadline_us(&self) -> u64 {
        let deadline = self.store.as_ref().and_then(|store| store.deadline_us());
        deadline.unwrap_or(u64::MAX)
    }

    /// Waits until a store has said something; without one for ever.
    async fn change(&self) {
        match &self.store {
            Some(store) => store.change().await,
            None => std::future::pending().await,
        }
    }
}

impl Outside for Beyond {
    fn call(&mut self, worker: usize, call: Call) {
        match &self.store {
            Some(store) => store.call(worker, call),
            None => debug_assert!(false, "worker {worker} has no engine beyond: {call:?}"),
        }
    }

    fn wake(&mut self, worker: usize) {
        (self.ring)(worker);
    }
}
