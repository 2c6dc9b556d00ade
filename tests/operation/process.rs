//! A server as a child process of some user: started, asked, signalled, and its log read.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest time of anything: several times what it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const NOBODY: u32 = 65_534;
/// A request that makes a connection a WebSocket.
pub const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// A directory for this run that every user may enter, with a copy of the binary that every user
/// may run, wherever the checkout is.
fn folder() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        remove_folders_of_earlier_runs();
        let path = std::env::temp_dir().join(format!("{FOLDER}{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        let built = std::env::var("CORECAST_BIN");
        let built = built.unwrap_or_else(|_| env!("CARGO_BIN_EXE_corecast").to_owned());
        std::fs::copy(built, path.join("corecast")).expect("the binary is copied");
        allow(&path, 0o777);
        allow(&path.join("corecast"), 0o755);
        path
    })
}

const FOLDER: &str = "corecast-operation-";

/// A run cannot know which of its tests is the last, so the next run removes it.
fn remove_folders_of_earlier_runs() {
    let entries = std::fs::read_dir(std::env::temp_dir()).expect("a temporary folder").flatten();
    for entry in entries {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may clear up at the same time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn allow(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("the file is ours");
}

/// An unused path in that directory.
pub fn fresh(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    folder().join(format!("{}-{name}", NUMBER.fetch_add(1, Ordering::Relaxed)))
}

pub fn binary() -> PathBuf {
    folder().join("corecast")
}

pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the kernel finds a port");
    listener.local_addr().expect("it is bound").port()
}

/// The settings of a server.
pub struct Setup<'a> {
    pub arguments: &'a [&'a str],
    /// Shell commands that run before it, such as `ulimit -l 64`.
    pub before: &'a str,
    /// The user, if the test runs as root; otherwise the server runs as the test's user.
    pub user: Option<u32>,
    pub variables: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup { arguments: &[], before: ":", user: None, variables: &[] }
    }
}

/// A running server, killed when dropped.
pub struct Server {
    pub child: Child,
    pub log: PathBuf,
}

impl Server {
    pub fn start(setup: &Setup<'_>) -> Server {
        let log = fresh("log");
        let file = File::create(&log).expect("a temporary file");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{} && exec \"$@\"", setup.before), "sh"]);
        command.arg(binary()).arg("serve").args(setup.arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CORECAST_") {
                command.env_remove(name);
            }
        }
        command.envs(setup.variables.iter().copied()).current_dir("/");
        if let Some(user) = setup.user.filter(|_| is_root()) {
            command.uid(user).gid(user);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Server { child: command.spawn().expect("a shell runs"), log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log is there")
    }

    /// Waits until `/ready` is 200.
    pub fn ready_at(&mut self, addr: SocketAddr) {
        let log = self.log.clone();
        let child = &mut self.child;
        until("/ready is 200", || {
            if let Some(status) = child.try_wait().expect("it is our child") {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("the server ended with {status}: {log}");
            }
            get(addr, "/ready").is_some_and(|(status, _)| status == 200)
        });
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        let mut ended = None;
        until("the server has ended", || {
            ended = self.child.try_wait().expect("it is our child");
            ended.is_some()
        });
        ended.expect("just seen")
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request: status and body. `None`: there is no answer.
pub fn get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    ask(stream, path)
}

/// The same at a socket file.
pub fn get_unix(file: &Path, path: &str) -> Option<(u16, String)> {
    let stream = UnixStream::connect(file).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    ask(stream, path)
}

fn ask(mut stream: impl Read + Write, path: &str) -> Option<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The server's driver, from its metrics.
pub fn driver_at(addr: SocketAddr) -> String {
    let (_, page) = get(addr, "/metrics").expect("metrics");
    let begins = "corecast_driver{kind=\"";
    let at = page.find(begins).expect("the driver is told") + begins.len();
    page[at..].split('"').next().expect("a label").to_owned()
}

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
