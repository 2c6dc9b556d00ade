//! The scripts that note and count members, and the lists of them, on a real Redis.

use crate::rig::{Client, Redis};
use corecast::bridge::redis::members::{ClientIds, Listed, Listing, Place, counted, noted};
use corecast::bridge::redis::resp::Value;
use corecast::bridge::redis::script::By;
use corecast::contract::envelope::{Member, Who};
use corecast::contract::infos::Infos;
use corecast::contract::key::ConnectionKey;
use corecast::contract::presence::{Change, Entry};
use corecast::contract::wire::NodeId;
use corecast::limits::REDIS_MEMBERS_S;

const ONE: NodeId = NodeId([1; 16]);
const TWO: NodeId = NodeId([2; 16]);
const THREE: NodeId = NodeId([3; 16]);

fn id(connection: ConnectionKey) -> [u8; 16] {
    u128::from(connection.index).to_be_bytes()
}

fn key(index: u32) -> ConnectionKey {
    ConnectionKey { core: 0, index, generation: 0 }
}

fn entry(index: u32, user: &str, listed: bool) -> Entry {
    let infos = Infos::new(b"{\"a\":1}", b"");
    let member = Member { who: Who::Here(key(index)), user: user.into(), infos };
    Entry { member, listed, announced: true }
}

fn change(put: &[(u32, &str)], gone: &[u32]) -> Change {
    let put = put.iter().map(|(index, user)| entry(*index, user, true)).collect();
    Change { anew: false, put, gone: gone.iter().copied().map(key).collect() }
}

fn note(client: &mut Client, node: NodeId, change: &Change) -> Value {
    let ids: ClientIds = Box::new(id);
    let mut out = Vec::new();
    client.scripts.note(&mut out, (By::Text, Place { channel: "a", node }), change, &ids);
    client.send(&out);
    let answer = client.answer();
    assert!(noted(&answer).is_ok(), "{answer:?}");
    answer
}

/// What one node counts on others.
fn count(client: &mut Client, own: NodeId, others: &[NodeId]) -> (u32, u32) {
    let mut out = Vec::new();
    client.scripts.count(&mut out, (By::Text, Place { channel: "a", node: own }), others);
    client.send(&out);
    counted(&client.answer()).expect("numbers")
}

fn list(client: &mut Client, nodes: &[NodeId], most: u32) -> Listed {
    let mut listing = Listing::new(nodes.iter().copied(), most);
    loop {
        let mut out = Vec::new();
        listing.command(&mut out, client.scripts.keys(), "a");
        client.send(&out);
        match listing.receive(&client.answer()).expect("it can be read") {
            Listed::More => {}
            listed => return listed,
        }
    }
}

#[test]
fn what_is_noted_twice_counts_once() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let one = change(&[(1, "ann"), (2, "ann"), (3, "bob")], &[]);
    for _ in 0..2 {
        assert_eq!(note(&mut client, TWO, &one), Value::Integer(3));
        assert_eq!(count(&mut client, ONE, &[TWO]), (3, 2));
    }
    for _ in 0..2 {
        note(&mut client, TWO, &change(&[], &[1, 9]));
        assert_eq!(count(&mut client, ONE, &[TWO]), (2, 2));
    }
    note(&mut client, TWO, &change(&[], &[2]));
    assert_eq!(count(&mut client, ONE, &[TWO]), (1, 1));
    let hidden = Change { put: Box::new([entry(7, "eve", false)]), ..Change::default() };
    assert_eq!(note(&mut client, TWO, &hidden), Value::Integer(2));
    assert_eq!(count(&mut client, ONE, &[TWO]), (1, 1), "presence does not list it");
    // It is listed from now on, and is another user.
    note(&mut client, TWO, &change(&[(7, "ann")], &[]));
    assert_eq!(count(&mut client, ONE, &[TWO]), (2, 2));
    assert_eq!(note(&mut client, TWO, &hidden), Value::Integer(2));
    assert_eq!(count(&mut client, ONE, &[TWO]), (1, 1), "and again is not");
    note(&mut client, TWO, &change(&[], &[7, 3]));
    assert_eq!(count(&mut client, ONE, &[TWO]), (0, 0));
    assert_eq!(client.integer(&["DBSIZE"]), 0, "nothing is left");
}

#[test]
fn users_of_several_nodes_count_once() {
    let redis = Redis::start();
    let mut client = redis.connect();
    // One user is called as what counts the members.
    note(&mut client, ONE, &change(&[(1, "ann"), (2, "n")], &[]));
    note(&mut client, TWO, &change(&[(3, "ann"), (4, "bob"), (5, "")], &[]));
    note(&mut client, THREE, &change(&[(6, "bob"), (7, "n")], &[]));
    assert_eq!(count(&mut client, ONE, &[TWO, THREE]), (5, 2), "bob and the anonymous one");
    assert_eq!(count(&mut client, NodeId([9; 16]), &[TWO]), (3, 3));
    assert_eq!(count(&mut client, NodeId([9; 16]), &[ONE, TWO, THREE]), (7, 4));
    assert_eq!(count(&mut client, ONE, &[]), (0, 0));
}

#[test]
fn what_is_noted_anew_replaces_all_and_expires() {
    let redis = Redis::start();
    let mut client = redis.connect();
    note(&mut client, TWO, &change(&[(1, "ann"), (2, "bob")], &[]));
    let anew = Change { anew: true, ..change(&[(3, "eve")], &[]) };
    assert_eq!(note(&mut client, TWO, &anew), Value::Integer(1));
    assert_eq!(count(&mut client, ONE, &[TWO]), (1, 1));
    let Value::Array(keys) = client.ask(&["KEYS", "*"]) else { panic!("keys") };
    assert_eq!(keys.len(), 2);
    for key in keys {
        let Value::Blob(key) = key else { panic!("{key:?}") };
        let key = std::str::from_utf8(&key).expect("text").to_owned();
        let left = client.integer(&["TTL", &key]);
        assert!(left > 0 && left <= REDIS_MEMBERS_S.into(), "{key}: {left}");
    }
}

#[test]
fn large_lists_are_read_in_parts() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let put: Vec<(u32, &str)> = (0..2_000).map(|index| (index, "ann")).collect();
    for part in put.chunks(256) {
        note(&mut client, TWO, &change(part, &[]));
    }
    note(&mut client, THREE, &change(&[(5_000, "bob")], &[]));
    let Listed::All(entries) = list(&mut client, &[TWO, THREE], 2_001) else { panic!("all") };
    assert_eq!(entries.len(), 2_001);
    let last = &entries[2_000].member;
    assert_eq!((last.who, last.user.as_str()), (Who::Elsewhere(id(key(5_000))), "bob"));
    assert_eq!(last.infos, Infos::new(b"{\"a\":1}", b""));
    assert_eq!(list(&mut client, &[TWO, THREE], 2_000), Listed::Over);
}
