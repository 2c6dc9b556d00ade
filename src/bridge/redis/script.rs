//! The scripts that change streams: requests to commands, and answers to what became of each.
//!
//! Must not know calls of homes, nor what is in a block. Invariant: one answer for each item of a
//! request, in their order, or one error for the whole of it, of which nothing was carried out.

use super::error::StoreError;
use super::id::{self, EPOCHS_END, Id};
use super::keys::{Keys, Partition};
use super::resp::Value;
use super::resp::encode::{Command, Decimal, command};
use crate::contract::engine::Wish;
use crate::contract::position::{Epoch, Position, Version};
use crate::contract::wire::NodeId;
use crate::limits::{
    CONTROL_KEPT, CONTROL_KEPT_S, IDEMPOTENCY_MS, NODE_DEAD_MS, NODE_FORGOTTEN_MS, NODES,
    REDIS_CLOCK_SKEW_US, REDIS_OPENED_S,
};
use sha1::{Digest, Sha1};

/// One of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Publishes items whose epochs are known.
    Publish,
    /// Publishes one item, or opens a stream, whatever the epoch is.
    Begin,
    /// Keeps the floor of epochs.
    Floor,
    /// Keeps which nodes live.
    Lease,
    /// Leaves a message for a node.
    Tell,
    /// Notes members of a channel.
    Note,
    /// Counts them.
    Count,
}

impl Script {
    pub const ALL: [Script; 7] = [
        Script::Publish,
        Script::Begin,
        Script::Floor,
        Script::Lease,
        Script::Tell,
        Script::Note,
        Script::Count,
    ];

    fn text(self) -> &'static str {
        match self {
            Script::Publish => include_str!("pub.lua"),
            Script::Begin => include_str!("begin.lua"),
            Script::Floor => include_str!("gen.lua"),
            Script::Lease => include_str!("lease.lua"),
            Script::Tell => include_str!("tell.lua"),
            Script::Note => include_str!("note.lua"),
            Script::Count => include_str!("count.lua"),
        }
    }
}

/// How Redis is told which script is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By its digest, which is short; the error is `NoScript` where Redis does not have it.
    Digest,
    /// By its text, which always works.
    Text,
}

/// How what is published is kept, for all items of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Entries that a stream keeps.
    pub size: u32,
    /// Seconds for which it keeps them after the last; 0: for ever.
    pub ttl_s: u32,
    /// Seconds for which the numbering of a stream that expires goes on, after the last as well.
    pub numbering_s: u32,
}

impl Class {
    /// How a stream is kept that was only opened. Its numbering outlives it, so that it goes on
    /// where somebody who listens opens it again.
    pub const OPENED: Class =
        Class { size: 1, ttl_s: REDIS_OPENED_S, numbering_s: 2 * REDIS_OPENED_S };

    /// What a home wishes.
    #[must_use]
    pub fn of(wish: &Wish) -> Class {
        Class { size: wish.size, ttl_s: wish.ttl_s, numbering_s: wish.numbering_s }
    }
}

/// One publication.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    pub channel: &'a str,
    /// The epoch that the stream is believed to be of. It must not be below the floor.
    pub epoch: Epoch,
    /// Carried out once in its channel; "" for none.
    pub key: &'a str,
    pub block: &'a [u8],
}

/// What has to be begun.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    pub channel: &'a str,
    pub class: Class,
    /// No epoch below it goes on.
    pub floor: Epoch,
    /// What a new epoch is if nothing is above it: microseconds of Unix time.
    pub candidate: Epoch,
    /// Where the channel has come to before. A stream that has not come as far has lost its end.
    pub low: Option<Position>,
    /// What is published; without it the stream is opened, so that it has a position.
    pub item: Option<Kept<'a>>,
}

/// A publication whose epoch is not said.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// As in `Item`.
    pub key: &'a str,
    pub block: &'a [u8],
    /// It is published only if it is newer than the last publication, where that has one.
    pub version: Option<&'a Version>,
}

/// Who is spoken to.
#[derive(Clone, Copy, Debug)]
pub struct Incarnation<'a> {
    /// Any partition of that server.
    pub partition: Partition,
    /// Its replication id.
    pub id: &'a str,
    /// Microseconds of Unix time.
    pub now_us: u64,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is published, and has this position. Of a stream that was opened: its last.
    Published(Position),
    /// Its key was carried out before, by the publication at this position; or this one has a
    /// version that is as new.
    Repeated(Position),
    /// There is no stream of that epoch: the item has to be begun.
    Unknown,
    /// Not carried out.
    Failed(StoreError),
}

/// The floor of epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    pub epoch: Epoch,
    /// This request raised it: the server is another than before, or has lost what it held.
    pub raised: bool,
}

type Hex = [u8; 40];

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Scripts {
    keys: Keys,
    /// By script, in the order of `Script::ALL`.
    digests: [Hex; Script::ALL.len()],
}

impl Scripts {
    #[must_use]
    pub fn new(keys: Keys) -> Scripts {
        Scripts { keys, digests: Script::ALL.map(|script| hex(script.text())) }
    }

    /// The names that the requests use.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Appends what makes Redis keep a script, so that it can be meant by its digest. It answers
    /// with the digest.
    pub fn load(out: &mut Vec<u8>, script: Script) {
        command(out, &[b"SCRIPT", b"LOAD", script.text().as_bytes()]);
    }

    /// Begins a command that runs a script with so many keys and arguments.
    pub(super) fn run<'a>(
        &self,
        out: &'a mut Vec<u8>,
        (script, by): (Script, By),
        (keys, arguments): (usize, usize),
    ) -> Command<'a> {
        let mut command = Command::new(out, 3 + keys + arguments);
        match by {
            By::Digest => command.part(b"EVALSHA").part(&self.digests[script as usize]),
            By::Text => command.part(b"EVAL").part(script.text().as_bytes()),
        };
        command.number(keys as u64);
        command
    }

    /// Appends a request that publishes items. Of a Redis Cluster they have to be in one partition.
    /// It is answered by `outcomes`.
    pub fn publish<'i, I>(&self, out: &mut Vec<u8>, by: By, class: Class, items: I)
    where
        I: Iterator<Item = Item<'i>> + Clone,
    {
        let count = items.clone().count();
        debug_assert!(count > 0, "a request without items");
        let keyed = items.clone().filter(|item| !item.key.is_empty());
        let keys = 2 * count + keyed.clone().count();
        let mut command = self.run(out, (Script::Publish, by), (keys, 4 + 3 * count));
        for item in items.clone() {
            command.joined(&self.keys.channel(item.channel));
        }
        for item in items.clone() {
            self.keys.push_numbering(&mut command, item.channel);
        }
        for item in keyed {
            self.keys.push_done(&mut command, item.channel, item.key);
        }
        push_class(&mut command, class);
        let mut place = 2 * count as u64;
        for item in items {
            debug_assert!(item.epoch.0 < EPOCHS_END, "no stream is of this epoch: {item:?}");
            command.joined(&[Decimal::new(item.epoch.0).as_bytes(), b"-*"]);
            if item.key.is_empty() {
                command.part(b"");
            } else {
                place += 1;
                command.number(place);
            }
            command.part(item.block);
        }
    }

    /// Appends a request that begins, if it has to, an epoch. It is answered by `begun`.
    pub fn begin(&self, out: &mut Vec<u8>, by: By, begin: &Begin<'_>) {
        let key = begin.item.map_or("", |item| item.key);
        let version = begin.item.and_then(|item| item.version);
        let versions = usize::from(version.is_some());
        let keys = 2 + usize::from(!key.is_empty()) + versions;
        let arguments = 7 + usize::from(begin.item.is_some()) + 2 * versions;
        let mut command = self.run(out, (Script::Begin, by), (keys, arguments));
        command.joined(&self.keys.channel(begin.channel));
        self.keys.push_numbering(&mut command, begin.channel);
        if !key.is_empty() {
            self.keys.push_done(&mut command, begin.channel, key);
        }
        if version.is_some() {
            self.keys.push_version(&mut command, begin.channel);
        }
        push_class(&mut command, begin.class);
        command.number(begin.floor.0).number(begin.candidate.0);
        // No stream can have come to a position of such an epoch.
        let low = begin.low.filter(|low| low.epoch.0 < EPOCHS_END);
        let low = low.unwrap_or(Position { epoch: Epoch(0), offset: 0 });
        command.joined(&Id::new(low).pieces());
        if let Some(item) = begin.item {
            command.part(item.block);
        }
        if let Some(version) = version {
            command.number(version.number).part(version.epoch.as_bytes());
        }
    }

    /// Appends a request for the floor. It is answered by `floor`.
    ///
    /// A floor that is raised is above the clock of whoever began an epoch before, if no two clocks
    /// are `limits::REDIS_CLOCK_SKEW_US` apart.
    pub fn incarnation(&self, out: &mut Vec<u8>, by: By, server: &Incarnation<'_>) {
        let mut command = self.run(out, (Script::Floor, by), (1, 2));
        self.keys.push_floor(&mut command, server.partition);
        command.part(server.id.as_bytes());
        command.number(server.now_us.saturating_add(REDIS_CLOCK_SKEW_US));
    }

    /// Appends what leaves a message for a node and rings it. It is answered by a blob.
    pub fn tell(&self, out: &mut Vec<u8>, by: By, node: NodeId, message: &[u8]) {
        let mut command = self.run(out, (Script::Tell, by), (1, 3));
        self.keys.push_control(&mut command, node);
        command.number(CONTROL_KEPT as u64).number(CONTROL_KEPT_S).part(message);
    }

    /// Appends a node's beat, with what it says of itself. It is answered by
    /// `Directory::answered`.
    pub fn lease(&self, out: &mut Vec<u8>, by: By, node: NodeId, record: &[u8]) {
        let mut command = self.run(out, (Script::Lease, by), (1, 5));
        self.keys.push_nodes(&mut command);
        command.part(node.text().as_bytes()).part(record);
        command.number(NODE_DEAD_MS).number(NODE_FORGOTTEN_MS).number(NODES as u64);
    }
}

fn push_class(command: &mut Command<'_>, class: Class) {
    // What cannot be read any more has a numbering still.
    let numbering_s = class.numbering_s.max(class.ttl_s).max(1);
    command.number(class.size.into()).number(class.ttl_s.into()).number(IDEMPOTENCY_MS);
    command.number(numbering_s.into());
}

fn hex(text: &str) -> Hex {
    let digest = Sha1::digest(text);
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    hex
}

/// What became of the items of a `publish`, in their order.
///
/// # Errors
/// Nothing was carried out; unless the cause is `Unexpected`, of which nothing is known.
pub fn outcomes(answer: Value, items: usize) -> Result<Vec<Outcome>, StoreError> {
    match answer {
        Value::Array(answers) if answers.len() == items => {
            answers.into_iter().map(outcome).collect()
        }
        answer => Err(StoreError::of(&answer)),
    }
}

/// What became of a `begin`: anything but `Unknown`.
///
/// # Errors
/// As `outcomes`.
pub fn begun(answer: Value) -> Result<Outcome, StoreError> {
    match answer {
        Value::Blob(_) => outcome(answer),
        answer => Err(StoreError::of(&answer)),
    }
}

fn outcome(answer: Value) -> Result<Outcome, StoreError> {
    match &answer {
        Value::Null => Ok(Outcome::Unknown),
        Value::Error(text) => Ok(Outcome::Failed(StoreError::new(text))),
        Value::Blob(text) => {
            let repeated = text.strip_prefix(b"=");
            let position = id::position(repeated.unwrap_or(text));
            let outcome = position.map(match repeated {
                Some(_) => Outcome::Repeated,
                None => Outcome::Published,
            });
            outcome.ok_or_else(|| StoreError::of(&answer))
        }
        _ => Err(StoreError::of(&answer)),
    }
}

/// The floor that an `incarnation` is answered with.
///
/// # Errors
/// It is not known.
pub fn floor(answer: &Value) -> Result<Floor, StoreError> {
    if let Value::Array(parts) = answer
        && let [Value::Integer(epoch), Value::Integer(raised)] = parts[..]
        && let Ok(epoch) = u64::try_from(epoch)
        && epoch < EPOCHS_END
    {
        return Ok(Floor { epoch: Epoch(epoch), raised: raised != 0 });
    }
    Err(StoreError::of(answer))
}

#[cfg(test)]
mod tests;
