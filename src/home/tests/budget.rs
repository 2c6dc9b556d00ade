//! What a home takes in one turn, in work: much for one who asks is left for the others' turns.

use super::{CONNECTION, TO, at_ms, home, publish, said, subscribe};
use crate::contract::engine::Memory;
use crate::contract::envelope::{Delivery, Request};
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::limits::{DELTA_BYTES, Limits, WORK_PER_STAGE_NS};

#[test]
fn an_answer_that_names_many_ends_the_turn() {
    let mut home = home(Memory, Limits::default());
    for index in 0..5_000 {
        let Request::Subscribe(mut asked) = subscribe("crowd") else { unreachable!() };
        asked.to.connection = ConnectionKey { index, ..CONNECTION };
        asked.overrides.presence = Some(true);
        home.take(Request::Subscribe(asked), at_ms(0));
        said(&mut home);
    }
    let (few, many) = (Name::from("few"), Name::from("crowd"));
    for stats in [false, true] {
        let ask = |channel: &Name| match stats {
            true => Request::PresenceStats { to: TO, channel: channel.clone() },
            false => Request::Presence { to: TO, channel: channel.clone() },
        };
        home.begin_turn(WORK_PER_STAGE_NS);
        for _ in 0..10 {
            home.take(ask(&few), at_ms(0));
            said(&mut home);
        }
        assert!(home.may_work(), "ten that name nobody are no turn's work");
        home.take(ask(&many), at_ms(0));
        let answer = said(&mut home);
        let named = match &answer[..] {
            [Delivery::Presence(answer)] => answer.members.len(),
            [Delivery::PresenceStats { clients, .. }] => *clients as usize,
            other => panic!("{other:?}"),
        };
        assert_eq!(named, 5_000);
        assert!(!home.may_work(), "the rest waits for the next turn");
    }
}

#[test]
fn a_search_for_a_delta_ends_the_turn() {
    let mut home = home(Memory, Limits::default());
    let Request::Subscribe(mut asked) = subscribe("deltas") else { unreachable!() };
    asked.delta = true;
    home.take(Request::Subscribe(asked), at_ms(0));
    said(&mut home);
    home.begin_turn(WORK_PER_STAGE_NS);
    publish(&mut home, "deltas", &b"a".repeat(DELTA_BYTES), at_ms(0));
    assert!(home.may_work(), "there was nothing to compare with");
    let text = [b"a".repeat(200), b"b".to_vec()].concat().repeat(DELTA_BYTES / 201);
    publish(&mut home, "deltas", &text, at_ms(0));
    assert!(!home.may_work());
}
