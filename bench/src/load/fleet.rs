//! Thousands of WebSocket connections on one ring, in one thread.
//!
//! Must not know what a run proves: it passes all messages to a `Handler`. Invariants: a handler
//! never uses the ring, it leaves requests that the next turn carries out; after `cut` a connection
//! has no more events.

use super::clock;
use super::wire_state::{Connection, Phase, Wire, Wish};
use crate::net::Target;
use crate::ring::{Event, Ring, Send, Socket};
use crate::wire::{Said, Tongue};
use crate::ws;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

const BUFFERS: u16 = 16_384;
const BUFFER_BYTES: u32 = 4_096;
/// Longest wait of one turn, so that clocks and failures are looked at.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// What a run does with what happens.
pub trait Handler {
    /// The session of a connection has begun.
    fn opened(&mut self, wire: &mut Wire, who: usize, now: u64);
    fn said(&mut self, wire: &mut Wire, who: usize, said: Said<'_>, now: u64);
    /// A connection ended, and not by `cut`.
    fn ended(&mut self, wire: &mut Wire, who: usize, cause: String) {
        wire.fail(format!("connection {who} was closed by the server: {cause}"));
    }
}

pub struct Fleet {
    ring: Ring,
    pub wire: Wire,
}

impl Fleet {
    /// # Errors
    /// When the kernel has no ring for us.
    pub fn new(target: Target, tongue: Tongue, secret: Option<String>) -> io::Result<Fleet> {
        let ring = Ring::new(BUFFERS, BUFFER_BYTES, 0)?;
        Ok(Fleet { ring, wire: Wire::new(target, tongue, secret) })
    }

    /// Sends what is queued, waits for events until `until` at most, and handles them.
    pub fn turn(&mut self, handler: &mut impl Handler, until: u64) {
        self.flush();
        let left = Duration::from_nanos(until.saturating_sub(clock::now()));
        let wait = if self.wire.spins { Duration::ZERO } else { left.min(LONGEST_WAIT) };
        self.ring.wait(wait);
        while let Some(event) = self.ring.next() {
            self.event(event, handler);
        }
        self.flush();
    }

    /// Sends all that is queued, and carries out wishes.
    fn flush(&mut self) {
        let wire = &mut self.wire;
        for wish in wire.wishes.drain(..) {
            match wish {
                Wish::Poll(fd, token) => self.ring.poll_writable(Socket::Plain(fd), token),
                Wish::Receive(fd, token) => self.ring.receive(Socket::Plain(fd), token),
                Wish::Cancel(token) => self.ring.cancel_receive(token),
            }
        }
        if wire.dirty.is_empty() {
            return;
        }
        let connections = &wire.connections;
        wire.dirty.retain(|who| connections[*who as usize].as_ref().is_some_and(Connection::sends));
        let sends: Vec<Send<'_>> = wire
            .dirty
            .iter()
            .filter_map(|who| connections[*who as usize].as_ref())
            .map(|connection| Send {
                socket: Socket::Plain(connection.socket.as_raw_fd()),
                bytes: &connection.outbox,
            })
            .collect();
        let short = self.ring.flush(&sends);
        let mut next_short = short.iter().peekable();
        let lean = wire.lean;
        for (index, who) in wire.dirty.drain(..).enumerate() {
            let Some(connection) = wire.connections[who as usize].as_mut() else { continue };
            connection.dirty = false;
            let result = next_short.next_if(|(at, _)| *at as usize == index);
            connection.sent(result.map(|(_, result)| *result), lean);
            if connection.blocked {
                let token = connection.token(who as usize);
                wire.wishes.push(Wish::Poll(connection.socket.as_raw_fd(), token));
            }
        }
    }

    fn event(&mut self, event: Event, handler: &mut impl Handler) {
        match event {
            Event::Ready { token } => self.writable(token),
            Event::Received { token, lent } => {
                if let Some(who) = self.wire.live(token) {
                    let now = clock::now();
                    self.wire.received(who, self.ring.bytes(&lent), now, handler);
                }
                self.ring.give_back(lent);
            }
            Event::Starved { token } => match self.wire.live(token) {
                Some(who) => {
                    let socket = self.wire.connections[who].as_ref().map(|c| c.socket.as_raw_fd());
                    self.wire.wishes.extend(socket.map(|fd| Wish::Receive(fd, token)));
                }
                None => self.wire.left(token),
            },
            Event::Ended { token, reason } => match self.wire.live(token) {
                Some(who) => {
                    let cause = match reason {
                        Ok(()) => "the stream ended without a close frame".into(),
                        Err(errno) => io::Error::from(errno).to_string(),
                    };
                    self.wire.end(who, cause, handler);
                }
                None => self.wire.left(token),
            },
            Event::Accepted { .. } => {}
        }
    }

    fn writable(&mut self, token: u64) {
        let Some(who) = self.wire.live(token) else { return };
        let wire = &mut self.wire;
        let Some(connection) = wire.connections[who].as_mut() else { return };
        connection.blocked = false;
        if connection.phase == Phase::Connecting {
            let error = match sockopt::socket_error(&connection.socket) {
                Ok(Ok(())) => None,
                Ok(Err(errno)) | Err(errno) => Some(errno),
            };
            if let Some(errno) = error {
                let address = wire.target_of(who).address;
                let why = if errno == Errno::CONNREFUSED {
                    "nobody listens there".to_owned()
                } else {
                    io::Error::from(errno).to_string()
                };
                return wire.fail(format!("cannot connect to {address}: {why}"));
            }
            let fd = connection.socket.as_raw_fd();
            wire.wishes.push(Wish::Receive(fd, token));
            wire.upgrade(who);
        }
        wire.touch(who);
    }
}

impl Wire {
    /// Bytes have come for a live connection.
    fn received(&mut self, who: usize, bytes: &[u8], now: u64, handler: &mut impl Handler) {
        let Some(connection) = self.connections[who].as_mut() else { return };
        let generation = connection.generation;
        if connection.inbox.is_empty() {
            let used = self.consume(who, generation, bytes, now, handler);
            if let Some(connection) = self.same(who, generation) {
                connection.inbox.extend_from_slice(&bytes[used..]);
            }
            return;
        }
        let mut inbox = std::mem::take(&mut connection.inbox);
        inbox.extend_from_slice(bytes);
        let used = self.consume(who, generation, &inbox, now, handler);
        let lean = self.lean;
        if let Some(connection) = self.same(who, generation) {
            inbox.drain(..used);
            if !inbox.is_empty() || !lean {
                connection.inbox = inbox;
            }
        }
    }

    /// Handles what is whole in `bytes`; the bytes used.
    fn consume(
        &mut self,
        who: usize,
        generation: u32,
        bytes: &[u8],
        now: u64,
        handler: &mut impl Handler,
    ) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            let Some(connection) = self.same(who, generation) else { return bytes.len() };
            used += match connection.phase {
                Phase::Connecting => bytes.len(),
                Phase::Upgrading => match ws::read_upgrade(rest) {
                    ws::Upgrade::Incomplete => return used,
                    ws::Upgrade::Accepted(length) => {
                        connection.phase = Phase::Greeting;
                        self.greet(who, now, handler);
                        length
                    }
                    ws::Upgrade::Refused(why) => {
                        self.end(who, format!("the upgrade was refused: {why}"), handler);
                        return bytes.len();
                    }
                },
                Phase::Http => match self.response(who, rest, now, handler) {
                    Some(length) => length,
                    None => return used,
                },
                Phase::Greeting | Phase::Open => match ws::parse(rest) {
                    ws::Parsed::Incomplete => return used,
                    ws::Parsed::Malformed(why) => {
                        self.end(who, format!("a frame that is none: {why}"), handler);
                        return bytes.len();
                    }
                    ws::Parsed::Frame { fin, opcode, payload, length } => {
                        self.frame_came(who, generation, (fin, opcode), payload, now, handler);
                        length
                    }
                },
            };
        }
        used
    }

    fn frame_came(
        &mut self,
        who: usize,
        generation: u32,
        (fin, opcode): (bool, u8),
        payload: &[u8],
        now: u64,
        handler: &mut impl Handler,
    ) {
        match opcode {
            ws::PING => {
                self.pings += 1;
                self.frame(who, ws::PONG, payload);
            }
            ws::PONG => {}
            ws::CLOSE => {
                let (code, reason) = ws::close_parts(payload);
                self.end(who, format!("{code} {reason}"), handler);
            }
            opcode if !fin || opcode == 0 => {
                self.end(who, "a fragmented message, which no run awaits".into(), handler);
            }
            _ => {
                let mut rest = payload;
                while !rest.is_empty() && self.same(who, generation).is_some() {
                    match self.tongue.next(&mut rest) {
                        Ok(said) => {
                            let counts = matches!(said, Said::Delivered(_) | Said::Answered { .. });
                            if counts && rest.is_empty() {
                                self.frame_bytes = self.frame_bytes.min(payload.len());
                            }
                            self.heard(who, said, now, handler);
                        }
                        Err(why) => {
                            let why = format!("connection {who} got what is no message: {why}");
                            return self.fail(why);
                        }
                    }
                }
            }
        }
    }

    fn heard(&mut self, who: usize, said: Said<'_>, now: u64, handler: &mut impl Handler) {
        let Some(connection) = self.connections[who].as_mut() else { return };
        match said {
            Said::Ping => {
                self.pings += 1;
                self.command(who, Tongue::pong);
            }
            Said::Greeted => self.command(who, |tongue, out| tongue.connect(out, None)),
            Said::Connected if connection.phase == Phase::Greeting => {
                connection.phase = Phase::Open;
                handler.opened(self, who, now);
            }
            said => handler.said(self, who, said, now),
        }
    }

    /// The upgrade was accepted: opens the session.
    fn greet(&mut self, who: usize, now: u64, handler: &mut impl Handler) {
        if self.tongue.is_open_at_once() {
            if let Some(connection) = self.connections[who].as_mut() {
                connection.phase = Phase::Open;
            }
            return handler.opened(self, who, now);
        }
        if !self.tongue.awaits_greeting() {
            let token = self.token(who);
            self.command(who, |tongue, out| tongue.connect(out, token.as_deref()));
        }
    }

    /// Reads one HTTP response; its bytes, once it is whole.
    fn response(
        &mut self,
        who: usize,
        bytes: &[u8],
        now: u64,
        handler: &mut impl Handler,
    ) -> Option<usize> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let head = match response.parse(bytes) {
            Ok(httparse::Status::Partial) => return None,
            Ok(httparse::Status::Complete(head)) => head,
            Err(error) => {
                self.fail(format!("the answer is not HTTP: {error}"));
                return Some(bytes.len());
            }
        };
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"))
            .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
        let Some(length) = length else {
            self.fail("an HTTP answer without Content-Length".into());
            return Some(bytes.len());
        };
        let body = bytes.get(head..head + length)?;
        let id = u32::from(response.code.unwrap_or(0));
        handler.said(self, who, Said::Answered { id, data: body }, now);
        Some(head + length)
    }

    /// A connection is over; says so to the handler.
    fn end(&mut self, who: usize, cause: String, handler: &mut impl Handler) {
        if self.cut(who) {
            handler.ended(self, who, cause);
        }
    }
}
