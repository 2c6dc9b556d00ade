//! What a shard asks and hears about members.

use super::*;
use crate::bridge::redis::directory::NodeRecord;
use crate::contract::envelope::{Member, Who};
use crate::contract::presence::{Change, Entry, On};
use crate::contract::wire::members::{encode, encode_membership};
use crate::limits::REDIS_CALL_US;

fn key(index: u32) -> ConnectionKey {
    ConnectionKey { core: 0, index, generation: 0 }
}

fn entry(index: u32) -> Entry {
    let member = Member { who: Who::Here(key(index)), user: "u".into(), infos: None };
    Entry { member, listed: true, announced: true }
}

/// A ready shard that knows another node.
fn with_another() -> Bench {
    let mut bench = Bench::ready();
    bench.shard.beat(NodeRecord::default());
    let said = bench.said(Wire::Commands);
    assert_eq!((said.len(), &*said[1][0]), (2, "XRANGE"), "and looks for messages: {said:?}");
    let other = [blob(OTHER.text().as_bytes()), b":0\r\n".to_vec(), blob(b"")];
    bench.reply(&array('*', &[vec![b":-1\r\n".to_vec()], other.to_vec()].concat()));
    let lives = Answer::Node { node: OTHER, lives: true };
    bench.reply(&array('*', &[]));
    let news = std::iter::from_fn(|| bench.shard.next_news()).last().expect("it lives");
    assert_eq!(format!("{news:?}"), format!("{lives:?}"));
    bench
}

fn note(bench: &mut Bench, index: u32) -> u64 {
    let change = Box::new(Change { put: Box::new([entry(index)]), ..Change::default() });
    bench.call(|id| Call::Note { id, channel: "a".into(), change })
}

fn list(bench: &mut Bench) -> u64 {
    let (on, most) = (On::Others, 10);
    bench.call(|id| Call::Members { id, channel: "a".into(), on, most })
}

fn part(cursor: &str, index: u32) -> Vec<u8> {
    let mut data = Vec::new();
    encode(&entry(index), &mut data);
    let pair = [blob(&client_id(key(index))), blob(&data)];
    array('*', &[blob(cursor.as_bytes()), array('*', &pair)])
}

#[test]
fn members_are_noted_in_order_and_not_behind_publications() {
    let mut bench = Bench::ready();
    bench.publish("a");
    assert_eq!(bench.said(Wire::Commands).len(), 1);
    let (first, second) = (note(&mut bench, 7), note(&mut bench, 8));
    let said = bench.said(Wire::Commands);
    let clients: Vec<&str> = said.iter().map(|it| it[it.len() - 2].as_str()).collect();
    assert_eq!(clients, ["\x07".repeat(16), "\x08".repeat(16)], "a publication is under way");
    bench.reply(&ids(&["9-1"]));
    bench.reply(b"-NOSCRIPT no\r\n");
    bench.reply(b"-NOSCRIPT no\r\n");
    let lost = [first, second].map(|note| format!("{note} Lost"));
    assert_eq!(bench.answers()[1..], lost, "sent again they could come after a later one");
    let (first, second) = (note(&mut bench, 7), note(&mut bench, 8));
    let again = bench.said(Wire::Commands);
    let notes: Vec<_> = again.iter().filter(|it| it[0] == "EVALSHA").cloned().collect();
    assert_eq!(notes, said, "once the scripts are loaded");
    for _ in 0..again.len() - 2 {
        bench.reply(b"+OK\r\n");
    }
    bench.reply(b":1\r\n");
    bench.reply(b"-OOM no\r\n");
    assert_eq!(bench.answers(), [format!("{first} noted"), format!("{second} Refused")]);
}

#[test]
fn members_of_nodes_that_live_are_listed_part_by_part() {
    let mut bench = Bench::ready();
    let alone = list(&mut bench);
    assert_eq!(bench.answers(), [format!("{alone} lists 0")]);
    assert!(bench.said(Wire::Commands).is_empty(), "nobody has to be asked");
    let mut bench = with_another();
    let both = list(&mut bench);
    let said = bench.said(Wire::Commands);
    assert_eq!((said.len(), &*said[0][0], &*said[0][2]), (1, "HSCAN", "0"));
    assert!(said[0][1].contains(&OTHER.text()));
    bench.reply(&part("5", 1));
    assert_eq!(bench.said(Wire::Commands)[0][2], "5");
    bench.reply(&part("0", 2));
    assert_eq!(bench.answers(), [format!("{both} lists 2")]);
    let count = bench.call(|id| Call::Count { id, channel: "a".into() });
    assert_eq!(bench.said(Wire::Commands)[0].len(), 5, "two keys");
    bench.reply(b"*2\r\n:3\r\n:2\r\n");
    assert_eq!(bench.answers(), [format!("{count} counts 3 2")]);
}

#[test]
fn whoever_asks_is_answered_whatever_becomes_of_the_connection() {
    let mut bench = with_another();
    let lost = note(&mut bench, 1);
    bench.said(Wire::Commands);
    let away = list(&mut bench);
    bench.end(Wire::Commands);
    assert_eq!(bench.answers(), [format!("{lost} Lost"), format!("{away} Away")]);
    let refused = list(&mut bench);
    assert_eq!(bench.answers(), [format!("{refused} Away")]);
    let mut bench = with_another();
    let slow = list(&mut bench);
    bench.later(REDIS_CALL_US);
    assert_eq!(bench.answers(), [format!("{slow} Lost")]);
}

#[test]
fn another_incarnation_has_all_noted_anew() {
    let mut bench = Bench::ready();
    bench.end(Wire::Commands);
    bench.dial(Wire::Commands, "other");
    bench.serve(FLOOR + 1);
    let news = bench.shard.next_news();
    assert!(matches!(news, Some(Answer::Forgotten)), "{news:?}");
}

#[test]
fn joins_of_other_nodes_are_heard() {
    let mut bench = Bench::ready();
    bench.watch("a", 1);
    bench.said(Wire::Subscriptions);
    bench.push("subscribe", "a", b":1\r\n".to_vec());
    bench.answers();
    for (node, told) in [(OTHER, vec!["told 1 true".to_owned()]), (OWN, vec![])] {
        let mut data = b" ".to_vec();
        encode_membership(&entry(1), (node, [1; 16]), true, &mut data);
        bench.push("message", "a", blob(&data));
        assert_eq!(bench.answers(), told);
    }
    let who = Box::new(entry(1).member);
    let call = bench.call(|id| Call::Announce { id, channel: "b".into(), who, joined: false });
    let said = bench.said(Wire::Commands);
    assert_eq!(said.last().expect("it is published")[0], "PUBLISH");
    bench.reply(&array('*', &[]));
    bench.reply(b":0\r\n");
    assert!(bench.answers().contains(&format!("{call} passed")));
}
