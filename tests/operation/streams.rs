//! Whoever reads what we print may be gone, or his disk full. Nothing panics, and the exit code is
//! the same.

use crate::process::{Server, Setup, binary, free_port, fresh};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// How the two streams may be, in a shell's words.
const SINKS: [&str; 7] =
    [">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", ">&-", "2>&-", ">&- 2>&-", "| true"];

/// The exit code of a command line; 101 is a panic, none a signal.
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
        // What a host falls short of is its own.
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
