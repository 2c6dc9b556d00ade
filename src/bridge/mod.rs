//! The bridge core, on monoio: all that talks outward, which without Redis is nothing. Then it
//! probes: every 250 ms it asks each worker whether it turns, and notes when the answer came.
//!
//! Must not know connections or channels. Invariant: a probe waits for nobody (rule 7); a full lane
//! means that a worker is not ready.

use crate::clock::Now;
use crate::home::engine::{FromBridge, ToBridge};
use crate::mesh::BridgeEndpoint;
use crate::metrics::CoreMetrics;
use monoio::FusionDriver;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Between probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

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
    pub fn run(self, bell: std::os::unix::net::UnixStream) {
        let built = monoio::RuntimeBuilder::<FusionDriver>::new().enable_timer().build();
        let mut runtime = match built {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the bridge cannot start: /ready stays 503");
                return;
            }
        };
        let bridge = Rc::new(RefCell::new(self));
        runtime.block_on(async move {
            match UnixStream::from_std(bell) {
                Ok(stream) => {
                    monoio::spawn(listen(Rc::clone(&bridge), stream));
                }
                Err(error) => tracing::error!(%error, "the bridge cannot hear its bell"),
            }
            loop {
                if (bridge.borrow().options.stopping)() {
                    return;
                }
                bridge.borrow_mut().probe();
                bridge.borrow_mut().take_answers();
                monoio::time::sleep(PROBE_INTERVAL).await;
            }
        });
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
