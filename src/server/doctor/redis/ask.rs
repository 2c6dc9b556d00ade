//! Asks a Redis what is to be known of it, on one connection that blocks.
//!
//! Must not know what the answers mean. Invariants: whoever does not answer in time ends it; no
//! more is read at once than one answer may have.

use super::attempts::{ATTEMPTS, Outcome, push};
use super::judge::{Answers, SETTINGS, Way};
use crate::bridge::redis::greeting::{Greeting, Login, Progress, Server, Timeouts};
use crate::bridge::redis::link_error::{LinkError, shortened};
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::decode::Decoder;
use crate::bridge::redis::resp::encode::command;
use crate::bridge::{Session, Tls};
use crate::config::{Redis, RedisServer};
use crate::server::start::store_tls;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Time for a connection to one address.
const DIAL_TIME: Duration = Duration::from_secs(2);
/// Time for everything that is said on it.
const TALK_TIME: Duration = Duration::from_secs(3);
/// Addresses of a name that are tried, at most.
const ADDRESSES: usize = 4;
/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;

/// All answers of a Redis.
///
/// # Errors
/// It cannot be reached, or not be used.
pub fn answers(redis: &Redis, history_size: u32) -> Result<Answers, LinkError> {
    let tls = store_tls(redis).map_err(|error| LinkError::Tls(said(&error)))?;
    let (stream, way) = dial(&redis.server).map_err(|error| LinkError::Dial(said(&error)))?;
    let way = if tls.is_some() { Way::Sealed } else { way };
    let mut talk = Talk::new(stream, tls.as_ref())?;
    let server = talk.greet(redis)?;
    talk.say(|out| command(out, &[b"INFO"]))?;
    let info = text(&talk.hear()?);
    let names: Vec<&[u8]> = SETTINGS.iter().map(|name| name.as_bytes()).collect();
    talk.say(|out| command(out, &[&[b"CONFIG".as_slice(), b"GET"], names.as_slice()].concat()))?;
    let settings = settings(talk.hear()?);
    talk.say(|out| ATTEMPTS.iter().for_each(|attempt| push(attempt, &redis.prefix, out)))?;
    let tried = ATTEMPTS.iter().map(|attempt| Ok((*attempt, Outcome::of(&talk.hear()?))));
    let tried = tried.collect::<Result<_, LinkError>>()?;
    let (place, version) = (redis.server.to_string(), server.version);
    Ok(Answers { place, way, version, info, settings, tried, history_size })
}

fn said(error: &dyn std::error::Error) -> Box<str> {
    shortened(&error.to_string())
}

/// A blob as text; "" for anything else.
fn text(value: &Value) -> String {
    let bytes = if let Value::Blob(bytes) = value { &bytes[..] } else { &[] };
    String::from_utf8_lossy(bytes).into_owned()
}

/// What CONFIG GET answers; Redis' own words where it does not.
fn settings(answer: Value) -> Result<Vec<(String, String)>, Box<str>> {
    match answer {
        Value::Map(pairs) => {
            Ok(pairs.iter().map(|(name, value)| (text(name), text(value))).collect())
        }
        Value::Error(why) => Err(shortened(&why)),
        other => Err(shortened(&format!("{other:?}"))),
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects to the first address that answers.
fn dial(server: &RedisServer) -> io::Result<(Stream, Way)> {
    let (host, port) = match server {
        RedisServer::Unix(path) => {
            return Ok((Stream::Unix(UnixStream::connect(path)?), Way::Socket));
        }
        RedisServer::Tcp { host, port } => (host.as_str(), *port),
    };
    let mut failed = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()?.take(ADDRESSES) {
        match TcpStream::connect_timeout(&address, DIAL_TIME) {
            Ok(stream) => return Ok((Stream::Tcp(stream), Way::Plain(address.ip()))),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl Stream {
    /// Reads or writes once, within `left`.
    fn once<T>(
        &mut self,
        left: Duration,
        mut act: impl FnMut(&mut dyn ReadWrite) -> io::Result<T>,
    ) -> io::Result<T> {
        let left = Some(left);
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                stream.set_write_timeout(left)?;
                act(stream)
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(left)?;
                stream.set_write_timeout(left)?;
                act(stream)
            }
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// One connection, and the time until which it may take.
struct Talk {
    stream: Stream,
    session: Session,
    decoder: Decoder,
    until: Instant,
}

impl Talk {
    fn new(stream: Stream, tls: Option<&Tls>) -> Result<Talk, LinkError> {
        let session = Session::new(tls).map_err(|error| LinkError::Tls(said(&error)))?;
        let until = Instant::now() + TALK_TIME;
        Ok(Talk { stream, session, decoder: Decoder::new(), until })
    }

    /// Logs in as a node does.
    fn greet(&mut self, redis: &Redis) -> Result<Server, LinkError> {
        let login = Login {
            user: redis.user.clone(),
            password: redis.password.as_ref().map(|password| password.as_str().to_owned()),
            database: redis.database,
            name: "corecast-doctor".into(),
            timeouts: Timeouts::default(),
        };
        let mut out = Vec::new();
        let mut greeting = Greeting::begin(&login, &mut out);
        self.write(out)?;
        loop {
            greeting = match greeting.answered(&self.hear()?)? {
                Progress::On(next) => next,
                Progress::Over(server) => return Ok(server),
            };
        }
    }

    fn say(&mut self, push: impl FnOnce(&mut Vec<u8>)) -> Result<(), LinkError> {
        let mut out = Vec::new();
        push(&mut out);
        self.write(out)
    }

    fn write(&mut self, mut out: Vec<u8>) -> Result<(), LinkError> {
        self.session.seal(&mut out);
        let left = self.left()?;
        self.stream.once(left, |stream| stream.write_all(&out)).map_err(|error| ended(&error))
    }

    /// The next answer; also the push that a SUBSCRIBE is answered with.
    fn hear(&mut self) -> Result<Value, LinkError> {
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Some(value) = self.decoder.next().map_err(LinkError::Garbage)? {
                return Ok(value);
            }
            let left = self.left()?;
            let read = self.stream.once(left, |stream| stream.read(&mut buffer));
            let length = match read {
                Ok(0) => return Err(LinkError::Closed),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ended(&error)),
            };
            let opened = self.session.open(&buffer[..length], |part| self.decoder.receive(part));
            // A handshake goes on, or a peer is told why it failed.
            let wrote = self.write(Vec::new());
            opened.map_err(|error| LinkError::Tls(said(&error)))?;
            wrote?;
        }
    }

    fn left(&self) -> Result<Duration, LinkError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(LinkError::Silent) } else { Ok(left) }
    }
}

/// Why a connection ended, by what the system says.
fn ended(error: &io::Error) -> LinkError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => LinkError::Silent,
        _ => LinkError::Closed,
    }
}
