//! Topology: configuration in, pinned cores out. Builds the mesh, opens the listeners, starts
//! workers and bridge, waits for a signal, and ends them in order.
//!
//! Must not know the data path. Invariant: what a core needs is built before it starts, and moved
//! into it; nothing is handed over afterwards but signals.

mod clock;
pub mod doctor;
mod host;
mod run;

use crate::clock::Now;
use crate::config::{Config, DriverChoice, Secret};
use crate::driver::probe::{self, Kind};
use crate::driver::survey::{self, Plan};
use crate::edge::auth::{self, Auth, KeyError, KeyOptions};
use crate::home::engine::{FromBridge, ToBridge};
use crate::home::envelope::{Delivery, Request};
use crate::limits::{REFUSAL_SLOTS, lane_slots};
use crate::mesh::{self, Slots};
use crate::metrics::CoreMetrics;
use clock::Clock;
use host::Host;
use run::{Control, WorkerSeat};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Exit code of a server that could not start: an address in use, no descriptors, no driver.
const EXIT_UNAVAILABLE: u8 = 69;

/// Why a server cannot start.
#[derive(Debug)]
pub enum Error {
    /// A listener could not be opened.
    Listen { addr: SocketAddr, cause: std::io::Error },
    /// The wanted driver does not work here.
    Driver { wanted: &'static str, reason: String },
    /// The system refused something that every start needs.
    System { what: &'static str, cause: std::io::Error },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Listen { addr, cause } if cause.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {addr}: the address is in use; stop what listens there or set \
                 another `listen` (--listen, CORECAST_LISTEN)"
                )
            }
            Error::Listen { addr, cause } => {
                write!(f, "cannot listen on {addr}: {cause}; check `listen`")
            }
            Error::Driver { wanted, reason } => {
                write!(f, "driver {wanted} does not work here: {reason}; set driver = \"auto\"")
            }
            Error::System { what, cause } => write!(f, "{what}: {cause}"),
        }
    }
}

/// Reads the keys of a configuration, for the tokens that it will be shown.
///
/// # Errors
/// Every key that cannot be used.
pub fn auth(config: &Config) -> Result<Auth, Vec<KeyError>> {
    let tokens = &config.client.tokens;
    let bytes = |secret: &Secret| secret.as_bytes().to_vec();
    Auth::new(&auth::Options {
        keys: KeyOptions {
            hmac_secrets: tokens.hmac_secrets.iter().map(bytes).collect(),
            rsa: tokens.rsa_public_key.as_str().into(),
            ecdsa: tokens.ecdsa_public_key.as_str().into(),
            ed25519: tokens.ed25519_public_key.as_str().into(),
            jwks: tokens.jwks.as_str().into(),
        },
        audience: tokens.audience.clone(),
        issuer: tokens.issuer.clone(),
        cookie: tokens.cookie.clone(),
        allow_anonymous: config.client.allow_anonymous,
    })
}

/// The moment that it is.
#[must_use]
pub fn now() -> Now {
    Clock::start().now()
}

/// Runs the server until it is told to stop. `auth` is the configuration's.
#[must_use]
pub fn run(config: Config, auth: Auth) -> ExitCode {
    match start(&config, auth) {
        Ok(server) => server.wait(config.shutdown_timeout_ms),
        Err(error) => {
            eprintln!("corecast: {error}");
            tracing::error!("{error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

/// A running server.
struct Server {
    control: Arc<Control>,
    workers: Vec<JoinHandle<()>>,
    bridge: JoinHandle<()>,
    signals: Signals,
}

fn start(config: &Config, auth: Auth) -> Result<Server, Error> {
    let host = Host::new(config)?;
    let workers = config.workers_on(host.cores);
    let kind =
        choose_driver(config.driver, ring_plan(config, host.descriptors, workers, host.cores))?;
    let limits = config.limits_on(host.descriptors, workers, kind == Kind::Epoll);
    // Before any thread, so that no signal is missed.
    let signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|cause| Error::System { what: "signal handlers", cause })?;
    let slots = lane_slots(workers);
    let slots = Slots { requests: slots, deliveries: slots, bridge: slots };
    let (endpoints, bridge_end) =
        mesh::mesh::<Request, Delivery, ToBridge, FromBridge>(workers, slots);
    let metrics: Vec<Arc<CoreMetrics>> =
        (0..workers).map(|_| Arc::new(CoreMetrics::new())).collect();
    let by_message = kind == Kind::IoUring && host::wakes_by_message(workers, host.cores);
    let mut bells = host::Bells::new(workers, by_message)?;
    let control = Arc::new(Control::new(workers, bells.remote()?));
    let clock = Clock::start();
    let seats = run::Seats { config, auth, limits, kind, host: &host, metrics: &metrics };
    seats.check_addresses()?;
    let mut threads = Vec::with_capacity(workers);
    for endpoint in endpoints {
        let seat: WorkerSeat = seats.seat(endpoint, &mut bells)?;
        threads.push(run::spawn_worker(seat, clock, Arc::clone(&control))?);
    }
    let seat = run::BridgeSeat {
        end: bridge_end,
        bell: bells.bridge_end()?,
        workers: bells.remote()?,
        metrics,
        cpu: host.bridge_cpu,
    };
    let bridge = run::spawn_bridge(seat, clock, Arc::clone(&control))?;
    control.await_started();
    announce(config, workers);
    Ok(Server { control, workers: threads, bridge, signals })
}

/// What the workers would ask of the ring.
fn ring_plan(config: &Config, descriptors: u64, workers: usize, cores: usize) -> Plan {
    let limits = config.limits_on(descriptors, workers, false);
    let slots = limits.connections_per_worker + REFUSAL_SLOTS;
    Plan { workers, slots, tuning: run::tuning(workers, cores) }
}

fn choose_driver(choice: DriverChoice, plan: Plan) -> Result<Kind, Error> {
    let (mut works, mut reason) = probe::probe();
    // One small ring may fit where those of all workers do not. They are made to see, only where
    // it is in doubt: the kernel takes its time to give back what it counted for them.
    if works == Kind::IoUring
        && choice != DriverChoice::Epoll
        && host::lockable_bytes().is_some_and(|most| most < plan.locked_bytes())
        && let Err(why) = survey::rings(plan)
    {
        (works, reason) = (Kind::Epoll, why);
    }
    let kind = match (choice, works) {
        (DriverChoice::Epoll, _) => Kind::Epoll,
        (DriverChoice::IoUring, Kind::Epoll) => {
            return Err(Error::Driver { wanted: "io_uring", reason });
        }
        (_, kind) => kind,
    };
    let why = match choice {
        DriverChoice::Auto => reason,
        _ => "as configured".to_owned(),
    };
    tracing::info!(driver = kind.name(), why, "driver chosen");
    Ok(kind)
}

/// One line that says what was opened and how to try it.
fn announce(config: &Config, workers: usize) {
    tracing::info!("{}", config.summary());
    if config.dev {
        let (at, path) = (config.listen, &config.websocket_paths[0]);
        println!(
            "corecast: {workers} workers on http://{at} - open it in two tabs to chat; SDKs connect \
             to ws://{at}{path}; --dev lets everybody in"
        );
    }
}

impl Server {
    /// Waits for a signal, then ends the server within `timeout_ms`.
    fn wait(mut self, timeout_ms: u32) -> ExitCode {
        let signal = self.signals.forever().next();
        tracing::info!(signal, timeout_ms, "shutting down: telling clients to reconnect elsewhere");
        self.control.stop(timeout_ms);
        let handle = self.signals.handle();
        let mut clean = true;
        for worker in self.workers {
            clean &= worker.join().is_ok();
        }
        self.control.stop_bridge();
        clean &= self.bridge.join().is_ok();
        handle.close();
        tracing::info!(clean, "stopped");
        if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
