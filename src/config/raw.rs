//! The file's types and the defaults. Written out as a table, the defaults are also the schema,
//! that is, which keys there are and of which type, so there is no separate list of names to
//! maintain.

use super::{DriverChoice, EngineChoice, Log, LogFormat, LogLevel, ReadyChoice};
use crate::limits::Limits;
use crate::namespace::{ChannelOptions, Delta, Mode, Who};
use serde::{Deserialize, Serialize};

/// Everything except namespaces, with the types of the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub listen: String,
    pub internal_listen: String,
    pub websocket_paths: Vec<String>,
    pub workers: u32,
    pub worker_cpus: String,
    pub bridge_cpu: String,
    pub cpu_file: String,
    pub driver: DriverChoice,
    pub engine: EngineChoice,
    pub spin_us: u32,
    pub allowed_origins: Vec<String>,
    pub trusted_proxies: Vec<String>,
    pub shutdown_timeout_ms: u32,
    pub shutdown_delay_ms: u32,
    pub drain_ms: u32,
    pub namespace_separator: String,
    pub private_prefix: String,
    pub user_limited_separator: String,
    pub log: Log,
    pub client: RawClient,
    pub api: RawApi,
    pub redis: RawRedis,
    pub limits: Limits,
    pub channel: ChannelOptions,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawClient {
    pub allow_anonymous: bool,
    pub token_hmac_secret: String,
    pub token_hmac_secrets_old: Vec<String>,
    pub token_rsa_public_key: String,
    pub token_ecdsa_public_key: String,
    pub token_ed25519_public_key: String,
    pub token_jwks_file: String,
    pub token_audience: String,
    pub token_issuer: String,
    pub token_cookie: String,
    pub ping_interval_ms: u32,
    pub pong_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    pub user_personal_channel: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawApi {
    pub key: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawRedis {
    pub url: String,
    pub prefix: String,
    pub ready: ReadyChoice,
    pub tls_ca_file: String,
}

impl Raw {
    /// The defaults. This is all that `--dev` changes.
    #[must_use]
    pub fn defaults(dev: bool) -> Raw {
        let mut limits = Limits { connections_per_worker: 0, ..Limits::default() };
        let mut channel = ChannelOptions::default();
        if dev {
            limits.control_frames_per_s = 0;
            channel = open_channel();
        }
        Raw {
            listen: if dev { "127.0.0.1:8000" } else { "0.0.0.0:8000" }.into(),
            internal_listen: String::new(),
            websocket_paths: vec!["/connection/websocket".into()],
            workers: 0,
            worker_cpus: String::new(),
            bridge_cpu: String::new(),
            cpu_file: String::new(),
            driver: DriverChoice::Auto,
            engine: EngineChoice::Memory,
            spin_us: 0,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            shutdown_timeout_ms: 5_000,
            shutdown_delay_ms: 0,
            drain_ms: 0,
            namespace_separator: ":".into(),
            private_prefix: "$".into(),
            user_limited_separator: "#".into(),
            log: Log { level: LogLevel::Info, format: LogFormat::Text },
            client: RawClient {
                allow_anonymous: dev,
                token_hmac_secret: String::new(),
                token_hmac_secrets_old: Vec::new(),
                token_rsa_public_key: String::new(),
                token_ecdsa_public_key: String::new(),
                token_ed25519_public_key: String::new(),
                token_jwks_file: String::new(),
                token_audience: String::new(),
                token_issuer: String::new(),
                token_cookie: String::new(),
                ping_interval_ms: 25_000,
                pong_timeout_ms: 8_000,
                connect_timeout_ms: 10_000,
                user_personal_channel: "off".into(),
            },
            api: RawApi { key: String::new() },
            redis: RawRedis {
                url: String::new(),
                prefix: "cc".into(),
                ready: ReadyChoice::Redis,
                tls_ca_file: String::new(),
            },
            limits,
            channel,
        }
    }
}

/// No feature is on, but everybody may use those that are. A feature that is off is then answered
/// 108, not 103.
fn open_channel() -> ChannelOptions {
    ChannelOptions {
        allow_subscribe: Who::Anyone,
        allow_publish: Who::Anyone,
        allow_history: Who::Anyone,
        allow_presence: Who::Anyone,
        ..ChannelOptions::default()
    }
}

/// The namespaces that `--dev` adds unless the file has one of that name.
#[must_use]
pub fn dev_namespaces() -> Vec<(String, ChannelOptions)> {
    let chat = ChannelOptions {
        history_size: 1_000,
        history_ttl_s: 300,
        presence: true,
        recovery: Mode::Force,
        positioning: Mode::Force,
        join_leave: Mode::Force,
        allow_tags_filter: true,
        delta: Delta::Fossil,
        ..open_channel()
    };
    vec![("chat".into(), chat), ("plain".into(), open_channel())]
}
