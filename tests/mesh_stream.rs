//! Lanes against a reference: any sequence of operations has the effect that it has on a bounded
//! queue with a flag, and two cores that really sleep over a lane always wake each other.
#![cfg(not(loom))]

use corecast::mesh::{Doorbell, Receiver, Sender, lane};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// A model of a lane: a queue of `slots`, whether its producer wants room, and whether any was
/// made.
struct Reference {
    queue: VecDeque<u32>,
    slots: usize,
    wanted: bool,
    popped: bool,
}

impl Reference {
    fn push(&mut self, item: u32) -> Result<(), u32> {
        if self.queue.len() == self.slots {
            self.wanted = true;
            return Err(item);
        }
        self.queue.push_back(item);
        Ok(())
    }

    fn pop(&mut self) -> Option<u32> {
        let item = self.queue.pop_front();
        self.popped |= item.is_some();
        item
    }

    fn freed(&mut self) -> bool {
        std::mem::take(&mut self.popped) && std::mem::take(&mut self.wanted)
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Push,
    Pop,
    WantRoom,
    Freed,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        4 => Just(Operation::Push),
        3 => Just(Operation::Pop),
        1 => Just(Operation::WantRoom),
        2 => Just(Operation::Freed),
    ];
    prop::collection::vec(one, 0..400)
}

proptest! {
    #[test]
    fn a_lane_is_a_bounded_queue_with_a_flag(slots in 1_usize..=8, operations in operations()) {
        let (mut sender, mut receiver) = lane(slots);
        let mut reference =
            Reference { queue: VecDeque::new(), slots, wanted: false, popped: false };
        for (item, operation) in (0..).zip(operations) {
            match operation {
                Operation::Push => prop_assert_eq!(sender.push(item), reference.push(item)),
                Operation::Pop => prop_assert_eq!(receiver.pop(), reference.pop()),
                Operation::WantRoom => {
                    sender.want_room();
                    reference.wanted = true;
                }
                Operation::Freed => prop_assert_eq!(receiver.freed(), reference.freed()),
            }
            let used = reference.queue.len();
            prop_assert_eq!(sender.room(), slots - used);
            prop_assert_eq!(sender.has_room(), used < slots);
            prop_assert_eq!(receiver.is_empty(), used == 0);
        }
    }
}

/// A core that sleeps: its doorbell, and a substitute for the driver's eventfd.
#[derive(Clone, Default)]
struct Core {
    bell: Doorbell,
    rung: Arc<(Mutex<bool>, Condvar)>,
}

impl Core {
    /// Rings, if the core sleeps.
    fn wake(&self) {
        if self.bell.ring() {
            *self.rung.0.lock().unwrap() = true;
            self.rung.1.notify_one();
        }
    }

    /// Sleeps until rung, unless `ready` after the announcement; returns whether it slept.
    fn sleep(&self, ready: impl FnOnce() -> bool) -> bool {
        self.bell.announce();
        let sleeps = !ready();
        if sleeps {
            let rung = self.rung.0.lock().unwrap();
            let (mut rung, late) = self
                .rung
                .1
                .wait_timeout_while(rung, Duration::from_secs(20), |rung| !*rung)
                .unwrap();
            assert!(!late.timed_out(), "a wake-up was lost");
            *rung = false;
        }
        self.bell.awake();
        sleeps
    }
}

/// Sends 0..count over the lane, sleeping whenever it is full; returns how often it slept.
fn produce(mut sender: Sender<u32>, count: u32, own: &Core, other: &Core) -> u32 {
    let mut sleeps = 0;
    for item in 0..count {
        while sender.push(item).is_err() {
            sleeps += u32::from(own.sleep(|| {
                sender.want_room();
                sender.has_room()
            }));
        }
        other.wake();
    }
    sleeps
}

/// Takes 0..count from the lane, sleeping whenever it is empty; returns how often it slept.
fn consume(mut receiver: Receiver<u32>, count: u32, own: &Core, other: &Core) -> u32 {
    let (mut sleeps, mut expected) = (0, 0);
    while expected < count {
        while let Some(item) = receiver.pop() {
            assert_eq!(item, expected);
            expected += 1;
        }
        if receiver.freed() {
            other.wake();
        }
        if expected < count {
            sleeps += u32::from(own.sleep(|| !receiver.is_empty()));
        }
    }
    sleeps
}

#[test]
fn cores_that_sleep_over_a_lane_always_wake_each_other() {
    const ITEMS: u32 = 100_000;
    for slots in [1, 2] {
        let (sender, receiver) = lane(slots);
        let (producer, consumer) = (Core::default(), Core::default());
        let (to, from) = (consumer.clone(), producer.clone());
        let sending = thread::spawn(move || produce(sender, ITEMS, &producer, &to));
        let slept = consume(receiver, ITEMS, &consumer, &from);
        let slept = (slept, sending.join().unwrap());
        assert!(slept.0 > 100 && slept.1 > 100, "hardly anybody slept: {slept:?}");
    }
}
