//! Why a connection to Redis ended, or did not begin: a variant for each, and a line for the log.
//!
//! Must not know connections. Invariant: a line has no end of line in it, whatever a server sent.

use super::error::{Cause, Remedy, StoreError};
use super::resp::RespError;

/// Why a connection ended, or did not begin. Texts are the server's own, cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// It was closed or reset.
    Closed,
    /// The dial failed, as the system says.
    Dial(Box<str>),
    /// It is not sealed, or not by whom we expect.
    Tls(Box<str>),
    /// It was not up in time.
    Slow,
    /// Nothing came although something was asked.
    Silent,
    /// What came is not RESP, or over its bounds.
    Garbage(RespError),
    /// It speaks, but not as Redis does.
    NotRedis(Box<str>),
    /// The version is too old.
    Old(Box<str>),
    /// User or password are wrong, or missing, or may not do what is needed.
    Login(Box<str>),
    /// The database cannot be had.
    Database(Box<str>),
    /// It is a replica, which may not be written.
    Replica,
    /// It cannot serve now: it loads, lost its master, or became a replica.
    Unavailable(Box<str>),
    /// Another server than the one that the other connection has.
    OtherServer,
    /// What is published does not come by it.
    Deaf,
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::Closed => f.write_str("the connection was closed"),
            LinkError::Dial(text) => write!(f, "there is no connection: {text}"),
            LinkError::Tls(text) => write!(f, "TLS failed: {text}"),
            LinkError::Slow => f.write_str("no connection in time"),
            LinkError::Silent => f.write_str("no answer in time"),
            LinkError::Garbage(error) => write!(f, "not understood: {error}"),
            LinkError::NotRedis(text) => write!(f, "it does not answer as Redis does: {text}"),
            LinkError::Old(version) => {
                write!(f, "version {version} is too old: Redis 7.0 or newer, or Valkey, is needed")
            }
            LinkError::Login(text) => write!(f, "the login was refused: {text}"),
            LinkError::Database(text) => write!(f, "the database cannot be had: {text}"),
            LinkError::Replica => {
                f.write_str("it is a replica: the address of the master is needed")
            }
            LinkError::Unavailable(text) => write!(f, "it cannot serve now: {text}"),
            LinkError::Deaf => f.write_str("what this node publishes does not come back to it"),
            LinkError::OtherServer => f.write_str("its two connections reach different servers"),
        }
    }
}

impl LinkError {
    /// What an error that a command was answered with means for its connection, where that has to
    /// end.
    #[must_use]
    pub fn of(error: &StoreError) -> Option<LinkError> {
        if error.cause().remedy() != Remedy::Redial {
            return None;
        }
        let text = shortened(error.text());
        Some(match error.cause() {
            Cause::NoAuth => LinkError::Login(text),
            Cause::Unexpected => LinkError::NotRedis(text),
            Cause::NoScript
            | Cause::Busy
            | Cause::OutOfMemory
            | Cause::ReadOnly
            | Cause::Loading
            | Cause::MasterDown
            | Cause::NoPermission
            | Cause::WrongType
            | Cause::Misconfigured
            | Cause::NoReplicas
            | Cause::Other => LinkError::Unavailable(text),
        })
    }
}

/// Letters of a server's text that are kept.
const TEXT_LETTERS: usize = 200;

/// A text of a server, cut to what a log line may have.
#[must_use]
pub fn shortened(text: &str) -> Box<str> {
    text.chars().take(TEXT_LETTERS).collect()
}
