//! The sockets to a store: dials them, reads and writes, and hands the bytes to the `Shard`, which
//! decides what they mean.
//!
//! Must not know the protocol. Invariants: a shard is told of the end of every connection that it
//! was told of, once; each wire has one connection at a time; nothing is read or written for a
//! connection that the shard wants closed.

use super::events::Events;
use super::lanes::Lanes;
use super::redis::directory::NodeRecord;
use super::redis::link_error::{LinkError, shortened};
use super::redis::shard::{Shard, Wire};
use super::signal::Signal;
use super::tls::{Session, Tls};
use crate::clock::Now;
use crate::contract::engine::{Answer, Call};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpStream, UnixStream};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::rc::Rc;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;

/// Where a store listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// The name is resolved at every dial, because failovers move names.
    Tcp { host: String, port: u16 },
    /// The path of a socket file.
    Unix(PathBuf),
}

/// A store, where it listens, and what this node says of itself to the others there.
pub struct StoreParts {
    pub shard: Shard,
    pub address: Address,
    /// None: what is said can be read on the way.
    pub tls: Option<Tls>,
    pub about: Box<dyn Fn() -> NodeRecord>,
}

/// A store and its sockets, shared by the tasks of the bridge's thread.
pub(super) struct Store {
    shard: RefCell<Shard>,
    address: Address,
    tls: Option<Tls>,
    about: Box<dyn Fn() -> NodeRecord>,
    now: Rc<dyn Fn() -> Now>,
    events: RefCell<Events>,
    /// Something came in: the bridge is to turn.
    changed: Signal,
    commands: Line,
    subscriptions: Line,
}

/// What wakes the tasks of one wire.
#[derive(Default)]
struct Line {
    dial: Signal,
    output: Signal,
    close: Signal,
    is_open: Cell<bool>,
}

impl Store {
    pub fn new(parts: StoreParts, now: Rc<dyn Fn() -> Now>) -> Rc<Store> {
        let StoreParts { shard, address, tls, about } = parts;
        Rc::new(Store {
            shard: RefCell::new(shard),
            address,
            tls,
            about,
            now,
            events: RefCell::default(),
            changed: Signal::default(),
            commands: Line::default(),
            subscriptions: Line::default(),
        })
    }

    /// Starts the tasks of both wires. They live as long as the runtime.
    pub fn start(self: &Rc<Self>) {
        for wire in [Wire::Commands, Wire::Subscriptions] {
            let store = Rc::clone(self);
            monoio::spawn(async move { store.keep_connected(wire).await });
        }
    }

    /// Takes over a home's call.
    pub fn call(&self, worker: usize, call: Call) {
        self.shard.borrow_mut().call(worker, call, self.now_us());
    }

    /// Lets the shard do what there is to do, hands its answers over, and wakes the tasks for which
    /// it has something.
    pub fn turn(&self, lanes: &mut Lanes) {
        let mut shard = self.shard.borrow_mut();
        shard.turn(self.now_us());
        if shard.wants_beat() {
            shard.beat((self.about)());
        }
        while let Some((worker, answer)) = shard.next_answer() {
            match answer {
                Answer::Publication { session, position, block } => {
                    let fits = lanes.forward(worker, session, position, block);
                    shard.metrics().dropped.add(u64::from(!fits));
                }
                Answer::Lost { session } => lanes.mark_lost(worker, session),
                Answer::Command { .. } => lanes.command(worker, answer),
                Answer::List { .. } | Answer::Channels { .. } => {
                    lanes.list(worker, answer);
                }
                Answer::Membership { .. } => lanes.pass_on(worker, answer),
                Answer::Node { .. } | Answer::Forgotten => lanes.tell(&answer),
                Answer::Published { .. }
                | Answer::Passed { .. }
                | Answer::Removed { .. }
                | Answer::Read(_)
                | Answer::UsersTold { .. }
                | Answer::UserTold { .. }
                | Answer::Noted { .. }
                | Answer::Members { .. }
                | Answer::Counted { .. }
                | Answer::Nodes { .. }
                | Answer::Failed { .. } => lanes.answer(worker, answer),
            }
        }
        while let Some(news) = shard.next_news() {
            lanes.tell(&news);
        }
        while let Some(event) = shard.next_event() {
            self.events.borrow_mut().note(&event, self.now_us() / 1_000);
        }
        for wire in [Wire::Commands, Wire::Subscriptions] {
            let line = self.line(wire);
            if shard.wants_dial(wire) {
                assert!(!line.is_open.get(), "a wire has one connection at a time");
                line.dial.raise();
            }
            if shard.wants_close(wire) {
                line.close.raise();
            }
            line.output.raise();
        }
    }

    /// This node ends: the others are to know it, if Redis answers soon.
    pub fn leave(&self) {
        self.shard.borrow_mut().leave(self.now_us());
        self.commands.output.raise();
    }

    /// Is there nothing more to wait for?
    pub fn has_left(&self) -> bool {
        self.shard.borrow().has_left()
    }

    /// When the shard has something to do by itself, in microseconds of the process.
    pub fn deadline_us(&self) -> Option<u64> {
        self.shard.borrow().deadline_us()
    }

    /// Waits until something came in.
    pub async fn change(&self) {
        self.changed.wait().await;
    }

    fn line(&self, wire: Wire) -> &Line {
        match wire {
            Wire::Commands => &self.commands,
            Wire::Subscriptions => &self.subscriptions,
        }
    }

    fn now_us(&self) -> u64 {
        (self.now)().monotonic_us
    }

    /// Dials whenever the shard wants it, and serves the connection until it ends.
    async fn keep_connected(&self, wire: Wire) {
        let line = self.line(wire);
        loop {
            line.dial.wait().await;
            // What was meant for the connection before.
            line.close.clear();
            // Not ended before its time: so there is one resolution for each wire at most.
            let places = resolve(&self.address).await;
            let dialled = monoio::select! {
                dialled = dial(places) => dialled,
                () = line.close.wait() => Err(io::ErrorKind::TimedOut.into()),
            };
            match dialled {
                Ok(Stream::Tcp(stream)) => self.serve(wire, stream).await,
                Ok(Stream::Unix(stream)) => self.serve(wire, stream).await,
                Err(error) => self.fail(wire, LinkError::Dial(text(&error))),
            }
            self.shard.borrow_mut().closed(wire, self.now_us());
            self.changed.raise();
        }
    }

    /// Notes why a connection is about to end.
    fn fail(&self, wire: Wire, error: LinkError) {
        self.shard.borrow_mut().failed(wire, error);
    }

    async fn serve<S>(&self, wire: Wire, stream: S)
    where
        S: Splitable,
        S::OwnedRead: AsyncReadRent,
        S::OwnedWrite: AsyncWriteRentExt,
    {
        let line = self.line(wire);
        let session = match Session::new(self.tls.as_ref()) {
            Ok(session) => RefCell::new(session),
            Err(error) => return self.fail(wire, LinkError::Tls(text(&error))),
        };
        let (from, to) = stream.into_split();
        line.is_open.set(true);
        self.shard.borrow_mut().connected(wire, self.now_us());
        self.changed.raise();
        monoio::select! {
            () = self.read(wire, from, &session) => {}
            () = self.write(wire, to, &session) => {}
            () = line.close.wait() => {}
        }
        line.is_open.set(false);
    }

    /// Hands over what comes, until the connection ends.
    async fn read(&self, wire: Wire, mut from: impl AsyncReadRent, session: &RefCell<Session>) {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let (read, filled) = from.read(buffer).await;
            buffer = filled;
            let Ok(length @ 1..) = read else { return };
            let hand = |part: &[u8]| self.shard.borrow_mut().received(wire, part, self.now_us());
            let opened = session.borrow_mut().open(&buffer[..length], hand);
            if let Err(error) = opened {
                return self.fail(wire, LinkError::Tls(text(&error)));
            }
            self.changed.raise();
            // With a poller a read that finds something does not wait, and more may come for ever.
            super::give_way().await;
        }
    }

    /// Writes what the shard has to say, until the connection ends.
    async fn write(&self, wire: Wire, mut to: impl AsyncWriteRentExt, session: &RefCell<Session>) {
        let mut output = Vec::new();
        loop {
            output.clear();
            self.shard.borrow_mut().take_output(wire, &mut output);
            session.borrow_mut().seal(&mut output);
            if output.is_empty() {
                self.line(wire).output.wait().await;
                continue;
            }
            let (written, taken) = to.write_all(output).await;
            output = taken;
            if written.is_err() {
                return;
            }
            // What waits now may have waited for this.
            self.changed.raise();
        }
    }
}

fn text(error: &dyn std::error::Error) -> Box<str> {
    shortened(&error.to_string())
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a dial may reach.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Dials one place after the other, until one answers.
async fn dial(places: io::Result<Vec<Place>>) -> io::Result<Stream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for place in places? {
        let dialled = match place {
            Place::Tcp(address) => TcpStream::connect_addr(address).await.map(Stream::Tcp),
            Place::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        };
        match dialled {
            Ok(stream) => {
                if let Stream::Tcp(stream) = &stream {
                    stream.set_nodelay(true)?;
                }
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// The places of an address. The system's resolver blocks, so it runs in another thread.
async fn resolve(address: &Address) -> io::Result<Vec<Place>> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(vec![Place::Unix(path.clone())]),
        Address::Tcp { host, port } => (host.clone(), *port),
    };
    if let Ok(address) = host.parse() {
        return Ok(vec![Place::Tcp(SocketAddr::new(address, port))]);
    }
    let resolving = monoio::spawn_blocking(move || (host.as_str(), port).to_socket_addrs());
    let resolved = resolving.await.map_err(|_| io::Error::other("the resolver's thread ended"))?;
    Ok(resolved?.map(Place::Tcp).collect())
}
