//! Message codecs, sans-IO: bytes of a WebSocket message to commands, replies to bytes.
//!
//! This file dispatches to the codec that was chosen for a connection. Each codec knows its own
//! format, and all share the schema (`command`). Must not know connections.

pub mod command;
mod command_fields;
pub mod json;
mod json_fields;
mod json_sink;
pub mod json_to_msgpack;
pub mod json_write;
pub mod msgpack;
mod msgpack_read;
pub mod msgpack_to_json;
pub mod payload;
pub mod protobuf;
mod reply_fields;
pub mod scanner;
mod sink;
pub mod tags;
pub mod unescape;

use command::{Command, DecodeError, Named, Publication, Reply, SubscribeResult};

listed! {
    /// How a connection's messages are written.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Codec {
        #[default]
        Json,
        MessagePack,
        Protobuf,
    }
}

impl Codec {
    /// The commands of a message, or of the `rest` of one.
    #[must_use]
    pub fn commands(self, bytes: &[u8]) -> Commands<'_> {
        match self {
            Codec::Json => Commands::Json(json::Commands::new(bytes)),
            Codec::MessagePack => Commands::MessagePack(msgpack::Commands::new(bytes)),
            Codec::Protobuf => Commands::Protobuf(protobuf::Commands::new(bytes)),
        }
    }

    /// Appends one reply or push.
    pub fn write_reply(self, out: &mut Vec<u8>, reply: &Reply<'_>) {
        match self {
            Codec::Json => json::write_reply(out, reply),
            Codec::MessagePack => msgpack::write_reply(out, reply),
            Codec::Protobuf => protobuf::write_reply(out, reply),
        }
    }

    /// Appends the push of a publication.
    pub fn write_push_publication(
        self,
        out: &mut Vec<u8>,
        channel: Named<'_>,
        publication: &Publication<'_>,
    ) {
        match self {
            Codec::Json => json::write_push_publication(out, channel, publication),
            Codec::MessagePack => msgpack::write_push_publication(out, channel, publication),
            Codec::Protobuf => protobuf::write_push_publication(out, channel, publication),
        }
    }
}

/// The commands of one message, in order.
#[derive(Clone, Debug)]
pub enum Commands<'a> {
    Json(json::Commands<'a>),
    MessagePack(msgpack::Commands<'a>),
    Protobuf(protobuf::Commands<'a>),
}

impl Commands<'_> {
    /// Offset of the first unread byte: the start of a command, or the end of the message.
    #[must_use]
    pub fn rest(&self) -> usize {
        match self {
            Commands::Json(commands) => commands.rest(),
            Commands::MessagePack(commands) => commands.rest(),
            Commands::Protobuf(commands) => commands.rest(),
        }
    }
}

/// After an error nothing more is read, and `rest` stays at the command that cannot be read.
impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Commands::Json(commands) => commands.next(),
            Commands::MessagePack(commands) => commands.next(),
            Commands::Protobuf(commands) => commands.next(),
        }
    }
}

/// The publications of a subscribe reply that is written in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    pub count: usize,
    /// Bytes of all pieces, by `Codec::piece_len`.
    pub bytes: usize,
}

/// A subscribe reply in pieces: the head, each publication, the tail.
impl Codec {
    /// Appends the start of a subscribe reply. `result.publications` is not read.
    pub fn write_subscribe_head(
        self,
        out: &mut Vec<u8>,
        id: u32,
        result: &SubscribeResult<'_>,
        pieces: Pieces,
    ) {
        match self {
            Codec::Json => json::write_subscribe_head(out, id, result),
            Codec::MessagePack => msgpack::write_subscribe_head(out, id, result, pieces.count),
            Codec::Protobuf => protobuf::write_subscribe_head(out, id, result, pieces.bytes),
        }
    }

    /// Bytes that `write_piece` appends.
    #[must_use]
    pub fn piece_len(self, publication: &Publication<'_>, first: bool) -> usize {
        match self {
            Codec::Json => usize::from(!first) + json::publication_len(publication),
            Codec::MessagePack => msgpack::publication_len(publication),
            Codec::Protobuf => protobuf::publication_len(publication),
        }
    }

    /// Appends one of the publications.
    pub fn write_piece(self, out: &mut Vec<u8>, publication: &Publication<'_>, first: bool) {
        match self {
            Codec::Json => {
                if !first {
                    out.push(json::PUBLICATION_SEPARATOR);
                }
                json::write_publication(out, publication);
            }
            Codec::MessagePack => msgpack::write_publication(out, publication),
            Codec::Protobuf => protobuf::write_publication(out, publication),
        }
    }

    /// The end of the reply.
    #[must_use]
    pub fn subscribe_tail(self) -> &'static [u8] {
        match self {
            Codec::Json => json::SUBSCRIBE_TAIL,
            Codec::MessagePack | Codec::Protobuf => b"",
        }
    }
}
