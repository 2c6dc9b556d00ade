//! Connections that end, and what becomes of what was in flight.

use super::hearing::bring_echo;
use super::*;
use crate::bridge::redis::link_error::LinkError;
use crate::contract::user::{Selection, SharedCommand, UserAction, UserCommand};

/// Connects for commands again, to the same server, up to the floor. Gives what was asked.
fn again(bench: &mut Bench, floor: u64) -> Vec<Vec<String>> {
    bench.dial(Wire::Commands, "abc");
    bench.serve(floor)
}

#[test]
fn what_was_found_is_acknowledged_and_the_rest_is_sent_again() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.publish("a");
    let said = bench.said(Wire::Commands);
    bench.publish("a");
    bench.publish("b");
    bench.read("c");
    bench.end(Wire::Commands);
    assert_eq!(bench.answers(), ["4 Away", "5 Away"], "what was not sent cannot wait");
    bench.publish("b");
    bench.publish("a");
    bench.read("a");
    assert_eq!(bench.answers(), ["6 Away"], "in line behind what is not known");
    let asked = again(&mut bench, FLOOR);
    assert!(asked.contains(&["CLIENT", "KILL", "ID", "17"].map(str::to_owned).to_vec()));
    let search = bench.said(Wire::Commands);
    assert_eq!(search.len(), 1);
    assert_eq!(search[0][..3], ["XRANGE", &bench.key("a"), "9-0"], "from where it stood");
    bench.reply(&entries(&[("9-0", OTHER, 9), ("9-1", OWN, 1), ("9-2", OTHER, 4)]));
    assert_eq!(bench.answers(), ["1 at 9-1"]);
    let sent = bench.said(Wire::Commands);
    let blocks = |command: &[String]| {
        command.iter().filter(|part| part.starts_with('\u{1}')).cloned().collect::<Vec<_>>()
    };
    assert_eq!(blocks(&sent[0]).len(), 3, "the second, and those asked after it");
    assert_eq!(blocks(&sent[0])[0], blocks(&said[0])[1], "with its number");
    bench.reply(&ids(&["9-3", "9-4", "9-5"]));
    assert_eq!(bench.answers(), ["2 at 9-3", "3 at 9-4", "7 at 9-5"]);
}

/// Between its failure and its close nobody is answered before those in flight.
#[test]
fn what_comes_while_a_connection_ends_waits_behind_what_is_in_flight() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    bench.shard.failed(Wire::Commands, LinkError::Silent);
    bench.publish("a");
    bench.publish("b");
    assert_eq!(bench.answers(), ["3 Away"], "of its channel nothing is in flight");
    bench.shard.closed(Wire::Commands, bench.now_us);
    assert_eq!(bench.answers(), [""; 0], "the first may have been carried out");
    again(&mut bench, FLOOR);
    bench.said(Wire::Commands);
    bench.reply(&entries(&[("9-0", OTHER, 9), ("9-1", OWN, 1)]));
    bench.said(Wire::Commands);
    bench.reply(&ids(&["9-2"]));
    assert_eq!(bench.answers(), ["1 at 9-1", "2 at 9-2"]);
}

/// What becomes of a publication that was in flight, where the next connection begins so.
fn fate(replication_id: &str, floor: u64, kill: &[u8], key: &str) -> (Vec<String>, Vec<String>) {
    let mut bench = Bench::ready();
    bench.publish_with("a", Some(Position { epoch: Epoch(9), offset: 0 }), key);
    bench.said(Wire::Commands);
    bench.end(Wire::Commands);
    bench.dial(Wire::Commands, replication_id);
    for command in bench.said(Wire::Commands) {
        match command[0].as_str() {
            "SCRIPT" => bench.reply(&blob(b"x")),
            "CLIENT" => bench.reply(kill),
            _ => bench.reply(&array('*', &[blob(b"1796000000"), blob(b"0")])),
        }
    }
    bench.said(Wire::Commands);
    bench.reply(format!("*2\r\n:{floor}\r\n:0\r\n").as_bytes());
    let said = bench.said(Wire::Commands).into_iter().map(|command| command[0].clone()).collect();
    (bench.answers(), said)
}

#[test]
fn it_is_sent_again_only_where_it_cannot_be_doubled() {
    let nothing = Vec::<String>::new;
    let lost = || vec!["1 Lost".to_owned()];
    assert_eq!(fate("abc", FLOOR, b":0\r\n", ""), (nothing(), vec!["XRANGE".to_owned()]));
    assert_eq!(fate("abc", FLOOR + 1, b":0\r\n", ""), (lost(), nothing()), "Redis forgot");
    assert_eq!(fate("other", FLOOR, b":0\r\n", ""), (lost(), nothing()), "another server");
    let barred = b"-NOPERM no CLIENT for you\r\n";
    assert_eq!(fate("abc", FLOOR, barred, ""), (lost(), nothing()), "it may still come");
    // With a key it is carried out once, however often it is sent.
    assert_eq!(fate("abc", FLOOR, barred, "k"), (nothing(), vec!["EVALSHA".to_owned()]));
}

#[test]
fn every_earlier_connection_is_ended_before_anything_is_sent_again() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    bench.end(Wire::Commands);
    let kills = |said: &[Vec<String>]| said.iter().filter(|it| it[0] == "CLIENT").count();
    bench.dial(Wire::Commands, "abc");
    assert_eq!(kills(&bench.said(Wire::Commands)), 1);
    bench.end(Wire::Commands);
    bench.dial(Wire::Commands, "abc");
    assert_eq!(kills(&bench.serve(FLOOR)), 2, "of the first it is not known");
    assert_eq!(bench.said(Wire::Commands)[0][0], "XRANGE");
}

#[test]
fn what_came_before_in_the_stream_is_not_sent_after() {
    let mut bench = Bench::ready();
    bench.publish("a");
    // That one may have been carried out without the first, too.
    bench.publish_with("a", Some(Position { epoch: Epoch(9), offset: 0 }), "k");
    bench.said(Wire::Commands);
    bench.end(Wire::Commands);
    again(&mut bench, FLOOR);
    bench.said(Wire::Commands);
    // The first was refused, and the second was not.
    bench.reply(&entries(&[("9-0", OTHER, 9), ("9-1", OWN, 2)]));
    assert_eq!(bench.answers(), ["1 Lost", "2 at 9-1"]);
}

#[test]
fn every_call_is_answered_in_its_time() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    bench.publish("a");
    bench.later(1_000_000);
    bench.publish("a");
    bench.later(2_999_999);
    assert!(!bench.shard.wants_close(Wire::Commands));
    bench.later(1);
    assert!(bench.shard.wants_close(Wire::Commands), "half-open for four seconds");
    bench.end(Wire::Commands);
    assert_eq!(bench.answers().len(), 0);
    bench.later(500_000);
    assert_eq!(bench.answers(), ["1 Lost", "2 Away"], "nobody dialled meanwhile");
    bench.later(1_000_000);
    assert_eq!(bench.answers(), ["3 Away"]);
    assert_eq!(bench.shard.unanswered(), 0);
    bench.publish("a");
    assert_eq!(bench.answers(), ["4 Away"], "nothing is left in line");
}

#[test]
fn what_is_in_flight_for_too_long_is_given_up_and_its_answer_ignored() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    // Bytes come, so the connection lives; the answer does not.
    bench.later(3_000_000);
    bench.reply(b"*1\r\n$");
    bench.later(1_500_000);
    assert_eq!(bench.answers(), ["1 Lost"]);
    bench.publish("a");
    assert_eq!(bench.said(Wire::Commands).len(), 0, "one at a time");
    bench.reply(b"3\r\n9-1\r\n");
    assert_eq!(bench.said(Wire::Commands).len(), 1);
    bench.reply(&ids(&["9-2"]));
    assert_eq!(bench.answers(), ["2 at 9-2"]);
}

#[test]
fn a_server_that_cannot_serve_any_more_is_left() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.publish("b");
    bench.said(Wire::Commands);
    bench.reply(&ids(&["9-1", "-READONLY You can't write against a read only replica."]));
    assert!(bench.shard.wants_close(Wire::Commands));
    bench.end(Wire::Commands);
    assert_eq!(bench.answers(), ["1 at 9-1", "2 Away"], "nothing was carried out");
    let unavailable = |event: &Event| {
        matches!(event, Event::Down { error: LinkError::Unavailable(_), was_up: true, .. })
    };
    assert!(bench.events().iter().any(unavailable));
}

#[test]
fn an_answer_that_is_none_of_ours_leaves_the_fate_unknown() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    bench.reply(b":1\r\n");
    assert!(bench.shard.wants_close(Wire::Commands));
    bench.end(Wire::Commands);
    assert_eq!(bench.answers().len(), 0);
    again(&mut bench, FLOOR);
    assert_eq!(bench.said(Wire::Commands)[0][0], "XRANGE", "it is looked for");
}

#[test]
fn rests_grow_until_both_have_been_up_for_a_while() {
    let mut bench = Bench::away();
    bench.shard.turn(0);
    let mut rests = Vec::new();
    for _ in 0..12 {
        assert!(bench.shard.wants_dial(Wire::Commands));
        bench.end(Wire::Commands);
        let before_us = bench.now_us;
        while let Some(due_us) = bench.shard.commands.deadline_us() {
            bench.now_us = due_us;
            bench.shard.turn(due_us);
        }
        rests.push(bench.now_us - before_us);
    }
    assert!(rests[0] <= 25_000 && rests[11] >= 800_000, "{rests:?}");
    bench.publish("a");
    assert_eq!(bench.answers(), ["1 Away"], "and calls fail at once");
}

/// Asks for what stands in no line of a channel, on a connection that is about to be closed.
fn nothing_is_sent_any_more(bench: &mut Bench) {
    assert!(bench.shard.wants_close(Wire::Commands) && !bench.shard.is_ready());
    bench.call(|id| Call::Nodes { id });
    let (selection, action) = (Selection::default(), UserAction::Send { data: Box::default() });
    let what = SharedCommand::from(UserCommand { selection, action });
    bench.call(|id| Call::ToUser { id, user: "u".into(), what });
    bench.call(|id| Call::Count { id, channel: "a".into() });
    bench.watch("a", 1);
    bench.publish("b");
    bench.later(1_000_000);
    assert_eq!(bench.said(Wire::Commands), Vec::<Vec<String>>::new());
}

#[test]
fn a_connection_that_is_silent_is_not_written_to_while_it_ends() {
    let mut bench = Bench::ready();
    bring_echo(&mut bench, "subscribe", b":1\r\n".to_vec());
    // The last that was published by the time itself comes back. What a home asks is not answered,
    // and the next would be due in the turn that finds that.
    bench.later(0);
    assert_eq!(bench.said(Wire::Commands)[1][0], "PUBLISH");
    bench.reply(b"+OK\r\n:1\r\n");
    bench.publish("a");
    bench.said(Wire::Commands);
    for _ in 0..3 {
        bench.later(900_000);
    }
    bring_echo(&mut bench, "message", blob(b"1"));
    assert!(!bench.shard.wants_close(Wire::Commands));
    // Nothing looked at it for a moment.
    bench.now_us += 1_300_000;
    bench.later(0);
    nothing_is_sent_any_more(&mut bench);
}

#[test]
fn a_server_that_became_a_replica_is_not_written_to_while_it_ends() {
    let mut bench = Bench::ready();
    bench.publish("a");
    bench.said(Wire::Commands);
    bench.reply(b"-READONLY You can't write against a read only replica.\r\n");
    nothing_is_sent_any_more(&mut bench);
}
