//! Users come and go, and Redis is told, refuses, forgets.

use super::*;

fn users() -> Users {
    Users::new(Key::of(7))
}

/// Notes that users come, or go, for the call of that number.
fn change(users: &mut Users, names: &[&str], is_here: bool, call: u64) {
    let change = |name: &&str| UserChange { user: Name::from(*name), is_here };
    let changes: Vec<UserChange> = names.iter().map(change).collect();
    users.change(&changes, Some((0, CallId(call))), 0);
}

/// What is told next, in short, by partitions.
fn told(users: &mut Users) -> Vec<String> {
    let text = |names: &[Name]| {
        let mut names: Vec<&str> = names.iter().map(Name::as_str).collect();
        names.sort_unstable();
        names.join(",")
    };
    let batches = std::iter::from_fn(|| users.take_batch());
    let mut told: Vec<String> = batches
        .map(|it| {
            format!(
                "{}+{} -{}",
                ["", "all: "][usize::from(it.is_whole)],
                text(&it.come),
                text(&it.gone)
            )
        })
        .collect();
    told.sort_unstable();
    told
}

fn confirm(users: &mut Users, batches: usize) -> Vec<u64> {
    let done = (0..batches).flat_map(|_| users.confirmed(0)).map(|(_, call)| call.0);
    done.collect()
}

#[test]
fn a_call_waits_until_all_of_its_users_are_told() {
    let mut users = users();
    change(&mut users, &["a", "b"], true, 1);
    assert_eq!(told(&mut users), ["+a -", "+b -"]);
    change(&mut users, &["a"], false, 2);
    assert_eq!(confirm(&mut users, 1), [0_u64; 0]);
    assert_eq!(confirm(&mut users, 1), [1]);
    assert_eq!(told(&mut users), ["+ -a"]);
    assert_eq!(users.partitions().count(), 1);
    assert_eq!(confirm(&mut users, 1), [2]);
    change(&mut users, &["b"], false, 3);
    assert_eq!((told(&mut users).len(), confirm(&mut users, 1)), (1, vec![3]));
    assert!(users.parts.is_empty() && users.waits.is_empty(), "who left leaves nothing");
}

#[test]
fn what_changes_before_it_is_told_is_told_as_it_is() {
    let mut users = users();
    for (call, is_here) in [(1, true), (2, false), (3, true)] {
        change(&mut users, &["a"], is_here, call);
    }
    assert_eq!(told(&mut users), ["+a,a,a -"]);
    assert_eq!(confirm(&mut users, 1), [1, 2, 3]);
}

#[test]
fn a_wait_has_an_end() {
    let mut users = users();
    change(&mut users, &["a"], true, 1);
    assert_eq!(users.deadline_us(), Some(REDIS_USERS_US));
    assert_eq!(users.turn(REDIS_USERS_US - 1), []);
    assert_eq!(users.turn(REDIS_USERS_US), [(0, CallId(1))]);
    assert_eq!(told(&mut users), ["+a -"], "it is told all the same");
    assert_eq!(confirm(&mut users, 1), [0_u64; 0], "it was answered");
}

#[test]
fn what_was_in_flight_is_told_again_and_what_was_forgotten_anew() {
    let mut users = users();
    change(&mut users, &["a", "b"], true, 1);
    assert_eq!(told(&mut users).len(), 2);
    assert_eq!(confirm(&mut users, 1), [0_u64; 0]);
    assert_eq!(users.lost(), [(0, CallId(1))], "whoever waited is told");
    assert_eq!(told(&mut users).len(), 1, "one was told");
    assert_eq!(confirm(&mut users, 1), [0_u64; 0]);
    users.forgotten();
    assert_eq!(told(&mut users), ["all: +a -", "all: +b -"]);
    users.lost();
    assert_eq!(told(&mut users), ["all: +a -", "all: +b -"]);
    confirm(&mut users, 2);
    assert_eq!(told(&mut users), Vec::<String>::new());
}

#[test]
fn what_was_refused_is_told_anew_after_a_while() {
    let mut users = users();
    change(&mut users, &["a"], true, 1);
    told(&mut users);
    users.refused();
    assert_eq!(confirm(&mut users, 1), [1], "nobody waits for it");
    assert_eq!(told(&mut users), Vec::<String>::new());
    users.turn(users.deadline_us().expect("it is tried again"));
    assert_eq!(told(&mut users), ["all: +a -"]);
    let partition = Partition::of("a");
    assert!(!users.is_settled(partition), "it is in flight");
    confirm(&mut users, 1);
    assert!(users.is_settled(partition));
}
