//! A home whose engine is elsewhere, and is stuck, silent, or fails.

use super::{TO, at_ms, home, said, subscribe, unsubscribe};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::{Block, Placed};
use crate::contract::engine::{Answer, Bridged, Call, CallId, Failure, Session, StreamRead};
use crate::contract::envelope::{Delivery, PublishOptions, Request};
use crate::contract::key::ReplyTo;
use crate::contract::position::{Epoch, Position, Since};
use crate::home::Home;
use crate::limits::{
    ENGINE_CALL_MS, ENGINE_REST_MS, ENGINE_SHARE, ENGINE_SOON_MS, ENGINE_WAIT_MS,
    ENGINE_WAITING_BYTES, Limits,
};

/// Credits of the homes here, and what one channel may have of them.
const CREDITS: usize = 8;
const SHARE: usize = CREDITS / ENGINE_SHARE;

pub(super) fn bridged() -> Home<Bridged> {
    home(Bridged::new(CREDITS), Limits::default())
}

pub(super) fn calls(home: &mut Home<Bridged>) -> Vec<Call> {
    std::iter::from_fn(|| home.next_call()).collect()
}

/// Asks, and gives what is said at once.
pub(super) fn ask(home: &mut Home<Bridged>, request: Request, now: Now) -> Vec<Delivery> {
    home.take(request, now);
    said(home)
}

fn publish(home: &mut Home<Bridged>, channel: &str, command: u32, data: &[u8], now: Now) {
    let to = ReplyTo { command, ..TO };
    let block = Block::plain(channel, data, now);
    let said = ask(home, Request::Publish { to, block, options: None }, now);
    assert!(said.is_empty(), "it is answered when it is in order: {said:?}");
}

pub(super) fn answer(home: &mut Home<Bridged>, answer: Answer, now: Now) -> Vec<Delivery> {
    home.hear(answer);
    let mut deliveries = Vec::new();
    while home.take_answer(now) {
        deliveries.extend(said(home));
    }
    deliveries
}

pub(super) fn empty_read(id: CallId, epoch: u64, top: u64) -> Answer {
    let entries = Box::default();
    let (epoch, after) = (Epoch(epoch), top);
    Answer::Read(Box::new(StreamRead { id, epoch, after, entries, end: top, cut: false, top }))
}

/// Subscribes, and lets the stream be heard from `top`.
fn live(home: &mut Home<Bridged>, channel: &str, top: u64, now: Now) -> Session {
    assert!(ask(home, subscribe(channel), now).is_empty());
    let [Call::Watch { id, session, .. }] = calls(home)[..] else { panic!("it is watched") };
    let said = answer(home, empty_read(id, 3, top), now);
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    session
}

fn published(id: CallId, offset: u64) -> Answer {
    Answer::Published { id, position: Position { epoch: Epoch(3), offset }, is_new: true }
}

/// The commands that are refused for now.
fn refused(deliveries: &[Delivery]) -> Vec<u32> {
    let command = |it: &Delivery| match it {
        Delivery::Refused { to, error: ErrorCode::Internal, .. } => to.command,
        other => panic!("{other:?}"),
    };
    deliveries.iter().map(command).collect()
}

/// What the timers say.
pub(super) fn timers(home: &mut Home<Bridged>, now: Now) -> Vec<Delivery> {
    home.timers(now);
    said(home)
}

#[test]
fn a_channel_whose_calls_are_stuck_holds_back_no_other() {
    let mut home = bridged();
    live(&mut home, "long:b", 4, at_ms(0));
    for command in 1..=10 {
        publish(&mut home, "long:stuck", command, b"1", at_ms(10));
    }
    let stuck: Vec<CallId> = calls(&mut home).iter().filter_map(Call::id).collect();
    assert_eq!(stuck.len(), SHARE, "the others wait, and leave credits to other channels");
    // Publishers and subscribers elsewhere are served.
    publish(&mut home, "long:b", 20, b"1", at_ms(20));
    let [Call::Publish { id, .. }] = calls(&mut home)[..] else { panic!("it is asked") };
    let said = answer(&mut home, published(id, 5), at_ms(20));
    assert!(
        matches!(said[..], [Delivery::Publication { offset: 5, .. }, Delivery::Published { .. }]),
        "{said:?}"
    );
    assert!(matches!(
        ask(&mut home, subscribe("long:b"), at_ms(30))[..],
        [Delivery::Subscribed(_)]
    ));
    live(&mut home, "long:c", 0, at_ms(30));
    assert!(ask(&mut home, unsubscribe("long:b"), at_ms(30)).is_empty());
    // All that waited for the stuck channel is answered, once, in order.
    assert!(home.next_timer_ms() <= Some(10 + ENGINE_CALL_MS));
    assert!(timers(&mut home, at_ms(9 + ENGINE_CALL_MS)).is_empty());
    let said = timers(&mut home, at_ms(10 + ENGINE_WAIT_MS));
    assert_eq!(refused(&said), (1..=10).collect::<Vec<_>>());
    // Tails were compared meanwhile.
    calls(&mut home);
    // What comes later is looked at no more, and gives the credits back.
    for (id, offset) in stuck.into_iter().zip(1..) {
        assert!(answer(&mut home, published(id, offset), at_ms(6_000)).is_empty());
    }
    publish(&mut home, "long:stuck", 11, b"1", at_ms(6_000));
    let [Call::Publish { id, .. }] = calls(&mut home)[..] else { panic!("it is asked") };
    let said = answer(&mut home, published(id, 9), at_ms(6_000));
    assert!(matches!(said[..], [Delivery::Published { .. }]), "{said:?}");
}

/// As with history in memory: told that nothing was recovered, an application that reads the state
/// itself would go on with what it read before.
#[test]
fn who_wants_to_know_is_refused_what_the_stream_cannot_give_back() {
    let mut home = bridged();
    let asked = |epoch, or_refused| {
        let Request::Subscribe(mut request) = subscribe("long:a") else { unreachable!() };
        request.since = Some(Since { epoch: Some(Epoch(epoch)), offset: 4 });
        (request.recover, request.or_refused) = (true, or_refused);
        Request::Subscribe(request)
    };
    let unrecoverable = |said: &[Delivery]| {
        let error = ErrorCode::UnrecoverablePosition;
        matches!(said, [Delivery::Refused { error: it, subscribe: Some(_), .. }] if *it == error)
    };
    // The first to come, of an epoch that is not the stream's: it is not listened to any longer.
    assert!(ask(&mut home, asked(7, true), at_ms(0)).is_empty());
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    let said = answer(&mut home, empty_read(id, 3, 4), at_ms(0));
    assert!(unrecoverable(&said), "{said:?}");
    assert!(matches!(calls(&mut home)[..], [Call::Unwatch { .. }]));
    assert_eq!(home.channels(), 0);
    // And one that comes to others.
    live(&mut home, "long:a", 4, at_ms(0));
    let said = ask(&mut home, asked(7, true), at_ms(0));
    assert!(unrecoverable(&said), "{said:?}");
    for (epoch, or_refused) in [(7, false), (3, true)] {
        let said = ask(&mut home, asked(epoch, or_refused), at_ms(0));
        assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    }
}

#[test]
fn lines_take_turns_and_keep_their_order() {
    let mut home = home(Bridged::new(1), Limits::default());
    let order = [("long:a", 1), ("long:a", 2), ("long:a", 3), ("long:b", 4), ("long:b", 5)];
    for (channel, command) in order {
        publish(&mut home, channel, command, b"1", at_ms(0));
    }
    let mut answered = Vec::new();
    let mut offsets = [0, 0];
    while let Some(call) = home.next_call() {
        let Call::Publish { id, block, .. } = call else { panic!("{call:?}") };
        let offset = &mut offsets[usize::from(block.channel() == "long:b")];
        *offset += 1;
        for said in answer(&mut home, published(id, *offset), at_ms(0)) {
            let Delivery::Published { to, .. } = said else { panic!("{said:?}") };
            answered.push(to.command);
        }
    }
    assert_eq!(answered, [1, 4, 2, 5, 3], "in order, and no channel waits for all of another's");
    assert!(!home.waits_for_engine(), "nothing is left");
}

#[test]
fn a_credit_that_comes_free_goes_to_who_waits_and_not_to_who_comes() {
    let mut home = home(Bridged::new(1), Limits::default());
    publish(&mut home, "long:a", 1, b"1", at_ms(0));
    publish(&mut home, "long:b", 2, b"1", at_ms(0));
    let [Call::Publish { id, .. }] = calls(&mut home)[..] else { panic!("one credit, one call") };
    home.hear(published(id, 1));
    // The answer's turn has not come yet: its credit is there, and a line waits for it.
    publish(&mut home, "long:c", 3, b"1", at_ms(1));
    assert!(!home.has_call() && home.has_answer(), "who comes later waits behind");
    let mut asked = Vec::new();
    for _ in 0..2 {
        while home.take_answer(at_ms(2)) {
            said(&mut home);
        }
        let [Call::Publish { id, ref block, .. }] = calls(&mut home)[..] else { panic!("next") };
        asked.push(block.channel().to_owned());
        home.hear(published(id, 1));
    }
    assert_eq!(asked, ["long:b", "long:c"]);
}

#[test]
fn what_waits_is_bounded_and_the_next_is_refused() {
    let mut home = home(Bridged::new(1), Limits::default());
    let data = vec![b'1'; 64 << 10];
    let fit = u32::try_from(ENGINE_WAITING_BYTES / (66 << 10)).expect("a few hundred");
    for command in 0..=fit {
        publish(&mut home, "long:a", command, &data, at_ms(0));
    }
    let mut turned_away = 0;
    for command in 1_000..1_020 {
        let to = ReplyTo { command, ..TO };
        let block = Block::plain("long:a", &data, at_ms(0));
        let said = ask(&mut home, Request::Publish { to, block, options: None }, at_ms(0));
        turned_away += refused(&said).len();
    }
    assert!(turned_away > 10, "{turned_away} of 20");
    let mut answered = 0;
    for ms in ENGINE_CALL_MS..ENGINE_CALL_MS + 20 {
        answered += refused(&timers(&mut home, at_ms(ms))).len();
    }
    assert_eq!(answered + turned_away, fit as usize + 1 + 20, "each is answered");
}

#[test]
fn a_watch_that_fails_is_asked_again_and_who_waits_is_answered() {
    let mut home = bridged();
    assert!(ask(&mut home, subscribe("long:a"), at_ms(0)).is_empty());
    let mut sessions = Vec::new();
    let mut ms = 0;
    while let [Call::Watch { id, session, .. }] = calls(&mut home)[..] {
        sessions.push(session.number);
        let failed = Answer::Failed { id, why: Failure::Away };
        assert!(answer(&mut home, failed, at_ms(ms)).is_empty(), "it is asked again");
        ms += ENGINE_REST_MS;
        if ms < ENGINE_WAIT_MS {
            assert!(timers(&mut home, at_ms(ms)).is_empty());
        }
    }
    assert_eq!(sessions.len() as u64, ENGINE_WAIT_MS / ENGINE_REST_MS);
    sessions.dedup();
    assert_eq!(sessions.len() as u64, ENGINE_WAIT_MS / ENGINE_REST_MS, "each has a name");
    let said = timers(&mut home, at_ms(ENGINE_WAIT_MS));
    assert!(
        matches!(
            said[..],
            [Delivery::Refused { error: ErrorCode::Internal, subscribe: Some(1), .. }]
        ),
        "{said:?}"
    );
    assert_eq!(home.channels(), 0, "its Subscribe counts for nothing");
    // Where asking again is of no use, nobody waits.
    assert!(ask(&mut home, subscribe("long:a"), at_ms(6_000)).is_empty());
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    let failed = Answer::Failed { id, why: Failure::Refused };
    assert_eq!(refused(&answer(&mut home, failed, at_ms(6_000))), [TO.command]);
    assert_eq!(home.channels(), 0);
}

#[test]
fn a_watch_that_is_given_up_is_ended_before_the_next() {
    let mut home = bridged();
    assert!(ask(&mut home, subscribe("long:a"), at_ms(0)).is_empty());
    let [Call::Watch { id, session, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    assert!(ask(&mut home, subscribe("long:a"), at_ms(100)).is_empty());
    let said = timers(&mut home, at_ms(ENGINE_CALL_MS));
    assert_eq!(refused(&said).len(), 1, "the other has 100 ms left");
    assert!(timers(&mut home, at_ms(ENGINE_CALL_MS + 50)).is_empty());
    let [Call::Unwatch { session: ended, .. }] = calls(&mut home)[..] else {
        panic!("it is ended")
    };
    assert_eq!(ended, session);
    assert!(answer(&mut home, empty_read(id, 3, 7), at_ms(5_060)).is_empty(), "it is too late");
    let position = Some(Position { epoch: Epoch(3), offset: 8 });
    let block = Block::plain("long:a", b"1", at_ms(0));
    let late = Answer::Publication { session, position, block };
    assert!(answer(&mut home, late, at_ms(5_060)).is_empty(), "and so is what it heard");
    assert_eq!(refused(&timers(&mut home, at_ms(100 + ENGINE_WAIT_MS))).len(), 1);
    assert_eq!(home.channels(), 0);
}

#[test]
fn a_publish_that_fails_is_answered_after_those_before_it() {
    let mut home = bridged();
    let session = live(&mut home, "long:a", 4, at_ms(0));
    for command in [1, 2] {
        publish(&mut home, "long:a", command, b"1", at_ms(0));
    }
    let ids: Vec<CallId> = calls(&mut home).iter().filter_map(Call::id).collect();
    // Another node's has to be heard before the first, which the second does not overtake.
    assert!(answer(&mut home, published(ids[0], 6), at_ms(0)).is_empty());
    let failed = Answer::Failed { id: ids[1], why: Failure::Lost };
    assert!(answer(&mut home, failed, at_ms(0)).is_empty());
    let heard = |offset| {
        let position = Some(Position { epoch: Epoch(3), offset });
        Answer::Publication { session, position, block: Block::plain("long:a", b"0", at_ms(0)) }
    };
    assert!(calls(&mut home).is_empty(), "copies may be on their way");
    let late = at_ms(ENGINE_SOON_MS);
    assert!(timers(&mut home, late).is_empty());
    let [Call::Read { id, .. }] = calls(&mut home)[..] else { panic!("the tail is compared") };
    assert!(answer(&mut home, heard(5), late).is_empty(), "it is held while that is out");
    assert!(answer(&mut home, heard(6), late).is_empty());
    let said = answer(&mut home, empty_read(id, 3, 4), late);
    let [
        Delivery::Publication { offset: 5, .. },
        Delivery::Publication { offset: 6, .. },
        Delivery::Published { to: first, .. },
        Delivery::Refused { to: second, .. },
    ] = said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!((first.command, second.command), (1, 2));
}

#[test]
fn a_publish_that_was_carried_out_before_is_answered_once_it_is_forwarded() {
    let mut home = bridged();
    live(&mut home, "long:a", 4, at_ms(0));
    let block = |data: &[u8]| Block::plain("long:a", data, at_ms(0));
    let keyed = |command| {
        let idempotency_key = "k".into();
        let options = PublishOptions { idempotency_key, ..PublishOptions::default() };
        let to = ReplyTo { command, ..TO };
        Request::Publish { to, block: block(b"1"), options: Some(Box::new(options)) }
    };
    assert!(ask(&mut home, keyed(1), at_ms(0)).is_empty());
    let [Call::Publish { id, .. }] = calls(&mut home)[..] else { panic!("it is asked") };
    // Another node's has to be heard before, and cannot be read: the publisher gives up.
    assert!(answer(&mut home, published(id, 6), at_ms(0)).is_empty());
    assert!(timers(&mut home, at_ms(ENGINE_SOON_MS)).is_empty());
    assert!(matches!(calls(&mut home)[..], [Call::Read { .. }]), "the tail is compared");
    assert_eq!(refused(&timers(&mut home, at_ms(ENGINE_WAIT_MS))), [1]);
    // It tries again; that it is in order is known, but nobody has heard it.
    assert!(ask(&mut home, keyed(2), at_ms(ENGINE_WAIT_MS)).is_empty());
    let given_up_ms = ENGINE_SOON_MS + ENGINE_CALL_MS;
    assert!(timers(&mut home, at_ms(given_up_ms)).is_empty());
    let rested = at_ms(given_up_ms + ENGINE_REST_MS);
    assert!(timers(&mut home, rested).is_empty());
    let [Call::Read { id, .. }] = calls(&mut home)[..] else { panic!("it is read again") };
    let entries = [(5, b"0"), (6, b"1")];
    let entries = entries.map(|(offset, data)| Placed { offset, block: block(data) }).into();
    let read = StreamRead { id, epoch: Epoch(3), after: 4, entries, end: 6, cut: false, top: 6 };
    let said = answer(&mut home, Answer::Read(Box::new(read)), rested);
    let [
        Delivery::Publication { offset: 5, .. },
        Delivery::Publication { offset: 6, .. },
        Delivery::Published { to, .. },
    ] = said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(to.command, 2);
    let said = ask(&mut home, keyed(3), rested);
    assert!(matches!(said[..], [Delivery::Published { .. }]), "at once from then on: {said:?}");
}

#[test]
fn a_key_that_the_store_knows_does_not_put_other_data_at_its_place() {
    let mut home = bridged();
    live(&mut home, "long:a", 4, at_ms(0));
    let idempotency_key = "k".into();
    let options = PublishOptions { idempotency_key, ..PublishOptions::default() };
    let block = |data: &[u8]| Block::plain("long:a", data, at_ms(0));
    let keyed = Request::Publish { to: TO, block: block(b"2"), options: Some(Box::new(options)) };
    assert!(ask(&mut home, keyed, at_ms(0)).is_empty());
    let [Call::Publish { id, .. }] = calls(&mut home)[..] else { panic!("it is asked") };
    // Its first try was carried out by another call, with other data, and was not heard yet.
    let position = Position { epoch: Epoch(3), offset: 5 };
    let repeated = Answer::Published { id, position, is_new: false };
    assert!(answer(&mut home, repeated, at_ms(0)).is_empty(), "what is there is not known");
    assert!(timers(&mut home, at_ms(ENGINE_SOON_MS)).is_empty());
    let [Call::Read { id, .. }] = calls(&mut home)[..] else { panic!("so it is read") };
    let entries = [Placed { offset: 5, block: block(b"1") }].into();
    let read = StreamRead { id, epoch: Epoch(3), after: 4, entries, end: 5, cut: false, top: 5 };
    let said = answer(&mut home, Answer::Read(Box::new(read)), at_ms(ENGINE_SOON_MS));
    let [Delivery::Publication { offset: 5, ref block, .. }, Delivery::Published { .. }] = said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(block.data(), b"1");
}

#[test]
fn every_tail_is_compared_in_its_turn_and_few_at_once() {
    let mut home = bridged();
    for number in 0..100 {
        live(&mut home, &format!("long:{number}"), 0, at_ms(0));
    }
    let mut compared = std::collections::BTreeMap::new();
    for tick in 1..=80 {
        timers(&mut home, at_ms(tick * 250));
        let reads = calls(&mut home);
        assert!(reads.len() <= 3, "{} at once", reads.len());
        for call in reads {
            let Call::Read { id, channel, page } = call else { panic!("{call:?}") };
            *compared.entry(channel).or_insert(0) += 1;
            let at = page.from.expect("what follows its last");
            let epoch = at.epoch.expect("of its epoch");
            let (entries, end) = (Box::default(), at.offset);
            let read = StreamRead { id, epoch, after: end, entries, end, cut: false, top: end };
            assert!(answer(&mut home, Answer::Read(Box::new(read)), at_ms(tick * 250)).is_empty());
        }
    }
    assert_eq!(compared.len(), 100);
    assert!(compared.values().all(|times| (2..=3).contains(times)), "{compared:?}");
}

#[test]
fn without_history_subscribers_wait_until_others_are_heard_but_not_long() {
    let mut home = bridged();
    assert!(ask(&mut home, subscribe("a"), at_ms(0)).is_empty(), "other nodes are not heard yet");
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    let said = answer(&mut home, empty_read(id, 3, 0), at_ms(1));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    let said = ask(&mut home, subscribe("a"), at_ms(2));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "they are heard: {said:?}");
    // A store that says nothing keeps nobody for long, and the next not at all.
    assert!(ask(&mut home, subscribe("b"), at_ms(10)).is_empty());
    assert!(home.next_timer_ms() <= Some(10 + ENGINE_SOON_MS));
    let said = timers(&mut home, at_ms(10 + ENGINE_SOON_MS));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    let said = ask(&mut home, subscribe("b"), at_ms(300));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    // Nor does one that is away.
    calls(&mut home);
    assert!(ask(&mut home, subscribe("c"), at_ms(310)).is_empty());
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    let said = answer(&mut home, Answer::Failed { id, why: Failure::Away }, at_ms(311));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    let said = ask(&mut home, subscribe("c"), at_ms(312));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "it rests: {said:?}");
}

/// What other nodes publish would not come, and a subscriber would not know.
#[test]
fn without_history_subscribers_are_refused_what_may_not_be_heard() {
    let mut home = bridged();
    let refuses = |said: &[Delivery]| {
        matches!(said, [Delivery::Refused { error: ErrorCode::Internal, subscribe: Some(_), .. }])
    };
    assert!(ask(&mut home, subscribe("a"), at_ms(0)).is_empty());
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    let said = answer(&mut home, Answer::Failed { id, why: Failure::Refused }, at_ms(1));
    assert!(refuses(&said), "{said:?}");
    // Nobody is left who would have it asked for again.
    assert_eq!(timers(&mut home, at_ms(2 * ENGINE_REST_MS)).len(), 0);
    assert_eq!((home.channels(), calls(&mut home).len()), (0, 0));
    // One that came while Redis was away stays, and those who come later are refused with it.
    assert!(ask(&mut home, subscribe("b"), at_ms(5_000)).is_empty());
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is watched") };
    let said = answer(&mut home, Answer::Failed { id, why: Failure::Away }, at_ms(5_000));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "{said:?}");
    timers(&mut home, at_ms(5_000 + ENGINE_REST_MS));
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is asked again") };
    let answer_to = |why| Answer::Failed { id, why };
    assert!(answer(&mut home, answer_to(Failure::Refused), at_ms(6_000)).is_empty());
    assert!(refuses(&ask(&mut home, subscribe("b"), at_ms(6_001))));
    timers(&mut home, at_ms(6_000 + ENGINE_REST_MS));
    let [Call::Watch { id, .. }] = calls(&mut home)[..] else { panic!("it is asked again") };
    answer(&mut home, empty_read(id, 3, 0), at_ms(7_000));
    let said = ask(&mut home, subscribe("b"), at_ms(7_001));
    assert!(matches!(said[..], [Delivery::Subscribed(_)]), "it is heard: {said:?}");
}

/// A read of a channel in which much is published would hold back what it only confirms.
#[test]
fn only_a_tail_that_stands_still_is_compared() {
    let mut home = bridged();
    let session = live(&mut home, "long:a", 4, at_ms(0));
    let mut reads = Vec::new();
    for (step, offset) in (1..=8).zip(5..) {
        let now = at_ms(step * 500);
        if step <= 4 {
            let position = Some(Position { epoch: Epoch(3), offset });
            let block = Block::plain("long:a", b"1", now);
            let said = answer(&mut home, Answer::Publication { session, position, block }, now);
            assert!(matches!(said[..], [Delivery::Publication { .. }]), "{said:?}");
        }
        timers(&mut home, now);
        for call in calls(&mut home) {
            let Call::Read { id, .. } = call else { panic!("{call:?}") };
            answer(&mut home, empty_read(id, 3, 8), now);
            reads.push(step);
        }
    }
    assert_eq!(reads, [5, 6, 7, 8]);
}
