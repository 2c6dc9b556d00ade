//! Members of channels in Redis: how a node notes its own, and reads and counts those of others.
//!
//! Each node has two hashes for a channel: its members by client id, and what counts them. They are
//! kept for `limits::REDIS_MEMBERS_S` after they were noted last, and belong to a node: those of a
//! dead one are passed over and expire. Must not know which nodes live. Invariants: no script walks
//! over members of which there may be many, except to count users; a list is read in parts, and has
//! each member once.

use super::error::StoreError;
use super::keys::Keys;
use super::resp::Value;
use super::resp::encode::Command;
use super::script::{By, Script, Scripts};
use crate::contract::block::CLIENT_BYTES;
use crate::contract::envelope::Who;
use crate::contract::key::ConnectionKey;
use crate::contract::presence::{Change, Entry};
use crate::contract::wire::NodeId;
use crate::contract::wire::members::{decode, encode};
use crate::limits::{REDIS_LIST_BYTES, REDIS_MEMBERS_S, REDIS_SCANNED};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Gives the client id of a connection of this node.
pub type ClientIds = Box<dyn Fn(ConnectionKey) -> [u8; CLIENT_BYTES]>;

/// Where members of a channel are.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub channel: &'a str,
    pub node: NodeId,
}

impl Scripts {
    /// Appends a request that notes who is in a channel on a node. It is answered by `noted`.
    pub fn note(
        &self,
        out: &mut Vec<u8>,
        (by, at): (By, Place<'_>),
        change: &Change,
        ids: &ClientIds,
    ) {
        let arguments = 3 + 2 * change.put.len() + change.gone.len();
        let mut command = self.run(out, (Script::Note, by), (2, arguments));
        self.keys().push_members(&mut command, at.channel, at.node);
        self.keys().push_counts(&mut command, at.channel, at.node);
        command.number(REDIS_MEMBERS_S.into()).number(change.anew.into());
        command.number(change.put.len() as u64);
        let mut data = Vec::new();
        for entry in &change.put {
            let client = match entry.member.who {
                Who::Here(connection) => ids(connection),
                Who::Elsewhere(client) => client,
            };
            data.clear();
            encode(entry, &mut data);
            command.part(&client).part(&data);
        }
        for connection in &change.gone {
            command.part(&ids(*connection));
        }
    }

    /// Appends a request that counts who is in a channel on other nodes. It is answered by
    /// `counted`.
    pub fn count(&self, out: &mut Vec<u8>, (by, own): (By, Place<'_>), others: &[NodeId]) {
        let mut command = self.run(out, (Script::Count, by), (1 + others.len(), 0));
        for node in std::iter::once(own.node).chain(others.iter().copied()) {
            self.keys().push_counts(&mut command, own.channel, node);
        }
    }
}

/// Is it noted?
///
/// # Errors
/// It is not, and what is noted may be wrong until it is noted anew.
pub fn noted(answer: &Value) -> Result<(), StoreError> {
    if matches!(answer, Value::Integer(_)) { Ok(()) } else { Err(StoreError::of(answer)) }
}

/// Members on other nodes, and the users that this node has not.
///
/// # Errors
/// They are not known.
pub fn counted(answer: &Value) -> Result<(u32, u32), StoreError> {
    if let Value::Array(parts) = answer
        && let [Value::Integer(clients), Value::Integer(users)] = parts[..]
    {
        let number = |it: i64| u32::try_from(it.max(0)).unwrap_or(u32::MAX);
        return Ok((number(clients), number(users)));
    }
    Err(StoreError::of(answer))
}

/// What a step of a list has brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Listed {
    /// The next command has to be sent.
    More,
    All(Box<[Entry]>),
    /// There are more than may be listed.
    Over,
}

/// A list of members that is being read: a command is sent, its answer received, until it is whole.
#[derive(Debug)]
pub struct Listing {
    /// Nodes that are still to be read, the one that is being read first.
    nodes: VecDeque<NodeId>,
    cursor: Bytes,
    /// A hash that changes while it is read may give one of its members twice.
    entries: BTreeMap<[u8; CLIENT_BYTES], Entry>,
    bytes: usize,
    most: usize,
    /// Members that cannot be read, and are left out.
    pub unreadable: usize,
}

impl Listing {
    /// Lists the members on these nodes, if they are not more than `most`.
    #[must_use]
    pub fn new(nodes: impl Iterator<Item = NodeId>, most: u32) -> Listing {
        let nodes = nodes.collect();
        let (cursor, most) = (Bytes::from_static(b"0"), most as usize);
        Listing { nodes, cursor, entries: BTreeMap::new(), bytes: 0, most, unreadable: 0 }
    }

    /// Is there nothing to be read?
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Appends the next command.
    ///
    /// # Panics
    /// If there is nothing to be read.
    pub fn command(&self, out: &mut Vec<u8>, keys: &Keys, channel: &str) {
        let node = *self.nodes.front().expect("there is something to be read");
        let mut command = Command::new(out, 5);
        command.part(b"HSCAN");
        keys.push_members(&mut command, channel, node);
        command.part(&self.cursor).part(b"COUNT").number(REDIS_SCANNED);
    }

    /// Takes the answer to a command.
    ///
    /// # Errors
    /// It is none.
    pub fn receive(&mut self, answer: &Value) -> Result<Listed, StoreError> {
        let Value::Array(parts) = answer else { return Err(StoreError::of(answer)) };
        let [Value::Blob(cursor), Value::Array(pairs)] = &parts[..] else {
            return Err(StoreError::of(answer));
        };
        for pair in pairs.chunks_exact(2) {
            self.take(pair);
        }
        if self.entries.len() > self.most || self.bytes > REDIS_LIST_BYTES {
            return Ok(Listed::Over);
        }
        self.cursor = cursor.clone();
        if &cursor[..] == b"0" {
            self.nodes.pop_front();
        }
        Ok(if self.is_whole() { Listed::All(self.all()) } else { Listed::More })
    }

    fn take(&mut self, pair: &[Value]) {
        match read(pair) {
            Some((client, entry, bytes)) => {
                if self.entries.insert(client, entry).is_none() {
                    self.bytes += bytes;
                }
            }
            None => self.unreadable += 1,
        }
    }

    /// What was read.
    pub fn all(&mut self) -> Box<[Entry]> {
        std::mem::take(&mut self.entries).into_values().collect()
    }
}

/// A member of an answer, its client id, and the bytes that it takes; none if it cannot be read.
fn read(pair: &[Value]) -> Option<([u8; CLIENT_BYTES], Entry, usize)> {
    let [Value::Blob(client), Value::Blob(data)] = pair else { return None };
    let client = <[u8; CLIENT_BYTES]>::try_from(&client[..]).ok()?;
    Some((client, decode(data, client).ok()?, data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::envelope::Member;

    fn blob(bytes: &[u8]) -> Value {
        Value::Blob(Bytes::copy_from_slice(bytes))
    }

    fn entry(client: u8) -> Entry {
        let member =
            Member { who: Who::Elsewhere([client; CLIENT_BYTES]), user: "u".into(), infos: None };
        Entry { member, listed: true, announced: false }
    }

    fn part(cursor: &str, clients: &[u8]) -> Value {
        let pairs = clients.iter().flat_map(|client| {
            let mut data = Vec::new();
            encode(&entry(*client), &mut data);
            [blob(&[*client; CLIENT_BYTES]), blob(&data)]
        });
        Value::Array(vec![blob(cursor.as_bytes()), Value::Array(pairs.collect())])
    }

    fn listing(most: u32) -> Listing {
        Listing::new([NodeId([1; 16]), NodeId([2; 16])].into_iter(), most)
    }

    fn asked(listing: &Listing) -> String {
        let mut out = Vec::new();
        listing.command(&mut out, &Keys::new("cc").expect("a good prefix"), "a");
        let text = String::from_utf8(out).expect("text");
        text.split("\r\n").skip(4).step_by(2).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn all_parts_of_all_nodes_are_read_and_each_member_once() {
        let mut listing = listing(3);
        assert!(asked(&listing).ends_with("01a 0 COUNT 256"), "{}", asked(&listing));
        assert_eq!(listing.receive(&part("17", &[1, 2])), Ok(Listed::More));
        assert!(asked(&listing).ends_with("01a 17 COUNT 256"), "{}", asked(&listing));
        assert_eq!(listing.receive(&part("0", &[2])), Ok(Listed::More));
        assert!(asked(&listing).ends_with("02a 0 COUNT 256"), "{}", asked(&listing));
        let all = Listed::All([1, 2, 3].map(entry).into());
        assert_eq!(listing.receive(&part("0", &[3])), Ok(all));
    }

    #[test]
    fn what_is_too_much_or_no_member_is_not_listed() {
        let mut many = listing(2);
        assert_eq!(many.receive(&part("9", &[1, 2, 3])), Ok(Listed::Over));
        let mut strange = listing(2);
        let pairs = vec![blob(b"short"), blob(b""), Value::Null, Value::Null];
        let answer = Value::Array(vec![blob(b"0"), Value::Array(pairs)]);
        assert_eq!(strange.receive(&answer), Ok(Listed::More));
        assert_eq!(strange.unreadable, 2);
        assert!(strange.receive(&Value::Null).is_err());
        assert!(counted(&Value::Null).is_err() && noted(&Value::Null).is_err());
    }
}
