//! Lists over nodes, without messages and without a Redis.

use super::*;
use crate::contract::name::Name;

const TWO: NodeId = NodeId([2; 16]);
const THREE: NodeId = NodeId([3; 16]);
const SOON_US: u64 = 1_000;

fn part(number: u32, is_last: bool, channels: &[(&str, u32)]) -> Part {
    let channels = channels.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Part { number, is_last, is_too_large: false, channels }
}

fn ask(lists: &mut Lists, call: u64) {
    assert!(lists.ask((1, call), "a*".into(), 0));
}

/// Begins a list of these nodes at the time 0.
fn begun(lists: &mut Lists, nodes: &[NodeId]) -> ListId {
    ask(lists, 7);
    let (id, pattern, deadline_us) = lists.begin(nodes, 0).expect("few are under way");
    assert_eq!((&*pattern, deadline_us), ("a*", REDIS_CALL_US));
    id
}

fn channels(gathered: &Gathered) -> Vec<(&str, u32)> {
    let channels = gathered.channels.as_ref().expect("it is not too large");
    (0..channels.len()).map(|place| channels.at(place)).collect()
}

/// So many channels of 100 letters, from one number on.
fn many(from: usize, count: usize) -> Vec<(String, u32)> {
    (from..from + count).map(|number| (format!("{number:0100}"), 1)).collect()
}

/// A number of such channels that is too large for an answer.
const TOO_MANY: usize = API_ANSWER_BYTES / 121 + 1;

#[test]
fn what_nodes_have_is_summed_by_channel() {
    let mut lists = Lists::new(1);
    let id = begun(&mut lists, &[TWO, THREE]);
    lists.take_part(id, TWO, part(0, false, &[("b", 2), ("none", 0)]), SOON_US);
    lists.take_part(id, THREE, part(0, true, &[("b", u32::MAX), ("a", 3)]), SOON_US);
    assert_eq!(lists.take_gathered(&[], SOON_US), None, "one has more to tell");
    lists.take_part(id, TWO, part(1, true, &[("c", 1)]), SOON_US);
    let gathered = lists.take_gathered(&[], SOON_US).expect("all have told all");
    assert_eq!((gathered.worker, gathered.number), (1, 7));
    assert_eq!(channels(&gathered), [("a", 3), ("b", u32::MAX), ("c", 1)]);
    assert!(gathered.missing.is_empty() && lists.is_idle());
    lists.take_part(id, TWO, part(2, true, &[("d", 1)]), SOON_US);
    assert!(lists.is_idle(), "nobody waits for what comes late");
}

#[test]
fn without_other_nodes_a_list_is_over_at_once() {
    let mut lists = Lists::new(1);
    begun(&mut lists, &[]);
    let gathered = lists.take_gathered(&[], 0).expect("nobody is asked");
    assert!(channels(&gathered).is_empty() && gathered.missing.is_empty());
}

#[test]
fn who_says_nothing_for_long_is_missing_and_what_it_said_is_kept() {
    let mut lists = Lists::new(1);
    let id = begun(&mut lists, &[TWO, THREE]);
    lists.take_part(id, TWO, part(0, false, &[("a", 1)]), LIST_QUIET_US - 1);
    assert_eq!(lists.deadline_us(), Some(LIST_QUIET_US));
    assert_eq!(lists.take_gathered(&[], LIST_QUIET_US), None, "one still tells");
    assert_eq!(lists.deadline_us(), Some(2 * LIST_QUIET_US - 1));
    let gathered = lists.take_gathered(&[], 2 * LIST_QUIET_US - 1).expect("nobody tells");
    assert_eq!(channels(&gathered), [("a", 1)]);
    assert_eq!(gathered.missing, [TWO, THREE].into());
}

#[test]
fn a_list_has_an_end_whatever_comes() {
    let mut lists = Lists::new(1);
    let id = begun(&mut lists, &[TWO]);
    let mut now_us = 0;
    for number in 0.. {
        now_us += LIST_QUIET_US / 2;
        lists.take_part(id, TWO, part(number, false, &[]), now_us);
        if now_us >= REDIS_CALL_US {
            break;
        }
        assert_eq!(lists.take_gathered(&[], now_us), None);
    }
    let gathered = lists.take_gathered(&[], now_us).expect("its time is over");
    assert_eq!(gathered.missing, [TWO].into());
}

#[test]
fn a_part_that_was_skipped_leaves_its_node_missing() {
    let mut lists = Lists::new(1);
    let id = begun(&mut lists, &[TWO]);
    lists.take_part(id, TWO, part(1, true, &[("a", 1)]), 0);
    let gathered = lists.take_gathered(&[], 0).expect("it is not waited for any more");
    assert!(channels(&gathered).is_empty());
    assert_eq!(gathered.missing, [TWO].into());
}

#[test]
fn too_many_channels_are_noticed_on_either_side() {
    let mut lists = Lists::new(1);
    let id = begun(&mut lists, &[TWO, THREE]);
    let half = TOO_MANY / 2;
    let some = |from| Part { channels: many(from, half), ..part(0, true, &[]) };
    lists.take_part(id, TWO, some(0), 0);
    assert_eq!(lists.take_gathered(&[], 0), None);
    lists.take_part(id, THREE, some(half / 2), 0);
    assert!(lists.take_gathered(&[], 0).expect("over").channels.is_some(), "half are the same");
    let id = begun(&mut lists, &[TWO, THREE]);
    lists.take_part(id, TWO, some(0), 0);
    lists.take_part(id, THREE, Part { channels: many(half, half + 1), ..part(0, false, &[]) }, 0);
    assert_eq!(lists.take_gathered(&[], 0).expect("it is too large").channels, None);
    let id = begun(&mut lists, &[TWO, THREE]);
    lists.take_part(id, TWO, Part { is_too_large: true, ..part(0, true, &[]) }, 0);
    assert_eq!(lists.take_gathered(&[], 0).expect("it is too large").channels, None);
}

#[test]
fn few_lists_are_under_way_and_what_waits_has_an_end() {
    let mut lists = Lists::new(1);
    for call in 0..LISTS_UNDER_WAY + 1 {
        ask(&mut lists, call as u64);
    }
    for _ in 0..LISTS_UNDER_WAY {
        assert!(lists.begin(&[TWO], REDIS_CALL_US - 1).is_some());
    }
    assert!(lists.begin(&[TWO], REDIS_CALL_US - 1).is_none());
    assert_eq!(lists.take_gathered(&[TWO], REDIS_CALL_US - 1), None);
    let gathered = lists.take_gathered(&[TWO], REDIS_CALL_US).expect("its time is over");
    assert_eq!(gathered.number, LISTS_UNDER_WAY as u64, "which has not begun");
    assert_eq!(gathered.missing, [TWO].into());
    for call in 0..LISTS_WAITING {
        assert!(lists.ask((1, call as u64), "".into(), 0));
    }
    assert!(!lists.ask((1, 0), "".into(), 0), "more wait than may");
    assert_eq!(lists.lost().len(), LISTS_UNDER_WAY + LISTS_WAITING);
    assert!(lists.is_idle());
}

fn wanted(pattern: &str) -> Wanted {
    let pattern = Pattern::read(pattern).expect("a glob");
    Wanted { asker: TWO, list: 5, pattern, deadline_us: SOON_US }
}

fn listed(channels: &[(String, u32)], next: Option<ListCursor>) -> ChannelsPart {
    let channels = channels.iter().map(|(name, count)| (Name::from(name.as_str()), *count));
    ChannelsPart { channels: channels.collect(), next }
}

/// The home that is asked next, the list's number, and from where.
fn asked(lists: &mut Lists) -> (usize, ListId, ListCursor) {
    match lists.step(0) {
        Some(Step::Ask { worker, number, from }) => (worker, number, from),
        other => panic!("{other:?}"),
    }
}

fn told(lists: &mut Lists) -> Part {
    match lists.step(0) {
        Some(Step::Tell { to: TWO, list: 5, part, .. }) => part,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_homes_are_asked_part_by_part_and_what_matches_is_told() {
    let mut lists = Lists::new(2);
    lists.want(wanted("a*"));
    let (worker, number, from) = asked(&mut lists);
    assert_eq!((worker, from), (0, ListCursor::default()));
    assert_eq!(lists.step(0), None, "one step at a time");
    let next = ListCursor { place: 9, made: 4 };
    lists.listed(number, &listed(&[("a1".into(), 1), ("b1".into(), 1)], Some(next)));
    assert_eq!(asked(&mut lists), (0, number, next));
    lists.listed(number, &listed(&[], None));
    assert_eq!(asked(&mut lists), (1, number, ListCursor::default()));
    lists.listed(number, &listed(&[("a2".into(), 3)], None));
    assert_eq!(told(&mut lists), part(0, true, &[("a1", 1), ("a2", 3)]));
    assert!(lists.is_idle());
    lists.listed(number, &listed(&[("a3".into(), 3)], None));
    lists.told(number, true);
    assert_eq!(lists.step(0), None, "it is over");
}

#[test]
fn what_is_much_is_told_in_messages_of_a_bounded_size_each_after_the_one_before() {
    let mut lists = Lists::new(1);
    lists.want(wanted(""));
    let (_, number, _) = asked(&mut lists);
    let all = many(0, 3_000);
    lists.listed(number, &listed(&all, None));
    let mut heard = Vec::new();
    loop {
        let part = told(&mut lists);
        let bytes: usize = part.channels.iter().map(|(name, _)| name.len()).sum();
        assert!(bytes <= LIST_PART_BYTES, "{bytes}");
        assert_eq!(part.number as usize, heard.len());
        assert_eq!(lists.step(0), None, "Redis has not taken it");
        heard.push(part.channels);
        if part.is_last {
            break;
        }
        lists.told(number, true);
    }
    assert!(heard.len() >= 3 && heard.concat() == all);
}

#[test]
fn a_node_that_has_too_much_says_so() {
    let mut lists = Lists::new(1);
    lists.want(wanted(""));
    let (_, number, _) = asked(&mut lists);
    let next = Some(ListCursor { place: 1, made: 1 });
    lists.listed(number, &listed(&many(0, TOO_MANY), next));
    let part = told(&mut lists);
    assert!(part.is_too_large && part.is_last && part.channels.is_empty());
    assert!(lists.is_idle());
}

#[test]
fn a_walk_ends_with_its_time_or_with_a_message_that_is_refused() {
    let mut lists = Lists::new(1);
    for _ in 0..LISTS_UNDER_WAY + LISTS_WAITING + 1 {
        lists.want(wanted(""));
    }
    let numbers: Vec<ListId> = (0..LISTS_UNDER_WAY).map(|_| asked(&mut lists).1).collect();
    assert_eq!(lists.step(0), None, "enough are under way");
    lists.listed(numbers[0], &listed(&many(0, 3_000), None));
    told(&mut lists);
    lists.told(numbers[0], false);
    assert!(!numbers.contains(&asked(&mut lists).1), "the next has begun");
    assert_eq!(lists.deadline_us(), Some(SOON_US));
    assert_eq!(lists.step(SOON_US), None);
    assert!(lists.is_idle(), "nobody waits for them any more");
}
