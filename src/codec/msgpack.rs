//! The MessagePack codec: messages are maps whose keys are Protobuf's field numbers; names are
//! accepted as keys too. Messages of a batch follow each other.
//!
//! Must not know what fields mean: `command_fields` and `reply_fields` do. Keys are written and
//! read by hand, because derived readers take integer keys for positions. Invariants: nothing is
//! copied from the input; no input makes it panic, and only filters recurse.

use super::command::{Command, DecodeError, Named, Publication, Reply, SubscribeResult, Tags};
use super::command_fields::{self, Data, Names, Source};
use super::json_to_msgpack;
use super::msgpack_read::{Item, item, value};
use super::reply_fields::{Message, PUBLICATIONS, PublicationPush, SUBSCRIBE, Wire};
use super::sink::{Sink, count};
use crate::limits::JSON_DEPTH;
use crate::namespace::Payload;
use rmp::encode;
use std::borrow::Cow;

/// The commands of one message, in order.
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
        Commands { bytes, at: 0, failed: false }
    }

    /// Offset of the first unread byte: the start of a command, or the end of the message.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.at
    }

    fn read(&mut self) -> Result<Command<'a>, DecodeError> {
        let mut source = Reader { rest: &self.bytes[self.at..], left: 0 };
        let command = source.message(command_fields::command)?.ok_or(DecodeError::WrongType)?;
        self.at = self.bytes.len() - source.rest.len();
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

/// The unread bytes, and how many pairs are left of the map that is being read.
struct Reader<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Reader<'a> {
    fn item(&mut self) -> Result<Item<'a>, DecodeError> {
        item(&mut self.rest)
    }

    /// Reads a map, if there is one.
    fn map(&mut self) -> Result<Option<u32>, DecodeError> {
        match self.item()? {
            Item::Nil => Ok(None),
            Item::Map(pairs) => Ok(Some(pairs)),
            _ => Err(DecodeError::WrongType),
        }
    }
}

/// An unknown field.
const UNKNOWN: u32 = 0;

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Malformed)
}

/// A field by its name, or by its number as text, which is how some clients write integer keys.
fn named(name: &[u8], names: Names) -> u32 {
    let Ok(name) = std::str::from_utf8(name) else { return UNKNOWN };
    let known = names.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
    known.or_else(|| name.parse().ok()).unwrap_or(UNKNOWN)
}

impl<'a> Source<'a> for Reader<'a> {
    fn next(&mut self, names: Names) -> Result<Option<u32>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        Ok(Some(match self.item()? {
            Item::Unsigned(field) => u32::try_from(field).unwrap_or(UNKNOWN),
            Item::Text(name) => named(name, names),
            Item::Array(_) | Item::Map(_) => return Err(DecodeError::WrongType),
            Item::Nil
            | Item::Bool(_)
            | Item::Negative(_)
            | Item::Float(_)
            | Item::Bytes(_)
            | Item::Extension => UNKNOWN,
        }))
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        value(&mut self.rest, 0).map(|_| ())
    }

    fn asks(&mut self) -> Result<bool, DecodeError> {
        let extent = value(&mut self.rest, 0)?;
        let empty = [Item::Nil, Item::Bool(false), Item::Unsigned(0), Item::Text(b"")];
        let first = item(&mut { extent.bytes })?;
        Ok(!empty.contains(&first) && !matches!(first, Item::Array(0) | Item::Map(0)))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        match self.item()? {
            Item::Nil => Ok(Cow::Borrowed("")),
            Item::Text(bytes) => text(bytes).map(Cow::Borrowed),
            _ => Err(DecodeError::WrongType),
        }
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        match self.item()? {
            Item::Nil => Ok(0),
            Item::Unsigned(value) => Ok(value),
            // JavaScript has no integers above 32 bits, so clients write them as floats.
            Item::Float(value) if value >= 0.0 && is_whole(value) => Ok(value as u64),
            _ => Err(DecodeError::WrongType),
        }
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        match self.item()? {
            Item::Nil => Ok(0),
            Item::Negative(value) => Ok(value),
            Item::Unsigned(value) => i64::try_from(value).map_err(|_| DecodeError::WrongType),
            Item::Float(value) if is_whole(value) => Ok(value as i64),
            _ => Err(DecodeError::WrongType),
        }
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.item()? {
            Item::Nil => Ok(false),
            Item::Bool(value) => Ok(value),
            _ => Err(DecodeError::WrongType),
        }
    }

    fn data(&mut self) -> Result<Data<'a>, DecodeError> {
        let extent = value(&mut self.rest, JSON_DEPTH)?;
        Ok(Data { bytes: extent.bytes, excessive: extent.too_deep })
    }

    fn message<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        let Some(pairs) = self.map()? else { return Ok(None) };
        let outer = std::mem::replace(&mut self.left, pairs);
        let message = read(self)?;
        self.left = outer;
        Ok(Some(message))
    }

    fn each(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let length = match self.item()? {
            Item::Nil => 0,
            Item::Array(length) => length,
            _ => return Err(DecodeError::WrongType),
        };
        (0..length).try_for_each(|_| read(self))
    }

    fn entries(
        &mut self,
        mut read: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.map()?.unwrap_or(0) {
            let Item::Text(key) = self.item()? else { return Err(DecodeError::WrongType) };
            read(Cow::Borrowed(text(key)?), self)?;
        }
        Ok(())
    }
}

/// Is it an integer in the range in which doubles represent every integer?
fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0
}

/// Appends one reply or push.
pub fn write_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    put(out, reply);
}

/// Bytes that `write_reply` appends.
#[must_use]
pub fn reply_len(reply: &Reply<'_>) -> usize {
    count(|out| put(out, reply))
}

/// Appends the push of a publication.
pub fn write_push_publication(
    out: &mut Vec<u8>,
    channel: Named<'_>,
    publication: &Publication<'_>,
) {
    put(out, &PublicationPush { channel, publication });
}

/// Appends a publication in the form of a subscribe reply.
pub fn write_publication(out: &mut Vec<u8>, publication: &Publication<'_>) {
    put(out, publication);
}

/// Bytes that `write_publication` appends.
#[must_use]
pub fn publication_len(publication: &Publication<'_>) -> usize {
    count(|out| put(out, publication))
}

/// Appends the start of a subscribe reply with this many publications. `result.publications` is not
/// read; the caller appends them, and nothing follows them.
pub fn write_subscribe_head(
    out: &mut Vec<u8>,
    id: u32,
    result: &SubscribeResult<'_>,
    publications: usize,
) {
    put_subscribe_head(out, id, result, publications);
}

/// Bytes that `write_subscribe_head` appends.
#[must_use]
pub fn subscribe_head_len(id: u32, result: &SubscribeResult<'_>, publications: usize) -> usize {
    count(|out| put_subscribe_head(out, id, result, publications))
}

fn put_subscribe_head(
    out: &mut impl Sink,
    id: u32,
    result: &SubscribeResult<'_>,
    publications: usize,
) {
    let result = SubscribeResult { publications: &[], ..result.clone() };
    put_map(out, 1 + usize::from(id > 0));
    Writer(out).number(1, u64::from(id));
    put_unsigned(out, u64::from(SUBSCRIBE));
    put_map(out, fields_of(&result) + 1);
    result.put(&mut Writer(out));
    put_unsigned(out, u64::from(PUBLICATIONS));
    put_array(out, publications);
}

fn put(out: &mut impl Sink, message: &impl Message) {
    put_map(out, fields_of(message));
    message.put(&mut Writer(out));
}

/// The number of fields that a message will be written with.
fn fields_of(message: &impl Message) -> usize {
    let mut fields = Fields(0);
    message.put(&mut fields);
    fields.0
}

/// Why writing cannot fail.
const TAKES_ALL: &str = "memory takes all that is put";

fn put_map(out: &mut impl Sink, length: usize) {
    let length = u32::try_from(length).expect("what we write is bounded");
    encode::write_map_len(out, length).expect(TAKES_ALL);
}

fn put_array(out: &mut impl Sink, length: usize) {
    let length = u32::try_from(length).expect("what we write is bounded");
    encode::write_array_len(out, length).expect(TAKES_ALL);
}

fn put_unsigned(out: &mut impl Sink, value: u64) {
    encode::write_uint(out, value).expect(TAKES_ALL);
}

struct Writer<'a, S>(&'a mut S);

impl<S: Sink> Writer<'_, S> {
    fn key(&mut self, field: u32) -> &mut S {
        put_unsigned(self.0, u64::from(field));
        self.0
    }
}

impl<S: Sink> Wire for Writer<'_, S> {
    fn number(&mut self, field: u32, value: u64) {
        if value > 0 {
            put_unsigned(self.key(field), value);
        }
    }

    fn flag(&mut self, field: u32, value: bool) {
        if value {
            encode::write_bool(self.key(field), true).expect(TAKES_ALL);
        }
    }

    fn text(&mut self, field: u32, value: &str) {
        if !value.is_empty() {
            encode::write_str(self.key(field), value).expect(TAKES_ALL);
        }
    }

    fn raw(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.key(field).put(value);
        }
    }

    fn value(&mut self, field: u32, value: &[u8], kind: Payload) {
        if value.is_empty() {
            return;
        }
        let out = self.key(field);
        match kind {
            Payload::Binary => encode::write_bin(out, value).expect(TAKES_ALL),
            Payload::Json => json_to_msgpack::put(out, value),
        }
    }

    fn message(&mut self, field: u32, message: &impl Message) {
        put(self.key(field), message);
    }

    fn messages(&mut self, field: u32, messages: &[impl Message]) {
        if !messages.is_empty() {
            put_array(self.key(field), messages.len());
            messages.iter().for_each(|message| put(self.0, message));
        }
    }

    fn map<'m, M: Message + 'm>(
        &mut self,
        field: u32,
        entries: impl ExactSizeIterator<Item = (&'m str, &'m M)>,
    ) {
        if entries.len() == 0 {
            return;
        }
        put_map(self.key(field), entries.len());
        for (key, message) in entries {
            encode::write_str(self.0, key).expect(TAKES_ALL);
            put(self.0, message);
        }
    }

    fn tags(&mut self, field: u32, tags: Tags<'_>) {
        if tags.is_empty() {
            return;
        }
        put_map(self.key(field), tags.iter().count());
        for (key, value) in tags.iter() {
            encode::write_str(self.0, key).expect(TAKES_ALL);
            encode::write_str(self.0, value).expect(TAKES_ALL);
        }
    }
}

/// Counts the fields of a message, not their bytes.
struct Fields(usize);

impl Fields {
    fn some(&mut self, written: bool) {
        self.0 += usize::from(written);
    }
}

impl Wire for Fields {
    fn number(&mut self, _: u32, value: u64) {
        self.some(value > 0);
    }

    fn flag(&mut self, _: u32, value: bool) {
        self.some(value);
    }

    fn text(&mut self, _: u32, value: &str) {
        self.some(!value.is_empty());
    }

    fn raw(&mut self, _: u32, value: &[u8]) {
        self.some(!value.is_empty());
    }

    fn value(&mut self, _: u32, value: &[u8], _: Payload) {
        self.some(!value.is_empty());
    }

    fn message(&mut self, _: u32, _: &impl Message) {
        self.some(true);
    }

    fn messages(&mut self, _: u32, messages: &[impl Message]) {
        self.some(!messages.is_empty());
    }

    fn map<'m, M: Message + 'm>(
        &mut self,
        _: u32,
        entries: impl ExactSizeIterator<Item = (&'m str, &'m M)>,
    ) {
        self.some(entries.len() > 0);
    }

    fn tags(&mut self, _: u32, tags: Tags<'_>) {
        self.some(!tags.is_empty());
    }
}
