//! A TCP proxy between nodes and Redis: it delays, resets and turns elsewhere.
//!
//! Must not know what it carries. Invariant: its threads end with their connections.

use crate::redis::free_port;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Ways {
    target: AtomicU16,
    delay_ms: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

pub struct Proxy {
    pub port: u16,
    ways: Arc<Ways>,
}

impl Proxy {
    pub fn start(target: u16) -> Proxy {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let ways = Arc::new(Ways { target: AtomicU16::new(target), ..Ways::default() });
        let accepted = Arc::clone(&ways);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepted.carry(stream);
            }
        });
        Proxy { port, ways }
    }

    /// Ends all connections; the next ones lead to another port.
    pub fn turn_to(&self, target: u16) {
        self.ways.target.store(target, Relaxed);
        for stream in self.ways.open.lock().expect("nobody panics").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn delay(&self, ms: u64) {
        self.ways.delay_ms.store(ms, Relaxed);
    }

    /// Ends the connection that has been open for longest.
    pub fn reset_one(&self) {
        let mut open = self.ways.open.lock().expect("nobody panics");
        let count = open.len().min(2);
        for stream in open.drain(..count) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Ways {
    fn carry(self: &Arc<Ways>, inner: TcpStream) {
        let Ok(outer) = TcpStream::connect(("127.0.0.1", self.target.load(Relaxed))) else {
            return;
        };
        let copy = |stream: &TcpStream| stream.try_clone().expect("a second handle");
        let mut open = self.open.lock().expect("nobody panics");
        open.extend([copy(&inner), copy(&outer)]);
        drop(open);
        for (from, to) in [(copy(&inner), copy(&outer)), (outer, inner)] {
            let ways = Arc::clone(self);
            std::thread::spawn(move || ways.pump(from, to));
        }
    }

    /// Carries one direction. What is delayed waits in a second thread, so that it stays a delay
    /// and does not become a rate.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let (send, late) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
        let mut from_too = from.try_clone().expect("a second handle");
        let writer = std::thread::spawn(move || {
            for (due, bytes) in late {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from_too.flush();
            let _ = from_too.shutdown(Shutdown::Both);
        });
        let mut bytes = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let delay = Duration::from_millis(self.delay_ms.load(Relaxed));
            if send.send((Instant::now() + delay, bytes[..length].to_vec())).is_err() {
                break;
            }
        }
        drop(send);
        let _ = writer.join();
    }
}
