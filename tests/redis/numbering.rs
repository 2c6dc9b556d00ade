//! The numbering of a channel goes on when what its stream kept has expired.

use crate::rig::{CLASS, Client, Redis, at, begin, item};
use corecast::bridge::redis::resp::encode::Command;
use corecast::bridge::redis::script::{Begin, Class, Outcome};
use corecast::bridge::redis::stream::Found;
use corecast::contract::engine::Page;
use corecast::contract::position::Epoch;

/// The candidate of all of these.
const NEW: Epoch = Epoch(1_764_544_800_000_000);
const LATER: Epoch = Epoch(NEW.0 + 5);

/// Where a channel's numbering is noted.
fn numbering_key(client: &Client, channel: &str) -> String {
    let mut out = Vec::new();
    client.scripts.keys().push_numbering(&mut Command::new(&mut out, 1), channel);
    String::from_utf8(out).expect("text").lines().nth(2).expect("a part").to_owned()
}

/// Two publications, of which nothing is kept any more.
fn expired(client: &mut Client) {
    client.begin_at("a", NEW.0, b"1");
    client.outcomes(&[item("a", NEW, b"2")]);
    let key = client.key("a");
    // As when its time is over: an EXPIRE that is past deletes it.
    assert_eq!(client.integer(&["PEXPIRE", &key, "-1"]), 1);
}

#[test]
fn what_is_published_after_an_expiry_has_the_next_offset() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    hearer.subscribe("a");
    expired(&mut client);
    assert_eq!(client.outcomes(&[item("a", NEW, b"3")]), [Outcome::Unknown]);
    let low = Some(at(NEW, 2));
    let next = Begin { candidate: LATER, low, ..begin("a", b"3") };
    assert_eq!(client.begin(&next), Outcome::Published(at(NEW, 3)));
    let kept = client.all("a");
    assert_eq!((kept.epoch, kept.after, kept.entries.len(), kept.top), (NEW, 2, 1, 3));
    assert_eq!(client.outcomes(&[item("a", NEW, b"4")]), [Outcome::Published(at(NEW, 4))]);
    let heard: Vec<_> = (0..4).map(|_| hearer.hear().1.expect("kept").offset).collect();
    assert_eq!(heard, [1, 2, 3, 4]);
}

#[test]
fn a_read_after_an_expiry_finds_the_position() {
    let redis = Redis::start();
    let mut client = redis.connect();
    expired(&mut client);
    assert_eq!(client.read("a", Page::newest(9, 99), 9), Found::Missing);
    let open = Begin { item: None, class: Class::OPENED, candidate: LATER, ..begin("a", b"") };
    assert_eq!(client.begin(&open), Outcome::Published(at(NEW, 2)));
    let kept = client.all("a");
    assert_eq!((kept.epoch, kept.after, kept.entries.len(), kept.top), (NEW, 2, 0, 2));
    assert_eq!(client.outcomes(&[item("a", NEW, b"3")]), [Outcome::Published(at(NEW, 3))]);
}

#[test]
fn a_numbering_that_may_not_go_on_does_not() {
    let redis = Redis::start();
    let cases = [
        ("below the floor", Begin { floor: LATER, ..begin("a", b"3") }),
        ("its end was lost", Begin { low: Some(at(NEW, 3)), ..begin("a", b"3") }),
        ("an epoch was lost", Begin { low: Some(at(LATER, 1)), ..begin("a", b"3") }),
    ];
    for (why, begin) in cases {
        let mut client = redis.connect();
        client.ask(&["FLUSHALL"]);
        expired(&mut client);
        for begin in [Begin { item: None, ..begin }, begin] {
            let Outcome::Published(position) = client.begin(&begin) else { panic!("{why}") };
            let offset = u64::from(begin.item.is_some());
            assert!(position.epoch.0 > NEW.0 && position.offset == offset, "{why}: {position:?}");
        }
        // And what goes on after the next expiry is the epoch that began.
        let (key, epoch) = (client.key("a"), client.all("a").epoch);
        client.integer(&["PEXPIRE", &key, "-1"]);
        assert_eq!(client.begin(&begin_above(epoch)), Outcome::Published(at(epoch, 2)), "{why}");
    }
}

fn begin_above(epoch: Epoch) -> Begin<'static> {
    Begin { low: Some(at(epoch, 1)), candidate: Epoch(epoch.0 + 9), ..begin("a", b"4") }
}

#[test]
fn a_numbering_lives_as_long_as_its_class_says_and_reading_does_not_shorten_that() {
    let redis = Redis::start();
    let mut client = redis.connect();
    client.begin_at("a", NEW.0, b"1");
    let key = numbering_key(&client, "a");
    assert!((599..=600).contains(&client.integer(&["TTL", &key])));
    client.integer(&["EXPIRE", &key, "3"]);
    client.outcomes(&[item("a", NEW, b"2")]);
    assert!((599..=600).contains(&client.integer(&["TTL", &key])));
    let stream = client.key("a");
    client.integer(&["PEXPIRE", &stream, "-1"]);
    let brief = Class { numbering_s: 60, ..CLASS };
    let open = Begin { item: None, class: brief, ..begin("a", b"") };
    assert_eq!(client.begin(&open), Outcome::Published(at(NEW, 2)));
    assert!((590..=600).contains(&client.integer(&["TTL", &key])));
    client.integer(&["EXPIRE", &key, "3"]);
    client.integer(&["PEXPIRE", &stream, "-1"]);
    assert_eq!(client.begin(&open), Outcome::Published(at(NEW, 2)));
    assert!((59..=60).contains(&client.integer(&["TTL", &key])));
    // What is no numbering is none.
    client.integer(&["PEXPIRE", &stream, "-1"]);
    client.ask(&["SET", &key, "mine"]);
    assert_eq!(client.begin_at("a", LATER.0, b"3"), at(LATER, 1));
}
