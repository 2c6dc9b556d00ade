//! From a configuration to running cores: opens the listeners, then makes every core with the
//! driver that works on this host.
//!
//! Must not know what a core does. Invariant: what is missing is found before a core serves, by
//! making what the cores need; no estimate decides.

use super::about::About;
use super::clock::Clock;
use super::control::Control;
use super::host::{self, Host};
use super::listeners::{Listeners, SocketFile};
use super::run::{self, BridgeSeat, StoreSeat};
use super::{Error, ring_plan};
use crate::auth::Auth;
use crate::bridge::redis::greeting::Timeouts;
use crate::bridge::redis::shard::ShardConfig;
use crate::bridge::{Address, Tls, TlsError, Via};
use crate::config::{Config, DriverChoice, ReadyChoice, Redis, RedisServer};
use crate::contract::engine::{FromBridge, ToBridge};
use crate::contract::envelope::{Delivery, Request};
use crate::contract::wire::NodeId;
use crate::driver::probe::{self, Kind};
use crate::hashing::{Homes, Key};
use crate::mesh::{self, Slots};
use crate::metrics::{CoreMetrics, StoreHealth, StoreMetrics};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time that a start waits for locked memory. The kernel counts it per user, and releases that of a
/// process some time after the process has ended.
const LOCKED_PATIENCE: Duration = Duration::from_secs(1);
const LOCKED_STEP: Duration = Duration::from_millis(20);

/// Running cores.
pub struct Cores {
    pub control: Arc<Control>,
    pub workers: Vec<run::WorkerThread>,
    pub bridge: JoinHandle<io::Result<()>>,
    pub socket_files: Vec<SocketFile>,
    /// By worker.
    pub metrics: Vec<Arc<CoreMetrics>>,
}

/// Why cores could not be started with a driver.
enum Failed {
    /// A worker or the probe cannot have a ring; the other driver may work.
    Ring { error: io::Error, said: String },
    /// No driver would work.
    Start(Error),
}

/// Starts the server. `config.listen` and `config.internal_listen` become the addresses that were
/// opened.
///
/// # Errors
/// What is missing.
pub fn start(config: &mut Config, auth: &Auth) -> Result<Cores, Error> {
    let mut host = Host::new(config)?;
    let workers = host.workers;
    let wanted = std::iter::once(&config.listen).chain(&config.internal_listen);
    let listeners = Listeners::open(wanted, workers)?;
    let mut opened = listeners.at.iter().cloned();
    config.listen = opened.next().expect("the public listener was opened");
    config.internal_listen = opened.next();
    host.node = host::node(&config.listen)?;
    let attempt = Attempt { config, auth, host: &host, listeners: &listeners, workers };
    let (started, kind, why) = attempt.start()?;
    let shared = kind == Kind::Epoll;
    let limits = config.limits_on(host.descriptors, workers, shared);
    let set_by = config.connections_set_by(host.descriptors, workers, shared);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        workers,
        driver = kind.name(),
        why,
        connections = u64::from(limits.connections_per_worker) * workers as u64,
        connections_set_by = set_by,
        listen = %config.listen,
        internal_listen = config.internal_listen.as_ref().map(tracing::field::display),
        "serving"
    );
    let Started { control, workers, bridge, metrics } = started;
    Ok(Cores { control, workers, bridge, socket_files: listeners.hand_over(), metrics })
}

/// What every attempt is made from.
struct Attempt<'a> {
    config: &'a Config,
    auth: &'a Auth,
    host: &'a Host,
    listeners: &'a Listeners,
    workers: usize,
}

struct Started {
    control: Arc<Control>,
    workers: Vec<run::WorkerThread>,
    bridge: JoinHandle<io::Result<()>>,
    metrics: Vec<Arc<CoreMetrics>>,
}

impl Attempt<'_> {
    /// Starts with the configured driver, or chooses one; returns its name and the reason for the
    /// choice.
    fn start(&self) -> Result<(Started, Kind, String), Error> {
        let wanted = self.config.driver;
        if wanted == DriverChoice::Epoll {
            // Not even the probe is made, because a host that forbids io_uring may kill processes
            // that call it.
            return self.on_epoll("as configured".to_owned());
        }
        match self.on_rings() {
            Ok((started, why)) => {
                let why = if wanted == DriverChoice::Auto { why } else { "as configured".into() };
                Ok((started, Kind::IoUring, why))
            }
            Err(Failed::Start(error)) => Err(error),
            Err(Failed::Ring { said, .. }) if wanted == DriverChoice::IoUring => {
                Err(Error::Driver { wanted: "io_uring", reason: said })
            }
            Err(Failed::Ring { said, .. }) => self.on_epoll(said),
        }
    }

    fn on_epoll(&self, why: String) -> Result<(Started, Kind, String), Error> {
        match self.launch(Kind::Epoll) {
            Ok(started) => Ok((started, Kind::Epoll, why)),
            Err(Failed::Start(error)) => Err(error),
            Err(Failed::Ring { said, .. }) => Err(Error::Driver { wanted: "epoll", reason: said }),
        }
    }

    /// Starts on rings. Waits for a while for the locked memory of processes of the same user that
    /// have just ended.
    fn on_rings(&self) -> Result<(Started, String), Failed> {
        let start = Instant::now();
        let plan = ring_plan(self.config, self.host.descriptors, self.workers, &self.host.given);
        let fits_alone = host::lockable_bytes().is_none_or(|most| most >= plan.locked_bytes());
        loop {
            let tried = match probe::try_ring() {
                Ok(()) => self.launch(Kind::IoUring),
                Err(error) => Err(Failed::Ring { said: probe::why(&error), error }),
            };
            match tried {
                Err(Failed::Ring { error, .. })
                    if error.kind() == io::ErrorKind::OutOfMemory
                        && fits_alone
                        && start.elapsed() < LOCKED_PATIENCE =>
                {
                    thread::park_timeout(LOCKED_STEP);
                }
                Ok(started) => return Ok((started, probe::WORKS.to_owned())),
                Err(failed) => return Err(failed),
            }
        }
    }

    /// All cores with this driver, or none.
    fn launch(&self, kind: Kind) -> Result<Started, Failed> {
        let Attempt { config, host, listeners, workers, .. } = *self;
        let limits = config.limits_on(host.descriptors, workers, kind == Kind::Epoll);
        let limits = host.given.limits(limits, workers);
        let slots = host.given.lane_slots(workers);
        let slots = Slots { requests: slots, deliveries: slots, bridge: slots };
        let (endpoints, bridge_end) =
            mesh::mesh::<Request, Delivery, ToBridge, FromBridge>(workers, slots);
        let metrics: Vec<Arc<CoreMetrics>> =
            (0..workers).map(|_| Arc::new(CoreMetrics::new())).collect();
        let by_message = kind == Kind::IoUring && host::wakes_by_message(workers, host.given.cores);
        let mut bells = host::Bells::new(workers, by_message).map_err(Failed::Start)?;
        let control = Arc::new(Control::new(workers, bells.remote().map_err(Failed::Start)?));
        let clock = Clock::start();
        let auth = self.auth.clone();
        // Each answer of a store has its place in the lane from the bridge (rule 14).
        let credits = config.redis.as_ref().map(|_| slots.bridge);
        let store = config.redis.as_ref().map(|redis| StoreHealth {
            metrics: Arc::default(),
            decides_ready: redis.ready == ReadyChoice::Redis,
        });
        let store_metrics = store.as_ref().map(|store| Arc::clone(&store.metrics));
        let seats =
            run::Seats { config, auth, limits, kind, host, metrics: &metrics, credits, store };
        let mut launching =
            Launching { control: Arc::clone(&control), workers: Vec::new(), bridge: None };
        let spawned = (|| {
            for endpoint in endpoints {
                let own = listeners.of_worker(endpoint.core)?;
                let seat = seats.seat(endpoint, own, &mut bells)?;
                launching.workers.push(run::spawn_worker(seat, clock, Arc::clone(&control))?);
            }
            let seat = BridgeSeat {
                end: bridge_end,
                bell: bells.bridge_end()?,
                workers: bells.remote()?,
                metrics: metrics.clone(),
                cpu: host.bridge_cpu,
                via: match kind {
                    Kind::IoUring => Via::RingOrPolling,
                    Kind::Epoll => Via::Polling,
                },
                store: config
                    .redis
                    .as_ref()
                    .map(|redis| {
                        let namespaces = &config.namespaces;
                        let about = About::new(&host.node, namespaces, metrics.clone(), clock);
                        let homes = Homes::new(host.home_key, workers);
                        let metrics = store_metrics.unwrap_or_default();
                        store_seat(redis, (about, host.client_id_key), homes, metrics)
                    })
                    .transpose()?,
            };
            launching.bridge = Some(run::spawn_bridge(seat, clock, Arc::clone(&control))?);
            Ok(())
        })();
        launching.settle(spawned, metrics)
    }
}

/// How what is said to a Redis is sealed, if it is.
///
/// # Errors
/// TLS is asked for, and nobody could be believed.
pub(super) fn store_tls(redis: &Redis) -> Result<Option<Tls>, TlsError> {
    match (&redis.tls, &redis.server) {
        (Some(tls), RedisServer::Tcp { host, .. }) => Tls::new(host, &tls.authorities).map(Some),
        (Some(_), RedisServer::Unix(_)) | (None, _) => Ok(None),
    }
}

/// What the bridge needs to call a Redis.
fn store_seat(
    redis: &Redis,
    (about, client_id_key): (About, Key),
    homes: Homes,
    metrics: Arc<StoreMetrics>,
) -> Result<StoreSeat, Error> {
    let address = match &redis.server {
        RedisServer::Tcp { host, port } => Address::Tcp { host: host.clone(), port: *port },
        RedisServer::Unix(path) => Address::Unix(path.clone()),
    };
    let tls = store_tls(redis).map_err(Error::Tls)?;
    let config = ShardConfig {
        user: redis.user.clone(),
        password: redis.password.as_ref().map(|password| password.as_str().to_owned()),
        database: redis.database,
        prefix: redis.prefix.clone(),
        timeouts: Timeouts::default(),
        homes,
    };
    let seed = host::key()?;
    let (seed, _) = seed.0.split_first_chunk().expect("16 bytes");
    let node = NodeId::read(about.uid()).expect("a node is called by 32 digits");
    let seed = u64::from_le_bytes(*seed);
    Ok(StoreSeat { address, tls, config, node, about, client_id_key, metrics, seed })
}

/// Threads that are making what they need.
struct Launching {
    control: Arc<Control>,
    workers: Vec<run::WorkerThread>,
    bridge: Option<JoinHandle<io::Result<()>>>,
}

impl Launching {
    /// Lets the cores start when all are made, else ends them.
    fn settle(
        self,
        spawned: Result<(), Error>,
        metrics: Vec<Arc<CoreMetrics>>,
    ) -> Result<Started, Failed> {
        let Launching { control, workers, bridge } = self;
        let is_gone = || {
            workers.iter().any(JoinHandle::is_finished)
                || bridge.as_ref().is_some_and(JoinHandle::is_finished)
        };
        let made = spawned.is_ok() && control.await_made(is_gone);
        control.begin(made);
        workers.iter().for_each(|worker| worker.thread().unpark());
        bridge.iter().for_each(|bridge| bridge.thread().unpark());
        match bridge {
            Some(bridge) if made => Ok(Started { control, workers, bridge, metrics }),
            bridge => Err(reason(spawned, workers, bridge)),
        }
    }
}

/// Why the start failed, by the results of the threads, which have ended and released everything.
fn reason(
    spawned: Result<(), Error>,
    workers: Vec<run::WorkerThread>,
    bridge: Option<JoinHandle<io::Result<()>>>,
) -> Failed {
    let mut failed = spawned.err().map(Failed::Start);
    let panicked = || {
        let cause = io::Error::other("its thread panicked");
        Failed::Start(Error::System { what: "starting a core", cause })
    };
    for (core, worker) in workers.into_iter().enumerate() {
        let why = match worker.join() {
            Ok(Ok(_)) => continue,
            Ok(Err(crate::driver::Error::Ring(error))) => {
                let said = format!("worker {core} gets no ring: {}", probe::why(&error));
                Failed::Ring { error, said }
            }
            Ok(Err(crate::driver::Error::Epoll(cause))) => {
                Failed::Start(Error::System { what: "a worker cannot start: epoll", cause })
            }
            Err(_) => panicked(),
        };
        failed.get_or_insert(why);
    }
    let bridge = match bridge.map(JoinHandle::join) {
        None | Some(Ok(Ok(()))) => None,
        Some(Ok(Err(cause))) => {
            Some(Failed::Start(Error::System { what: "the bridge cannot start", cause }))
        }
        Some(Err(_)) => Some(panicked()),
    };
    failed.or(bridge).unwrap_or_else(panicked)
}
