//! Many raw connections of an attacker in one thread: each repeats a block of bytes as fast as the
//! server takes it, and reads or does not.
//!
//! Must not know the expected result. Invariant: a connection sends its block again and again, cut
//! anywhere, so a block has to be whole frames or requests.

use crate::net::Target;
use crate::ws::{self, Parsed};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const MASK: [u8; 4] = [0x5a, 0x11, 0xc3, 0x28];
/// Bytes that one connection may send before the next has its turn.
const TURN_BYTES: usize = 64 << 10;
/// Rest of an attacker to whom nothing was possible.
const REST: Duration = Duration::from_millis(1);

/// Bytes that wait in the kernel to be sent, of each connection. An attacker's kernel is another
/// machine's: here a thousand that write ahead would take a gigabyte of the server's.
const UNSENT_BYTES: usize = 64 << 10;

/// One connection, and how far in its block it is.
pub struct Member {
    stream: TcpStream,
    pub block: Vec<u8>,
    at: usize,
    /// Bytes sent and received since it is non-blocking.
    pub sent: usize,
    pub received: usize,
    pub is_closed: bool,
}

impl Member {
    /// A connection to which nothing was sent yet.
    pub fn open(target: &Target, block: Vec<u8>) -> Result<Member, String> {
        let stream = connect(target).map_err(|error| format!("cannot connect: {error}"))?;
        Member::of(stream, block)
    }

    fn of(stream: TcpStream, block: Vec<u8>) -> Result<Member, String> {
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok(Member { stream, block, at: 0, sent: 0, received: 0, is_closed: false })
    }

    /// Sends what the kernel takes of a turn's share; whether that was anything.
    pub fn push(&mut self) -> bool {
        let mut pushed = 0;
        while pushed < TURN_BYTES && !self.block.is_empty() && !self.is_closed {
            match self.stream.write(&self.block[self.at..]) {
                Ok(length) => {
                    pushed += length;
                    self.at = (self.at + length) % self.block.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_closed = true,
            }
        }
        self.sent += pushed;
        pushed > 0
    }

    /// Gives it another block, of which nothing is sent yet.
    pub fn again(&mut self, block: Vec<u8>) {
        (self.block, self.sent) = (block, 0);
    }

    /// Reads until so many messages have come, by their ids; false: the connection is closed, or
    /// the server says nothing.
    pub fn read_answers(&mut self, count: usize) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut bytes = vec![0; 64 << 10];
        let (mut inbox, mut answered) = (Vec::new(), 0);
        while answered < count && !self.is_closed && Instant::now() < until {
            let length = self.drain(&mut bytes);
            if length == 0 {
                std::thread::sleep(REST / 10);
            }
            inbox.extend_from_slice(&bytes[..length]);
            let mut used = 0;
            while let Parsed::Frame { payload, length, .. } = ws::parse(&inbox[used..]) {
                answered += usize::from(payload.starts_with(b"{\"id\":"));
                used += length;
            }
            inbox.drain(..used);
        }
        answered >= count
    }

    /// Sends what the kernel takes of the block's rest, which is sent once.
    pub fn push_to_end(&mut self) {
        while self.sent < self.block.len() && !self.is_closed {
            match self.stream.write(&self.block[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.is_closed = true,
            }
        }
    }

    /// Sends the block once more, waiting until it is through; false: the connection is closed, or
    /// the server takes nothing.
    pub fn push_once(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        self.sent = 0;
        self.push_to_end();
        while self.sent < self.block.len() && !self.is_closed && Instant::now() < until {
            std::thread::sleep(REST);
            self.push_to_end();
        }
        self.sent == self.block.len()
    }

    /// Reads what there is into `bytes`, up to its length, and forgets it; how much that was.
    pub fn drain(&mut self, bytes: &mut [u8]) -> usize {
        match self.stream.read(bytes) {
            Ok(0) => self.is_closed = true,
            Ok(length) => {
                self.received += length;
                return length;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.is_closed = true,
        }
        0
    }
}

fn connect(target: &Target) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target.address.into(), PATIENCE)?;
    sockopt::set_socket_send_buffer_size(&stream, UNSENT_BYTES)?;
    Ok(stream)
}

/// A WebSocket whose commands were answered, each in a message of its own.
pub fn member(target: &Target, commands: &[String]) -> Result<Member, String> {
    let mut members = members(target, 1, |_| commands.to_vec())?;
    members.pop().ok_or_else(|| "no member".to_owned())
}

/// So many of them, opened together; `commands` gives those that follow connect.
pub fn members(
    target: &Target,
    count: usize,
    commands: impl Fn(usize) -> Vec<String>,
) -> Result<Vec<Member>, String> {
    let wrong = |error: std::io::Error| format!("an attacker cannot get in: {error}");
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = connect(target).map_err(wrong)?;
        let mut bytes = ws::upgrade_request(&target.address.to_string(), &target.path, "");
        bytes.extend(text(r#"{"id":1,"connect":{}}"#));
        let commands = commands(number);
        for command in &commands {
            bytes.extend(text(command));
        }
        stream.write_all(&bytes).map_err(wrong)?;
        streams.push((stream, commands.len() + 1));
    }
    let mut members = Vec::with_capacity(count);
    for (mut stream, answers) in streams {
        stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
        await_answers(&mut stream, answers)?;
        members.push(Member::of(stream, Vec::new())?);
    }
    Ok(members)
}

/// Reads until so many answers without an error have come.
fn await_answers(stream: &mut TcpStream, answers: usize) -> Result<(), String> {
    let mut inbox = Vec::new();
    let mut bytes = [0; 16 << 10];
    loop {
        let text = String::from_utf8_lossy(&inbox);
        if text.contains(r#""error""#) || text.contains("HTTP/1.1 503") {
            return Err(format!("an attacker was refused: {text:.300}"));
        }
        if text.matches(r#""id":"#).count() >= answers {
            return Ok(());
        }
        match stream.read(&mut bytes) {
            Ok(0) => return Err("an attacker was closed before it began".to_owned()),
            Ok(length) => inbox.extend_from_slice(&bytes[..length]),
            Err(error) => return Err(format!("an attacker was not answered: {error}")),
        }
    }
}

/// A masked frame of text.
pub fn text(text: &str) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 14);
    ws::encode(&mut frame, 0x80 | ws::TEXT, MASK, text.as_bytes());
    frame
}

/// Text frames in sequence.
pub fn texts<'a>(all: impl IntoIterator<Item = &'a String>) -> Vec<u8> {
    all.into_iter().flat_map(|one| text(one)).collect()
}

/// All push, and read if `reads`, until a time; closed ones do not reconnect. Returns the members
/// that are left, and what all of them sent.
pub fn press(members: &mut [Member], until: Instant, reads: bool) -> Pressed {
    let mut bytes = vec![0; 64 << 10];
    while Instant::now() < until {
        let mut any = false;
        for member in members.iter_mut().filter(|member| !member.is_closed) {
            any |= member.push();
            any |= reads && member.drain(&mut bytes) > 0;
        }
        if !any {
            std::thread::sleep(REST);
        }
    }
    Pressed {
        left: members.iter().filter(|member| !member.is_closed).count(),
        sent: members.iter().map(|member| member.sent).sum(),
        received: members.iter().map(|member| member.received).sum(),
    }
}

/// What came of it.
pub struct Pressed {
    pub left: usize,
    pub sent: usize,
    pub received: usize,
}

impl std::fmt::Display for Pressed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Pressed { left, sent, received } = self;
        write!(out, "{} KB sent, {} KB read, {left} left", sent / 1_000, received / 1_000)
    }
}
