//! Reading streams by plain commands, a page over as many as it takes, and forgetting what they
//! keep.
//!
//! Must not know what is in a block. Invariant: what is read has no hole, is of one epoch, and is
//! what the stream held at one moment or since then. Entries come and go meanwhile.

use super::error::StoreError;
use super::id::{self, Id};
use super::resp::Value;
use super::resp::encode::Command;
use crate::contract::engine::Page;
use crate::contract::position::{Epoch, Position, Since};
use crate::limits::{REDIS_READ_ENTRIES, REDIS_VALUE_BYTES};
use bytes::Bytes;

/// Times that a page is read anew because the stream became another meanwhile.
const ATTEMPTS: u32 = 4;

/// Bytes that an entry takes besides its block.
const ENTRY_BYTES: usize = 256;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no stream: nothing was ever published, or it expired, or was lost.
    Missing,
    Part(Part),
}

/// A part of a stream; see `StreamRead`, which it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub epoch: Epoch,
    /// The offset before the first entry. Above the place that was asked for, it says that entries
    /// were trimmed, or that the place is of another epoch. With a limit of 0 it says nothing.
    pub after: u64,
    /// Offsets and blocks, by rising offsets.
    pub entries: Vec<(u64, Bytes)>,
    pub end: u64,
    pub cut: bool,
    pub top: u64,
}

/// What the next command is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The stream's last entry, before anything is read.
    First,
    /// Entries from this place on, that itself included; without one from the first.
    From(Option<Position>),
    /// Entries after this one.
    After(Position),
    /// The newest entries.
    Newest,
    /// The newest entries before this one.
    Before(Position),
    /// The stream's last entry, after the page was read.
    Last,
    /// Where a stream stands in which there is nothing of what was asked for.
    Info,
}

/// A page being read: a command is sent, its answer received, until the page is there.
#[derive(Debug)]
pub struct Reading {
    page: Page,
    /// Entries that one command reads, at most.
    most: u32,
    attempts: u32,
    step: Step,
    epoch: Option<Epoch>,
    top: Option<u64>,
    /// In the order in which they were read.
    entries: Vec<(u64, Bytes)>,
    bytes: usize,
    cut: bool,
}

/// Entries that one command may read, at most, where no block is larger than this. All of them
/// together have to fit the bound of one answer.
#[must_use]
pub fn entries_per_command(block_bytes: usize) -> u32 {
    let fit = REDIS_VALUE_BYTES / (block_bytes.saturating_add(ENTRY_BYTES));
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, REDIS_READ_ENTRIES)
}

impl Reading {
    /// Begins to read a page, with so many entries a command.
    #[must_use]
    pub fn new(page: Page, most: u32) -> Reading {
        assert!(most > 0, "a command that reads nothing");
        let step = match page.from {
            _ if page.limit == 0 => Step::First,
            None if page.reverse => Step::Newest,
            None => Step::From(None),
            // The answer to a page that goes down from a place does not tell the top.
            Some(_) if page.reverse => Step::First,
            Some(Since { epoch: None, .. }) => Step::First,
            Some(Since { epoch: Some(epoch), offset }) => {
                Step::From(Some(Position { epoch, offset }))
            }
        };
        let (attempts, bytes, cut) = (0, 0, false);
        let (epoch, top, entries) = (None, None, Vec::new());
        Reading { page, most, attempts, step, epoch, top, entries, bytes, cut }
    }

    /// Is nothing of the stream wanted but where it stands?
    #[must_use]
    pub fn wants_nothing(&self) -> bool {
        self.page.limit == 0
    }

    /// Appends the next command for the stream with this key.
    pub fn command(&self, out: &mut Vec<u8>, key: &[&[u8]]) {
        if self.step == Step::Info {
            Command::new(out, 3).part(b"XINFO").part(b"STREAM").joined(key);
            return;
        }
        let range: &[u8] = match self.step {
            Step::From(_) | Step::After(_) => b"XRANGE",
            Step::First | Step::Newest | Step::Before(_) | Step::Last | Step::Info => b"XREVRANGE",
        };
        let mut command = Command::new(out, 6);
        command.part(range).joined(key);
        match self.step {
            Step::From(None) => command.part(b"-").part(b"+"),
            Step::From(Some(at)) => command.joined(&Id::new(at).pieces()).part(b"+"),
            Step::After(at) => exclusive(&mut command, at).part(b"+"),
            Step::Before(at) => exclusive(&mut command, at).part(b"-"),
            Step::First | Step::Newest | Step::Last | Step::Info => command.part(b"+").part(b"-"),
        };
        command.part(b"COUNT").number(self.count().into());
    }

    /// Entries that the next command asks for.
    fn count(&self) -> u32 {
        let read = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let left = self.page.limit.saturating_sub(read);
        let average = self.bytes / self.entries.len().max(1);
        let fit = self.page.bytes.saturating_sub(self.bytes) / average.max(1);
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).saturating_add(1);
        let count = match self.step {
            Step::First | Step::Last | Step::Info => 1,
            // One more for the place itself, which proves that nothing after it was trimmed.
            Step::From(Some(_)) => left.saturating_add(1),
            Step::From(None) | Step::Newest => left,
            Step::After(_) | Step::Before(_) => left.min(fit),
        };
        count.clamp(1, self.most)
    }

    /// Takes the answer to the command. Without a result the next command has to be sent.
    ///
    /// # Errors
    /// Redis refused, or the stream changes faster than it can be read.
    pub fn receive(&mut self, answer: Value) -> Result<Option<Found>, StoreError> {
        if self.step == Step::Info {
            return self.take_info(&answer);
        }
        let entries = entries(answer)?;
        let is_short = entries.len() < self.count() as usize;
        match self.step {
            Step::First => self.take_first(entries.first()),
            Step::Last => self.take_last(entries.first()),
            Step::From(at) => self.take_rising(at, entries, is_short),
            Step::After(at) => self.take_rising(Some(at), entries, is_short),
            Step::Newest | Step::Before(_) => Ok(self.take_falling(entries, is_short)),
            Step::Info => Err(StoreError::of(&Value::Null)),
        }
    }

    fn go(&mut self, step: Step) -> Option<Found> {
        self.step = step;
        None
    }

    /// The position that is asked for is none of this stream: the newest are read.
    fn read_newest(&mut self) -> Option<Found> {
        self.page.from = None;
        self.page.reverse = true;
        (self.epoch, self.top) = (None, None);
        self.entries.clear();
        self.go(Step::Newest)
    }

    /// The stream became another while it was read.
    fn again(&mut self) -> Result<Option<Found>, StoreError> {
        let attempts = self.attempts + 1;
        if attempts == ATTEMPTS {
            return Err(StoreError::new("ERR the stream changes faster than it is read"));
        }
        *self = Reading { attempts, ..Reading::new(self.page, self.most) };
        Ok(None)
    }

    fn take_first(&mut self, last: Option<&Entry>) -> Result<Option<Found>, StoreError> {
        let Some(Entry { at, .. }) = last else { return Ok(self.go(Step::Info)) };
        (self.epoch, self.top) = (Some(at.epoch), Some(at.offset));
        let from = self.page.from.filter(|from| from.is_of(at.epoch));
        Ok(match from.map(|from| Position { epoch: at.epoch, offset: from.offset }) {
            _ if self.page.limit == 0 => Some(self.found()),
            None => self.read_newest(),
            Some(from) if self.page.reverse => self.go(Step::Before(from)),
            Some(from) => self.go(Step::From(Some(from))),
        })
    }

    fn take_last(&mut self, last: Option<&Entry>) -> Result<Option<Found>, StoreError> {
        match last {
            Some(last) if Some(last.at.epoch) == self.epoch => {
                self.top = Some(last.at.offset);
                Ok(Some(self.found()))
            }
            Some(_) => self.again(),
            None => Ok(self.go(Step::Info)),
        }
    }

    /// Entries by rising offsets, after a place if there is one.
    fn take_rising(
        &mut self,
        after: Option<Position>,
        entries: Vec<Entry>,
        is_short: bool,
    ) -> Result<Option<Found>, StoreError> {
        let Some(Entry { at: last, .. }) = entries.last() else {
            return Ok(match (self.epoch, self.top) {
                (Some(_), None) => self.go(Step::Last),
                (Some(_), Some(_)) => Some(self.found()),
                (None, _) => self.go(Step::Info),
            });
        };
        let last = *last;
        let mut is_over = false;
        for Entry { at, block } in entries {
            if after.is_some_and(|after| after.epoch != at.epoch) {
                // It may have become of another epoch since the first command.
                let is_asked = self.page.from.is_some();
                return if is_asked { Ok(self.read_newest()) } else { self.again() };
            }
            if self.epoch.is_some_and(|epoch| epoch != at.epoch) {
                // What is kept of an epoch before is no part of the stream any more.
                self.entries.clear();
                self.bytes = 0;
            }
            self.epoch = Some(at.epoch);
            if after.is_none_or(|after| at.offset > after.offset) {
                is_over = !self.take(at.offset, block, |before| before.checked_add(1));
                if is_over {
                    break;
                }
            }
        }
        if is_short {
            self.top = Some(last.offset);
            return Ok(Some(self.found()));
        }
        is_over |= self.is_full();
        Ok(self.go(if is_over { Step::Last } else { Step::After(last) }))
    }

    /// Entries by falling offsets.
    fn take_falling(&mut self, entries: Vec<Entry>, is_short: bool) -> Option<Found> {
        if entries.is_empty() && self.top.is_none() {
            return self.go(Step::Info);
        }
        let mut is_over = is_short;
        for Entry { at, block } in entries {
            let epoch = *self.epoch.get_or_insert(at.epoch);
            self.top.get_or_insert(at.offset);
            // What is kept of an epoch before is no part of the stream any more.
            if epoch != at.epoch || !self.take(at.offset, block, |before| before.checked_sub(1)) {
                is_over = true;
                break;
            }
            self.step = Step::Before(at);
        }
        (is_over || self.is_full()).then(|| self.found())
    }

    fn is_full(&self) -> bool {
        self.entries.len() as u64 >= u64::from(self.page.limit)
    }

    /// Takes an entry, unless the page ends before it: by a bound, or by a hole where something was
    /// deleted.
    fn take(&mut self, offset: u64, block: Bytes, next: impl Fn(u64) -> Option<u64>) -> bool {
        if self.is_full() {
            return false;
        }
        if let Some((before, _)) = self.entries.last() {
            self.cut = self.bytes.saturating_add(block.len()) > self.page.bytes;
            if self.cut || next(*before) != Some(offset) {
                return false;
            }
        }
        self.bytes = self.bytes.saturating_add(block.len());
        self.entries.push((offset, block));
        true
    }

    fn take_info(&mut self, answer: &Value) -> Result<Option<Found>, StoreError> {
        if let Value::Error(text) = answer
            && text.contains("no such key")
        {
            return Ok(Some(Found::Missing));
        }
        let Some(last) = last_generated(answer) else { return Err(StoreError::of(answer)) };
        if self.epoch.is_some_and(|epoch| epoch != last.epoch) {
            return self.again();
        }
        (self.epoch, self.top) = (Some(last.epoch), Some(last.offset));
        if self.page.limit == 0 {
            return Ok(Some(self.found()));
        }
        Ok(match self.page.from {
            Some(from) if !from.is_of(last.epoch) => self.read_newest(),
            _ if !self.entries.is_empty() => Some(self.found()),
            // Nothing was there a moment ago, and there has been something: it may have come in
            // between, and is there now, or is gone.
            None if last.offset > 0 && self.page.reverse => self.go(Step::Newest),
            None if last.offset > 0 => self.go(Step::From(None)),
            Some(from) if last.offset > from.offset && !self.page.reverse => {
                self.go(Step::From(Some(Position { epoch: last.epoch, offset: from.offset })))
            }
            _ => Some(self.found()),
        })
    }

    /// What was read, now that all is known.
    fn found(&mut self) -> Found {
        let top = self.top.unwrap_or(0);
        let mut entries = std::mem::take(&mut self.entries);
        if self.page.reverse {
            entries.reverse();
        }
        let from = self.page.from.map(|from| from.offset);
        let nothing = match from {
            Some(from) if self.page.reverse => from.saturating_sub(1),
            Some(from) if self.page.limit == 0 => from,
            Some(_) | None => top,
        };
        let after =
            entries.first().map_or(nothing.min(top), |(offset, _)| offset.saturating_sub(1));
        let end = entries.last().map_or(after, |(offset, _)| *offset);
        let epoch = self.epoch.unwrap_or(Epoch::NONE);
        // Of a stream that grew while it was read, more than its top at the beginning may be known.
        let top = top.max(end);
        assert!(after <= end && end <= top, "a part is in order: {after} {end} {top}");
        Found::Part(Part { epoch, after, entries, end, cut: self.cut, top })
    }
}

fn exclusive<'c, 'a>(command: &'c mut Command<'a>, at: Position) -> &'c mut Command<'a> {
    let id = Id::new(at);
    let [epoch, dash, offset] = id.pieces();
    command.joined(&[b"(", epoch, dash, offset])
}

/// One entry of a stream.
struct Entry {
    at: Position,
    block: Bytes,
}

/// The entries of an answer.
fn entries(answer: Value) -> Result<Vec<Entry>, StoreError> {
    match answer {
        Value::Array(entries) => entries.into_iter().map(entry).collect(),
        answer => Err(StoreError::of(&answer)),
    }
}

fn entry(entry: Value) -> Result<Entry, StoreError> {
    let strange = || StoreError::of(&Value::Null);
    let Value::Array(parts) = entry else { return Err(strange()) };
    let mut parts = parts.into_iter();
    let (Some(Value::Blob(id)), Some(Value::Array(fields))) = (parts.next(), parts.next()) else {
        return Err(strange());
    };
    let at = id::position(&id).ok_or_else(strange)?;
    // Ours have one field. What others put there is no block, which is seen when it is opened.
    match fields.into_iter().next_back() {
        Some(Value::Blob(block)) => Ok(Entry { at, block }),
        _ => Err(strange()),
    }
}

/// The last id that a stream gave, by what XINFO says of it.
fn last_generated(answer: &Value) -> Option<Position> {
    let is_name = |name: &Value| matches!(name, Value::Blob(it) if it == "last-generated-id");
    let Value::Map(pairs) = answer else { return None };
    let (_, id) = pairs.iter().find(|(name, _)| is_name(name))?;
    let Value::Blob(id) = id else { return None };
    id::position(id)
}

/// Appends what forgets all that a stream keeps. Its numbering goes on.
pub fn remove(out: &mut Vec<u8>, key: &[&[u8]]) {
    Command::new(out, 4).part(b"XTRIM").joined(key).part(b"MAXLEN").part(b"0");
}

/// Is it forgotten?
///
/// # Errors
/// It is not.
pub fn removed(answer: &Value) -> Result<(), StoreError> {
    if matches!(answer, Value::Integer(_)) { Ok(()) } else { Err(StoreError::of(answer)) }
}

#[cfg(test)]
mod tests;
