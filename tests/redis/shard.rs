//! Shards of two nodes on one Redis.

use crate::node::{KEY, Node, pump_until};
use crate::rig::Redis;
use corecast::bridge::redis::shard::{Event, Wire};
use corecast::contract::engine::{Answer, CallId, Failure, Page};
use corecast::contract::position::Position;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn ready(nodes: &mut [&mut Node]) {
    pump_until(nodes, "both are ready", |nodes| nodes.iter().all(|node| node.shard.is_ready()));
}

fn answered(nodes: &mut [&mut Node], of: usize, id: CallId) -> Answer {
    pump_until(nodes, "an answer", |nodes| nodes[of].answer(id).is_some());
    nodes[of].answer(id).expect("it was there").clone()
}

fn all_answered(nodes: &mut [&mut Node], of: usize, ids: &[(&str, CallId)]) {
    pump_until(nodes, "all are answered", |nodes| {
        ids.iter().all(|(_, id)| nodes[of].answer(*id).is_some())
    });
}

fn published(answer: &Answer) -> Position {
    match answer {
        Answer::Published { position, .. } => *position,
        other => panic!("not published: {other:?}"),
    }
}

#[test]
fn what_one_node_publishes_another_hears() {
    let redis = Redis::start();
    let (mut one, mut two) = (Node::new(1, redis.port()), Node::new(2, redis.port()));
    let nodes = &mut [&mut one, &mut two];
    ready(nodes);
    let watches = [nodes[0].watch("chat", 1), nodes[1].watch("chat", 9)];
    let Answer::Read(read) = answered(nodes, 0, watches[0]) else { panic!("a first read") };
    assert_eq!((read.after, read.end, read.top, read.entries.len()), (0, 0, 0, 0));
    answered(nodes, 1, watches[1]);
    let above = Some(Position { epoch: read.epoch, offset: 0 });
    let ids: Vec<CallId> =
        (0..40).map(|number| nodes[1].publish("chat", &number.to_string(), above)).collect();
    for (offset, id) in (1..).zip(&ids) {
        let position = published(&answered(nodes, 1, *id));
        assert_eq!(position, Position { epoch: read.epoch, offset }, "the first read's epoch");
    }
    let passed = nodes[1].pass("chat", "\"by the way\"");
    assert!(matches!(answered(nodes, 1, passed), Answer::Passed { .. }));
    pump_until(nodes, "the copies", |nodes| {
        nodes[0].heard().len() == 41 && nodes[1].heard().len() == 40
    });
    let position = |offset| Some(Position { epoch: read.epoch, offset });
    let expected: Vec<_> =
        (1..=40).map(|offset| (position(offset), (offset - 1).to_string())).collect();
    assert_eq!(nodes[1].heard(), expected, "what is not kept is not heard again");
    assert_eq!(nodes[0].heard()[..40], expected);
    assert_eq!(nodes[0].heard()[40], (None, "\"by the way\"".into()));
    // The publisher is a connection of its own node alone.
    for (node, key) in [(0, None), (1, Some(KEY))] {
        let of = |(_, answer): &(u64, Answer)| match answer {
            Answer::Publication { block, .. } => block.publisher().map(|by| (by.key, by.client)),
            _ => None,
        };
        let by = nodes[node].answers.iter().find_map(of).expect("a client published");
        assert_eq!(by, (key, *b"a client of ours"));
    }
    let after = nodes[0].read("chat", Page::after(position(38).expect("one"), 1 << 20));
    let Answer::Read(rest) = answered(nodes, 0, after) else { panic!("a read") };
    assert_eq!((rest.after, rest.end, rest.top, rest.entries.len()), (38, 40, 40, 2));
    let removed = nodes[1].remove("chat");
    assert!(matches!(answered(nodes, 1, removed), Answer::Removed { .. }));
    let all = nodes[0].read("chat", Page::newest(100, 1 << 20));
    let Answer::Read(none) = answered(nodes, 0, all) else { panic!("a read") };
    assert_eq!((none.epoch, none.after, none.end, none.top), (read.epoch, 40, 40, 40));
    nodes[0].unwatch("chat", 1);
    let last = nodes[1].publish("chat", "\"last\"", position(40));
    assert_eq!(published(&answered(nodes, 1, last)).offset, 41);
    pump_until(nodes, "its copy", |nodes| nodes[1].heard().len() == 41);
    assert_eq!(nodes[0].heard().len(), 41, "who does not watch any more hears nothing");
}

#[test]
fn what_was_in_flight_is_found_or_sent_again_and_never_doubled() {
    let redis = Redis::start();
    let (mut one, mut two) = (Node::new(1, redis.port()), Node::new(2, redis.port()));
    let nodes = &mut [&mut one, &mut two];
    ready(nodes);
    let mut ids = Vec::new();
    let mut cuts = 0;
    let channels = ["a", "b", "c"];
    for round in 0..24 {
        ready(nodes);
        // What is cut twice may take longer than a call has.
        if round % 3 == 0 {
            let last = ids.len();
            all_answered(nodes, 0, &ids[..last]);
        }
        for index in 0..26 {
            let channel = channels[index % channels.len()];
            // The last wait in their lines when the connection breaks.
            if index == 20 && round % 3 == 0 {
                nodes[0].write(Wire::Commands);
            }
            let data = ids.len().to_string();
            ids.push((channel, nodes[0].publish(channel, &data, None)));
            // Another node's in between.
            nodes[1].publish(channel, "\"other\"", None);
        }
        if round % 3 == 0 {
            nodes[0].cut(Wire::Commands);
            cuts += 1;
        }
        for _ in 0..round % 7 {
            nodes.iter_mut().for_each(|node| node.pump());
        }
    }
    assert_eq!((cuts, ids.len()), (8, 624));
    all_answered(nodes, 0, &ids);
    let mut lost = 0;
    for channel in channels {
        let mut kept: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let read = nodes[1].read(channel, Page::newest(10_000, 8 << 20));
        let Answer::Read(read) = answered(nodes, 1, read) else { panic!("a read") };
        assert_eq!(read.after, 0, "all is kept");
        for placed in &read.entries {
            let data = String::from_utf8(placed.block.data().to_vec()).expect("text");
            kept.entry(data).or_default().push(placed.offset);
        }
        let mut before = 0;
        for (number, (of, id)) in ids.iter().enumerate() {
            let offsets = kept.get(&number.to_string());
            assert!(offsets.is_none_or(|offsets| offsets.len() == 1), "doubled: {number}");
            match nodes[0].answer(*id).expect("it is answered") {
                _ if *of != channel => {}
                Answer::Published { position, .. } => {
                    assert_eq!(offsets, Some(&vec![position.offset]), "{number} has its place");
                    assert!(position.offset > before, "in order");
                    before = position.offset;
                }
                Answer::Failed { why: Failure::Lost, .. } => lost += 1,
                Answer::Failed { why: Failure::Away, .. } => {
                    assert_eq!(offsets, None, "nothing of {number} was carried out");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(lost, 0, "every fate was found out");
}

/// A home as far as the test needs one: it reads when it is told that it may have missed something.
#[derive(Default)]
struct Follower {
    seen: usize,
    /// What was heard or read at each place.
    contents: BTreeMap<(u64, u64), String>,
    /// The epoch of the last read.
    epoch: u64,
}

impl Follower {
    fn follow(&mut self, node: &mut Node) {
        for (_, answer) in node.answers.split_off(self.seen) {
            match &answer {
                Answer::Publication { position: Some(at), block, .. } => {
                    self.take(*at, block.data());
                }
                Answer::Read(read) => {
                    self.epoch = read.epoch.0;
                    for placed in &read.entries {
                        let at = Position { epoch: read.epoch, offset: placed.offset };
                        self.take(at, placed.block.data());
                    }
                }
                Answer::Lost { .. } | Answer::Failed { .. } => {
                    node.read("chat", Page::newest(1_000, 1 << 20));
                }
                _ => {}
            }
            node.answers.push((0, answer));
        }
        self.seen = node.answers.len();
    }

    fn take(&mut self, at: Position, data: &[u8]) {
        let data = String::from_utf8(data.to_vec()).expect("text");
        let before = self.contents.insert((at.epoch.0, at.offset), data.clone());
        assert!(before.is_none_or(|before| before == data), "two contents at {at:?}");
    }
}

#[test]
fn what_redis_forgets_is_declared() {
    let mut redis = Redis::start();
    let (mut one, mut two) = (Node::new(1, redis.port()), Node::new(2, redis.port()));
    let nodes = &mut [&mut one, &mut two];
    ready(nodes);
    let watch = nodes[0].watch("chat", 1);
    let Answer::Read(read) = answered(nodes, 0, watch) else { panic!("a first read") };
    let mut follower = Follower::default();
    let mut ids = Vec::new();
    let mut publish = |nodes: &mut [&mut Node], follower: &mut Follower, rounds: usize| {
        for _ in 0..rounds {
            ids.push(("chat", nodes[1].publish("chat", &ids.len().to_string(), None)));
            nodes.iter_mut().for_each(|node| node.pump());
            follower.follow(nodes[0]);
        }
    };
    publish(nodes, &mut follower, 50);
    redis.kill();
    publish(nodes, &mut follower, 50);
    redis.start_again();
    nodes.iter_mut().for_each(|node| node.port = redis.port());
    ready(nodes);
    publish(nodes, &mut follower, 50);
    all_answered(nodes, 1, &ids);
    let answers: Vec<Answer> =
        ids.iter().map(|(_, id)| nodes[1].answer(*id).expect("answered").clone()).collect();
    let last = answers.iter().rev().find_map(|answer| match answer {
        Answer::Published { position, .. } => Some(*position),
        _ => None,
    });
    let last = last.expect("those after the restart");
    let until = Instant::now() + Duration::from_secs(10);
    while !follower.contents.contains_key(&(last.epoch.0, last.offset)) {
        assert!(Instant::now() < until, "what is acknowledged afterwards is heard");
        nodes.iter_mut().for_each(|node| node.pump());
        follower.follow(nodes[0]);
    }
    assert!(follower.epoch > read.epoch.0, "what was acknowledged before is declared");
    let (mut acknowledged, mut before) = (0, (0, 0));
    for (number, answer) in answers.iter().enumerate() {
        if let Answer::Published { position, .. } = answer {
            acknowledged += 1;
            let at = (position.epoch.0, position.offset);
            assert!(at > before, "in order");
            before = at;
            let told = follower.contents.get(&at);
            let is_declared = at.0 < follower.epoch;
            let is_heard = told == Some(&number.to_string());
            assert!(is_heard || is_declared, "lost in silence: {number} at {position:?}");
        }
    }
    assert!(acknowledged > 50, "{acknowledged}");
    let is_raised = |event: &Event| matches!(event, Event::FloorRaised(_));
    assert!(nodes.iter().all(|node| node.events.iter().any(is_raised)));
    assert_eq!(nodes[1].shard.unanswered(), 0);
}
