//! What a simulated Redis holds: streams and texts by their keys, each with its end.
//!
//! Must not know connections, nor what keys mean. Invariant: a stream's ids rise, and `last` is
//! never below any of them.

use super::resp::Reply;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Never.
const FOR_EVER: u64 = u64::MAX;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_ABOVE: &str =
    "ERR The ID specified in XADD is equal or smaller than the target stream top item";
const NO_KEY: &str = "ERR no such key";

/// The id of an entry: `EPOCH-OFFSET`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub epoch: u64,
    pub offset: u64,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

impl Id {
    /// Reads one.
    #[must_use]
    pub fn read(text: &str) -> Option<Id> {
        let (epoch, offset) = text.split_once('-')?;
        Some(Id { epoch: epoch.parse().ok()?, offset: offset.parse().ok()? })
    }
}

#[derive(Clone, Debug, Default)]
struct Stream {
    entries: VecDeque<(Id, Bytes)>,
    last: Id,
    /// The one field of its entries.
    field: &'static str,
}

#[derive(Clone, Debug)]
enum Value {
    Stream(Stream),
    Text(Bytes),
    /// A set is one without values.
    Hash(BTreeMap<Bytes, Bytes>),
}

#[derive(Clone, Debug)]
struct Kept {
    value: Value,
    until_us: u64,
}

/// The id that an entry is to get.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// The next of this epoch.
    Next(u64),
    /// The next, by the time.
    Now,
    At(Id),
}

/// An entry to add.
#[derive(Debug)]
pub struct Add<'a> {
    pub key: &'a Bytes,
    /// The stream is made where there is none.
    pub makes: bool,
    /// Entries that the stream keeps.
    pub keeps: usize,
    pub id: Wanted,
    pub field: &'static str,
    pub block: Bytes,
}

/// Part of a stream, as XRANGE and XREVRANGE are told it. Bounds are included.
#[derive(Debug)]
pub struct Range<'a> {
    pub key: &'a Bytes,
    pub from: Id,
    pub to: Id,
    /// Only what is beyond the bound that the reading begins at.
    pub is_open: bool,
    pub falls: bool,
    pub count: usize,
}

/// Why what grows is refused, and the same for whatever writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    OutOfMemory,
    CannotSave,
    TooFewReplicas,
    ReadOnly,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Refusal::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Refusal::CannotSave => "MISCONF Errors writing to the AOF file: no space",
            Refusal::TooFewReplicas => "NOREPLICAS Not enough good replicas to write.",
            Refusal::ReadOnly => "READONLY You can't write against a read only replica.",
        }
    }
}

/// See the module's page. Times are in microseconds of Unix time.
#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    keys: BTreeMap<Bytes, Kept>,
    /// What is written is refused.
    pub refusal: Option<Refusal>,
}

impl Keyspace {
    /// May something be written? What does not grow is not refused for want of memory.
    fn check(&self, grows: bool) -> Result<(), String> {
        match self.refusal {
            Some(Refusal::OutOfMemory) if !grows => Ok(()),
            Some(refusal) => Err(refusal.text().into()),
            None => Ok(()),
        }
    }

    fn find(&mut self, key: &Bytes, now_us: u64) -> Option<&mut Kept> {
        if self.keys.get(key).is_some_and(|kept| kept.until_us <= now_us) {
            self.keys.remove(key);
        }
        self.keys.get_mut(key)
    }

    fn stream(&mut self, key: &Bytes, now_us: u64) -> Result<Option<&mut Stream>, String> {
        match self.find(key, now_us) {
            Some(Kept { value: Value::Stream(stream), .. }) => Ok(Some(stream)),
            Some(_) => Err(WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    /// GET.
    ///
    /// # Errors
    /// It is no text.
    pub fn get(&mut self, key: &Bytes, now_us: u64) -> Result<Option<Bytes>, String> {
        match self.find(key, now_us) {
            Some(Kept { value: Value::Text(text), .. }) => Ok(Some(text.clone())),
            Some(_) => Err(WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    /// SET, for so long.
    ///
    /// # Errors
    /// Writing is refused.
    pub fn set(&mut self, key: &Bytes, text: Bytes, until_us: Option<u64>) -> Result<(), String> {
        self.check(true)?;
        let kept = Kept { value: Value::Text(text), until_us: until_us.unwrap_or(FOR_EVER) };
        self.keys.insert(key.clone(), kept);
        Ok(())
    }

    /// Microseconds for which a key is kept yet, as TTL says in seconds; 0 where there is no end,
    /// or no key.
    pub fn left_us(&mut self, key: &Bytes, now_us: u64) -> u64 {
        let until_us = self.find(key, now_us).map_or(FOR_EVER, |kept| kept.until_us);
        if until_us == FOR_EVER { 0 } else { until_us - now_us }
    }

    /// HGETALL.
    ///
    /// # Errors
    /// It is no hash.
    pub fn fields(&mut self, key: &Bytes, now_us: u64) -> Result<BTreeMap<Bytes, Bytes>, String> {
        match self.find(key, now_us) {
            Some(Kept { value: Value::Hash(fields), .. }) => Ok(fields.clone()),
            Some(_) => Err(WRONG_TYPE.into()),
            None => Ok(BTreeMap::new()),
        }
    }

    /// SADD and SREM: how many members it has more, or less.
    ///
    /// # Errors
    /// It is no set, or writing is refused.
    pub fn change_set(
        &mut self,
        key: &Bytes,
        (members, adds): (&[Bytes], bool),
        now_us: u64,
    ) -> Result<i64, String> {
        self.check(adds)?;
        let mut fields = self.fields(key, now_us)?;
        let before = fields.len() as i64;
        for member in members {
            if adds {
                fields.insert(member.clone(), Bytes::new());
            } else {
                fields.remove(member);
            }
        }
        let count = (fields.len() as i64 - before).abs();
        let until_us = self.find(key, now_us).map_or(FOR_EVER, |kept| kept.until_us);
        if fields.is_empty() {
            self.keys.remove(key);
        } else {
            self.keys.insert(key.clone(), Kept { value: Value::Hash(fields), until_us });
        }
        Ok(count)
    }

    /// DEL: how many keys went.
    ///
    /// # Errors
    /// Writing is refused.
    pub fn delete(&mut self, key: &Bytes, now_us: u64) -> Result<i64, String> {
        self.check(false)?;
        let count = i64::from(self.find(key, now_us).is_some());
        self.keys.remove(key);
        Ok(count)
    }

    /// What HDEL and HSET leave of a hash, until its end.
    ///
    /// # Errors
    /// Writing is refused.
    pub fn set_fields(
        &mut self,
        key: &Bytes,
        fields: BTreeMap<Bytes, Bytes>,
        until_us: u64,
    ) -> Result<(), String> {
        self.check(true)?;
        self.keys.insert(key.clone(), Kept { value: Value::Hash(fields), until_us });
        Ok(())
    }

    /// XADD: the id that the entry got; none where there is no stream.
    ///
    /// # Errors
    /// The id is not above the last, or writing is refused.
    pub fn add(&mut self, add: Add<'_>, now_us: u64) -> Result<Option<Id>, String> {
        self.check(true)?;
        if self.stream(add.key, now_us)?.is_none() {
            if !add.makes {
                return Ok(None);
            }
            let value = Value::Stream(Stream::default());
            self.keys.insert(add.key.clone(), Kept { value, until_us: FOR_EVER });
        }
        let Some(stream) = self.stream(add.key, now_us)? else { return Ok(None) };
        let last = stream.last;
        let id = match add.id {
            Wanted::At(id) => id,
            Wanted::Now if now_us / 1_000 > last.epoch => Id { epoch: now_us / 1_000, offset: 0 },
            Wanted::Now => Id { offset: last.offset + 1, ..last },
            Wanted::Next(epoch) if epoch == last.epoch => Id { epoch, offset: last.offset + 1 },
            Wanted::Next(epoch) => Id { epoch, offset: 0 },
        };
        if id <= last {
            return Err(NOT_ABOVE.into());
        }
        (stream.last, stream.field) = (id, add.field);
        stream.entries.push_back((id, add.block));
        while stream.entries.len() > add.keeps {
            stream.entries.pop_front();
        }
        Ok(Some(id))
    }

    /// XTRIM to nothing, or to what is not below an id: how many entries went.
    ///
    /// # Errors
    /// It is no stream, or writing is refused.
    pub fn trim(&mut self, key: &Bytes, below: Option<Id>, now_us: u64) -> Result<i64, String> {
        self.check(false)?;
        let Some(stream) = self.stream(key, now_us)? else { return Ok(0) };
        let before = stream.entries.len();
        stream.entries.retain(|(id, _)| below.is_some_and(|below| *id >= below));
        Ok((before - stream.entries.len()) as i64)
    }

    /// XSETID.
    ///
    /// # Errors
    /// There is no stream, or writing is refused.
    pub fn set_id(&mut self, key: &Bytes, id: Id, now_us: u64) -> Result<(), String> {
        self.check(true)?;
        let stream = self.stream(key, now_us)?.ok_or(NO_KEY)?;
        debug_assert!(stream.entries.is_empty() || stream.last <= id, "ids rise");
        stream.last = id;
        Ok(())
    }

    /// EXPIRE: how many keys there are of this name.
    ///
    /// # Errors
    /// Writing is refused.
    pub fn expire(&mut self, key: &Bytes, until_us: u64, now_us: u64) -> Result<i64, String> {
        self.check(false)?;
        let Some(kept) = self.find(key, now_us) else { return Ok(0) };
        kept.until_us = until_us;
        Ok(1)
    }

    /// The last id that a stream gave, as XINFO says it.
    ///
    /// # Errors
    /// There is no stream.
    pub fn last_id(&mut self, key: &Bytes, now_us: u64) -> Result<Id, String> {
        Ok(self.stream(key, now_us)?.ok_or(NO_KEY)?.last)
    }

    /// XRANGE or XREVRANGE.
    ///
    /// # Errors
    /// It is no stream.
    pub fn range(&mut self, range: &Range<'_>, now_us: u64) -> Result<Reply, String> {
        let Some(stream) = self.stream(range.key, now_us)? else {
            return Ok(Reply::List(Vec::new()));
        };
        let first = if range.falls { range.to } else { range.from };
        let inside = |(id, _): &&(Id, Bytes)| {
            *id >= range.from && *id <= range.to && !(range.is_open && *id == first)
        };
        let inside = stream.entries.iter().filter(inside);
        let field = stream.field;
        let entry = |(id, block): &(Id, Bytes)| {
            let fields = vec![Reply::text(field), Reply::Blob(block.clone())];
            Reply::List(vec![Reply::text(&id.to_string()), Reply::List(fields)])
        };
        Ok(Reply::List(if range.falls {
            inside.rev().take(range.count).map(entry).collect()
        } else {
            inside.take(range.count).map(entry).collect()
        }))
    }

    /// The keys, those whose time is over included.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.keys()
    }

    /// Forgets a key, as an eviction does.
    pub fn evict(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(key: &Bytes, id: Wanted) -> Add<'_> {
        Add { key, makes: true, keeps: 2, id, field: "b", block: Bytes::new() }
    }

    #[test]
    fn ids_rise_and_streams_are_trimmed() {
        let (mut keys, key) = (Keyspace::default(), Bytes::from_static(b"a"));
        let at = |epoch, offset| Id { epoch, offset };
        let none = keys.add(Add { makes: false, ..add(&key, Wanted::Next(7)) }, 0);
        assert_eq!(none, Ok(None));
        assert_eq!(keys.add(add(&key, Wanted::At(at(7, 1))), 0), Ok(Some(at(7, 1))));
        assert_eq!(keys.add(add(&key, Wanted::Next(7)), 0), Ok(Some(at(7, 2))));
        assert_eq!(keys.add(add(&key, Wanted::Next(9)), 0), Ok(Some(at(9, 0))));
        assert_eq!(keys.add(add(&key, Wanted::Next(7)), 0), Err(NOT_ABOVE.into()));
        assert_eq!(keys.trim(&key, Some(at(9, 0)), 0), Ok(1));
        assert_eq!(keys.trim(&key, None, 0), Ok(1));
        assert_eq!(keys.last_id(&key, 0), Ok(at(9, 0)));
        assert_eq!(keys.expire(&key, 5, 0), Ok(1));
        assert_eq!(keys.last_id(&key, 5), Err(NO_KEY.into()));
        keys.refusal = Some(Refusal::OutOfMemory);
        assert!(keys.add(add(&key, Wanted::Next(7)), 0).is_err_and(|it| it.starts_with("OOM")));
        assert_eq!(keys.trim(&key, None, 0), Ok(0), "what frees memory is not refused");
    }
}
