//! Members of a home whose engine is elsewhere: what it is told of them, and asked about them.

use super::engine::{answer, ask, bridged, calls, timers};
use super::*;
use crate::contract::engine::{CallId, Failure};
use crate::contract::presence::{Change, Entry, On};
use crate::contract::wire::NodeId;
use crate::limits::{ENGINE_REST_MS, MEMBERS_GONE, MEMBERS_PER_CALL, MEMBERS_RENEWAL_MS};

const OTHER: NodeId = NodeId([2; 16]);

fn key(index: u32) -> ConnectionKey {
    ConnectionKey { index, ..CONNECTION }
}

/// Somebody comes to a channel without history, in which all are listed and announced.
fn comes(home: &mut Home<Bridged>, channel: &str, index: u32) {
    let Request::Subscribe(mut request) = subscribe(channel) else { unreachable!() };
    request.to.connection.index = index;
    let shown = Some(true);
    request.overrides = Overrides { presence: shown, join_leave: shown, ..Overrides::default() };
    let mut said = ask(home, Request::Subscribe(request), at_ms(0));
    for call in calls(home).into_iter().rev() {
        match call {
            Call::Watch { id, .. } => {
                home.hear(super::engine::empty_read(id, 3, 0));
                assert!(home.take_answer(at_ms(0)), "it is heard");
                said.extend(super::said(home));
            }
            other => home.put_back_call(other),
        }
    }
    assert!(matches!(said[0], Delivery::Subscribed(_)), "it waits until it is heard: {said:?}");
}

fn leaves(home: &mut Home<Bridged>, channel: &str, index: u32) {
    let (connection, channel) = (key(index), Name::from(channel));
    ask(home, Request::Unsubscribe { connection, channel, awaited: 0 }, at_ms(0));
}

/// What is written at once: calls, channels and changes. Everything else is answered with success.
fn written(home: &mut Home<Bridged>, now: Now) -> Vec<(CallId, Name, Change)> {
    let mut written = Vec::new();
    loop {
        while home.take_answer(now) {
            said(home);
        }
        let asked = calls(home);
        if asked.is_empty() {
            return written;
        }
        for call in asked {
            let told = match call {
                Call::Note { id, channel, change } => {
                    written.push((id, channel, *change));
                    continue;
                }
                Call::Announce { id, .. } => Answer::Passed { id },
                Call::Watch { id, .. } => super::engine::empty_read(id, 3, 0),
                Call::Unwatch { .. } => continue,
                other => panic!("{other:?}"),
            };
            home.hear(told);
        }
    }
}

/// Those that are there, and those that are gone.
fn indices(change: &Change) -> (Vec<u32>, Vec<u32>) {
    let index = |entry: &Entry| match entry.member.who {
        Who::Here(connection) => connection.index,
        Who::Elsewhere(_) => panic!("it is here: {entry:?}"),
    };
    (change.put.iter().map(index).collect(), change.gone.iter().map(|it| it.index).collect())
}

fn only(mut written: Vec<(CallId, Name, Change)>) -> (CallId, Change) {
    assert_eq!(written.len(), 1, "{written:?}");
    let (id, _, change) = written.pop().expect("one");
    (id, change)
}

#[test]
fn what_is_written_is_what_is_true_when_it_is_written() {
    let mut home = bridged();
    for index in [1, 2, 3] {
        comes(&mut home, "a", index);
    }
    leaves(&mut home, "a", 2);
    let (id, change) = only(written(&mut home, at_ms(0)));
    assert_eq!((indices(&change), change.anew), ((vec![1, 3], vec![2]), false));
    answer(&mut home, Answer::Noted { id }, at_ms(0));
    assert!(!home.noting.is_busy());
    leaves(&mut home, "a", 1);
    let (id, change) = only(written(&mut home, at_ms(0)));
    assert_eq!(indices(&change), (vec![], vec![1]));
    answer(&mut home, Answer::Noted { id }, at_ms(0));
    leaves(&mut home, "a", 3);
    let (id, _) = only(written(&mut home, at_ms(0)));
    assert!(home.noting.next_ms().is_some());
    answer(&mut home, Answer::Noted { id }, at_ms(0));
    assert_eq!(home.noting.next_ms(), None, "nothing is left to be kept");
}

/// A member that leaves is told and taken off by this node, or neither: then it is noted still,
/// and others tell that it left when the node has ended.
#[test]
fn a_shutdown_goes_on_when_all_is_written_and_then_nothing_is_told() {
    let mut home = bridged();
    for index in [1, 2] {
        comes(&mut home, "a", index);
    }
    for (id, ..) in written(&mut home, at_ms(0)) {
        answer(&mut home, Answer::Noted { id }, at_ms(0));
    }
    leaves(&mut home, "a", 1);
    let said_to_marker = ask(&mut home, Request::Marker { core: 0 }, at_ms(0));
    assert!(said_to_marker.is_empty(), "{said_to_marker:?}");
    let (id, change) = only(written(&mut home, at_ms(0)));
    assert_eq!(indices(&change), (vec![], vec![1]));
    let said = answer(&mut home, Answer::Noted { id }, at_ms(0));
    assert!(matches!(said[..], [Delivery::Marker { core: 0 }]), "{said:?}");
    leaves(&mut home, "a", 2);
    home.hear(Answer::Forgotten);
    while home.take_answer(at_ms(0)) {}
    let asked = calls(&mut home);
    let is_told = |call: &Call| matches!(call, Call::Announce { .. } | Call::Note { .. });
    assert!(!asked.iter().any(is_told), "{asked:?}");
}

#[test]
fn a_removal_whose_call_failed_is_not_lost() {
    let mut home = bridged();
    for channel in ["a", "b"] {
        comes(&mut home, channel, 1);
    }
    for (id, ..) in written(&mut home, at_ms(0)) {
        answer(&mut home, Answer::Noted { id }, at_ms(0));
    }
    leaves(&mut home, "a", 1);
    let (id, _) = only(written(&mut home, at_ms(0)));
    answer(&mut home, Answer::Failed { id, why: Failure::Lost }, at_ms(0));
    comes(&mut home, "b", 2);
    assert_eq!(written(&mut home, at_ms(0)), [], "it rests");
    timers(&mut home, at_ms(ENGINE_REST_MS));
    let (id, change) = only(written(&mut home, at_ms(ENGINE_REST_MS)));
    assert_eq!(indices(&change).1, [0; 0], "one at a time is tried");
    answer(&mut home, Answer::Noted { id }, at_ms(ENGINE_REST_MS));
    let rest = written(&mut home, at_ms(ENGINE_REST_MS));
    let first = if change.anew { &change } else { &rest[0].2 };
    assert!(first.anew && indices(first) == (vec![], vec![]), "all of a is forgotten");
}

#[test]
fn what_a_store_forgot_is_written_anew_and_so_is_what_gets_old() {
    let mut home = bridged();
    for (channel, index) in [("a", 1), ("b", 2), ("b", 3)] {
        comes(&mut home, channel, index);
    }
    let all = |home: &mut Home<Bridged>, now: Now| {
        let mut all = Vec::new();
        loop {
            let some = written(home, now);
            if some.is_empty() {
                return all;
            }
            for (id, channel, change) in some {
                answer(home, Answer::Noted { id }, now);
                all.push((channel.as_str().to_owned(), change.anew, change.put.len()));
            }
        }
    };
    timers(&mut home, at_ms(1));
    assert_eq!(all(&mut home, at_ms(1)).len(), 2);
    let anew = [("a".to_owned(), true, 1), ("b".to_owned(), true, 2)];
    home.hear(Answer::Forgotten);
    assert_eq!(all(&mut home, at_ms(1)), anew);
    timers(&mut home, at_ms(MEMBERS_RENEWAL_MS));
    assert_eq!(all(&mut home, at_ms(MEMBERS_RENEWAL_MS)), []);
    timers(&mut home, at_ms(MEMBERS_RENEWAL_MS + 1));
    assert_eq!(all(&mut home, at_ms(MEMBERS_RENEWAL_MS + 1)), anew);
}

#[test]
fn a_call_and_what_waits_are_bounded() {
    let mut home = bridged();
    let many = (MEMBERS_PER_CALL + 1) as u32;
    for index in 0..many {
        comes(&mut home, "a", index);
        // Its join is passed on, and nothing is written meanwhile.
        home.noting.rest_until(1 << 40);
        written(&mut home, at_ms(0));
    }
    for index in many..many + MEMBERS_GONE as u32 + 1 {
        home.noting.changed(&"a".into(), key(index));
    }
    home.noting.turn(1 << 40);
    let written = written(&mut home, at_ms(0));
    let sizes: Vec<_> = written.iter().map(|(.., it)| (it.anew, it.put.len())).collect();
    assert_eq!(sizes, [(true, MEMBERS_PER_CALL), (false, 1)], "who is gone is forgotten");
}

#[test]
fn presence_has_who_is_here_and_who_is_elsewhere() {
    let mut home = bridged();
    comes(&mut home, "a", 1);
    for (id, ..) in written(&mut home, at_ms(0)) {
        answer(&mut home, Answer::Noted { id }, at_ms(0));
    }
    let there = |listed| {
        let member = Member { who: Who::Elsewhere([7; 16]), user: "u".into(), infos: None };
        Entry { member, listed, announced: true }
    };
    let asked = Request::Presence { to: TO, channel: "a".into() };
    assert!(ask(&mut home, asked, at_ms(0)).is_empty());
    let [Call::Members { id, on: On::Others, .. }] = calls(&mut home)[..] else { panic!() };
    let entries = Box::new([there(true), there(false)]);
    let said = answer(&mut home, Answer::Members { id, entries }, at_ms(0));
    let [Delivery::Presence(both)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(both.members.len(), 2);
    let asked = Request::PresenceStats { to: TO, channel: "a".into() };
    assert!(ask(&mut home, asked.clone(), at_ms(0)).is_empty());
    let [Call::Count { id, .. }] = calls(&mut home)[..] else { panic!() };
    let said = answer(&mut home, Answer::Counted { id, clients: 3, users: 2 }, at_ms(0));
    assert!(matches!(said[..], [Delivery::PresenceStats { clients: 4, users: 3, .. }]), "{said:?}");
    let asked = [
        (asked, Failure::Away),
        (Request::Presence { to: TO, channel: "a".into() }, Failure::Over),
    ];
    for (request, why) in asked {
        assert!(ask(&mut home, request, at_ms(0)).is_empty());
        let id = calls(&mut home)[0].id().expect("it is answered");
        let said = answer(&mut home, Answer::Failed { id, why }, at_ms(0));
        let [Delivery::Refused { error, .. }] = said[..] else { panic!("{said:?}") };
        let over = why == Failure::Over;
        let expected = if over { ErrorCode::LimitExceeded } else { ErrorCode::Internal };
        assert_eq!(error, expected);
    }
}

/// Members of another node, of which one was announced.
fn of_node(home: &mut Home<Bridged>, lives: bool) -> Vec<Delivery> {
    home.hear(Answer::Node { node: OTHER, lives });
    while home.take_answer(at_ms(0)) {}
    let asked = calls(home);
    let [Call::Members { id, on: On::Node(OTHER), .. }] = asked[..] else {
        assert!(asked.is_empty(), "{asked:?}");
        return Vec::new();
    };
    let entry = |client, announced| {
        let who = Who::Elsewhere([client; 16]);
        Entry { member: Member { who, user: "u".into(), infos: None }, listed: true, announced }
    };
    let entries = Box::new([entry(1, true), entry(2, false)]);
    answer(home, Answer::Members { id, entries }, at_ms(0))
}

#[test]
fn members_of_a_node_that_died_leave_and_join_if_it_lives_after_all() {
    let mut home = bridged();
    comes(&mut home, "a", 1);
    for (id, ..) in written(&mut home, at_ms(0)) {
        answer(&mut home, Answer::Noted { id }, at_ms(0));
    }
    assert!(of_node(&mut home, true).is_empty(), "nobody said that they left");
    let said = of_node(&mut home, false);
    assert!(matches!(said[..], [Delivery::Left { .. }]), "{said:?}");
    assert!(of_node(&mut home, false).is_empty(), "it was said");
    let said = of_node(&mut home, true);
    assert!(matches!(said[..], [Delivery::Joined { .. }]), "{said:?}");
    assert!(of_node(&mut home, true).is_empty(), "it was said");
}
