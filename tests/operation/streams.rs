//! The reader of the output may be gone, or the disk full. Nothing panics, and the exit code is the
//! same.

use crate::process::{Server, Setup, UPGRADE, binary, free_port, fresh, get, until};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// States of the two streams, as shell redirections.
const SINKS: [&str; 7] =
    [">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", ">&-", "2>&-", ">&- 2>&-", "| true"];

/// The exit code of a command line; 101 is a panic, `None` a signal.
fn exit_code(line: &str) -> Option<i32> {
    let script = format!("set -o pipefail 2>/dev/null; {line}; exit ${{PIPESTATUS[0]}}");
    let status = Command::new("bash")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.expect("bash runs").code()
}

#[test]
fn closed_and_full_streams_change_no_exit_code() {
    let wrong = fresh("wrong.toml");
    std::fs::write(&wrong, "lisen = \"x\"\n").expect("a temporary file");
    let wrong = wrong.display();
    let corecast = binary();
    let corecast = corecast.display();
    let tune = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tune");
    let tune = tune.display();
    let commands = [
        (format!("{corecast} --help"), Some(0)),
        (format!("{corecast} serve --help"), Some(0)),
        (format!("{corecast} --version"), Some(0)),
        (format!("{corecast} version"), Some(0)),
        (format!("{corecast} unheard-of"), Some(2)),
        (format!("{corecast} check --dev"), Some(0)),
        (format!("CORECAST_WORKRES=1 {corecast} check --dev"), Some(0)),
        (format!("{corecast} check --dev --config {wrong}"), Some(78)),
        (format!("{corecast} serve --dev --config {wrong}"), Some(78)),
        (format!("CORECAST_DRIVER=epoll {corecast} doctor --json --connections 1"), None),
        (format!("CORECAST_DRIVER=epoll {corecast} doctor --connections 1"), None),
        (format!("{corecast} token inspect no-token"), Some(1)),
        (
            format!("CORECAST_CLIENT_TOKEN_HMAC_SECRET={:032} {corecast} token mint --user al", 7),
            Some(0),
        ),
        (format!("{tune} --help"), Some(0)),
        (format!("{tune} plan --connections 1"), Some(0)),
        (format!("{tune} plan --json --connections 1"), Some(0)),
        (format!("{tune} check --connections 1"), None),
        (format!("{tune} plan --connections x"), Some(2)),
    ];
    for (command, expected) in commands {
        // The shortfalls of this host do not matter.
        let expected = expected.or_else(|| exit_code(&command));
        for sink in SINKS {
            assert_eq!(exit_code(&format!("{command} {sink}")), expected, "{command} {sink}");
        }
    }
}

#[test]
fn a_server_whose_streams_are_full_serves_and_ends() {
    for sink in ["exec >/dev/full 2>/dev/full", "exec >&- 2>&-"] {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut server = Server::start(&Setup {
            arguments: &["--dev", "--listen", &addr.to_string()],
            before: sink,
            ..Setup::default()
        });
        server.ready_at(addr);
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{sink}");
    }
}

/// Log lines that the server has dropped.
fn dropped(addr: SocketAddr) -> u64 {
    let (_, page) = get(addr, "/metrics").expect("metrics");
    let sample =
        page.lines().find_map(|line| line.strip_prefix("corecast_log_lines_dropped_total"));
    sample.expect("it is counted").trim().parse().expect("a number")
}

#[test]
fn a_log_that_nobody_reads_keeps_no_server_from_ending() {
    // Both streams go into one pipe, as under a supervisor that hangs: it is open, and never read.
    let pipe = fresh("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success(), "mkfifo: {made}");
    let both = OpenOptions::new().read(true).write(true).open(&pipe);
    let _unread = both.expect("the pipe opens");
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut server = Server::start(&Setup {
        arguments: &["--dev", "--workers", "1", "--listen", &addr.to_string()],
        before: &format!("exec >{} 2>&1", pipe.display()),
        variables: &[("CORECAST_LOG_LEVEL", "debug")],
        ..Setup::default()
    });
    server.ready_at(addr);
    // Each connection that ends causes a line. The buffer for the reader fills up, then lines are
    // dropped.
    until("lines are dropped", || {
        for _ in 0..2_000 {
            let mut stream = TcpStream::connect(addr).expect("it listens");
            stream.write_all(UPGRADE.as_bytes()).expect("it reads");
        }
        dropped(addr) > 0
    });
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0));
}
