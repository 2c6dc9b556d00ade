//! Keys of publications that were carried out: who asks again with one is told what came of the
//! first, and nothing is published twice.
//!
//! Must not know engines or lanes. Invariant: there are never more keys than the bound, and none is
//! older than `IDEMPOTENCY_MS`, but for those whose publication is still under way.

use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::Position;
use crate::hashing::{Key, Keyed};
use crate::limits::IDEMPOTENCY_MS;
use std::collections::{HashMap, VecDeque};

/// What is known of a key.
#[derive(Debug)]
enum Outcome {
    /// An engine elsewhere was asked; who asks meanwhile waits for its answer too.
    UnderWay(Vec<ReplyTo>),
    Done(Position),
}

/// What a publication with a key finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// It is the first.
    Not,
    /// The first is under way: this one is answered with it.
    Waits,
    Done(Position),
}

/// The keys of one home.
#[derive(Debug)]
pub struct Keys {
    by_key: HashMap<Name, Outcome, Keyed>,
    /// Keys that are done, the oldest first, each with when that was in milliseconds of the
    /// process.
    order: VecDeque<(u64, Name)>,
    capacity: usize,
}

impl Keys {
    /// An empty table; `secret` keeps its hashing from being guessed.
    #[must_use]
    pub fn new(capacity: u32, secret: Key) -> Keys {
        let by_key = HashMap::with_hasher(Keyed::new(secret));
        Keys { by_key, order: VecDeque::new(), capacity: capacity as usize }
    }

    /// Looks a key up for a publication that is answered to `to`.
    pub fn look_up(&mut self, key: &Name, to: ReplyTo) -> Known {
        match self.by_key.get_mut(key.as_str()) {
            None => Known::Not,
            Some(Outcome::UnderWay(waiting)) => {
                waiting.push(to);
                Known::Waits
            }
            Some(Outcome::Done(position)) => Known::Done(*position),
        }
    }

    /// Its publication is under way.
    pub fn begin(&mut self, key: Name) {
        self.by_key.insert(key, Outcome::UnderWay(Vec::new()));
    }

    /// Its publication is carried out; gives who else waits for the answer.
    pub fn done(&mut self, key: Name, position: Position, now_ms: u64) -> Vec<ReplyTo> {
        self.forget_old(now_ms);
        while self.order.len() >= self.capacity {
            self.forget_oldest();
        }
        self.order.push_back((now_ms, key.clone()));
        match self.by_key.insert(key, Outcome::Done(position)) {
            Some(Outcome::UnderWay(waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    /// Forgets what is too old.
    pub fn forget_old(&mut self, now_ms: u64) {
        while self.order.front().is_some_and(|(at_ms, _)| at_ms + IDEMPOTENCY_MS <= now_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.by_key.remove(&key);
        }
    }
}

/// A key as the table has it: keys of two channels never meet, because no channel's name has a
/// control character.
#[must_use]
pub fn key(channel: &str, key: &str) -> Name {
    Name::from(format!("{channel}\n{key}").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::key::ConnectionKey;
    use crate::contract::position::Epoch;

    const TO: ReplyTo =
        ReplyTo { connection: ConnectionKey { core: 0, index: 7, generation: 1 }, command: 1 };

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    #[test]
    fn a_key_is_known_for_its_time() {
        let mut keys = Keys::new(10, Key::of(1));
        let first = key("a", "k");
        assert_eq!(keys.look_up(&first, TO), Known::Not);
        assert!(keys.done(first.clone(), at(5), 1_000).is_empty());
        assert_eq!(keys.look_up(&first, TO), Known::Done(at(5)));
        assert_eq!(keys.look_up(&key("b", "k"), TO), Known::Not, "keys are a channel's");
        keys.forget_old(1_000 + IDEMPOTENCY_MS - 1);
        assert_eq!(keys.look_up(&first, TO), Known::Done(at(5)));
        keys.forget_old(1_000 + IDEMPOTENCY_MS);
        assert_eq!(keys.look_up(&first, TO), Known::Not);
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut keys = Keys::new(3, Key::of(1));
        for number in 0..10 {
            keys.done(key("a", &number.to_string()), at(number), number);
        }
        for number in 0..10 {
            let known = keys.look_up(&key("a", &number.to_string()), TO);
            assert_eq!(known, if number < 7 { Known::Not } else { Known::Done(at(number)) });
        }
        assert_eq!((keys.by_key.len(), keys.order.len()), (3, 3));
    }

    #[test]
    fn who_asks_meanwhile_waits_for_the_first() {
        let mut keys = Keys::new(3, Key::of(1));
        let first = key("a", "k");
        keys.begin(first.clone());
        assert_eq!(
            (keys.look_up(&first, TO), keys.look_up(&first, TO)),
            (Known::Waits, Known::Waits)
        );
        assert_eq!(keys.done(first.clone(), at(1), 0), [TO, TO]);
        assert_eq!(keys.look_up(&first, TO), Known::Done(at(1)));
    }
}
