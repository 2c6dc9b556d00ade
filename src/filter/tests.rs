//! Filters against a slow reference that evaluates the tree as Centrifugo's documentation describes
//! it, and numbers as integers of a common scale.

use super::*;
use crate::codec::tags;
use std::borrow::Cow;
use std::collections::BTreeMap;

type TagMap = BTreeMap<String, String>;

/// The reference: the tree as it was read, a map of tags, and numbers scaled to 10^19.
fn reference(node: &FilterNode<'_>, tags: &TagMap) -> bool {
    let tag = tags.get(&*node.key);
    let number = |cmp: fn(i128, i128) -> bool| {
        let pair = tag.and_then(|tag| Some((scaled(tag)?, scaled(&node.val)?)));
        pair.is_some_and(|(tag, value)| cmp(tag, value))
    };
    match (&*node.op, &*node.cmp) {
        ("and", _) => node.nodes.iter().all(|node| reference(node, tags)),
        ("or", _) => node.nodes.iter().any(|node| reference(node, tags)),
        ("not", _) => !reference(&node.nodes[0], tags),
        (_, "eq") => tag.is_some_and(|tag| *tag == node.val),
        (_, "neq") => tag.is_none_or(|tag| *tag != node.val),
        (_, "in") => node.vals.iter().any(|value| value == tag.map_or("", String::as_str)),
        (_, "nin") => !node.vals.iter().any(|value| value == tag.map_or("", String::as_str)),
        (_, "ex") => tag.is_some(),
        (_, "nex") => tag.is_none(),
        (_, "sw") => tag.is_some_and(|tag| tag.starts_with(&*node.val)),
        (_, "ew") => tag.is_some_and(|tag| tag.ends_with(&*node.val)),
        (_, "ct") => tag.is_some_and(|tag| tag.contains(&*node.val)),
        (_, "lt") => number(|tag, value| tag < value),
        (_, "lte") => number(|tag, value| tag <= value),
        (_, "gt") => number(|tag, value| tag > value),
        (_, "gte") => number(|tag, value| tag >= value),
        other => panic!("no filter: {other:?}"),
    }
}

/// A number times 10^19, for numbers of up to 18 digits before the point.
fn scaled(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) || fraction.len() > 19 {
        return None;
    }
    let fraction: i128 = format!("{fraction:0<19}").parse().ok()?;
    Some(sign * (whole.parse::<i128>().ok()? * 10_i128.pow(19) + fraction))
}

/// Random numbers from a seed (splitmix64). proptest takes a minute for this many trees.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % count as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn many<T>(&mut self, least: usize, most: usize, make: fn(&mut Dice) -> T) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| make(self)).collect()
    }

    fn letters(&mut self) -> String {
        self.many(1, 3, |dice| dice.of(&['a', 'b'])).into_iter().collect()
    }

    fn number(&mut self) -> String {
        let (sign, zero) = (self.of(&["", "+", "-"]), self.of(&["", "0"]));
        let whole = self.below(100);
        let fraction = self.many(1, 3, |dice| dice.of(&['0', '1', '5', '9']));
        match self.below(2) {
            0 => format!("{sign}{zero}{whole}"),
            _ => format!("{sign}{zero}{whole}.{}", fraction.into_iter().collect::<String>()),
        }
    }

    fn value(&mut self) -> String {
        match self.below(6) {
            0 | 1 => self.letters(),
            2 | 3 => self.number(),
            _ => self.of(&["-0", "1e3", "9007199254740993", "9007199254740992.5"]).to_owned(),
        }
    }

    fn key(&mut self) -> String {
        self.of(&["a", "b", "c"]).to_owned()
    }

    fn leaf(&mut self) -> FilterNode<'static> {
        let node = FilterNode { key: self.key().into(), ..FilterNode::default() };
        match self.below(9) {
            0..6 => {
                let cmp = self.of(&["eq", "neq", "sw", "ew", "ct", "lt", "lte", "gt", "gte"]);
                FilterNode { cmp: cmp.into(), val: self.value().into(), ..node }
            }
            6 | 7 => {
                let value = |dice: &mut Dice| match dice.below(5) {
                    0 => Cow::Borrowed(""),
                    _ => Cow::Owned(dice.value()),
                };
                let cmp = self.of(&["in", "nin"]);
                FilterNode { cmp: cmp.into(), vals: self.many(1, 3, value), ..node }
            }
            _ => FilterNode { cmp: self.of(&["ex", "nex"]).into(), ..node },
        }
    }

    /// A tree of at most this many levels above its leaves.
    fn tree(&mut self, levels: usize) -> FilterNode<'static> {
        if levels == 0 || self.below(4) == 0 {
            return self.leaf();
        }
        let op = self.of(&["and", "or", "not"]);
        let count = if op == "not" { 1 } else { 1 + self.below(3) };
        let nodes = (0..count).map(|_| self.tree(levels - 1)).collect();
        FilterNode { op: op.into(), nodes, ..FilterNode::default() }
    }

    fn tags(&mut self) -> TagMap {
        self.many(0, 3, |dice| (dice.key(), dice.value())).into_iter().collect()
    }
}

fn packed(map: &TagMap) -> Vec<u8> {
    let tags: Vec<_> =
        map.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
    tags::pack(&tags).expect("short enough")
}

/// Three sets of tags for each of 100,000 trees. The seed is fixed, so a failure can be repeated.
#[test]
fn a_filter_says_what_the_reference_says() {
    let mut dice = Dice(0x0c0e_ca57);
    let (mut yes, mut asked) = (0, 0);
    for number in 0..100_000 {
        let tree = dice.tree(3);
        let filter = Filter::compile(&tree).expect("it is well formed");
        for set in [dice.tags(), dice.tags(), dice.tags()] {
            let packed = packed(&set);
            let says = filter.matches(Tags::packed(&packed));
            assert_eq!(says, reference(&tree, &set), "tree {number}: {tree:?} of {set:?}");
            (yes, asked) = (yes + u32::from(says), asked + 1);
        }
    }
    assert!(yes > asked / 4 && yes < asked * 3 / 4, "one-sided: {yes} of {asked} match");
}

#[test]
fn what_is_no_filter_is_refused() {
    let leaf = |key: &'static str, cmp: &'static str, val: &'static str, vals: &[&'static str]| {
        let vals = vals.iter().map(|value| Cow::Borrowed(*value)).collect();
        FilterNode { key: key.into(), cmp: cmp.into(), val: val.into(), vals, ..Default::default() }
    };
    let of = |op: &'static str, nodes: Vec<FilterNode<'static>>| FilterNode {
        op: op.into(),
        nodes,
        ..Default::default()
    };
    let good = || leaf("a", "eq", "1", &[]);
    use FilterError::{NoKey, UnknownComparison, UnknownOperation, WrongNodes, WrongValues};
    let table = [
        (leaf("a", "", "1", &[]), UnknownComparison),
        (leaf("a", "like", "1", &[]), UnknownComparison),
        (leaf("a", "eq", "", &[]), WrongValues),
        (leaf("a", "gt", "1", &["2"]), WrongValues),
        (leaf("a", "in", "", &[]), WrongValues),
        (leaf("a", "nin", "1", &["2"]), WrongValues),
        (leaf("a", "ex", "1", &[]), WrongValues),
        (leaf("a", "nex", "", &["1"]), WrongValues),
        (leaf("", "eq", "1", &[]), NoKey),
        (leaf("", "in", "", &["1"]), NoKey),
        (of("and", vec![]), WrongNodes),
        (of("or", vec![]), WrongNodes),
        (of("not", vec![]), WrongNodes),
        (of("not", vec![good(), good()]), WrongNodes),
        (of("xor", vec![good()]), UnknownOperation),
        (of("and", vec![good(), of("or", vec![of("nor", vec![])])]), UnknownOperation),
    ];
    for (node, error) in table {
        assert_eq!(Filter::compile(&node), Err(error), "{node:?}");
    }
    assert!(Filter::compile(&leaf("", "ex", "", &[])).is_ok(), "a tag may have no name");
}

#[test]
fn equal_filters_are_one_and_are_asked_once() {
    let filter = |value: &'static str| {
        let node = FilterNode {
            key: "k".into(),
            cmp: "eq".into(),
            val: value.into(),
            ..Default::default()
        };
        Filter::compile(&node).expect("it is well formed")
    };
    let mut filters = Filters::new(&Limits::default(), Key::of(7));
    let mut held = Charge::default();
    let mut add = |filters: &mut Filters, value| filters.add(filter(value), &mut held);
    let (one, two) = (add(&mut filters, "1"), add(&mut filters, "2"));
    assert_eq!((one, two, add(&mut filters, "1")), (Some(0), Some(1), Some(0)));
    let (yes, no) = ([("k".into(), "1".into())], [("k".into(), "2".into())]);
    let (yes, no) = (tags::pack(&yes).expect("short"), tags::pack(&no).expect("short"));
    filters.begin();
    assert!(filters.matches(0, Tags::packed(&yes)));
    assert!(filters.matches(0, Tags::packed(&no)), "the verdict on this publication is known");
    filters.begin();
    assert!(!filters.matches(0, Tags::packed(&no)) && filters.matches(1, Tags::packed(&no)));
    assert_eq!((held.filters, held.bytes), (3, filters.bytes() / 2 * 3), "each is charged");
    filters.remove(0, &mut held);
    filters.remove(1, &mut held);
    assert!(filters.entries[0].is_some(), "a connection still uses the first");
    assert_eq!(filters.add(filter("3"), &mut held), Some(1), "a number is used again");
    filters.begin();
    assert!(!filters.matches(1, Tags::packed(&no)), "and means the new filter");
    filters.remove(0, &mut held);
    filters.remove(1, &mut held);
    assert!(filters.is_unused());
    assert_eq!((held, filters.bytes()), (Charge::default(), 0));
}

/// A filter that compares one tag with this many values.
fn with_values(name: usize, values: usize) -> Filter {
    let vals = (0..values).map(|value| format!("{name}-{value}").into()).collect();
    let node = FilterNode { key: "k".into(), cmp: "in".into(), vals, ..Default::default() };
    Filter::compile(&node).expect("it is well formed")
}

#[test]
fn there_are_no_more_filters_than_their_bound() {
    let mut filters = Filters::new(&Limits::default(), Key::of(1));
    for number in 0..usize::from(FILTERS_PER_WORKER) {
        assert!(filters.add(with_values(number, 1), &mut Charge::default()).is_some());
    }
    assert_eq!(filters.add(with_values(0, 2), &mut Charge::default()), None);
    let shared = filters.add(with_values(5, 1), &mut Charge::default());
    assert!(shared.is_some(), "an existing filter may be shared");
}

#[test]
fn a_connection_has_its_bound_and_a_share_of_what_is_left() {
    let limits = Limits {
        filter_bytes_per_connection: 20_000,
        filter_bytes_per_worker: 640_000,
        ..Limits::default()
    };
    let mut filters = Filters::new(&limits, Key::of(1));
    let mut names = 0..;
    // As many filters as one connection may have, with this many values each.
    let mut fill = |filters: &mut Filters, values: usize| {
        let mut held = Charge::default();
        while filters.add(with_values(names.next().expect("no end"), values), &mut held).is_some() {
        }
        held
    };
    let first = fill(&mut filters, 8);
    assert!((9_000..=10_000).contains(&first.bytes), "a 64th of the worker's: {first:?}");
    let mut heaviest = first.bytes;
    for _ in 0..300 {
        heaviest = fill(&mut filters, 8).bytes;
    }
    assert!(heaviest < first.bytes / 8, "less is left, so each gets less: {heaviest}");
    assert!(fill(&mut filters, 1).filters > 0, "there is some left for a small filter");
    assert!(filters.bytes() < 640_000);
    let limits = Limits { filter_bytes_per_connection: 5_000, ..Limits::default() };
    let held = fill(&mut Filters::new(&limits, Key::of(1)), 1);
    assert!((4_000..=5_000).contains(&held.bytes), "its own bound: {held:?}");
}
