//! Pages of real streams, compared with a model over random operations.

use crate::rig::{Client, Redis, begin, item};
use bytes::Bytes;
use corecast::bridge::redis::script::{Begin, By, Class, Outcome, outcomes};
use corecast::bridge::redis::stream::{Found, Part, Reading, remove, removed};
use corecast::contract::engine::Page;
use corecast::contract::position::{Epoch, Since};
use std::collections::BTreeMap;

/// Numbers by seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn chance(&mut self, of_100: u64) -> bool {
        self.below(100) < of_100
    }
}

/// A stream as the engine's seam describes it.
#[derive(Clone, Debug, Default)]
struct Model {
    epoch: u64,
    top: u64,
    kept: BTreeMap<u64, Bytes>,
    /// Only its numbering is there.
    is_expired: bool,
}

impl Model {
    fn expire(&mut self) {
        self.kept.clear();
        self.is_expired = true;
    }

    fn read(&self, page: &Page) -> Part {
        let epoch = Epoch(self.epoch);
        let from = page.from.filter(|from| from.is_of(epoch)).map(|from| from.offset);
        let reverse = page.reverse || page.from.is_some() && from.is_none();
        let low = if reverse { 0 } else { from.unwrap_or(0) };
        let high =
            if reverse { from.map_or(self.top, |from| from.saturating_sub(1)) } else { self.top };
        let inside: Vec<(u64, Bytes)> = self
            .kept
            .iter()
            .filter(|(offset, _)| **offset > low && **offset <= high)
            .map(|(offset, block)| (*offset, block.clone()))
            .collect();
        let most = inside.len().min(page.limit as usize);
        let mut bytes = 0;
        let mut fits = |(index, block): (usize, &Bytes)| {
            bytes += block.len();
            index == 0 || bytes <= page.bytes
        };
        let blocks = |index: usize| if reverse { inside.len() - 1 - index } else { index };
        let count = (0..most).take_while(|index| fits((*index, &inside[blocks(*index)].1))).count();
        let first = if reverse { inside.len() - count } else { 0 };
        let entries = inside[first..first + count].to_vec();
        let begins = self.kept.first_key_value().map_or(self.top, |(offset, _)| offset - 1);
        let nothing = if reverse { high } else { low.max(begins) }.min(self.top);
        let after = entries.first().map_or(nothing, |(offset, _)| offset - 1);
        let end = entries.last().map_or(after, |(offset, _)| *offset);
        Part { epoch, after, entries, end, cut: count < most, top: self.top }
    }
}

/// A stream at the server, and what it should be.
struct Pair {
    client: Client,
    model: Option<Model>,
    random: Random,
    /// All that was ever published, by epoch and offset.
    all: BTreeMap<(u64, u64), Bytes>,
    number: u64,
}

impl Pair {
    fn new(redis: &Redis, seed: u64) -> Pair {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Pair { client: redis.connect(), model: None, random, all: BTreeMap::new(), number: 0 }
    }

    /// Does something to the stream.
    fn change(&mut self) {
        match self.random.below(100) {
            0..80 => self.publish(),
            80..86 => {
                let mut out = Vec::new();
                remove(&mut out, &self.client.scripts.keys().channel("a"));
                self.client.send(&out);
                assert_eq!(removed(&self.client.answer()), Ok(()));
                self.model.iter_mut().for_each(|model| model.kept.clear());
            }
            86..90 => {
                let key = self.client.key("a");
                self.client.integer(&["DEL", &key]);
                // As when it expires: its numbering is noted.
                self.model.iter_mut().for_each(Model::expire);
            }
            90..91 => {
                self.client.ask(&["FLUSHALL"]);
                self.model = None;
            }
            91..95 => self.begin(false),
            _ => self.begin(true),
        }
    }

    fn block(&mut self) -> Bytes {
        self.number += 1;
        let padding = "x".repeat(self.random.below(40) as usize);
        Bytes::from(format!("{} {padding}", self.number))
    }

    fn publish(&mut self) {
        let epoch = match &self.model {
            Some(model) if !model.is_expired => model.epoch,
            _ => return self.begin(true),
        };
        let count = 1 + self.random.below(4);
        let blocks: Vec<Bytes> = (0..count).map(|_| self.block()).collect();
        let items: Vec<_> = blocks.iter().map(|block| item("a", Epoch(epoch), block)).collect();
        let size = [3, 20, 50][self.random.below(3) as usize];
        let answer =
            self.client.publish(By::Text, Class { size, ttl_s: 60, numbering_s: 60 }, &items);
        for (outcome, block) in outcomes(answer, items.len()).expect("answers").iter().zip(&blocks)
        {
            self.note(outcome, block, size);
        }
    }

    /// Begins an epoch, or opens a stream.
    fn begin(&mut self, with_item: bool) {
        let block = self.block();
        let class = Class { size: 20, ttl_s: 60, numbering_s: 60 };
        let low = self.model.as_ref().map_or(0, |model| model.epoch);
        // Above what is there, or nothing new.
        let floor = Epoch(if self.random.chance(50) { low + 1 } else { 1 });
        let candidate = Epoch(1_000_000 + self.number);
        let mut begin = Begin { class, floor, candidate, ..begin("a", &block) };
        if !with_item {
            begin.item = None;
        }
        let outcome = self.client.begin(&begin);
        if with_item {
            return self.note(&outcome, &block, class.size);
        }
        let Outcome::Published(position) = outcome else { panic!("{outcome:?}") };
        self.model.iter_mut().for_each(|model| model.is_expired = false);
        if position.offset == 0 && position.epoch.0 != low {
            self.model = Some(Model { epoch: position.epoch.0, ..Model::default() });
        }
    }

    fn note(&mut self, outcome: &Outcome, block: &Bytes, size: u32) {
        let Outcome::Published(position) = outcome else { panic!("{outcome:?}") };
        let model = self.model.get_or_insert_default();
        if model.epoch != position.epoch.0 {
            *model = Model { epoch: position.epoch.0, ..Model::default() };
        }
        model.is_expired = false;
        model.top += 1;
        assert_eq!(model.top, position.offset);
        model.kept.insert(model.top, block.clone());
        while model.kept.len() > size as usize {
            model.kept.pop_first();
        }
        let before = self.all.insert((model.epoch, model.top), block.clone());
        assert_eq!(before, None, "a place was given twice");
    }

    fn page(&mut self) -> Page {
        let (epoch, top) = self.model.as_ref().map_or((7, 5), |model| (model.epoch, model.top));
        let offset = (top + 3).saturating_sub(self.random.below(60).min(top + 3));
        let epoch = match self.random.below(5) {
            0 => None,
            1 => Some(Epoch(epoch - 1)),
            2 if self.random.chance(50) => Some(Epoch(epoch + 1)),
            _ => Some(Epoch(epoch)),
        };
        let from = self.random.chance(70).then_some(Since { epoch, offset });
        let limit = [1, 2, 7, 30, u32::MAX, u32::MAX][self.random.below(6) as usize];
        let bytes = [0, 60, 300, usize::MAX, usize::MAX][self.random.below(5) as usize];
        Page { from, reverse: self.random.chance(50), limit, bytes }
    }

    fn most(&mut self) -> u32 {
        [1, 2, 5, 128][self.random.below(4) as usize]
    }
}

#[test]
fn pages_are_those_of_the_model() {
    let redis = Redis::start();
    for seed in 0..4 {
        let mut pair = Pair::new(&redis, seed);
        pair.client.ask(&["FLUSHALL"]);
        let mut missing = 0;
        for step in 0..600 {
            if pair.random.chance(60) {
                pair.change();
                continue;
            }
            let (page, most) = (pair.page(), pair.most());
            let found = pair.client.read("a", page, most);
            let there = pair.model.as_ref().filter(|model| !model.is_expired);
            let expected = there.map(|model| model.read(&page));
            missing += u32::from(expected.is_none());
            let expected = expected.map_or(Found::Missing, Found::Part);
            assert_eq!(found, expected, "seed {seed} step {step} by {most}: {page:?}");
        }
        assert!(missing > 0, "it was there always");
    }
}

#[test]
fn a_limit_of_none_tells_the_position_by_one_command() {
    let redis = Redis::start();
    let mut pair = Pair::new(&redis, 1);
    for _ in 0..3 {
        pair.publish();
    }
    let model = pair.model.clone().expect("it is there");
    for reverse in [false, true] {
        let page = Page { from: None, reverse, limit: 0, bytes: 9 };
        let found = pair.client.step(&mut Reading::new(page, 128), "a").expect("at once");
        let Found::Part(part) = found else { panic!("it is there") };
        assert_eq!((part.epoch.0, part.top, part.entries.len()), (model.epoch, model.top, 0));
    }
}

#[test]
fn what_changes_while_it_is_read_is_whole_all_the_same() {
    let redis = Redis::start();
    for seed in 10..14 {
        let mut pair = Pair::new(&redis, seed);
        pair.client.ask(&["FLUSHALL"]);
        pair.publish();
        let mut changed = 0;
        for step in 0..400 {
            pair.change();
            let page = pair.page();
            let mut reading = Reading::new(page, 1 + pair.random.below(4) as u32);
            let mut found = None;
            for _ in 0..200 {
                found = pair.client.step(&mut reading, "a");
                if found.is_some() {
                    break;
                }
                if pair.random.chance(30) {
                    changed += 1;
                    pair.publish();
                } else if pair.random.chance(3) {
                    changed += 1;
                    pair.change();
                }
            }
            let why = format!("seed {seed} step {step}: {page:?} {found:?}");
            match found.expect("it ends") {
                Found::Missing => {}
                Found::Part(part) => judge(&pair, &page, &part, &why),
            }
        }
        assert!(changed > 100, "nothing changed while it was read: {changed}");
    }
}

/// Is a part what its stream once held?
fn judge(pair: &Pair, page: &Page, part: &Part, why: &str) {
    let offsets: Vec<u64> = part.entries.iter().map(|(offset, _)| *offset).collect();
    let expected: Vec<u64> = (part.after + 1..=part.end).collect();
    assert_eq!(offsets, expected, "no hole: {why}");
    for (offset, block) in &part.entries {
        let published = pair.all.get(&(part.epoch.0, *offset));
        assert_eq!(published, Some(block), "{why}");
    }
    assert!(part.top == 0 || pair.all.contains_key(&(part.epoch.0, part.top)), "{why}");
    assert!(part.end <= part.top && offsets.len() <= page.limit as usize, "{why}");
    let bytes: usize = part.entries.iter().map(|(_, block)| block.len()).sum();
    assert!(offsets.len() <= 1 || bytes <= page.bytes, "{why}");
    // Where it follows a place of its epoch, nothing before that is in it.
    if let Some(from) = page.from.filter(|from| from.is_of(part.epoch)) {
        let inside = |offset: &u64| (*offset < from.offset) == page.reverse;
        assert!(offsets.iter().all(|it| inside(it) && *it != from.offset), "{why}");
    }
}
