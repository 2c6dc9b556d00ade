//! What begins an epoch, and what does not have to.

use crate::rig::{CLASS, Client, Redis, at, begin, item};
use corecast::bridge::redis::error::Cause;
use corecast::bridge::redis::resp::Value;
use corecast::bridge::redis::resp::encode::Command;
use corecast::bridge::redis::script::{Begin, By, Class, Kept, Outcome, begun};
use corecast::bridge::redis::stream::{Found, remove, removed};
use corecast::contract::engine::Page;
use corecast::contract::position::{Epoch, Version};

/// The candidate of all of these.
const NEW: Epoch = Epoch(1_764_544_800_000_000);

#[test]
fn the_epoch_goes_on_where_it_may() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let first = client.begin(&begin("a", b"1"));
    assert_eq!(first, Outcome::Published(at(NEW, 1)));
    let later = Begin { candidate: Epoch(NEW.0 + 5), ..begin("a", b"2") };
    assert_eq!(client.begin(&later), Outcome::Published(at(NEW, 2)), "there is one");
    let level = Begin { floor: NEW, low: Some(at(NEW, 2)), ..later };
    assert_eq!(client.begin(&level), Outcome::Published(at(NEW, 3)), "it has not lost anything");
    let older = Begin { low: Some(at(Epoch(3), 100)), ..later };
    assert_eq!(client.begin(&older), Outcome::Published(at(NEW, 4)));
    let unknown = Begin { low: Some(at(Epoch::NONE, 100)), ..later };
    assert_eq!(client.begin(&unknown), Outcome::Published(at(NEW, 5)));
}

#[test]
fn another_begins_where_it_may_not() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    hearer.subscribe("a");
    client.begin_at("a", NEW.0, b"1");
    let mut epoch = NEW;
    // What is begun, whatever the candidate is: above all that there was.
    let cases = [
        ("it has lost its end", Begin { low: Some(at(NEW, 2)), ..begin("a", b"2") }),
        ("it has lost an epoch", Begin { low: Some(at(Epoch(NEW.0 + 9), 1)), ..begin("a", b"3") }),
        ("it is below the floor", Begin { floor: Epoch(NEW.0 + 99), ..begin("a", b"4") }),
    ];
    for (why, begin) in cases {
        let Outcome::Published(position) = client.begin(&begin) else { panic!("{why}") };
        assert!(
            position.epoch.0 > epoch.0 && position.epoch.0 >= begin.floor.0,
            "{why}: {position:?}"
        );
        assert!(begin.low.is_none_or(|low| position.epoch.0 > low.epoch.0), "{why}: {position:?}");
        epoch = position.epoch;
        let kept = client.all("a");
        assert_eq!((kept.epoch, kept.after, kept.entries.len()), (epoch, 0, 1), "{why}");
        let again = Begin { low: Some(position), ..begin };
        assert_eq!(client.begin(&again), Outcome::Published(at(epoch, 2)), "{why}");
    }
    let late =
        Begin { candidate: Epoch(NEW.0 + 1_000), floor: Epoch(epoch.0 + 1), ..begin("a", b"") };
    assert_eq!(client.begin(&late), Outcome::Published(at(late.candidate, 1)));
    let heard: Vec<_> = (0..8).map(|_| hearer.hear().1.expect("kept")).collect();
    assert!(heard.is_sorted_by_key(|it| (it.epoch.0, it.offset)), "{heard:?}");
}

#[test]
fn a_stream_is_opened_without_an_item() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    hearer.subscribe("a");
    let key = client.key("a");
    let open = Begin { item: None, ..begin("a", b"") };
    assert_eq!(client.read("a", Page::newest(9, 99), 9), Found::Missing);
    assert_eq!(client.begin(&open), Outcome::Published(at(NEW, 0)));
    assert!((59..=60).contains(&client.integer(&["TTL", &key])));
    let kept = client.all("a");
    assert_eq!((kept.epoch, kept.after, kept.end, kept.top), (NEW, 0, 0, 0));
    assert_eq!(client.begin(&Begin { candidate: Epoch(NEW.0 + 1), ..open }), {
        Outcome::Published(at(NEW, 0))
    });
    assert_eq!(client.begin_at("a", NEW.0 + 2, b"1"), at(NEW, 1));
    assert_eq!(client.begin(&open), Outcome::Published(at(NEW, 1)));
    // One below the floor becomes an empty one.
    let raised = Begin { floor: Epoch(NEW.0 + 3), ..open };
    assert_eq!(client.begin(&raised), Outcome::Published(at(raised.floor, 0)));
    assert_eq!(client.all("a").entries, []);
    assert_eq!(client.begin_at("a", NEW.0, b"2"), at(raised.floor, 1));
    assert_eq!([hearer.hear().2, hearer.hear().2], ["1", "2"], "an opening is not heard");
}

#[test]
fn what_begins_keeps_keys_and_sizes() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let keyed =
        |block| Begin { item: Some(Kept { key: "k", block, version: None }), ..begin("a", block) };
    assert_eq!(client.begin(&keyed(b"1")), Outcome::Published(at(NEW, 1)));
    assert_eq!(client.begin(&keyed(b"1")), Outcome::Repeated(at(NEW, 1)));
    // A resend does not begin an epoch either.
    let raised = Begin { floor: Epoch(NEW.0 + 9), ..keyed(b"1") };
    assert_eq!(client.begin(&raised), Outcome::Repeated(at(NEW, 1)));
    let none = Class { size: 0, ..CLASS };
    assert_eq!(client.begin(&Begin { class: none, ..begin("b", b"1") }), {
        Outcome::Published(at(NEW, 1))
    });
    let kept = client.all("b");
    assert_eq!((kept.entries.len(), kept.after, kept.top), (0, 1, 1));
    for number in 2..10 {
        client.begin_at("a", NEW.0, format!("{number}").as_bytes());
    }
    assert_eq!(client.all("a").after, 4, "five are kept");
}

#[test]
fn what_is_removed_keeps_its_numbering() {
    let redis = Redis::start();
    let mut client = redis.connect();
    client.begin_at("a", NEW.0, b"1");
    client.begin_at("a", NEW.0, b"2");
    for channel in ["a", "none"] {
        let mut out = Vec::new();
        remove(&mut out, &client.scripts.keys().channel(channel));
        client.send(&out);
        assert_eq!(removed(&client.answer()), Ok(()));
    }
    let kept = client.all("a");
    assert_eq!((kept.entries.len(), kept.after, kept.end, kept.top), (0, 2, 2, 2));
    assert_eq!(client.begin_at("a", NEW.0, b"3"), at(NEW, 3));
    assert_eq!(client.read("none", Page::newest(1, 1), 1), Found::Missing);
}

#[test]
fn a_key_that_is_no_stream_is_left_alone() {
    let redis = Redis::start();
    let mut client = redis.connect();
    let key = client.key("a");
    client.ask(&["SET", &key, "mine"]);
    let mut out = Vec::new();
    client.scripts.begin(&mut out, By::Text, &begin("a", b"1"));
    client.send(&out);
    let error = begun(client.answer()).expect_err("not a stream");
    assert_eq!(error.cause(), Cause::WrongType);
    assert_eq!(client.ask(&["GET", &key]), Value::Blob("mine".into()));
    // Nor is a note that is none.
    let mut note = Vec::new();
    let mut command = Command::new(&mut note, 3);
    command.part(b"SADD");
    client.scripts.keys().push_done(&mut command, "b", "k");
    command.part(b"mine");
    drop(command);
    client.send(&note);
    assert_eq!(client.answer(), Value::Integer(1));
    let keyed =
        Begin { item: Some(Kept { key: "k", block: b"1", version: None }), ..begin("b", b"") };
    let mut out = Vec::new();
    client.scripts.begin(&mut out, By::Text, &keyed);
    client.send(&out);
    assert_eq!(begun(client.answer()).expect_err("no text").cause(), Cause::WrongType);
}

/// A version that is not newer than that of the last publication is answered with its position.
#[test]
fn versions_are_compared_with_the_last_publication() {
    let redis = Redis::start();
    let (mut client, mut hearer) = (redis.connect(), redis.connect());
    hearer.subscribe("a");
    let publish = |client: &mut Client, number: u64, epoch: &str| {
        let version = Version { number, epoch: epoch.into() };
        let item = Kept { key: "", block: b"1", version: (number > 0).then_some(&version) };
        client.begin(&Begin { item: Some(item), ..begin("a", b"") })
    };
    let large = u64::MAX;
    // Number, epoch, and where the channel is then.
    let table = [
        (5, "", 1),
        (5, "", 1),
        (4, "", 1),
        (6, "", 2),
        (1, "b c", 3),
        (1, "", 3),
        (2, "b c", 4),
        (0, "", 5),
        (1, "b c", 6),
        (large - 1, "", 7),
        (large, "", 8),
        (large - 1, "", 8),
        (9, "", 8),
        (10, "c", 9),
        (9, "c", 9),
    ];
    let mut last = 0;
    for (number, epoch, offset) in table {
        let position = at(NEW, offset);
        let expected =
            if offset > last { Outcome::Published(position) } else { Outcome::Repeated(position) };
        assert_eq!(publish(&mut client, number, epoch), expected, "{number} {epoch}");
        if offset > last {
            assert_eq!(hearer.hear().1, Some(position));
        }
        last = offset;
    }
    // What is appended without a version is the last one too.
    client.publish(By::Text, CLASS, &[item("a", NEW, b"2")]);
    assert_eq!(publish(&mut client, 1, "c"), Outcome::Published(at(NEW, 11)));
    // Of an epoch that may not go on nothing is known.
    let version = Version { number: 1, epoch: "".into() };
    let again = Kept { key: "", block: b"3", version: Some(&version) };
    let raised = Begin { item: Some(again), floor: Epoch(NEW.0 + 9), ..begin("a", b"") };
    assert_eq!(client.begin(&raised), Outcome::Published(at(raised.floor, 1)));
}
