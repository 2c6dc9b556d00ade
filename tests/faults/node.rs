//! A node: a server as a child process, with its log in a file.

use crate::redis::free_port;
use crate::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `n` keeps nothing, `kept` has history.
const NAMESPACES: &str = r#"
[client]
allow_anonymous = true
ping_interval_ms = 300000

[api]
key = "key-of-the-tests"

[[namespace]]
name = "n"
allow_subscribe = "anyone"
allow_publish = "anyone"

[[namespace]]
name = "kept"
history_size = 20000
history_ttl_s = 600
recovery = "force"
positioning = "force"
allow_subscribe = "anyone"
allow_publish = "anyone"
allow_history = "anyone"
"#;

pub struct Node {
    child: Child,
    pub addr: SocketAddr,
    config: PathBuf,
    log: PathBuf,
}

impl Node {
    /// Starts one that uses the Redis at a port, and waits until it carries out publications.
    pub fn start(port: u16) -> Node {
        let node = Node::start_alone(&format!("redis://localhost:{port}"));
        until("the node uses Redis", || node.publish("kept:warm", "0")["error"].is_null());
        node
    }

    /// Starts one, and waits until it serves.
    pub fn start_alone(url: &str) -> Node {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let name = format!("corecast-faults-{}-{}", std::process::id(), addr.port());
        let config = std::env::temp_dir().join(format!("{name}.toml"));
        let top = format!("workers = 2\nengine = \"redis\"\nredis.url = \"{url}\"\n");
        std::fs::write(&config, format!("{top}{NAMESPACES}")).expect("a temporary file");
        let program = std::env::var("CORECAST_BIN");
        let program = program.unwrap_or(env!("CARGO_BIN_EXE_corecast").into());
        let mut command = Command::new(program);
        command.args(["serve", "--listen", &addr.to_string(), "--config"]).arg(&config);
        Node::launch(command, addr, config)
    }

    /// Starts a Centrifugo in place of ours, with the same namespaces, and waits until it carries
    /// out publications.
    pub fn start_centrifugo(program: &str, redis: u16) -> Node {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let name = format!("corecast-faults-{}-{}", std::process::id(), addr.port());
        let config = std::env::temp_dir().join(format!("{name}.json"));
        let open = json!({
            "name": "kept",
            "history_size": 20_000,
            "history_ttl": "600s",
            "force_recovery": true,
            "force_positioning": true,
            "allow_subscribe_for_client": true,
            "allow_subscribe_for_anonymous": true,
            "allow_publish_for_client": true,
            "allow_publish_for_anonymous": true,
        });
        let text = json!({
            "http_server": {"address": "127.0.0.1", "port": addr.port().to_string()},
            "http_api": {"key": "key-of-the-tests"},
            "health": {"enabled": true},
            "client": {"allow_anonymous_connect_without_token": true},
            "channel": {"namespaces": [open]},
            "engine": {"type": "redis", "redis": {"address": format!("redis://127.0.0.1:{redis}")}},
        });
        std::fs::write(&config, text.to_string()).expect("a temporary file");
        let mut command = Command::new(program);
        command.arg("--config").arg(&config);
        let node = Node::launch(command, addr, config);
        until("the node uses Redis", || node.publish("kept:warm", "0")["error"].is_null());
        node
    }

    fn launch(mut command: Command, addr: SocketAddr, config: PathBuf) -> Node {
        let log = config.with_extension("log");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(&log).expect("a log"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CORECAST_") {
                command.env_remove(name);
            }
        }
        let child = command.spawn().expect("the binary runs");
        let node = Node { child, addr, config, log };
        until("the node serves", || TcpStream::connect(addr).is_ok());
        node
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("it runs");
    }

    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("it runs");
    }

    /// Does `/ready` answer 200?
    pub fn is_ready(&self) -> bool {
        self.is_fine("/ready")
    }

    /// Does `/health` answer 200?
    pub fn is_healthy(&self) -> bool {
        self.is_fine("/health")
    }

    fn is_fine(&self, path: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.addr) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a time-out");
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let asked = stream.write_all(head.as_bytes());
        let mut answer = String::new();
        asked.is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200 ")
    }

    /// Resident bytes.
    pub fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let text = text.expect("it runs");
        text.split(' ').nth(1).expect("a field").parse::<u64>().expect("a number") * 4096
    }

    /// Publishes by the server API; returns the body.
    pub fn publish(&self, channel: &str, data: &str) -> Value {
        self.post("publish", &format!(r#"{{"channel":"{channel}","data":{data}}}"#))
    }

    pub fn post(&self, method: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a time-out");
        let length = body.len();
        let head = format!(
            "POST /api/{method} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             X-API-Key: key-of-the-tests\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.addr, self.log());
        }
        let _ = std::fs::remove_file(&self.config);
        let _ = std::fs::remove_file(&self.log);
    }
}
