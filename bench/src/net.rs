//! Sockets and readiness: epoll, level-triggered, and TCP connects that do not wait.
//!
//! Must not know WebSocket. Invariant: every socket handed out is non-blocking and without Nagle.

use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Sockets taken from one wait: few, so that a paced publisher is not kept waiting long.
const EVENTS: usize = 128;

/// Where to connect: `ws://host:port/path`, addresses only.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddrV4,
    pub path: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ws://{}{}", self.address, self.path)
    }
}

impl serde::Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("ws://").ok_or("the URL does not start with ws://")?;
        let (host, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let host = host.replace("localhost", "127.0.0.1");
        let address =
            host.parse().map_err(|_| format!("{host} is not an IPv4 address and port"))?;
        Ok(Target { address, path: path.to_owned() })
    }
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    Read,
    Write,
    Both,
    /// Nothing: its reading is stalled on purpose.
    Nothing,
}

impl Want {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Want::Read => epoll::EventFlags::IN,
            Want::Write => epoll::EventFlags::OUT,
            Want::Both => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            Want::Nothing => epoll::EventFlags::empty(),
        }
    }
}

/// One socket that is ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub writable: bool,
}

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Vec::with_capacity(EVENTS) })
    }

    pub fn add(&self, stream: &impl AsFd, token: u64, want: Want) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, stream, data, want.flags())?)
    }

    pub fn change(&self, stream: &TcpStream, token: u64, want: Want) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::modify(&self.epoll, stream, data, want.flags())?)
    }

    /// Appends what is ready to `ready`, after at most `timeout`.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Duration) -> io::Result<()> {
        let timeout = timeout.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Ready { token: data.u64(), writable: flags.contains(epoll::EventFlags::OUT) }
        }));
        Ok(())
    }
}

/// Starts a TCP connect from `source` (any address if `None`).
pub fn connect(target: SocketAddrV4, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source {
        rustix::net::bind(&socket, &SocketAddr::V4(SocketAddrV4::new(source, 0)))?;
    }
    match rustix::net::connect(&socket, &SocketAddr::V4(target)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// Closes with RST instead of FIN.
pub fn reset(stream: TcpStream) {
    // Without the option the close is an ordinary one, which is no error of the run.
    let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}
