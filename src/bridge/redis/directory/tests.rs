//! A directory against answers that a test makes.

use super::*;
use bytes::Bytes;

const OWN: NodeId = NodeId([1; 16]);
const TWO: NodeId = NodeId([2; 16]);
const THREE: NodeId = NodeId([3; 16]);

fn record(version: &str, fingerprint: u64) -> NodeRecord {
    NodeRecord { version: version.into(), fingerprint, ..NodeRecord::default() }
}

fn blob(bytes: Vec<u8>) -> Value {
    Value::Blob(Bytes::from(bytes))
}

fn answer(own_ms: i64, others: &[(NodeId, u64, Vec<u8>)]) -> Value {
    let mut parts = vec![Value::Integer(own_ms)];
    for (node, age_ms, data) in others {
        parts.push(blob(node.text().into_bytes()));
        parts.push(Value::Integer(age_ms.cast_signed()));
        parts.push(blob(data.clone()));
    }
    Value::Array(parts)
}

/// One that has beaten at that time and was answered so.
fn beat(directory: &mut Directory, at_us: u64, answer: &Value) -> Vec<Change> {
    directory.beat(record("1", 7), at_us);
    directory.answered(answer, at_us).expect("an answer")
}

#[test]
fn nodes_appear_die_and_come_back() {
    let mut directory = Directory::new(OWN);
    let named = NodeRecord { name: "two".into(), ..record("1", 7) };
    let two = |age_ms| (TWO, age_ms, named.encoded());
    assert_eq!(beat(&mut directory, 0, &answer(-1, &[two(0)])), [Change::Appeared(TWO)]);
    let times = [NODE_DEAD_MS - 1, NODE_DEAD_MS, NODE_DEAD_MS + 2_000, 10];
    let seen = times.map(|age_ms| {
        let at_us = directory.deadline_us().expect("it is due some time");
        let changes = beat(&mut directory, at_us, &answer(2_000, &[two(age_ms)]));
        (changes, directory.living().count(), directory.is_dead(TWO))
    });
    assert_eq!(seen[0], (vec![], 1, false));
    assert_eq!(seen[1], (vec![Change::Died(TWO)], 0, true));
    assert_eq!(seen[2], (vec![], 0, true));
    assert_eq!(seen[3], (vec![Change::Appeared(TWO)], 1, false));
    let at_us = directory.deadline_us().expect("it is due some time");
    let left = Change::Left(TWO, "two".into());
    assert_eq!(beat(&mut directory, at_us, &answer(2_000, &[])), [left]);
    assert_eq!(directory.living().count(), 0);
    assert!(!directory.is_dead(THREE), "one that is not known may be new");
}

#[test]
fn a_death_is_looked_for_when_it_is_due() {
    let mut directory = Directory::new(OWN);
    let two = |age_ms| (TWO, age_ms, record("1", 7).encoded());
    beat(&mut directory, 0, &answer(-1, &[two(NODE_DEAD_MS - NODE_BEAT_US / 1_000)]));
    assert_eq!(directory.deadline_us(), Some(NODE_BEAT_US), "the next beat is early enough");
    beat(&mut directory, NODE_BEAT_US, &answer(2_000, &[two(NODE_DEAD_MS - 900)]));
    assert_eq!(directory.deadline_us(), Some(NODE_BEAT_US + 901_000));
    let at_us = NODE_BEAT_US + 901_000;
    beat(&mut directory, at_us, &answer(901, &[two(NODE_DEAD_MS - 1)]));
    assert_eq!(directory.deadline_us(), Some(at_us + NODE_HURRY_US), "not without a pause");
    beat(&mut directory, at_us + NODE_HURRY_US, &answer(500, &[two(NODE_DEAD_MS)]));
    let last_us = at_us + NODE_HURRY_US;
    assert_eq!(directory.deadline_us(), Some(last_us + NODE_BEAT_US), "it is dead");
    directory.hurry(last_us);
    assert_eq!(directory.deadline_us(), Some(last_us + NODE_HURRY_US));
    directory.hurry(last_us + NODE_HURRY_US + 7);
    assert_eq!(directory.deadline_us(), Some(last_us + NODE_HURRY_US), "never later");
}

#[test]
fn a_node_learns_that_it_was_dead() {
    let mut directory = Directory::new(OWN);
    assert_eq!(beat(&mut directory, 0, &answer(-1, &[])), [], "it has just begun");
    let dead_ms = NODE_DEAD_MS.cast_signed();
    let seen = [dead_ms - 1, dead_ms, -1].map(|own_ms| {
        let at_us = directory.deadline_us().expect("it is due some time");
        beat(&mut directory, at_us, &answer(own_ms, &[]))
    });
    assert_eq!(seen, [vec![], vec![Change::Lapsed], vec![Change::Lapsed]]);
}

#[test]
fn what_differs_is_said_once_for_each_node() {
    let mut directory = Directory::new(OWN);
    let others = [(TWO, 0, record("2", 8).encoded()), (THREE, 0, record("1", 8).encoded())];
    let expected = [
        Change::Appeared(TWO),
        Change::OtherVersion(TWO),
        Change::Appeared(THREE),
        Change::OtherConfiguration(THREE),
    ];
    assert_eq!(beat(&mut directory, 0, &answer(-1, &others)), expected);
    let at_us = directory.deadline_us().expect("it is due some time");
    assert_eq!(beat(&mut directory, at_us, &answer(0, &others)), []);
}

#[test]
fn versions_whose_records_differ_read_each_other() {
    #[derive(Serialize)]
    struct Newer {
        zone: Vec<&'static str>,
        version: &'static str,
        connections: u64,
        later: Option<BTreeMap<&'static str, u8>>,
    }
    let later = Some(BTreeMap::from([("a", 1)]));
    let newer = Newer { zone: vec!["x", "y"], version: "9", connections: 5, later };
    let data = rmp_serde::to_vec_named(&newer).expect("it can be written");
    let read = NodeRecord::decoded(&data).expect("more fields, and fewer");
    assert_eq!((read.version.as_str(), read.connections, read.users), ("9", 5, 0));
    let whole = NodeRecord { name: "n_1".into(), cpu_percent: 1.5, ..record("1", 7) };
    assert_eq!(NodeRecord::decoded(&whole.encoded()), Some(whole));
    assert_eq!(NodeRecord::decoded(b"\xc1"), None);
    assert_eq!(NodeRecord::decoded(&vec![0xc0; NODE_RECORD_BYTES + 1]), None);
}

#[test]
fn a_node_lives_whatever_it_says_and_what_is_no_node_is_left_out() {
    let mut directory = Directory::new(OWN);
    let Value::Array(mut parts) = answer(-1, &[(TWO, 0, b"\xc1".to_vec())]) else { panic!() };
    parts.extend([blob(b"no name".to_vec()), Value::Integer(0), blob(record("1", 7).encoded())]);
    parts.extend([blob(OWN.text().into_bytes()), Value::Integer(0), blob(vec![])]);
    parts.push(Value::Null);
    let changes = beat(&mut directory, 0, &Value::Array(parts));
    assert_eq!(changes, [Change::Appeared(TWO), Change::OtherVersion(TWO)]);
    assert_eq!(directory.living().collect::<Vec<_>>(), [(TWO, &NodeRecord::default())]);
}

#[test]
fn one_beat_is_in_flight() {
    let mut directory = Directory::new(OWN);
    assert!(directory.is_due(0));
    directory.beat(record("1", 7), 0);
    assert!(!directory.is_due(u64::MAX) && directory.deadline_us().is_none());
    for wrong in [Value::Null, Value::Array(vec![]), Value::Error("OOM no".into())] {
        assert!(directory.answered(&wrong, 0).is_err(), "{wrong:?}");
    }
    directory.missed(50);
    assert_eq!(directory.deadline_us(), Some(50 + NODE_RETRY_US));
    directory.reconnected();
    assert!(directory.is_due(50));
}
