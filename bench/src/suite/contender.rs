//! The servers that are compared: their names, how they are started, and their protocols.
//!
//! Must not know rounds. Invariant: all have the same bounds - 64 KiB messages, 1 MiB backlog,
//! pings every 25 s, one core.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A server in the comparison. Its name is that of results files and of `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    pub name: &'static str,
    pub label: &'static str,
    pub dialect: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With this driver, so many workers, and so long a spin before a sleep.
    Corecast { driver: &'static str, workers: usize, spin_us: u32 },
    /// Nodes with `engine = "redis"`, one worker each.
    OverRedis,
    /// The script that publishes, so many publications a call: no server but Redis.
    Script { batch: &'static str },
    /// The least that the kernel allows: a program inside the generator.
    Floor { driver: &'static str },
    /// Two threads of the generator that pass something to each other: no server at all.
    Threads { program: &'static str },
    /// A program in the folder of peers.
    Program { path: &'static str },
    /// A script for Node in the folder of peers.
    Node { script: &'static str, redis: bool },
    /// Centrifugo itself, as it is installed.
    Centrifugo { redis: bool },
}

const fn corecast(
    name: &'static str,
    label: &'static str,
    dialect: &'static str,
    driver: &'static str,
) -> Contender {
    Contender { name, label, dialect, kind: Kind::Corecast { driver, workers: 1, spin_us: 0 } }
}

const fn other(
    name: &'static str,
    label: &'static str,
    dialect: &'static str,
    kind: Kind,
) -> Contender {
    Contender { name, label, dialect, kind }
}

const JSON: &str = "centrifuge-json";
const PROTOBUF: &str = "centrifuge-protobuf";
const UWEBSOCKETS: Kind = Kind::Program { path: "uwebsockets/uwebsockets" };
const CENTRIFUGE: Kind = Kind::Program { path: "centrifuge/centrifuge" };

const HOP: Kind = Kind::Threads { program: "hop" };
const WAKE: Kind = Kind::Threads { program: "wake" };
const MESSAGE: Kind = Kind::Threads { program: "message" };

pub const OURS: &str = "corecast-io_uring";
pub const TWO_WORKERS: &str = "corecast-io_uring-2";
/// Spins for longer than a message takes in its case, so that no thread sleeps.
pub const SPINNING: &str = "corecast-io_uring-2-spin";

/// Several nodes act as one, so it has no single driver to compare.
pub const OVER_REDIS: &str = "corecast-redis";

/// Key of the server API of those that are measured by it.
pub const API_KEY: &str = "bench-bench-bench";

pub const ALL: [Contender; 27] = [
    corecast(OURS, "Corecast, io_uring", JSON, "io_uring"),
    corecast("corecast-epoll", "Corecast, epoll", JSON, "epoll"),
    corecast("corecast-io_uring-raw", "Corecast /echo, io_uring", "raw", "io_uring"),
    corecast("corecast-epoll-raw", "Corecast /echo, epoll", "raw", "epoll"),
    corecast("corecast-io_uring-protobuf", "Corecast Protobuf, io_uring", PROTOBUF, "io_uring"),
    corecast(
        "corecast-io_uring-msgpack",
        "Corecast MessagePack, io_uring",
        "centrifuge-msgpack",
        "io_uring",
    ),
    other(
        TWO_WORKERS,
        "Corecast, io_uring, 2 workers",
        JSON,
        Kind::Corecast { driver: "io_uring", workers: 2, spin_us: 0 },
    ),
    other(
        "corecast-io_uring-3",
        "Corecast, io_uring, 3 workers",
        JSON,
        Kind::Corecast { driver: "io_uring", workers: 3, spin_us: 0 },
    ),
    other(
        SPINNING,
        "Corecast, io_uring, 2 workers that spin",
        JSON,
        Kind::Corecast { driver: "io_uring", workers: 2, spin_us: 1_000 },
    ),
    other("floor-hop", "floor, a line between two spinning cores", "raw", HOP),
    other("floor-wake", "floor, a wake-up by eventfd", "raw", WAKE),
    other("floor-message", "floor, a wake-up from ring to ring", "raw", MESSAGE),
    other("floor-ring", "floor, io_uring", "raw", Kind::Floor { driver: "ring" }),
    other("floor-epoll", "floor, epoll", "raw", Kind::Floor { driver: "epoll" }),
    other("uwebsockets", "uWebSockets", "raw", UWEBSOCKETS),
    other("ws", "npm ws", "raw", Kind::Node { script: "node/ws.mjs", redis: false }),
    other(
        "socketio",
        "socket.io",
        "socketio",
        Kind::Node { script: "node/socketio.mjs", redis: false },
    ),
    other(
        "socketio-redis",
        "socket.io, Redis adapter",
        "socketio",
        Kind::Node { script: "node/socketio.mjs", redis: true },
    ),
    other("centrifuge", "Centrifugo's library", JSON, CENTRIFUGE),
    other("centrifuge-protobuf", "Centrifugo's library, Protobuf", PROTOBUF, CENTRIFUGE),
    other("centrifugo", "Centrifugo", JSON, Kind::Centrifugo { redis: false }),
    other(
        "centrifugo-protobuf",
        "Centrifugo, Protobuf",
        PROTOBUF,
        Kind::Centrifugo { redis: false },
    ),
    other(OVER_REDIS, "Corecast, Redis engine", JSON, Kind::OverRedis),
    other("centrifugo-redis", "Centrifugo, Redis engine", JSON, Kind::Centrifugo { redis: true }),
    other("script-1", "the script, 1 a call", "raw", Kind::Script { batch: "1" }),
    other("script-4", "the script, 4 a call", "raw", Kind::Script { batch: "4" }),
    other("script-16", "the script, 16 a call", "raw", Kind::Script { batch: "16" }),
];

/// What gateways ping by when nothing is configured.
const PING_INTERVAL_MS: &str = "25000";

/// Centrifugo 6: its documentation's buffers for many connections, and the namespaces of the
/// scenarios as in `--dev`, without which it does not know the channel "plain:bench". The rest is
/// its default. `SECRET` and `KEY` stand for what the scenarios sign and publish with.
const CENTRIFUGO: &str = r#"{
  "client": {"insecure": true, "token": {"hmac_secret_key": "SECRET"}},
  "http_api": {"key": "KEY"},
  "websocket": {"read_buffer_size": 1024, "use_write_buffer_pool": true},
  "channel": {"namespaces": [
    {"name": "plain",
     "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
     "allow_publish_for_client": true, "allow_publish_for_anonymous": true},
    {"name": "chat",
     "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
     "allow_publish_for_client": true, "allow_publish_for_anonymous": true,
     "history_size": 1000, "history_ttl": "300s", "force_recovery": true,
     "force_positioning": true, "presence": true, "join_leave": true,
     "force_push_join_leave": true},
    {"name": "kept",
     "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
     "allow_publish_for_client": true, "allow_publish_for_anonymous": true,
     "history_size": 1000, "history_ttl": "300s", "force_recovery": true,
     "force_positioning": true}
  ]}
}
"#;

/// The same of ours, where `--dev` has none: a history, and nobody is told of others.
const KEPT: &str = r#"
[[namespace]]
name = "kept"
history_size = 1000
history_ttl_s = 300
recovery = "force"
positioning = "force"
allow_subscribe = "anyone"
allow_publish = "anyone"
allow_history = "anyone"
"#;

/// Where programs are found.
#[derive(Clone, Debug)]
pub struct Places {
    pub corecast: PathBuf,
    /// The generator, which holds the floor programs too.
    pub generator: PathBuf,
    pub peers: PathBuf,
    /// Configurations and logs of this set.
    pub scratch: PathBuf,
}

/// How a started server says that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A line `ready` on its standard output.
    Line,
    /// 200 to this path.
    Path(&'static str),
    /// It lets one connect.
    Listening,
}

impl Contender {
    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Contender> {
        ALL.into_iter().find(|contender| contender.name == name)
    }

    /// Somebody else's server: that it fails under a load is a result.
    #[must_use]
    pub fn is_peer(&self) -> bool {
        matches!(self.kind, Kind::Program { .. } | Kind::Node { .. } | Kind::Centrifugo { .. })
    }

    /// Checks the tokens of its users.
    #[must_use]
    pub fn takes_tokens(&self) -> bool {
        let checks =
            matches!(self.kind, Kind::Corecast { .. } | Kind::OverRedis | Kind::Centrifugo { .. });
        self.dialect != "raw" && checks
    }

    #[must_use]
    pub fn needs_redis(&self) -> bool {
        matches!(
            self.kind,
            Kind::Node { redis: true, .. } | Kind::Centrifugo { redis: true } | Kind::OverRedis
        )
    }

    /// Is it a Redis, alone or beside a server?
    #[must_use]
    pub fn has_redis(&self) -> bool {
        self.needs_redis() || matches!(self.kind, Kind::Script { .. })
    }

    /// The scenario that measures it in a case of that scenario.
    #[must_use]
    pub fn scenario(&self, of_case: &'static str) -> &'static str {
        if matches!(self.kind, Kind::Script { .. }) { "script" } else { of_case }
    }

    /// Tells its command where Redis is.
    pub fn use_redis(&self, command: &mut Command, port: u16) {
        let url = format!("redis://127.0.0.1:{port}");
        match self.kind {
            Kind::OverRedis => {
                command.env("CORECAST_ENGINE", "redis").env("CORECAST_REDIS_URL", url);
            }
            Kind::Centrifugo { .. } => {
                command.env("CENTRIFUGO_ENGINE_TYPE", "redis");
                command.env("CENTRIFUGO_ENGINE_REDIS_ADDRESS", url);
            }
            _ => {
                command.arg("--redis").arg(url);
            }
        }
    }

    /// Threads that want a core of their own.
    #[must_use]
    pub fn workers(&self) -> usize {
        if let Kind::Corecast { workers, .. } = self.kind { workers } else { 1 }
    }

    /// Why it cannot take part, in a few words.
    #[must_use]
    pub fn missing(&self, places: &Places) -> Option<String> {
        if self.has_redis() && !on_path("redis-server") {
            return Some("redis-server is not on PATH".into());
        }
        let file = match self.kind {
            Kind::Script { .. } => return None,
            Kind::Corecast { .. } | Kind::OverRedis => places.corecast.clone(),
            Kind::Floor { .. } | Kind::Threads { .. } => return floor_missing(&places.generator),
            Kind::Centrifugo { .. } if on_path("centrifugo") => return None,
            Kind::Centrifugo { .. } => return Some("centrifugo is not on PATH".into()),
            Kind::Node { .. } if !on_path("node") => return Some("node is not on PATH".into()),
            Kind::Node { script, .. } => places.peers.join(script),
            Kind::Program { path } => places.peers.join(path),
        };
        if file.is_file() {
            return None;
        }
        // The script that builds peers leaves its reason here.
        let why = file.parent().map(|folder| folder.join("missing"));
        let told = why.and_then(|why| std::fs::read_to_string(why).ok());
        Some(told.map_or_else(|| "not built".into(), |why| why.trim().to_owned()))
    }

    /// What starts it on a port, without its core.
    #[must_use]
    pub fn command(&self, places: &Places, case: &str, port: u16) -> Command {
        let with_port = |program: &Path| {
            let mut command = Command::new(program);
            command.arg("--port").arg(port.to_string());
            command
        };
        match self.kind {
            Kind::Script { .. } => redis_server(port),
            Kind::Corecast { .. } | Kind::OverRedis => {
                let mut command = Command::new(&places.corecast);
                command.args(["serve", "--dev", "--config"]).arg(self.config(places));
                command.env("CORECAST_LISTEN", format!("127.0.0.1:{port}"));
                command
            }
            Kind::Floor { driver } => {
                let mut command = Command::new(&places.generator);
                let program = match case {
                    "echo" => "echo",
                    "idle" | "connect" => "idle",
                    "http" => "http",
                    _ => "fanout",
                };
                command.args(["floor", program, "--driver", driver, "--port", &port.to_string()]);
                if case == "idle" {
                    command.args(["--ping-interval-ms", PING_INTERVAL_MS]);
                }
                command
            }
            Kind::Threads { program } => {
                let mut command = Command::new(&places.generator);
                command.args(["floor", program]);
                command
            }
            Kind::Program { path } => with_port(&places.peers.join(path)),
            Kind::Node { script, .. } => {
                let mut command = Command::new("node");
                command.arg(places.peers.join(script)).arg("--port").arg(port.to_string());
                command
            }
            Kind::Centrifugo { .. } => {
                let mut command = Command::new("centrifugo");
                command.arg("--config").arg(self.config(places));
                command.env("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1");
                command.env("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string());
                command
            }
        }
    }

    /// Where its configuration is written, when it has one.
    #[must_use]
    pub fn config(&self, places: &Places) -> PathBuf {
        let ending = if matches!(self.kind, Kind::Centrifugo { .. }) { "json" } else { "toml" };
        places.scratch.join(format!("{}.{ending}", self.name))
    }

    /// Its configuration; `None` if the command has all of it.
    #[must_use]
    pub fn configuration(&self, cpus: &[usize], secret: &str) -> Option<String> {
        match self.kind {
            Kind::Corecast { driver, workers, spin_us } => {
                let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
                let pin = if cpus.len() == workers {
                    format!("worker_cpus = \"{}\"\n", cpus.join(","))
                } else {
                    String::new()
                };
                Some(format!(
                    "workers = {workers}\n{pin}driver = \"{driver}\"\nspin_us = {spin_us}\n\n\
                     [client]\ntoken_hmac_secret = \"{secret}\"\n\n[api]\nkey = \"{API_KEY}\"\n{KEPT}"
                ))
            }
            Kind::OverRedis => Some(format!(
                "workers = 1\n\n[client]\ntoken_hmac_secret = \"{secret}\"\n\n\
                 [api]\nkey = \"{API_KEY}\"\n{KEPT}"
            )),
            Kind::Centrifugo { .. } => {
                Some(CENTRIFUGO.replace("SECRET", secret).replace("KEY", API_KEY))
            }
            _ => None,
        }
    }

    #[must_use]
    pub fn readiness(&self) -> Readiness {
        match self.kind {
            Kind::Corecast { .. } | Kind::OverRedis => Readiness::Path("/ready"),
            Kind::Centrifugo { .. } | Kind::Script { .. } => Readiness::Listening,
            _ => Readiness::Line,
        }
    }

    /// The URL that a scenario uses.
    #[must_use]
    pub fn url(&self, scenario: &str, port: u16) -> String {
        let path = match (self.dialect, scenario) {
            ("raw", "echo") => "/echo",
            ("raw", _) => "/room/bench",
            ("socketio", _) => "/socket.io/?EIO=4&transport=websocket",
            _ => "/connection/websocket",
        };
        format!("ws://127.0.0.1:{port}{path}")
    }
}

/// A Redis that keeps nothing on disk.
#[must_use]
pub fn redis_server(port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no"]);
    command
}

/// Is a program on PATH?
#[must_use]
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn floor_missing(generator: &Path) -> Option<String> {
    let asked = Command::new(generator).args(["floor", "--help"]).output();
    let there = asked.is_ok_and(|output| output.status.success());
    (!there).then(|| "this generator has no floor programs".into())
}

#[test]
fn names_are_unique_and_found() {
    for contender in ALL {
        let same = ALL.iter().filter(|other| other.name == contender.name).count();
        assert_eq!(same, 1, "{}", contender.name);
        assert_eq!(Contender::named(contender.name), Some(contender));
    }
    assert_eq!(Contender::named("nginx"), None);
}

#[test]
fn a_worker_is_pinned_where_each_has_a_core() {
    let ours = Contender::named(OURS).expect("ours");
    let one = ours.configuration(&[3], "secret").expect("a configuration");
    assert!(one.contains("workers = 1\nworker_cpus = \"3\"\ndriver = \"io_uring\""), "{one}");
    let three = Contender::named("corecast-io_uring-3").expect("ours");
    let unpinned = three.configuration(&[0], "secret").expect("a configuration");
    assert!(!unpinned.contains("worker_cpus"), "{unpinned}");
}

#[test]
fn centrifugo_knows_the_channels_of_the_scenarios() {
    let centrifugo = Contender::named("centrifugo").expect("Centrifugo");
    let text = centrifugo.configuration(&[0], "secret").expect("a configuration");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let namespaces = json["channel"]["namespaces"].as_array().expect("namespaces");
    let names: Vec<&str> = namespaces.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["plain", "chat", "kept"]);
    assert_eq!(json["client"]["token"]["hmac_secret_key"], "secret");
    assert_eq!(json["http_api"]["key"], API_KEY);
}
