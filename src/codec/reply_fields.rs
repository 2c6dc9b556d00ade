//! The fields of replies and pushes, by number: the part that the two binary codecs share.
//!
//! Must not know how a field is encoded. Numbers are those of `client.proto` of Centrifugo's
//! protocol; from 1000 on they are Corecast's own. Invariant: a field that is 0, false or empty is
//! left out, as in Protobuf.

use super::command::{
    ClientInfo, ConnectResult, Expiry, HistoryResult, Named, Publication, Push, PushSubscribe,
    RefreshResult, Reply, SubscribeResult, Tags,
};
use crate::namespace::Payload;

/// Takes a message's fields, in any order.
pub(super) trait Wire {
    fn number(&mut self, field: u32, value: u64);
    fn flag(&mut self, field: u32, value: bool);
    fn text(&mut self, field: u32, value: &str);
    /// A value in the form that the receiver expects.
    fn raw(&mut self, field: u32, value: &[u8]);
    /// A value that is kept as JSON text, or as bytes.
    fn value(&mut self, field: u32, value: &[u8], kind: Payload);
    /// A message, empty or not.
    fn message(&mut self, field: u32, message: &impl Message);
    fn messages(&mut self, field: u32, messages: &[impl Message]);
    fn map<'m, M: Message + 'm>(
        &mut self,
        field: u32,
        entries: impl ExactSizeIterator<Item = (&'m str, &'m M)>,
    );
    fn tags(&mut self, field: u32, tags: Tags<'_>);
}

/// A message that can write its fields.
pub(super) trait Message {
    fn put(&self, wire: &mut impl Wire);
}

impl Message for Reply<'_> {
    fn put(&self, wire: &mut impl Wire) {
        match self {
            Reply::Error { id, error } => {
                let (code, message, temporary) = error.parts();
                wire.number(1, u64::from(*id));
                wire.message(2, &ErrorBody { code, message, temporary });
            }
            Reply::Push { channel, push } => {
                wire.message(4, &PushBody { channel: Named::Name(channel), push });
            }
            Reply::NumberedPush { number, push } => {
                wire.message(4, &PushBody { channel: Named::Number(*number), push });
            }
            Reply::Connect { id, result } => answer(wire, *id, 5, result),
            Reply::Subscribe { id, result } => answer(wire, *id, 6, result),
            Reply::Unsubscribe { id } => answer(wire, *id, 7, &Empty),
            Reply::Publish { id } => answer(wire, *id, 8, &Empty),
            Reply::Presence { id, clients } => answer(wire, *id, 9, &PresenceBody(clients)),
            Reply::PresenceStats { id, clients, users } => {
                answer(wire, *id, 10, &PresenceStatsBody { clients: *clients, users: *users });
            }
            Reply::History { id, result } => answer(wire, *id, 11, result),
            Reply::Ping { id } => answer(wire, *id, 12, &Empty),
            Reply::Rpc { id, data } => answer(wire, *id, 13, &RawBody(data)),
            Reply::Refresh { id, result } => answer(wire, *id, 14, result),
            Reply::SubRefresh { id, expiry } => answer(wire, *id, 15, expiry),
            Reply::ServerPing => {}
        }
    }
}

fn answer(wire: &mut impl Wire, id: u32, field: u32, result: &impl Message) {
    wire.number(1, u64::from(id));
    wire.message(field, result);
}

/// The field of a reply that holds a subscribe result, and the field of its publications.
pub(super) const SUBSCRIBE: u32 = 6;
pub(super) const PUBLICATIONS: u32 = 7;

struct Empty;

impl Message for Empty {
    fn put(&self, _: &mut impl Wire) {}
}

struct RawBody<'a>(&'a [u8]);

impl Message for RawBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.raw(1, self.0);
    }
}

struct ErrorBody {
    code: u32,
    message: &'static str,
    temporary: bool,
}

impl Message for ErrorBody {
    fn put(&self, wire: &mut impl Wire) {
        wire.number(1, u64::from(self.code));
        wire.text(2, self.message);
        wire.flag(3, self.temporary);
    }
}

impl Message for ConnectResult<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.text(1, self.client);
        wire.text(2, self.version);
        wire.flag(3, self.expiry.expires);
        wire.number(4, u64::from(self.expiry.ttl_s));
        wire.value(5, self.data, Payload::Json);
        wire.map(6, self.subs.iter().map(|(channel, result)| (*channel, result)));
        wire.number(7, u64::from(self.ping_s));
        wire.flag(8, self.pong);
        wire.text(9, self.session);
        wire.text(10, self.node);
    }
}

impl Message for SubscribeResult<'_> {
    fn put(&self, wire: &mut impl Wire) {
        self.expiry.put(wire);
        wire.flag(3, self.recoverable);
        wire.text(6, self.epoch);
        wire.flag(8, self.recovered);
        wire.number(9, self.offset);
        wire.flag(10, self.positioned);
        wire.value(11, self.data, Payload::Json);
        wire.flag(12, self.was_recovering);
        wire.flag(13, self.delta);
        wire.number(14, u64::from(self.number));
        wire.number(19, u64::from(self.debounce_ms));
        wire.messages(PUBLICATIONS, self.publications);
    }
}

impl Message for Expiry {
    fn put(&self, wire: &mut impl Wire) {
        wire.flag(1, self.expires);
        wire.number(2, u64::from(self.ttl_s));
    }
}

struct PresenceBody<'a>(&'a [ClientInfo<'a>]);

impl Message for PresenceBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.map(1, self.0.iter().map(|info| (&*info.client, info)));
    }
}

struct PresenceStatsBody {
    clients: u32,
    users: u32,
}

impl Message for PresenceStatsBody {
    fn put(&self, wire: &mut impl Wire) {
        wire.number(1, u64::from(self.clients));
        wire.number(2, u64::from(self.users));
    }
}

impl Message for HistoryResult<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.messages(1, self.publications);
        wire.text(2, self.epoch);
        wire.number(3, self.offset);
    }
}

impl Message for RefreshResult<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.text(1, self.client);
        wire.text(2, self.version);
        wire.flag(3, self.expiry.expires);
        wire.number(4, u64::from(self.expiry.ttl_s));
    }
}

impl Message for ClientInfo<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.text(1, &self.user);
        wire.text(2, &self.client);
        wire.value(3, &self.conn_info, Payload::Json);
        wire.value(4, &self.chan_info, Payload::Json);
    }
}

impl Message for Publication<'_> {
    fn put(&self, wire: &mut impl Wire) {
        let kind = if self.verbatim { Payload::Binary } else { self.payload };
        wire.value(4, self.data, kind);
        if let Some(info) = &self.info {
            wire.message(5, info);
        }
        wire.number(6, self.offset);
        wire.tags(7, self.tags);
        wire.flag(8, self.delta);
        wire.number(9, self.time_ms);
    }
}

/// The push of a publication, inside its envelope.
pub(super) struct PublicationPush<'a> {
    pub channel: Named<'a>,
    pub publication: &'a Publication<'a>,
}

impl Message for PublicationPush<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.message(4, &PublicationBody(self));
    }
}

struct PublicationBody<'a>(&'a PublicationPush<'a>);

impl Message for PublicationBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        named(wire, self.0.channel);
        wire.message(4, self.0.publication);
    }
}

/// How a push names its channel.
fn named(wire: &mut impl Wire, channel: Named<'_>) {
    match channel {
        Named::Name(name) => wire.text(2, name),
        Named::Number(number) => wire.number(1, u64::from(number)),
    }
}

struct PushBody<'a> {
    channel: Named<'a>,
    push: &'a Push<'a>,
}

impl Message for PushBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        named(wire, self.channel);
        match self.push {
            Push::Publication(publication) => wire.message(4, publication),
            Push::Join(info) => wire.message(5, &MemberBody(info)),
            Push::Leave(info) => wire.message(6, &MemberBody(info)),
            Push::Unsubscribe { code, reason } => {
                wire.message(7, &UnsubscribeBody { code: *code, reason });
            }
            Push::Message { data } => wire.message(8, &ValueBody(data)),
            Push::Subscribe(begun) => wire.message(9, begun),
            Push::Disconnect { code, reason, reconnect } => {
                wire.message(11, &DisconnectBody { code: *code, reason, reconnect: *reconnect });
            }
            Push::Refresh(expiry) => wire.message(12, expiry),
        }
    }
}

struct MemberBody<'a>(&'a ClientInfo<'a>);

impl Message for MemberBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.message(1, self.0);
    }
}

struct UnsubscribeBody<'a> {
    code: u32,
    reason: &'a str,
}

impl Message for UnsubscribeBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.number(2, u64::from(self.code));
        wire.text(3, self.reason);
    }
}

struct DisconnectBody<'a> {
    code: u32,
    reason: &'a str,
    reconnect: bool,
}

impl Message for DisconnectBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.number(1, u64::from(self.code));
        wire.text(2, self.reason);
        wire.flag(3, self.reconnect);
    }
}

struct ValueBody<'a>(&'a [u8]);

impl Message for ValueBody<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.value(1, self.0, Payload::Json);
    }
}

impl Message for PushSubscribe<'_> {
    fn put(&self, wire: &mut impl Wire) {
        wire.flag(1, self.recoverable);
        wire.text(4, self.epoch);
        wire.number(5, self.offset);
        wire.flag(6, self.positioned);
        wire.value(7, self.data, Payload::Json);
    }
}
