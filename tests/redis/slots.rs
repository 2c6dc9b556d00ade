//! Names on a Redis Cluster of one node: what belongs together is in one slot.

use crate::rig::{CLASS, Redis, begin, item};
use corecast::bridge::redis::keys::{PARTITIONS, Partition};
use corecast::bridge::redis::resp::Value;
use corecast::bridge::redis::script::{Begin, By, Item, Kept, Outcome, outcomes};
use corecast::contract::position::Epoch;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn a_partition_is_in_one_slot_and_all_slots_are_shared_evenly() {
    let redis = Redis::start_with(&["--cluster-enabled", "yes"]);
    let mut client = redis.connect();
    let mut slots: BTreeMap<Partition, i64> = BTreeMap::new();
    for number in 0..3_000 {
        let name = format!("chat:{{{number}}}:lobby");
        let key = client.key(&name);
        let slot = client.integer(&["CLUSTER", "KEYSLOT", &key]);
        let partition = Partition::of(&name);
        assert_eq!(*slots.entry(partition).or_insert(slot), slot, "{key}");
        // By the name's own slot, as whoever shards the names alone would.
        let plain: String = name.chars().filter(|letter| !"{}".contains(*letter)).collect();
        let own = client.integer(&["CLUSTER", "KEYSLOT", &plain]);
        let tagged = client.key(&plain);
        let tagged = client.integer(&["CLUSTER", "KEYSLOT", &tagged]);
        assert_eq!(own / 64, tagged / 64, "{plain}");
    }
    assert_eq!(slots.len(), PARTITIONS, "each has channels");
    let parts: Vec<i64> = slots.values().map(|slot| slot / 64).collect();
    assert_eq!(parts, (0..256).collect::<Vec<_>>(), "each has 64 slots");
}

#[test]
fn requests_of_one_partition_are_served_by_a_cluster() {
    let redis = Redis::start_with(&["--cluster-enabled", "yes"]);
    let mut client = redis.connect();
    client.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let until = Instant::now() + Duration::from_secs(10);
    while client.ask(&["GET", "x"]) != Value::Null {
        assert!(Instant::now() < until, "the cluster does not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let partition = Partition::of("a");
    let names = (0..).map(|number| format!("room {number}"));
    let names: Vec<String> = names.filter(|it| Partition::of(it) == partition).take(4).collect();
    for name in &names {
        let keyed =
            Begin { item: Some(Kept { key: "k", block: b"1", version: None }), ..begin(name, b"") };
        assert!(matches!(client.begin(&keyed), Outcome::Published(_)), "{name}");
    }
    let epoch = begin("", b"").candidate;
    let items: Vec<Item<'_>> =
        names.iter().map(|name| Item { key: "l", ..item(name, epoch, b"2") }).collect();
    let published = client.outcomes(&items);
    assert!(published.iter().all(|it| matches!(it, Outcome::Published(at) if at.offset == 2)));
    assert_eq!(client.floor("id", 7).epoch, Epoch(60_000_007));
    // Two partitions are not.
    let other = (0..).map(|number| format!("{number}")).find(|it| Partition::of(it) != partition);
    let other = other.expect("there are 256");
    let batch = [item(&names[0], epoch, b"3"), item(&other, epoch, b"3")];
    let answer = client.publish(By::Text, CLASS, &batch);
    assert!(outcomes(answer, 2).expect_err("no").text().starts_with("CROSSSLOT"));
}
