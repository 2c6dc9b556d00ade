//! A client that speaks JSON over WebSocket and outlives what fails: every end is an answer.
//!
//! Must not know the ledger. Invariant: a call returns within the time that it was given.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];
/// Longest wait for an answer: more than the server takes for any.
const ANSWER: Duration = Duration::from_secs(15);

/// The connection is no more.
#[derive(Debug, PartialEq)]
pub struct Gone;

pub struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    lines: VecDeque<Value>,
    commands: u64,
}

impl Client {
    /// Connects, with an answered `connect`.
    pub fn connect(addr: SocketAddr) -> Result<Client, Gone> {
        let stream = TcpStream::connect(addr).map_err(|_| Gone)?;
        stream.set_nodelay(true).map_err(|_| Gone)?;
        let mut client = Client { stream, inbox: Vec::new(), lines: VecDeque::new(), commands: 0 };
        client.stream.write_all(UPGRADE.as_bytes()).map_err(|_| Gone)?;
        let end = Instant::now() + ANSWER;
        let head = loop {
            if let Some(at) = client.inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            client.read(end)?.then_some(()).ok_or(Gone)?;
        };
        client.inbox.drain(..head);
        client.ask("connect", json!({}))?;
        Ok(client)
    }

    /// Sends a command, and returns its number.
    pub fn tell(&mut self, method: &str, parameters: Value) -> Result<u64, Gone> {
        self.commands += 1;
        self.send(&json!({"id": self.commands, method: parameters}).to_string())?;
        Ok(self.commands)
    }

    /// Sends a command and waits for its answer. What comes before it stays in line.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Gone> {
        let id = self.tell(method, parameters)?;
        let mut before = Vec::new();
        let end = Instant::now() + ANSWER;
        let answer = loop {
            let Some(message) = self.next(end)? else { panic!("no answer to {method}") };
            if message["id"] == id {
                break message;
            }
            before.push(message);
        };
        for message in before.into_iter().rev() {
            self.lines.push_front(message);
        }
        Ok(answer)
    }

    /// The next message until then; the server's pings are answered.
    pub fn next(&mut self, end: Instant) -> Result<Option<Value>, Gone> {
        loop {
            while let Some(line) = self.lines.pop_front() {
                if line.as_object().is_some_and(serde_json::Map::is_empty) {
                    self.send("{}")?;
                } else {
                    return Ok(Some(line));
                }
            }
            if !self.take_frame()? && !self.read(end)? {
                return Ok(None);
            }
        }
    }

    /// Takes one whole frame out of what has arrived.
    fn take_frame(&mut self) -> Result<bool, Gone> {
        let inbox = &self.inbox;
        let (head, length) = match inbox.get(1) {
            None => return Ok(false),
            Some(126) if inbox.len() >= 4 => {
                (4, usize::from(u16::from_be_bytes([inbox[2], inbox[3]])))
            }
            Some(127) if inbox.len() >= 10 => {
                (10, u64::from_be_bytes(inbox[2..10].try_into().expect("eight")) as usize)
            }
            Some(126 | 127) => return Ok(false),
            Some(length) => (2, usize::from(*length)),
        };
        if inbox.len() < head + length {
            return Ok(false);
        }
        if inbox[0] & 0x0f != 1 {
            return Err(Gone);
        }
        let text = std::str::from_utf8(&inbox[head..head + length]).expect("UTF-8");
        self.lines.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")));
        self.inbox.drain(..head + length);
        Ok(true)
    }

    fn send(&mut self, text: &str) -> Result<(), Gone> {
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
        }
        frame.extend(KEY);
        frame.extend(text.bytes().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.stream.write_all(&frame).map_err(|_| Gone)
    }

    /// Reads what is there; false if nothing came until then.
    fn read(&mut self, end: Instant) -> Result<bool, Gone> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).map_err(|_| Gone)?;
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(Gone),
            Ok(length) => {
                self.inbox.extend_from_slice(&bytes[..length]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(_) => Err(Gone),
        }
    }
}
