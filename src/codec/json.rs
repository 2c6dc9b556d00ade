//! The JSON codec: reads the commands of a text message, and writes replies.
//!
//! Must not know connections or channels. Field names are those of Centrifugo's `client.proto`;
//! payloads (`data`) stay raw extents. Invariant: bytes are parsed once, only strings with escapes
//! are copied, and no input makes it panic or recurse.
//!
//! Where the grammar leaves a choice: unknown members of any type are ignored; `null` means absent,
//! except for `data`, where it is a value; if a member appears twice the last one counts; a lone
//! surrogate escape is kept inside `data` and becomes U+FFFD in a name.

use super::command::{Command, Connect, DecodeError, History, Method, Publish, Subscribe};
use super::json_fields::{asks, boolean, filter, members, signed, skip, string, tags, unsigned};
use super::scanner::Scanner;
use crate::limits::{CONNECT_SUBS, JSON_DEPTH};
use std::borrow::Cow;

pub use super::json_write::{
    MESSAGE_SEPARATOR, PUBLICATION_SEPARATOR, SUBSCRIBE_TAIL, publication_len,
    push_publication_len, reply_len, subscribe_head_len, write_info, write_publication,
    write_push_publication, write_reply, write_string, write_subscribe_head, write_subscribe_tail,
};

const _: () = assert!(JSON_DEPTH <= Scanner::MAX_LEVELS);

/// The commands of one message, in order, separated by newlines, other white space, or nothing,
/// because the end of an object is unambiguous. A command may span lines.
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    bytes: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Commands<'a> {
    /// Reads a message, or the `rest` of one.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut scanner = Scanner::new(bytes);
        scanner.skip_space();
        Commands { bytes, at: scanner.at(), failed: false }
    }

    /// Offset of the first unread byte: the start of a command, or the end of the message.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.at
    }

    fn read(&mut self) -> Result<Command<'a>, DecodeError> {
        let text = &self.bytes[self.at..];
        let mut scanner = Scanner::new(text);
        let command = command(&mut scanner)?;
        scanner.skip_space();
        self.at += scanner.at();
        Ok(command)
    }
}

/// After an error nothing more is read, and `rest` stays at the command that cannot be read.
impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.at == self.bytes.len() {
            return None;
        }
        let command = self.read();
        self.failed = command.is_err();
        Some(command)
    }
}

/// Levels open inside a command's method: the command and the method.
const METHOD_LEVELS: usize = 2;

fn command<'a>(scanner: &mut Scanner<'a>) -> Result<Command<'a>, DecodeError> {
    let mut id = 0;
    let mut attributes = false;
    let mut found: Option<(usize, Method<'a>)> = None;
    scanner.begin_object()?;
    let mut first = true;
    while let Some(name) = scanner.next_member(&mut first)? {
        if name == "id" {
            id = unsigned(scanner)?;
            continue;
        }
        if name == "attributes" {
            attributes = asks(scanner, 1)?;
            continue;
        }
        let Some(which) = METHODS.iter().position(|(method, _)| *method == name) else {
            skip(scanner, 1)?;
            continue;
        };
        let method = if scanner.null()? { None } else { Some((METHODS[which].1)(scanner)?) };
        match (&found, method) {
            (Some((other, _)), Some(_)) if *other != which => return Err(DecodeError::NoMethod),
            (Some((other, _)), None) if *other != which => {}
            (_, method) => found = method.map(|method| (which, method)),
        }
    }
    match found {
        Some((_, method)) => Ok(Command { id, method, attributes }),
        None if attributes => Ok(Command { id, method: Method::Attributes, attributes }),
        None if id == 0 => Ok(Command { id, method: Method::Pong, attributes }),
        None => Err(DecodeError::NoMethod),
    }
}

type Read = for<'a> fn(&mut Scanner<'a>) -> Result<Method<'a>, DecodeError>;

/// The commands, the most frequent ones first.
const METHODS: &[(&str, Read)] = &[
    ("publish", publish),
    ("rpc", rpc),
    ("subscribe", subscribe),
    ("send", send),
    ("connect", connect),
    ("unsubscribe", unsubscribe),
    ("presence", presence),
    ("presence_stats", presence_stats),
    ("history", history),
    ("ping", ping),
    ("refresh", refresh),
    ("sub_refresh", sub_refresh),
];

/// A payload: its extent, and whether it, or a member beside it, is over its bounds.
#[derive(Default)]
struct Data<'a> {
    bytes: &'a [u8],
    excessive: bool,
}

impl<'a> Data<'a> {
    fn read(&mut self, scanner: &mut Scanner<'a>) -> Result<(), DecodeError> {
        let extent = scanner.value(JSON_DEPTH)?;
        self.bytes = extent.bytes;
        self.excessive |= extent.too_deep;
        Ok(())
    }

    /// The method, unless something is over its bounds.
    fn unless_excessive(self, method: impl FnOnce(&'a [u8]) -> Method<'a>) -> Method<'a> {
        if self.excessive { Method::Excessive } else { method(self.bytes) }
    }
}

fn connect<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut connect = Connect::default();
    let mut data = Data::default();
    members(scanner, METHOD_LEVELS, |name, scanner| {
        match name {
            "token" => connect.token = string(scanner)?,
            "data" => data.read(scanner)?,
            "name" => connect.name = string(scanner)?,
            "version" => connect.version = string(scanner)?,
            "subs" => connect.subs = subs(scanner, &mut data.excessive)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if data.excessive {
        return Ok(Method::ExcessiveConnect);
    }
    Ok(Method::Connect(Box::new(Connect { data: data.bytes, ..connect })))
}

/// Positions of server-side subscriptions: an object of subscribe requests by channel.
fn subs<'a>(
    scanner: &mut Scanner<'a>,
    excessive: &mut bool,
) -> Result<Vec<Subscribe<'a>>, DecodeError> {
    let mut subs: Vec<Subscribe<'a>> = Vec::new();
    if scanner.null()? {
        return Ok(subs);
    }
    scanner.begin_object()?;
    let mut first = true;
    while let Some(channel) = scanner.next_member(&mut first)? {
        let mut data = Data::default();
        let read = subscribe_fields(scanner, METHOD_LEVELS + 2, &mut data)?;
        *excessive |= data.excessive || subs.len() == CONNECT_SUBS;
        if subs.len() < CONNECT_SUBS {
            subs.push(Subscribe { channel, ..read });
        }
    }
    Ok(subs)
}

fn subscribe<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut data = Data::default();
    let subscribe = subscribe_fields(scanner, METHOD_LEVELS, &mut data)?;
    Ok(data.unless_excessive(|data| Method::Subscribe(Box::new(Subscribe { data, ..subscribe }))))
}

fn subscribe_fields<'a>(
    scanner: &mut Scanner<'a>,
    levels: usize,
    data: &mut Data<'a>,
) -> Result<Subscribe<'a>, DecodeError> {
    let mut subscribe = Subscribe::default();
    members(scanner, levels, |name, scanner| {
        match name {
            "channel" => subscribe.channel = string(scanner)?,
            "token" => subscribe.token = string(scanner)?,
            "recover" => subscribe.recover = boolean(scanner)?,
            "epoch" => subscribe.epoch = string(scanner)?,
            "offset" => subscribe.offset = unsigned(scanner)?,
            "positioned" => subscribe.positioned = boolean(scanner)?,
            "recoverable" => subscribe.recoverable = boolean(scanner)?,
            "join_leave" => subscribe.join_leave = boolean(scanner)?,
            "delta" => subscribe.delta = string(scanner)?,
            "tf" => subscribe.filter = filter(scanner, levels, &mut data.excessive)?,
            "type" => subscribe.kind = signed(scanner)?,
            "flag" => subscribe.flag = signed(scanner)?,
            "data" => data.read(scanner)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(subscribe)
}

fn publish<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut publish = Publish::default();
    let mut data = Data::default();
    members(scanner, METHOD_LEVELS, |name, scanner| {
        match name {
            "channel" => publish.channel = string(scanner)?,
            "data" => data.read(scanner)?,
            "tags" => publish.tags = tags(scanner, &mut data.excessive)?,
            "exclude_self" => publish.exclude_self = boolean(scanner)?,
            "idempotency_key" => publish.idempotency_key = string(scanner)?,
            "type" | "key" | "removed" | "prio" | "ttl_ms" | "audience" | "users" | "drop" => {
                publish.asks_more |= asks(scanner, METHOD_LEVELS)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(data.unless_excessive(|data| Method::Publish(Publish { data, ..publish })))
}

fn rpc<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut method = Cow::default();
    let mut data = Data::default();
    members(scanner, METHOD_LEVELS, |name, scanner| {
        match name {
            "method" => method = string(scanner)?,
            "data" => data.read(scanner)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(data.unless_excessive(|data| Method::Rpc { method, data }))
}

fn send<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut data = Data::default();
    members(scanner, METHOD_LEVELS, |name, scanner| {
        if name == "data" {
            data.read(scanner)?;
        }
        Ok(name == "data")
    })?;
    Ok(data.unless_excessive(|data| Method::Send { data }))
}

fn history<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut history = History::default();
    members(scanner, METHOD_LEVELS, |name, scanner| {
        match name {
            "channel" => history.channel = string(scanner)?,
            "limit" => history.limit = signed(scanner)?,
            "since" => history.since = position(scanner)?,
            "reverse" => history.reverse = boolean(scanner)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Method::History(history))
}

fn position<'a>(scanner: &mut Scanner<'a>) -> Result<Option<(u64, Cow<'a, str>)>, DecodeError> {
    if scanner.null()? {
        return Ok(None);
    }
    let mut offset = 0;
    let mut epoch = Cow::default();
    members(scanner, METHOD_LEVELS + 1, |name, scanner| {
        match name {
            "offset" => offset = unsigned(scanner)?,
            "epoch" => epoch = string(scanner)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Some((offset, epoch)))
}

fn sub_refresh<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    let mut channel = Cow::default();
    let mut token = Cow::default();
    let mut asks_more = false;
    members(scanner, METHOD_LEVELS, |name, scanner| {
        match name {
            "channel" => channel = string(scanner)?,
            "token" => token = string(scanner)?,
            "type" | "track" | "untrack" => asks_more |= asks(scanner, METHOD_LEVELS)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Method::SubRefresh { channel, token, asks_more })
}

/// Reads a method with a single string.
fn one_string<'a>(scanner: &mut Scanner<'a>, wanted: &str) -> Result<Cow<'a, str>, DecodeError> {
    let mut text = Cow::default();
    members(scanner, METHOD_LEVELS, |name, scanner| {
        if name == wanted {
            text = string(scanner)?;
        }
        Ok(name == wanted)
    })?;
    Ok(text)
}

fn unsubscribe<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    Ok(Method::Unsubscribe { channel: one_string(scanner, "channel")? })
}

fn presence<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    Ok(Method::Presence { channel: one_string(scanner, "channel")? })
}

fn presence_stats<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    Ok(Method::PresenceStats { channel: one_string(scanner, "channel")? })
}

fn refresh<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    Ok(Method::Refresh { token: one_string(scanner, "token")? })
}

fn ping<'a>(scanner: &mut Scanner<'a>) -> Result<Method<'a>, DecodeError> {
    members(scanner, METHOD_LEVELS, |_, _| Ok(false))?;
    Ok(Method::Ping)
}
