//! A Redis of a test's own, and a client that blocks.

use bytes::Bytes;
use corecast::bridge::redis::id::published;
use corecast::bridge::redis::keys::Keys;
use corecast::bridge::redis::resp::decode::Decoder;
use corecast::bridge::redis::resp::{Value, encode};
use corecast::bridge::redis::script::{
    Begin, By, Class, Floor, Incarnation, Item, Kept, Outcome, Script, Scripts, begun, floor,
    outcomes,
};
use corecast::bridge::redis::stream::{Found, Part, Reading};
use corecast::contract::engine::Page;
use corecast::contract::position::{Epoch, Position};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Keeps 5 entries, for a minute, and a numbering for ten.
pub const CLASS: Class = Class { size: 5, ttl_s: 60, numbering_s: 600 };

pub fn at(epoch: Epoch, offset: u64) -> Position {
    Position { epoch, offset }
}

/// A running server; it ends with this.
pub struct Redis {
    child: Child,
    directory: PathBuf,
    options: Vec<String>,
    port: u16,
}

static SERVERS: AtomicU32 = AtomicU32::new(0);

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Redis {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("corecast-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a directory of its own");
        let options = options.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (child, port) = launch(&directory, &options);
        Redis { child, directory, options, port }
    }

    /// Kills it, and starts it again with what it saved.
    pub fn kill_and_start(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Starts it with what it saved, at another port.
    pub fn start_again(&mut self) {
        (self.child, self.port) = launch(&self.directory, &self.options);
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connect(&self) -> Client {
        let mut client = self.connect_plainly();
        let hello = client.ask(&["HELLO", "3"]);
        assert!(matches!(hello, Value::Map(_)), "{hello:?}");
        client
    }

    /// A connection on which nothing was said.
    pub fn connect_plainly(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let keys = Keys::new("cc").expect("a good prefix");
        let (decoder, pushes) = (Decoder::new(), VecDeque::new());
        Client { stream, decoder, pushes, scripts: Scripts::new(keys) }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Starts a server on a free port, again where another took the port meanwhile.
fn launch(directory: &Path, options: &[String]) -> (Child, u16) {
    let log = directory.join("redis.log");
    for _ in 0..5 {
        let _ = std::fs::remove_file(&log);
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(directory).args(["--logfile", "redis.log"]).args(options);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut child = child.expect("redis-server: scripts/test install brings it");
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            // Its own word: at the port there may be another's.
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            if log.contains("Ready to accept connections") {
                return (child, port);
            }
            if child.try_wait().expect("it is ours").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    panic!("redis-server does not start: {log}");
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    decoder: Decoder,
    pushes: VecDeque<Vec<Value>>,
    pub scripts: Scripts,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it listens");
    }

    fn next(&mut self) -> Value {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(value) = self.decoder.next().expect("RESP") {
                return value;
            }
            let read = self.stream.read(&mut buffer).expect("an answer");
            assert!(read > 0, "the server closed the connection");
            self.decoder.receive(&buffer[..read]);
        }
    }

    /// The next answer; pushes before it are kept.
    pub fn answer(&mut self) -> Value {
        loop {
            match self.next() {
                Value::Push(push) => self.pushes.push_back(push),
                value => return value,
            }
        }
    }

    pub fn ask(&mut self, parts: &[&str]) -> Value {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let mut out = Vec::new();
        encode::command(&mut out, &parts);
        self.send(&out);
        self.answer()
    }

    pub fn integer(&mut self, parts: &[&str]) -> i64 {
        match self.ask(parts) {
            Value::Integer(number) => number,
            value => panic!("{parts:?}: {value:?}"),
        }
    }

    pub fn key(&self, channel: &str) -> String {
        String::from_utf8(self.scripts.keys().channel(channel).concat()).expect("text")
    }

    /// Makes the server keep the scripts.
    pub fn load(&mut self) {
        for script in Script::ALL {
            let mut out = Vec::new();
            Scripts::load(&mut out, script);
            self.send(&out);
            let answer = self.answer();
            assert!(matches!(&answer, Value::Blob(digest) if digest.len() == 40), "{answer:?}");
        }
    }

    pub fn publish(&mut self, by: By, class: Class, items: &[Item<'_>]) -> Value {
        let mut out = Vec::new();
        self.scripts.publish(&mut out, by, class, items.iter().copied());
        self.send(&out);
        self.answer()
    }

    /// Publishes items that keep their class.
    pub fn outcomes(&mut self, items: &[Item<'_>]) -> Vec<Outcome> {
        let answer = self.publish(By::Text, CLASS, items);
        outcomes(answer, items.len()).expect("an answer for each")
    }

    pub fn begin(&mut self, begin: &Begin<'_>) -> Outcome {
        let mut out = Vec::new();
        self.scripts.begin(&mut out, By::Text, begin);
        self.send(&out);
        begun(self.answer()).expect("it is begun")
    }

    /// Begins a channel by a publication, and says where that is.
    pub fn begin_at(&mut self, channel: &str, candidate: u64, block: &[u8]) -> Position {
        match self.begin(&Begin { candidate: Epoch(candidate), ..begin(channel, block) }) {
            Outcome::Published(position) => position,
            outcome => panic!("{outcome:?}"),
        }
    }

    pub fn floor(&mut self, id: &str, now_us: u64) -> Floor {
        let mut out = Vec::new();
        let partition = corecast::bridge::redis::keys::Partition::of("any");
        self.scripts.incarnation(&mut out, By::Text, &Incarnation { partition, id, now_us });
        self.send(&out);
        floor(&self.answer()).expect("a floor")
    }

    /// One step of reading a page.
    pub fn step(&mut self, reading: &mut Reading, channel: &str) -> Option<Found> {
        let mut out = Vec::new();
        reading.command(&mut out, &self.scripts.keys().channel(channel));
        self.send(&out);
        reading.receive(self.answer()).expect("it can be read")
    }

    pub fn read(&mut self, channel: &str, page: Page, most: u32) -> Found {
        let mut reading = Reading::new(page, most);
        for _ in 0..1_000 {
            if let Some(found) = self.step(&mut reading, channel) {
                return found;
            }
        }
        panic!("it reads for ever: {reading:?}");
    }

    /// All that a channel keeps.
    pub fn all(&mut self, channel: &str) -> Part {
        match self.read(channel, Page::newest(u32::MAX, usize::MAX), 128) {
            Found::Part(part) => part,
            Found::Missing => panic!("{channel} is missing"),
        }
    }

    /// Hears a channel from now on.
    pub fn subscribe(&mut self, channel: &str) {
        let mut out = Vec::new();
        encode::command(&mut out, &[b"SUBSCRIBE", &self.scripts.keys().channel(channel).concat()]);
        self.send(&out);
        loop {
            match self.next() {
                Value::Push(push) if push[0] == Value::Blob("subscribe".into()) => return,
                Value::Push(push) => self.pushes.push_back(push),
                value => panic!("nobody asked for {value:?}"),
            }
        }
    }

    /// What was pushed so far.
    pub fn take_pushes(&mut self) -> Vec<Vec<Value>> {
        self.pushes.drain(..).collect()
    }

    /// What was heard next: channel, position and block.
    pub fn hear(&mut self) -> (String, Option<Position>, Bytes) {
        let push = self.pushes.pop_front().unwrap_or_else(|| match self.next() {
            Value::Push(push) => push,
            value => panic!("nobody asked for {value:?}"),
        });
        let [Value::Blob(_), Value::Blob(key), Value::Blob(payload)] = &push[..] else {
            panic!("{push:?}");
        };
        let (position, block) = published(payload).expect("what was published");
        let name = self.scripts.keys().name_of(key).expect("a channel of ours");
        (name.to_owned(), position, block)
    }
}

/// An item without a key.
pub fn item<'a>(channel: &'a str, epoch: Epoch, block: &'a [u8]) -> Item<'a> {
    Item { channel, epoch, key: "", block }
}

/// What begins a channel by a publication, if it is not begun.
pub fn begin<'a>(channel: &'a str, block: &'a [u8]) -> Begin<'a> {
    Begin {
        channel,
        class: CLASS,
        floor: Epoch(1),
        candidate: Epoch(1_764_544_800_000_000),
        low: None,
        item: Some(Kept { key: "", block, version: None }),
    }
}
