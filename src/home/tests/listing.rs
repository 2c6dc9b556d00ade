//! The list of a home's channels.

use super::engine::{answer, bridged, calls};
use super::*;
use crate::contract::engine::Failure;
use crate::contract::listing::ChannelCounts;
use crate::limits::ENGINE_CALL_MS;

fn list(home: &mut Home<Memory>, from: ListCursor) -> (Vec<(String, u32)>, Option<ListCursor>) {
    let said = ask(home, Request::Channels { to: TO, from }, at_ms(0));
    let [Delivery::Channels { part, .. }] = &said[..] else { panic!("{said:?}") };
    let names = part.channels.iter().map(|(name, pairs)| (name.as_str().to_owned(), *pairs));
    (names.collect(), part.next)
}

#[test]
fn a_list_of_channels_comes_in_parts_and_names_none_twice() {
    let mut home = home(Memory, Limits { new_channels_per_s: 0, ..Limits::default() });
    assert_eq!(list(&mut home, ListCursor::default()), (Vec::new(), None));
    let count = CHANNELS_PER_PART + 10;
    for number in 0..count {
        ask(&mut home, subscribe(&format!("c{number}")), at_ms(0));
    }
    ask(&mut home, subscribe("c1"), at_ms(0));
    publish(&mut home, "long:kept", b"1", at_ms(0));
    assert_eq!(home.subscribed_channels(), count);
    let (first, next) = list(&mut home, ListCursor::default());
    assert_eq!((first.len(), &first[1]), (CHANNELS_PER_PART, &("c1".to_owned(), 2)));
    // A listed channel goes and comes back at a place that has yet to be visited.
    ask(&mut home, unsubscribe("c5"), at_ms(0));
    ask(&mut home, subscribe("new"), at_ms(0));
    ask(&mut home, subscribe("c5"), at_ms(0));
    let (second, last) = list(&mut home, next.expect("there is more"));
    assert_eq!(last, None);
    let names: Vec<&str> = second.iter().map(|(name, _)| name.as_str()).collect();
    let expected: Vec<String> = (CHANNELS_PER_PART..count).map(|n| format!("c{n}")).collect();
    assert_eq!(names, expected, "neither c5 again, nor what nobody is subscribed to");
    for number in 0..count {
        ask(&mut home, unsubscribe(&format!("c{number}")), at_ms(0));
    }
    assert_eq!(home.subscribed_channels(), 2, "c1 had two, and new");
}

/// A call that asks which channels other nodes have.
fn asked(home: &mut Home<Bridged>) -> u64 {
    let request = Request::OtherChannels { to: TO, pattern: "a*".into() };
    assert!(super::engine::ask(home, request, at_ms(0)).is_empty());
    let [Call::Channels { number, pattern }] = &calls(home)[..] else { panic!("nobody is asked") };
    assert_eq!(&**pattern, "a*");
    *number
}

#[test]
fn what_other_nodes_have_is_handed_on() {
    let mut home = bridged();
    let number = asked(&mut home);
    let mut counts = ChannelCounts::default();
    counts.push("ab", 2);
    let channels = Box::new(counts.clone());
    let said = answer(&mut home, Answer::Channels { number, channels: Ok(channels) }, at_ms(1));
    let [Delivery::OtherChannels { to: TO, channels }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(**channels, counts);
}

#[test]
fn who_cannot_ask_other_nodes_tells_of_itself_unless_it_is_too_much() {
    let mut home = bridged();
    for why in [Failure::Away, Failure::Lost, Failure::Refused] {
        let number = asked(&mut home);
        let said = answer(&mut home, Answer::Channels { number, channels: Err(why) }, at_ms(1));
        let [Delivery::OtherChannels { channels, .. }] = &said[..] else { panic!("{said:?}") };
        assert!(channels.is_empty());
    }
    let number = asked(&mut home);
    home.timers(at_ms(ENGINE_CALL_MS));
    let said = said(&mut home);
    assert!(matches!(&said[..], [Delivery::OtherChannels { .. }]), "its time is over: {said:?}");
    let late = Answer::Channels { number, channels: Err(Failure::Over) };
    assert!(answer(&mut home, late, at_ms(ENGINE_CALL_MS)).is_empty());
    let number = asked(&mut home);
    let said =
        answer(&mut home, Answer::Channels { number, channels: Err(Failure::Over) }, at_ms(1));
    let [Delivery::Refused { error, .. }] = &said[..] else { panic!("{said:?}") };
    assert_eq!(*error, ErrorCode::LimitExceeded);
}

#[test]
fn a_home_lists_for_another_node() {
    let mut home = bridged();
    let from = ListCursor::default();
    assert!(answer(&mut home, Answer::List { number: 7, from }, at_ms(1)).is_empty());
    let [Call::Listed { number: 7, part }] = &calls(&mut home)[..] else { panic!("no list") };
    assert_eq!((part.channels.len(), part.next), (0, None));
}
