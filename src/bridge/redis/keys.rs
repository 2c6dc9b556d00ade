//! What things are called in Redis: `PREFIX:{TAG}CHANNEL` is a channel's stream and what its
//! publications are heard by. Everything else has a word before the tag, so that no channel's name
//! can be that of something else.
//!
//! Must not know what is kept under a name. Invariant: names in Redis depend on the prefix and the
//! channel alone, so that all nodes, and later versions of them, use the same.

use super::resp::encode::{Command, Decimal};
use crate::contract::wire::NodeId;

/// Slots that a Redis Cluster shares out among its nodes.
const SLOTS: usize = 16_384;

/// Parts into which channels fall, each with a tag, which puts all of it into one slot. A Redis
/// Cluster of 20 nodes gives each 12 or 13 of them. A script has to stay in one slot there, so
/// more parts would leave less to publish in one.
pub const PARTITIONS: usize = 256;

const SLOTS_PER_PARTITION: usize = SLOTS / PARTITIONS;

/// Bytes of a prefix, at most.
const PREFIX_BYTES: usize = 64;

/// One of the `PARTITIONS` parts of all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(u8);

impl Partition {
    /// The part that a channel falls into.
    #[must_use]
    pub fn of(channel: &str) -> Partition {
        Partition::of_slot(slot(channel.as_bytes()))
    }

    fn of_slot(slot: usize) -> Partition {
        debug_assert!(slot < SLOTS);
        // Fewer than 256 by the assertion below.
        Partition((slot / SLOTS_PER_PARTITION) as u8)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Partition> {
        (0..=u8::MAX).map(Partition)
    }
}

const _: () = assert!(PARTITIONS == 1 << u8::BITS && SLOTS.is_multiple_of(PARTITIONS));

/// Why a prefix cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// It is empty, or over 64 bytes.
    Length,
    /// It has a brace, which would be taken for a tag's, or what does not print.
    Letter(char),
}

impl std::fmt::Display for PrefixError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PrefixError::Length => write!(f, "must have 1 to {PREFIX_BYTES} bytes"),
            PrefixError::Letter(letter) => {
                write!(f, "has {letter:?}: only printing ASCII without braces is allowed")
            }
        }
    }
}

impl std::error::Error for PrefixError {}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<str>,
    /// By partition: its tag, in braces.
    tags: Box<[Box<str>]>,
    /// By partition: what a channel's key begins with.
    heads: Box<[Box<str>]>,
}

impl Keys {
    /// # Errors
    /// The prefix cannot be used.
    pub fn new(prefix: &str) -> Result<Keys, PrefixError> {
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES {
            return Err(PrefixError::Length);
        }
        let is_wrong = |letter: &char| !letter.is_ascii_graphic() || matches!(letter, '{' | '}');
        if let Some(letter) = prefix.chars().find(is_wrong) {
            return Err(PrefixError::Letter(letter));
        }
        let tags = tags();
        let heads = tags.iter().map(|tag| format!("{prefix}:{tag}").into()).collect();
        Ok(Keys { prefix: prefix.into(), tags, heads })
    }

    /// A channel's stream, and what its publications are heard by, in two pieces.
    #[must_use]
    pub fn channel<'a>(&'a self, name: &'a str) -> [&'a [u8]; 2] {
        [self.heads[usize::from(Partition::of(name).0)].as_bytes(), name.as_bytes()]
    }

    /// The channel whose key this is; none for the key of something else.
    #[must_use]
    pub fn name_of<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let tagged = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":{")?;
        let end = tagged.iter().position(|byte| *byte == b'}')?;
        let name = std::str::from_utf8(&tagged[end + 1..]).ok()?;
        (self.channel(name).concat() == key).then_some(name)
    }

    /// Appends to a command where the numbering of a channel is noted.
    pub fn push_numbering(&self, command: &mut Command<'_>, channel: &str) {
        let tag = &self.tags[usize::from(Partition::of(channel).0)];
        let parts = [self.prefix.as_bytes(), b":num", tag.as_bytes(), channel.as_bytes()];
        command.joined(&parts);
    }

    /// Appends to a command what notes the version of a channel's last publication.
    pub fn push_version(&self, command: &mut Command<'_>, channel: &str) {
        let tag = &self.tags[usize::from(Partition::of(channel).0)];
        command.joined(&[self.prefix.as_bytes(), b":ver", tag.as_bytes(), channel.as_bytes()]);
    }

    /// Appends to a command what notes that an idempotency key was carried out in a channel.
    pub fn push_done(&self, command: &mut Command<'_>, channel: &str, key: &str) {
        let tag = &self.tags[usize::from(Partition::of(channel).0)];
        // With its length said, no other pair of name and key makes the same text.
        let length = Decimal::new(channel.len() as u64);
        command.joined(&[
            self.prefix.as_bytes(),
            b":done",
            tag.as_bytes(),
            length.as_bytes(),
            b":",
            channel.as_bytes(),
            key.as_bytes(),
        ]);
    }

    /// What a node publishes to hear itself, as a channel and as a key.
    #[must_use]
    pub fn echo(&self, node: &str) -> Box<[u8]> {
        let tag = &self.tags[usize::from(Partition::of(node).0)];
        [self.prefix.as_bytes(), b":echo", tag.as_bytes(), node.as_bytes()].concat().into()
    }

    /// Appends to a command where the floor of the epochs of a partition's server is noted.
    pub fn push_floor(&self, command: &mut Command<'_>, partition: Partition) {
        let tag = &self.tags[usize::from(partition.0)];
        command.joined(&[self.prefix.as_bytes(), b":gen", tag.as_bytes()]);
    }

    /// Appends to a command the set of the users of a partition that a node holds.
    pub fn push_users(&self, command: &mut Command<'_>, partition: Partition, node: NodeId) {
        let tag = &self.tags[usize::from(partition.0)];
        let node = node.text();
        command.joined(&[self.prefix.as_bytes(), b":users", tag.as_bytes(), node.as_bytes()]);
    }

    /// The same, of the partition that a user falls into.
    pub fn push_users_of(&self, command: &mut Command<'_>, user: &str, node: NodeId) {
        self.push_users(command, Partition::of(user), node);
    }

    /// A node's messages from other nodes, and what is rung for them.
    #[must_use]
    pub fn control(&self, node: NodeId) -> String {
        let node = node.text();
        let tag = &self.tags[usize::from(Partition::of(&node).0)];
        format!("{}:control{tag}{node}", self.prefix)
    }

    /// Appends it to a command.
    pub fn push_control(&self, command: &mut Command<'_>, node: NodeId) {
        command.part(self.control(node).as_bytes());
    }

    /// Appends to a command where a node's members of a channel are noted.
    pub fn push_members(&self, command: &mut Command<'_>, channel: &str, node: NodeId) {
        self.push_of_node(command, b":here", channel, node);
    }

    /// Appends to a command where those are counted.
    pub fn push_counts(&self, command: &mut Command<'_>, channel: &str, node: NodeId) {
        self.push_of_node(command, b":count", channel, node);
    }

    fn push_of_node(&self, command: &mut Command<'_>, word: &[u8], channel: &str, node: NodeId) {
        let tag = self.tags[usize::from(Partition::of(channel).0)].as_bytes();
        // The name of a node has always the same length.
        let (prefix, node) = (self.prefix.as_bytes(), node.text());
        command.joined(&[prefix, word, tag, node.as_bytes(), channel.as_bytes()]);
    }

    /// Appends to a command where the nodes that share a Redis are noted.
    pub fn push_nodes(&self, command: &mut Command<'_>) {
        command.joined(&[self.prefix.as_bytes(), b":nodes", self.tags[0].as_bytes()]);
    }
}

/// By partition: the smallest number that is in its slots, in braces.
fn tags() -> Box<[Box<str>]> {
    let mut tags: Box<[Box<str>]> = (0..PARTITIONS).map(|_| Box::default()).collect();
    let (mut missing, mut number) = (PARTITIONS, 0);
    while missing > 0 {
        let digits = Decimal::new(number);
        let tag = &mut tags[usize::from(Partition::of_slot(slot(digits.as_bytes())).0)];
        if tag.is_empty() {
            *tag = format!("{{{number}}}").into();
            missing -= 1;
        }
        number += 1;
    }
    tags
}

/// The slot of a text, as Redis Cluster computes it for what is in braces.
fn slot(text: &[u8]) -> usize {
    let step = |crc: u16, byte: &u8| crc << 8 ^ CRC[usize::from((crc >> 8) as u8 ^ byte)];
    usize::from(text.iter().fold(0, step)) % SLOTS
}

/// CRC-16/XMODEM of each byte.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new("cc").expect("a good prefix")
    }

    fn channel(name: &str) -> String {
        String::from_utf8(keys().channel(name).concat()).expect("text")
    }

    fn pushed(push: impl Fn(&mut Command<'_>)) -> String {
        let mut out = Vec::new();
        push(&mut Command::new(&mut out, 1));
        String::from_utf8(out).expect("text").lines().nth(2).expect("a part").to_owned()
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // The check value of CRC-16/XMODEM, and slots that its documentation names.
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!((slot(b""), slot(b"foo"), slot(b"user1000")), (0, 12_182, 3_443));
    }

    #[test]
    fn names_stay_the_same_for_ever() {
        assert_eq!(channel("chat:lobby"), "cc:{27}chat:lobby");
        assert_eq!(channel(""), "cc:{460}");
        let floor = pushed(|it| keys().push_floor(it, Partition::of("chat:lobby")));
        assert_eq!(floor, "cc:gen{27}");
        let numbering = pushed(|it| keys().push_numbering(it, "chat:lobby"));
        assert_eq!(numbering, "cc:num{27}chat:lobby");
        let done = pushed(|it| keys().push_done(it, "chat:lobby", "k1"));
        assert_eq!(done, "cc:done{27}10:chat:lobbyk1");
        let node = NodeId([1; 16]);
        let members = pushed(|it| keys().push_members(it, "chat:lobby", node));
        assert_eq!(members, format!("cc:here{{27}}{}chat:lobby", "01".repeat(16)));
        let counts = pushed(|it| keys().push_counts(it, "chat:lobby", node));
        assert_eq!(counts, members.replace("here", "count"));
    }

    #[test]
    fn each_partition_has_a_tag_in_its_own_slots() {
        let keys = keys();
        for partition in Partition::all() {
            let tag = &keys.tags[usize::from(partition.0)];
            let inside = tag.strip_prefix('{').and_then(|it| it.strip_suffix('}')).expect("braces");
            assert_eq!(Partition::of(inside), partition, "{tag}");
        }
    }

    #[test]
    fn channels_spread_over_the_partitions() {
        let mut counts = [0_u32; PARTITIONS];
        for number in 0..100_000 {
            counts[usize::from(Partition::of(&format!("chat:room-{number}")).0)] += 1;
        }
        assert!(counts.iter().all(|count| (250..=550).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_leads_back_to_its_channel_and_to_no_other() {
        let keys = keys();
        let all = ["", "gen", "chat:lobby", "{a}", "}{", "a{27}b", "\u{1f41f}", "cc:{27}x"];
        for name in all {
            assert_eq!(keys.name_of(channel(name).as_bytes()), Some(name));
        }
        let floor = pushed(|it| keys.push_floor(it, Partition::of("gen")));
        let done = pushed(|it| keys.push_done(it, "a", "b"));
        let echo = String::from_utf8(keys.echo("0a").into()).expect("text");
        assert!(echo.starts_with("cc:echo{") && echo.ends_with("}0a"), "{echo}");
        assert_eq!(keys.name_of(echo.as_bytes()), None);
        let others = ["", "cc", "cc:", "cc:{27", "cc:{28}chat:lobby", "dd:{27}chat:lobby"];
        for other in others.into_iter().chain([floor.as_str(), done.as_str()]) {
            assert_eq!(keys.name_of(other.as_bytes()), None, "{other}");
        }
        let pair = |name, key| pushed(|it| keys.push_done(it, name, key));
        assert_ne!(pair("a", "bc"), pair("ab", "c"));
    }

    #[test]
    fn a_prefix_is_one_that_tags_survive() {
        let wrong = |prefix: &str| Keys::new(prefix).expect_err("not a prefix");
        assert_eq!(wrong(""), PrefixError::Length);
        assert_eq!(wrong(&"a".repeat(65)), PrefixError::Length);
        assert_eq!(
            (wrong("a{b"), wrong("a b")),
            (PrefixError::Letter('{'), PrefixError::Letter(' '))
        );
        assert!(Keys::new("my.app:v2").is_ok());
    }
}
