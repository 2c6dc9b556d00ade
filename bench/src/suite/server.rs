//! One server under test, from its start to its end.
//!
//! Must not know what is measured. Invariant: whatever happens here, what was started is ended; a
//! server that ends by itself is reported with its last output.

use super::contender::{Contender, Places, Readiness, redis_server};
use super::machine::pinned;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LAST_WORDS: usize = 5;

/// Ports for servers, one after the other: one that was just left may still be in TIME_WAIT.
#[derive(Clone, Debug)]
pub struct Ports {
    first: u16,
    count: u16,
    next: u16,
}

impl Ports {
    #[must_use]
    pub fn new(first: u16, count: u16) -> Ports {
        Ports { first, count, next: 0 }
    }

    /// The next port on which no program listens. One in use is named and skipped.
    ///
    /// # Errors
    /// If all are in use.
    pub fn take(&mut self) -> Result<u16> {
        for _ in 0..self.count {
            let port = self.first.saturating_add(self.next);
            self.next = (self.next + 1) % self.count;
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(_) => return Ok(port),
                Err(error) => eprintln!("port {port} is in use ({error}): taking the next"),
            }
        }
        let last = self.first.saturating_add(self.count - 1);
        bail!("every port from {} to {last} is in use; choose others with --port", self.first)
    }
}

/// A child that does not outlive its owner.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it on these cores; what it says goes to `log`.
    ///
    /// # Errors
    /// A program that cannot be started.
    pub fn start(name: &str, mut command: Command, cpus: &[usize], log: &Path) -> Result<Process> {
        let file = File::create(log).with_context(|| format!("{}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let spawn = || command.spawn().with_context(|| format!("{name} cannot be started"));
        let child = pinned(cpus, spawn)?;
        Ok(Process { name: name.into(), child, log: log.into() })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// It has ended: its code and its last words.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself ({status}){}", self.name, last_words(&self.log));
        }
        Ok(())
    }

    /// Ends it with SIGTERM, and by force when that is not heard.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may end just now.
            let _ = kill_process(pid, Signal::TERM);
        }
        let limit = Instant::now() + STOP_LIMIT;
        while Instant::now() < limit {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The end of a log, for an error's line.
#[must_use]
pub fn last_words(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join(" | ");
    if last.is_empty() { String::new() } else { format!(": {last}") }
}

/// A contender that serves, with what it needs beside it.
pub struct Server {
    process: Process,
    redis: Option<(Process, u16)>,
    /// Another node over the same Redis.
    other: Option<(Process, u16)>,
    pub port: u16,
}

impl Server {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// No port, no start, an end by itself, not ready in time.
    pub fn start(
        contender: &Contender,
        places: &Places,
        (scenario, nodes): (&str, usize),
        cpus: &[usize],
        secret: &str,
        ports: &mut Ports,
    ) -> Result<Server> {
        if let Some(text) = contender.configuration(cpus, secret) {
            fs::write(contender.config(places), text).context("a configuration")?;
        }
        let redis = if contender.needs_redis() {
            Some(start_redis(places, cpus, ports.take()?)?)
        } else {
            None
        };
        let start_node = |name: &str, port: u16| -> Result<Process> {
            let mut command = contender.command(places, scenario, port);
            if let Some((_, port)) = &redis {
                contender.use_redis(&mut command, *port);
            }
            let log = places.scratch.join(format!("{name}.log"));
            let mut process = Process::start(name, command, cpus, &log)?;
            wait_until(&mut process, contender.readiness(), port)?;
            Ok(process)
        };
        let port = ports.take()?;
        let process = start_node(contender.name, port)?;
        let other = if nodes > 1 {
            let port = ports.take()?;
            Some((start_node(&format!("{}-other", contender.name), port)?, port))
        } else {
            None
        };
        Ok(Server { process, redis, other, port })
    }

    /// Where the other node is, if there is one.
    #[must_use]
    pub fn other_port(&self) -> Option<u16> {
        self.other.as_ref().map(|(_, port)| *port)
    }

    /// Where its Redis is, if it has one.
    #[must_use]
    pub fn redis_port(&self) -> Option<u16> {
        self.redis.as_ref().map(|(_, port)| *port)
    }

    /// Every process whose CPU time is the server's.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let beside = self.other.iter().chain(&self.redis).map(|(process, _)| process.pid());
        std::iter::once(self.process.pid()).chain(beside).collect()
    }

    /// # Errors
    /// The server has ended, or what it needs.
    pub fn must_run(&mut self) -> Result<()> {
        self.process.must_run()?;
        let beside = self.other.iter_mut().chain(&mut self.redis);
        beside.into_iter().try_for_each(|(process, _)| process.must_run())
    }

    pub fn stop(self) {
        self.process.stop();
        for (process, _) in self.other.into_iter().chain(self.redis) {
            process.stop();
        }
    }
}

fn start_redis(places: &Places, cpus: &[usize], port: u16) -> Result<(Process, u16)> {
    let log = places.scratch.join("redis-server.log");
    let mut redis = Process::start("redis-server", redis_server(port), cpus, &log)?;
    wait_until(&mut redis, Readiness::Listening, port)?;
    Ok((redis, port))
}

fn wait_until(process: &mut Process, readiness: Readiness, port: u16) -> Result<()> {
    let limit = Instant::now() + START_LIMIT;
    while !is_ready(process, readiness, port) {
        process.must_run()?;
        if Instant::now() > limit {
            let words = last_words(&process.log);
            bail!("{} was not ready within {START_LIMIT:?}{words}", process.name);
        }
        thread::sleep(LOOK_AGAIN);
    }
    // Another program may have answered.
    process.must_run()
}

fn is_ready(process: &Process, readiness: Readiness, port: u16) -> bool {
    match readiness {
        Readiness::Line => {
            let said = fs::read_to_string(&process.log).unwrap_or_default();
            said.lines().any(|line| line == "ready")
        }
        Readiness::Path(path) => answers(port, path),
        Readiness::Listening => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok(),
    }
}

/// Does it answer 200 to this path?
fn answers(port: u16, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let host = format!("127.0.0.1:{port}");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

#[test]
fn ports_in_use_are_passed_over_and_the_last_is_an_error() {
    let is_free_again = || {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = held.local_addr().expect("its address").port();
        let mut alone = Ports::new(port, 1);
        let error = alone.take().expect_err("it is taken").to_string();
        assert!(error.contains(&format!("from {port} to {port} is in use")), "{error}");
        drop(held);
        alone.take().is_ok_and(|taken| taken == port)
    };
    // Tests that run beside this one may be given the port that it has just left.
    assert!((0..20).any(|_| is_free_again()), "a port that is free again is taken");
}

#[test]
fn a_child_that_ends_is_told_with_its_last_words() {
    let log = std::env::temp_dir().join(format!("corecast-suite-{}.log", std::process::id()));
    let mut command = Command::new("sh");
    command.args(["-c", "echo no luck today; exit 3"]);
    let cpus = super::machine::usable().expect("cores");
    let mut process = Process::start("unlucky", command, &cpus, &log).expect("a shell");
    let told = loop {
        if let Err(error) = process.must_run() {
            break error.to_string();
        }
        thread::yield_now();
    };
    fs::remove_file(&log).expect("the log");
    assert!(told.contains("unlucky ended by itself"), "{told}");
    assert!(told.contains("exit status: 3") && told.ends_with(": no luck today"), "{told}");
}

#[test]
fn a_child_ends_with_its_owner() {
    let log = std::env::temp_dir().join(format!("corecast-suite-{}-2.log", std::process::id()));
    let mut command = Command::new("sleep");
    command.arg("1000");
    let cpus = super::machine::usable().expect("cores");
    let process = Process::start("sleeper", command, &cpus, &log).expect("sleep");
    let pid = process.pid();
    drop(process);
    fs::remove_file(&log).expect("the log");
    assert!(crate::proc::ended(pid));
}
