//! What is heard, and what Redis is told to send.

use super::*;
use crate::bridge::redis::link_error::LinkError;
use crate::metrics::StoreEvent;

/// Confirms what Redis is told next. Gives what that was.
fn confirm(bench: &mut Bench) -> Vec<String> {
    let said = bench.said(Wire::Subscriptions);
    let mut told = Vec::new();
    for command in said {
        match command[0].as_str() {
            "PING" => bench.bring(Wire::Subscriptions, b"+PONG\r\n"),
            name => {
                let kind = name.to_lowercase();
                for key in &command[1..] {
                    let channel = key.split('}').nth(1).expect("a tag before it");
                    told.push(format!("{kind} {channel}"));
                    bench.push(&kind, channel, b":1\r\n".to_vec());
                }
            }
        }
    }
    told
}

/// A bench that hears a channel, as session 7.
fn hearing(channel: &str) -> Bench {
    let mut bench = Bench::ready();
    bench.watch(channel, 7);
    assert_eq!(confirm(&mut bench), [format!("subscribe {channel}")]);
    bench.said(Wire::Commands);
    bench.reply(&entries(&[("9-1", OTHER, 1)]));
    assert_eq!(bench.answers(), ["1 read 9: 0 [1]"]);
    bench.events();
    bench
}

fn message(id: &str, data: Vec<u8>) -> Vec<u8> {
    blob(&[id.as_bytes(), b" ", &data].concat())
}

#[test]
fn a_channel_is_heard_before_it_is_read() {
    let mut bench = Bench::ready();
    bench.watch("a", 7);
    assert_eq!(bench.said(Wire::Commands).len(), 0);
    assert_eq!(confirm(&mut bench), ["subscribe a"]);
    assert_eq!(bench.said(Wire::Commands)[0][0], "XREVRANGE");
    // What comes before the read is heard already.
    bench.push("message", "a", message("9-1", data(OTHER, 1)));
    bench.reply(b"*0\r\n");
    assert_eq!(bench.said(Wire::Commands)[0][0], "XINFO");
    bench.reply(b"-ERR no such key\r\n");
    assert_eq!(bench.said(Wire::Commands)[0][0], "EVALSHA", "a stream to have a position in");
    bench.reply(&blob(b"12-0"));
    assert_eq!(bench.answers(), ["heard by 7 Some(1)", "1 read 12: 0 []"]);
}

#[test]
fn what_is_not_kept_is_heard_from_others_alone() {
    let mut bench = hearing("a");
    bench.push("message", "a", message("", data(OWN, 1)));
    bench.push("message", "a", message("", data(OTHER, 1)));
    bench.push("message", "a", message("9-2", data(OWN, 2)));
    bench.push("message", "b", message("9-2", data(OTHER, 2)));
    assert_eq!(bench.answers(), ["heard by 7 None", "heard by 7 Some(2)"]);
    // What cannot be read has its place nevertheless.
    bench.push("message", "a", message("9-3", b"\x07odd".to_vec()));
    bench.push("message", "a", message("", b"\x07odd".to_vec()));
    bench.push("message", "a", blob(b"nothing of ours"));
    assert_eq!(bench.answers(), ["7 lost"]);
    assert_eq!(bench.events().len(), 3);
}

#[test]
fn after_its_connection_ended_everything_is_heard_again_and_told_so() {
    let mut bench = hearing("a");
    bench.watch("b", 8);
    bench.end(Wire::Subscriptions);
    assert!(!bench.shard.is_ready());
    assert_eq!(bench.answers(), ["2 Away"], "who waits for a confirmation waits in vain");
    bench.watch("c", 9);
    assert_eq!(bench.answers(), ["3 Away"]);
    bench.dial(Wire::Subscriptions, "abc");
    assert_eq!(bench.answers().len(), 0, "not before it is confirmed");
    bench.watch("b", 10);
    let told = confirm(&mut bench);
    assert!(told.contains(&"subscribe a".to_owned()), "{told:?}");
    assert_eq!(bench.answers(), ["7 lost"]);
    assert_eq!(bench.said(Wire::Commands).len(), 1, "and the new one is read");
}

#[test]
fn who_may_not_hear_is_refused() {
    let mut bench = Bench::ready();
    bench.watch("a", 7);
    bench.said(Wire::Subscriptions);
    bench.bring(Wire::Subscriptions, b"-NOPERM no such channel for you\r\n+PONG\r\n");
    assert_eq!(bench.answers(), ["1 Refused"]);
    assert!(matches!(&bench.events()[..], [Event::Refused(_)]));
    assert!(!bench.shard.wants_close(Wire::Subscriptions));
    // One that is busy says no for now: what needs no history goes on.
    bench.watch("b", 8);
    bench.said(Wire::Subscriptions);
    bench.bring(Wire::Subscriptions, b"-BUSY Redis is busy running a script.\r\n+PONG\r\n");
    assert_eq!(bench.answers(), ["2 Away"]);
}

#[test]
fn a_failed_read_ends_the_session() {
    let mut bench = Bench::ready();
    bench.watch("a", 7);
    confirm(&mut bench);
    bench.said(Wire::Commands);
    bench.reply(b"-WRONGTYPE no\r\n");
    assert_eq!(bench.answers(), ["1 Refused"]);
    bench.push("message", "a", message("9-1", data(OTHER, 1)));
    assert_eq!(bench.answers().len(), 0, "one that failed is not heard");
}

#[test]
fn redis_is_told_a_while_after_the_last_has_left() {
    let mut bench = hearing("a");
    bench.unwatch("a", 6);
    bench.push("message", "a", message("9-2", data(OTHER, 2)));
    assert_eq!(bench.answers(), ["heard by 7 Some(2)"], "that was another session's end");
    bench.unwatch("a", 7);
    bench.push("message", "a", message("9-3", data(OTHER, 3)));
    assert_eq!(bench.answers().len(), 0);
    bench.later(3_000_000);
    bench.said(Wire::Subscriptions);
    bench.bring(Wire::Subscriptions, b"+PONG\r\n");
    bench.watch("a", 8);
    assert_eq!(bench.said(Wire::Commands)[0][0], "XREVRANGE", "it is heard still");
    bench.unwatch("a", 8);
    bench.later(2_000_000);
    assert!(!confirm(&mut bench).contains(&"unsubscribe a".to_owned()));
    bench.reply(&entries(&[]));
    bench.later(3_000_000);
    assert_eq!(confirm(&mut bench), ["unsubscribe a"]);
    bench.watch("a", 9);
    assert_eq!(confirm(&mut bench), ["subscribe a"]);
}

#[test]
fn two_connections_reach_one_server() {
    let mut bench = Bench::ready();
    bench.end(Wire::Subscriptions);
    bench.dial(Wire::Subscriptions, "other");
    assert!(bench.shard.wants_close(Wire::Commands), "Redis has moved");
    let mut bench = Bench::ready();
    bench.end(Wire::Commands);
    bench.dial(Wire::Commands, "other");
    assert!(bench.shard.wants_close(Wire::Subscriptions));
    bench.serve(FLOOR + 1);
    assert!(bench.events().contains(&Event::FloorRaised(FLOOR + 1)));
}

/// Something about the channel of echoes.
pub(super) fn bring_echo(bench: &mut Bench, kind: &str, last: Vec<u8>) {
    let key = bench.echo_key();
    let push = array('>', &[blob(kind.as_bytes()), blob(key.as_bytes()), last]);
    bench.bring(Wire::Subscriptions, &push);
}

#[test]
fn what_is_published_has_to_come_back() {
    let mut bench = Bench::ready();
    let key = bench.echo_key();
    bench.later(0);
    assert_eq!(bench.said(Wire::Commands).len(), 0, "it is not heard yet");
    bring_echo(&mut bench, "subscribe", b":1\r\n".to_vec());
    for number in ["1", "2"] {
        bench.later(1_000_000);
        let said = bench.said(Wire::Commands);
        assert_eq!(said, [vec!["SET", &key, number, "PX", "10000"], vec!["PUBLISH", &key, number]]);
        bring_echo(&mut bench, "message", blob(number.as_bytes()));
        bench.reply(b"+OK\r\n:1\r\n");
        assert!(bench.shard.metrics().is_live(bench.now_us / 1_000, 0));
    }
    // From a connection that was said to hear it, and does not bring it.
    bench.later(1_000_000);
    assert_eq!(bench.said(Wire::Commands).len(), 2);
    bench.reply(b"-OOM no more\r\n:1\r\n");
    bench.bring(Wire::Subscriptions, b"+PONG\r\n");
    bench.later(2_999_999);
    assert!(!bench.shard.wants_close(Wire::Subscriptions));
    bench.later(1);
    assert!(
        bench.shard.wants_close(Wire::Subscriptions) && !bench.shard.wants_close(Wire::Commands)
    );
    bench.end(Wire::Subscriptions);
    let is_deaf = |event: &Event| matches!(event, Event::Down { error: LinkError::Deaf, .. });
    assert!(bench.events().iter().any(is_deaf));
    assert_eq!(bench.shard.metrics().events_of(StoreEvent::Deaf), 1);
}

#[test]
fn a_server_that_became_a_replica_is_left() {
    let mut bench = Bench::ready();
    bring_echo(&mut bench, "subscribe", b":1\r\n".to_vec());
    bench.later(0);
    assert_eq!(bench.said(Wire::Commands).len(), 2);
    bench.reply(b"-READONLY You can't write against a read only replica.\r\n");
    assert!(bench.shard.wants_close(Wire::Commands));
}
