//! Locked memory is counted by user, and released late. Whatever is left at a start, the server
//! becomes ready, on rings or without.

use crate::process::{NOBODY, Server, Setup, driver_at, free_port};
use std::net::SocketAddr;

/// A server that chooses its driver by itself, with this much locked memory; waits until it is
/// ready.
fn start(user: u32, kib: u32, port: u16) -> (Server, SocketAddr) {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let mut server = Server::start(&Setup {
        arguments: &["--dev", "--workers", "2", "--listen", &addr.to_string()],
        before: &format!("ulimit -l {kib}"),
        user: Some(user),
        ..Setup::default()
    });
    server.ready_at(addr);
    (server, addr)
}

#[test]
fn with_any_limit_a_server_becomes_ready() {
    let mut drivers = Vec::new();
    for kib in [0, 32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 576, 640, 768, 1_024] {
        let (_server, addr) = start(NOBODY, kib, free_port());
        drivers.push((kib, driver_at(addr)));
    }
    eprintln!("{drivers:?}");
    assert_eq!(drivers[0].1, "epoll", "no ring can be had without locked memory: {drivers:?}");
}

#[test]
fn servers_of_one_user_all_become_ready() {
    let servers: Vec<(Server, SocketAddr)> =
        (0..25).map(|_| start(60_001, 8_192, free_port())).collect();
    let rings = servers.iter().filter(|(_, addr)| driver_at(*addr) == "io_uring").count();
    eprintln!("{rings} of 25 run on io_uring");
    assert!(rings < 25, "the limit was not reached");
}

#[test]
fn a_killed_server_is_followed_at_once() {
    let port = free_port();
    let (mut server, addr) = start(60_002, 768, port);
    let driver = driver_at(addr);
    for restart in 0..8 {
        server.child.kill().expect("it runs");
        server.child.wait().expect("it is our child");
        server = start(60_002, 768, port).0;
        assert_eq!(driver_at(addr), driver, "restart {restart}: {}", server.log());
    }
}
