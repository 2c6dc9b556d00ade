//! Writes replies and pushes as frames of the arena.
//!
//! Must not know connections' states. Invariant: one call writes one whole frame. The length of
//! JSON is computed before; what the binary codecs write is moved into place once its length is
//! known.

use crate::codec::command::{ClientInfo, Named, Publication, Push, Reply};
use crate::codec::{Codec, json};
use crate::contract::block::{Block, Placed};
use crate::contract::envelope::{Member, Who};
use crate::edge::channels::Form;
use crate::edge::ids::client_id::{ClientId, ClientIds};
use crate::edge::output::arena::{Class, NO_CHANNEL, Output, Range};
use crate::ws::frame;
use crate::ws::frame::OpCode;
use std::borrow::Cow;

/// The client id of a block's publisher; `None` if it came from the server API.
#[must_use]
pub fn publisher_id(block: &Block) -> Option<ClientId> {
    block.publisher().map(|by| ClientId::from(by.client))
}

/// The client ids of publishers, in the order of the publications.
#[must_use]
pub fn publisher_ids(placed: &[Placed]) -> Vec<Option<ClientId>> {
    placed.iter().map(|placed| publisher_id(&placed.block)).collect()
}

/// A publication in the form of replies and pushes.
#[must_use]
pub fn publication<'a>(block: &'a Block, offset: u64, id: Option<&'a ClientId>) -> Publication<'a> {
    let info = block.publisher().zip(id).map(|(by, id)| ClientInfo {
        user: Cow::Borrowed(by.user),
        client: Cow::Borrowed(id.as_str()),
        conn_info: Cow::Borrowed(by.conn_info),
        chan_info: Cow::Borrowed(by.chan_info),
    });
    let (data, payload, tags) = (block.data(), block.payload(), block.tags());
    let time_ms = block.time_ms();
    Publication { data, payload, info, offset, tags, time_ms, delta: false, verbatim: false }
}

/// The same for a subscriber that may want deltas, which then receives every payload unchanged.
#[must_use]
pub fn formed<'a>(
    block: &'a Block,
    offset: u64,
    id: Option<&'a ClientId>,
    codec: Codec,
    form: Form,
) -> Publication<'a> {
    let mut publication = publication(block, offset, id);
    publication.verbatim = form != Form::Plain;
    if form == Form::Delta
        && let Some(delta) = block.delta()
        // A patch may end in the middle of a character, which text cannot carry.
        && (codec != Codec::Json || simdutf8::basic::from_utf8(delta).is_ok())
    {
        (publication.data, publication.delta) = (delta, true);
    }
    publication
}

/// The info of a client in a channel.
#[must_use]
pub fn info<'a>(member: &'a Member, ids: &ClientIds) -> ClientInfo<'a> {
    let client = match member.who {
        Who::Here(connection) => ids.of(connection),
        Who::Elsewhere(client) => ClientId::from(client),
    };
    let infos = member.infos.as_ref();
    ClientInfo {
        user: Cow::Borrowed(member.user.as_str()),
        client: Cow::Owned(client.as_str().to_owned()),
        conn_info: Cow::Borrowed(infos.map_or(b"", |infos| infos.connection())),
        chan_info: Cow::Borrowed(infos.map_or(b"", |infos| infos.subscription())),
    }
}

/// The frame type of a codec's messages.
#[must_use]
pub fn opcode(codec: Codec) -> OpCode {
    if codec == Codec::Json { OpCode::Text } else { OpCode::Binary }
}

impl Output {
    /// Writes a reply.
    pub fn reply(&mut self, codec: Codec, reply: &Reply<'_>) -> Range {
        self.message(codec, Class::Reply, NO_CHANNEL, reply)
    }

    fn message(&mut self, codec: Codec, class: Class, channel: u32, reply: &Reply<'_>) -> Range {
        if codec == Codec::Json {
            let length = json::reply_len(reply);
            return self.text(class, channel, length, |out| json::write_reply(out, reply));
        }
        self.binary(class, channel, |out| codec.write_reply(out, reply))
    }

    /// Writes the push of a publication.
    pub fn publication(
        &mut self,
        codec: Codec,
        (channel, named): (u32, Named<'_>),
        publication: &Publication<'_>,
    ) {
        let class = Class::Publication;
        if codec == Codec::Json {
            let length = json::push_publication_len(named, publication);
            self.text(class, channel, length, |out| {
                json::write_push_publication(out, named, publication);
            });
        } else {
            self.binary(class, channel, |out| {
                codec.write_push_publication(out, named, publication);
            });
        }
    }

    /// Writes a join or a leave.
    pub fn membership(
        &mut self,
        codec: Codec,
        (channel, named): (u32, Named<'_>),
        who: ClientInfo<'_>,
        joined: bool,
    ) {
        let push = if joined { Push::Join(who) } else { Push::Leave(who) };
        let reply = match named {
            Named::Name(channel) => Reply::Push { channel, push },
            Named::Number(number) => Reply::NumberedPush { number, push },
        };
        self.message(codec, Class::Publication, channel, &reply);
    }

    /// Writes a control frame of the server: pong or close.
    pub fn control(&mut self, frame: &[u8]) -> Range {
        let start = self.begin(Class::Control, NO_CHANNEL);
        self.arena.extend_from_slice(frame);
        Range { start, end: self.end() }
    }

    /// Writes the answer to an upgrade; frames follow it.
    pub fn upgrade(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range {
        let start = self.begin(Class::Upgrade, NO_CHANNEL);
        write(&mut self.arena);
        Range { start, end: self.end() }
    }

    /// Writes bytes that are not frames, a part of an HTTP response.
    pub fn bytes(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range {
        let start = self.begin(Class::Reply, NO_CHANNEL);
        write(&mut self.arena);
        Range { start, end: self.end() }
    }

    fn text(
        &mut self,
        class: Class,
        channel: u32,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Range {
        let start = self.begin(class, channel);
        frame::write_header(&mut self.arena, OpCode::Text, length);
        let body = self.arena.len();
        write(&mut self.arena);
        debug_assert_eq!(self.arena.len() - body, length, "lengths are exact");
        Range { start, end: self.end() }
    }

    fn binary(&mut self, class: Class, channel: u32, write: impl FnOnce(&mut Vec<u8>)) -> Range {
        let start = self.begin(class, channel);
        let begun = frame::begin(&mut self.arena, OpCode::Binary);
        write(&mut self.arena);
        frame::finish(&mut self.arena, begun);
        Range { start, end: self.end() }
    }
}

pub fn publications<'a>(placed: &'a [Placed], ids: &'a [Option<ClientId>]) -> Vec<Publication<'a>> {
    placed
        .iter()
        .zip(ids)
        .map(|(placed, id)| publication(&placed.block, placed.offset, id.as_ref()))
        .collect()
}
