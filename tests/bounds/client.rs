//! A raw client: bytes over TCP, HTTP exchanges, masked frames of RFC 6455, lines of JSON. It sends
//! whatever a test wants, valid or not.

use crate::server::{API_KEY, PATIENCE};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
const PONG: u8 = 10;
const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

pub const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What arrives from the server.
#[derive(Debug, PartialEq)]
pub enum Event {
    Message(Value),
    Pong(Vec<u8>),
    Close(u16),
    /// The stream ended, by FIN or by a reset.
    End,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    pub body: String,
}

pub struct Client {
    pub stream: TcpStream,
    inbox: Vec<u8>,
    /// Lines of a message that were not read yet.
    lines: VecDeque<Value>,
    /// Messages that arrived while an answer was awaited: pushes, and answers to later commands.
    kept: VecDeque<Value>,
    commands: u32,
}

impl Client {
    pub fn open(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let (lines, kept) = (VecDeque::new(), VecDeque::new());
        Client { stream, inbox: Vec::new(), lines, kept, commands: 1 }
    }

    pub fn upgraded(addr: SocketAddr) -> Client {
        Client::upgraded_with(addr, "")
    }

    /// Upgraded with further headers, each with its line end.
    pub fn upgraded_with(addr: SocketAddr, headers: &str) -> Client {
        let mut client = Client::open(addr);
        let (first, rest) = UPGRADE.split_once("\r\n").expect("lines");
        client.send(format!("{first}\r\n{headers}{rest}").as_bytes());
        let answer = client.answer().expect("an answer to the upgrade");
        assert_eq!(answer.status, 101, "{}", answer.head);
        client
    }

    /// Upgraded, with an answered connect.
    pub fn connected(addr: SocketAddr) -> Client {
        let mut client = Client::upgraded(addr);
        client.text(r#"{"id":1,"connect":{}}"#);
        let Event::Message(answer) = client.next() else { panic!("no answer to connect") };
        assert!(answer["connect"]["client"].is_string(), "{answer}");
        client
    }

    /// Connected, if there is room.
    pub fn try_connected(addr: SocketAddr) -> Option<Client> {
        let mut client = Client::open(addr);
        client.send(UPGRADE.as_bytes());
        (client.answer()?.status == 101).then_some(())?;
        client.text(r#"{"id":1,"connect":{}}"#);
        matches!(client.next(), Event::Message(_)).then_some(client)
    }

    /// One GET; `None` if there is no answer.
    pub fn get(addr: SocketAddr, path: &str) -> Option<Answer> {
        TcpStream::connect(addr).ok()?;
        let mut client = Client::open(addr);
        client.send(
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        client.answer()
    }

    /// The text of the metrics, with the key, made after this call: a server makes a few per
    /// second, and repeats the last one in between.
    pub fn metrics(addr: SocketAddr) -> String {
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
        // The text has milliseconds.
        let asked_ms = asked.as_millis();
        loop {
            let page = Client::last_metrics(addr);
            let mut lines = page.lines();
            let made = lines.find_map(|it| it.strip_prefix("corecast_metrics_timestamp_seconds "));
            let made_s: f64 = made.expect("when it was made").parse().expect("a number");
            if (made_s * 1e3).round() as u128 >= asked_ms {
                return page;
            }
            // A new one is made within 200 ms; repeating at once would only use the server's CPU.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn last_metrics(addr: SocketAddr) -> String {
        let mut client = Client::open(addr);
        let head = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        client.send(format!("{head}X-API-Key: {API_KEY}\r\n\r\n").as_bytes());
        let answer = client.answer().expect("a page");
        assert_eq!(answer.status, 200, "{}", answer.head);
        answer.body
    }

    pub fn post(addr: SocketAddr, path: &str, body: &str) -> Answer {
        let mut client = Client::open(addr);
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        client.send(head.as_bytes());
        client.send(body.as_bytes());
        client.answer().expect("an answer")
    }

    /// Sends bytes. If the server has closed meanwhile, reading shows it.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a frame with this first byte.
    pub fn frame(&mut self, first: u8, payload: &[u8]) -> bool {
        self.send(&frame(first, payload))
    }

    pub fn text(&mut self, message: &str) -> bool {
        self.frame(FIN | TEXT, message.as_bytes())
    }

    /// Sends a command and waits for its answer; pushes that arrive before it are kept.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.tell(method, parameters);
        self.answer_to(id)
    }

    /// Sends a command and returns its id.
    pub fn tell(&mut self, method: &str, parameters: Value) -> u32 {
        self.commands += 1;
        self.text(&json!({"id": self.commands, method: parameters}).to_string());
        self.commands
    }

    pub fn answer_to(&mut self, id: u32) -> Value {
        if let Some(at) = self.kept.iter().position(|message| message["id"] == id) {
            return self.kept.remove(at).expect("it was just found");
        }
        loop {
            match self.next() {
                Event::Message(message) if message["id"] == id => return message,
                Event::Message(message) => self.kept.push_back(message),
                Event::Pong(_) => {}
                end => panic!("{end:?} instead of the answer to command {id}"),
            }
        }
    }

    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.ask("subscribe", json!({ "channel": channel }))
    }

    /// The error code of the answer, 0 if it is not an error.
    pub fn subscribe_error(&mut self, channel: &str) -> u64 {
        self.subscribe(channel)["error"]["code"].as_u64().unwrap_or(0)
    }

    /// The next publication.
    pub fn publication(&mut self) -> Value {
        loop {
            let kept = self.kept.iter().position(|message| message["push"]["pub"].is_object());
            let message = match kept.and_then(|at| self.kept.remove(at)) {
                Some(message) => message,
                None => match self.next() {
                    Event::Message(message) => message,
                    end => panic!("{end:?} instead of a publication"),
                },
            };
            if message["push"]["pub"].is_object() {
                return message["push"]["pub"].clone();
            }
            self.kept.push_back(message);
        }
    }

    /// Takes a message that was kept.
    pub fn take_kept(&mut self, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
        let at = self.kept.iter().position(is_it)?;
        self.kept.remove(at)
    }

    /// Does a publication arrive within a time? It is kept.
    pub fn arrives(&mut self, within: Duration) -> bool {
        if self.kept.iter().any(|message| message["push"]["pub"].is_object()) {
            return true;
        }
        self.stream.set_read_timeout(Some(within)).unwrap();
        let mut byte = [0];
        let waiting = !self.lines.is_empty()
            || !self.inbox.is_empty()
            || self.stream.peek(&mut byte).is_ok_and(|length| length > 0);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if !waiting {
            return false;
        }
        let publication = self.publication();
        self.kept.push_front(json!({"push": {"pub": publication}}));
        true
    }

    /// Does the connection work: does a command get its answer?
    pub fn lives(&mut self) -> bool {
        self.ask("ping", json!({}))["error"].is_null()
    }

    /// The next event; the server's pings are answered.
    pub fn next(&mut self) -> Event {
        loop {
            if let Some(line) = self.lines.pop_front() {
                if line.as_object().is_some_and(serde_json::Map::is_empty) {
                    self.text("{}");
                    continue;
                }
                return Event::Message(line);
            }
            let Some((opcode, payload)) = self.read_frame() else { return Event::End };
            match opcode {
                TEXT => {
                    let text = String::from_utf8(payload).expect("the server sends UTF-8");
                    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
                    self.lines.extend(lines);
                }
                CLOSE => return Event::Close(u16::from_be_bytes([payload[0], payload[1]])),
                PONG => return Event::Pong(payload),
                other => panic!("a frame of opcode {other}"),
            }
        }
    }

    /// Skips everything until the end, and returns the close code.
    pub fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.next() {
                Event::Close(code) => return Some(code),
                Event::End => return None,
                _ => {}
            }
        }
    }

    /// Does the server end the stream?
    pub fn is_ended(&mut self) -> bool {
        while self.next_bytes() {
            self.inbox.clear();
        }
        true
    }

    /// Everything until the end.
    pub fn everything(&mut self) -> Vec<u8> {
        while self.next_bytes() {}
        std::mem::take(&mut self.inbox)
    }

    pub fn half_close(&mut self) {
        // The server may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The HTTP answer; `None` if the stream ends before one.
    pub fn answer(&mut self) -> Option<Answer> {
        let end = self.fill_until(|inbox| {
            inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4)
        })?;
        let head = String::from_utf8_lossy(&self.inbox[..end]).to_lowercase();
        self.inbox.drain(..end);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
        self.fill_until(|inbox| (inbox.len() >= length).then_some(length))?;
        let body = String::from_utf8_lossy(&self.inbox[..length]).into_owned();
        self.inbox.drain(..length);
        Some(Answer { status, head, body })
    }

    fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let header = self.fill_until(|inbox| match inbox.get(1)? {
            126 => (inbox.len() >= 4).then_some(4),
            127 => (inbox.len() >= 10).then_some(10),
            _ => Some(2),
        })?;
        let opcode = self.inbox[0] & 0x0f;
        let length = match header {
            2 => usize::from(self.inbox[1]),
            4 => usize::from(u16::from_be_bytes([self.inbox[2], self.inbox[3]])),
            _ => u64::from_be_bytes(self.inbox[2..10].try_into().unwrap()) as usize,
        };
        let end = header + length;
        self.fill_until(|inbox| (inbox.len() >= end).then_some(end))?;
        let payload = self.inbox[header..end].to_vec();
        self.inbox.drain(..end);
        Some((opcode, payload))
    }

    fn fill_until<T>(&mut self, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        loop {
            if let Some(found) = found(&self.inbox) {
                return Some(found);
            }
            if !self.next_bytes() {
                return None;
            }
        }
    }

    /// Reads what is available; false at the stream's end.
    fn next_bytes(&mut self) -> bool {
        let started = Instant::now();
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(length) => {
                self.inbox.extend_from_slice(&bytes[..length]);
                length > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {:?}", started.elapsed());
            }
            Err(_) => false,
        }
    }
}

/// A masked frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The header of a masked frame that announces this many bytes.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}
