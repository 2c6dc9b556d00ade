//! A publication on the wire between nodes: what one of them writes into a store, and all read.
//!
//! Layout, little endian: version u8, flags u8, node (16 bytes), number u64, Unix milliseconds of
//! publication u64; where a client published, its client id (16 bytes), its connection (core u16,
//! index u32, generation u32) and the lengths of user u16, connection's info u32 and subscription's
//! info u32; lengths of tags u32 and data u32; then these five. What follows are fields that newer
//! nodes add, each with kind u8 and length u32: unknown ones are skipped. The channel is not in it,
//! for whoever reads it asked for a channel. A delta is not either: each node makes its own.
//!
//! Must not know stores. Invariant: what was decoded is a block like those made here, whatever the
//! bytes were, and only the node that wrote a connection's key finds one in it.

pub mod members;

use super::block::{Block, CLIENT_BYTES, Parts, Publisher};
use super::key::ConnectionKey;
use crate::clock::Now;
use crate::codec::command::{Payload, Tags};

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

const FLAG_CLIENT: u8 = 1;
const FLAG_BINARY: u8 = 2;
const FLAG_EXCLUDE_SELF: u8 = 4;
const FLAGS: u8 = FLAG_CLIENT | FLAG_BINARY | FLAG_EXCLUDE_SELF;

/// Bytes before what depends on the flags.
const HEAD_BYTES: usize = 34;
/// Bytes of what is said of a client before the texts.
const CLIENT_HEAD_BYTES: usize = CLIENT_BYTES + 20;

/// Names a process among all that share a store: drawn at its start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 16]);

impl NodeId {
    /// Digits of a node's name.
    const DIGITS: usize = 32;

    /// Its name in a text.
    #[must_use]
    pub fn text(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// The node of a name; none if it is not one.
    #[must_use]
    pub fn read(text: &str) -> Option<NodeId> {
        if text.len() != NodeId::DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| NodeId(number.to_be_bytes()))
    }
}

impl std::fmt::Debug for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// What a publication is known by everywhere, wherever it is found and however often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub node: NodeId,
    /// Counts the node's publications, from 1.
    pub number: u64,
}

/// Who reads, and when: what a block of this process has that the wire has not.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The node that reads.
    pub own: NodeId,
    /// The channel that was read.
    pub channel: &'a str,
    /// When it came in, in microseconds of the process.
    pub now_us: u64,
}

/// A publication that came by the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub origin: Origin,
    pub block: Block,
}

/// Why bytes are no publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// They end before what they announce.
    Cut,
    /// A version that is not ours.
    Version(u8),
    /// Flags that are not ours.
    Flags(u8),
    /// A text that is not UTF-8: its name.
    Text(&'static str),
    /// Tags that are not whole pairs of texts.
    Tags,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Cut => f.write_str("a publication that is cut off"),
            WireError::Version(version) => {
                write!(f, "a publication of version {version}; this node reads version {VERSION}")
            }
            WireError::Flags(flags) => write!(f, "a publication with unknown flags {flags:#04x}"),
            WireError::Text(name) => write!(f, "a publication whose {name} is not UTF-8"),
            WireError::Tags => f.write_str("a publication whose tags are none"),
        }
    }
}

impl std::error::Error for WireError {}

/// Appends a publication of this node.
pub fn encode(block: &Block, origin: Origin, out: &mut Vec<u8>) {
    let by = block.publisher();
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let flags = flag(by.is_some(), FLAG_CLIENT)
        | flag(block.payload() == Payload::Binary, FLAG_BINARY)
        | flag(block.excludes_self(), FLAG_EXCLUDE_SELF);
    out.reserve(HEAD_BYTES + CLIENT_HEAD_BYTES + block.size());
    out.extend_from_slice(&[VERSION, flags]);
    out.extend_from_slice(&origin.node.0);
    out.extend_from_slice(&origin.number.to_le_bytes());
    out.extend_from_slice(&block.time_ms().to_le_bytes());
    if let Some(by) = &by {
        let key = by.key.unwrap_or(ConnectionKey::NOBODY);
        out.extend_from_slice(&by.client);
        out.extend_from_slice(&key.core.to_le_bytes());
        out.extend_from_slice(&key.index.to_le_bytes());
        out.extend_from_slice(&key.generation.to_le_bytes());
        let user = u16::try_from(by.user.len()).expect("a block's user has such a length");
        out.extend_from_slice(&user.to_le_bytes());
        append_length(out, by.conn_info);
        append_length(out, by.chan_info);
    }
    append_length(out, block.tags().bytes());
    append_length(out, block.data());
    if let Some(by) = &by {
        out.extend_from_slice(by.user.as_bytes());
        out.extend_from_slice(by.conn_info);
        out.extend_from_slice(by.chan_info);
    }
    out.extend_from_slice(block.tags().bytes());
    out.extend_from_slice(block.data());
}

fn append_length(out: &mut Vec<u8>, section: &[u8]) {
    let length = u32::try_from(section.len()).expect("a block's parts have such a length");
    out.extend_from_slice(&length.to_le_bytes());
}

/// Reads which publication it is, and nothing else.
///
/// # Errors
/// It is cut off, or of another version.
pub fn origin(bytes: &[u8]) -> Result<Origin, WireError> {
    let mut cursor = Cursor(bytes);
    cursor.version()?;
    cursor.byte()?;
    cursor.origin()
}

/// Reads a publication.
///
/// # Errors
/// The bytes are none that this version can read.
pub fn decode(bytes: &[u8], reading: &Reading<'_>) -> Result<Received, WireError> {
    let mut cursor = Cursor(bytes);
    cursor.version()?;
    let flags = cursor.byte()?;
    if flags & !FLAGS != 0 {
        return Err(WireError::Flags(flags & !FLAGS));
    }
    let origin = cursor.origin()?;
    let now = Now { monotonic_us: reading.now_us, unix_ms: cursor.u64()? };
    let client = if flags & FLAG_CLIENT == 0 { None } else { Some(cursor.client()?) };
    let (tags, data) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let publisher = match &client {
        None => None,
        Some(client) => {
            let is_own = origin.node == reading.own && client.key != ConnectionKey::NOBODY;
            Some(Publisher {
                key: is_own.then_some(client.key),
                client: client.id,
                user: text(cursor.take(client.user)?, "user")?,
                conn_info: text(cursor.take(client.conn_info)?, "connection's info")?.as_bytes(),
                chan_info: text(cursor.take(client.chan_info)?, "subscription's info")?.as_bytes(),
                exclude_self: flags & FLAG_EXCLUDE_SELF != 0,
            })
        }
    };
    let tags = Tags::checked(cursor.take(tags)?).ok_or(WireError::Tags)?;
    let data = cursor.take(data)?;
    cursor.skip_fields()?;
    let payload = if flags & FLAG_BINARY == 0 { Payload::Json } else { Payload::Binary };
    if payload == Payload::Json {
        text(data, "data")?;
    }
    let block = Block::of(payload, &Parts { channel: reading.channel, publisher, tags, data, now });
    Ok(Received { origin, block })
}

fn text<'a>(bytes: &'a [u8], name: &'static str) -> Result<&'a str, WireError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| WireError::Text(name))
}

/// What is said of a client before the texts.
struct Client {
    id: [u8; CLIENT_BYTES],
    key: ConnectionKey,
    user: usize,
    conn_info: usize,
    chan_info: usize,
}

/// What has not been read yet.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(WireError::Cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn version(&mut self) -> Result<(), WireError> {
        match self.byte()? {
            VERSION => Ok(()),
            version => Err(WireError::Version(version)),
        }
    }

    fn origin(&mut self) -> Result<Origin, WireError> {
        Ok(Origin { node: NodeId(self.array()?), number: self.u64()? })
    }

    fn client(&mut self) -> Result<Client, WireError> {
        let id = self.array()?;
        let core = self.u16()?;
        let key = ConnectionKey { core, index: self.u32()?, generation: self.u32()? };
        let user = usize::from(self.u16()?);
        let (conn_info, chan_info) = (self.u32()? as usize, self.u32()? as usize);
        Ok(Client { id, key, user, conn_info, chan_info })
    }

    /// Passes over what newer nodes add.
    fn skip_fields(&mut self) -> Result<(), WireError> {
        while !self.0.is_empty() {
            self.byte()?;
            let length = self.u32()? as usize;
            self.take(length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::tags;
    use proptest::prelude::*;

    const OWN: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId(*b"another node's16");
    const KEY: ConnectionKey = ConnectionKey { core: 3, index: 70_000, generation: 9 };

    fn reading(own: NodeId) -> Reading<'static> {
        Reading { own, channel: "chat:lobby", now_us: 77 }
    }

    fn by(exclude_self: bool) -> Publisher<'static> {
        Publisher {
            key: Some(KEY),
            client: *b"client id, bytes",
            user: "jos\u{e9}",
            conn_info: b"{\"a\":1}",
            chan_info: b"",
            exclude_self,
        }
    }

    /// Every kind of block: who published, in which form, with tags or without.
    fn kinds() -> Vec<Block> {
        let now = Now { monotonic_us: 5, unix_ms: 1_796_072_400_123 };
        let packed = tags::pack(&[("k".into(), "v".into()), ("".into(), "".into())]);
        let packed = packed.expect("short");
        let mut kinds = Vec::new();
        for publisher in [None, Some(by(false)), Some(by(true))] {
            for tags in [Tags::default(), Tags::packed(&packed)] {
                for (payload, data) in [
                    (Payload::Json, b"{\"n\": [1,\"\xc3\xa9\"]}".as_slice()),
                    (Payload::Binary, b"\xff\r\n\0"),
                    (Payload::Binary, b""),
                ] {
                    let parts = Parts { channel: "chat:lobby", publisher, tags, data, now };
                    kinds.push(Block::of(payload, &parts));
                }
            }
        }
        kinds
    }

    fn encoded(block: &Block, node: NodeId) -> Vec<u8> {
        let mut out = Vec::new();
        encode(block, Origin { node, number: 1 << 33 | 7 }, &mut out);
        out
    }

    /// The layout as the module's page says it, written down a second time.
    fn by_the_page(block: &Block, node: NodeId) -> Vec<u8> {
        let by = block.publisher();
        let mut flags = u8::from(by.is_some());
        flags += if block.payload() == Payload::Binary { 2 } else { 0 };
        flags += if by.is_some_and(|by| by.exclude_self) { 4 } else { 0 };
        let mut parts: Vec<Vec<u8>> = vec![vec![1], vec![flags], node.0.to_vec()];
        parts.push(vec![7, 0, 0, 0, 2, 0, 0, 0]);
        parts.push(block.time_ms().to_le_bytes().to_vec());
        let short = |length: usize| vec![(length % 256) as u8, (length / 256) as u8];
        let long = |length: usize| [short(length % 65_536), short(length / 65_536)].concat();
        if let Some(by) = by {
            parts.push(b"client id, bytes".to_vec());
            parts.extend([short(3), long(70_000), long(9)]);
            parts.extend([short(by.user.len()), long(by.conn_info.len()), long(0)]);
        }
        parts.extend([long(block.tags().bytes().len()), long(block.data().len())]);
        if let Some(by) = by {
            parts.extend([by.user.as_bytes().to_vec(), by.conn_info.to_vec()]);
        }
        parts.extend([block.tags().bytes().to_vec(), block.data().to_vec()]);
        parts.concat()
    }

    #[test]
    fn every_kind_comes_back_as_it_went() {
        for block in kinds() {
            let bytes = encoded(&block, OTHER);
            assert_eq!(bytes, by_the_page(&block, OTHER));
            let received = decode(&bytes, &reading(OWN)).expect("whole");
            assert_eq!(received.origin, Origin { node: OTHER, number: 8_589_934_599 });
            assert_eq!(origin(&bytes), Ok(received.origin));
            let got = received.block;
            assert_eq!((got.channel(), got.received_us()), ("chat:lobby", 77), "it came here now");
            assert_eq!((got.time_ms(), got.payload()), (block.time_ms(), block.payload()));
            assert_eq!((got.data(), got.tags()), (block.data(), block.tags()));
            assert_eq!(got.excludes_self(), block.excludes_self());
            // No connection here is that of another node's publisher.
            let elsewhere = block.publisher().map(|by| Publisher { key: None, ..by });
            assert_eq!(got.publisher(), elsewhere);
            let own = decode(&encoded(&block, OWN), &reading(OWN)).expect("whole");
            assert_eq!(own.block.publisher(), block.publisher());
        }
    }

    #[test]
    fn a_delta_stays_here() {
        let block = &kinds()[0];
        let with = block.with_delta(b"a patch");
        assert_eq!(encoded(&with, OWN), encoded(block, OWN));
    }

    #[test]
    fn what_is_cut_is_refused_at_every_byte() {
        for block in kinds() {
            let bytes = encoded(&block, OTHER);
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end], &reading(OWN)), Err(WireError::Cut), "{end}");
                assert_eq!(origin(&bytes[..end]).is_ok(), end >= 26, "{end}");
            }
        }
    }

    #[test]
    fn newer_nodes_may_add_fields() {
        let block = &kinds()[8];
        let bytes = encoded(block, OTHER);
        let plain = decode(&bytes, &reading(OWN));
        let more = [bytes.as_slice(), b"\x09\x02\0\0\0ab", b"\x0a\0\0\0\0"].concat();
        assert_eq!(decode(&more, &reading(OWN)), plain);
        for end in bytes.len() + 1..more.len() {
            let is_whole = end == bytes.len() + 7;
            assert_eq!(decode(&more[..end], &reading(OWN)).is_ok(), is_whole, "{end}");
        }
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let whole = encoded(&kinds()[9], OTHER);
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            decode(&bytes, &reading(OWN)).expect_err("it is broken").to_string()
        };
        assert!(with(0, 2).contains("version 2"));
        assert!(with(1, whole[1] | 0x40).contains("0x40"));
        let texts = HEAD_BYTES + CLIENT_HEAD_BYTES + 8;
        assert!(with(texts, 0xff).contains("user"));
        assert!(with(texts + 5, 0xff).contains("connection's info"));
        assert!(with(texts + 5 + 7, 0xff).contains("tags"));
        assert!(with(texts + 5 + 7 + 4, 0xff).contains("tags"));
        assert!(with(whole.len() - 1, 0xff).contains("data"));
    }

    proptest! {
        #[test]
        fn mutants_are_read_or_refused(kind in 0_usize..18, at: usize, byte: u8, cut: usize) {
            let mut bytes = encoded(&kinds()[kind], OTHER);
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % 2);
            if let Ok(received) = decode(&bytes, &reading(OWN)) {
                let block = &received.block;
                prop_assert!(block.publisher().is_none_or(|by| by.key.is_none()));
                prop_assert_eq!(block.tags().bytes().is_empty(), block.tags().iter().count() == 0);
                // It can be written again, and read again as the same.
                let mut again = Vec::new();
                encode(block, received.origin, &mut again);
                prop_assert_eq!(decode(&again, &reading(OWN)), Ok(received));
            }
        }

        #[test]
        fn noise_is_never_a_panic(noise: Vec<u8>) {
            let _ = decode(&noise, &reading(OWN));
            let _ = decode(&[&[1, 15], noise.as_slice()].concat(), &reading(OWN));
        }
    }
}
