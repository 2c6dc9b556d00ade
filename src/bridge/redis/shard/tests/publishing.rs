//! Calls that are carried out: how they go together, in what order, and what errors ask for.

use super::*;
use crate::bridge::redis::script::Script;

/// The channels of the items of a command that publishes.
fn items(command: &[String]) -> Vec<String> {
    assert_eq!(command[0], "EVALSHA");
    let keys: usize = command[2].parse().expect("a number of keys");
    let channel = |key: &String| key.split('}').nth(1).expect("a tag before it").to_owned();
    let of_streams = command[3..3 + keys].iter().filter(|key| key.starts_with("cc:{"));
    of_streams.map(channel).collect()
}

#[test]
fn what_waits_goes_together_sixteen_at_a_time() {
    let mut bench = Bench::ready();
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for name in &names {
        bench.publish(name);
    }
    // Another size is another class, which does not pass what was asked before it.
    let above = Some(Position { epoch: Epoch(9), offset: 0 });
    for (channel, size) in [("odd", 99), ("odd", 10)] {
        let block = Block::plain(channel, b"1", Now { monotonic_us: 0, unix_ms: 0 });
        let wish = Box::new(Wish {
            key: "".into(),
            size,
            ttl_s: 60,
            numbering_s: 600,
            version: None,
            above,
        });
        bench.call(|id| Call::Publish { id, block, wish });
    }
    let said = bench.said(Wire::Commands);
    assert_eq!(said.len(), 3);
    assert_eq!(items(&said[0]), names[..16]);
    assert_eq!(items(&said[1]), names[16..]);
    assert_eq!(items(&said[2]), ["odd"]);
    assert!(said[0].contains(&"9-*".to_owned()));
    bench.reply(&ids(&["9-1"; 16]));
    assert_eq!(bench.answers().len(), 16);
}

#[test]
fn a_channel_has_one_command_in_flight() {
    let mut bench = Bench::ready();
    assert_eq!((bench.publish("a"), bench.publish("a")), (1, 2));
    assert_eq!(items(&bench.said(Wire::Commands)[0]), ["a", "a"], "those that wait go in one");
    bench.publish("a");
    bench.read("a");
    bench.publish("b");
    let said = bench.said(Wire::Commands);
    assert_eq!((said.len(), items(&said[0])), (1, vec!["b".to_owned()]));
    bench.reply(&ids(&["9-1", "9-2"]));
    assert_eq!(bench.answers(), ["1 at 9-1", "2 at 9-2"]);
    assert_eq!(items(&bench.said(Wire::Commands)[0]), ["a"]);
    bench.reply(&[ids(&["9-1"]), ids(&["9-3"])].concat());
    assert_eq!(bench.answers(), ["5 at 9-1", "3 at 9-3"]);
    assert_eq!(bench.said(Wire::Commands)[0][0], "XREVRANGE", "the read comes after");
}

#[test]
fn an_epoch_that_is_not_known_is_begun_one_by_one() {
    let mut bench = Bench::ready();
    bench.publish_with("a", None, "");
    bench.publish_with("a", None, "");
    let said = bench.said(Wire::Commands);
    assert_eq!(said.len(), 1);
    // Size, three times, floor, candidate by Redis' clock, and no place before.
    let candidate = UNIX_S * 1_000_000 + bench.now_us;
    let decides = ["10", "60", "300000", "600", "5", &candidate.to_string(), "0-0"];
    assert_eq!(said[0][5..12], decides);
    bench.reply(&blob(b"12-1"));
    assert_eq!(bench.answers(), ["1 at 12-1"]);
    let said = bench.said(Wire::Commands);
    assert!(said[0].contains(&"12-*".to_owned()), "it is known now: {said:?}");
    bench.reply(&ids(&["12-2"]));
    assert_eq!(bench.answers(), ["2 at 12-2"]);
}

#[test]
fn an_epoch_that_begins_is_never_one_before() {
    // A floor that was raised just now is a minute ahead of the clock.
    let mut bench = Bench::away();
    bench.dial(Wire::Commands, "abc");
    let floor = (UNIX_S + 62) * 1_000_000;
    bench.serve(floor);
    let mut before = floor;
    for _ in 0..200 {
        bench.publish_with("a", None, "");
        let said = bench.said(Wire::Commands);
        let candidate: u64 = said[0][10].parse().expect("an epoch");
        assert!(candidate > before || before == floor && candidate == floor, "{candidate}");
        before = candidate;
        bench.reply(b"-WRONGTYPE no\r\n");
        bench.later(900_000);
    }
    assert_eq!(before + 900_000, UNIX_S * 1_000_000 + bench.now_us, "the time by Redis' clock");
}

#[test]
fn where_there_is_no_stream_any_more_the_order_holds() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.publish("a");
    bench.publish("b");
    bench.said(Wire::Commands);
    bench.reply(&ids(&["", "", "9-1"]));
    assert_eq!(bench.answers(), ["3 at 9-1"]);
    let said = bench.said(Wire::Commands);
    assert_eq!(said.len(), 1);
    assert_eq!((said[0][2].as_str(), said[0][11].as_str()), ("2", "9-0"), "with its place before");
    bench.reply(&blob(b"12-1"));
    bench.said(Wire::Commands);
    bench.reply(&blob(b"12-2"));
    assert_eq!(bench.answers(), ["1 at 12-1", "2 at 12-2"]);
}

#[test]
fn lost_scripts_are_loaded_and_the_same_is_sent_again() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.publish("a");
    let said = bench.said(Wire::Commands);
    bench.publish("b");
    let other = bench.said(Wire::Commands);
    bench.reply(b"-NOSCRIPT No matching script.\r\n-NOSCRIPT No matching script.\r\n");
    let again = bench.said(Wire::Commands);
    let loads = Script::ALL.len();
    assert!(again[..loads].iter().all(|it| it[0] == "SCRIPT"), "{again:?}");
    assert_eq!(items(&again[loads]), ["a", "a", "b"]);
    let blocks = |command: &[String]| {
        command.iter().filter(|part| part.starts_with('\u{1}')).cloned().collect::<Vec<_>>()
    };
    let before = [blocks(&said[0]), blocks(&other[0])].concat();
    assert_eq!(blocks(&again[loads]), before, "with the same numbers, in order");
    assert_eq!(bench.events(), [Event::ScriptsLost]);
    let digests = blob(b"x").repeat(loads);
    bench.reply(&[digests, ids(&["9-1", "9-2", "9-1"])].concat());
    assert_eq!(bench.answers(), ["1 at 9-1", "2 at 9-2", "3 at 9-1"]);
}

#[test]
fn a_busy_redis_is_asked_again_after_a_pause() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    bench.reply(b"-BUSY Redis is busy running a script.\r\n");
    assert_eq!(bench.said(Wire::Commands).len(), 0);
    assert_eq!(bench.shard.deadline_us(), Some(bench.now_us + 100_000));
    bench.later(100_000);
    assert_eq!(items(&bench.said(Wire::Commands)[0]), ["a"]);
    assert_eq!(bench.events(), [Event::Busy]);
}

#[test]
fn a_refused_item_is_its_own() {
    let mut bench = Bench::ready();
    for channel in ["a", "b", "c"] {
        bench.publish(channel);
    }
    bench.said(Wire::Commands);
    bench.reply(&ids(&["9-1", "-OOM command not allowed", "=9-4"]));
    assert_eq!(bench.answers(), ["1 at 9-1", "2 Refused", "3 at 9-4"]);
    assert!(matches!(&bench.events()[..], [Event::Refused(text)] if text.starts_with("OOM")));
    assert!(!bench.shard.wants_close(Wire::Commands));
}

#[test]
fn a_position_that_was_given_before_is_no_success() {
    let mut bench = Bench::ready();
    bench.publish_with("a", Some(Position { epoch: Epoch(9), offset: 4 }), "");
    bench.said(Wire::Commands);
    bench.reply(&ids(&["9-4"]));
    assert_eq!(bench.answers(), ["1 Lost"]);
    assert_eq!(bench.events(), [Event::Forked("a".into())]);
    let said = bench.said(Wire::Commands);
    assert_eq!(said[0].last().expect("parts"), &format!("9-{}", (1_u64 << 53) - 1), "{said:?}");
    bench.reply(&blob(b"12-0"));
}

#[test]
fn all_else_is_carried_out_one_by_one() {
    let mut bench = Bench::ready();
    let block = Block::plain("a", b"1", Now { monotonic_us: 0, unix_ms: 0 });
    bench.call(|id| Call::Pass { id, block });
    bench.call(|id| Call::Remove { id, channel: "a".into() });
    let said = bench.said(Wire::Commands);
    assert_eq!((said.len(), said[0][0].as_str(), &said[0][1]), (1, "PUBLISH", &bench.key("a")));
    assert!(said[0][2].starts_with(" \u{1}"), "it has no id: {:?}", said[0][2]);
    bench.reply(b":0\r\n");
    assert_eq!(bench.said(Wire::Commands)[0], ["XTRIM", &bench.key("a"), "MAXLEN", "0"]);
    bench.reply(b"-WRONGTYPE no\r\n");
    assert_eq!(bench.answers(), ["1 passed", "2 Refused"]);
}

#[test]
fn a_stream_below_the_floor_is_begun_anew_for_whoever_reads() {
    let mut bench = Bench::ready();
    bench.read("a");
    assert_eq!(bench.said(Wire::Commands)[0][0], "XREVRANGE");
    bench.reply(&entries(&[("4-2", OTHER, 2), ("4-1", OTHER, 1)]));
    let said = bench.said(Wire::Commands);
    assert_eq!((said[0][0].as_str(), said[0].len()), ("EVALSHA", 12), "without an item");
    bench.reply(&blob(b"12-0"));
    assert_eq!(bench.answers(), ["1 read 12: 0 []"]);
    // What this version cannot read is a hole.
    bench.read("a");
    bench.said(Wire::Commands);
    let odd = array('*', &[blob(b"12-2"), array('*', &[blob(b"b"), blob(b"\x07odd")])]);
    let [one, three] = ["12-1", "12-3"].map(|id| entries(&[(id, OTHER, 1)])[4..].to_vec());
    bench.reply(&array('*', &[three, odd, one]));
    assert_eq!(bench.answers(), ["2 read 12: 2 [3]"]);
    assert!(matches!(&bench.events()[..], [Event::Unreadable(text)] if text.contains("version 7")));
}
