//! Keys of publications that were carried out: who asks again with one is told what came of the
//! first, and nothing is published twice.
//!
//! Must not know engines or lanes. Invariants: there are never more keys than the bound, and none
//! is older than `IDEMPOTENCY_MS`, but for those whose publication is still under way. Over the
//! bound the oldest of whoever has most goes, so that nobody's keys are forgotten for another's
//! number of them; half of the table is the server API's, and half the clients', where both want
//! it.

use crate::contract::block::Publisher;
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::Position;
use crate::hashing::{Key, Keyed};
use crate::limits::IDEMPOTENCY_MS;
use foldhash::quality::FixedState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;

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

/// Whose a key is: the server API's, or of a user or, where it has none, of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Api,
    /// By a hash of its id.
    Client(u64),
}

/// The keys of one home.
#[derive(Debug)]
pub struct Keys {
    by_key: HashMap<Name, Outcome, Keyed>,
    /// Keys that are done, by whose they are, the oldest first, each with when that was in
    /// milliseconds of the process.
    done: HashMap<Owner, VecDeque<(u64, Name)>, FixedState>,
    /// Who has keys, by when the oldest was done.
    by_age: BTreeSet<(u64, Owner)>,
    /// Clients that have keys, by how many.
    by_number: BTreeSet<(usize, Owner)>,
    /// Keys that are done.
    len: usize,
    capacity: usize,
}

impl Keys {
    /// An empty table; `secret` keeps its hashing from being guessed.
    #[must_use]
    pub fn new(capacity: u32, secret: Key) -> Keys {
        Keys {
            by_key: HashMap::with_hasher(Keyed::new(secret)),
            done: HashMap::with_hasher(FixedState::default()),
            by_age: BTreeSet::new(),
            by_number: BTreeSet::new(),
            len: 0,
            capacity: capacity as usize,
        }
    }

    /// Whose key a publication has.
    #[must_use]
    pub fn owner(&self, publisher: Option<Publisher<'_>>) -> Owner {
        let hasher = self.by_key.hasher();
        match publisher {
            None => Owner::Api,
            Some(by) if by.user.is_empty() => Owner::Client(hasher.hash_one(by.client)),
            Some(by) => Owner::Client(hasher.hash_one(by.user)),
        }
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
    pub fn done(
        &mut self,
        key: Name,
        owner: Owner,
        position: Position,
        now_ms: u64,
    ) -> Vec<ReplyTo> {
        self.forget_old(now_ms);
        while self.len >= self.capacity {
            self.forget_one(owner);
        }
        self.change(owner, |done| done.push_back((now_ms, key.clone())));
        self.len += 1;
        match self.by_key.insert(key, Outcome::Done(position)) {
            Some(Outcome::UnderWay(waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    /// Its publication came to nothing, as far as is known: the next with the key is the first.
    /// Gives who else waits for the answer.
    pub fn failed(&mut self, key: &Name) -> Vec<ReplyTo> {
        match self.by_key.remove(key.as_str()) {
            Some(Outcome::UnderWay(waiting)) => waiting,
            Some(Outcome::Done(_)) | None => {
                debug_assert!(false, "what failed was under way");
                Vec::new()
            }
        }
    }

    /// Forgets what is too old.
    pub fn forget_old(&mut self, now_ms: u64) {
        while let Some((_, owner)) =
            self.by_age.first().filter(|(at_ms, _)| at_ms + IDEMPOTENCY_MS <= now_ms).copied()
        {
            self.forget_oldest(owner);
        }
    }

    /// Makes room for one key more, which is `owner`'s.
    fn forget_one(&mut self, owner: Owner) {
        let of_clients = self.len - self.done.get(&Owner::Api).map_or(0, VecDeque::len);
        let half = self.capacity / 2;
        let too_many = if owner == Owner::Api { of_clients > half } else { of_clients >= half };
        let most = self.by_number.last().map(|(_, owner)| *owner).filter(|_| too_many);
        self.forget_oldest(most.unwrap_or(Owner::Api));
    }

    fn forget_oldest(&mut self, owner: Owner) {
        let mut gone = None;
        self.change(owner, |done| gone = done.pop_front());
        if let Some((_, key)) = gone {
            self.len -= 1;
            self.by_key.remove(&key);
        }
    }

    /// Changes somebody's keys, and its place among the others.
    fn change(&mut self, owner: Owner, change: impl FnOnce(&mut VecDeque<(u64, Name)>)) {
        let done = self.done.entry(owner).or_default();
        let place = |done: &VecDeque<(u64, Name)>| (done.front().map(|it| it.0), done.len());
        let (age, number) = place(done);
        change(done);
        let (new_age, new_number) = place(done);
        if new_number == 0 {
            self.done.remove(&owner);
        }
        if age != new_age {
            if let Some(age) = age {
                self.by_age.remove(&(age, owner));
            }
            self.by_age.extend(new_age.map(|age| (age, owner)));
        }
        if owner != Owner::Api {
            self.by_number.remove(&(number, owner));
            if new_number > 0 {
                self.by_number.insert((new_number, owner));
            }
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
        assert!(keys.done(first.clone(), Owner::Api, at(5), 1_000).is_empty());
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
            keys.done(key("a", &number.to_string()), Owner::Api, at(number), number);
        }
        for number in 0..10 {
            let known = keys.look_up(&key("a", &number.to_string()), TO);
            assert_eq!(known, if number < 7 { Known::Not } else { Known::Done(at(number)) });
        }
        assert_eq!((keys.by_key.len(), keys.len), (3, 3));
    }

    #[test]
    fn whoever_has_most_makes_room() {
        let mut keys = Keys::new(100, Key::of(1));
        let mut count = 0;
        let mut add = |keys: &mut Keys, owner: Owner, number: u64| {
            for _ in 0..number {
                count += 1;
                keys.done(key("a", &count.to_string()), owner, at(count), count);
            }
        };
        let number = |keys: &Keys, owner: Owner| keys.done.get(&owner).map_or(0, VecDeque::len);
        let [greedy, modest] = [1, 2].map(Owner::Client);
        add(&mut keys, Owner::Api, 80);
        add(&mut keys, modest, 5);
        add(&mut keys, greedy, 1_000);
        let all = |keys: &Keys| [Owner::Api, modest, greedy].map(|owner| number(keys, owner));
        assert_eq!(all(&keys), [50, 5, 45], "the server API keeps its half, and who has few all");
        add(&mut keys, Owner::Api, 1_000);
        assert_eq!(all(&keys), [50, 5, 45], "and so do the clients");
        for client in 10..1_000 {
            add(&mut keys, Owner::Client(client), 1);
        }
        assert_eq!(number(&keys, Owner::Api), 50);
        assert_eq!((keys.len, keys.by_key.len(), keys.by_age.len()), (100, 100, keys.done.len()));
        keys.forget_old(1_000_000);
        assert!(keys.by_key.is_empty() && keys.done.is_empty() && keys.by_number.is_empty());
        assert_eq!(keys.len, 0);
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
        assert_eq!(keys.done(first.clone(), Owner::Client(1), at(1), 0), [TO, TO]);
        assert_eq!(keys.look_up(&first, TO), Known::Done(at(1)));
    }
}
