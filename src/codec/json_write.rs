//! Writes replies as JSON, the way the incumbent does: empty fields are left out where it does so.
//!
//! Must not know connections. Its invariants: what is appended is one object without a raw newline,
//! nothing is allocated but the output's growth, and each `*_len` is exact, because the same code
//! counts.

use super::command::{
    ClientInfo, ConnectResult, ErrorCode, HistoryResult, Publication, Push, Reply, SubscribeResult,
};
use super::scanner::plain_length;

/// Stands between two messages of one frame.
pub const MESSAGE_SEPARATOR: u8 = b'\n';
/// Stands between two publications of a subscribe reply.
pub const PUBLICATION_SEPARATOR: u8 = b',';
/// Ends a subscribe reply that was begun with `write_subscribe_head`.
pub const SUBSCRIBE_TAIL: &[u8] = b"]}}";

/// Appends one reply or push.
pub fn write_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    put_reply(out, reply);
}

/// Bytes that `write_reply` appends.
#[must_use]
pub fn reply_len(reply: &Reply<'_>) -> usize {
    count(|out| put_reply(out, reply))
}

/// Appends a publication as it stands in pushes, subscribe and history replies.
pub fn write_publication(out: &mut Vec<u8>, publication: &Publication<'_>) {
    put_publication(out, publication);
}

/// Bytes that `write_publication` appends.
#[must_use]
pub fn publication_len(publication: &Publication<'_>) -> usize {
    count(|out| put_publication(out, publication))
}

/// Appends the push of a publication.
pub fn write_push_publication(out: &mut Vec<u8>, channel: &str, publication: &Publication<'_>) {
    put_push_publication(out, channel, publication);
}

/// Bytes that `write_push_publication` appends.
#[must_use]
pub fn push_publication_len(channel: &str, publication: &Publication<'_>) -> usize {
    count(|out| put_push_publication(out, channel, publication))
}

/// Appends the start of a subscribe reply, up to its first publication. `result.publications` is
/// not looked at: publications follow with `PUBLICATION_SEPARATOR` between them, then the tail.
/// They stand last in the reply so that the tail is the same for all.
pub fn write_subscribe_head(out: &mut Vec<u8>, id: u32, result: &SubscribeResult<'_>) {
    put_subscribe_head(out, id, result);
}

/// Bytes that `write_subscribe_head` appends.
#[must_use]
pub fn subscribe_head_len(id: u32, result: &SubscribeResult<'_>) -> usize {
    count(|out| put_subscribe_head(out, id, result))
}

/// Appends the end of a subscribe reply, `SUBSCRIBE_TAIL`.
pub fn write_subscribe_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(SUBSCRIBE_TAIL);
}

/// Where text goes: to an output, or to a count of its bytes.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

struct Count(usize);

impl Sink for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

fn count(write: impl FnOnce(&mut Count)) -> usize {
    let mut count = Count(0);
    write(&mut count);
    count.0
}

fn put_reply(out: &mut impl Sink, reply: &Reply<'_>) {
    match reply {
        Reply::Error { id, error } => put_error(out, *id, *error),
        Reply::Connect { id, result } => put_connect(out, *id, result),
        Reply::Subscribe { id, result } => put_subscribe(out, *id, result),
        Reply::Unsubscribe { id } => put_empty(out, *id, b"unsubscribe"),
        Reply::Publish { id } => put_empty(out, *id, b"publish"),
        Reply::Ping { id } => put_empty(out, *id, b"ping"),
        Reply::Presence { id, clients } => put_presence(out, *id, clients),
        Reply::PresenceStats { id, clients, users } => {
            put_open(out, *id, b"presence_stats");
            out.put(b"\"num_clients\":");
            put_number(out, u64::from(*clients));
            out.put(b",\"num_users\":");
            put_number(out, u64::from(*users));
            out.put(b"}}");
        }
        Reply::History { id, result } => put_history(out, *id, result),
        Reply::Rpc { id, data } => put_rpc(out, *id, data),
        Reply::Push { channel, push } => put_push(out, channel, push),
        Reply::ServerPing => out.put(b"{}"),
    }
}

/// Opens a reply and its result: both are objects to be closed.
fn put_open(out: &mut impl Sink, id: u32, result: &[u8]) {
    out.put(b"{\"id\":");
    put_number(out, u64::from(id));
    out.put(b",\"");
    out.put(result);
    out.put(b"\":{");
}

fn put_empty(out: &mut impl Sink, id: u32, result: &[u8]) {
    put_open(out, id, result);
    out.put(b"}}");
}

fn put_error(out: &mut impl Sink, id: u32, error: ErrorCode) {
    let (code, message, temporary) = error.parts();
    put_open(out, id, b"error");
    out.put(b"\"code\":");
    put_number(out, u64::from(code));
    out.put(b",\"message\":");
    put_string(out, message);
    if temporary {
        out.put(b",\"temporary\":true");
    }
    out.put(b"}}");
}

fn put_connect(out: &mut impl Sink, id: u32, result: &ConnectResult<'_>) {
    put_open(out, id, b"connect");
    out.put(b"\"client\":");
    put_string(out, result.client);
    if !result.version.is_empty() {
        out.put(b",\"version\":");
        put_string(out, result.version);
    }
    if result.ping_s > 0 {
        out.put(b",\"ping\":");
        put_number(out, u64::from(result.ping_s));
    }
    if result.pong {
        out.put(b",\"pong\":true");
    }
    out.put(b"}}");
}

fn put_subscribe(out: &mut impl Sink, id: u32, result: &SubscribeResult<'_>) {
    if result.publications.is_empty() {
        put_open(out, id, b"subscribe");
        put_subscribe_fields(out, result);
        out.put(b"}}");
    } else {
        put_subscribe_head(out, id, result);
        put_publications(out, result.publications);
        out.put(SUBSCRIBE_TAIL);
    }
}

fn put_subscribe_head(out: &mut impl Sink, id: u32, result: &SubscribeResult<'_>) {
    put_open(out, id, b"subscribe");
    if put_subscribe_fields(out, result) {
        out.put(b",");
    }
    out.put(b"\"publications\":[");
}

/// Writes the fields but the publications; true when there was one.
fn put_subscribe_fields(out: &mut impl Sink, result: &SubscribeResult<'_>) -> bool {
    let mut any = false;
    let mut field = |out: &mut _, name: &[u8]| {
        if std::mem::replace(&mut any, true) {
            Sink::put(out, b",");
        }
        Sink::put(out, name);
    };
    if result.recoverable {
        field(out, b"\"recoverable\":true");
    }
    if !result.epoch.is_empty() {
        field(out, b"\"epoch\":");
        put_string(out, result.epoch);
    }
    if result.recovered {
        field(out, b"\"recovered\":true");
    }
    if result.offset > 0 {
        field(out, b"\"offset\":");
        put_number(out, result.offset);
    }
    if result.positioned {
        field(out, b"\"positioned\":true");
    }
    if result.was_recovering {
        field(out, b"\"was_recovering\":true");
    }
    any
}

fn put_presence(out: &mut impl Sink, id: u32, clients: &[ClientInfo<'_>]) {
    put_open(out, id, b"presence");
    out.put(b"\"presence\":{");
    for (index, info) in clients.iter().enumerate() {
        if index > 0 {
            out.put(b",");
        }
        put_string(out, &info.client);
        out.put(b":");
        put_info(out, info);
    }
    out.put(b"}}}");
}

fn put_history(out: &mut impl Sink, id: u32, result: &HistoryResult<'_>) {
    put_open(out, id, b"history");
    out.put(b"\"publications\":[");
    put_publications(out, result.publications);
    out.put(b"],\"epoch\":");
    put_string(out, result.epoch);
    out.put(b",\"offset\":");
    put_number(out, result.offset);
    out.put(b"}}");
}

/// Raw newlines of the answer, white space in JSON, become spaces: a newline separates messages.
fn put_rpc(out: &mut impl Sink, id: u32, data: &[u8]) {
    put_open(out, id, b"rpc");
    if !data.is_empty() {
        out.put(b"\"data\":");
        for (index, line) in data.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
            if index > 0 {
                out.put(b" ");
            }
            out.put(line);
        }
    }
    out.put(b"}}");
}

fn put_push(out: &mut impl Sink, channel: &str, push: &Push<'_>) {
    let (kind, info): (&[u8], _) = match push {
        Push::Publication(publication) => return put_push_publication(out, channel, publication),
        Push::Unsubscribe { code, reason } => return put_unsubscribe(out, channel, *code, reason),
        Push::Join(info) => (b",\"join\":{\"info\":", info),
        Push::Leave(info) => (b",\"leave\":{\"info\":", info),
    };
    put_push_open(out, channel);
    out.put(kind);
    put_info(out, info);
    out.put(b"}}}");
}

fn put_push_open(out: &mut impl Sink, channel: &str) {
    out.put(b"{\"push\":{\"channel\":");
    put_string(out, channel);
}

fn put_unsubscribe(out: &mut impl Sink, channel: &str, code: u32, reason: &str) {
    put_push_open(out, channel);
    out.put(b",\"unsubscribe\":{\"code\":");
    put_number(out, u64::from(code));
    out.put(b",\"reason\":");
    put_string(out, reason);
    out.put(b"}}}");
}

fn put_push_publication(out: &mut impl Sink, channel: &str, publication: &Publication<'_>) {
    put_push_open(out, channel);
    out.put(b",\"pub\":");
    put_publication(out, publication);
    out.put(b"}}");
}

fn put_publications(out: &mut impl Sink, publications: &[Publication<'_>]) {
    for (index, publication) in publications.iter().enumerate() {
        if index > 0 {
            out.put(&[PUBLICATION_SEPARATOR]);
        }
        put_publication(out, publication);
    }
}

fn put_publication(out: &mut impl Sink, publication: &Publication<'_>) {
    debug_assert!(!publication.data.is_empty(), "a payload is a JSON value");
    debug_assert!(!publication.data.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    out.put(b"{\"data\":");
    out.put(publication.data);
    if let Some(info) = &publication.info {
        out.put(b",\"info\":");
        put_info(out, info);
    }
    if publication.offset > 0 {
        out.put(b",\"offset\":");
        put_number(out, publication.offset);
    }
    out.put(b"}");
}

fn put_info(out: &mut impl Sink, info: &ClientInfo<'_>) {
    out.put(b"{\"user\":");
    put_string(out, &info.user);
    out.put(b",\"client\":");
    put_string(out, &info.client);
    out.put(b"}");
}

fn put_string(out: &mut impl Sink, text: &str) {
    let mut rest = text.as_bytes();
    out.put(b"\"");
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.put(plain);
        let Some((byte, after)) = special.split_first() else { break };
        put_escape(out, *byte);
        rest = after;
    }
    out.put(b"\"");
}

fn put_escape(out: &mut impl Sink, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.put(b"\\\""),
        b'\\' => out.put(b"\\\\"),
        b'\n' => out.put(b"\\n"),
        b'\r' => out.put(b"\\r"),
        b'\t' => out.put(b"\\t"),
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.put(b"\\u00");
            out.put(&digits);
        }
    }
}

fn put_number(out: &mut impl Sink, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put(&digits[at..]);
}
