//! A shard's beats.

use super::*;
use crate::bridge::redis::directory::NodeRecord;
use crate::limits::{NODE_BEAT_US, NODE_RETRY_US};

fn beats(bench: &mut Bench) -> Vec<String> {
    bench.shard.beat(NodeRecord::default());
    assert!(!bench.shard.wants_beat(), "one is in flight");
    let said = bench.said(Wire::Commands);
    assert!(said.iter().any(|it| it[0] == "XRANGE"), "messages are read as well");
    said.into_iter().find(|it| it[0] == "EVALSHA").expect("a beat")
}

#[test]
fn a_node_beats_with_every_connection_and_from_time_to_time() {
    let mut bench = Bench::away();
    assert!(!bench.shard.wants_beat(), "there is nobody to tell");
    bench.dial(Wire::Commands, "abc");
    bench.serve(FLOOR);
    assert!(bench.shard.wants_beat());
    assert_eq!(beats(&mut bench)[4], OWN.text());
    let name = OTHER.text();
    let record = NodeRecord { name: "other".into(), ..NodeRecord::default() };
    let rest = [blob(name.as_bytes()), b":0\r\n".to_vec(), blob(&record.encoded())];
    bench.reply(&array('*', &[vec![b":-1\r\n".to_vec()], rest.to_vec()].concat()));
    bench.reply(b"*0\r\n");
    assert!(bench.events().contains(&Event::NodeAppeared("other".into())));
    assert_eq!(bench.shard.directory().living().count(), 1);
    bench.later(NODE_BEAT_US - 1);
    assert!(!bench.shard.wants_beat());
    bench.later(1);
    beats(&mut bench);
    bench.reply(b"-OOM no\r\n*0\r\n");
    assert!(!bench.shard.wants_beat());
    bench.later(NODE_RETRY_US);
    beats(&mut bench);
    bench.end(Wire::Commands);
    assert!(!bench.shard.wants_beat());
    bench.dial(Wire::Commands, "abc");
    bench.serve(FLOOR);
    assert!(bench.shard.wants_beat(), "the new connection begins with one");
}
