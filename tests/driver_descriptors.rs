//! The drivers when the process has no descriptors left. In a process of its own, because the limit
//! is per process.

use corecast::driver::epoll::Epoll;
use corecast::driver::uring::{Tuning, Uring};
use corecast::driver::{Driver, Event, Options, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

fn loopback() -> (Options, SocketAddr) {
    let listener = socket::listen("127.0.0.1:0".parse().expect("an address"), 64, false);
    let listener = listener.expect("a listener");
    let addr = rustix::net::getsockname(&listener).expect("a bound listener");
    let own_bell = socket::bell().expect("a bell");
    let options = Options {
        slots: 64,
        kept_slots: 0,
        listeners: vec![listener],
        own_bell,
        own_ring: None,
        bells: Vec::new(),
    };
    (options, addr.try_into().expect("an internet address"))
}

/// Takes every descriptor but one.
fn use_up() -> Vec<File> {
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    files
}

/// Turns for this time; returns how often `wait` returned, and whether a connection was accepted.
fn turn(driver: &mut impl Driver, time: Duration) -> (u32, bool) {
    let start = Instant::now();
    let mut waits = 0;
    while start.elapsed() < time {
        if let Some(Event::Accepted { .. }) = driver.next_event() {
            return (waits, true);
        }
        driver.wait(Some(time));
        waits += 1;
    }
    (waits, false)
}

#[test]
fn accepting_rests_without_descriptors_and_goes_on() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limit }).expect("a lower limit");

    let (options, addr) = loopback();
    let mut driver = Epoll::new(options).expect("an epoll instance");
    let files = use_up();
    let _client = TcpStream::connect(addr).expect("the last descriptor");
    let (waits, accepted) = turn(&mut driver, Duration::from_millis(400));
    assert!(!accepted);
    assert!((2..=40).contains(&waits), "wait returned {waits} times in 400 ms");
    drop(files);
    assert!(turn(&mut driver, Duration::from_secs(10)).1, "accepting did not go on");

    // Connections of the ring use no descriptors of the process.
    let (options, addr) = loopback();
    let mut driver = Uring::new(options, Tuning::default()).expect("a ring");
    let files = use_up();
    let _client = TcpStream::connect(addr).expect("the last descriptor");
    assert!(turn(&mut driver, Duration::from_secs(10)).1);
    drop(files);
}
