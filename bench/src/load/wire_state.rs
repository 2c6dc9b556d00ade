//! The connections of a fleet: their phases, what is queued for them, what the ring has to do.
//!
//! Must not use the ring. Invariant: a connection is in `dirty` exactly while its flag is set, and
//! tags carry the generation, so that late events of a connection that is gone are recognised.

use crate::net::{self, Target};
use crate::rng::Rng;
use crate::token;
use crate::wire::Tongue;
use crate::ws;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Connections from one source address: below the ports that the kernel hands out.
const PER_SOURCE: u64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Upgrading,
    /// Upgraded; the session has not begun.
    Greeting,
    Open,
    /// A connection for HTTP calls.
    Http,
}

pub struct Connection {
    pub socket: TcpStream,
    pub generation: u32,
    pub phase: Phase,
    pub dirty: bool,
    /// Its socket was full: it waits for room.
    pub blocked: bool,
    /// Bytes received that are no whole frame yet.
    pub inbox: Vec<u8>,
    pub outbox: Vec<u8>,
    room: Option<u32>,
}

impl Connection {
    pub fn token(&self, who: usize) -> u64 {
        u64::from(self.generation) << 32 | who as u64
    }

    pub fn sends(&self) -> bool {
        !self.blocked && self.phase != Phase::Connecting
    }

    /// Its outbox went out: whole, or so many bytes, or not at all.
    pub fn sent(&mut self, result: Option<i32>, lean: bool) {
        match result {
            None if lean => self.outbox = Vec::new(),
            None => self.outbox.clear(),
            Some(sent @ 0..) => {
                self.outbox.drain(..sent as usize);
                self.blocked = true;
            }
            Some(errno) if -errno == Errno::AGAIN.raw_os_error() => self.blocked = true,
            // The connection is dead: its receive says so.
            Some(_) => self.outbox.clear(),
        }
    }
}

/// What the ring is to do.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    Poll(RawFd, u64),
    Receive(RawFd, u64),
    Cancel(u64),
}

pub struct Wire {
    pub target: Target,
    /// Connections from this number on go elsewhere.
    pub elsewhere: Option<(usize, Target)>,
    pub tongue: Tongue,
    pub connections: Vec<Option<Connection>>,
    pub dirty: Vec<u32>,
    pub wishes: Vec<Wish>,
    /// Rooms that plain connections join by their path.
    pub rooms: Vec<String>,
    /// Keep no memory for a quiet connection.
    pub lean: bool,
    /// Never sleep.
    pub spins: bool,
    /// Pings of servers, so far.
    pub pings: u64,
    /// Payload of the shortest frame with one delivery or answer.
    pub frame_bytes: usize,
    /// First of the numbers of this process's users.
    pub first_user: usize,
    pub failure: Option<String>,
    /// Sockets that were cut; each goes once its receive has ended.
    leaving: Vec<(u64, TcpStream)>,
    secret: Option<String>,
    opened: u64,
    /// Differs between processes, so that they share no source address.
    pub first_source: u64,
    scratch: Vec<u8>,
    rng: Rng,
}

impl Wire {
    pub fn new(target: Target, tongue: Tongue, secret: Option<String>) -> Wire {
        Wire {
            target,
            elsewhere: None,
            tongue,
            connections: Vec::new(),
            dirty: Vec::new(),
            wishes: Vec::new(),
            rooms: Vec::new(),
            lean: false,
            spins: false,
            pings: 0,
            frame_bytes: usize::MAX,
            first_user: 0,
            failure: None,
            leaving: Vec::new(),
            secret,
            opened: 0,
            first_source: 0,
            scratch: Vec::new(),
            rng: Rng::new(0x5eed),
        }
    }

    /// Says why the run has failed; the first reason stays.
    pub fn fail(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// Opens connection number `who`: TCP, upgrade, session. Numbers are given from 0 upward.
    pub fn open(&mut self, who: usize, room: Option<u32>) {
        self.start(who, Phase::Connecting, room);
    }

    /// Opens a connection for HTTP calls: `call` may be used at once.
    pub fn open_http(&mut self, who: usize) {
        self.start(who, Phase::Http, None);
        if let Some(connection) = self.connections[who].as_mut() {
            connection.blocked = true;
            let wish = Wish::Receive(connection.socket.as_raw_fd(), connection.token(who));
            self.wishes.push(wish);
        }
    }

    fn start(&mut self, who: usize, phase: Phase, room: Option<u32>) {
        if self.connections.len() <= who {
            self.connections.resize_with(who + 1, || None);
        }
        assert!(self.connections[who].is_none(), "connection {who} is open");
        // Round 127.0.0.1 and up; which of them does not matter, only that there are enough.
        let last = self.first_source + self.opened / PER_SOURCE;
        let source = Ipv4Addr::from(0x7f00_0001 + last as u32 % 0xf000);
        self.opened += 1;
        let address = self.target_of(who).address;
        let socket = match net::connect(address, Some(source)) {
            Ok(socket) => socket,
            Err(error) => {
                return self.fail(format!("cannot connect to {address}: {error}"));
            }
        };
        // A reset leaves no port waiting for late segments; where it cannot be had, some wait.
        let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        let connection = Connection {
            socket,
            generation: self.opened as u32 & 0xff_ffff,
            phase,
            dirty: false,
            blocked: false,
            inbox: Vec::new(),
            outbox: Vec::new(),
            room,
        };
        let fd = connection.socket.as_raw_fd();
        self.wishes.push(Wish::Poll(fd, connection.token(who)));
        self.connections[who] = Some(connection);
    }

    /// Where a connection goes.
    pub fn target_of(&self, who: usize) -> &Target {
        match &self.elsewhere {
            Some((first, target)) if who >= *first => target,
            _ => &self.target,
        }
    }

    /// Queues the upgrade.
    pub fn upgrade(&mut self, who: usize) {
        let target = self.target_of(who).clone();
        let Some(connection) = self.connections[who].as_mut() else { return };
        connection.phase = Phase::Upgrading;
        let room = connection.room.map(|room| self.rooms[room as usize].as_str());
        let path = self.tongue.path(&target.path, room);
        let host = target.address.to_string();
        connection.outbox = ws::upgrade_request(&host, &path, self.tongue.headers());
    }

    /// Resets a connection; whether it was open. Nothing more is heard of it.
    pub fn cut(&mut self, who: usize) -> bool {
        let Some(connection) = self.connections[who].take() else { return false };
        if connection.dirty {
            self.dirty.retain(|dirty| *dirty as usize != who);
        }
        let token = connection.token(who);
        self.wishes.push(Wish::Cancel(token));
        self.leaving.push((token, connection.socket));
        true
    }

    /// The receive of a connection that was cut has ended.
    pub fn left(&mut self, token: u64) {
        self.leaving.retain(|(leaving, _)| *leaving != token);
    }

    /// Number of the connection of a token, unless it is gone.
    pub fn live(&self, token: u64) -> Option<usize> {
        let who = token as u32 as usize;
        let connection = self.connections.get(who)?.as_ref()?;
        (connection.token(who) == token).then_some(who)
    }

    pub fn same(&mut self, who: usize, generation: u32) -> Option<&mut Connection> {
        self.connections[who].as_mut().filter(|connection| connection.generation == generation)
    }

    /// The token of a connection's user, where there is a secret to sign it.
    pub fn token(&self, who: usize) -> Option<String> {
        let user = user_name(self.first_user + who);
        self.secret.as_ref().map(|secret| token::sign(secret, &user))
    }

    /// Queues a message of the dialect.
    pub fn command(&mut self, who: usize, write: impl FnOnce(&Tongue, &mut Vec<u8>)) {
        let mut message = std::mem::take(&mut self.scratch);
        message.clear();
        write(&self.tongue, &mut message);
        if !message.is_empty() {
            self.frame(who, self.tongue.opcode(), &message);
        }
        self.scratch = message;
    }

    /// Queues a frame.
    pub fn frame(&mut self, who: usize, opcode: u8, payload: &[u8]) {
        let mask = (self.rng.next() as u32).to_le_bytes();
        let Some(connection) = self.connections[who].as_mut() else { return };
        ws::encode(&mut connection.outbox, 0x80 | opcode, mask, payload);
        self.touch(who);
    }

    /// Queues an HTTP call.
    pub fn call(&mut self, who: usize, request: &[u8]) {
        let Some(connection) = self.connections[who].as_mut() else { return };
        connection.outbox.extend_from_slice(request);
        self.touch(who);
    }

    /// Something may have to be sent on a connection.
    pub fn touch(&mut self, who: usize) {
        let Some(connection) = self.connections[who].as_mut() else { return };
        if !connection.dirty && !connection.blocked && !connection.outbox.is_empty() {
            connection.dirty = true;
            self.dirty.push(who as u32);
        }
    }
}

/// All have as many letters, so that frames of all users are as long.
#[must_use]
pub fn user_name(number: usize) -> String {
    format!("user-{number:07}")
}
