//! Errors that prevent a start: an invalid key, a port in use.

use crate::server::{Server, Setup, corecast, free_port};
use std::net::TcpListener;

/// Runs `serve --dev`, which must fail; returns exit code and standard error.
fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let output = corecast().args(["serve", "--dev"]).args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_limit_that_is_none() {
    let path = std::env::temp_dir().join(format!("corecast-bounds-{}-key", std::process::id()));
    std::fs::write(&path, "[limits]\nmesage_bytes = 1000\n").unwrap();
    let (code, said) = fails(&["--config", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("limits.mesage_bytes") && said.contains("message_bytes\"?"), "{said}");
}

#[test]
fn a_port_in_use() {
    let port = free_port();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let addr = format!("127.0.0.1:{port}");
    let (code, said) = fails(&["--listen", &addr]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains(&addr) && said.contains("in use"), "{said}");
    drop(taken);

    // Workers share a port among themselves, and with no other server.
    let server = Server::start("epoll", Setup::default()).expect("epoll works everywhere");
    let addr = server.addr.to_string();
    for workers in ["1", "2"] {
        let (code, said) = fails(&["--listen", &addr, "--workers", workers]);
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains(&addr) && said.contains("in use"), "{said}");
    }
    server.client();
    server.end();
}
