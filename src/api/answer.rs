//! Writes the answers of calls: results in JSON, and the objects around them.
//!
//! Must not know connections. Invariant: what is appended is one whole JSON value.

use super::ApiMethod;
use crate::codec::command::{ClientInfo, ErrorCode, HistoryResult};
use crate::codec::json;
use crate::http::response::Status;
use std::io::Write;

/// A result in JSON, or an error.
pub type Answer = Result<Vec<u8>, ErrorCode>;

/// What one node says of itself, for `info`.
#[derive(Clone, Debug, Default)]
pub struct Node<'a> {
    pub uid: &'a str,
    pub name: &'a str,
    /// Of Corecast.
    pub version: &'a str,
    pub clients: u64,
    pub users: u64,
    pub subscriptions: u64,
    pub channels: u64,
    pub uptime_s: u64,
    /// CPU time over uptime, 100 for one core.
    pub cpu_percent: f64,
    pub resident_bytes: u64,
    /// Counters since the start, by their names in `/metrics`; other nodes do not tell them.
    pub counters: Option<&'a [(&'a str, u64)]>,
}

/// The result of a publish; `position` is offset and epoch if the channel keeps history.
pub fn published(out: &mut Vec<u8>, position: Option<(u64, &str)>) {
    match position {
        Some((offset, epoch)) => {
            debug_assert!(epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            put(out, format_args!(r#"{{"offset":{offset},"epoch":"{epoch}"}}"#));
        }
        None => out.extend_from_slice(b"{}"),
    }
}

/// The result of a broadcast, from the answers in the channels' order.
pub fn broadcast<'a>(out: &mut Vec<u8>, answers: impl Iterator<Item = &'a Answer>) {
    out.extend_from_slice(br#"{"responses":["#);
    for (index, answer) in answers.enumerate() {
        separate(out, index);
        whole(out, answer, "");
    }
    out.extend_from_slice(b"]}");
}

/// The result of `presence`.
pub fn presence(out: &mut Vec<u8>, clients: &[ClientInfo<'_>]) {
    out.extend_from_slice(br#"{"presence":{"#);
    for (index, info) in clients.iter().enumerate() {
        separate(out, index);
        json::write_string(out, &info.client);
        out.push(b':');
        json::write_info(out, info);
    }
    out.extend_from_slice(b"}}");
}

/// The result of `presence_stats`.
pub fn presence_stats(out: &mut Vec<u8>, clients: u32, users: u32) {
    put(out, format_args!(r#"{{"num_clients":{clients},"num_users":{users}}}"#));
}

/// The result of `history`.
pub fn history(out: &mut Vec<u8>, result: &HistoryResult<'_>) {
    out.extend_from_slice(br#"{"publications":["#);
    for (index, publication) in result.publications.iter().enumerate() {
        separate(out, index);
        json::write_publication(out, publication);
    }
    let HistoryResult { offset, epoch, .. } = result;
    put(out, format_args!(r#"],"offset":{offset},"epoch":"{epoch}"}}"#));
}

/// Begins the result of `channels`: channels follow, then `CHANNELS_TAIL`.
pub const CHANNELS_HEAD: &[u8] = br#"{"channels":{"#;
pub const CHANNELS_TAIL: &[u8] = b"}}";

/// One channel of the result of `channels`.
pub fn channel(out: &mut Vec<u8>, name: &str, clients: u32) {
    separate(out, usize::from(out.len() > CHANNELS_HEAD.len()));
    json::write_string(out, name);
    put(out, format_args!(r#":{{"num_clients":{clients}}}"#));
}

/// The result of `info`.
pub fn info<'a>(out: &mut Vec<u8>, nodes: impl Iterator<Item = Node<'a>>) {
    out.extend_from_slice(br#"{"nodes":["#);
    for (index, node) in nodes.enumerate() {
        separate(out, index);
        one_node(out, &node);
    }
    out.extend_from_slice(b"]}");
}

fn one_node(out: &mut Vec<u8>, node: &Node<'_>) {
    for (before, text) in
        [(r#"{"uid":"#, node.uid), (r#","name":"#, node.name), (r#","version":"#, node.version)]
    {
        out.extend_from_slice(before.as_bytes());
        json::write_string(out, text);
    }
    let Node { clients, users, subscriptions, channels, uptime_s, .. } = node;
    put(
        out,
        format_args!(
            r#","num_clients":{clients},"num_users":{users},"num_subs":{subscriptions},"num_channels":{channels},"uptime":{uptime_s},"#
        ),
    );
    let Node { cpu_percent, resident_bytes, .. } = node;
    put(out, format_args!(r#""process":{{"cpu":{cpu_percent:.1},"rss":{resident_bytes}}}"#));
    if let Some(counters) = node.counters {
        put(out, format_args!(r#","metrics":{{"interval":{uptime_s},"items":{{"#));
        for (index, (name, value)) in counters.iter().enumerate() {
            separate(out, index);
            put(out, format_args!(r#""{name}":{value}"#));
        }
        out.extend_from_slice(b"}}");
    }
    out.push(b'}');
}

/// The result of `rpc`: any JSON value.
pub fn rpc(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(br#"{"data":"#);
    out.extend_from_slice(data);
    out.push(b'}');
}

/// The answer of a call: `{"result": ...}` or `{"error": ...}`. `detail` explains an error; it may
/// be "".
pub fn whole(out: &mut Vec<u8>, answer: &Answer, detail: &str) {
    named(out, "result", answer, detail);
}

/// The answer of one command of a batch: its result under its method's name, or an error.
pub fn reply(out: &mut Vec<u8>, method: ApiMethod, answer: &Answer, detail: &str) {
    named(out, method.name(), answer, detail);
}

fn named(out: &mut Vec<u8>, name: &str, answer: &Answer, detail: &str) {
    match answer {
        Ok(result) => {
            put(out, format_args!(r#"{{"{name}":"#));
            out.extend_from_slice(result);
        }
        Err(error) => {
            out.extend_from_slice(br#"{"error":"#);
            write_error(out, *error, detail);
        }
    }
    out.push(b'}');
}

/// The body of an error alone, for calls whose errors become HTTP statuses.
pub fn write_error(out: &mut Vec<u8>, error: ErrorCode, detail: &str) {
    let (code, message, _) = error.parts();
    put(out, format_args!(r#"{{"code":{code},"message":"{message}""#));
    if !detail.is_empty() {
        out.extend_from_slice(br#","detail":"#);
        json::write_string(out, detail);
    }
    out.push(b'}');
}

/// The HTTP status of an error, for callers that want errors as statuses.
#[must_use]
pub fn status(error: ErrorCode) -> Status {
    match error {
        ErrorCode::UnknownChannel | ErrorCode::MethodNotFound => Status::NOT_FOUND,
        ErrorCode::BadRequest | ErrorCode::NotAvailable | ErrorCode::Expired => Status::BAD_REQUEST,
        // Not a 5xx, because the caller is at fault and not the server.
        ErrorCode::LimitExceeded | ErrorCode::TooManyRequests => Status::TOO_MANY_REQUESTS,
        ErrorCode::UnrecoverablePosition => Status::RANGE_NOT_SATISFIABLE,
        ErrorCode::Internal
        | ErrorCode::Unauthorized
        | ErrorCode::PermissionDenied
        | ErrorCode::AlreadySubscribed
        | ErrorCode::TokenExpired => Status::INTERNAL_ERROR,
    }
}

/// Appends a comma before every item except the first.
pub fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes all");
}
