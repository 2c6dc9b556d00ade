//! The judge: what was published, acknowledged and seen, and every violation of a run.
//!
//! It knows no worker: the clients tell it what they saw, the host what the homes hold. Invariant:
//! a place (channel, epoch, offset) has one content for everybody, whoever saw it first.

use super::filter::Filter;
use super::promise::Promise;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

/// The ledger of one run, shared by its clients and drivers.
pub type SharedLedger = Rc<RefCell<Ledger>>;

/// The client number of what other nodes publish, and of what comes by the server API.
pub const NODE: u16 = u16::MAX;
pub const API: u16 = u16::MAX - 1;
/// Not handed over to a worker yet.
pub(super) const NEVER: u64 = u64::MAX;
/// Violations whose details are kept; the rest is counted.
const KEPT: usize = 20;

/// A rule that was seen broken.
#[derive(Clone, Debug)]
pub struct Violation {
    pub kind: &'static str,
    pub detail: String,
    /// Simulated time, in microseconds.
    pub at_us: u64,
}

/// Who published what, and what became of it.
#[derive(Clone, Debug)]
pub struct Publication {
    pub client: u16,
    pub connection: u32,
    pub sequence: u32,
    pub channel: u16,
    pad: u16,
    /// The ledger's count of events when it was written to the socket.
    pub submitted: u64,
    pub acknowledged: bool,
    /// The clean time at which it was known to be in order.
    pub ordered_us: Option<u64>,
    /// Epoch (its number in the channel's log) and offset, once somebody saw it there.
    pub place: Option<(u32, u64)>,
    /// Its connection waited for nothing when it was submitted, and no later try of it can be what
    /// puts it in order.
    pub alone: bool,
    /// It was said in MessagePack, which has no white space.
    pub compact: bool,
    /// Its own connection is not to be told it live.
    pub excluded: bool,
    /// Some answer to it was an error that passes: it may be in order, or not.
    pub failed: bool,
    /// It was sent again.
    pub repeated: bool,
    /// It was handed to other nodes, where it is not kept.
    pub passed: bool,
    /// The store has forgotten it: who publishes it again has it put in order again.
    pub forgotten: bool,
    /// It was refused: nobody sees it.
    pub refused: bool,
    /// Nobody is subscribed to hear it.
    pub silent: bool,
    /// When a driver handed its command over, counted in receives.
    pub(super) handed_over: u64,
    /// The core that it was handed to.
    pub core: u16,
}

/// What is known of a channel's order.
#[derive(Debug, Default)]
pub struct ChannelLog {
    pub name: String,
    pub epochs: Vec<EpochLog>,
    /// In a channel without offsets: which publication follows which.
    next: BTreeMap<u32, u32>,
}

/// One epoch of a channel: publications by offset, as far as anybody saw them.
#[derive(Debug, Default)]
pub struct EpochLog {
    pub text: String,
    pub(super) entries: Vec<Option<u32>>,
}

/// An offset that a connection was not told.
#[derive(Debug)]
struct PassedOver {
    channel: usize,
    epoch: String,
    offset: u64,
    /// The client and its connection.
    from: (u16, u32),
    filter: Option<Filter>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Ledger {
    pub violations: Vec<Violation>,
    pub violation_count: u64,
    pub publications: Vec<Publication>,
    pub channels: Vec<ChannelLog>,
    /// Calls of the engine may come to nothing.
    pub fails: bool,
    /// Counts what happened, to tell before from after.
    pub events: u64,
    pub now_us: u64,
    /// Time in which no core was stalled and no timer fired, in microseconds.
    pub clean_us: u64,
    /// What clients did to their transports, and were told by an alert, by the cause under which it
    /// is counted.
    pub sins: Vec<(&'static str, bool)>,
    /// Publications delivered, and the times that a client was told it had missed some.
    pub deliveries: u64,
    pub told: u64,
    /// The latest delivery, in microseconds of clean time.
    pub latest_us: u64,
    /// By how many others the unluckiest publication was passed.
    pub most_passed: u32,
    /// The server's names of the clients' connections.
    names: BTreeMap<(u16, u32), String>,
    /// Offsets that a connection was not told, as it says because they were not for it.
    passed_over: Vec<PassedOver>,
    /// What the backend was promised and nobody has judged yet.
    pub promises: Vec<Promise>,
    scratch: Vec<u8>,
}

/// A member that codecs may get wrong.
const ODD: &str =
    r#","odd":[9007199254740993,-2.5,18446744073709551615,-129,null,{"é\"\n":[true]}]"#;

impl Ledger {
    #[must_use]
    pub fn new(channels: impl Iterator<Item = String>) -> Ledger {
        let channels = channels.map(|name| ChannelLog { name, ..ChannelLog::default() });
        Ledger { channels: channels.collect(), ..Ledger::default() }
    }

    /// A rule was broken.
    pub fn violation(&mut self, kind: &'static str, detail: impl FnOnce() -> String) {
        self.violation_count += 1;
        if self.violations.len() < KEPT {
            self.violations.push(Violation { kind, detail: detail(), at_us: self.now_us });
        }
    }

    /// One more thing happened; its place in the order of events.
    pub fn tick(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// A client publishes; the publication's number.
    pub fn publish(&mut self, from: (u16, u32, u32), core: u16, channel: usize, pad: u16) -> u32 {
        let (client, connection, sequence) = from;
        let submitted = self.tick();
        self.publications.push(Publication {
            client,
            connection,
            sequence,
            channel: channel as u16,
            pad,
            submitted,
            acknowledged: false,
            ordered_us: None,
            place: None,
            alone: false,
            compact: false,
            excluded: false,
            failed: false,
            repeated: false,
            passed: false,
            forgotten: false,
            refused: false,
            silent: false,
            handed_over: NEVER,
            core,
        });
        self.publications.len() as u32 - 1
    }

    /// The server named a client's connection.
    pub fn connected(&mut self, client: u16, connection: u32, name: &str) {
        self.names.insert((client, connection), name.to_owned());
    }

    /// Is `name` the connection that published it? Nobody's, when it came from another node.
    #[must_use]
    pub fn published_by(&self, number: u32, name: &str) -> bool {
        let publication = &self.publications[number as usize];
        let known = self.names.get(&(publication.client, publication.connection));
        // Its own connect may not be answered yet when others see what it published.
        known.is_none_or(|known| known == name) && (publication.client < API || name.is_empty())
    }

    /// Appends a publication's payload: a JSON value that names it, with raw line breaks in some.
    pub fn payload(&self, number: u32, into: &mut Vec<u8>) {
        let Publication { client, connection, sequence, pad, .. } =
            self.publications[number as usize];
        let mut text = String::with_capacity(48 + usize::from(pad));
        let gap = if number % 7 == 3 { "\r\n" } else { "" };
        let _ = write!(
            text,
            "{{\"n\":{number},{gap}\"by\":\"{client}.{connection}.{sequence}\",\"pad\":\""
        );
        text.extend(std::iter::repeat_n('x', usize::from(pad)));
        text.push('"');
        if number % 5 == 1 {
            text.push_str(ODD);
        }
        text.push('}');
        into.extend_from_slice(text.as_bytes());
    }

    /// Which publication a delivered payload is; a violation when it is not exactly one of ours.
    /// MessagePack has no white space to keep: what was said in it once is `compact`.
    pub fn recognise(&mut self, channel: usize, data: &[u8], compact: bool) -> Option<u32> {
        let digits = data.strip_prefix(b"{\"n\":").unwrap_or_default();
        let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
        let number = std::str::from_utf8(&digits[..end]).ok()?.parse().unwrap_or(u32::MAX);
        let mut expected = std::mem::take(&mut self.scratch);
        expected.clear();
        let known = self.publications.get(number as usize).map(|publication| publication.channel);
        if known.is_some() {
            self.payload(number, &mut expected);
            if compact || self.publications[number as usize].compact {
                expected.retain(|byte| !matches!(byte, b'\r' | b'\n'));
            }
            for byte in &mut expected {
                if matches!(byte, b'\r' | b'\n') {
                    *byte = b' ';
                }
            }
        }
        let same = known == Some(channel as u16) && expected == data;
        self.scratch = expected;
        if !same {
            let text = String::from_utf8_lossy(&data[..data.len().min(80)]).into_owned();
            self.violation("content_mismatch", || format!("channel {channel}: {text}"));
        }
        same.then_some(number)
    }

    /// A publication was seen at a place.
    pub fn seen_at(&mut self, channel: usize, epoch: &str, offset: u64, number: u32) {
        let log = &mut self.channels[channel];
        let epoch = match log.epochs.iter().rposition(|known| known.text == epoch) {
            Some(index) => index,
            None => {
                log.epochs.push(EpochLog { text: epoch.to_owned(), entries: Vec::new() });
                log.epochs.len() - 1
            }
        };
        let entries = &mut log.epochs[epoch].entries;
        let at = offset as usize;
        if at > self.publications.len() || at == 0 {
            self.violation("offset_out_of_range", || format!("channel {channel} at {offset}"));
            return;
        }
        if entries.len() <= at {
            entries.resize(at + 1, None);
        }
        let first = *entries[at].get_or_insert(number);
        let place = (epoch as u32, offset);
        let publication = &mut self.publications[number as usize];
        let before = *publication.place.get_or_insert(place);
        let is_doubled = before != place && !publication.forgotten;
        if publication.ordered_us.is_none() {
            publication.ordered_us = Some(self.clean_us);
        }
        if first != number {
            self.violation("content_mismatch", || {
                format!("channel {channel} at {offset}: {number}, elsewhere {first}")
            });
        }
        if is_doubled {
            self.violation("publication_doubled", || {
                format!("{number} in channel {channel} at {before:?} and {place:?}")
            });
        }
    }

    /// In a channel without offsets, one uninterrupted subscriber saw `number` right after
    /// `before`.
    pub fn seen_after(&mut self, channel: usize, before: u32, number: u32) {
        let next = *self.channels[channel].next.entry(before).or_insert(number);
        if next != number {
            self.violation("order_or_hole", || {
                format!("channel {channel}: after {before} came {number}, elsewhere {next}")
            });
        }
    }

    /// A publish was answered.
    pub fn acknowledged(&mut self, number: u32) {
        let publication = &mut self.publications[number as usize];
        publication.acknowledged = true;
        if publication.ordered_us.is_none() {
            publication.ordered_us = Some(self.clean_us);
        }
    }

    /// A driver handed a publication's command over.
    pub fn handed_over(&mut self, number: u32, receives: u64) {
        self.publications[number as usize].handed_over = receives;
    }

    /// The publication at a place, if anybody saw it.
    #[must_use]
    pub fn at(&self, channel: usize, epoch: &str, offset: u64) -> Option<u32> {
        let log = self.channels[channel].epochs.iter().rfind(|known| known.text == epoch)?;
        *log.entries.get(offset as usize)?
    }

    /// Did this connection publish it for the others alone?
    #[must_use]
    pub fn is_excluded(&self, number: u32, from: (u16, u32)) -> bool {
        let publication = &self.publications[number as usize];
        publication.excluded && (publication.client, publication.connection) == from
    }

    /// Is a connection not to be told it live: its own, or one that it filters out?
    #[must_use]
    pub fn is_kept_from(&self, number: u32, from: (u16, u32), filter: Option<Filter>) -> bool {
        self.is_excluded(number, from) || self.is_filtered(number, filter)
    }

    /// A connection was not told an offset: whoever saw it will say whether that is right.
    pub fn passed_over(
        &mut self,
        (channel, epoch, offset): (usize, &str, u64),
        from: (u16, u32),
        filter: Option<Filter>,
    ) {
        let epoch = epoch.to_owned();
        self.passed_over.push(PassedOver { channel, epoch, offset, from, filter });
    }

    fn judge_passed_over(&mut self) {
        for passed in std::mem::take(&mut self.passed_over) {
            let PassedOver { channel, epoch, offset, from, filter } = passed;
            let seen = self.at(channel, &epoch, offset);
            if seen.is_some_and(|number| !self.is_kept_from(number, from, filter)) {
                self.violation("hole", || format!("channel {channel} at {offset} of {from:?}"));
            }
        }
    }

    /// Judges what only the whole run shows; `tops` are the channels' last positions at their
    /// homes, none where a channel keeps no offsets.
    pub fn judge(&mut self, tops: &[Option<(String, u64)>]) {
        self.judge_passed_over();
        for (channel, top) in tops.iter().enumerate() {
            self.judge_order(channel);
            if let Some((epoch, top)) = top {
                self.judge_acknowledged(channel, epoch, *top);
            }
        }
    }

    fn judge_order(&mut self, channel: usize) {
        let mut broken = Vec::new();
        for log in &self.channels[channel].epochs {
            let mut last: BTreeMap<(u16, u32), u32> = BTreeMap::new();
            for number in log.entries.iter().flatten() {
                let publication = &self.publications[*number as usize];
                if self.may_be_late(publication) {
                    continue;
                }
                let of = (publication.client, publication.connection);
                let before = last.insert(of, publication.sequence);
                if before.is_some_and(|before| before > publication.sequence) {
                    broken.push(*number);
                }
            }
        }
        for number in broken {
            self.violation("connection_order_broken", || format!("{number} in {channel}"));
        }
    }

    /// As long as a channel had one epoch, every acknowledged publication stands at an offset.
    fn judge_acknowledged(&mut self, channel: usize, epoch: &str, top: u64) {
        let log = &self.channels[channel];
        if log.epochs.iter().any(|known| known.text != epoch) {
            return;
        }
        let entries = log.epochs.first().map_or(&[] as &[_], |log| log.entries.as_slice());
        let seen = entries.iter().flatten().count() as u64;
        let lost: Vec<u32> = (0_u32..)
            .zip(&self.publications)
            .filter(|(_, one)| usize::from(one.channel) == channel)
            .filter(|(_, one)| one.acknowledged && one.place.is_none())
            .map(|(number, _)| number)
            .collect();
        if entries.len() as u64 > top + 1 {
            let seen = entries.len() - 1;
            self.violation("offset_beyond_the_top", || format!("channel {channel} {seen} > {top}"));
        }
        // An offset that nobody saw may hold one of them; more of them than such offsets are lost.
        if lost.len() as u64 > top.saturating_sub(seen) {
            self.violation("acknowledged_lost", || format!("channel {channel}: {lost:?}"));
        }
    }
}

#[cfg(test)]
mod tests;
