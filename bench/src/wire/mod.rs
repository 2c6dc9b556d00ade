//! The protocols of the servers: commands as bytes, messages as `Said`.
//!
//! Must not know sockets or what a run proves. Invariant: what is read borrows from the bytes
//! received, and bytes that break the protocol are an error, never skipped.

mod json;
mod msgpack;
mod plain;
mod protobuf;
pub mod stamp;

pub use json::payload;

use crate::protocol::Position;
use crate::ws;
use stamp::Stamps;

/// Id of the connect command.
pub const CONNECT_ID: u32 = 1;
/// Ids of other commands of the set-up.
pub const SETUP_ID: u32 = 2;
/// Ids of measured commands begin here, so that all have as many digits.
pub const FIRST_ID: u32 = 1_000_000;

/// How a run speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// The Centrifuge protocol in JSON.
    CentrifugeJson,
    /// The same in Protobuf.
    CentrifugeProtobuf,
    /// The same in MessagePack (`corecast.v1.msgpack`).
    CentrifugeMsgpack,
    /// Plain frames: /echo, and /room/NAME for all members but the sender.
    Raw,
    /// Socket.IO 4 over WebSocket alone.
    Socketio,
}

/// A publication as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// Empty where the dialect does not say it.
    pub channel: &'a [u8],
    pub data: &'a [u8],
    pub offset: u64,
}

/// One message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// To be answered with `pong`.
    Ping,
    /// The first word of a Socket.IO server; to be answered with `connect`.
    Greeted,
    Connected,
    Subscribed {
        recovered: bool,
        position: Position,
        missed: Vec<Heard<'a>>,
    },
    /// A publish was accepted.
    Published,
    /// The answer to an echo or another rpc.
    Answered {
        id: u32,
        data: &'a [u8],
    },
    Delivered(Heard<'a>),
    Refused {
        id: u32,
        code: u32,
        message: String,
    },
    /// Joins, leaves, and answers that say only "done".
    Other,
}

/// What the bytes of a plain frame must amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Echo,
    /// To a channel of so many bytes, by a user of so many.
    Push {
        channel: usize,
        user: usize,
    },
}

/// A dialect with messages of one size.
pub struct Tongue {
    dialect: Dialect,
    stamps: Stamps,
}

/// Bytes that every payload has: the stamp's head within a JSON object.
pub const LEAST_PAYLOAD: usize = stamp::HEAD + json::OPEN.len() + json::SHUT.len();

impl Tongue {
    /// Messages whose payload has `payload_bytes`, at least `LEAST_PAYLOAD`. Plain ones are as long
    /// as a JSON frame with such a payload.
    #[must_use]
    pub fn new(dialect: Dialect, payload_bytes: usize, shape: Shape) -> Tongue {
        assert!(payload_bytes >= LEAST_PAYLOAD);
        let frame_bytes = payload_bytes + json::overhead(shape);
        let stamp_bytes = match dialect {
            Dialect::CentrifugeJson | Dialect::CentrifugeProtobuf | Dialect::CentrifugeMsgpack => {
                payload_bytes - json::OPEN.len() - json::SHUT.len()
            }
            Dialect::Raw => frame_bytes,
            Dialect::Socketio => frame_bytes - plain::overhead(shape),
        };
        Tongue { dialect, stamps: Stamps::new(stamp_bytes) }
    }

    /// The opcode of messages.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        match self.dialect {
            Dialect::CentrifugeProtobuf | Dialect::CentrifugeMsgpack => ws::BINARY,
            _ => ws::TEXT,
        }
    }

    /// Is a publish answered?
    #[must_use]
    pub fn acknowledges(&self) -> bool {
        !matches!(self.dialect, Dialect::Raw | Dialect::Socketio)
    }

    /// Path of the upgrade: of the URL, or what a plain server serves.
    #[must_use]
    pub fn path(&self, url: &str, room: Option<&str>) -> String {
        match (self.dialect, room) {
            (Dialect::Raw, None) => "/echo".into(),
            (Dialect::Raw, Some(room)) => format!("/room/{room}"),
            (Dialect::Socketio, _) => "/socket.io/?EIO=4&transport=websocket".into(),
            _ => url.into(),
        }
    }

    /// Lines of the upgrade's head.
    #[must_use]
    pub fn headers(&self) -> &'static str {
        match self.dialect {
            Dialect::CentrifugeProtobuf => "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n",
            Dialect::CentrifugeMsgpack => "Sec-WebSocket-Protocol: corecast.v1.msgpack\r\n",
            _ => "",
        }
    }

    /// What opens a session after the upgrade; nothing where the upgrade is all.
    pub fn connect(&self, out: &mut Vec<u8>, token: Option<&str>) {
        match self.dialect {
            Dialect::CentrifugeJson => json::connect(out, token),
            Dialect::CentrifugeProtobuf => protobuf::connect(out, token),
            Dialect::CentrifugeMsgpack => msgpack::connect(out, token),
            Dialect::Raw => {}
            Dialect::Socketio => out.extend_from_slice(b"40"),
        }
    }

    /// Does a session begin with the upgrade?
    #[must_use]
    pub fn is_open_at_once(&self) -> bool {
        self.dialect == Dialect::Raw
    }

    /// Does the server speak first?
    #[must_use]
    pub fn awaits_greeting(&self) -> bool {
        self.dialect == Dialect::Socketio
    }

    /// Is one subscribed by joining a room with the upgrade?
    #[must_use]
    pub fn joins_by_path(&self) -> bool {
        self.dialect == Dialect::Raw
    }

    /// What follows a subscribe in a message of its own, where only that is answered.
    pub fn ask_subscribed(&self, out: &mut Vec<u8>) {
        if self.dialect == Dialect::Socketio {
            plain::ask_joined(out);
        }
    }

    /// Asks for a channel, or to come back to it at a position.
    pub fn subscribe(&self, out: &mut Vec<u8>, id: u32, channel: &str, from: Option<&Position>) {
        match self.dialect {
            Dialect::CentrifugeJson => json::subscribe(out, id, channel, from),
            Dialect::CentrifugeProtobuf => protobuf::subscribe(out, id, channel, from),
            Dialect::CentrifugeMsgpack => msgpack::subscribe(out, id, channel, from),
            Dialect::Raw => {}
            Dialect::Socketio => plain::join(out, channel),
        }
    }

    /// A publication of `sender`. Socket.IO servers send to the room that was joined.
    pub fn publish(&self, out: &mut Vec<u8>, id: u32, channel: &str, sender: u32, sequence: u64) {
        let stamp = |out: &mut Vec<u8>| self.stamps.write(out, sender, sequence);
        match self.dialect {
            Dialect::CentrifugeJson => json::publish(out, id, channel, stamp),
            Dialect::CentrifugeProtobuf => {
                protobuf::publish(out, id, channel, self.stamps.bytes(), stamp);
            }
            Dialect::CentrifugeMsgpack => {
                msgpack::publish(out, id, channel, self.stamps.bytes(), stamp);
            }
            Dialect::Raw => stamp(out),
            Dialect::Socketio => plain::event(out, "m", stamp),
        }
    }

    /// A message that comes back.
    pub fn echo(&self, out: &mut Vec<u8>, id: u32, sender: u32, sequence: u64) {
        let stamp = |out: &mut Vec<u8>| self.stamps.write(out, sender, sequence);
        match self.dialect {
            Dialect::CentrifugeJson => json::echo(out, id, stamp),
            Dialect::CentrifugeProtobuf => protobuf::echo(out, id, self.stamps.bytes(), stamp),
            Dialect::CentrifugeMsgpack => msgpack::echo(out, id, self.stamps.bytes(), stamp),
            Dialect::Raw => stamp(out),
            Dialect::Socketio => plain::event(out, "echo", stamp),
        }
    }

    /// The answer to a ping.
    pub fn pong(&self, out: &mut Vec<u8>) {
        match self.dialect {
            Dialect::CentrifugeJson => out.extend_from_slice(b"{}"),
            Dialect::CentrifugeProtobuf => out.push(0),
            Dialect::CentrifugeMsgpack => out.push(0x80),
            Dialect::Raw => {}
            Dialect::Socketio => out.push(b'3'),
        }
    }

    /// Takes the next message off a frame's payload, which is not empty.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next<'a>(&self, rest: &mut &'a [u8]) -> Result<Said<'a>, String> {
        let bytes = *rest;
        let said = match self.dialect {
            Dialect::CentrifugeJson => json::next(rest, self.stamps.bytes()),
            Dialect::CentrifugeProtobuf => protobuf::next(rest).ok_or("it is not Protobuf".into()),
            Dialect::CentrifugeMsgpack => msgpack::next(rest).ok_or("it is not MessagePack".into()),
            Dialect::Raw => {
                let heard = Heard { channel: b"", data: std::mem::take(rest), offset: 0 };
                Ok(Said::Delivered(heard))
            }
            Dialect::Socketio => plain::next(std::mem::take(rest)),
        };
        said.map_err(|why| {
            let shown = &bytes[..bytes.len().min(200)];
            format!("{why}: {}", shown.escape_ascii())
        })
    }

    /// Sender and sequence of a delivered or echoed payload whose every byte is right.
    #[must_use]
    pub fn read(&self, data: &[u8]) -> Option<(u32, u64)> {
        let stamp = match self.dialect {
            Dialect::CentrifugeJson | Dialect::CentrifugeProtobuf => {
                data.strip_prefix(json::OPEN)?.strip_suffix(json::SHUT)?
            }
            Dialect::CentrifugeMsgpack => msgpack::text(data)?,
            Dialect::Raw | Dialect::Socketio => data,
        };
        self.stamps.read(stamp)
    }
}
