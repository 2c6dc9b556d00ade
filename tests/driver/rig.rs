//! A driver with a listener on loopback, and the operations of the tests.
//!
//! Must not know which driver it is. Invariant: nothing waits longer than `PATIENCE`.

use corecast::driver::socket::{self, Bell};
use corecast::driver::{Driver, End, Event, Options, Pieces, Segment, Send, Socket, Tag, Unsent};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// After this time, the awaited event will not come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A driver that the suite can make.
pub trait Make: Driver + Sized {
    fn make(options: Options) -> Self;
}

/// An event, its bytes copied out.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    Accepted(Socket, Option<IpAddr>),
    Received(Tag, Vec<u8>),
    Ended(Tag, End),
    Sent(Tag),
    SendFailed(Tag, i32),
}

pub struct Rig<D> {
    pub driver: D,
    pub addr: SocketAddr,
    pub bell: Bell,
    early: VecDeque<Got>,
}

/// The address a listener got.
pub fn addr_of(listener: impl AsFd) -> SocketAddr {
    let addr = rustix::net::getsockname(listener).expect("a bound listener");
    addr.try_into().expect("an internet address")
}

impl<D: Make> Rig<D> {
    pub fn new(slots: u32) -> Rig<D> {
        Rig::with(slots, Vec::new(), D::make)
    }

    pub fn with(slots: u32, bells: Vec<Option<Bell>>, make: impl FnOnce(Options) -> D) -> Rig<D> {
        Rig::known(slots, bells, None, make)
    }

    /// The same, with a descriptor that becomes its ring.
    pub fn known(
        slots: u32,
        bells: Vec<Option<Bell>>,
        own_ring: Option<OwnedFd>,
        make: impl FnOnce(Options) -> D,
    ) -> Rig<D> {
        let listener = socket::listen("127.0.0.1:0".parse().expect("an address"), 1_024, false);
        let listener = listener.expect("a listener");
        let addr = addr_of(&listener);
        let own_bell = socket::bell().expect("a bell");
        let bell = Bell::new(&own_bell).expect("a bell");
        let driver = make(Options {
            slots,
            kept_slots: 0,
            listeners: vec![listener],
            own_bell,
            own_ring,
            bells,
        });
        Rig { driver, addr, bell, early: VecDeque::new() }
    }

    /// The next event, if the driver knows of one without asking the kernel.
    pub fn poll(&mut self) -> Option<Got> {
        self.early.pop_front().or_else(|| self.poll_driver())
    }

    /// Drops events that were kept for later, because their sockets were closed.
    pub fn forget(&mut self) {
        self.early.clear();
    }

    fn poll_driver(&mut self) -> Option<Got> {
        Some(match self.driver.next_event()? {
            Event::Accepted { socket, peer, .. } => Got::Accepted(socket, peer),
            Event::Received { tag, buffer } => {
                let bytes = self.driver.bytes(&buffer).to_vec();
                assert!(!bytes.is_empty());
                self.driver.release(buffer);
                Got::Received(tag, bytes)
            }
            Event::Ended { tag, end } => Got::Ended(tag, end),
            Event::Sent { tag } => Got::Sent(tag),
            Event::SendFailed { tag, errno } => Got::SendFailed(tag, errno),
        })
    }

    /// The next event.
    pub fn next(&mut self) -> Got {
        let start = Instant::now();
        loop {
            if let Some(got) = self.poll() {
                return got;
            }
            assert!(start.elapsed() < PATIENCE, "no event came");
            self.driver.wait(Some(Duration::from_millis(100)));
        }
    }

    /// Turns until `done` returns true; it is given the events.
    pub fn turn_until(&mut self, mut done: impl FnMut(&mut D, Option<Got>) -> bool) {
        let start = Instant::now();
        loop {
            while let Some(got) = self.poll() {
                if done(&mut self.driver, Some(got)) {
                    return;
                }
            }
            if done(&mut self.driver, None) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "what was waited for did not come");
            self.driver.wait(Some(Duration::from_millis(1)));
        }
    }

    /// The next socket accepted; other events are kept for later.
    pub fn accepted(&mut self) -> Socket {
        let mut early = VecDeque::new();
        loop {
            match self.next() {
                Got::Accepted(socket, _) => {
                    early.append(&mut self.early);
                    self.early = early;
                    return socket;
                }
                other => early.push_back(other),
            }
        }
    }

    /// A connection, adopted under `token`.
    pub fn connect(&mut self, tag: u64) -> (TcpStream, Socket) {
        let client = self.client();
        let socket = self.accepted();
        self.driver.adopt(socket, Tag(tag));
        (client, socket)
    }

    /// A client whose reads and writes end in an error instead of blocking forever.
    pub fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.addr).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        client
    }

    /// Flushes `bytes` to one socket, cut into `count` segments; returns the bytes that were sent.
    pub fn flush(&mut self, socket: Socket, bytes: &[u8], count: usize) -> usize {
        let segments = cut(bytes.len(), count);
        let pieces = Pieces::Many { first: 0, count: segments.len() as u32 };
        let send = Send { socket, pieces };
        let mut unsent = vec![Unsent { index: 9, sent: 9 }];
        self.driver.flush(bytes, bytes, &segments, &[send], &mut unsent);
        match unsent[..] {
            [] => bytes.len(),
            [Unsent { index: 0, sent }] => {
                assert!((sent as usize) < bytes.len());
                sent as usize
            }
            _ => panic!("{unsent:?}"),
        }
    }
}

/// Segments that cover `len` bytes in order, from the arena and the pool in turn.
pub fn cut(len: usize, count: usize) -> Vec<Segment> {
    use corecast::driver::Place::{Arena, Pool};
    let at = |part: usize| (len * part / count) as u32;
    let segment = |part| Segment {
        place: if part % 2 == 0 { Arena } else { Pool },
        start: at(part),
        len: at(part + 1) - at(part),
    };
    (0..count).map(segment).collect()
}
