//! A server as a child process: started on its own port, asked for its metrics, ended by a signal.
//! Also what `/proc` says about it.

use crate::client::Client;
use crate::neighbour::Neighbour;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longest time of anything that is not bound by one of the server's time-outs.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const API_KEY: &str = "key-of-the-tests";

const FIRST_PORT: u16 = 25_500;
static NEXT_PORT: AtomicU16 = AtomicU16::new(FIRST_PORT);

/// The beginning of every configuration. `n` is for the neighbour, `h` keeps history, and in `m`
/// only members may do anything.
const BASE: &str = r#"
[client]
CLIENT
ping_interval_ms = 60000
connect_timeout_ms = CONNECT_MS

[api]
key = "key-of-the-tests"

[[namespace]]
name = "n"
allow_subscribe = "anyone"
allow_publish = "anyone"

[[namespace]]
name = "p"
presence = true
allow_subscribe = "anyone"
allow_publish = "anyone"
allow_presence = "anyone"

[[namespace]]
name = "f"
allow_subscribe = "anyone"
allow_tags_filter = true

[[namespace]]
name = "d"
delta = "fossil"
allow_subscribe = "anyone"
allow_publish = "anyone"

[[namespace]]
name = "m"
presence = true
history_size = 100
history_ttl_s = 300
allow_subscribe = "anyone"
allow_publish = "subscriber"
allow_history = "subscriber"
allow_presence = "subscriber"

[[namespace]]
name = "h"
history_size = 1000
history_ttl_s = 300
recovery = "force"
positioning = "force"
allow_subscribe = "anyone"
allow_publish = "anyone"
allow_history = "anyone"
"#;

/// The settings of a test's server.
pub struct Setup<'a> {
    pub workers: usize,
    pub connect_timeout_ms: u32,
    /// Lines of `[limits]`.
    pub limits: &'a str,
    /// Keys above the first section.
    pub top: &'a str,
    /// Authentication: lines of `[client]`.
    pub client: &'a str,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup {
            workers: 1,
            connect_timeout_ms: 10_000,
            limits: "",
            top: "",
            client: "allow_anonymous = true",
        }
    }
}

/// Limits on one worker.
pub fn limits(lines: &str) -> Setup<'_> {
    Setup { limits: lines, ..Setup::default() }
}

/// A running server, ended when dropped.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
    config: PathBuf,
}

/// A port on which no program listens.
pub fn free_port() -> u16 {
    loop {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        assert!(port < FIRST_PORT + 500, "the tests' ports are used up");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The binary, without any of its environment variables.
pub fn corecast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corecast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CORECAST_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

impl Server {
    /// Starts one and waits until it serves. `None`, and a line about it, if the kernel refuses the
    /// driver.
    pub fn start(driver: &str, setup: Setup<'_>) -> Option<Server> {
        let base = BASE.replace("CONNECT_MS", &setup.connect_timeout_ms.to_string());
        let base = base.replace("CLIENT", setup.client);
        let (top, limits, workers) = (setup.top, setup.limits, setup.workers);
        let text = format!("workers = {workers}\n{top}\n{base}\n[limits]\n{limits}\n");
        Server::launch(driver, &text, &[])
    }

    /// Starts one with `--dev`.
    pub fn start_dev(driver: &str) -> Option<Server> {
        Server::launch(driver, "workers = 1\n", &["--dev"])
    }

    fn launch(driver: &str, text: &str, flags: &[&str]) -> Option<Server> {
        let port = free_port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let name = format!("corecast-bounds-{}-{port}.toml", std::process::id());
        let config = std::env::temp_dir().join(name);
        std::fs::write(&config, text).expect("a temporary file");
        let child = corecast()
            .args(["serve", "--driver", driver, "--listen", &addr.to_string(), "--config"])
            .arg(&config)
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut server = Server { child, addr, config };
        let until = Instant::now() + PATIENCE;
        while Client::get(addr, "/health").is_none_or(|answer| answer.status != 200) {
            if let Some(status) = server.child.try_wait().expect("it is our child") {
                let said = server.said();
                if status.code() == Some(69) && said.contains("does not work here") {
                    eprintln!("SKIPPED: driver {driver}: {said}");
                    return None;
                }
                panic!("the server ended with {status}: {said}");
            }
            assert!(Instant::now() < until, "no /health in time");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    /// Its standard error, after it has ended.
    fn said(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut err) = self.child.stderr.take() {
            // Output that is not text is not a reason to fail here.
            let _ = err.read_to_string(&mut said);
        }
        said
    }

    pub fn client(&self) -> Client {
        Client::connected(self.addr)
    }

    pub fn neighbour(&self) -> Neighbour {
        Neighbour::start(self.addr)
    }

    /// The sum over workers of the samples with this prefix.
    pub fn metric(&self, begins: &str) -> u64 {
        let page = Client::metrics(self.addr);
        let samples = page.lines().filter(|line| line.starts_with(begins));
        let values = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        let values: Vec<u64> = values.collect();
        assert!(!values.is_empty(), "no {begins} in\n{page}");
        values.iter().sum()
    }

    /// Disconnects with this code so far.
    pub fn disconnects(&self, code: u16) -> u64 {
        let page = Client::metrics(self.addr);
        let label = format!("code=\"{code}\"");
        page.lines()
            .filter(|line| line.starts_with("corecast_disconnects_total") && line.contains(&label))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// Waits until a gauge has this value.
    pub fn settles(&self, gauge: &str, at: u64) {
        let begins = format!("corecast_{gauge}{{");
        until(&format!("{gauge} = {at}"), || self.metric(&begins) == at);
    }

    /// Publishes by the server API; returns the body.
    pub fn publish(&self, channel: &str, data: &str) -> serde_json::Value {
        let body = format!(r#"{{"channel":"{channel}","data":{data}}}"#);
        let answer = Client::post(self.addr, "/api/publish", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// CPU time of all its threads.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let spent = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Resident bytes.
    pub fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let pages: u64 = text.expect("it runs").split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Ends it with SIGTERM; it must have run until then, and exit with 0. Returns its log.
    pub fn end(self) -> String {
        let (code, said) = self.end_with();
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// Ends it with SIGTERM; it must have run until then. Returns its exit code and its log.
    pub fn end_with(mut self) -> (Option<i32>, String) {
        assert!(self.child.try_wait().expect("our child").is_none(), "it died: {}", self.said());
        self.terminate();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return (status.code(), self.said());
            }
            assert!(Instant::now() < until, "it does not end on SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it in its tracks, as a host that hangs would.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself, which `end` notices.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            let until = Instant::now() + Duration::from_secs(7);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            // If this fails, nothing more can be done.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let said = self.said();
            eprintln!("the server at {} said:\n{said}", self.addr);
        }
        let _ = std::fs::remove_file(&self.config);
    }
}

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
