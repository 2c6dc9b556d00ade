//! The Protobuf codec: each message in either direction is preceded by its length.
//!
//! Must not know what fields mean: `command_fields` and `reply_fields` do. It uses `prost`'s
//! primitives and not its derived types, which copy what they read. Invariants: nothing is copied,
//! no input makes it panic, and only unknown groups recurse, as deep as `prost` allows.

use super::command::{Command, DecodeError, Named, Publication, Reply, SubscribeResult, Tags};
use super::command_fields::{self, Data, Names, Source};
use super::reply_fields::{Message, PUBLICATIONS, PublicationPush, SUBSCRIBE, Wire};
use super::sink::{Sink, count};
use crate::namespace::Payload;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_varint, encoded_len_varint,
    skip_field,
};
use std::borrow::Cow;

/// The commands of one message, in order, each preceded by its length.
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
        let mut outer = Fields::of(&self.bytes[self.at..]);
        let command = command_fields::command(&mut Fields::of(outer.bytes()?))?;
        self.at = self.bytes.len() - outer.rest.len();
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

/// The unread fields of one message, and the field that is being read.
struct Fields<'a> {
    rest: &'a [u8],
    field: u32,
    wire: WireType,
}

impl<'a> Fields<'a> {
    /// The fields in `bytes`; or, before the first call of `next`, the length and bytes of a
    /// message.
    fn of(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes, field: 0, wire: WireType::LengthDelimited }
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        if self.wire != WireType::Varint {
            return Err(DecodeError::WrongType);
        }
        decode_varint(&mut self.rest).map_err(|_| DecodeError::Malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        if self.wire != WireType::LengthDelimited {
            return Err(DecodeError::WrongType);
        }
        let length = decode_varint(&mut self.rest).map_err(|_| DecodeError::Malformed)?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl<'a> Source<'a> for Fields<'a> {
    fn next(&mut self, _: Names) -> Result<Option<u32>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = decode_key(&mut self.rest).map_err(|_| DecodeError::Malformed)?;
        (self.field, self.wire) = key;
        Ok(Some(self.field))
    }

    fn skip(&mut self) -> Result<(), DecodeError> {
        let context = DecodeContext::default();
        skip_field(self.wire, self.field, &mut self.rest, context)
            .map_err(|_| DecodeError::Malformed)
    }

    fn asks(&mut self) -> Result<bool, DecodeError> {
        match self.wire {
            WireType::Varint => Ok(self.varint()? != 0),
            WireType::LengthDelimited => Ok(!self.bytes()?.is_empty()),
            _ => self.skip().map(|()| true),
        }
    }

    fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Malformed)?;
        Ok(Cow::Borrowed(text))
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        self.varint()
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(u64::cast_signed)
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        self.varint().map(|value| value != 0)
    }

    fn data(&mut self) -> Result<Data<'a>, DecodeError> {
        Ok(Data { bytes: self.bytes()?, excessive: false })
    }

    fn message<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        read(&mut Fields::of(self.bytes()?)).map(Some)
    }

    /// Each element of a repeated field is a field of its own.
    fn each(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        read(self)
    }

    fn entries(
        &mut self,
        mut read: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        const EMPTY: &[u8] = &[0];
        let mut entry = Fields::of(self.bytes()?);
        let (mut key, mut value) = (Cow::default(), EMPTY);
        while let Some(field) = entry.next(&[])? {
            match field {
                1 => key = entry.text()?,
                2 => {
                    value = entry.rest;
                    entry.bytes()?;
                }
                _ => entry.skip()?,
            }
        }
        read(key, &mut Fields::of(value))
    }
}

/// Appends one reply or push.
pub fn write_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    put_delimited(out, reply);
}

/// Bytes that `write_reply` appends.
#[must_use]
pub fn reply_len(reply: &Reply<'_>) -> usize {
    count(|out| put_delimited(out, reply))
}

/// Appends the push of a publication.
pub fn write_push_publication(
    out: &mut Vec<u8>,
    channel: Named<'_>,
    publication: &Publication<'_>,
) {
    put_delimited(out, &PublicationPush { channel, publication });
}

/// Bytes that `write_push_publication` appends.
#[must_use]
pub fn push_publication_len(channel: Named<'_>, publication: &Publication<'_>) -> usize {
    count(|out| put_delimited(out, &PublicationPush { channel, publication }))
}

/// Appends a publication in the form of a subscribe reply.
pub fn write_publication(out: &mut Vec<u8>, publication: &Publication<'_>) {
    Writer(out).message(PUBLICATIONS, publication);
}

/// Bytes that `write_publication` appends.
#[must_use]
pub fn publication_len(publication: &Publication<'_>) -> usize {
    count(|out| Writer(out).message(PUBLICATIONS, publication))
}

/// Appends the start of a subscribe reply whose publications take `bytes`. `result.publications` is
/// not read; the caller appends them, and nothing follows them.
pub fn write_subscribe_head(
    out: &mut Vec<u8>,
    id: u32,
    result: &SubscribeResult<'_>,
    bytes: usize,
) {
    put_subscribe_head(out, id, result, bytes);
}

/// Bytes that `write_subscribe_head` appends.
#[must_use]
pub fn subscribe_head_len(id: u32, result: &SubscribeResult<'_>, bytes: usize) -> usize {
    count(|out| put_subscribe_head(out, id, result, bytes))
}

fn put_subscribe_head(
    out: &mut impl Sink,
    id: u32,
    result: &SubscribeResult<'_>,
    publications: usize,
) {
    let result = SubscribeResult { publications: &[], ..result.clone() };
    let result_bytes = length(&result) + publications;
    let mut envelope = Vec::with_capacity(24);
    Writer(&mut envelope).number(1, u64::from(id));
    put_key(&mut envelope, SUBSCRIBE, WireType::LengthDelimited);
    put_varint(&mut envelope, result_bytes as u64);
    put_varint(out, (envelope.len() + result_bytes) as u64);
    out.put(&envelope);
    result.put(&mut Writer(out));
}

fn put_delimited(out: &mut impl Sink, message: &impl Message) {
    put_varint(out, length(message) as u64);
    message.put(&mut Writer(out));
}

fn length(message: &impl Message) -> usize {
    count(|out| message.put(&mut Writer(out)))
}

fn put_varint(out: &mut impl Sink, value: u64) {
    let mut bytes = [0; 10];
    encode_varint(value, &mut bytes.as_mut_slice());
    out.put(&bytes[..encoded_len_varint(value)]);
}

fn put_key(out: &mut impl Sink, field: u32, wire: WireType) {
    put_varint(out, u64::from(field << 3 | wire as u32));
}

struct Writer<'a, S>(&'a mut S);

impl<S: Sink> Writer<'_, S> {
    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        put_key(self.0, field, WireType::LengthDelimited);
        put_varint(self.0, bytes.len() as u64);
        self.0.put(bytes);
    }
}

impl<S: Sink> Wire for Writer<'_, S> {
    fn number(&mut self, field: u32, value: u64) {
        if value > 0 {
            put_key(self.0, field, WireType::Varint);
            put_varint(self.0, value);
        }
    }

    fn flag(&mut self, field: u32, value: bool) {
        self.number(field, u64::from(value));
    }

    fn text(&mut self, field: u32, value: &str) {
        self.raw(field, value.as_bytes());
    }

    fn raw(&mut self, field: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes(field, value);
        }
    }

    /// JSON text is sent as bytes, as SDKs expect it.
    fn value(&mut self, field: u32, value: &[u8], _: Payload) {
        self.raw(field, value);
    }

    fn message(&mut self, field: u32, message: &impl Message) {
        put_key(self.0, field, WireType::LengthDelimited);
        put_delimited(self.0, message);
    }

    fn messages(&mut self, field: u32, messages: &[impl Message]) {
        for message in messages {
            self.message(field, message);
        }
    }

    fn map<'m, M: Message + 'm>(
        &mut self,
        field: u32,
        entries: impl ExactSizeIterator<Item = (&'m str, &'m M)>,
    ) {
        for (key, value) in entries {
            self.message(field, &Entry { key, value });
        }
    }

    fn tags(&mut self, field: u32, tags: Tags<'_>) {
        for tag in tags.iter() {
            self.message(field, &TagEntry(tag));
        }
    }
}

struct Entry<'a, M> {
    key: &'a str,
    value: &'a M,
}

impl<M: Message> Message for Entry<'_, M> {
    fn put(&self, wire: &mut impl Wire) {
        wire.text(1, self.key);
        wire.message(2, self.value);
    }
}

struct TagEntry<'a>((&'a str, &'a str));

impl Message for TagEntry<'_> {
    fn put(&self, wire: &mut impl Wire) {
        let (key, value) = self.0;
        wire.text(1, key);
        wire.text(2, value);
    }
}
