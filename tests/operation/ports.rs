//! Listeners: one port for one server, one port for all its workers, and every way of writing an
//! address.

use crate::process::{Server, Setup, free_port, fresh, get, get_unix, until};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

fn serve(arguments: &[&str]) -> Server {
    let mut all = vec!["--dev"];
    if !arguments.contains(&"--workers") {
        all.extend(["--workers", "2"]);
    }
    all.extend(arguments);
    Server::start(&Setup { arguments: &all, ..Setup::default() })
}

#[test]
fn of_two_servers_started_at_once_one_ends() {
    for round in 0..30 {
        let port = free_port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        // The second address of each pair is written differently.
        let other = [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!(":{port}")];
        let mut pair = [
            serve(&["--listen", &addr.to_string(), "--driver", "epoll"]),
            serve(&["--listen", &other[round % 3], "--driver", "epoll"]),
        ];
        let mut ended = None;
        until("one has ended", || {
            ended = (0..2).find(|at| !pair[*at].is_running());
            ended.is_some()
        });
        let ended = ended.expect("just seen");
        let log = pair[ended].log();
        assert_eq!(pair[ended].ended().code(), Some(69), "round {round}: {log}");
        assert!(log.contains("in use"), "round {round}: {log}");
        let [first, second] = &mut pair;
        let left = if ended == 0 { second } else { first };
        left.ready_at(addr);
    }
}

/// The port in a server's log, after this text.
fn port_told(server: &mut Server, before: &str) -> u16 {
    let mut port = None;
    until("the log tells the port", || {
        assert!(server.is_running(), "{}", server.log());
        let log = server.log();
        port = log.split(before).nth(1).and_then(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        });
        port.is_some()
    });
    port.expect("just seen")
}

#[test]
fn port_0_is_one_port_which_the_log_tells() {
    for driver in ["epoll", "auto"] {
        let mut server = serve(&["--listen", "127.0.0.1:0", "--workers", "4", "--driver", driver]);
        let port = port_told(&mut server, "listen 127.0.0.1:");
        assert_ne!(port, 0);
        server.ready_at(([127, 0, 0, 1], port).into());
        let listening = listening_ports(server.child.id());
        assert_eq!(listening, vec![port; 4], "each worker has a listener, all on one port");
    }
}

/// Ports of the listening sockets of a process.
fn listening_ports(pid: u32) -> Vec<u16> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let targets: Vec<PathBuf> =
        links.filter_map(|link| std::fs::read_link(link.path()).ok()).collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("it runs");
    let mut ports = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_theirs = targets.contains(&format!("socket:[{}]", fields[9]).into());
        if fields[3] == "0A" && is_theirs {
            let (_, port) = fields[1].split_once(':').expect("an address");
            ports.push(u16::from_str_radix(port, 16).expect("a port"));
        }
    }
    ports
}

#[test]
fn addresses_are_taken_as_they_are_written() {
    let port = free_port();
    let mut server = serve(&["--listen", &format!("localhost:{port}")]);
    server.ready_at(([127, 0, 0, 1], port).into());
    let port = free_port();
    let mut server = serve(&["--listen", &format!(":{port}")]);
    server.ready_at(([127, 0, 0, 1], port).into());
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        server.ready_at((std::net::Ipv6Addr::LOCALHOST, port).into());
    } else {
        eprintln!("SKIPPED: this host has no IPv6");
    }
}

#[test]
fn a_sockets_file_is_listened_on_replaced_and_removed() {
    for driver in ["epoll", "auto"] {
        let (public, internal) = (fresh("public.sock"), fresh("internal.sock"));
        let listen = format!("unix:{}", public.display());
        let internal_listen = format!("unix:{}", internal.display());
        let start = || {
            Server::start(&Setup {
                arguments: &["--dev", "--workers", "4", "--listen", &listen, "--driver", driver],
                variables: &[("CORECAST_INTERNAL_LISTEN", &internal_listen)],
                ..Setup::default()
            })
        };
        let is_ready = |status| matches!(status, Some((200, _)));
        // The socket files that a killed server leaves.
        drop(UnixListener::bind(&public).expect("a new file"));
        let mut server = start();
        until("/ready at the file", || {
            assert!(server.is_running(), "{}", server.log());
            is_ready(get_unix(&public, "/ready"))
        });
        for _ in 0..64 {
            assert!(is_ready(get_unix(&public, "/health")));
        }
        let (status, page) = get_unix(&internal, "/metrics").expect("the internal listener");
        assert!(status == 200 && page.contains("corecast_"), "{page}");

        let mut second = start();
        assert_eq!(second.ended().code(), Some(69), "{}", second.log());
        assert!(second.log().contains(&listen) && second.log().contains("in use"));
        assert!(is_ready(get_unix(&public, "/health")), "the first is served as before");

        server.child.kill().expect("it runs");
        server.child.wait().expect("it is our child");
        assert!(public.exists());
        let mut server = start();
        until("the next one serves", || {
            assert!(server.is_running(), "{}", server.log());
            is_ready(get_unix(&public, "/ready"))
        });
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        assert!(!public.exists() && !internal.exists(), "its files go with it");
    }
}

#[test]
fn a_port_is_free_again_at_once() {
    let port = free_port();
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..5 {
        let mut server = serve(&["--listen", &addr.to_string()]);
        server.ready_at(addr);
        // Closed by the server, its connections remain in TIME_WAIT.
        assert_eq!(get(addr, "/health").map(|(status, _)| status), Some(200));
        server.child.kill().expect("it runs");
        server.child.wait().expect("it is our child");
    }
}
