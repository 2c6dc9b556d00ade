//! A raw connection for bad input: bytes as given, blocking, with a time-out.
//!
//! Must not know the expected answer. Invariant: it never corrects what it sends.

use crate::net::Target;
use crate::ws::{self, Parsed, Upgrade};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longer than every time-out of the server that a check waits for.
const PATIENCE: Duration = Duration::from_secs(8);
const MASK: [u8; 4] = [0x3a, 0xc5, 0x11, 0x7e];

pub struct Wire {
    stream: TcpStream,
    inbox: Vec<u8>,
    host: String,
    path: String,
}

/// What came next.
#[derive(Debug, PartialEq)]
pub enum Next {
    Text(String),
    Binary(Vec<u8>),
    Close(u16),
    /// The stream ended, by FIN or RST, without a close frame.
    End,
    Silence,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The whole head, in small letters.
    pub head: String,
}

impl Wire {
    pub fn open(target: &Target) -> Result<Wire, String> {
        let stream = TcpStream::connect_timeout(&target.address.into(), PATIENCE)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(stream)
            })
            .map_err(|error| format!("cannot connect: {error}"))?;
        let (host, path) = (target.address.to_string(), target.path.clone());
        Ok(Wire { stream, inbox: Vec::new(), host, path })
    }

    /// A connection that has been upgraded.
    pub fn upgraded(target: &Target) -> Result<Wire, String> {
        Wire::upgraded_with(target, "")
    }

    /// The same, with some more header lines.
    pub fn upgraded_with(target: &Target, extra: &str) -> Result<Wire, String> {
        let mut wire = Wire::open(target)?;
        wire.upgrade(extra);
        match wire.until(PATIENCE, |inbox| match ws::read_upgrade(inbox) {
            Upgrade::Incomplete => None,
            Upgrade::Accepted(length) => Some((Ok(()), length)),
            Upgrade::Refused(why) => Some((Err(why), inbox.len())),
        }) {
            Some(Ok(())) => Ok(wire),
            Some(Err(why)) => Err(format!("the upgrade was refused: {why}")),
            None => Err("no answer to the upgrade".to_owned()),
        }
    }

    /// A connection whose connect command has been answered.
    pub fn connected(target: &Target) -> Result<Wire, String> {
        let mut wire = Wire::upgraded(target)?;
        let answer = wire.ask(r#"{"id":1,"connect":{}}"#)?;
        if answer["connect"].is_object() { Ok(wire) } else { Err(format!("connect got {answer}")) }
    }

    /// Sends the upgrade request, with some more header lines.
    pub fn upgrade(&mut self, extra: &str) {
        let request = ws::upgrade_request(&self.host, &self.path, extra);
        self.send(&request);
    }

    /// A request head of the upgrade with `from` replaced by `to`.
    pub fn upgrade_with(&mut self, from: &str, to: &str) {
        let request = ws::upgrade_request(&self.host, &self.path, "");
        let request = String::from_utf8_lossy(&request);
        debug_assert!(request.contains(from));
        self.send(request.replacen(from, to, 1).as_bytes());
    }

    /// Sends bytes; whether the peer still took them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends one masked frame; `first` holds FIN, RSV and opcode.
    pub fn frame(&mut self, first: u8, payload: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        ws::encode(&mut frame, first, MASK, payload);
        self.send(&frame)
    }

    pub fn text(&mut self, text: &str) -> bool {
        self.frame(0x80 | ws::TEXT, text.as_bytes())
    }

    /// Sends a command and waits for the next message.
    pub fn ask(&mut self, command: &str) -> Result<Value, String> {
        self.text(command);
        match self.next(PATIENCE) {
            Next::Text(text) => {
                let first = text.lines().next().unwrap_or_default();
                serde_json::from_str(first).map_err(|error| format!("{error}: {first}"))
            }
            other => Err(format!("{other:?} instead of an answer to {:.80}", command)),
        }
    }

    /// The next message or the end.
    pub fn next(&mut self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        loop {
            let next =
                self.until(
                    until.saturating_duration_since(Instant::now()),
                    |inbox| match ws::parse(inbox) {
                        Parsed::Incomplete => None,
                        Parsed::Malformed(why) => {
                            Some((Some(Next::Text(format!("malformed: {why}"))), inbox.len()))
                        }
                        Parsed::Frame { opcode, payload, length, .. } => {
                            let next = match opcode {
                                ws::CLOSE => Some(Next::Close(ws::close_parts(payload).0)),
                                ws::TEXT => {
                                    Some(Next::Text(String::from_utf8_lossy(payload).into_owned()))
                                }
                                ws::BINARY => Some(Next::Binary(payload.to_vec())),
                                _ => None,
                            };
                            Some((next, length))
                        }
                    },
                );
            match next {
                Some(Some(next)) => return next,
                Some(None) => {}
                None if Instant::now() >= until => return Next::Silence,
                None => return Next::End,
            }
        }
    }

    /// Passes messages over until the connection closes; the close code.
    pub fn close_code(&mut self) -> Result<u16, String> {
        loop {
            match self.next(PATIENCE) {
                Next::Text(_) | Next::Binary(_) => {}
                Next::Close(code) => return Ok(code),
                end => return Err(format!("{end:?} instead of a close frame")),
            }
        }
    }

    /// The HTTP answer.
    pub fn answer(&mut self) -> Result<Answer, String> {
        let head = self.until(PATIENCE, |inbox| {
            let end = inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
            Some((String::from_utf8_lossy(&inbox[..end]).to_lowercase(), end))
        });
        let head = head.ok_or("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Answer { status: status.ok_or_else(|| format!("no status in {head}"))?, head })
    }

    /// Has the server ended the stream? Waits for it.
    pub fn ended(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.until(Duration::from_millis(50), |_| None::<((), usize)>).is_none()
                && self.at_end()
            {
                return true;
            }
            self.inbox.clear();
        }
        false
    }

    fn at_end(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(length) => length == 0,
            Err(error) => !waits(&error),
        }
    }

    /// Reads until `take` finds something and returns its length; `None` at the end of the stream
    /// or of the time.
    fn until<T>(
        &mut self,
        patience: Duration,
        take: impl Fn(&[u8]) -> Option<(T, usize)>,
    ) -> Option<T> {
        let until = Instant::now() + patience;
        let mut bytes = vec![0; 64 << 10];
        loop {
            if let Some((found, used)) = take(&self.inbox) {
                self.inbox.drain(..used);
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).ok()?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(length) => self.inbox.extend_from_slice(&bytes[..length]),
                Err(error) if waits(&error) => {}
                Err(_) => return None,
            }
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
