//! Writing replies and pushes as frames of the arena.
//!
//! Must not know connections' states. Invariant: one call writes one whole frame.

use super::client_id::{ClientId, client_id};
use super::output::{Class, NO_CHANNEL, Output, Range};
use crate::codec::command::{ClientInfo, Publication, Push, Reply};
use crate::codec::json;
use crate::home::block::Block;
use crate::home::envelope::Member;
use crate::ws::frame::{self, OpCode};
use std::borrow::Cow;

/// The client id of a block's publisher; none when it came from the server API.
#[must_use]
pub fn publisher_id(block: &Block, ids: u64) -> Option<ClientId> {
    block.publisher().map(|by| client_id(ids, by.key))
}

/// A publication as replies and pushes name it.
#[must_use]
pub fn publication<'a>(block: &'a Block, offset: u64, id: Option<&'a ClientId>) -> Publication<'a> {
    let info = block.publisher().zip(id).map(|(by, id)| ClientInfo {
        user: Cow::Borrowed(by.user),
        client: Cow::Borrowed(id.as_str()),
        conn_info: Cow::Borrowed(by.conn_info),
        chan_info: Cow::Borrowed(by.chan_info),
    });
    let (tags, time_ms) = (block.tags(), block.time_ms());
    Publication { data: block.data(), info, offset, tags, delta: false, time_ms }
}

/// The info of somebody in a channel.
#[must_use]
pub fn info(member: &Member, ids: u64) -> ClientInfo<'_> {
    let client = client_id(ids, member.connection);
    let infos = member.infos.as_ref();
    ClientInfo {
        user: Cow::Borrowed(member.user.as_str()),
        client: Cow::Owned(client.as_str().to_owned()),
        conn_info: Cow::Borrowed(infos.map_or(b"", |infos| infos.connection())),
        chan_info: Cow::Borrowed(infos.map_or(b"", |infos| infos.subscription())),
    }
}

impl Output {
    /// Writes a reply; its length is known before, so its header is written first.
    pub fn reply(&mut self, reply: &Reply<'_>) -> Range {
        self.text(Class::Reply, NO_CHANNEL, json::reply_len(reply), |out| {
            json::write_reply(out, reply)
        })
    }

    /// Writes the push of a publication.
    pub fn publication(&mut self, channel: u32, name: &str, block: &Block, offset: u64, ids: u64) {
        let id = publisher_id(block, ids);
        let publication = publication(block, offset, id.as_ref());
        let length = json::push_publication_len(name, &publication);
        self.text(Class::Publication, channel, length, |out| {
            json::write_push_publication(out, name, &publication);
        });
    }

    /// Writes a join or a leave.
    pub fn membership(&mut self, channel: u32, name: &str, who: &Member, joined: bool, ids: u64) {
        let info = info(who, ids);
        let push = if joined { Push::Join(info) } else { Push::Leave(info) };
        let reply = Reply::Push { channel: name, push };
        let length = json::reply_len(&reply);
        self.text(Class::Publication, channel, length, |out| json::write_reply(out, &reply));
    }

    /// Writes a control frame of ours: pong or close.
    pub fn control(&mut self, frame: &[u8]) -> Range {
        let start = self.begin(Class::Control, NO_CHANNEL);
        self.arena.extend_from_slice(frame);
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
}
