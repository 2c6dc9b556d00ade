//! The fields of commands, by number: the part that the two binary codecs share.
//!
//! Must not know how a field is encoded. Numbers are those of `client.proto` of Centrifugo's
//! protocol; from 1000 on they are Corecast's own. Invariants: recursion ends at `FILTER_DEPTH`,
//! and nothing that is over a bound is kept. If a field appears twice the last one counts.

use super::command::{
    Command, Connect, DecodeError, FilterNode, History, Method, Publish, Subscribe, Tag,
};
use crate::limits::{CONNECT_SUBS, FILTER_DEPTH, FILTER_NODES, TAGS_PER_PUBLICATION};
use std::borrow::Cow;

/// Names of a message's fields, for codecs that accept names as well as numbers.
pub(super) type Names = &'static [(&'static str, u32)];

/// A payload, and whether it, or a field beside it, is over its bounds.
#[derive(Default)]
pub(super) struct Data<'a> {
    pub bytes: &'a [u8],
    pub excessive: bool,
}

impl<'a> Data<'a> {
    fn read(&mut self, source: &mut impl Source<'a>) -> Result<(), DecodeError> {
        let data = source.data()?;
        self.bytes = data.bytes;
        self.excessive |= data.excessive;
        Ok(())
    }

    /// The method, unless something is over its bounds.
    fn unless_excessive(self, method: impl FnOnce(&'a [u8]) -> Method<'a>) -> Method<'a> {
        if self.excessive { Method::Excessive } else { method(self.bytes) }
    }
}

/// Yields the fields of a message one by one. After `next` the field's value is read by the method
/// for its type, or skipped.
pub(super) trait Source<'a>: Sized {
    /// The next field's number, 0 for an unknown one; `None` at the message's end.
    fn next(&mut self, names: Names) -> Result<Option<u32>, DecodeError>;
    fn skip(&mut self) -> Result<(), DecodeError>;
    /// Skips a value; true unless it is empty, and so asks for nothing.
    fn asks(&mut self) -> Result<bool, DecodeError>;
    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError>;
    fn unsigned(&mut self) -> Result<u64, DecodeError>;
    fn signed(&mut self) -> Result<i64, DecodeError>;
    fn flag(&mut self) -> Result<bool, DecodeError>;
    /// A payload, as it was sent.
    fn data(&mut self) -> Result<Data<'a>, DecodeError>;
    /// A message; `None` if it is explicitly absent.
    fn message<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError>;
    /// The elements of a repeated field; may be called once for each element.
    fn each(
        &mut self,
        read: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError>;
    /// Names and values of a map; may be called once for each entry.
    fn entries(
        &mut self,
        read: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError>;
}

/// Reads a message's fields; those that `field` does not know are skipped.
fn fields<'a, S: Source<'a>>(
    source: &mut S,
    names: Names,
    mut field: impl FnMut(u32, &mut S) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    while let Some(number) = source.next(names)? {
        if !field(number, source)? {
            source.skip()?;
        }
    }
    Ok(())
}

const COMMAND: Names = &[
    ("id", 1),
    ("connect", 4),
    ("subscribe", 5),
    ("unsubscribe", 6),
    ("publish", 7),
    ("presence", 8),
    ("presence_stats", 9),
    ("history", 10),
    ("ping", 11),
    ("send", 12),
    ("rpc", 13),
    ("refresh", 14),
    ("sub_refresh", 15),
    ("attributes", 1000),
];

/// Reads one command.
pub(super) fn command<'a, S: Source<'a>>(source: &mut S) -> Result<Command<'a>, DecodeError> {
    let mut id = 0;
    let mut attributes = false;
    let mut found: Option<(u32, Method<'a>)> = None;
    fields(source, COMMAND, |field, source| {
        match field {
            1 => id = u32::try_from(source.unsigned()?).map_err(|_| DecodeError::WrongType)?,
            1000 => attributes = source.asks()?,
            4..=15 => {
                let method = source.message(|source| method(field, source))?;
                match (&found, method) {
                    (Some((other, _)), Some(_)) if *other != field => {
                        return Err(DecodeError::NoMethod);
                    }
                    (Some((other, _)), None) if *other != field => {}
                    (_, method) => found = method.map(|method| (field, method)),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    match found {
        Some((_, method)) => Ok(Command { id, method, attributes }),
        None if attributes => Ok(Command { id, method: Method::Attributes, attributes }),
        None if id == 0 => Ok(Command { id, method: Method::Pong, attributes }),
        None => Err(DecodeError::NoMethod),
    }
}

fn method<'a, S: Source<'a>>(field: u32, source: &mut S) -> Result<Method<'a>, DecodeError> {
    match field {
        4 => connect(source),
        5 => subscribe(source),
        6 => Ok(Method::Unsubscribe { channel: one_text(source, CHANNEL)? }),
        7 => publish(source),
        8 => Ok(Method::Presence { channel: one_text(source, CHANNEL)? }),
        9 => Ok(Method::PresenceStats { channel: one_text(source, CHANNEL)? }),
        10 => history(source),
        11 => fields(source, &[], |_, _| Ok(false)).map(|()| Method::Ping),
        12 => send(source),
        13 => rpc(source),
        14 => Ok(Method::Refresh { token: one_text(source, TOKEN)? }),
        _ => sub_refresh(source),
    }
}

const CHANNEL: Names = &[("channel", 1)];
const TOKEN: Names = &[("token", 1)];

fn one_text<'a, S: Source<'a>>(source: &mut S, names: Names) -> Result<Cow<'a, str>, DecodeError> {
    let mut text = Cow::default();
    fields(source, names, |field, source| {
        if field == 1 {
            text = source.text()?;
        }
        Ok(field == 1)
    })?;
    Ok(text)
}

fn connect<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    const NAMES: Names = &[("token", 1), ("data", 2), ("subs", 3), ("name", 4), ("version", 5)];
    let mut connect = Connect::default();
    let mut data = Data::default();
    fields(source, NAMES, |field, source| {
        match field {
            1 => connect.token = source.text()?,
            2 => data.read(source)?,
            3 => subs(source, &mut connect.subs, &mut data.excessive)?,
            4 => connect.name = source.text()?,
            5 => connect.version = source.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if data.excessive {
        return Ok(Method::ExcessiveConnect);
    }
    Ok(Method::Connect(Box::new(Connect { data: data.bytes, ..connect })))
}

/// Positions of server-side subscriptions: subscribe requests by channel.
fn subs<'a, S: Source<'a>>(
    source: &mut S,
    subs: &mut Vec<Subscribe<'a>>,
    excessive: &mut bool,
) -> Result<(), DecodeError> {
    source.entries(|channel, source| {
        let mut data = Data::default();
        let read = source.message(|source| subscribe_fields(source, &mut data))?;
        *excessive |= data.excessive || subs.len() == CONNECT_SUBS;
        if subs.len() < CONNECT_SUBS {
            subs.push(Subscribe { channel, ..read.unwrap_or_default() });
        }
        Ok(())
    })
}

fn subscribe<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    let mut data = Data::default();
    let subscribe = subscribe_fields(source, &mut data)?;
    Ok(data.unless_excessive(|data| Method::Subscribe(Box::new(Subscribe { data, ..subscribe }))))
}

fn subscribe_fields<'a, S: Source<'a>>(
    source: &mut S,
    data: &mut Data<'a>,
) -> Result<Subscribe<'a>, DecodeError> {
    const NAMES: Names = &[
        ("channel", 1),
        ("token", 2),
        ("recover", 3),
        ("epoch", 6),
        ("offset", 7),
        ("data", 8),
        ("positioned", 9),
        ("recoverable", 10),
        ("join_leave", 11),
        ("delta", 12),
        ("tf", 13),
        ("flag", 14),
        ("type", 15),
    ];
    let mut subscribe = Subscribe::default();
    fields(source, NAMES, |field, source| {
        match field {
            1 => subscribe.channel = source.text()?,
            2 => subscribe.token = source.text()?,
            3 => subscribe.recover = source.flag()?,
            6 => subscribe.epoch = source.text()?,
            7 => subscribe.offset = source.unsigned()?,
            8 => data.read(source)?,
            9 => subscribe.positioned = source.flag()?,
            10 => subscribe.recoverable = source.flag()?,
            11 => subscribe.join_leave = source.flag()?,
            12 => subscribe.delta = source.text()?,
            13 => subscribe.filter = filter(source, &mut data.excessive)?,
            14 => subscribe.flag = source.signed()?,
            15 => subscribe.kind = source.signed()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(subscribe)
}

fn publish<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    const NAMES: Names = &[
        ("channel", 1),
        ("data", 2),
        ("type", 3),
        ("key", 4),
        ("removed", 5),
        ("tags", 1000),
        ("prio", 1001),
        ("ttl_ms", 1002),
        ("exclude_self", 1003),
        ("audience", 1004),
        ("idempotency_key", 1005),
        ("users", 1006),
        ("drop", 1007),
    ];
    let mut publish = Publish::default();
    let mut data = Data::default();
    fields(source, NAMES, |field, source| {
        match field {
            1 => publish.channel = source.text()?,
            2 => data.read(source)?,
            1000 => tags(source, &mut publish.tags, &mut data.excessive)?,
            1003 => publish.exclude_self = source.flag()?,
            1005 => publish.idempotency_key = source.text()?,
            3..=5 | 1001 | 1002 | 1004 | 1006 | 1007 => publish.asks_more |= source.asks()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(data.unless_excessive(|data| Method::Publish(Publish { data, ..publish })))
}

fn tags<'a, S: Source<'a>>(
    source: &mut S,
    tags: &mut Vec<Tag<'a>>,
    excessive: &mut bool,
) -> Result<(), DecodeError> {
    source.entries(|name, source| {
        let value = source.text()?;
        *excessive |= tags.len() == TAGS_PER_PUBLICATION;
        if tags.len() < TAGS_PER_PUBLICATION {
            tags.push((name, value));
        }
        Ok(())
    })
}

fn rpc<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    let mut method = Cow::default();
    let mut data = Data::default();
    fields(source, &[("data", 1), ("method", 2)], |field, source| {
        match field {
            1 => data.read(source)?,
            2 => method = source.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(data.unless_excessive(|data| Method::Rpc { method, data }))
}

fn send<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    let mut data = Data::default();
    fields(source, &[("data", 1)], |field, source| {
        if field == 1 {
            data.read(source)?;
        }
        Ok(field == 1)
    })?;
    Ok(data.unless_excessive(|data| Method::Send { data }))
}

fn history<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    const NAMES: Names = &[("channel", 1), ("limit", 7), ("since", 8), ("reverse", 9)];
    let mut history = History::default();
    fields(source, NAMES, |field, source| {
        match field {
            1 => history.channel = source.text()?,
            7 => {
                let limit = source.signed()?;
                history.limit = i32::try_from(limit).map_err(|_| DecodeError::WrongType)?;
            }
            8 => history.since = source.message(position)?,
            9 => history.reverse = source.flag()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Method::History(history))
}

fn position<'a, S: Source<'a>>(source: &mut S) -> Result<(u64, Cow<'a, str>), DecodeError> {
    let (mut offset, mut epoch) = (0, Cow::default());
    fields(source, &[("offset", 1), ("epoch", 2)], |field, source| {
        match field {
            1 => offset = source.unsigned()?,
            2 => epoch = source.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((offset, epoch))
}

fn sub_refresh<'a, S: Source<'a>>(source: &mut S) -> Result<Method<'a>, DecodeError> {
    const NAMES: Names = &[("channel", 1), ("token", 2), ("type", 3), ("track", 4), ("untrack", 5)];
    let (mut channel, mut token, mut asks_more) = (Cow::default(), Cow::default(), false);
    fields(source, NAMES, |field, source| {
        match field {
            1 => channel = source.text()?,
            2 => token = source.text()?,
            3..=5 => asks_more |= source.asks()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Method::SubRefresh { channel, token, asks_more })
}

/// A filter over tags.
fn filter<'a, S: Source<'a>>(
    source: &mut S,
    excessive: &mut bool,
) -> Result<Option<FilterNode<'a>>, DecodeError> {
    let mut left = FILTER_NODES;
    let node = filter_node(source, FILTER_DEPTH, &mut left)?;
    *excessive |= matches!(node, Some(None));
    Ok(node.flatten())
}

/// A node with at most `depth` levels and `left` nodes and values: `Some(None)` if it has more,
/// `None` if it is absent.
fn filter_node<'a, S: Source<'a>>(
    source: &mut S,
    depth: usize,
    left: &mut usize,
) -> Result<Option<Option<FilterNode<'a>>>, DecodeError> {
    const NAMES: Names =
        &[("op", 1), ("key", 2), ("cmp", 3), ("val", 4), ("vals", 5), ("nodes", 6)];
    if depth == 0 || *left == 0 {
        source.skip()?;
        return Ok(Some(None));
    }
    *left -= 1;
    source.message(|source| {
        let mut node = FilterNode::default();
        let mut whole = true;
        fields(source, NAMES, |field, source| {
            match field {
                1 => node.op = source.text()?,
                2 => node.key = source.text()?,
                3 => node.cmp = source.text()?,
                4 => node.val = source.text()?,
                5 => source.each(|source| {
                    let value = source.text()?;
                    whole &= *left > 0;
                    if whole {
                        *left -= 1;
                        node.vals.push(value);
                    }
                    Ok(())
                })?,
                6 => source.each(|source| {
                    let child = filter_node(source, depth - 1, left)?;
                    whole &= !matches!(child, Some(None));
                    node.nodes.extend(child.flatten());
                    Ok(())
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(whole.then_some(node))
    })
}
