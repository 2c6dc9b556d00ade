//! A publication as it crosses cores and is kept in history: one immutable block, made once.
//!
//! Layout, little endian: lengths of channel u16, user u16, connection's info u32, subscription's
//! info u32 and tags u32; the publisher's connection (core u16, index u32, generation u32; all ones
//! if it is not one of this process); flags u8; the process's microsecond at which it was received
//! u64; Unix milliseconds u64; length of the delta u32. Then the channel; the publisher's client id
//! (16 bytes), where a client published; user, infos, tags, data, and the delta. The offset is
//! assigned by the home and travels beside the block.

use super::key::ConnectionKey;
use crate::clock::Now;
use crate::codec::command::{Payload, Tags};
use bytes::Bytes;

const HEAD: usize = 47;
const DELTA_LENGTH: usize = 43;
const FLAG_CLIENT: u8 = 1;
const FLAG_BINARY: u8 = 2;
const FLAG_EXCLUDE_SELF: u8 = 4;

/// Bytes of a client id.
pub const CLIENT_BYTES: usize = 16;

/// One publication, without its position in the channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Block(Bytes);

/// The parts of a block.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub channel: &'a str,
    /// `None` if it comes from the server API.
    pub publisher: Option<Publisher<'a>>,
    pub tags: Tags<'a>,
    pub data: &'a [u8],
    /// When it was received.
    pub now: Now,
}

/// The client that published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publisher<'a> {
    /// Its connection; `None` if that is not one of this process.
    pub key: Option<ConnectionKey>,
    /// What others know it by, unique everywhere.
    pub client: [u8; CLIENT_BYTES],
    pub user: &'a str,
    /// JSON, or empty.
    pub conn_info: &'a [u8],
    /// JSON, or empty.
    pub chan_info: &'a [u8],
    /// The publisher's own subscription does not receive it.
    pub exclude_self: bool,
}

impl Publisher<'_> {
    const NOBODY: Publisher<'static> = Publisher {
        key: None,
        client: [0; CLIENT_BYTES],
        user: "",
        conn_info: b"",
        chan_info: b"",
        exclude_self: false,
    };
}

impl Block {
    /// Builds the block of a publication whose payload is JSON. Raw CR and LF, which valid JSON has
    /// only as white space, become spaces here, once, because messages are separated by newlines.
    ///
    /// # Panics
    /// If a part is longer than its length field can express; all are bounded far below.
    #[must_use]
    pub fn new(parts: &Parts<'_>) -> Block {
        Block::of(Payload::Json, parts)
    }

    /// The same for a payload of either kind; bytes are not changed.
    ///
    /// # Panics
    /// As `new`.
    #[must_use]
    pub fn of(payload: Payload, parts: &Parts<'_>) -> Block {
        let by = parts.publisher.unwrap_or(Publisher::NOBODY);
        let client = if parts.publisher.is_some() { by.client.as_slice() } else { &[] };
        let sections = [
            parts.channel.as_bytes(),
            by.user.as_bytes(),
            by.conn_info,
            by.chan_info,
            parts.tags.bytes(),
        ];
        let size = sections.iter().map(|section| section.len()).sum::<usize>() + parts.data.len();
        let mut bytes = Vec::with_capacity(HEAD + client.len() + size);
        for section in &sections[..2] {
            let length = u16::try_from(section.len()).expect("names are bounded");
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        for section in &sections[2..] {
            let length = u32::try_from(section.len()).expect("infos and tags are bounded");
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        let key = by.key.unwrap_or(ConnectionKey::NOBODY);
        bytes.extend_from_slice(&key.core.to_le_bytes());
        bytes.extend_from_slice(&key.index.to_le_bytes());
        bytes.extend_from_slice(&key.generation.to_le_bytes());
        let by_client = if parts.publisher.is_some() { FLAG_CLIENT } else { 0 };
        let binary = if payload == Payload::Binary { FLAG_BINARY } else { 0 };
        let exclude_self = if by.exclude_self { FLAG_EXCLUDE_SELF } else { 0 };
        bytes.push(by_client | binary | exclude_self);
        bytes.extend_from_slice(&parts.now.monotonic_us.to_le_bytes());
        bytes.extend_from_slice(&parts.now.unix_ms.to_le_bytes());
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        debug_assert_eq!(bytes.len(), HEAD);
        bytes.extend_from_slice(sections[0]);
        bytes.extend_from_slice(client);
        for section in &sections[1..] {
            bytes.extend_from_slice(section);
        }
        let start = bytes.len();
        bytes.extend_from_slice(parts.data);
        for byte in &mut bytes[start..] {
            if matches!(byte, b'\r' | b'\n') && binary == 0 {
                *byte = b' ';
            }
        }
        Block(Bytes::from(bytes))
    }

    /// A block of the server API without tags.
    #[must_use]
    pub fn plain(channel: &str, data: &[u8], now: Now) -> Block {
        Block::new(&Parts { channel, publisher: None, tags: Tags::default(), data, now })
    }

    fn short(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[at], self.0[at + 1]]))
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn text(&self, start: usize, length: usize) -> &str {
        std::str::from_utf8(&self.0[start..start + length]).unwrap_or("")
    }

    fn long(&self, at: usize) -> u64 {
        u64::from(self.word(at)) | u64::from(self.word(at + 4)) << 32
    }

    /// Where each section begins, and the data last.
    fn starts(&self) -> [usize; 6] {
        let channel = HEAD;
        let client = if self.0[26] & FLAG_CLIENT == 0 { 0 } else { CLIENT_BYTES };
        let user = channel + self.short(0) + client;
        let conn_info = user + self.short(2);
        let chan_info = conn_info + self.word(4) as usize;
        let tags = chan_info + self.word(8) as usize;
        [channel, user, conn_info, chan_info, tags, tags + self.word(12) as usize]
    }

    /// The channel it was published in.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.text(HEAD, self.short(0))
    }

    /// The publisher; `None` if it came from the server API.
    #[must_use]
    pub fn publisher(&self) -> Option<Publisher<'_>> {
        if self.0[26] & FLAG_CLIENT == 0 {
            return None;
        }
        let core = u16::from_le_bytes([self.0[16], self.0[17]]);
        let key = ConnectionKey { core, index: self.word(18), generation: self.word(22) };
        let [_, user, conn_info, chan_info, tags, _] = self.starts();
        let mut client = [0; CLIENT_BYTES];
        client.copy_from_slice(&self.0[user - CLIENT_BYTES..user]);
        Some(Publisher {
            key: (key != ConnectionKey::NOBODY).then_some(key),
            client,
            user: self.text(user, conn_info - user),
            conn_info: &self.0[conn_info..chan_info],
            chan_info: &self.0[chan_info..tags],
            exclude_self: self.excludes_self(),
        })
    }

    /// Must the publisher's own subscription not receive it?
    #[must_use]
    pub fn excludes_self(&self) -> bool {
        self.0[26] & FLAG_EXCLUDE_SELF != 0
    }

    /// When it was received, in microseconds of the process.
    #[must_use]
    pub fn received_us(&self) -> u64 {
        self.long(27)
    }

    /// When it was received, in milliseconds of Unix time.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.long(35)
    }

    #[must_use]
    pub fn tags(&self) -> Tags<'_> {
        let [.., tags, data] = self.starts();
        Tags::packed(&self.0[tags..data])
    }

    /// The payload.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.0[self.starts()[5]..self.0.len() - self.delta_length()]
    }

    /// The difference from the previous publication's data (Fossil); `None` if no subscriber wants
    /// deltas, or it would not be shorter.
    #[must_use]
    pub fn delta(&self) -> Option<&[u8]> {
        let length = self.delta_length();
        (length > 0).then(|| &self.0[self.0.len() - length..])
    }

    fn delta_length(&self) -> usize {
        self.word(DELTA_LENGTH) as usize
    }

    /// The same publication with a delta.
    ///
    /// # Panics
    /// If it has one already.
    #[must_use]
    pub fn with_delta(&self, delta: &[u8]) -> Block {
        assert_eq!(self.delta_length(), 0, "a delta is made once");
        let length = u32::try_from(delta.len()).expect("it is shorter than the data");
        let mut bytes = Vec::with_capacity(self.0.len() + delta.len());
        bytes.extend_from_slice(&self.0[..DELTA_LENGTH]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.0[HEAD..]);
        bytes.extend_from_slice(delta);
        Block(Bytes::from(bytes))
    }

    /// The form of the payload.
    #[must_use]
    pub fn payload(&self) -> Payload {
        if self.0[26] & FLAG_BINARY == 0 { Payload::Json } else { Payload::Binary }
    }

    /// Bytes that it takes, which the bounds of history and recovery count.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({}, {:?})", self.channel(), String::from_utf8_lossy(self.data()))
    }
}

/// A publication and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub offset: u64,
    pub block: Block,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_it_was_made_of() {
        let key = ConnectionKey { core: 3, index: 70_000, generation: 9 };
        let (conn_info, chan_info) = (b"{\"a\":1}".as_slice(), b"2".as_slice());
        let client = *b"sixteen of bytes";
        let key = Some(key);
        let by = Publisher { key, client, user: "al", conn_info, chan_info, exclude_self: true };
        let packed = crate::codec::tags::pack(&[("k".into(), "v".into())]).expect("short");
        let now = Now { monotonic_us: 1 << 40, unix_ms: 1 << 41 };
        let parts = Parts {
            channel: "chat:lobby",
            publisher: Some(by),
            tags: Tags::packed(&packed),
            data: b"{\r\n \"a\":1}",
            now,
        };
        let block = Block::new(&parts);
        assert_eq!(block.channel(), "chat:lobby");
        assert_eq!(block.publisher(), Some(by));
        assert!(block.excludes_self());
        let elsewhere = Publisher { key: None, ..by };
        let remote = Block::new(&Parts { publisher: Some(elsewhere), ..parts });
        assert_eq!((remote.publisher(), remote.data()), (Some(elsewhere), block.data()));
        assert_eq!(block.tags().get("k"), Some("v"));
        assert_eq!(block.data(), b"{   \"a\":1}");
        assert_eq!((block.received_us(), block.time_ms()), (1 << 40, 1 << 41));
        let server = Block::plain("x", b"1", now);
        assert_eq!((server.publisher(), server.data()), (None, b"1".as_slice()));
        assert!(server.tags().is_empty() && server.payload() == Payload::Json);
        let binary = Block::of(Payload::Binary, &Parts { data: b"\r\n\0", ..parts });
        assert_eq!((binary.payload(), binary.data()), (Payload::Binary, b"\r\n\0".as_slice()));
        assert_eq!(binary.publisher(), Some(by));
        assert!(server.delta().is_none());
        let with = block.with_delta(b"patch");
        assert_eq!((with.delta(), with.data()), (Some(b"patch".as_slice()), block.data()));
        assert_eq!((with.publisher(), with.tags()), (block.publisher(), block.tags()));
    }
}
