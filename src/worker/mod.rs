//! The glue of one pinned core: its driver, its transport, its edge, its home, and its ends of the
//! mesh.
//!
//! A worker is a function, `turn(now)`: it never sleeps, reads no clock and draws no randomness.
//! Whoever owns it decides when it turns and when it may sleep. Must not know what is inside a
//! frame or a request. Invariants: work waits only for a lane of higher rank (rule 1), and nothing
//! is pushed behind the doorbells stage (rule 6).

mod drain;
mod flush;
mod lanes;
mod link;
mod recv;
#[cfg(feature = "sabotage")]
mod sabotage;
mod sealed;
mod turn;

use crate::contract::engine::{Engine, FromBridge, ToBridge};
use crate::contract::envelope::{Delivery, Request};
use crate::driver::{Driver, Segment, Send, Unsent};
use crate::edge::{ConnectionId, Edge, Effect, Range};
use crate::home::Home;
use crate::limits::Budgets;
use crate::mesh::Endpoint;
use crate::metrics::CoreMetrics;
use crate::transport::Transport;
use drain::Drain;
use foldhash::quality::FixedState;
use link::Link;
use sealed::Sealed;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use drain::Stage as DrainStage;

/// A worker's ends of the mesh.
pub type WorkerEndpoint = Endpoint<Request, Delivery, ToBridge, FromBridge>;

/// What a worker is made of.
pub struct Parts<D, T, E> {
    pub driver: D,
    pub transport: T,
    /// The listener whose connections are internal, by its place in the driver's options.
    pub internal_listener: Option<u8>,
    pub edge: Edge,
    pub home: Home<E>,
    pub mesh: WorkerEndpoint,
    pub metrics: Arc<CoreMetrics>,
    pub budgets: Budgets,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnOutcome {
    /// Was there anything to do?
    pub worked: bool,
    pub rest: Rest,
}

/// When a worker wants to turn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// At once: there is work that nothing will ring for.
    Busy,
    /// When something happens, or at this microsecond of the process.
    Until(Option<u64>),
}

/// One core's worker.
pub struct Worker<D, T: Transport, E> {
    driver: D,
    transport: T,
    internal_listener: Option<u8>,
    edge: Edge,
    home: Home<E>,
    mesh: WorkerEndpoint,
    metrics: Arc<CoreMetrics>,
    budgets: Budgets,
    links: Vec<Link>,
    /// By place: connections that are not plain.
    sealed: HashMap<u32, Box<Sealed<T::Session>>, FixedState>,
    /// Cores to ring at the doorbells stage, a bit each, the bridge's the highest.
    rung: u64,
    /// The lane whose turn it is.
    serving: usize,
    /// The lane of deliveries that was looked at first.
    taking: usize,
    /// By home: deliveries taken from its lane.
    popped: Vec<u64>,
    /// The bridge's last fence, until that is answered.
    fence: Option<u64>,
    /// Commands about users that wait for earlier deliveries, in order.
    fenced: VecDeque<lanes::Fenced>,
    /// A delivery waits until filters have been asked about what came before it.
    waits_for_filters: bool,
    drain: Option<Drain>,
    effects: Vec<Effect>,
    plain: Vec<u8>,
    batch: flush::Batch,
    #[cfg(feature = "sabotage")]
    broken: sabotage::Broken,
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    #[must_use]
    pub fn new(parts: Parts<D, T, E>) -> Self {
        let cores = parts.mesh.requests_out.len();
        assert!(parts.mesh.core < cores, "a worker is one of the cores");
        assert_eq!(parts.mesh.deliveries_in.len(), cores, "every home delivers to every edge");
        assert_eq!(parts.mesh.bells.len(), cores + 1, "the bridge's doorbell is the last");
        assert!(parts.budgets.sends > 0 && parts.budgets.events > 0, "a worker that does nothing");
        // Only what was in use once takes memory.
        let links = Vec::with_capacity(parts.edge.places());
        let popped = vec![0; parts.mesh.deliveries_in.len()];
        Worker {
            driver: parts.driver,
            transport: parts.transport,
            edge: parts.edge,
            home: parts.home,
            mesh: parts.mesh,
            metrics: parts.metrics,
            budgets: parts.budgets,
            links,
            internal_listener: parts.internal_listener,
            sealed: HashMap::with_hasher(FixedState::default()),
            rung: 0,
            serving: 0,
            taking: 0,
            popped,
            fence: None,
            fenced: VecDeque::new(),
            waits_for_filters: false,
            drain: None,
            effects: Vec::new(),
            plain: Vec::new(),
            batch: flush::Batch::default(),
            #[cfg(feature = "sabotage")]
            broken: sabotage::Broken::default(),
        }
    }

    /// The edge, for simulation and tests.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The home, for simulation and tests.
    #[must_use]
    pub fn home(&self) -> &Home<E> {
        &self.home
    }

    /// Does anything lie in the lanes to this core? For simulation and tests.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.mesh.requests_in.iter().any(|lane| !lane.is_empty())
            || self.mesh.deliveries_in.iter().any(|lane| !lane.is_empty())
            || !self.mesh.from_bridge.is_empty()
    }

    /// The driver, for simulation and tests.
    #[must_use]
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// The same, to be used.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Lets the driver hand over what was asked of it, and sleeps until something happens or
    /// `timeout` is over; zero does not sleep.
    pub fn sleep(&mut self, timeout: Option<Duration>) {
        self.driver.wait(timeout);
    }

    /// Looks whether the driver knows of something that happened, without asking the kernel. Then
    /// announcing a sleep would only have others ring.
    #[must_use]
    pub fn look_for_news(&mut self) -> bool {
        self.driver.look_for_news()
    }

    fn link(&mut self, conn: ConnectionId) -> Option<&mut Link> {
        self.links.get_mut(conn.index as usize).filter(|link| link.is_of(conn))
    }
}
