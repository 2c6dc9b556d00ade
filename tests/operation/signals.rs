//! Signals: which end a server, how it announces that, and which do not.

use crate::process::{Server, Setup, UPGRADE, free_port, get, until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

fn start(driver: &str, variables: &[(&str, &str)]) -> (Server, SocketAddr) {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = addr.to_string();
    let mut server = Server::start(&Setup {
        arguments: &["--dev", "--workers", "2", "--listen", &listen, "--driver", driver],
        variables,
        ..Setup::default()
    });
    server.ready_at(addr);
    (server, addr)
}

#[test]
fn only_term_and_int_end_a_server() {
    let (mut server, addr) = start("auto", &[]);
    let never = [
        (Signal::HUP, "SIGHUP"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::PIPE, ""),
    ];
    for (signal, name) in never {
        server.signal(signal);
        if !name.is_empty() {
            until(name, || !server.is_running() || server.log().contains(name));
        }
        assert!(server.is_running(), "{name} ended it");
        assert_eq!(get(addr, "/ready").map(|(status, _)| status), Some(200), "{name}");
    }
    assert!(server.log().contains("reloading comes with a later version"));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    for signal in [Signal::INT, Signal::TERM] {
        let (mut server, _) = start("epoll", &[]);
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    }
}

/// An upgraded connection whose client never answers a close.
fn stubborn(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.write_all(UPGRADE.as_bytes()).expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// Reads until the close frame has arrived.
fn told_3001(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.windows(2).any(|code| code == 3001_u16.to_be_bytes()) {
        let mut bytes = [0; 256];
        let length = stream.read(&mut bytes).expect("it is told");
        assert!(length > 0, "closed without a word");
        read.extend_from_slice(&bytes[..length]);
    }
}

#[test]
fn a_second_term_ends_the_drain() {
    for driver in ["epoll", "auto"] {
        let (mut server, addr) = start(driver, &[("CORECAST_SHUTDOWN_TIMEOUT_MS", "600000")]);
        let mut stream = stubborn(addr);
        server.signal(Signal::TERM);
        told_3001(&mut stream);
        // Its client does not answer, so the shutdown would wait for the close's time-out.
        let asked = Instant::now();
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        assert!(asked.elapsed() < Duration::from_secs(4), "{driver}: {:?}", asked.elapsed());
        assert!(server.log().contains("another signal"), "{}", server.log());
    }
}

#[test]
fn ready_is_503_before_the_listener_closes() {
    for driver in ["epoll", "auto"] {
        let (mut server, addr) = start(driver, &[("CORECAST_SHUTDOWN_DELAY_MS", "600000")]);
        server.signal(Signal::TERM);
        until("/ready is 503", || get(addr, "/ready").is_some_and(|(status, _)| status == 503));
        assert_eq!(get(addr, "/health").map(|(status, _)| status), Some(200));
        drop(stubborn(addr));
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        let (mut server, addr) = start(driver, &[("CORECAST_SHUTDOWN_DELAY_MS", "300")]);
        let asked = Instant::now();
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
        assert!(get(addr, "/health").is_none());
    }
}
