//! The bridge core, on monoio: all that talks outward, which without Redis is nothing. Then it
//! probes: every 250 ms it asks each worker whether it turns, and notes when the answer came.
//!
//! Must not know connections or channels. Invariant: a probe waits for nobody (rule 7); a full lane
//! means that a worker is not ready.

use crate::clock::Now;
use crate::contract::engine::{FromBridge, ToBridge};
use crate::mesh::BridgeEndpoint;
use crate::metrics::CoreMetrics;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Between probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// Places of the bridge's submission queue: the fewest that monoio makes. Its queues are locked
/// memory, of which a user may have little.
const RING_ENTRIES: u32 = 256;

/// How a bridge may wait for sockets and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// On a ring, or by polling where there is none to be had.
    RingOrPolling,
    /// Without a call of io_uring: who forbids it may kill who calls it.
    Polling,
}

/// What a bridge runs on. It belongs to the thread that made it.
pub struct Runtime(Built);

enum Built {
    Ring(monoio::Runtime<TimeDriver<IoUringDriver>>),
    Polling(monoio::Runtime<TimeDriver<LegacyDriver>>),
}

impl Runtime {
    /// Makes it. monoio's own choice looks for a ring whatever was chosen for the workers, and ends
    /// where a small ring is there and the one that it needs is not.
    ///
    /// # Errors
    /// What the kernel says, which is that descriptors have run out.
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

/// What a bridge is made of.
pub struct BridgeOptions {
    pub end: BridgeEndpoint<ToBridge, FromBridge>,
    pub metrics: Vec<Arc<CoreMetrics>>,
    /// Rings a worker.
    pub ring: Box<dyn Fn(usize)>,
    pub now: Box<dyn Fn() -> Now>,
    pub stopping: Box<dyn Fn() -> bool>,
}

/// The bridge.
pub struct Bridge {
    options: BridgeOptions,
    probes: u64,
}

impl Bridge {
    #[must_use]
    pub fn new(options: BridgeOptions) -> Bridge {
        Bridge { options, probes: 0 }
    }

    /// Runs until it is told to stop. `bell` is what workers ring.
    ///
    /// # Errors
    /// The bell cannot be waited for.
    pub fn run(self, runtime: Runtime, bell: std::os::unix::net::UnixStream) -> io::Result<()> {
        match runtime.0 {
            Built::Ring(mut runtime) => runtime.block_on(self.probe_on(bell)),
            Built::Polling(mut runtime) => runtime.block_on(self.probe_on(bell)),
        }
    }

    async fn probe_on(self, bell: std::os::unix::net::UnixStream) -> io::Result<()> {
        let bridge = Rc::new(RefCell::new(self));
        monoio::spawn(listen(Rc::clone(&bridge), UnixStream::from_std(bell)?));
        loop {
            if (bridge.borrow().options.stopping)() {
                return Ok(());
            }
            bridge.borrow_mut().probe();
            bridge.borrow_mut().take_answers();
            monoio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// Asks every worker whether it turns.
    fn probe(&mut self) {
        self.probes += 1;
        let sequence = self.probes;
        for core in 0..self.options.end.to_workers.len() {
            let pushed = self.options.end.to_workers[core].push(FromBridge::Probe { sequence });
            if pushed.is_ok() && self.options.end.bells[core].ring() {
                (self.options.ring)(core);
            }
        }
    }

    /// Takes what workers say. Before it waits for its bell again it announces that and looks once
    /// more.
    fn take_answers(&mut self) {
        let own = self.options.end.bells.len() - 1;
        loop {
            self.drain_lanes();
            self.options.end.bells[own].announce();
            if self.options.end.from_workers.iter().all(|lane| lane.is_empty()) {
                return;
            }
            self.options.end.bells[own].awake();
        }
    }

    fn drain_lanes(&mut self) {
        let now = (self.options.now)();
        for core in 0..self.options.end.from_workers.len() {
            while let Some(said) = self.options.end.from_workers[core].pop() {
                match said {
                    ToBridge::Probed { .. } => {
                        self.options.metrics[core].probe.answered_ms.set(now.monotonic_ms());
                    }
                    ToBridge::Call(call) => {
                        debug_assert!(false, "there is no engine behind the bridge: {call:?}");
                    }
                }
            }
            if self.options.end.from_workers[core].freed() && self.options.end.bells[core].ring() {
                (self.options.ring)(core);
            }
        }
    }
}

/// Takes answers whenever the bell rings.
async fn listen(bridge: Rc<RefCell<Bridge>>, mut bell: UnixStream) {
    let mut buffer = vec![0_u8; 256];
    loop {
        let (read, lent) = bell.read(buffer).await;
        buffer = lent;
        if !matches!(read, Ok(1..)) {
            return;
        }
        bridge.borrow_mut().take_answers();
    }
}
