//! The threads: one loop per worker, and the bridge's.

use super::Error;
use super::about::About;
use super::clock::Clock;
use super::control::Control;
use super::host::{self, Bells, Host};
use crate::bridge::redis::shard::{Shard, ShardConfig};
use crate::bridge::{self, Address, Bridge, Runtime, Surroundings, Tls, Via};
use crate::config::Config;
use crate::contract::wire::NodeId;
use crate::driver::epoll::Epoll;
use crate::driver::probe::Kind;
use crate::driver::socket::Bell;
use crate::driver::uring::{Tuning, Uring};

use crate::auth::Auth;
use crate::contract::engine::{Bridged, Engine, FromBridge, Memory, ToBridge};
use crate::driver::{Driver, Options};
use crate::edge::ids::client_id::ClientIds;
use crate::edge::{ClientTimes, Cut, Edge, EdgeOptions, EdgeSecrets, HttpOptions};
use crate::hashing::Key;
use crate::home::{Home, HomeOptions, HomeSecrets};
use crate::http::routes::RouteOptions;
use crate::limits::{
    BRIDGE_ITEMS_PER_LANE, BRIDGE_NOTICES, Budgets, Limits, PROBE_INTERVAL_US, REFUSAL_SLOTS,
};
use crate::mesh::BridgeEndpoint;
use crate::metrics::{CoreMetrics, StoreHealth, StoreMetrics};
use crate::transport::Plain;
use crate::worker::{DrainStage, Parts, Rest, TurnOutcome, Worker, WorkerEndpoint};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest sleep of a worker during a shutdown, to check on the others.
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// What every worker is made from.
pub struct Seats<'a> {
    pub config: &'a Config,
    pub auth: Auth,
    pub limits: Limits,
    pub kind: Kind,
    pub host: &'a Host,
    pub metrics: &'a [Arc<CoreMetrics>],
    /// See `WorkerSeat`.
    pub credits: Option<usize>,
    pub store: Option<StoreHealth>,
}

/// Everything that one worker's thread receives.
pub struct WorkerSeat {
    kind: Kind,
    cpu: Option<usize>,
    spin_us: u64,
    /// Calls to the engine beyond the bridge that may be unanswered at once; `None`: the order is
    /// the homes' own.
    credits: Option<usize>,
    tuning: Tuning,
    options: Options,
    edge: EdgeOptions,
    home: HomeOptions,
    mesh: WorkerEndpoint,
    metrics: Arc<CoreMetrics>,
}

impl Seats<'_> {
    /// The public listener is the first, the internal one the second.
    pub fn seat(
        &self,
        mesh: WorkerEndpoint,
        listeners: Vec<OwnedFd>,
        bells: &mut Bells,
    ) -> Result<WorkerSeat, Error> {
        let core = mesh.core;
        let cpu = self.host.worker_cpus[core];
        let options = Options {
            slots: self.limits.connections_per_worker + REFUSAL_SLOTS + self.config.kept_slots(),
            kept_slots: self.config.kept_slots(),
            listeners,
            own_bell: bells.own(core)?,
            own_ring: bells.take_ring(core),
            bells: bells.remote()?,
        };
        let number = u16::try_from(core).expect("few cores");
        let cores = self.metrics.len();
        // Each key is drawn separately, so that a key that became known reveals nothing about
        // another.
        let edge_secrets = EdgeSecrets {
            homes: self.host.home_key,
            client_ids: self.host.client_id_key,
            channels: host::key()?,
            filters: host::key()?,
            pings: host::key()?,
        };
        let home_secrets = HomeSecrets {
            channels: host::key()?,
            users: host::key()?,
            publications: host::key()?,
            epochs: host::key()?,
            numberings: host::key()?,
            makers: host::key()?,
        };
        Ok(WorkerSeat {
            kind: self.kind,
            cpu,
            spin_us: if cpu.is_some() { u64::from(self.config.spin_us) } else { 0 },
            credits: self.credits,
            tuning: self.host.given.tuning(cores),
            options,
            edge: self.edge(number, edge_secrets),
            home: HomeOptions {
                core: number,
                cores,
                namespaces: self.config.namespaces.clone(),
                limits: self.limits.clone(),
                secrets: home_secrets,
            },
            mesh,
            metrics: Arc::clone(&self.metrics[core]),
        })
    }

    fn edge(&self, core: u16, secrets: EdgeSecrets) -> EdgeOptions {
        let config = self.config;
        let routes = RouteOptions {
            websocket_paths: config.websocket_paths.clone(),
            dev: config.dev,
            serves_api: config.internal_listen.is_none(),
        };
        EdgeOptions {
            core,
            homes: u16::try_from(self.metrics.len()).expect("few cores"),
            namespaces: config.namespaces.clone(),
            limits: self.limits.clone(),
            times: ClientTimes {
                ping_interval_ms: config.client.ping_interval_ms,
                pong_timeout_ms: config.client.pong_timeout_ms,
                connect_timeout_ms: config.client.connect_timeout_ms,
            },
            auth: self.auth.clone(),
            http: HttpOptions {
                internal_routes: RouteOptions { serves_api: true, ..routes.clone() },
                routes,
                origins: config.allowed_origins.clone(),
                trusted: config.trusted_proxies.clone(),
                api_key: config.api.key.as_ref().map(|key| key.as_bytes().to_vec()),
                dev: config.dev,
                node: self.host.node.clone(),
                process: host::process,
                driver: self.kind.name(),
                store: self.store.clone(),
            },
            secrets,
            metrics: self.metrics.to_vec(),
        }
    }
}

/// A worker's thread; it returns what its shutdown cut off.
pub type WorkerThread = JoinHandle<Result<Cut, crate::driver::Error>>;

/// Starts a worker's thread.
pub fn spawn_worker(
    seat: WorkerSeat,
    clock: Clock,
    control: Arc<Control>,
) -> Result<WorkerThread, Error> {
    let name = format!("worker-{}", seat.mesh.core);
    thread::Builder::new()
        .name(name)
        .spawn(move || {
            let _presence = control.presence(seat.mesh.core);
            if let Some(id) = seat.cpu
                && !core_affinity::set_for_current(core_affinity::CoreId { id })
            {
                tracing::warn!(cpu = id, "cannot pin a worker; it runs where the kernel puts it");
            }
            match seat.kind {
                Kind::IoUring => {
                    let tuning = seat.tuning;
                    order(seat, clock, &control, move |options| Uring::new(options, tuning))
                }
                Kind::Epoll => order(seat, clock, &control, Epoll::new),
            }
        })
        .map_err(|cause| Error::System { what: "starting a worker", cause })
}

/// Works with the engine that the seat has.
fn order<D: Driver>(
    seat: WorkerSeat,
    clock: Clock,
    control: &Control,
    driver: impl FnOnce(Options) -> Result<D, crate::driver::Error>,
) -> Result<Cut, crate::driver::Error> {
    match seat.credits {
        None => work(seat, clock, control, driver, Memory),
        Some(credits) => work(seat, clock, control, driver, Bridged::new(credits)),
    }
}

fn work<D: Driver, E: Engine>(
    seat: WorkerSeat,
    clock: Clock,
    control: &Control,
    driver: impl FnOnce(Options) -> Result<D, crate::driver::Error>,
    engine: E,
) -> Result<Cut, crate::driver::Error> {
    // A ring belongs to the thread that made it, so it is made here.
    let driver = driver(seat.options).inspect_err(|_| {
        control.report(false);
    })?;
    let worker = Worker::new(Parts {
        driver,
        transport: Plain,
        internal_listener: Some(1),
        edge: Edge::new(seat.edge),
        home: Home::new(seat.home, engine),
        mesh: seat.mesh,
        metrics: Arc::clone(&seat.metrics),
        budgets: Budgets::default(),
    });
    if !control.report(true) {
        return Ok(Cut::default());
    }
    let metrics = &seat.metrics;
    let (spin_us, pacing) = (seat.spin_us, Pacing::NotYet);
    let cut = Looping { worker, clock, control, metrics, spin_us, pacing }.run();
    control.ended();
    Ok(cut)
}

/// A worker's loop: turn, and sleep when there is nothing to do.
struct Looping<'a, D, E> {
    worker: Worker<D, Plain, E>,
    clock: Clock,
    control: &'a Control,
    metrics: &'a CoreMetrics,
    spin_us: u64,
    pacing: Pacing,
}

/// How far a worker is in telling its clients one after the other to reconnect elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pacing {
    NotYet,
    UnderWay,
    Over,
}

impl<D: Driver, E: Engine> Looping<'_, D, E> {
    /// Runs until the shutdown is over, and returns what that cut off.
    fn run(&mut self) -> Cut {
        let mut worked_us = 0;
        let mut drain_until_us = None;
        loop {
            let now = self.clock.now();
            if self.control.is_leaving() {
                self.worker.leave();
            }
            if self.pacing == Pacing::NotYet
                && let Some(over_ms) = self.control.paces_over_ms()
            {
                self.pacing = Pacing::UnderWay;
                self.worker.begin_pace(over_ms.into(), now);
            }
            if drain_until_us.is_none()
                && let Some(timeout_ms) = self.control.stops_within_ms()
            {
                drain_until_us = Some(now.monotonic_us + u64::from(timeout_ms) * 1000);
                self.worker.begin_drain(now);
            }
            let TurnOutcome { worked, rest } = self.worker.turn(now);
            if self.pacing == Pacing::UnderWay && self.worker.is_pace_over() {
                self.pacing = Pacing::Over;
                self.control.paced();
            }
            let ended_us = self.clock.monotonic_us();
            self.metrics.turned_ms.set(now.monotonic_ms());
            if worked {
                self.metrics.turn.record(ended_us - now.monotonic_us);
                worked_us = ended_us;
            }
            if let Some(until_us) = drain_until_us {
                if self.conclude(ended_us >= until_us || self.control.is_cut_short()) {
                    return self.worker.cut();
                }
                let quiet = !worked && rest != Rest::Busy;
                self.worker.sleep(Some(if quiet { DRAIN_STEP } else { Duration::ZERO }));
                continue;
            }
            match rest {
                Rest::Until(until_us)
                    if ended_us >= worked_us + self.spin_us && !self.worker.look_for_news() =>
                {
                    self.doze(ended_us, until_us);
                }
                _ => self.worker.sleep(Some(Duration::ZERO)),
            }
        }
    }

    /// Sleeps by the protocol of the doorbell.
    fn doze(&mut self, now_us: u64, until_us: Option<u64>) {
        self.worker.announce_sleep();
        if self.worker.look_again() {
            self.worker.awake();
            return self.worker.sleep(Some(Duration::ZERO));
        }
        let timeout = until_us.map(|until| Duration::from_micros(until.saturating_sub(now_us)));
        self.worker.sleep(timeout);
        self.worker.awake();
    }

    /// Has the shutdown ended for this worker? True if all workers have sent 3001 and this one's
    /// connections are gone, or the time is up.
    fn conclude(&mut self, timed_out: bool) -> bool {
        let stage = self.worker.drain_stage();
        if matches!(stage, DrainStage::Said | DrainStage::Quiet) && self.worker.report_once() {
            self.control.said();
        }
        timed_out || self.control.all_said() && stage == DrainStage::Quiet
    }
}

/// Everything that the bridge's thread receives.
pub struct BridgeSeat {
    pub end: BridgeEndpoint<ToBridge, FromBridge>,
    pub bell: UnixStream,
    pub workers: Vec<Option<Bell>>,
    pub metrics: Vec<Arc<CoreMetrics>>,
    pub cpu: Option<usize>,
    pub via: Via,
    pub store: Option<StoreSeat>,
}

/// The store that homes call, and what this node is called there.
pub struct StoreSeat {
    pub address: Address,
    pub tls: Option<Tls>,
    pub config: ShardConfig,
    pub node: NodeId,
    pub about: About,
    /// Makes the ids by which other nodes know this one's clients.
    pub client_id_key: Key,
    pub metrics: Arc<StoreMetrics>,
    /// For the pauses between dials.
    pub seed: u64,
}

/// Starts the bridge's thread.
pub fn spawn_bridge(
    seat: BridgeSeat,
    clock: Clock,
    control: Arc<Control>,
) -> Result<JoinHandle<io::Result<()>>, Error> {
    thread::Builder::new()
        .name("bridge".to_owned())
        .spawn(move || {
            let _presence = control.presence(seat.metrics.len());
            if let Some(id) = seat.cpu {
                core_affinity::set_for_current(core_affinity::CoreId { id });
            }
            let runtime = Runtime::new(seat.via, seat.store.is_some()).inspect_err(|_| {
                control.report(false);
            })?;
            if !control.report(true) {
                return Ok(());
            }
            let bells = seat.workers;
            let bridge = Bridge::new(bridge::Parts {
                ends: seat.end,
                metrics: seat.metrics,
                probe_interval_us: PROBE_INTERVAL_US,
                items_per_lane: BRIDGE_ITEMS_PER_LANE,
                most_notices: BRIDGE_NOTICES,
            });
            let store = seat.store.map(|store| {
                let ids = ClientIds::new(store.client_id_key);
                let client_ids = Box::new(move |connection| ids.bytes(connection));
                bridge::StoreParts {
                    shard: Shard::new(store.config, (store.node, client_ids), store.seed)
                        .counted_by(store.metrics),
                    address: store.address,
                    tls: store.tls,
                    about: Box::new(move || store.about.record()),
                }
            });
            let ask = |question: fn(&Control) -> bool| {
                let control = Arc::clone(&control);
                move || question(&control)
            };
            let around = Surroundings {
                store,
                bell: seat.bell,
                ring: Box::new(move |core: usize| {
                    if let Some(Some(bell)) = bells.get(core) {
                        bell.ring();
                    }
                }),
                now: Box::new(move || clock.now()),
                is_leaving: Box::new(ask(|it| it.all_said() || it.bridge_stops())),
                is_stopping: Box::new(ask(Control::bridge_stops)),
                is_cut_short: Box::new(ask(Control::is_cut_short)),
            };
            bridge::run(bridge, runtime, around)
        })
        .map_err(|cause| Error::System { what: "starting the bridge", cause })
}
