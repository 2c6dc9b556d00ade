//! Interest: bounds, sessions, and what Redis is told.

use super::*;
use crate::bridge::redis::lines::{Lines, NewJob, Task};
use crate::contract::engine::CallId;

const SESSION: Session = Session { place: 1, number: 1 };

fn job() -> JobId {
    let (call, channel, task) = (CallId(1), "any".into(), Task::Remove);
    Lines::default().add(NewJob { worker: 0, call, channel, task }, 1)
}

fn names(from: usize, to: usize) -> Vec<Name> {
    (from..to).map(|number| Name::from(format!("c{number}").as_str())).collect()
}

#[test]
fn commands_and_what_is_unconfirmed_are_bounded() {
    let mut interest = Interest::new(Key::of(1));
    let all = names(0, 10_000);
    for name in &all {
        assert_eq!(interest.watch(name, 0, SESSION, job()), Watching::Waits);
    }
    let batches: Vec<Batch> = std::iter::from_fn(|| interest.take_batch()).collect();
    assert!(batches.iter().all(|batch| batch.joins && batch.names.len() <= 512));
    let told: usize = batches.iter().map(|batch| batch.names.len()).sum();
    assert_eq!(told, 8_192);
    for name in &batches[0].names {
        assert!(matches!(interest.confirmed(name.as_str(), true), Confirmed::First(_)));
        assert_eq!(interest.confirmed(name.as_str(), true), Confirmed::Nothing, "once");
    }
    assert_eq!(interest.take_batch().map(|batch| batch.names.len()), Some(512));
    assert_eq!(interest.lost().len(), 10_000 - 512);
    let again: usize = std::iter::from_fn(|| interest.take_batch()).map(|it| it.names.len()).sum();
    assert_eq!(again, 8_192, "all of it again");
}

#[test]
fn no_more_are_heard_than_the_bound() {
    let mut interest = Interest::new(Key::of(1));
    for name in names(0, REDIS_CHANNELS) {
        assert_eq!(interest.watch(&name, 0, SESSION, job()), Watching::Waits);
    }
    assert_eq!(interest.watch(&"more".into(), 0, SESSION, job()), Watching::Full);
    assert_eq!(interest.watch(&"c1".into(), 0, SESSION, job()), Watching::Waits);
}

#[test]
fn who_comes_and_goes_leaves_nothing() {
    let mut interest = Interest::new(Key::of(1));
    let name = Name::from("a");
    let mut now_us = 0;
    for round in 0..1_000 {
        let session = Session { place: 1, number: round };
        interest.watch(&name, 0, session, job());
        while let Some(batch) = interest.take_batch() {
            batch.names.iter().for_each(|it| {
                interest.confirmed(it.as_str(), batch.joins);
            });
        }
        interest.unwatch(&name, session, now_us);
        now_us += [1, 700_000, 9_000_000][round as usize % 3];
        interest.turn(now_us);
        assert!(interest.lingering.len() <= 1 && interest.listed.len() <= 1);
    }
    now_us += 20_000_000;
    interest.turn(now_us);
    interest.turn(now_us);
    while let Some(batch) = interest.take_batch() {
        batch.names.iter().for_each(|it| {
            interest.confirmed(it.as_str(), batch.joins);
        });
    }
    assert_eq!((interest.channels.len(), interest.deadline_us()), (0, None));
}

#[test]
fn what_was_refused_is_tried_again_for_whoever_heard_it() {
    let mut interest = Interest::new(Key::of(1));
    let name = Name::from("a");
    let first = job();
    interest.watch(&name, 4, SESSION, first);
    let batch = interest.take_batch().expect("it is told");
    assert_eq!(interest.confirmed("a", true), Confirmed::First(first));
    assert!(interest.lost().is_empty());
    let batch_again = interest.take_batch().expect("again");
    assert_eq!(batch_again, batch);
    assert!(interest.objected(&batch_again, 10).is_empty(), "nobody waits");
    assert_eq!((interest.take_batch(), interest.deadline_us()), (None, Some(1_000_010)));
    interest.turn(1_000_010);
    assert!(interest.take_batch().is_some());
    assert_eq!(interest.confirmed("a", true), Confirmed::Again(4, SESSION));
    assert_eq!(interest.hearer("a"), Some((4, SESSION)));
}
