//! Centrifugo's protocol in JSON, for a client: commands out, messages in.
//!
//! Must not know sockets. Invariant: what is read borrows from the bytes received; a payload is the
//! raw extent of `data`.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;

/// One message of the server: the answer to a command (`id` not 0), a push, or a ping (nothing).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message<'a> {
    pub id: u32,
    #[serde(borrow)]
    pub push: Option<Push<'a>>,
    #[serde(borrow)]
    pub error: Option<ReplyError<'a>>,
    pub connect: Option<Empty>,
    #[serde(borrow)]
    pub subscribe: Option<SubscribeResult<'a>>,
    pub publish: Option<Empty>,
    #[serde(borrow)]
    pub history: Option<HistoryResult<'a>>,
    #[serde(borrow)]
    pub rpc: Option<RpcResult<'a>>,
}

impl Message<'_> {
    /// The server's ping is the message with nothing in it.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        self.id == 0 && self.push.is_none()
    }
}

#[derive(Debug, Default, Deserialize)]
pub struct Empty {}

#[derive(Debug, Deserialize)]
pub struct ReplyError<'a> {
    pub code: u32,
    #[serde(borrow, default)]
    pub message: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub struct Push<'a> {
    #[serde(borrow, default)]
    pub channel: Cow<'a, str>,
    #[serde(borrow, rename = "pub")]
    pub publication: Option<Publication<'a>>,
    #[serde(borrow)]
    pub unsubscribe: Option<CodeReason<'a>>,
    #[serde(borrow)]
    pub disconnect: Option<CodeReason<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct CodeReason<'a> {
    pub code: u32,
    #[serde(borrow, default)]
    pub reason: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub struct Publication<'a> {
    #[serde(borrow)]
    pub data: &'a RawValue,
    #[serde(default)]
    pub offset: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SubscribeResult<'a> {
    pub recoverable: bool,
    pub recovered: bool,
    pub was_recovering: bool,
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub offset: u64,
    #[serde(borrow)]
    pub publications: Vec<Publication<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryResult<'a> {
    #[serde(borrow)]
    pub publications: Vec<Publication<'a>>,
    #[serde(borrow)]
    pub epoch: Cow<'a, str>,
    pub offset: u64,
}

#[derive(Debug, Deserialize)]
pub struct RpcResult<'a> {
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// Where a connection and a channel live (rpc `where`, development mode).
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Place {
    pub worker: u32,
    pub home: u32,
}

/// A place in a channel's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub epoch: String,
    pub offset: u64,
}

/// Writes the connect command. A token goes in as it is: JWTs need no escape.
pub fn connect(out: &mut String, id: u32, token: Option<&str>) {
    match token {
        Some(token) => put(out, format_args!(r#"{{"id":{id},"connect":{{"token":"{token}"}}}}"#)),
        None => put(out, format_args!(r#"{{"id":{id},"connect":{{}}}}"#)),
    }
}

/// Writes a subscribe command; with a position it asks to recover from there.
pub fn subscribe(out: &mut String, id: u32, channel: &str, from: Option<&Position>) {
    match from {
        Some(Position { epoch, offset }) => put(
            out,
            format_args!(
                r#"{{"id":{id},"subscribe":{{"channel":"{channel}","recover":true,"epoch":"{epoch}","offset":{offset}}}}}"#
            ),
        ),
        None => put(out, format_args!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"}}}}"#)),
    }
}

/// Writes a publish command; `data` is JSON.
pub fn publish(out: &mut String, id: u32, channel: &str, data: &str) {
    put(out, format_args!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":{data}}}}}"#));
}

/// Writes a history command: up to `limit` publications after a position.
pub fn history(out: &mut String, id: u32, channel: &str, since: &Position, limit: u32) {
    let Position { epoch, offset } = since;
    put(
        out,
        format_args!(
            r#"{{"id":{id},"history":{{"channel":"{channel}","limit":{limit},"since":{{"epoch":"{epoch}","offset":{offset}}}}}}}"#
        ),
    );
}

/// Writes the rpc `where` for a channel.
pub fn where_is(out: &mut String, id: u32, channel: &str) {
    put(
        out,
        format_args!(
            r#"{{"id":{id},"rpc":{{"method":"where","data":{{"channel":"{channel}"}}}}}}"#
        ),
    );
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes all");
}
