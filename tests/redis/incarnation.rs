//! Servers that forget: restarts from older snapshots, and FLUSHALL. No place of any epoch is ever
//! given to two publications (rules 29 and 30).

use crate::rig::{Client, Redis, at, begin, item};
use bytes::Bytes;
use corecast::bridge::redis::resp::Value;
use corecast::bridge::redis::script::{Begin, Outcome};
use corecast::contract::position::{Epoch, Position};
use corecast::limits::REDIS_CLOCK_SKEW_US;
use std::collections::BTreeMap;

const NOW_US: u64 = 1_764_544_800_000_000;

/// What a server says of itself: its replication id.
fn replication_id(client: &mut Client) -> String {
    let info = match client.ask(&["INFO", "replication"]) {
        Value::Blob(info) => String::from_utf8(info.to_vec()).expect("text"),
        value => panic!("{value:?}"),
    };
    let line = info.lines().find_map(|line| line.strip_prefix("master_replid:"));
    line.expect("it has one").to_owned()
}

/// A node: its connection, its clock, the floor that it was told, and the epoch that it knows.
struct Node {
    client: Client,
    now_us: u64,
    floor: Epoch,
    raised: bool,
    known: Option<Position>,
    /// Publications by their places; a second one in a place is a fork.
    places: BTreeMap<(u64, u64), String>,
    forks: u32,
}

impl Node {
    fn connect(redis: &Redis, now_us: u64) -> Node {
        let client = redis.connect();
        let (floor, places) = (Epoch(0), BTreeMap::new());
        let mut node = Node { client, now_us, floor, raised: false, known: None, places, forks: 0 };
        node.greet();
        node
    }

    /// Asks who it speaks to, as on each new connection.
    fn greet(&mut self) {
        let id = replication_id(&mut self.client);
        let floor = self.client.floor(&id, self.now_us);
        (self.floor, self.raised) = (floor.epoch, floor.raised);
    }

    /// Publishes as the bridge does: below the floor, or where the epoch is unknown, by beginning.
    fn publish(&mut self, text: &str) -> Position {
        self.now_us += 1_000;
        let known = self.known.filter(|known| known.epoch.0 >= self.floor.0);
        let quick = known.map(|known| {
            self.client.outcomes(&[item("a", known.epoch, text.as_bytes())]).remove(0)
        });
        let outcome = match quick {
            Some(outcome) if outcome != Outcome::Unknown => outcome,
            _ => self.client.begin(&Begin {
                floor: self.floor,
                candidate: Epoch(self.now_us),
                low: self.known,
                ..begin("a", text.as_bytes())
            }),
        };
        let Outcome::Published(position) = outcome else { panic!("{outcome:?}") };
        let before = self.places.insert((position.epoch.0, position.offset), text.to_owned());
        self.forks += u32::from(before.is_some_and(|before| before != text));
        self.known = Some(position);
        position
    }
}

#[test]
fn a_floor_is_raised_once_for_an_incarnation() {
    let mut redis = Redis::start();
    let mut node = Node::connect(&redis, NOW_US);
    assert!(node.raised, "nothing is known of this server");
    assert_eq!(node.floor, Epoch(NOW_US + REDIS_CLOCK_SKEW_US));
    let other = Node::connect(&redis, NOW_US + 5);
    assert_eq!((other.floor, other.raised), (node.floor, false));
    node.client.ask(&["SAVE"]);
    redis.kill_and_start();
    // By a node whose clock is far behind, too.
    let late = Node::connect(&redis, NOW_US / 2);
    assert_eq!((late.floor, late.raised), (Epoch(node.floor.0 + 1), true));
    redis.kill_and_start();
    let later = Node::connect(&redis, NOW_US + 60_000_000);
    assert_eq!((later.floor, later.raised), (Epoch(NOW_US + 2 * REDIS_CLOCK_SKEW_US), true));
}

/// Publishes up to a snapshot and beyond it, kills the server, and publishes after its restart.
/// How many places were given twice.
fn forks_after_a_restart(keeps_floor: bool, knows_end: bool) -> u32 {
    let mut redis = Redis::start();
    let mut node = Node::connect(&redis, NOW_US);
    for number in 1..=10 {
        node.publish(&format!("m{number}"));
    }
    node.client.ask(&["SAVE"]);
    for number in 11..=15 {
        node.publish(&format!("m{number}"));
    }
    redis.kill_and_start();
    node.client = redis.connect();
    if keeps_floor {
        let before = node.floor;
        node.greet();
        assert!(node.raised && node.floor.0 > before.0);
    }
    if !knows_end {
        // The publisher is a node that did not hear the channel.
        node.known = Some(at(node.known.expect("published").epoch, 0));
    }
    for number in 1..=10 {
        node.publish(&format!("n{number}"));
    }
    assert!(node.forks > 0 || node.known.expect("published").offset == 10);
    node.forks
}

#[test]
fn a_restart_from_an_older_snapshot_gives_no_place_twice() {
    assert_eq!(forks_after_a_restart(true, true), 0);
    assert_eq!(forks_after_a_restart(true, false), 0);
    // It is the floor that sees to it.
    assert_eq!(forks_after_a_restart(false, false), 5);
}

#[test]
fn what_was_flushed_begins_anew() {
    let redis = Redis::start();
    let mut node = Node::connect(&redis, NOW_US);
    let mut other = Node::connect(&redis, NOW_US + 7);
    for number in 1..=3 {
        node.publish(&format!("m{number}"));
        other.known = node.known;
    }
    node.client.ask(&["FLUSHALL"]);
    let after = node.publish("n1");
    assert!(after.epoch.0 > other.known.expect("heard").epoch.0 && after.offset == 1);
    // Another node finds the new one, whatever it believed.
    let next = other.publish("n2");
    assert_eq!(next, at(after.epoch, 2));
    assert_eq!(node.publish("n3"), at(after.epoch, 3));
    let kept = node.client.all("a");
    let blocks: Vec<Bytes> = kept.entries.into_iter().map(|(_, block)| block).collect();
    assert_eq!((kept.after, blocks), (0, ["n1", "n2", "n3"].map(Bytes::from).to_vec()));
    // A connection that comes now raises the floor, for the note of it is gone as well.
    let third = Node::connect(&redis, NOW_US + 9);
    assert!(third.raised && third.floor.0 > after.epoch.0);
}

#[test]
fn a_deleted_stream_goes_on_and_one_of_which_all_is_gone_does_not() {
    let redis = Redis::start();
    let mut node = Node::connect(&redis, NOW_US);
    let first = node.publish("m1");
    let key = node.client.key("a");
    node.client.integer(&["DEL", &key]);
    let second = node.publish("m2");
    assert_eq!((second.epoch, second.offset), (first.epoch, 2), "nobody missed anything");
    node.client.ask(&["FLUSHALL"]);
    let second = node.publish("m3");
    assert!(second.epoch.0 > first.epoch.0 && second.offset == 1, "{first:?} {second:?}");
}
