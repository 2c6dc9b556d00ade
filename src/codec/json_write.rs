//! Writes replies as JSON in the way Centrifugo does, which leaves some empty fields out.
//!
//! Must not know connections. Invariants: what is appended is one object without a raw newline;
//! only the growth of the output allocates; each `*_len` is exact, because the same code counts.

use super::command::{
    ClientInfo, ConnectResult, ErrorCode, Expiry, HistoryResult, Named, Payload, Publication, Push,
    PushSubscribe, RefreshResult, Reply, SubscribeResult, Tags,
};
use super::json_sink::{Fields, put_base64, put_number, put_string};
use super::sink::{Sink, count};

/// Separates two messages of one frame.
pub const MESSAGE_SEPARATOR: u8 = b'\n';
/// Separates two publications of a subscribe reply.
pub const PUBLICATION_SEPARATOR: u8 = b',';
/// Ends a subscribe reply that began with `write_subscribe_head`.
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

/// Appends a publication in the form of pushes, subscribe and history replies.
pub fn write_publication(out: &mut Vec<u8>, publication: &Publication<'_>) {
    put_publication(out, publication);
}

/// Bytes that `write_publication` appends.
#[must_use]
pub fn publication_len(publication: &Publication<'_>) -> usize {
    count(|out| put_publication(out, publication))
}

/// Appends a client in the form of presence.
pub fn write_info(out: &mut Vec<u8>, info: &ClientInfo<'_>) {
    put_info(out, info);
}

/// Appends a string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    put_string(out, text);
}

/// Appends the push of a publication.
pub fn write_push_publication(
    out: &mut Vec<u8>,
    channel: Named<'_>,
    publication: &Publication<'_>,
) {
    put_push_publication(out, channel, publication);
}

/// Bytes that `write_push_publication` appends.
#[must_use]
pub fn push_publication_len(channel: Named<'_>, publication: &Publication<'_>) -> usize {
    count(|out| put_push_publication(out, channel, publication))
}

/// Appends the start of a subscribe reply, up to its first publication. `result.publications` is
/// not read: the caller appends publications with `PUBLICATION_SEPARATOR` between them, then the
/// tail. They come last in the reply, so that the tail is always the same.
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
        Reply::Refresh { id, result } => put_refresh(out, *id, result),
        Reply::SubRefresh { id, expiry } => {
            put_open(out, *id, b"sub_refresh");
            put_expiry(&mut Fields::new(out), *expiry);
            out.put(b"}}");
        }
        Reply::Push { channel, push } => put_push(out, Named::Name(channel), push),
        Reply::NumberedPush { number, push } => put_push(out, Named::Number(*number), push),
        Reply::ServerPing => out.put(b"{}"),
    }
}

/// Opens a reply and its result: the caller closes both objects.
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
    let mut fields = Fields::new(out);
    fields.string(b"client", result.client);
    fields.string(b"version", result.version);
    put_expiry(&mut fields, result.expiry);
    fields.raw(b"data", result.data);
    if !result.subs.is_empty() {
        put_subs(fields.next(b"subs"), result.subs);
    }
    fields.number(b"ping", u64::from(result.ping_s));
    fields.flag(b"pong", result.pong);
    fields.string(b"session", result.session);
    fields.string(b"node", result.node);
    out.put(b"}}");
}

fn put_subs(out: &mut impl Sink, subs: &[(&str, SubscribeResult<'_>)]) {
    for (index, (channel, result)) in subs.iter().enumerate() {
        out.put(if index > 0 { b"," } else { b"{" });
        put_string(out, channel);
        out.put(b":{");
        let any = put_subscribe_fields(out, result);
        if !result.publications.is_empty() {
            out.put(if any { b",\"publications\":[" } else { b"\"publications\":[" });
            put_publications(out, result.publications);
            out.put(b"]");
        }
        out.put(b"}");
    }
    out.put(b"}");
}

fn put_expiry<S: Sink>(fields: &mut Fields<'_, S>, expiry: Expiry) {
    fields.flag(b"expires", expiry.expires);
    fields.number(b"ttl", u64::from(expiry.ttl_s));
}

fn put_refresh(out: &mut impl Sink, id: u32, result: &RefreshResult<'_>) {
    put_open(out, id, b"refresh");
    let mut fields = Fields::new(out);
    fields.string(b"client", result.client);
    fields.string(b"version", result.version);
    put_expiry(&mut fields, result.expiry);
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

/// Writes the fields other than the publications; true if there was one.
fn put_subscribe_fields(out: &mut impl Sink, result: &SubscribeResult<'_>) -> bool {
    let mut fields = Fields::new(out);
    put_expiry(&mut fields, result.expiry);
    fields.flag(b"recoverable", result.recoverable);
    fields.string(b"epoch", result.epoch);
    fields.flag(b"recovered", result.recovered);
    fields.number(b"offset", result.offset);
    fields.flag(b"positioned", result.positioned);
    fields.raw(b"data", result.data);
    fields.flag(b"was_recovering", result.was_recovering);
    fields.flag(b"delta", result.delta);
    fields.number(b"id", u64::from(result.number));
    fields.number(b"publish_debounce", u64::from(result.debounce_ms));
    fields.any
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

/// Raw newlines of the answer become spaces, because a newline separates messages.
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

fn put_push(out: &mut impl Sink, channel: Named<'_>, push: &Push<'_>) {
    if let Push::Publication(publication) = push {
        return put_push_publication(out, channel, publication);
    }
    out.put(b"{\"push\":{");
    let mut fields = Fields::new(out);
    match channel {
        Named::Name(name) => fields.string(b"channel", name),
        Named::Number(number) => fields.number(b"id", u64::from(number)),
    }
    match push {
        Push::Publication(_) => unreachable!("written above"),
        Push::Join(info) => put_member(fields.next(b"join"), info),
        Push::Leave(info) => put_member(fields.next(b"leave"), info),
        Push::Unsubscribe { code, reason } => {
            put_end(fields.next(b"unsubscribe"), *code, reason, false);
        }
        Push::Disconnect { code, reason, reconnect } => {
            put_end(fields.next(b"disconnect"), *code, reason, *reconnect);
        }
        Push::Subscribe(begun) => put_push_subscribe(fields.next(b"subscribe"), begun),
        Push::Message { data } => {
            let out = fields.next(b"message");
            out.put(b"{");
            Fields::new(out).raw(b"data", data);
            out.put(b"}");
        }
        Push::Refresh(expiry) => {
            let out = fields.next(b"refresh");
            out.put(b"{");
            put_expiry(&mut Fields::new(out), *expiry);
            out.put(b"}");
        }
    }
    out.put(b"}}");
}

fn put_member(out: &mut impl Sink, info: &ClientInfo<'_>) {
    out.put(b"{\"info\":");
    put_info(out, info);
    out.put(b"}");
}

fn put_end(out: &mut impl Sink, code: u32, reason: &str, reconnect: bool) {
    out.put(b"{");
    let mut fields = Fields::new(out);
    put_number(fields.next(b"code"), u64::from(code));
    put_string(fields.next(b"reason"), reason);
    fields.flag(b"reconnect", reconnect);
    out.put(b"}");
}

fn put_push_subscribe(out: &mut impl Sink, begun: &PushSubscribe<'_>) {
    out.put(b"{");
    let mut fields = Fields::new(out);
    fields.flag(b"recoverable", begun.recoverable);
    fields.string(b"epoch", begun.epoch);
    fields.number(b"offset", begun.offset);
    fields.flag(b"positioned", begun.positioned);
    fields.raw(b"data", begun.data);
    out.put(b"}");
}

fn put_push_publication(out: &mut impl Sink, channel: Named<'_>, publication: &Publication<'_>) {
    match channel {
        Named::Name(name) => {
            out.put(b"{\"push\":{\"channel\":");
            put_string(out, name);
        }
        Named::Number(number) => {
            out.put(b"{\"push\":{\"id\":");
            put_number(out, u64::from(number));
        }
    }
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
    out.put(b"{\"data\":");
    match publication.payload {
        // The text was checked when this form was chosen; nothing else is sent this way.
        _ if publication.verbatim => {
            put_string(out, std::str::from_utf8(publication.data).unwrap_or_default());
        }
        Payload::Json => put_value(out, publication.data),
        Payload::Binary => put_base64(out, publication.data),
    }
    if let Some(info) = &publication.info {
        out.put(b",\"info\":");
        put_info(out, info);
    }
    if publication.offset > 0 {
        out.put(b",\"offset\":");
        put_number(out, publication.offset);
    }
    if !publication.tags.is_empty() {
        out.put(b",\"tags\":");
        put_tags(out, publication.tags);
    }
    if publication.delta {
        out.put(b",\"delta\":true");
    }
    if publication.time_ms > 0 {
        out.put(b",\"time\":");
        put_number(out, publication.time_ms);
    }
    out.put(b"}");
}

/// A JSON value, unchanged.
fn put_value(out: &mut impl Sink, value: &[u8]) {
    debug_assert!(!value.is_empty(), "a payload is a JSON value");
    debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    out.put(value);
}

fn put_tags(out: &mut impl Sink, tags: Tags<'_>) {
    for (index, (name, value)) in tags.iter().enumerate() {
        out.put(if index > 0 { b"," } else { b"{" });
        put_string(out, name);
        out.put(b":");
        put_string(out, value);
    }
    out.put(b"}");
}

fn put_info(out: &mut impl Sink, info: &ClientInfo<'_>) {
    out.put(b"{\"user\":");
    put_string(out, &info.user);
    out.put(b",\"client\":");
    put_string(out, &info.client);
    if !info.conn_info.is_empty() {
        out.put(b",\"conn_info\":");
        out.put(&info.conn_info);
    }
    if !info.chan_info.is_empty() {
        out.put(b",\"chan_info\":");
        out.put(&info.chan_info);
    }
    out.put(b"}");
}
