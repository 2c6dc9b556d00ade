//! From a configuration to pinned cores: builds the mesh, opens the listeners, starts workers and
//! bridge, waits for a signal, and ends them in order.
//!
//! Must not know the data path. Invariant: what a core needs is built before it starts and moved
//! into it; afterwards it receives only signals.

mod about;
mod cgroup;
mod clock;
mod control;
pub mod doctor;
mod given;
mod host;
mod listeners;
mod run;
mod signals;
mod start;

use crate::auth::{Auth, KeyError, KeyOptions};
use crate::bridge::TlsError;
use crate::clock::Now;
use crate::config::{Config, Listen, Secret};
use crate::driver::survey::Plan;
use crate::edge::Cut;
use crate::limits::REFUSAL_SLOTS;
use crate::metrics::CoreMetrics;
use crate::{auth, tell};
use clock::Clock;
use control::Control;
use given::Given;
use signals::Listening;
pub use signals::{Held, hold as hold_signals};
use start::Cores;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Exit code of a server that cannot start, because an address is in use, or descriptors or a
/// driver are missing; and of one whose worker or bridge ended.
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Interval at which main checks how far a shutdown has progressed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why a server cannot start.
#[derive(Debug)]
pub enum Error {
    /// A listener could not be opened.
    Listen { at: Listen, cause: std::io::Error },
    /// The configured driver does not work here.
    Driver { wanted: &'static str, reason: String },
    /// TLS to Redis cannot be used.
    Tls(TlsError),
    /// The system refused something that every start needs.
    System { what: &'static str, cause: std::io::Error },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Listen { at, cause } if cause.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {at}: the address is in use; stop what listens there or set \
                 another `listen` (--listen, CORECAST_LISTEN)"
                )
            }
            Error::Listen { at, cause } => {
                write!(f, "cannot listen on {at}: {cause}; check `listen`")
            }
            Error::Driver { wanted, reason } => {
                write!(f, "driver {wanted} does not work here: {reason}; set driver = \"auto\"")
            }
            Error::Tls(error) => write!(f, "redis.url asks for TLS: {error}"),
            Error::System { what, cause } => write!(f, "{what}: {cause}"),
        }
    }
}

/// Reads the keys for tokens from a configuration.
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

/// The current time.
#[must_use]
pub fn now() -> Now {
    Clock::start().now()
}

/// Runs the server until a signal ends it. `auth` belongs to the configuration; `signals` were
/// caught from the beginning of the process.
#[must_use]
pub fn run(mut config: Config, auth: &Auth, signals: Held) -> ExitCode {
    let started = start::start(&mut config, auth)
        .and_then(|cores| Ok((cores, signals.listen(thread::current())?)));
    match started {
        Ok((cores, signals)) => {
            announce(&config, cores.workers.len());
            wait(cores, signals, &config)
        }
        Err(error) => {
            tell::err(format_args!("corecast: {error}"));
            tracing::error!("{error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

/// The resources that the workers' rings would need.
fn ring_plan(config: &Config, descriptors: u64, workers: usize, given: &Given) -> Plan {
    let limits = config.limits_on(descriptors, workers, false);
    let slots = limits.connections_per_worker + REFUSAL_SLOTS + config.kept_slots();
    Plan { workers, slots, tuning: given.tuning(workers) }
}

/// Logs what was opened, and prints how to try it.
fn announce(config: &Config, workers: usize) {
    tracing::info!("{}", config.summary());
    if !config.dev {
        return;
    }
    let path = &config.websocket_paths[0];
    match config.listen.reached_at() {
        Some(at) => tell::out(format_args!(
            "corecast: {workers} workers on http://{at} - open it in two tabs to chat; SDKs \
             connect to ws://{at}{path}; --dev lets everybody in"
        )),
        None => {
            tell::out(format_args!(
                "corecast: {workers} workers on {}; --dev lets everybody in",
                config.listen
            ));
        }
    }
}

/// A core's thread ended although nothing asked it to. What it owned is served no more, so the
/// process ends, and whoever started it can start it again.
fn lose_core(cores: Cores, core: usize) -> ExitCode {
    let Cores { mut workers, bridge, socket_files, .. } = cores;
    let (name, ended) = if core < workers.len() {
        let ended = workers.swap_remove(core).join();
        (format!("worker {core}"), ended.map(|ended| ended.err().map(|error| error.to_string())))
    } else {
        let ended = bridge.join();
        ("the bridge".into(), ended.map(|ended| ended.err().map(|error| error.to_string())))
    };
    let why = match ended {
        Ok(Some(error)) => error,
        Ok(None) => "for no reason that it gives".into(),
        Err(_) => "its thread panicked".into(),
    };
    tell::err(format_args!("corecast: {name} ended: {why}; nothing is served without it"));
    tracing::error!("{name} ended: {why}; nothing is served without it");
    drop(socket_files);
    ExitCode::from(EXIT_UNAVAILABLE)
}

/// Waits for a signal, then ends the server: `/ready` says so for `shutdown_delay_ms`, clients are
/// told one after the other over `drain_ms`, and the rest within `shutdown_timeout_ms`. Each
/// further signal cuts short what is waited for.
fn wait(cores: Cores, signals: Listening, config: &Config) -> ExitCode {
    while signals.asked() == 0 {
        if let Some(core) = cores.control.gone() {
            return lose_core(cores, core);
        }
        thread::park();
    }
    let Cores { control, workers, bridge, socket_files, metrics } = cores;
    let (delay_ms, timeout_ms) = (config.shutdown_delay_ms, config.shutdown_timeout_ms);
    if delay_ms > 0 {
        tracing::info!(delay_ms, "leaving: /ready is 503, everything else is served");
        control.leave();
        let begun = Instant::now();
        let delay = Duration::from_millis(delay_ms.into());
        while signals.asked() < 2 && begun.elapsed() < delay {
            thread::park_timeout(delay.saturating_sub(begun.elapsed()));
        }
    }
    drain(&control, &signals, &metrics, config.drain_ms);
    tracing::info!(timeout_ms, "shutting down: telling clients to reconnect elsewhere");
    let asked = signals.asked();
    control.stop(timeout_ms);
    let wait_for = |is_over: &dyn Fn() -> bool| {
        while !is_over() {
            if signals.asked() > asked && !control.is_cut_short() {
                tracing::info!("another signal: the rest of the shutdown is skipped");
                control.cut_short();
            }
            thread::park_timeout(LOOK_AGAIN);
        }
    };
    wait_for(&|| control.all_ended() || workers.iter().all(JoinHandle::is_finished));
    let (mut clean, mut cut) = (true, Cut::default());
    for worker in workers {
        match worker.join() {
            Ok(Ok(lost)) => cut = cut.and(lost),
            _ => clean = false,
        }
    }
    control.stop_bridge();
    // It may have to tell other nodes.
    wait_for(&|| bridge.is_finished());
    clean &= matches!(bridge.join(), Ok(Ok(())));
    signals.end();
    drop(socket_files);
    let Cut { connections, bytes } = cut;
    if cut.is_empty() {
        tracing::info!(clean, "stopped");
    } else {
        clean = false;
        tracing::warn!(
            clean,
            connections,
            bytes,
            "stopped with connections cut off: these bytes had not been sent to them; a longer \
             shutdown_timeout_ms leaves slow readers more time"
        );
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Has clients told to reconnect elsewhere, one after the other in this time, and says each second
/// how many are left.
fn drain(control: &Control, signals: &Listening, metrics: &[Arc<CoreMetrics>], over_ms: u32) {
    if over_ms == 0 || signals.asked() > 1 {
        return;
    }
    let clients = || metrics.iter().map(|core| core.connections.get()).sum::<u64>();
    let drain_ms = over_ms;
    tracing::info!(drain_ms, clients = clients(), "draining: clients are told one after the other");
    control.pace(over_ms);
    let begun = Instant::now();
    let over = Duration::from_millis(over_ms.into());
    let mut next_line = Duration::from_secs(1);
    while signals.asked() < 2 && begun.elapsed() < over && !control.all_paced() {
        if begun.elapsed() >= next_line {
            next_line += Duration::from_secs(1);
            tracing::info!(clients = clients(), "draining");
        }
        let until = next_line.min(over);
        thread::park_timeout(until.saturating_sub(begun.elapsed()));
    }
}
