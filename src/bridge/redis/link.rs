//! One connection to Redis without a socket: when it is dialled, how it is greeted, which command
//! a reply belongs to, and why it ended.
//!
//! Must not know what commands mean; each carries a token of its owner's, which comes back with its
//! reply or with the connection's end. Invariants: replies belong to commands in the order in which
//! those were written; when the connection ends every command in flight is given back once, and it
//! is known of each whether its bytes were handed over.

use super::error::StoreError;
use super::greeting::{Greeting, Login, Progress, Server};
use super::link_error::{LinkError, shortened};
use super::resp::Value;
use super::resp::decode::Decoder;
use super::resp::encode::command;
use std::collections::VecDeque;

/// What came by a connection.
#[derive(Debug, PartialEq)]
pub enum Heard<T> {
    /// The greeting is over.
    Open(Server),
    Reply(T, Value),
    /// An error about the first command in flight, which is followed by its reply.
    Objection(Box<str>),
    Push(Vec<Value>),
}

/// What a connection that ended leaves.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended<T> {
    pub error: LinkError,
    /// The greeting was over.
    pub was_open: bool,
    /// In order: commands whose fate is not known.
    pub lost: Vec<T>,
    /// In order: commands of which nothing was handed over.
    pub unsent: Vec<T>,
}

/// A command in flight.
#[derive(Debug)]
struct Flying<T> {
    /// `None` for a command of the link's own, whose reply only shows that the server lives.
    token: Option<T>,
    /// Where it begins among all bytes of the connection.
    begin: u64,
    asked_us: u64,
    /// What has come about it, where its reply is the one of the command behind it.
    fence: Option<Fence>,
}

/// How far a command is whose replies are pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    /// Nothing has come: an error is about it.
    Silent,
    /// A push or an error has come: what comes next that is no push is its end, an error too, for a
    /// server that refuses everything refuses the command behind it as well.
    Answered,
}

#[derive(Debug)]
enum State {
    Resting {
        until_us: u64,
    },
    /// A dial is wanted, that has to come to something until then.
    Wanted {
        until_us: u64,
    },
    Dialling {
        until_us: u64,
    },
    /// `None` only while an answer is looked at.
    Greeting {
        greeting: Option<Greeting>,
        until_us: u64,
    },
    Open,
    /// It has to be closed, for this reason.
    Ending {
        error: LinkError,
        was_open: bool,
    },
}

/// A command is answered within so many times the silence after which a connection is given up, or
/// its connection is, whatever else comes by it.
const UNANSWERED: u64 = 4;

/// See the module's page. `T` is what its owner knows a command by.
pub struct Link<T> {
    login: Login,
    state: State,
    decoder: Decoder,
    /// Bytes that wait to be handed over.
    out: Vec<u8>,
    /// Bytes that were handed over.
    taken: u64,
    flying: VecDeque<Flying<T>>,
    /// When something came last, or the first of what flies was asked.
    heard_us: u64,
}

impl<T> Link<T> {
    /// A connection that is dialled at once.
    #[must_use]
    pub fn new(login: Login) -> Link<T> {
        let timeouts = login.timeouts;
        assert!(timeouts.dial_us > 0 && timeouts.silence_us > 0 && timeouts.idle_us > 0);
        Link {
            login,
            state: State::Resting { until_us: 0 },
            decoder: Decoder::new(),
            out: Vec::new(),
            taken: 0,
            flying: VecDeque::new(),
            heard_us: 0,
        }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Bytes that wait to be handed over.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.out.len()
    }

    /// Has it to be closed? Then `closed` has to follow.
    #[must_use]
    pub fn must_close(&self) -> bool {
        matches!(self.state, State::Ending { .. })
    }

    /// Is a dial to be begun? True once for each.
    pub fn take_dial(&mut self) -> bool {
        let State::Wanted { until_us } = self.state else { return false };
        self.state = State::Dialling { until_us };
        true
    }

    /// The next moment at which `turn` has something to do, in microseconds of the process.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        let timeouts = self.login.timeouts;
        match &self.state {
            State::Resting { until_us }
            | State::Dialling { until_us }
            | State::Greeting { until_us, .. } => Some(*until_us),
            State::Open => Some(match self.flying.front() {
                None => self.heard_us + timeouts.idle_us,
                // Pushes may come for ever, and show nothing of who carries out commands.
                Some(first) => {
                    let answered_us = first.asked_us + UNANSWERED * timeouts.silence_us;
                    answered_us.min(self.heard_us + timeouts.silence_us)
                }
            }),
            State::Wanted { .. } | State::Ending { .. } => None,
        }
    }

    /// Does what is due.
    pub fn turn(&mut self, now_us: u64) {
        if self.deadline_us().is_none_or(|due_us| now_us < due_us) {
            return;
        }
        match &self.state {
            State::Resting { .. } => {
                self.state = State::Wanted { until_us: now_us + self.login.timeouts.dial_us };
            }
            State::Dialling { .. } | State::Greeting { .. } => self.end(LinkError::Slow),
            State::Open if self.flying.is_empty() => {
                let begin = self.taken + self.out.len() as u64;
                command(&mut self.out, &[b"PING"]);
                self.fly(None, begin, None, now_us);
            }
            State::Open => self.end(LinkError::Silent),
            State::Wanted { .. } | State::Ending { .. } => {}
        }
    }

    /// The dial has succeeded.
    pub fn connected(&mut self, now_us: u64) {
        let State::Dialling { until_us } = self.state else { return };
        debug_assert!(self.flying.is_empty() && self.out.is_empty(), "it begins empty");
        self.heard_us = now_us;
        let greeting = Some(Greeting::begin(&self.login, &mut self.out));
        self.state = State::Greeting { greeting, until_us };
    }

    /// Takes what was read. Then `hear` has to be called until it has no more.
    pub fn received(&mut self, bytes: &[u8], now_us: u64) {
        if matches!(self.state, State::Greeting { .. } | State::Open) {
            self.heard_us = now_us;
            self.decoder.receive(bytes);
        }
    }

    /// The next thing that came.
    pub fn hear(&mut self) -> Option<Heard<T>> {
        loop {
            if !matches!(self.state, State::Greeting { .. } | State::Open) {
                return None;
            }
            let value = match self.decoder.next() {
                Ok(value) => value?,
                Err(error) => {
                    self.end(LinkError::Garbage(error));
                    return None;
                }
            };
            let heard = match (value, self.is_open()) {
                (Value::Push(parts), true) => {
                    self.note_push(&parts);
                    Some(Heard::Push(parts))
                }
                (Value::Push(_), false) => None,
                (value, true) => self.replied(value),
                (value, false) => self.greeted(&value),
            };
            if heard.is_some() {
                return heard;
            }
        }
    }

    /// A reply belongs to the first command in flight.
    fn replied(&mut self, value: Value) -> Option<Heard<T>> {
        let Some(first) = self.flying.front_mut() else {
            let text = match &value {
                Value::Error(text) => shortened(text),
                other => shortened(&format!("a reply to nothing: {other:?}")),
            };
            self.end(LinkError::of(&StoreError::new(&text)).unwrap_or(LinkError::NotRedis(text)));
            return None;
        };
        if let (Value::Error(text), Some(fence @ Fence::Silent)) = (&value, &mut first.fence) {
            *fence = Fence::Answered;
            return Some(Heard::Objection(shortened(text)));
        }
        let first = self.flying.pop_front()?;
        let Some(token) = first.token else {
            if let Value::Error(text) = &value
                && let Some(error) = LinkError::of(&StoreError::new(text))
            {
                self.end(error);
            }
            return None;
        };
        Some(Heard::Reply(token, value))
    }

    /// Confirmations belong to the first command in flight, where that has pushes for replies.
    fn note_push(&mut self, parts: &[Value]) {
        let is_reply = matches!(parts, [Value::Blob(kind), ..] if kind.ends_with(b"subscribe"));
        let fence = self.flying.front_mut().and_then(|first| first.fence.as_mut());
        if let Some(fence) = fence.filter(|_| is_reply) {
            *fence = Fence::Answered;
        }
    }

    /// An answer belongs to the greeting.
    fn greeted(&mut self, value: &Value) -> Option<Heard<T>> {
        let State::Greeting { greeting, .. } = &mut self.state else { return None };
        match greeting.take()?.answered(value) {
            Ok(Progress::On(next)) => *greeting = Some(next),
            Ok(Progress::Over(server)) => {
                self.state = State::Open;
                return Some(Heard::Open(server));
            }
            Err(error) => self.end(error),
        }
        None
    }

    /// The first command in flight.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.flying.front()?.token.as_ref()
    }

    /// Appends a command, which `write` does; its reply comes with `token`.
    ///
    /// # Panics
    /// If the connection is not open.
    pub fn send(&mut self, token: T, now_us: u64, write: impl FnOnce(&mut Vec<u8>)) {
        assert!(self.is_open(), "commands are sent when the greeting is over");
        let begin = self.taken + self.out.len() as u64;
        write(&mut self.out);
        self.fly(Some(token), begin, None, now_us);
    }

    /// Appends a command that has pushes for replies, or an error, and behind it one that has a
    /// reply: with that everything about the first has come.
    ///
    /// # Panics
    /// As `send`.
    pub fn send_fenced(&mut self, token: T, now_us: u64, write: impl FnOnce(&mut Vec<u8>)) {
        assert!(self.is_open(), "commands are sent when the greeting is over");
        let begin = self.taken + self.out.len() as u64;
        write(&mut self.out);
        command(&mut self.out, &[b"PING"]);
        self.fly(Some(token), begin, Some(Fence::Silent), now_us);
    }

    fn fly(&mut self, token: Option<T>, begin: u64, fence: Option<Fence>, now_us: u64) {
        if self.flying.is_empty() {
            self.heard_us = now_us;
        }
        self.flying.push_back(Flying { token, begin, asked_us: now_us, fence });
    }

    /// Moves what waits to `out`: from then on it may have been carried out.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        self.taken += self.out.len() as u64;
        out.append(&mut self.out);
    }

    /// Ends the connection: `must_close` is true from now on, and nothing that comes is looked at.
    pub fn end(&mut self, error: LinkError) {
        debug_assert!(!matches!(self.state, State::Resting { .. }), "what rests is not up");
        if !self.must_close() {
            let was_open = self.is_open();
            self.state = State::Ending { error, was_open };
        }
    }

    /// The connection is no more, or the dial has failed: gives what it leaves, and rests. `None`
    /// where there was none.
    pub fn closed(&mut self, rest_until_us: u64) -> Option<Ended<T>> {
        let rest = State::Resting { until_us: rest_until_us };
        let (error, was_open) = match std::mem::replace(&mut self.state, rest) {
            state @ State::Resting { .. } => {
                self.state = state;
                return None;
            }
            State::Wanted { .. } | State::Dialling { .. } | State::Greeting { .. } => {
                (LinkError::Closed, false)
            }
            State::Open => (LinkError::Closed, true),
            State::Ending { error, was_open } => (error, was_open),
        };
        let taken = std::mem::take(&mut self.taken);
        self.out.clear();
        self.decoder = Decoder::new();
        let (mut lost, mut unsent) = (Vec::new(), Vec::new());
        for Flying { token, begin, .. } in self.flying.drain(..) {
            let into = if begin < taken { &mut lost } else { &mut unsent };
            into.extend(token);
        }
        Some(Ended { error, was_open, lost, unsent })
    }
}

#[cfg(test)]
mod tests;
