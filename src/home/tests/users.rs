//! Users of a home whose engine is elsewhere: other nodes know of them, and have them too.

use super::engine::{answer, ask, bridged, calls};
use super::{TO, at_ms};
use crate::contract::engine::{Answer, Call, CallId, Failure, UserChange};
use crate::contract::envelope::{Delivery, Request};
use crate::contract::key::ConnectionKey;
use crate::contract::user::{Selection, ToUser, UserAction, UserCommand};
use crate::home::Home;

type Bridged = crate::contract::engine::Bridged;

fn connection(index: u32) -> ConnectionKey {
    ConnectionKey { core: 0, index, generation: 1 }
}

fn register(index: u32) -> Request {
    Request::Register { connection: connection(index), user: "u".into() }
}

fn deregister(index: u32) -> Request {
    Request::Deregister { connection: connection(index), user: "u".into() }
}

/// The one call that is said now, which tells whether the user is here.
fn told(home: &mut Home<Bridged>) -> (CallId, bool) {
    let [Call::Users { id, changes }] = &calls(home)[..] else { panic!("nothing is told") };
    let [UserChange { user, is_here }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(user.as_str(), "u");
    (*id, *is_here)
}

fn registered(said: &[Delivery]) -> Vec<u32> {
    let of = |delivery: &Delivery| match delivery {
        Delivery::Registered { connection } => connection.index,
        other => panic!("{other:?}"),
    };
    said.iter().map(of).collect()
}

#[test]
fn a_connect_is_answered_when_its_user_is_known_elsewhere() {
    let mut home = bridged();
    assert!(ask(&mut home, register(1), at_ms(0)).is_empty());
    let (id, is_here) = told(&mut home);
    assert!(is_here && ask(&mut home, register(2), at_ms(0)).is_empty());
    assert!(calls(&mut home).is_empty(), "it is told once");
    let said = answer(&mut home, Answer::UsersTold { id }, at_ms(1));
    assert_eq!(registered(&said), [1, 2]);
    assert_eq!(registered(&ask(&mut home, register(3), at_ms(2))), [3], "it is known");
    for index in [1, 2] {
        ask(&mut home, deregister(index), at_ms(3));
        assert!(calls(&mut home).is_empty(), "it is still here");
    }
    ask(&mut home, deregister(3), at_ms(3));
    let (id, is_here) = told(&mut home);
    assert!(!is_here);
    // It comes back before that is told, and waits for its own.
    assert!(ask(&mut home, register(4), at_ms(4)).is_empty() && calls(&mut home).is_empty());
    let failed = Answer::Failed { id, why: Failure::Away };
    assert!(answer(&mut home, failed, at_ms(5)).is_empty());
    let (id, is_here) = told(&mut home);
    assert!(is_here);
    assert_eq!(registered(&answer(&mut home, Answer::UsersTold { id }, at_ms(6))), [4]);
}

fn command() -> UserCommand {
    let action = UserAction::Disconnect { code: 4_000, reason: "r".into() };
    UserCommand { selection: Selection::default(), action }
}

/// A command for a user that has no connection here, which other nodes are asked about.
fn asked(home: &mut Home<Bridged>) -> CallId {
    let to_user = ToUser { to: TO, user: "u".into(), what: command() };
    assert!(ask(home, Request::ToUser(Box::new(to_user)), at_ms(0)).is_empty());
    let [Call::ToUser { id, .. }] = calls(home)[..] else { panic!("nobody is asked") };
    id
}

#[test]
fn a_command_is_answered_when_other_nodes_have_answered() {
    let mut home = bridged();
    let told = |id, missing: &str| Answer::UserTold { id, missing: missing.into() };
    let id = asked(&mut home);
    let said = answer(&mut home, told(id, ""), at_ms(1));
    assert!(matches!(said[..], [Delivery::UserAnswered { to: TO }]), "{said:?}");
    let id = asked(&mut home);
    let said = answer(&mut home, told(id, "n_1"), at_ms(1));
    assert!(matches!(&said[..], [Delivery::UserUnanswered { nodes, .. }] if &**nodes == "n_1"));
    let id = asked(&mut home);
    let said = answer(&mut home, Answer::Failed { id, why: Failure::Away }, at_ms(1));
    assert!(matches!(&said[..], [Delivery::UserUnanswered { nodes, .. }] if nodes.is_empty()));
}

#[test]
fn a_command_of_another_node_is_over_when_it_took_effect_here() {
    let mut home = bridged();
    ask(&mut home, register(1), at_ms(0));
    let (id, _) = told(&mut home);
    answer(&mut home, Answer::UsersTold { id }, at_ms(0));
    let of =
        |number, user: &str| Answer::Command { number, user: user.into(), what: command().into() };
    let said = answer(&mut home, of(8, "u"), at_ms(1));
    let [Delivery::UserCommand { call, .. }] = said[..] else { panic!("{said:?}") };
    assert!(calls(&mut home).is_empty(), "it has not taken effect");
    assert!(ask(&mut home, Request::UserDone { call, took_effect: true }, at_ms(2)).is_empty());
    // A connection was refused the subscription for now.
    let said = answer(&mut home, of(10, "u"), at_ms(4));
    let [Delivery::UserCommand { call, .. }] = said[..] else { panic!("{said:?}") };
    assert!(ask(&mut home, Request::UserDone { call, took_effect: false }, at_ms(4)).is_empty());
    assert!(answer(&mut home, of(9, "nobody"), at_ms(5)).is_empty());
    let done: Vec<_> = calls(&mut home)
        .into_iter()
        .map(|call| match call {
            Call::CommandDone { number, took_effect } => (number, took_effect),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(done, [(8, true), (10, false), (9, true)]);
}
