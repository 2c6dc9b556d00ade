//! Items whose epochs are known.

use crate::rig::{CLASS, Redis, at, item};
use bytes::Bytes;
use corecast::bridge::redis::error::Cause;
use corecast::bridge::redis::resp::Value;
use corecast::bridge::redis::script::{By, Class, Item, Outcome, outcomes};
use corecast::contract::position::Epoch;

#[test]
fn items_are_put_in_order_and_a_stream_keeps_exactly_its_size() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    client.load();
    for channel in ["a", "b"] {
        hearer.subscribe(channel);
        client.begin_at(channel, 7, b"first");
    }
    let blocks: Vec<String> = (0..48).map(|number| format!("block {number}\r\n")).collect();
    let channel = |index: usize| if index.is_multiple_of(3) { "b" } else { "a" };
    let mut next = [2, 2];
    for batch in 0..3 {
        let indices = 16 * batch..16 * (batch + 1);
        let items: Vec<Item<'_>> = indices
            .clone()
            .map(|index| item(channel(index), Epoch(7), blocks[index].as_bytes()))
            .collect();
        let answer = client.publish(By::Digest, CLASS, &items);
        let expected: Vec<Outcome> = indices
            .map(|index| {
                let next = &mut next[usize::from(channel(index) == "b")];
                *next += 1;
                Outcome::Published(at(Epoch(7), *next - 1))
            })
            .collect();
        assert_eq!(outcomes(answer, 16), Ok(expected));
    }
    for channel in ["a", "b"] {
        let key = client.key(channel);
        assert_eq!(client.integer(&["XLEN", &key]), 5);
        let kept = client.all(channel);
        let last = next[usize::from(channel == "b")] - 1;
        assert_eq!((kept.epoch, kept.after, kept.top), (Epoch(7), last - 5, last));
    }
    // Who subscribed hears all of it in the same order.
    let mut heard = [1, 1];
    for block in
        [b"first".as_slice(), b"first"].into_iter().chain(blocks.iter().map(String::as_bytes))
    {
        let (channel, position, said) = hearer.hear();
        let offset = &mut heard[usize::from(channel == "b")];
        assert_eq!((position, said), (Some(at(Epoch(7), *offset)), Bytes::copy_from_slice(block)));
        *offset += 1;
    }
}

#[test]
fn a_stream_lives_as_long_as_its_last_publication() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let key = client.key("a");
    client.begin_at("a", 7, b"1");
    assert!((59..=60).contains(&client.integer(&["TTL", &key])));
    client.integer(&["EXPIRE", &key, "3"]);
    client.outcomes(&[item("a", Epoch(7), b"2")]);
    assert!((59..=60).contains(&client.integer(&["TTL", &key])));
    client.integer(&["PERSIST", &key]);
    let for_ever = Class { ttl_s: 0, ..CLASS };
    client.publish(By::Text, for_ever, &[item("a", Epoch(7), b"3")]);
    assert_eq!(client.integer(&["TTL", &key]), -1);
    // When it is over, there is no stream of that epoch.
    client.integer(&["PEXPIRE", &key, "1"]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(client.outcomes(&[item("a", Epoch(7), b"4")]), [Outcome::Unknown]);
    assert_eq!(client.integer(&["EXISTS", &key]), 0, "and none was made");
}

#[test]
fn a_key_is_carried_out_once_in_its_channel() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    hearer.subscribe("a");
    client.begin_at("a", 7, b"1");
    client.begin_at("b", 7, b"1");
    let keyed = |channel, block| Item { key: "k", ..item(channel, Epoch(7), block) };
    let batch = [
        keyed("a", b"2".as_slice()),
        item("a", Epoch(7), b"3"),
        keyed("a", b"4"),
        keyed("b", b"5"),
        Item { key: "l", ..item("a", Epoch(7), b"6") },
    ];
    let at = |offset| at(Epoch(7), offset);
    let expected = vec![
        Outcome::Published(at(2)),
        Outcome::Published(at(3)),
        Outcome::Repeated(at(2)),
        Outcome::Published(at(2)),
        Outcome::Published(at(4)),
    ];
    assert_eq!(client.outcomes(&batch), expected);
    // A resend is answered alike, and tells nobody.
    assert_eq!(client.outcomes(&[keyed("a", b"2")]), [Outcome::Repeated(at(2))]);
    assert_eq!(client.outcomes(&[item("a", Epoch(7), b"7")]), [Outcome::Published(at(5))]);
    let heard: Vec<Bytes> = (0..5).map(|_| hearer.hear().2).collect();
    assert_eq!(heard, ["1", "2", "3", "6", "7"].map(Bytes::from));
    assert_eq!(client.all("a").entries.len(), 5);
    // It is noted for its time.
    let Value::Array(notes) = client.ask(&["KEYS", "cc:done*"]) else { panic!("a list") };
    assert_eq!(notes.len(), 3);
    for note in notes {
        let Value::Blob(note) = note else { panic!("a key") };
        let note = std::str::from_utf8(&note).expect("text");
        assert!((290_000..=300_000).contains(&client.integer(&["PTTL", note])));
        client.integer(&["DEL", note]);
    }
    assert_eq!(client.outcomes(&[keyed("a", b"8")]), [Outcome::Published(at(6))]);
}

#[test]
fn an_epoch_that_the_stream_is_not_of_is_unknown() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    hearer.subscribe("a");
    assert_eq!(client.outcomes(&[item("a", Epoch(7), b"1")]), [Outcome::Unknown]);
    client.begin_at("a", 9, b"2");
    // Others of the batch go on.
    let batch = [item("a", Epoch(7), b"3"), item("a", Epoch(9), b"4"), item("b", Epoch(9), b"5")];
    let expected = vec![Outcome::Unknown, Outcome::Published(at(Epoch(9), 2)), Outcome::Unknown];
    assert_eq!(client.outcomes(&batch), expected);
    assert_eq!([hearer.hear().2, hearer.hear().2], ["2", "4"].map(Bytes::from));
}

#[test]
fn an_epoch_that_the_stream_has_lost_is_never_gone_on_with() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    client.begin_at("a", 7, b"1");
    hearer.subscribe("a");
    // 9-1 and more were once here; Redis would begin 9 again at 0.
    assert_eq!(client.outcomes(&[item("a", Epoch(9), b"2")]), [Outcome::Unknown]);
    let after = client.all("a");
    assert_eq!((after.top, after.entries.len()), (0, 0));
    assert_eq!(client.outcomes(&[item("a", Epoch(9), b"3")]), [Outcome::Unknown]);
    // Not even by who never heard of it.
    let position = client.begin_at("a", 8, b"4");
    assert!(position.epoch.0 > 9 && position.offset == 1, "{position:?}");
    assert_eq!(hearer.hear().1, Some(position), "what was refused was not said");
    assert_eq!(
        client.outcomes(&[item("a", position.epoch, b"5")]),
        [{ Outcome::Published(at(position.epoch, 2)) }]
    );
}

#[test]
fn a_bad_item_does_not_fail_its_batch() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    client.begin_at("a", 7, b"1");
    client.begin_at("c", 7, b"1");
    hearer.subscribe("a");
    hearer.subscribe("c");
    let bad = client.key("b");
    client.ask(&["SET", &bad, "not a stream"]);
    // Nor does a note that is none.
    let keyed = Item { key: "k", ..item("c", Epoch(7), b"4") };
    client.outcomes(&[keyed]);
    let Value::Array(notes) = client.ask(&["KEYS", "cc:done*"]) else { panic!("a list") };
    let Value::Blob(note) = &notes[0] else { panic!("a key") };
    let note = std::str::from_utf8(note).expect("text");
    client.ask(&["DEL", note]);
    client.ask(&["SADD", note, "not a text"]);
    let batch =
        [item("a", Epoch(7), b"2"), item("b", Epoch(7), b"3"), keyed, item("c", Epoch(7), b"5")];
    let answers = client.outcomes(&batch);
    assert_eq!(answers[0], Outcome::Published(at(Epoch(7), 2)));
    assert_eq!(answers[3], Outcome::Published(at(Epoch(7), 3)));
    for index in [1, 2] {
        let Outcome::Failed(error) = &answers[index] else { panic!("{answers:?}") };
        assert_eq!(error.cause(), Cause::WrongType);
    }
    let heard: Vec<Bytes> = (0..3).map(|_| hearer.hear().2).collect();
    assert_eq!(heard, ["4", "2", "5"].map(Bytes::from));
}
