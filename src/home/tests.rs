//! A home driven by hand: requests in, deliveries out, time as an argument.

use super::block::Block;
use super::engine::{Answer, Bridged, Call, Engine, Memory, StreamRead};
use super::envelope::{
    ConnectionKey, Delivery, Epoch, HistoryRequest, Overrides, Position, PublishOptions, Recovery,
    ReplyTo, Request, SubscribeRequest,
};
use super::name::Name;
use super::{Home, HomeOptions};
use crate::clock::Now;
use crate::limits::Limits;
use crate::namespace::{ChannelOptions, Mode, Namespaces};

const CONNECTION: ConnectionKey = ConnectionKey { core: 0, index: 7, generation: 1 };
const TO: ReplyTo = ReplyTo { connection: CONNECTION, command: 1 };

fn at_ms(ms: u64) -> Now {
    Now { monotonic_us: ms * 1_000, unix_ms: 1_700_000_000_000 + ms }
}

/// Namespaces `long` (history for an hour) and `short` (for a second).
fn home<E: Engine>(engine: E, limits: Limits) -> Home<E> {
    let keeps = |history_ttl_s| ChannelOptions {
        history_size: 100,
        history_ttl_s,
        recovery: Mode::Allow,
        ..ChannelOptions::default()
    };
    let named = vec![("long".to_owned(), keeps(3_600)), ("short".to_owned(), keeps(1))];
    let namespaces = Namespaces { named, ..Namespaces::default() };
    Home::new(HomeOptions { core: 0, cores: 1, namespaces, limits, seed: 5 }, engine)
}

/// Takes a request, and gives what is said.
fn ask<E: Engine>(home: &mut Home<E>, request: Request, now: Now) -> Vec<Delivery> {
    home.take(request, now).expect("there is credit");
    said(home)
}

fn said<E: Engine>(home: &mut Home<E>) -> Vec<Delivery> {
    std::iter::from_fn(|| home.next_delivery()).map(|(_, delivery)| delivery).collect()
}

fn publish(home: &mut Home<Memory>, channel: &str, data: &[u8], now: Now) {
    ask(
        home,
        Request::Publish { to: TO, block: Block::plain(channel, data, at_ms(0)), options: None },
        now,
    );
}

fn subscribe(channel: &str) -> Request {
    let (channel, user) = (Name::from(channel), Name::from(""));
    let (since, recover, overrides) = (None, false, Overrides::default());
    let request = SubscribeRequest {
        to: TO,
        sequence: 1,
        channel,
        user,
        infos: None,
        since,
        recover,
        overrides,
        delta: false,
    };
    Request::Subscribe(Box::new(request))
}

fn unsubscribe(channel: &str) -> Request {
    Request::Unsubscribe { connection: CONNECTION, channel: Name::from(channel) }
}

#[test]
fn history_of_a_second_is_not_kept_for_an_hour() {
    let mut home = home(Memory, Limits::default());
    publish(&mut home, "long:a", b"1", at_ms(0));
    let long = home.history_bytes();
    publish(&mut home, "short:b", b"1", at_ms(0));
    assert_eq!(home.next_timer_ms(), Some(1_000));
    home.timers(at_ms(1_001));
    assert_eq!(home.history_bytes(), long, "that of a second has gone");
    assert_eq!((home.channels(), home.next_timer_ms()), (1, Some(3_600_000)));
}

#[test]
fn the_bound_is_kept_behind_channels_without_history() {
    let mut home = home(Memory, Limits { history_bytes_per_worker: 10_000, ..Limits::default() });
    // Asked for, and never published in: only their numbering is kept.
    for number in 0..200 {
        let channel = Name::from(&*format!("long:{number}"));
        let (limit, since, reverse) = (-1, None, false);
        let request = HistoryRequest { to: TO, channel, limit, since, reverse };
        ask(&mut home, Request::History(Box::new(request)), at_ms(0));
    }
    for number in 0..10 {
        publish(&mut home, &format!("long:full{number}"), &[b'1'; 2_000], at_ms(number));
    }
    home.timers(at_ms(100));
    assert!(home.history_bytes() <= 10_000, "{} bytes", home.history_bytes());
    assert!(home.history_bytes() > 6_000, "no more than is needed: {}", home.history_bytes());
    assert!(home.next_timer_ms() > Some(100), "there is nothing left to do");
}

#[test]
fn what_was_kept_for_its_numbering_gets_history_again() {
    let mut home = home(Memory, Limits { history_bytes_per_worker: 1_000, ..Limits::default() });
    publish(&mut home, "long:a", &[b'1'; 2_000], at_ms(0));
    home.timers(at_ms(1));
    assert_eq!(home.history_bytes(), 0);
    publish(&mut home, "long:a", &[b'1'; 2_000], at_ms(2));
    home.timers(at_ms(3));
    assert_eq!(home.history_bytes(), 0, "it was found again");
    assert_eq!(home.position("long:a").map(|position| position.offset), Some(2));
    home.timers(at_ms(3_600_002));
    assert_eq!(home.channels(), 0);
}

#[test]
fn a_replica_left_while_it_reads_is_dropped() {
    let mut home = home(Bridged::new(8), Limits::default());
    let now = at_ms(0);
    let calls = |home: &mut Home<Bridged>| -> Vec<Call> {
        std::iter::from_fn(|| home.engine().outgoing()).collect()
    };
    let tell = |home: &mut Home<Bridged>, answer: Answer| {
        home.engine().incoming(answer);
        let mut deliveries = Vec::new();
        while home.take_answer(now) {
            deliveries.extend(said(home));
        }
        deliveries
    };
    let channel = || Name::from("long:a");
    let read = |token, top| {
        let entries = Box::default();
        let read =
            StreamRead { token, channel: channel(), epoch: Epoch(3), after: top, entries, top };
        Answer::Read(Box::new(read))
    };
    ask(&mut home, subscribe("long:a"), now);
    assert!(matches!(calls(&mut home)[..], [Call::Watch { .. }]));
    tell(&mut home, Answer::Watching { channel: channel() });
    let [Call::Read { token, .. }] = calls(&mut home)[..] else { panic!("the first read") };
    assert!(matches!(tell(&mut home, read(token, 4))[..], [Delivery::Subscribed(_)]));
    // A gap: it is filled while the only subscriber leaves.
    let position = Position { epoch: Epoch(3), offset: 6 };
    let block = Block::plain("long:a", b"1", at_ms(0));
    tell(&mut home, Answer::Publication { channel: channel(), position, block });
    let [Call::Read { token, .. }] = calls(&mut home)[..] else { panic!("a fill") };
    ask(&mut home, unsubscribe("long:a"), now);
    tell(&mut home, read(token, 6));
    assert!(matches!(calls(&mut home)[..], [Call::Unwatch { .. }]));
    assert_eq!(home.channels(), 0, "nobody needs it");
}

#[test]
fn who_is_hidden_is_not_listed_and_comes_in_silence() {
    let mut home = home(Memory, Limits::default());
    let overrides = |presence, join_leave| Overrides {
        presence: Some(presence),
        join_leave: Some(join_leave),
        ..Overrides::default()
    };
    let table = [(false, false), (true, false), (false, true), (true, true)];
    // Somebody who hears of it all.
    ask(&mut home, subscribe("long:a"), at_ms(0));
    for (index, (listed, announced)) in (0..).zip(table) {
        let Request::Subscribe(mut request) = subscribe("long:a") else { unreachable!() };
        request.to.connection.index = index;
        request.overrides = overrides(listed, announced);
        let said = ask(&mut home, Request::Subscribe(request), at_ms(0));
        let joined = said.iter().any(|said| matches!(said, Delivery::Joined { .. }));
        assert_eq!(joined, announced);
    }
    let asked = Request::Presence { to: TO, channel: Name::from("long:a") };
    let said = ask(&mut home, asked, at_ms(0));
    let [Delivery::Presence(answer)] = said.as_slice() else { panic!("{said:?}") };
    let listed: Vec<u32> = answer.members.iter().map(|member| member.connection.index).collect();
    assert_eq!(listed, [1, 3]);
    let asked = Request::PresenceStats { to: TO, channel: Name::from("long:a") };
    let said = ask(&mut home, asked, at_ms(0));
    assert!(matches!(said[..], [Delivery::PresenceStats { clients: 2, users: 1, .. }]), "{said:?}");
    for (index, (_, announced)) in (0..).zip(table) {
        let connection = ConnectionKey { index, ..CONNECTION };
        let channel = Name::from("long:a");
        let said = ask(&mut home, Request::Unsubscribe { connection, channel }, at_ms(0));
        assert_eq!(said.iter().any(|said| matches!(said, Delivery::Left { .. })), announced);
    }
}

#[test]
fn a_key_is_carried_out_once() {
    let mut home = home(Memory, Limits::default());
    let publish = |home: &mut Home<Memory>, channel: &str, key: &str, command: u32| {
        let to = ReplyTo { command, ..TO };
        let idempotency_key = key.into();
        let options = Some(Box::new(PublishOptions { idempotency_key, skip_history: false }));
        let block = Block::plain(channel, b"1", at_ms(0));
        let said = ask(home, Request::Publish { to, block, options }, at_ms(0));
        match said.as_slice() {
            [Delivery::Published { to, position }] => (to.command, position.offset),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(publish(&mut home, "long:a", "k", 1), (1, 1));
    assert_eq!(publish(&mut home, "long:a", "k", 2), (2, 1), "the first one's answer");
    assert_eq!(publish(&mut home, "long:a", "l", 3), (3, 2));
    assert_eq!(publish(&mut home, "long:b", "k", 4), (4, 1), "another channel's key");
    assert_eq!(publish(&mut home, "long:a", "k", 5), (5, 1));
    assert_eq!(home.published(), 3);
}

#[test]
fn what_skips_history_has_no_place_in_it() {
    let mut home = home(Memory, Limits::default());
    ask(&mut home, subscribe("long:a"), at_ms(0));
    publish(&mut home, "long:a", b"1", at_ms(0));
    let skips = PublishOptions { skip_history: true, ..PublishOptions::default() };
    let block = Block::plain("long:a", b"2", at_ms(0));
    let request = Request::Publish { to: TO, block, options: Some(Box::new(skips)) };
    let said = ask(&mut home, request, at_ms(0));
    assert!(
        matches!(
            said[..],
            [
                Delivery::Publication { offset: 0, .. },
                Delivery::Published { position: Position { offset: 0, .. }, .. }
            ]
        ),
        "{said:?}"
    );
    assert_eq!(home.position("long:a").map(|position| position.offset), Some(1));
}

#[test]
fn removed_history_cannot_be_recovered_and_its_numbering_goes_on() {
    let mut home = home(Memory, Limits::default());
    publish(&mut home, "long:a", b"1", at_ms(0));
    publish(&mut home, "long:a", b"2", at_ms(0));
    let before = home.position("long:a").expect("it is there");
    let said =
        ask(&mut home, Request::RemoveHistory { to: TO, channel: Name::from("long:a") }, at_ms(0));
    assert!(matches!(said[..], [Delivery::HistoryRemoved { .. }]), "{said:?}");
    assert_eq!((home.history_bytes(), home.position("long:a")), (0, Some(before)));
    let recovered = |home: &mut Home<Memory>, offset: u64| {
        let Request::Subscribe(mut request) = subscribe("long:a") else { unreachable!() };
        request.recover = true;
        request.since = Some(Position { offset, ..before });
        let said = ask(home, Request::Subscribe(request), at_ms(0));
        let [Delivery::Subscribed(answer)] = &said[..] else { panic!("{said:?}") };
        matches!(answer.recovery, Recovery::Complete(_))
    };
    assert!(!recovered(&mut home, 1) && recovered(&mut home, 2));
    ask(&mut home, unsubscribe("long:a"), at_ms(0));
    home.timers(at_ms(3_600_001));
    ask(&mut home, unsubscribe("long:a"), at_ms(3_600_001));
    home.timers(at_ms(8_000_000));
    assert_eq!(home.channels(), 0, "and it is forgotten in its time");
}
