//! A home driven by hand: requests in, deliveries out, time as an argument.

use super::block::Block;
use super::engine::{Answer, Bridged, Call, Engine, Memory, StreamRead};
use super::envelope::{
    ConnectionKey, Delivery, Epoch, HistoryRequest, Position, ReplyTo, Request, SubscribeRequest,
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
    let (since, recover) = (None, false);
    let request = SubscribeRequest { to: TO, sequence: 1, channel, user, since, recover };
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
