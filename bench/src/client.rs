//! A Centrifugo client for thousands of connections in one thread.
//!
//! Must not know what a run proves: it passes every message to a `Handler`. Invariant: after `kill`
//! or `Handler::closed` a connection has no more events; its key is dead.

use crate::dialect::Dialect;
pub use crate::ending::{Cause, Kill};
use crate::net::{self, Poller, Ready, Target, Want};
use crate::protocol::{self, Message};
use crate::rng::Rng;
use crate::token;
use crate::ws::{self, Parsed, Upgrade};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

/// Id of the connect command, which the client sends by itself.
pub const CONNECT_ID: u32 = 1;
const SCRATCH_BYTES: usize = 64 << 10;

/// A connection; dead keys are recognised by their generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn of(token: u64) -> Key {
        Key { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// What the runs do with what arrives. `tag` is what `open` was given.
pub trait Handler {
    fn message(&mut self, client: &mut Client, tag: usize, message: &Message<'_>);
    /// The connection ended, and not by `kill`.
    fn closed(&mut self, client: &mut Client, tag: usize, cause: Cause);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    Open,
    /// Ended by us; only the server's end of stream is awaited.
    Draining,
}

struct Connection {
    stream: TcpStream,
    generation: u32,
    tag: usize,
    dialect: Dialect,
    /// A push said that the connection ends with this code.
    told_end: Option<u32>,
    phase: Phase,
    want: Want,
    stalled: bool,
    dirty: bool,
    /// Bytes received that are no whole frame yet.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    fragments: Vec<u8>,
}

/// As whom connections connect.
#[derive(Clone, Debug)]
pub enum Identity {
    Anonymous,
    /// Each as a user of its own, `user-TAG`, with tokens signed by this HS256 secret.
    Users(String),
}

impl From<Option<&str>> for Identity {
    fn from(secret: Option<&str>) -> Identity {
        secret.map_or(Identity::Anonymous, |secret| Identity::Users(secret.to_owned()))
    }
}

pub struct Client {
    pub target: Target,
    identity: Identity,
    /// Source addresses, taken in turn; empty: the kernel chooses.
    pub sources: Vec<Ipv4Addr>,
    /// Codecs, by the remainder of a connection's tag.
    pub dialects: &'static [Dialect],
    poller: Poller,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    generation: u32,
    dirty: Vec<Key>,
    ready: Vec<Ready>,
    scratch: Vec<u8>,
    text: String,
    rng: Rng,
    draining: usize,
}

impl Client {
    pub fn new(target: Target, identity: Identity) -> io::Result<Client> {
        Ok(Client {
            target,
            identity,
            sources: Vec::new(),
            dialects: &[Dialect::Plain],
            poller: Poller::new()?,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            dirty: Vec::new(),
            ready: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            text: String::new(),
            rng: Rng::new(0x5eed),
            draining: 0,
        })
    }

    /// Connections ended by us whose end the server has not answered yet.
    #[must_use]
    pub fn draining(&self) -> usize {
        self.draining
    }

    /// Opens a connection: TCP, upgrade and connect command. The first message heard of it is the
    /// answer to `CONNECT_ID`.
    pub fn open(&mut self, tag: usize) -> io::Result<Key> {
        self.generation = self.generation.wrapping_add(1);
        let source = match self.sources.len() {
            0 => None,
            count => Some(self.sources[self.generation as usize % count]),
        };
        let stream = net::connect(self.target.address, source)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            (self.connections.len() - 1) as u32
        });
        let key = Key { index, generation: self.generation };
        self.poller.add(&stream, key.token(), Want::Write)?;
        self.connections[index as usize] = Some(Connection {
            stream,
            generation: self.generation,
            tag,
            dialect: self.dialects[tag % self.dialects.len()],
            told_end: None,
            phase: Phase::Connecting,
            want: Want::Write,
            stalled: false,
            dirty: false,
            inbox: Vec::new(),
            outbox: Vec::new(),
            fragments: Vec::new(),
        });
        Ok(key)
    }

    /// Queues a command, in JSON whatever the connection speaks; it goes out with the next `poll`.
    /// Nothing happens on a dead key.
    pub fn command(&mut self, key: Key, write: impl FnOnce(&mut String)) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write(&mut text);
        if let Some(dialect) = self.live(key).map(|connection| connection.dialect) {
            self.frame(key, dialect.opcode(), &dialect.message(text.as_bytes()));
        }
        self.text = text;
    }

    fn frame(&mut self, key: Key, opcode: u8, payload: &[u8]) {
        let mask = self.rng.next().to_le_bytes();
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        let Some(connection) = self.live(key) else { return };
        ws::encode(&mut connection.outbox, 0x80 | opcode, mask, payload);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Stops or resumes reading of a connection.
    pub fn stall(&mut self, key: Key, stalled: bool) {
        if let Some(connection) = self.live(key) {
            connection.stalled = stalled;
            self.rearm(key);
        }
    }

    /// Ends a connection. Nothing more is heard of it.
    pub fn kill(&mut self, key: Key, how: Kill) {
        if how == Kill::Close {
            self.frame(key, ws::CLOSE, &1000u16.to_be_bytes());
        }
        let Some(connection) = self.live(key) else { return };
        let early = matches!(connection.phase, Phase::Connecting);
        if how == Kill::Reset || early {
            if let Some(connection) = self.take(key) {
                net::reset(connection.stream);
            }
            return;
        }
        self.flush_one(key);
        let Some(connection) = self.live(key) else { return };
        if how == Kill::Fin {
            // An error here means that the server was first; the read then says so.
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
        self.drain(key);
    }

    fn drain(&mut self, key: Key) {
        let Some(connection) = self.live(key) else { return };
        connection.phase = Phase::Draining;
        connection.stalled = false;
        connection.inbox = Vec::new();
        self.draining += 1;
        self.rearm(key);
    }

    /// Waits at most `timeout`, handles what is ready, and sends what was queued.
    pub fn poll(&mut self, handler: &mut impl Handler, timeout: Duration) -> io::Result<()> {
        self.flush(handler);
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(&mut ready, timeout)?;
        for event in ready.drain(..) {
            let key = Key::of(event.token);
            if event.writable {
                self.writable(key, handler);
            }
            self.readable(key, handler);
        }
        self.ready = ready;
        self.flush(handler);
        Ok(())
    }

    fn live(&mut self, key: Key) -> Option<&mut Connection> {
        let slot = self.connections.get_mut(key.index as usize)?;
        slot.as_mut().filter(|connection| connection.generation == key.generation)
    }

    fn take(&mut self, key: Key) -> Option<Connection> {
        self.live(key)?;
        self.free.push(key.index);
        self.connections[key.index as usize].take()
    }

    /// The socket has ended; says so unless we ended it ourselves.
    fn end(&mut self, key: Key, cause: Cause, handler: &mut impl Handler) {
        let Some(connection) = self.take(key) else { return };
        let (tag, drained) = (connection.tag, connection.phase == Phase::Draining);
        drop(connection);
        if drained {
            self.draining -= 1;
        } else {
            handler.closed(self, tag, cause);
        }
    }

    fn flush(&mut self, handler: &mut impl Handler) {
        while let Some(key) = self.dirty.pop() {
            if let Some(kind) = self.flush_one(key) {
                self.end(key, Cause::Socket(kind), handler);
            }
        }
    }

    fn flush_one(&mut self, key: Key) -> Option<io::ErrorKind> {
        let connection = self.live(key)?;
        connection.dirty = false;
        if matches!(connection.phase, Phase::Connecting) {
            return None;
        }
        let error = match connection.stream.write(&connection.outbox) {
            Ok(written) => {
                connection.outbox.drain(..written);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // What the server said before it left is read first; the read then ends it.
            Err(_) if connection.want != Want::Nothing => {
                connection.outbox.clear();
                None
            }
            Err(error) => Some(error.kind()),
        };
        self.rearm(key);
        error
    }

    fn rearm(&mut self, key: Key) {
        let Some(connection) = self.live(key) else { return };
        let want = match (connection.phase, connection.stalled, connection.outbox.is_empty()) {
            (Phase::Connecting, ..) | (_, true, false) => Want::Write,
            (_, true, true) => Want::Nothing,
            (_, false, true) => Want::Read,
            (_, false, false) => Want::Both,
        };
        if want == connection.want {
            return;
        }
        connection.want = want;
        let Some(Some(connection)) = self.connections.get(key.index as usize) else { return };
        self.poller
            .change(&connection.stream, key.token(), want)
            .expect("a registered socket can be changed");
    }

    fn writable(&mut self, key: Key, handler: &mut impl Handler) {
        let Some(connection) = self.live(key) else { return };
        if connection.phase == Phase::Connecting {
            if let Ok(Some(error)) | Err(error) = connection.stream.take_error() {
                return self.end(key, Cause::Socket(error.kind()), handler);
            }
            connection.phase = Phase::Upgrading;
            let asked = connection.dialect.subprotocol();
            let host = self.target.address.to_string();
            let asked = asked.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
            let request =
                ws::upgrade_request(&host, &self.target.path, asked.as_deref().unwrap_or(""));
            let Some(connection) = self.live(key) else { return };
            connection.outbox.splice(0..0, request);
        }
        if let Some(kind) = self.flush_one(key) {
            self.end(key, Cause::Socket(kind), handler);
        }
    }

    fn readable(&mut self, key: Key, handler: &mut impl Handler) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let got = match self.live(key) {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(connection) if connection.phase == Phase::Connecting => {
                match connection.stream.take_error() {
                    Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                    Ok(Some(error)) | Err(error) => Err(error),
                }
            }
            Some(connection) => connection.stream.read(&mut scratch),
        };
        match got {
            Ok(0) => self.end(key, Cause::End, handler),
            Ok(length) => self.received(key, &scratch[..length], handler),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.end(key, Cause::Socket(error.kind()), handler),
        }
        self.scratch = scratch;
    }

    fn received(&mut self, key: Key, bytes: &[u8], handler: &mut impl Handler) {
        let Some(connection) = self.live(key) else { return };
        if connection.phase == Phase::Draining {
            return;
        }
        if connection.inbox.is_empty() {
            let used = self.consume(key, bytes, handler);
            if let Some(connection) = self.live(key) {
                connection.inbox.extend_from_slice(&bytes[used..]);
            }
            return;
        }
        let mut inbox = std::mem::take(&mut connection.inbox);
        inbox.extend_from_slice(bytes);
        let used = self.consume(key, &inbox, handler);
        if let Some(connection) = self.live(key) {
            inbox.drain(..used);
            connection.inbox = inbox;
        }
    }

    /// Handles what is whole in `bytes`; the bytes used.
    fn consume(&mut self, key: Key, bytes: &[u8], handler: &mut impl Handler) -> usize {
        let mut used = 0;
        loop {
            let Some(connection) = self.live(key) else { return bytes.len() };
            match connection.phase {
                Phase::Connecting | Phase::Draining => return bytes.len(),
                Phase::Upgrading => match ws::read_upgrade(&bytes[used..]) {
                    Upgrade::Incomplete => return used,
                    Upgrade::Refused(why) => {
                        self.end(key, Cause::Refused(why), handler);
                        return bytes.len();
                    }
                    Upgrade::Accepted(length) => {
                        used += length;
                        connection.phase = Phase::Open;
                        self.connect(key);
                    }
                },
                Phase::Open => match ws::parse(&bytes[used..]) {
                    Parsed::Incomplete => return used,
                    Parsed::Malformed(why) => {
                        self.end(key, Cause::Malformed(why.to_owned()), handler);
                        return bytes.len();
                    }
                    Parsed::Frame { fin, opcode, payload, length } => {
                        used += length;
                        self.took(key, fin, opcode, payload, handler);
                    }
                },
            }
        }
    }

    fn connect(&mut self, key: Key) {
        let Some(tag) = self.live(key).map(|connection| connection.tag) else { return };
        let token = match &self.identity {
            Identity::Anonymous => None,
            Identity::Users(secret) => Some(token::sign(secret, &format!("user-{tag}"))),
        };
        self.command(key, |out| protocol::connect(out, CONNECT_ID, token.as_deref()));
    }

    fn took(
        &mut self,
        key: Key,
        fin: bool,
        opcode: u8,
        payload: &[u8],
        handler: &mut impl Handler,
    ) {
        match opcode {
            ws::PING => self.frame(key, ws::PONG, payload),
            ws::PONG => {}
            ws::CLOSE => {
                self.frame(key, ws::CLOSE, &payload[..payload.len().min(2)]);
                self.flush_one(key);
                let Some(connection) = self.live(key) else { return };
                let (tag, told) = (connection.tag, connection.told_end);
                let (code, reason) = ws::close_parts(payload);
                let ours = connection.dialect.is_told_why() && code >= 3000;
                self.drain(key);
                let cause = if told == ours.then_some(u32::from(code)) {
                    Cause::Frame(code, reason)
                } else {
                    Cause::Malformed(format!("told of {told:?}, then closed with {code}"))
                };
                handler.closed(self, tag, cause);
            }
            _ => {
                let Some(connection) = self.live(key) else { return };
                if fin && connection.fragments.is_empty() {
                    return self.messages(key, payload, handler);
                }
                connection.fragments.extend_from_slice(payload);
                if fin {
                    let whole = std::mem::take(&mut connection.fragments);
                    self.messages(key, &whole, handler);
                }
            }
        }
    }

    fn messages(&mut self, key: Key, payload: &[u8], handler: &mut impl Handler) {
        let Some(dialect) = self.live(key).map(|connection| connection.dialect) else { return };
        let messages = match dialect.replies(payload) {
            Ok(messages) => messages,
            Err(wrong) => return self.end(key, Cause::Malformed(wrong.0.to_owned()), handler),
        };
        for text in messages.iter().filter(|text| !text.is_empty()) {
            let Some(connection) = self.live(key) else { return };
            if connection.phase != Phase::Open {
                return;
            }
            let tag = connection.tag;
            match serde_json::from_str::<Message<'_>>(text) {
                Ok(message) if message.is_ping() => self.command(key, |out| out.push_str("{}")),
                Ok(message) => match message.push.as_ref().and_then(|it| it.disconnect.as_ref()) {
                    Some(end) => connection.told_end = Some(end.code),
                    None => handler.message(self, tag, &message),
                },
                Err(error) => {
                    let why = format!("{error} in {text}");
                    return self.end(key, Cause::Malformed(why), handler);
                }
            }
        }
    }
}
