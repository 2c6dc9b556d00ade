//! Every interleaving of two cores that sleep over one lane, under loom: no wake-up is lost. The
//! flags are the real ones, `mesh::Doorbell` and `mesh::Room`; the ring is a substitute with the
//! memory orderings of `rtrb`, whose atomics loom cannot see.
//!
//! Runs with `RUSTFLAGS="--cfg loom" cargo test --test loom_doorbell`. A lost wake-up is a deadlock
//! there. The tests that panic leave out a step, to show that the model notices.
#![cfg(loom)]

use corecast::mesh::{Doorbell, Room};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// A bounded ring of numbers; item n carries n, so two counters are enough.
#[derive(Clone)]
struct Ring {
    slots: usize,
    head: Arc<AtomicUsize>,
    tail: Arc<AtomicUsize>,
}

impl Ring {
    fn new(slots: usize) -> Self {
        let counter = || Arc::new(AtomicUsize::new(0));
        Ring { slots, head: counter(), tail: counter() }
    }

    fn has_room(&self) -> bool {
        self.tail.load(Ordering::Relaxed) - self.head.load(Ordering::Acquire) < self.slots
    }

    fn push(&self, item: usize) -> Result<(), usize> {
        if !self.has_room() {
            return Err(item);
        }
        self.tail.store(item + 1, Ordering::Release);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed) == self.tail.load(Ordering::Acquire)
    }

    fn pop(&self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let item = self.head.load(Ordering::Relaxed);
        self.head.store(item + 1, Ordering::Release);
        Some(item)
    }
}

/// A core: its doorbell, and a substitute for the driver's eventfd.
#[derive(Clone, Default)]
struct Core {
    bell: Doorbell,
    rung: Arc<(Mutex<bool>, Condvar)>,
}

impl Core {
    fn wake(&self) {
        if self.bell.ring() {
            *self.rung.0.lock().unwrap() = true;
            self.rung.1.notify_one();
        }
    }

    fn sleep(&self, ready: impl FnOnce() -> bool) {
        self.bell.announce();
        if !ready() {
            let mut rung = self.rung.0.lock().unwrap();
            while !*rung {
                rung = self.rung.1.wait(rung).unwrap();
            }
            *rung = false;
        }
        self.bell.awake();
    }
}

/// Which steps of the protocol are taken.
#[derive(Clone, Copy)]
struct Steps {
    /// The producer pushes only if it sees room, so that no failed push asks to be rung.
    producer_looks_first: bool,
    consumer_looks_again: bool,
    producer_looks_again: bool,
    producer_wants_again: bool,
    consumer_rings: bool,
}

const ALL: Steps = Steps {
    producer_looks_first: false,
    consumer_looks_again: true,
    producer_looks_again: true,
    producer_wants_again: true,
    consumer_rings: true,
};

fn produce(count: usize, ring: &Ring, room: &Room, own: &Core, other: &Core, steps: Steps) {
    for item in 0..count {
        while (steps.producer_looks_first && !ring.has_room())
            || room.push(item, |item| ring.push(item)).is_err()
        {
            own.sleep(|| {
                if steps.producer_wants_again {
                    room.want();
                }
                steps.producer_looks_again && ring.has_room()
            });
        }
        other.wake();
    }
}

fn consume(count: usize, ring: &Ring, room: &Room, own: &Core, other: &Core, steps: Steps) {
    let mut expected = 0;
    while expected < count {
        let start = expected;
        while let Some(item) = ring.pop() {
            assert_eq!(item, expected);
            expected += 1;
        }
        if expected > start && room.made() && steps.consumer_rings {
            other.wake();
        }
        if expected < count {
            own.sleep(|| steps.consumer_looks_again && !ring.is_empty());
        }
    }
}

fn model(slots: usize, count: usize, steps: Steps) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(move || {
        let (ring, room) = (Ring::new(slots), Room::default());
        let (producer, consumer) = (Core::default(), Core::default());
        let sending = {
            let (ring, room, own, other) =
                (ring.clone(), room.clone(), producer.clone(), consumer.clone());
            thread::spawn(move || produce(count, &ring, &room, &own, &other, steps))
        };
        consume(count, &ring, &room, &consumer, &producer, steps);
        sending.join().unwrap();
    });
}

/// How often a thread may be preempted.
const PREEMPTIONS: usize = 3;

#[test]
fn no_item_is_slept_over() {
    model(2, 2, ALL); // never full: the bell for items alone
}

#[test]
fn no_room_is_slept_over() {
    model(1, 2, ALL);
}

#[test]
fn neither_is_in_a_longer_stream() {
    model(1, 3, ALL);
}

#[test]
fn a_producer_that_looks_first_is_rung_because_it_asks_when_it_sleeps() {
    model(1, 3, Steps { producer_looks_first: true, ..ALL });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_consumer_that_does_not_look_again_sleeps_for_ever() {
    model(2, 2, Steps { consumer_looks_again: false, ..ALL });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_producer_that_does_not_look_again_sleeps_for_ever() {
    model(1, 2, Steps { producer_looks_again: false, ..ALL });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_producer_that_looks_first_and_does_not_ask_sleeps_for_ever() {
    let steps = Steps { producer_looks_first: true, producer_wants_again: false, ..ALL };
    model(1, 2, steps);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_bell_for_room_a_producer_sleeps_for_ever() {
    model(1, 2, Steps { consumer_rings: false, ..ALL });
}
