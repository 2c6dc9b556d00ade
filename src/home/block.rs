//! A publication as it crosses cores and lies in history: one immutable block, made once.
//!
//! Layout, little endian: channel length u16, user length u16, publisher (core u16, index u32,
//! generation u32; all ones when it came from the server API), flags u8, the process's microsecond
//! it was received in u64; then channel, user, data. The offset is the home's to give and travels
//! beside the block.

use super::envelope::ConnectionKey;
use bytes::Bytes;

const HEAD: usize = 23;
const FLAG_INFO: u8 = 1;

/// One publication, without its place in the channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Block(Bytes);

impl Block {
    /// Builds the block of a publication. Raw CR and LF, which valid JSON has only as white space,
    /// become spaces here, once: newline batching downstream relies on it.
    ///
    /// # Panics
    /// When the channel's or the user's name is longer than a `u16` says; both are bounded far
    /// below.
    #[must_use]
    pub fn new(
        channel: &str,
        publisher: Option<(ConnectionKey, &str)>,
        data: &[u8],
        received_us: u64,
    ) -> Block {
        let (key, user) = publisher.map_or((ConnectionKey::NOBODY, ""), |(key, user)| (key, user));
        let mut bytes = Vec::with_capacity(HEAD + channel.len() + user.len() + data.len());
        let length =
            |text: &str| u16::try_from(text.len()).expect("names are bounded").to_le_bytes();
        bytes.extend_from_slice(&length(channel));
        bytes.extend_from_slice(&length(user));
        bytes.extend_from_slice(&key.core.to_le_bytes());
        bytes.extend_from_slice(&key.index.to_le_bytes());
        bytes.extend_from_slice(&key.generation.to_le_bytes());
        bytes.push(if publisher.is_some() { FLAG_INFO } else { 0 });
        bytes.extend_from_slice(&received_us.to_le_bytes());
        bytes.extend_from_slice(channel.as_bytes());
        bytes.extend_from_slice(user.as_bytes());
        let start = bytes.len();
        bytes.extend_from_slice(data);
        for byte in &mut bytes[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        Block(Bytes::from(bytes))
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

    /// The channel it was published in.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.text(HEAD, self.short(0))
    }

    /// Who published: connection and user; none when it came from the server API.
    #[must_use]
    pub fn publisher(&self) -> Option<(ConnectionKey, &str)> {
        (self.0[14] & FLAG_INFO != 0).then(|| {
            let core = u16::from_le_bytes([self.0[4], self.0[5]]);
            let key = ConnectionKey { core, index: self.word(6), generation: self.word(10) };
            (key, self.text(HEAD + self.short(0), self.short(2)))
        })
    }

    /// When it was received, in microseconds of the process.
    #[must_use]
    pub fn received_us(&self) -> u64 {
        u64::from(self.word(15)) | u64::from(self.word(19)) << 32
    }

    /// The payload.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.0[HEAD + self.short(0) + self.short(2)..]
    }

    /// Bytes it takes; what history and recovery bounds count.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gives_back_what_it_was_made_of() {
        let key = ConnectionKey { core: 3, index: 70_000, generation: 9 };
        let block = Block::new("chat:lobby", Some((key, "al")), b"{\r\n \"a\":1}", 1 << 40);
        assert_eq!(block.channel(), "chat:lobby");
        assert_eq!(block.publisher(), Some((key, "al")));
        assert_eq!(block.data(), b"{   \"a\":1}");
        let server = Block::new("x", None, b"1", 0);
        assert_eq!(block.received_us(), 1 << 40);
        assert_eq!((server.publisher(), server.data()), (None, b"1".as_slice()));
    }
}
