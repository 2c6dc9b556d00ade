//! The list of a home's channels.

use super::*;

fn list(home: &mut Home<Memory>, from: ListCursor) -> (Vec<(String, u32)>, Option<ListCursor>) {
    let said = ask(home, Request::Channels { to: TO, from }, at_ms(0));
    let [Delivery::Channels(part)] = &said[..] else { panic!("{said:?}") };
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
