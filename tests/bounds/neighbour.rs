//! A well-behaved connection beside misbehaving ones: it publishes to itself and receives all the
//! time. If one publication is missing or late, the test fails.

use crate::client::Client;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A later delivery counts as a disturbance (with few busy cores, debug builds, many tests at
/// once).
const LATEST: Duration = Duration::from_secs(3);
/// Interval of publications, so that the server's CPU time is meaningful.
const PACE: Duration = Duration::from_millis(4);

pub struct Neighbour {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Neighbour {
    /// Returns once it has received its first publication.
    pub fn start(addr: SocketAddr) -> Neighbour {
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let mut client = Client::connected(addr);
        assert!(client.subscribe("n:neighbour")["error"].is_null());
        let (stopped, counted) = (stop.clone(), received.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = counted.load(Ordering::Relaxed);
                let sent = Instant::now();
                let answer =
                    client.ask("publish", json!({"channel": "n:neighbour", "data": number}));
                assert!(answer["error"].is_null(), "{answer}");
                assert_eq!(client.publication()["data"], number, "in order, none missed");
                assert!(sent.elapsed() < LATEST, "a delivery took {:?}", sent.elapsed());
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
        });
        let neighbour = Neighbour { stop, received, thread };
        neighbour.receives();
        neighbour
    }

    /// Waits until it has received one more.
    pub fn receives(&self) {
        let before = self.received.load(Ordering::Relaxed);
        crate::server::until("the neighbour's next publication", || {
            self.received.load(Ordering::Relaxed) > before || self.thread.is_finished()
        });
        assert!(!self.thread.is_finished(), "the neighbour was hurt");
    }

    /// Ends it: it must have received everything to here.
    pub fn end(self) {
        self.receives();
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the neighbour was hurt");
    }
}
