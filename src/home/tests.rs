//! A home driven by hand: requests in, deliveries out, time as an argument.

use super::{Home, HomeOptions};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::{Block, Placed};
use crate::contract::engine::{Answer, Bridged, Call, Engine, Memory, StreamRead};
use crate::contract::envelope::Who;
use crate::contract::envelope::{
    Delivery, HistoryRequest, Member, PublishOptions, Recovery, Request, SubscribeRequest,
};
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::contract::listing::ListCursor;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position, Since, Version};
use crate::contract::user::Overrides;
use crate::limits::{CHANNELS_PER_PART, Limits};
use crate::namespace::{ChannelOptions, Mode, Namespaces};

mod budget;
mod engine;
mod keeping;
mod listing;
mod noting;
mod users;

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
    let secrets = super::HomeSecrets::drawn(|| crate::hashing::Key::of(5));
    Home::new(HomeOptions { core: 0, cores: 1, namespaces, limits, secrets }, engine)
}

/// Takes a request, and gives what is said.
fn ask<E: Engine>(home: &mut Home<E>, request: Request, now: Now) -> Vec<Delivery> {
    home.take(request, now);
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
        or_refused: false,
        overrides,
        delta: false,
        cache: false,
        filtered: false,
    };
    Request::Subscribe(Box::new(request))
}

#[test]
fn what_cannot_be_recovered_is_refused_to_who_wants_to_know() {
    let mut home = home(Memory, Limits::default());
    let asked = |since, or_refused| {
        let Request::Subscribe(mut request) = subscribe("long:a") else { unreachable!() };
        (request.since, request.recover, request.or_refused) = (since, true, or_refused);
        Request::Subscribe(request)
    };
    publish(&mut home, "long:a", b"1", at_ms(0));
    let lost = Some(Since { epoch: Some(Epoch::NONE), offset: 0 });
    let said = ask(&mut home, asked(lost, true), at_ms(0));
    assert!(
        matches!(
            said[..],
            [Delivery::Refused { error: ErrorCode::UnrecoverablePosition, subscribe: Some(_), .. }]
        ),
        "{said:?}"
    );
    let kept = Some(Since { epoch: None, offset: 0 });
    for (since, or_refused, complete) in [(lost, false, false), (kept, true, true)] {
        let said = ask(&mut home, asked(since, or_refused), at_ms(0));
        let Some(Delivery::Subscribed(answer)) = said.first() else { panic!("{said:?}") };
        assert_eq!(matches!(answer.recovery, Recovery::Complete(_)), complete);
        ask(&mut home, unsubscribe("long:a"), at_ms(0));
    }
}

fn unsubscribe(channel: &str) -> Request {
    Request::Unsubscribe { connection: CONNECTION, channel: Name::from(channel), awaited: 0 }
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
        ask(&mut home, history_of(&format!("long:{number}"), None), at_ms(0));
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
        std::iter::from_fn(|| home.next_call()).collect()
    };
    let tell = |home: &mut Home<Bridged>, answer: Answer| {
        home.hear(answer);
        let mut deliveries = Vec::new();
        while home.take_answer(now) {
            deliveries.extend(said(home));
        }
        deliveries
    };
    let read = |id, top| {
        let entries = Box::default();
        let read =
            StreamRead { id, epoch: Epoch(3), after: top, entries, end: top, cut: false, top };
        Answer::Read(Box::new(read))
    };
    ask(&mut home, subscribe("long:a"), now);
    let [Call::Watch { id, session, .. }] = calls(&mut home)[..] else { panic!("the first read") };
    assert!(matches!(tell(&mut home, read(id, 4))[..], [Delivery::Subscribed(_)]));
    // A gap: it is filled while the only subscriber leaves.
    let position = Position { epoch: Epoch(3), offset: 6 };
    let block = Block::plain("long:a", b"1", at_ms(0));
    tell(&mut home, Answer::Publication { session, position: Some(position), block });
    let [Call::Read { id, .. }] = calls(&mut home)[..] else { panic!("a fill") };
    ask(&mut home, unsubscribe("long:a"), now);
    tell(&mut home, read(id, 6));
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
        assert_eq!(said.iter().any(|said| matches!(said, Delivery::Joined { .. })), announced);
    }
    let asked = Request::Presence { to: TO, channel: Name::from("long:a") };
    let said = ask(&mut home, asked, at_ms(0));
    let [Delivery::Presence(answer)] = said.as_slice() else { panic!("{said:?}") };
    let index = |member: &Member| match member.who {
        Who::Here(connection) => connection.index,
        Who::Elsewhere(_) => unreachable!("there is no other node"),
    };
    let listed: Vec<u32> = answer.members.iter().map(index).collect();
    assert_eq!(listed, [1, 3]);
    let asked = Request::PresenceStats { to: TO, channel: Name::from("long:a") };
    let said = ask(&mut home, asked, at_ms(0));
    assert!(matches!(said[..], [Delivery::PresenceStats { clients: 2, users: 1, .. }]), "{said:?}");
    for (index, (_, announced)) in (0..).zip(table) {
        let connection = ConnectionKey { index, ..CONNECTION };
        let channel = Name::from("long:a");
        let leave = Request::Unsubscribe { connection, channel, awaited: 0 };
        let said = ask(&mut home, leave, at_ms(0));
        assert_eq!(said.iter().any(|said| matches!(said, Delivery::Left { .. })), announced);
    }
}

#[test]
fn a_key_is_carried_out_once() {
    let mut home = home(Memory, Limits::default());
    let publish = |home: &mut Home<Memory>, channel: &str, key: &str, command: u32| {
        let to = ReplyTo { command, ..TO };
        let idempotency_key = key.into();
        let options =
            Some(Box::new(PublishOptions { idempotency_key, ..PublishOptions::default() }));
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
fn a_cache_gives_the_last_publication_to_who_does_not_have_it() {
    let mut home = home(Memory, Limits::default());
    let last = |home: &mut Home<Memory>, since: Option<(u64, Epoch)>, filtered: bool| {
        let Request::Subscribe(mut request) = subscribe("long:a") else { unreachable!() };
        (request.recover, request.cache, request.filtered) = (true, true, filtered);
        request.since = since.map(|(offset, epoch)| Since { epoch: Some(epoch), offset });
        let said = ask(home, Request::Subscribe(request), at_ms(0));
        match &said[0] {
            Delivery::Subscribed(answer) => match &answer.recovery {
                Recovery::Complete(kept) => {
                    Some(kept.iter().map(|placed| placed.offset).collect::<Vec<_>>())
                }
                _ => None,
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(last(&mut home, None, false), None, "nothing was published");
    for number in [b"1", b"2", b"3"] {
        publish(&mut home, "long:a", number, at_ms(0));
    }
    let epoch = home.position("long:a").expect("it is there").epoch;
    assert_eq!(last(&mut home, None, false), Some(vec![3]));
    assert_eq!(last(&mut home, Some((2, epoch)), false), Some(vec![3]));
    assert_eq!(last(&mut home, Some((1, Epoch::NONE)), false), Some(vec![3]));
    assert_eq!(last(&mut home, Some((3, epoch)), false), Some(vec![]), "it has it");
    assert_eq!(last(&mut home, None, true), Some(vec![1, 2, 3]), "the edge looks for one");
    let channel = Name::from("long:a");
    ask(&mut home, Request::RemoveHistory { to: TO, channel }, at_ms(0));
    assert_eq!(last(&mut home, Some((2, epoch)), false), None);
    assert_eq!(last(&mut home, Some((3, epoch)), false), Some(vec![]), "nothing was missed");
}

#[test]
fn what_is_no_newer_than_the_last_is_dropped() {
    let mut home = home(Memory, Limits::default());
    ask(&mut home, subscribe("long:a"), at_ms(0));
    let publish = |home: &mut Home<Memory>, number: u64, epoch: &str| {
        let version = (number > 0).then(|| Version { number, epoch: epoch.into() });
        let options = Some(Box::new(PublishOptions { version, ..PublishOptions::default() }));
        let block = Block::plain("long:a", b"1", at_ms(0));
        let said = ask(home, Request::Publish { to: TO, block, options }, at_ms(0));
        let told = said.iter().filter(|it| matches!(it, Delivery::Publication { .. })).count();
        let answer = said.iter().find_map(|it| match it {
            Delivery::Published { position, .. } => Some(position.offset),
            _ => None,
        });
        (answer.expect("an answer"), told)
    };
    // Number, epoch; then where the channel stands, and how many were told.
    let table = [
        (5, "", (1, 1)),
        (5, "", (1, 0)),
        (4, "", (1, 0)),
        (6, "", (2, 1)),
        // Another epoch does not compare; none compares with any.
        (1, "b", (3, 1)),
        (1, "", (3, 0)),
        (1, "b", (3, 0)),
        (2, "b", (4, 1)),
        (1, "c", (5, 1)),
        // Behind one without a version everything is new.
        (0, "", (6, 1)),
        (1, "c", (7, 1)),
        (u64::MAX, "c", (8, 1)),
        (u64::MAX, "c", (8, 0)),
    ];
    for (index, (number, epoch, expected)) in table.into_iter().enumerate() {
        assert_eq!(publish(&mut home, number, epoch), expected, "{index}: {number} {epoch}");
    }
    // History that is gone is no reason to hear the old again.
    let channel = Name::from("long:a");
    ask(&mut home, Request::RemoveHistory { to: TO, channel }, at_ms(0));
    assert_eq!(publish(&mut home, 7, "c"), (8, 0));
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
    let [Delivery::Publication { offset: 0, .. }, Delivery::Published { position, .. }] = &said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(position.offset, 0);
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
        request.since = Some(Since { epoch: Some(before.epoch), offset });
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

/// A recovery from an offset of whatever epoch the channel has.
fn recover(channel: &str, offset: u64) -> Request {
    let Request::Subscribe(mut request) = subscribe(channel) else { unreachable!() };
    (request.recover, request.since) = (true, Some(Since { epoch: None, offset }));
    Request::Subscribe(request)
}

fn history_of(channel: &str, since: Option<(u64, Option<Epoch>)>) -> Request {
    let (channel, limit, reverse, whole) = (Name::from(channel), -1, false, false);
    let since = since.map(|(offset, epoch)| Since { epoch, offset });
    let request = HistoryRequest { to: TO, channel, limit, since, reverse, whole, asker: None };
    Request::History(Box::new(request))
}

/// The offsets that one answer brings; none where it is a no.
fn brought(said: &[Delivery]) -> Option<Vec<u64>> {
    let [answer] = said else { panic!("{said:?}") };
    let placed = match answer {
        Delivery::Subscribed(answer) => match &answer.recovery {
            Recovery::Complete(missed) => missed,
            _ => return None,
        },
        Delivery::History(answer) => &answer.publications,
        _ => return None,
    };
    Some(placed.iter().map(|placed| placed.offset).collect())
}

#[test]
fn a_position_that_names_no_epoch_is_of_the_channels() {
    let mut home = home(Memory, Limits::default());
    for data in [b"1", b"2", b"3"] {
        publish(&mut home, "long:a", data, at_ms(0));
    }
    let mut asked = |request| brought(&ask(&mut home, request, at_ms(0)));
    assert_eq!(asked(recover("long:a", 1)), Some(vec![2, 3]));
    assert_eq!(asked(recover("long:a", 3)), Some(vec![]));
    assert_eq!(asked(recover("long:a", 4)), None, "it is not that far");
    assert_eq!(asked(recover("long:new", 0)), Some(vec![]));
    assert_eq!(asked(recover("long:new", 1)), None);
    assert_eq!(asked(history_of("long:a", Some((2, None)))), Some(vec![3]));
    assert_eq!(asked(history_of("long:a", Some((2, Some(Epoch::NONE))))), None);
}

#[test]
fn a_replica_knows_the_epoch_that_a_position_does_not_name() {
    let mut home = home(Bridged::new(8), Limits::default());
    let now = at_ms(0);
    let read = |home: &mut Home<Bridged>, kept: std::ops::Range<u64>| {
        let calls: Vec<Call> = std::iter::from_fn(|| home.next_call()).collect();
        let [Call::Read { id, .. } | Call::Watch { id, .. }] = calls[..] else {
            panic!("{calls:?}")
        };
        let after = kept.start - 1;
        let block = || Block::plain("long:a", b"1", now);
        let entries = kept.map(|offset| Placed { offset, block: block() }).collect();
        let (epoch, top) = (Epoch(3), 6);
        let read = StreamRead { id, epoch, after, entries, end: top, cut: false, top };
        home.hear(Answer::Read(Box::new(read)));
        assert!(home.take_answer(now));
        brought(&said(home))
    };
    ask(&mut home, recover("long:a", 4), now);
    assert_eq!(read(&mut home, 4..7), Some(vec![5, 6]), "from the ring");
    assert!(ask(&mut home, recover("long:a", 1), now).is_empty());
    assert_eq!(read(&mut home, 2..7), Some(vec![2, 3, 4, 5, 6]), "from the stream");
    assert!(ask(&mut home, recover("long:a", 1), now).is_empty());
    assert_eq!(read(&mut home, 4..7), None, "the stream reaches back no further");
    assert_eq!(brought(&ask(&mut home, history_of("long:a", Some((5, None))), now)), Some(vec![6]));
    let other = history_of("long:a", Some((5, Some(Epoch(4)))));
    assert_eq!(brought(&ask(&mut home, other, now)), None);
}

#[test]
fn the_next_delta_is_against_what_was_not_kept() {
    let mut home = home(Memory, Limits::default());
    let Request::Subscribe(mut request) = subscribe("long:a") else { unreachable!() };
    request.delta = true;
    ask(&mut home, Request::Subscribe(request), at_ms(0));
    let words = |last: &str| format!("\"{}{last}\"", "the same words again, ".repeat(20));
    let mut has: Option<Vec<u8>> = None;
    for (last, skip_history) in [("one", false), ("two", true), ("three", false)] {
        let data = words(last);
        let block = Block::plain("long:a", data.as_bytes(), at_ms(0));
        let options = Some(Box::new(PublishOptions { skip_history, ..PublishOptions::default() }));
        let said = ask(&mut home, Request::Publish { to: TO, block, options }, at_ms(0));
        let Delivery::Publication { block, .. } = &said[0] else { panic!("{said:?}") };
        let got = match (&has, block.delta()) {
            (Some(before), Some(patch)) => fossil_delta::apply(before, patch).expect("it fits"),
            _ => block.data().to_vec(),
        };
        assert_eq!(got, data.as_bytes(), "what a subscriber makes of it");
        assert_eq!(block.delta().is_some(), has.is_some(), "{last}");
        has = Some(got);
    }
}
