//! The configuration: what an operator may set, checked once and immutable afterwards.
//!
//! `merge` collects text with its origins, `raw` gives it types, and `check` validates it and
//! derives `Config`. Opens no socket and does not inspect the machine: what depends on it is a
//! method's argument.

mod check;
mod cpus;
mod error;
mod foreign;
mod listen;
mod merge;
mod raw;
mod redis;
mod shortcomings;
mod signs;
#[cfg(test)]
mod tests;
mod tokens;

pub use error::{ConfigError, Origin};
pub use listen::Listen;
pub use redis::{Redis, RedisServer, RedisTls};
pub use tokens::Tokens;

use crate::http::forwarded::Trusted;
use crate::http::origin::Origins;
use crate::limits::{INTERNAL_SLOTS, Limits, REFUSAL_SLOTS, WORKERS};
use crate::namespace::Namespaces;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Descriptors that the process needs for itself: listeners, rings, bells, logs.
const OWN_DESCRIPTORS: u64 = 64;

/// Most direct descriptors of a ring: the kernel makes no larger table, whatever the limit of
/// descriptors is (IORING_MAX_FIXED_FILES).
const DIRECT_DESCRIPTORS: u64 = 1 << 20;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Defaults for trying things out: anonymous clients, loopback, `/echo`, the demo page, rpc
    /// `where`.
    pub dev: bool,
    pub listen: Listen,
    /// If set, `/api` and `/metrics` are served only here.
    pub internal_listen: Option<Listen>,
    pub websocket_paths: Vec<String>,
    /// Workers as configured; 0: one per core (`workers_on`).
    pub workers: usize,
    /// Cores to pin workers to, in order; empty: in the order of the cores.
    pub worker_cpus: Vec<usize>,
    pub bridge_cpu: Option<usize>,
    pub driver: DriverChoice,
    /// The Redis that decides the order of channels with history; `None`: this process does.
    pub redis: Option<Redis>,
    /// Microseconds for which a worker with a core of its own polls before it sleeps.
    pub spin_us: u32,
    /// Origins of pages that may connect.
    pub allowed_origins: Origins,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Trusted,
    pub shutdown_timeout_ms: u32,
    /// Time for which `/ready` is 503 and everything else is served, before the shutdown begins.
    pub shutdown_delay_ms: u32,
    /// Time over which clients are told to reconnect elsewhere, one after the other; 0: all at
    /// once.
    pub drain_ms: u32,
    pub log: Log,
    pub client: Client,
    pub api: Api,
    /// `connections_per_worker` is as configured; 0: derived from the descriptors.
    pub limits: Limits,
    pub namespaces: Namespaces,
    /// Settings that are valid but probably a mistake; one line each.
    pub warnings: Vec<String>,
}

/// Which driver to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverChoice {
    /// io_uring where the kernel and its seccomp profile allow it, else epoll.
    Auto,
    IoUring,
    Epoll,
}

/// What makes a node with a Redis ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyChoice {
    /// That what it publishes in Redis comes back.
    Redis,
    /// That its own workers turn: a balancer sends clients on to nodes without Redis.
    #[serde(rename = "self")]
    Own,
}

/// What decides the order of channels that keep history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChoice {
    /// This process, in its memory.
    Memory,
    /// A Redis that several nodes share.
    Redis,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// `[client]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub allow_anonymous: bool,
    /// Keys of tokens; without any, no token is accepted.
    pub tokens: Tokens,
    pub ping_interval_ms: u32,
    pub pong_timeout_ms: u32,
    /// Time from the upgrade to the connect command; over it 3502.
    pub connect_timeout_ms: u32,
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// The key that calls must carry. `None`: calls are refused, except that `--dev` serves them
    /// without a key.
    pub key: Option<Secret>,
}

/// A secret: never written to a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Sources of a configuration: a file, variables, and flags, which override each other in this
/// order.
#[derive(Debug, Default)]
pub struct Sources {
    pub dev: bool,
    pub file: Option<PathBuf>,
    pub variables: Vec<(String, String)>,
    pub flags: Flags,
}

/// Keys that have a flag.
#[derive(Debug, Default)]
pub struct Flags {
    pub listen: Option<String>,
    pub workers: Option<String>,
    pub driver: Option<String>,
}

impl Config {
    /// Reads, merges and checks a configuration.
    ///
    /// # Errors
    /// Every mistake in it, as far as it could be read.
    pub fn load(sources: Sources) -> Result<Config, Vec<ConfigError>> {
        let mut merged = merge::Merged::new(sources.dev);
        if let Some(path) = &sources.file {
            match std::fs::read_to_string(path) {
                Ok(text) => merged.file(&text),
                Err(cause) => merged.errors.push(ConfigError::Unreadable {
                    path: path.display().to_string(),
                    cause: cause.to_string(),
                }),
            }
        }
        merged.variables(sources.variables);
        merged.flags(sources.flags);
        check::check(merged, sources.dev)
    }

    /// Workers to start on a machine of `cores` cores.
    #[must_use]
    pub fn workers_on(&self, cores: usize) -> usize {
        let workers = match (self.workers, self.worker_cpus.len()) {
            (0, 0) => cores,
            (0, pinned) => pinned,
            (workers, _) => workers,
        };
        workers.clamp(1, WORKERS)
    }

    /// The bounds, with the connections that each of `workers` may hold under a hard limit of
    /// `descriptors`: with io_uring each ring has a table of direct descriptors, with epoll the
    /// workers share those of the process.
    #[must_use]
    pub fn limits_on(&self, descriptors: u64, workers: usize, shared: bool) -> Limits {
        let slots = if shared {
            descriptors.saturating_sub(OWN_DESCRIPTORS) / workers.max(1) as u64
        } else {
            descriptors.min(DIRECT_DESCRIPTORS)
        };
        let others = u64::from(REFUSAL_SLOTS + self.kept_slots());
        let room = slots.saturating_sub(others).max(1);
        let room = u32::try_from(room).unwrap_or(u32::MAX).min(check::CONNECTIONS_MAX);
        let connections_per_worker = match self.limits.connections_per_worker {
            0 => room,
            wanted => wanted.min(room),
        };
        Limits { connections_per_worker, ..self.limits.clone() }
    }

    /// What limits the connections in `limits_on`, as text.
    #[must_use]
    pub fn connections_set_by(&self, descriptors: u64, workers: usize, shared: bool) -> String {
        let wanted = self.limits.connections_per_worker;
        let given = self.limits_on(descriptors, workers, shared).connections_per_worker;
        if wanted == given {
            return "limits.connections_per_worker".into();
        }
        if !shared && descriptors >= DIRECT_DESCRIPTORS {
            return format!("io_uring, which has at most {DIRECT_DESCRIPTORS} sockets a worker");
        }
        format!("the limit of open files, {descriptors} (nofile)")
    }

    /// Connection slots of every worker that only the internal listener may use.
    #[must_use]
    pub fn kept_slots(&self) -> u32 {
        if self.internal_listen.is_some() { INTERNAL_SLOTS } else { 0 }
    }

    /// The configuration in one line, without secrets.
    #[must_use]
    pub fn summary(&self) -> String {
        let workers = match self.workers {
            0 => "one worker per core".into(),
            1 => "1 worker".into(),
            workers => format!("{workers} workers"),
        };
        let internal =
            self.internal_listen.as_ref().map_or_else(String::new, |at| format!(", internal {at}"));
        let names: Vec<&str> =
            self.namespaces.named.iter().map(|(name, _)| name.as_str()).collect();
        let namespaces = match names.as_slice() {
            [] => "no namespaces".into(),
            names => format!("namespaces {}", names.join(" ")),
        };
        let who = match (self.client.tokens.any_key(), self.client.allow_anonymous) {
            (true, true) => "tokens or anonymous",
            (true, false) => "tokens",
            (false, _) => "anonymous",
        };
        format!("listen {}{internal}, {workers}, {who}, {namespaces}", self.listen)
    }
}
