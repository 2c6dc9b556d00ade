//! A shard whose node ends.

use super::*;
use crate::bridge::redis::directory::NodeRecord;
use crate::contract::engine::UserChange;
use crate::contract::user::{Selection, SharedCommand, UserAction, UserCommand};
use crate::limits::{NODE_BEAT_US, NODE_HURRY_US, NODE_LEAVE_US};

/// One that is ready, holds a user, and knows another node.
fn among_two() -> Bench {
    let mut bench = Bench::ready();
    let changes = Box::new([UserChange { user: "u".into(), is_here: true }]);
    bench.call(|id| Call::Users { id, changes });
    beat(&mut bench, &[OTHER]);
    bench.later(0);
    while !bench.said(Wire::Commands).is_empty() {}
    bench.events();
    bench.answers();
    bench
}

/// Beats, and is told that these others live.
fn beat(bench: &mut Bench, others: &[NodeId]) {
    bench.shard.beat(NodeRecord::default());
    let record = NodeRecord { name: "other".into(), ..NodeRecord::default() }.encoded();
    let mut parts = vec![b":0\r\n".to_vec()];
    for other in others {
        parts.extend([blob(other.text().as_bytes()), b":0\r\n".to_vec(), blob(&record)]);
    }
    for command in bench.said(Wire::Commands) {
        match command[0].as_str() {
            "EVALSHA" => bench.reply(&array('*', &parts)),
            "XRANGE" => bench.reply(b"*0\r\n"),
            _ => bench.reply(b":1\r\n"),
        }
    }
}

fn words(said: &[Vec<String>]) -> Vec<&str> {
    said.iter().map(|it| it[0].as_str()).collect()
}

#[test]
fn a_node_takes_itself_back_behind_everything_else_and_rings_the_others() {
    let mut bench = among_two();
    bench.publish("a");
    assert_eq!(words(&bench.said(Wire::Commands)), ["EVALSHA"]);
    bench.shard.leave(bench.now_us);
    assert_eq!(bench.said(Wire::Commands).len(), 0, "what is in flight is waited for");
    bench.reply(&ids(&["9-1"]));
    let said = bench.said(Wire::Commands);
    assert_eq!(words(&said), ["DEL", "HDEL", "PUBLISH"]);
    assert!(said[0][1].starts_with("cc:users") && said[0][1].ends_with(&OWN.text()), "{said:?}");
    assert_eq!(said[1][2], OWN.text());
    assert!(said[2][1].ends_with(&OTHER.text()), "{said:?}");
    bench.publish("a");
    assert_eq!(bench.said(Wire::Commands).len(), 0, "nothing follows");
    bench.reply(b":1\r\n:1\r\n");
    assert!(!bench.shard.has_left());
    bench.reply(b":1\r\n");
    assert!(bench.shard.has_left());
    bench.later(NODE_BEAT_US);
    assert!(!bench.shard.wants_beat(), "or it would be there again");
}

#[test]
fn what_a_connection_lost_is_said_by_the_next_and_time_is_short() {
    let mut bench = among_two();
    bench.shard.leave(bench.now_us);
    assert_eq!(words(&bench.said(Wire::Commands)), ["DEL", "HDEL", "PUBLISH"]);
    assert_eq!(bench.shard.leave_until_us(), Some(bench.now_us + NODE_LEAVE_US));
    bench.end(Wire::Commands);
    bench.later(NODE_LEAVE_US - 1);
    assert!(!bench.shard.has_left());
    assert!(bench.shard.deadline_us() <= Some(bench.now_us + 1));
    bench.later(1);
    assert!(bench.shard.has_left(), "the lease will tell");
}

#[test]
fn who_is_rung_beats_soon_and_waits_no_more() {
    let mut bench = among_two();
    let action = UserAction::Disconnect { code: 4_000, reason: "r".into() };
    let what = SharedCommand::from(UserCommand { selection: Selection::default(), action });
    bench.call(|id| Call::ToUser { id, user: "v".into(), what });
    assert_eq!(words(&bench.said(Wire::Commands)), ["HKEYS", "SISMEMBER"]);
    bench.reply(&array('*', &[blob(OTHER.text().as_bytes())]));
    bench.reply(b":1\r\n");
    assert_eq!(words(&bench.said(Wire::Commands)), ["EVALSHA"], "the holder is asked");
    bench.reply(&blob(b"1-0"));
    bench.later(NODE_HURRY_US);
    assert!(!bench.shard.wants_beat());
    let key = bench.shard.control_key.to_vec();
    let push = array('>', &[blob(b"message"), blob(&key), blob(b"left")]);
    bench.bring(Wire::Subscriptions, &push);
    assert!(bench.shard.wants_beat());
    while !bench.said(Wire::Commands).is_empty() {}
    bench.reply(b"*0\r\n");
    assert_eq!(bench.answers().len(), 0);
    beat(&mut bench, &[]);
    assert_eq!(bench.answers(), ["2 told but []"]);
    assert!(bench.events().contains(&Event::NodeLeft("other".into())));
    let told = Answer::Node { node: OTHER, lives: false };
    assert_eq!(format!("{:?}", bench.shard.news.back()), format!("{:?}", Some(told)));
}
