//! A Redis server of a test's own: on a port of its own, without files, ended by its handle.

use crate::server::{PATIENCE, free_port, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// Starts a Redis, or skips the test.
macro_rules! redis {
    () => {
        match crate::redis::Redis::start() {
            Some(redis) => redis,
            None => return,
        }
    };
}
pub(crate) use redis;

pub struct Redis {
    child: Child,
    pub port: u16,
    /// Where it speaks TLS, if it does.
    pub tls_port: u16,
}

impl Redis {
    /// Starts one and waits until it answers. `None`, and a line about it, if it is not installed.
    pub fn start() -> Option<Redis> {
        Redis::start_at(free_port())
    }

    /// One that speaks TLS as well, as `localhost` and 127.0.0.1, and listens at 127.0.0.2 too.
    pub fn start_with_tls() -> Option<Redis> {
        let (tls_port, data) =
            (free_port(), concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls"));
        let options = [
            ("--tls-port", tls_port.to_string()),
            ("--tls-cert-file", format!("{data}/server.pem")),
            ("--tls-key-file", format!("{data}/server.key")),
            ("--tls-ca-cert-file", format!("{data}/authority.pem")),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        let options = options.iter().flat_map(|(name, value)| [*name, value]).collect::<Vec<_>>();
        let mut redis = Redis::start_as(free_port(), &options)?;
        redis.tls_port = tls_port;
        Some(redis)
    }

    fn start_at(port: u16) -> Option<Redis> {
        Redis::start_as(port, &[])
    }

    fn start_as(port: u16, options: &[&str]) -> Option<Redis> {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "127.0.0.2"])
            .args(options)
            .args(["--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIPPED: redis-server: {error}; scripts/test install installs it");
                return None;
            }
        };
        let redis = Redis { child, port, tls_port: 0 };
        until("redis-server answers", || redis.ask("PING").is_some_and(|it| it == "+PONG\r\n"));
        Some(redis)
    }

    /// What a server's configuration says about it, above the first section.
    pub fn config(&self) -> String {
        format!("engine = \"redis\"\nredis.url = \"redis://localhost:{}\"", self.port)
    }

    /// Sends a command, and returns the beginning of the answer.
    pub fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut bytes = [0; 64 << 10];
        let length = stream.read(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// How often a command was carried out, those of scripts included.
    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.ask("INFO commandstats").expect("it answers");
        let head = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&head)).unwrap_or("0,");
        line.split(',').next().and_then(|count| count.parse().ok()).expect("a number")
    }

    /// Ends it at once, and starts an empty one in its place.
    pub fn replace(&mut self) {
        self.kill();
        let mut next = Redis::start_at(self.port).expect("it was started before");
        std::mem::swap(&mut self.child, &mut next.child);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it in its tracks, as a host that hangs would.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("our child runs");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
