//! A connection to Redis that waits for its answers.
//!
//! Must not know what is measured. Invariant: an answer that is none of ours is an error.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer, at most; the list of a thousand connections has 400,000.
const LONGEST: usize = 16 << 20;

pub struct Redis(BufReader<TcpStream>);

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Text(String),
    Nothing,
    Many(Vec<Reply>),
}

impl Redis {
    /// # Errors
    /// Nobody listens on that port of 127.0.0.1.
    pub fn connect(port: u16) -> Result<Redis> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("Redis")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Redis(BufReader::with_capacity(64 << 10, stream)))
    }

    /// Sends commands that `append` has written; each has to be read by `reply`.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self, commands: &[u8]) -> Result<()> {
        self.0.get_mut().write_all(commands).context("a write to Redis")
    }

    /// Sends one command and reads its text.
    ///
    /// # Errors
    /// The connection is lost, or the answer is no text.
    pub fn text(&mut self, words: &[&str]) -> Result<String> {
        let mut command = Vec::new();
        append(&mut command, words);
        self.send(&command)?;
        match self.reply()? {
            Reply::Text(text) => Ok(text),
            other => bail!("{words:?} is answered with {other:?}"),
        }
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// The connection is lost, or Redis has refused something.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("no answer of Redis")?;
        let line = line.trim_end();
        let Some((kind, rest)) = line.split_at_checked(1) else { bail!("an empty answer") };
        match kind {
            "+" | ":" => Ok(Reply::Text(rest.to_owned())),
            "$" | "*" if rest == "-1" => Ok(Reply::Nothing),
            "$" => {
                let length: usize = rest.parse().context("a length")?;
                if length > LONGEST {
                    bail!("an answer of {length} bytes");
                }
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).context("a part of an answer")?;
                bytes.truncate(length);
                Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
            }
            "*" => {
                let count: usize = rest.parse().context("a length")?;
                (0..count).map(|_| self.reply()).collect::<Result<_>>().map(Reply::Many)
            }
            _ => bail!("Redis says {line}"),
        }
    }
}

/// Appends a command.
pub fn append(out: &mut Vec<u8>, words: &[&str]) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}
