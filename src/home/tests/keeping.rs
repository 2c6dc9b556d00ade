//! What is kept of a channel without use, and which channels make room for others.

use super::*;

fn position(home: &Home<Memory>, channel: &str) -> Position {
    home.position(channel).expect("its numbering is kept")
}

#[test]
fn who_missed_nothing_is_told_so_long_after_the_history_went() {
    let mut home = home(Memory, Limits::default());
    ask(&mut home, subscribe("short:a"), at_ms(0));
    for data in [b"1", b"2"] {
        publish(&mut home, "short:a", data, at_ms(0));
    }
    ask(&mut home, unsubscribe("short:a"), at_ms(0));
    let before = position(&home, "short:a");
    // History of a second, and the numbering of 30 days.
    home.timers(at_ms(1_001));
    assert_eq!((home.history_bytes(), home.channels(), home.numberings()), (0, 0, 1));
    let day_ms = 24 * 3_600_000;
    home.timers(at_ms(29 * day_ms));
    let back = |offset| {
        let Request::Subscribe(mut request) = recover("short:a", offset) else { unreachable!() };
        request.since = Some(Since { epoch: Some(before.epoch), offset });
        Request::Subscribe(request)
    };
    assert_eq!(brought(&ask(&mut home, back(2), at_ms(29 * day_ms))), Some(vec![]));
    assert_eq!((position(&home, "short:a"), home.numberings()), (before, 0));
    ask(&mut home, unsubscribe("short:a"), at_ms(29 * day_ms));
    assert_eq!(brought(&ask(&mut home, back(1), at_ms(29 * day_ms))), None, "it missed one");
    ask(&mut home, unsubscribe("short:a"), at_ms(29 * day_ms));
    publish(&mut home, "short:a", b"3", at_ms(30 * day_ms));
    let after = position(&home, "short:a");
    assert_eq!((after.epoch, after.offset), (before.epoch, 3), "the numbering goes on");
    home.timers(at_ms(31 * day_ms));
    home.timers(at_ms(62 * day_ms));
    assert_eq!((home.position("short:a"), home.numberings()), (None, 0), "in its time it goes");
}

#[test]
fn asking_for_history_makes_no_channel_and_tells_one_epoch() {
    let mut home = home(Memory, Limits { channels_per_worker: 1, ..Limits::default() });
    let epoch =
        |home: &mut Home<Memory>| match &ask(home, history_of("long:a", Some((0, None))), at_ms(0))
            [..]
        {
            [Delivery::History(answer)] => answer.position.epoch,
            said => panic!("{said:?}"),
        };
    let first = epoch(&mut home);
    assert_eq!((epoch(&mut home), home.channels(), home.numberings()), (first, 0, 1));
    ask(&mut home, subscribe("long:a"), at_ms(0));
    assert_eq!(position(&home, "long:a").epoch, first);
    ask(&mut home, unsubscribe("long:a"), at_ms(0));
    assert_eq!(epoch(&mut home), first);
}

#[test]
fn a_channel_without_history_leaves_nothing() {
    let mut home = home(Memory, Limits::default());
    ask(&mut home, subscribe("plain"), at_ms(0));
    ask(&mut home, unsubscribe("plain"), at_ms(0));
    assert_eq!((home.channels(), home.numberings(), home.position("plain")), (0, 0, None));
}

#[test]
fn histories_without_subscribers_make_room() {
    let limits = Limits { channels_per_worker: 3, ..Limits::default() };
    let mut home = home(Memory, limits);
    publish(&mut home, "long:old", b"1", at_ms(0));
    publish(&mut home, "long:heard", b"1", at_ms(1));
    publish(&mut home, "long:new", b"1", at_ms(2));
    ask(&mut home, subscribe("long:heard"), at_ms(3));
    // It was the oldest, and is no longer.
    publish(&mut home, "long:old", b"2", at_ms(4));
    let offset = |home: &Home<Memory>, channel: &str| position(home, channel).offset;
    let said = ask(&mut home, subscribe("long:guest"), at_ms(5));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    assert_eq!((home.channels(), home.numberings(), home.evicted()), (3, 1, 1));
    assert_eq!(offset(&home, "long:new"), 1, "its numbering is kept");
    assert_eq!(home.history_bytes(), 3 * Block::plain("long:old", b"1", at_ms(0)).size() + 2);
    publish(&mut home, "long:other", b"1", at_ms(6));
    assert_eq!((home.channels(), offset(&home, "long:old")), (3, 2));
    ask(&mut home, subscribe("long:other"), at_ms(6));
    // Each of the three has a subscriber.
    let said = ask(&mut home, subscribe("long:new"), at_ms(7));
    assert!(
        matches!(said[..], [Delivery::Refused { error: ErrorCode::LimitExceeded, .. }]),
        "{said:?}"
    );
    assert_eq!(offset(&home, "long:new"), 1, "who was refused has lost nothing");
    ask(&mut home, unsubscribe("long:guest"), at_ms(8));
    assert_eq!(brought(&ask(&mut home, recover("long:new", 1), at_ms(8))), Some(vec![]));
}

#[test]
fn who_fills_the_memory_loses_his_own_history() {
    let mut home = home(Memory, Limits { history_bytes_per_worker: 50_000, ..Limits::default() });
    for number in 0..20 {
        publish(&mut home, &format!("long:small-{number}"), b"1", at_ms(number));
    }
    for number in 0..400 {
        publish(&mut home, &format!("long:large-{}", number % 4), &[b'1'; 1_000], at_ms(100));
        home.timers(at_ms(100 + number));
        assert!(home.history_bytes() <= 50_000, "{} bytes", home.history_bytes());
    }
    assert!(home.evicted() > 4, "the large ones went again and again");
    for number in 0..20 {
        let kept =
            brought(&ask(&mut home, recover(&format!("long:small-{number}"), 0), at_ms(999)));
        assert_eq!(kept, Some(vec![1]), "small-{number} was the oldest, and is there");
    }
}

#[test]
fn a_version_outlives_its_channel() {
    let mut home = home(Memory, Limits::default());
    let told = |home: &mut Home<Memory>, number: u64, now: Now| {
        let version = Some(Version { number, epoch: "".into() });
        let options = Some(Box::new(PublishOptions { version, ..PublishOptions::default() }));
        let block = Block::plain("short:a", b"1", now);
        let said = ask(home, Request::Publish { to: TO, block, options }, now);
        let [Delivery::Published { position, .. }] = &said[..] else { panic!("{said:?}") };
        position.offset
    };
    assert_eq!(told(&mut home, 5, at_ms(0)), 1);
    home.timers(at_ms(1_001));
    assert_eq!(home.channels(), 0);
    assert_eq!(told(&mut home, 5, at_ms(2_000)), 1, "it is no newer");
    assert_eq!(told(&mut home, 6, at_ms(2_000)), 2);
}

#[test]
fn who_causes_too_many_channels_is_told_to_wait() {
    let mut home = home(Memory, Limits { new_channels_burst: 200, ..Limits::default() });
    let mut refused = 0;
    for number in 0..300 {
        let name = format!("long:{number}");
        match &ask(&mut home, subscribe(&name), at_ms(0))[..] {
            [Delivery::Subscribed(_)] => {
                ask(&mut home, unsubscribe(&name), at_ms(0));
            }
            [Delivery::Refused { error: ErrorCode::TooManyRequests, .. }] => refused += 1,
            said => panic!("{said:?}"),
        }
    }
    assert_eq!((refused, home.channels_refused(), home.numberings()), (100, 100, 200));
    // An existing channel is not new, and channels that the application publishes in are not
    // counted.
    let said = ask(&mut home, subscribe("long:7"), at_ms(0));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    for number in 1_000..1_300 {
        publish(&mut home, &format!("long:{number}"), b"1", at_ms(0));
    }
    assert_eq!((home.channels(), home.channels_refused()), (301, 100));
}
