//! What the scripts of the bridge do, written a second time.
//!
//! Must not know how they are written, only which is which. Invariant: a script is carried out
//! whole, and says what it published.

use super::keyspace::{Add, Id, Keyspace, Wanted};
use super::resp::Reply;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// One of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Script {
    Publish,
    Begin,
    Floor,
    Lease,
    Tell,
    Note,
    Count,
}

impl Script {
    /// The script with this text.
    #[must_use]
    pub fn of(text: &[u8]) -> Option<Script> {
        let known = [
            (include_str!("../../bridge/redis/pub.lua"), Script::Publish),
            (include_str!("../../bridge/redis/begin.lua"), Script::Begin),
            (include_str!("../../bridge/redis/gen.lua"), Script::Floor),
            (include_str!("../../bridge/redis/lease.lua"), Script::Lease),
            (include_str!("../../bridge/redis/tell.lua"), Script::Tell),
            (include_str!("../../bridge/redis/note.lua"), Script::Note),
            (include_str!("../../bridge/redis/count.lua"), Script::Count),
        ];
        known.into_iter().find(|(it, _)| it.as_bytes() == text).map(|(_, script)| script)
    }
}

/// A script that runs.
pub struct Run<'a> {
    pub keyspace: &'a mut Keyspace,
    /// Unix time.
    pub now_us: u64,
    pub keys: &'a [Bytes],
    pub arguments: &'a [Bytes],
    /// What it published: where, and what.
    pub published: Vec<(Bytes, Bytes)>,
}

/// How a publication is kept.
struct Class {
    keeps: usize,
    ttl_s: u64,
    note_ms: u64,
    numbering_s: u64,
}

/// Where an item goes, and where its numbering and its key are noted.
struct Places {
    stream: Bytes,
    numbering: Bytes,
    note: Option<Bytes>,
}

impl Run<'_> {
    /// Runs it: what it returns.
    pub fn run(&mut self, script: Script) -> Reply {
        let done = match script {
            Script::Publish => self.publish(),
            Script::Begin => self.begin(),
            Script::Floor => self.floor(),
            Script::Lease => self.lease(),
            Script::Tell => self.tell(),
            Script::Note => self.note(),
            Script::Count => self.count(),
        };
        done.unwrap_or_else(Reply::Error)
    }

    fn text(&self, index: usize) -> &str {
        let argument = self.arguments.get(index).map_or(&b""[..], |argument| argument);
        std::str::from_utf8(argument).unwrap_or_default()
    }

    fn number(&self, index: usize) -> u64 {
        self.text(index).parse().unwrap_or(0)
    }

    fn class(&self) -> Class {
        Class {
            keeps: self.number(0) as usize,
            ttl_s: self.number(1),
            note_ms: self.number(2),
            numbering_s: self.number(3),
        }
    }

    fn publish(&mut self) -> Result<Reply, String> {
        let class = self.class();
        let mut replies = Vec::new();
        let items = (self.arguments.len() - 4) / 3;
        for index in 0..items {
            let item = 4 + 3 * index;
            let note = self.text(item + 1).parse().ok();
            let note = note.and_then(|place: usize| self.keys.get(place - 1)).cloned();
            let epoch = self.text(item).strip_suffix("-*").and_then(|epoch| epoch.parse().ok());
            let wanted = Wanted::Next(epoch.unwrap_or(0));
            let block = self.arguments[item + 2].clone();
            let (stream, numbering) = (self.keys[index].clone(), self.keys[items + index].clone());
            let places = Places { stream, numbering, note };
            let reply = self.publish_one(&class, &places, wanted, block);
            replies.push(reply.unwrap_or_else(Reply::Error));
        }
        Ok(Reply::List(replies))
    }

    fn publish_one(
        &mut self,
        class: &Class,
        places: &Places,
        id: Wanted,
        block: Bytes,
    ) -> Result<Reply, String> {
        if let Some(done) = self.repeated(places.note.as_ref())? {
            return Ok(done);
        }
        let stream = &places.stream;
        let add = Add {
            key: stream,
            makes: false,
            keeps: class.keeps,
            id,
            field: "b",
            block: block.clone(),
        };
        match self.keyspace.add(add, self.now_us) {
            Err(error) if error.contains("equal or smaller") => Ok(Reply::Null),
            Err(error) => Err(error),
            Ok(None) => Ok(Reply::Null),
            Ok(Some(Id { epoch, offset: 0 })) => {
                let _ = self.keyspace.trim(stream, None, self.now_us);
                let next = Id { epoch: epoch + 1, offset: 0 };
                let _ = self.keyspace.set_id(stream, next, self.now_us);
                Ok(Reply::Null)
            }
            Ok(Some(id)) => {
                self.number_on(class, places, id, class.numbering_s);
                self.announce(class, places, id, &block);
                Ok(Reply::text(&id.to_string()))
            }
        }
    }

    /// The answer to what was carried out before.
    fn repeated(&mut self, note: Option<&Bytes>) -> Result<Option<Reply>, String> {
        let Some(note) = note else { return Ok(None) };
        let done = self.keyspace.get(note, self.now_us)?;
        Ok(done.map(|id| Reply::Blob([b"=".as_slice(), &id].concat().into())))
    }

    /// The stream, and its numbering, have their ends anew, if they have any.
    fn number_on(&mut self, class: &Class, places: &Places, id: Id, numbering_s: u64) {
        if class.ttl_s > 0 {
            let until_us = |seconds| self.now_us + seconds * 1_000_000;
            let (stream_us, numbering_us) = (until_us(class.ttl_s), until_us(numbering_s));
            let _ = self.keyspace.expire(&places.stream, stream_us, self.now_us);
            let _ = self.keyspace.set(&places.numbering, id.to_string().into(), Some(numbering_us));
        }
    }

    fn announce(&mut self, class: &Class, places: &Places, id: Id, block: &Bytes) {
        let message = [format!("{id} ").as_bytes(), block].concat();
        self.published.push((places.stream.clone(), message.into()));
        if let Some(note) = &places.note {
            let until_us = self.now_us + class.note_ms * 1_000;
            let _ = self.keyspace.set(note, id.to_string().into(), Some(until_us));
        }
    }

    fn begin(&mut self) -> Result<Reply, String> {
        let (class, block) = (self.class(), self.arguments.get(7).cloned());
        let (stream, numbering) = (self.keys[0].clone(), self.keys[1].clone());
        let version = self.arguments.get(8).map(|_| (self.number(8), self.text(9).to_owned()));
        let versions = version.as_ref().and_then(|_| self.keys.last()).cloned();
        let noted = 2..self.keys.len() - usize::from(version.is_some());
        let places = Places { stream, numbering, note: self.keys[noted].first().cloned() };
        let (floor, candidate) = (self.number(4), self.number(5));
        let low = Id::read(self.text(6)).unwrap_or_default();
        if let Some(done) = self.repeated(places.note.as_ref())? {
            return Ok(done);
        }
        let (last, is_there) = self.last(&places)?;
        let goes_on = last != Id::default() && last.epoch >= floor && last >= low;
        if goes_on && is_there && block.is_none() {
            return Ok(Reply::text(&last.to_string()));
        }
        if let (Some((number, epoch)), Some(versions)) = (&version, &versions)
            && goes_on
        {
            let noted = self.keyspace.get(versions, self.now_us)?.unwrap_or_default();
            let noted = String::from_utf8_lossy(&noted).into_owned();
            let mut parts = noted.splitn(3, ' ');
            let mut part = || parts.next().unwrap_or_default().to_owned();
            let (id, newest, of) = (part(), part().parse().unwrap_or(0), part());
            let compares = id == last.to_string() && (epoch.is_empty() || *epoch == of);
            if compares && *number <= newest {
                return Ok(Reply::text(&format!("={last}")));
            }
        }
        let (before, keeps) = if goes_on {
            (last, class.keeps)
        } else {
            let epoch = candidate.max(floor).max(low.epoch + 1);
            (Id { epoch, offset: 0 }, class.keeps.min(1))
        };
        let mut id = Id { offset: before.offset + 1, ..before };
        let kept = block.clone().unwrap_or_default();
        let add = Add {
            key: &places.stream,
            makes: true,
            keeps,
            id: Wanted::At(id),
            field: "b",
            block: kept,
        };
        self.keyspace.add(add, self.now_us)?;
        if block.is_none() {
            id = before;
            let _ = self.keyspace.trim(&places.stream, None, self.now_us);
            let _ = self.keyspace.set_id(&places.stream, id, self.now_us);
        }
        let left_us = self.keyspace.left_us(&places.numbering, self.now_us);
        // TTL rounds.
        let left_s = if block.is_some() { 0 } else { (left_us + 500_000) / 1_000_000 };
        self.number_on(&class, &places, id, left_s.max(class.numbering_s));
        if let Some(block) = &block {
            self.announce(&class, &places, id, block);
        }
        if let (Some((number, epoch)), Some(versions)) = (version, versions) {
            let until_us = self.now_us + class.numbering_s * 1_000_000;
            let noted = format!("{id} {number} {epoch}");
            let _ = self.keyspace.set(&versions, noted.into(), Some(until_us));
        }
        Ok(Reply::text(&id.to_string()))
    }

    /// Where a channel has come to, and whether its stream is there.
    fn last(&mut self, places: &Places) -> Result<(Id, bool), String> {
        match self.keyspace.last_id(&places.stream, self.now_us) {
            Ok(last) => return Ok((last, true)),
            Err(error) if error.contains("no such key") => {}
            Err(error) => return Err(error),
        }
        let noted = self.keyspace.get(&places.numbering, self.now_us)?.unwrap_or_default();
        let noted = std::str::from_utf8(&noted).ok().and_then(Id::read);
        Ok((noted.unwrap_or_default(), false))
    }

    fn tell(&mut self) -> Result<Reply, String> {
        let key = self.keys[0].clone();
        let (keeps, block) = (self.number(0) as usize, self.arguments[2].clone());
        let add = Add { key: &key, makes: true, keeps, id: Wanted::Now, field: "m", block };
        let id = self.keyspace.add(add, self.now_us)?.unwrap_or_default();
        let until_us = self.now_us + self.number(1) * 1_000_000;
        let _ = self.keyspace.expire(&key, until_us, self.now_us);
        self.published.push((key, Bytes::new()));
        Ok(Reply::text(&id.to_string()))
    }

    /// Members come and go; what counts them follows from all that are there then.
    fn note(&mut self) -> Result<Reply, String> {
        let (members, counts) = (self.keys[0].clone(), self.keys[1].clone());
        let until_us = self.now_us + self.number(0) * 1_000_000;
        let last = 3 + 2 * self.number(2) as usize;
        let mut here = self.keyspace.fields(&members, self.now_us)?;
        if self.text(1) == "1" {
            self.keyspace.delete(&members, self.now_us)?;
            self.keyspace.delete(&counts, self.now_us)?;
            here.clear();
        }
        for pair in self.arguments[3..last].chunks_exact(2) {
            here.insert(pair[0].clone(), pair[1].clone());
        }
        for gone in &self.arguments[last..] {
            here.remove(gone);
        }
        let mut counted: BTreeMap<Bytes, u64> = BTreeMap::new();
        for value in here.values().filter(|value| value[0] % 2 == 1) {
            let length = usize::from(value[1]) + 256 * usize::from(value[2]);
            let user = [b"u".as_slice(), &value[3..3 + length]].concat();
            for field in [Bytes::from_static(b"n"), user.into()] {
                *counted.entry(field).or_default() += 1;
            }
        }
        let count = here.len() as i64;
        let counted = counted.into_iter().map(|(field, count)| (field, count.to_string().into()));
        for (key, fields) in [(members, here), (counts, counted.collect())] {
            if fields.is_empty() {
                self.keyspace.delete(&key, self.now_us)?;
            } else {
                self.keyspace.set_fields(&key, fields, until_us)?;
            }
        }
        Ok(Reply::Number(count))
    }

    fn count(&mut self) -> Result<Reply, String> {
        let users = |of: &BTreeMap<Bytes, Bytes>| -> BTreeSet<Bytes> {
            of.keys().filter(|field| &field[..] != b"n").cloned().collect()
        };
        let known = users(&self.keyspace.fields(&self.keys[0], self.now_us)?);
        let (mut clients, mut others) = (0, BTreeSet::new());
        for key in &self.keys[1..] {
            let fields = self.keyspace.fields(key, self.now_us)?;
            let count = fields.get(b"n".as_slice());
            let count = count.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            clients += count.unwrap_or(0);
            others.extend(users(&fields));
        }
        let users = others.difference(&known).count() as i64;
        Ok(Reply::List(vec![Reply::Number(clients), Reply::Number(users)]))
    }

    fn lease(&mut self) -> Result<Reply, String> {
        let (key, now_ms) = (self.keys[0].clone(), self.now_us / 1_000);
        let node = self.arguments[0].clone();
        let (dead_ms, forgotten_ms, most) = (self.number(2), self.number(3), self.number(4));
        let mut fields = self.keyspace.fields(&key, self.now_us)?;
        let beat = |value: &Bytes| {
            let text = String::from_utf8_lossy(value);
            let (beat, _) = text.split_once(' ').unwrap_or_default();
            now_ms.saturating_sub(beat.parse().unwrap_or(0))
        };
        let own = fields.get(&node).map(beat);
        fields.retain(|name, value| *name == node || beat(value) < forgotten_ms);
        let others: Vec<_> = fields.iter().filter(|(name, _)| **name != node).collect();
        let mut replies = vec![Reply::Number(own.map_or(-1, |age| age as i64))];
        for (name, value) in &others {
            let space = value.iter().position(|byte| *byte == b' ').unwrap_or(0);
            replies.push(Reply::Blob((*name).clone()));
            replies.push(Reply::Number(beat(value) as i64));
            replies.push(Reply::Blob(value.slice(space + 1..)));
        }
        if own.is_none() && others.len() as u64 >= most {
            fields.retain(|_, value| beat(value) < dead_ms);
            if fields.len() as u64 >= most {
                return Err("ERR too many nodes".into());
            }
        }
        let record = [format!("{now_ms} ").as_bytes(), &self.arguments[1]].concat();
        fields.insert(node, record.into());
        self.keyspace.set_fields(&key, fields, self.now_us + forgotten_ms * 1_000)?;
        Ok(Reply::List(replies))
    }

    fn floor(&mut self) -> Result<Reply, String> {
        let key = self.keys[0].clone();
        let held = self.keyspace.get(&key, self.now_us)?.unwrap_or_default();
        let held = std::str::from_utf8(&held).unwrap_or_default().split_once(' ');
        let held = held.and_then(|(id, floor)| Some((id, floor.parse::<u64>().ok()?)));
        let id = self.text(0).to_owned();
        if let Some((_, floor)) = held.filter(|(of, _)| *of == id) {
            return Ok(Reply::List(vec![Reply::Number(floor as i64), Reply::Number(0)]));
        }
        let floor = self.number(1).max(held.map_or(0, |(_, floor)| floor) + 1);
        self.keyspace.set(&key, format!("{id} {floor}").into(), None)?;
        Ok(Reply::List(vec![Reply::Number(floor as i64), Reply::Number(1)]))
    }
}
