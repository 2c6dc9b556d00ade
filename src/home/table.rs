//! The channels of one home, by name and by place, and their local ids for each core.
//!
//! Invariant: a place is reused only after its channel was removed, and a local id only after the
//! core's interest was withdrawn.

use super::channel::{Channel, Interest};
use super::numberings::Numbering;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position};
use crate::hashing::{Key, Keyed};
use crate::namespace::ChannelOptions;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// Local ids of one core, dense; freed ones are reused first.
#[derive(Clone, Debug, Default)]
struct Locals {
    free: Vec<u32>,
    next: u32,
}

/// The channels of one home.
#[derive(Debug)]
pub struct Channels {
    by_name: HashMap<Name, u32, Keyed>,
    places: Vec<Option<Channel>>,
    free: Vec<u32>,
    locals: Vec<Locals>,
    capacity: usize,
    /// Makes epochs.
    epoch_hasher: Keyed,
    /// Epochs made so far.
    epochs: u64,
    /// Channels made so far, including those that existed before.
    made: u64,
    /// Channels with subscribers.
    subscribed: usize,
}

/// Epochs are written as eight letters.
const EPOCHS: u64 = 26u64.pow(8);

impl Channels {
    #[must_use]
    pub fn new(cores: usize, capacity: u32, (names, epochs): (Key, Key)) -> Channels {
        Channels {
            by_name: HashMap::with_hasher(Keyed::new(names)),
            places: Vec::new(),
            free: Vec::new(),
            locals: vec![Locals::default(); cores],
            capacity: capacity as usize,
            epoch_hasher: Keyed::new(epochs),
            epochs: 0,
            made: 0,
            subscribed: 0,
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Is the table full?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.by_name.len() >= self.capacity
    }

    /// The start of a new numbering.
    pub fn new_position(&mut self) -> Position {
        self.epochs += 1;
        Position { epoch: Epoch(self.epoch_hasher.hash_one(self.epochs) % EPOCHS), offset: 0 }
    }

    /// Adds a channel that is not there, with its earlier numbering if there is one.
    pub fn add(&mut self, name: &Name, options: &ChannelOptions, known: Option<Numbering>) -> u32 {
        debug_assert!(
            self.find(name.as_str()).is_none() && !self.is_full(),
            "there is room for it"
        );
        self.made += 1;
        let (position, version) = match known {
            Some(Numbering { position, version }) => (position, version),
            None => (self.new_position(), None),
        };
        let mut channel = Channel::new(name.clone(), position, self.made, options);
        channel.version = version;
        let channel = Some(channel);
        let place = if let Some(place) = self.free.pop() {
            self.places[place as usize] = channel;
            place
        } else {
            self.places.push(channel);
            u32::try_from(self.places.len() - 1).expect("the table is bounded")
        };
        self.by_name.insert(name.clone(), place);
        place
    }

    /// Removes a channel.
    ///
    /// # Panics
    /// If it is not there, or has subscribers.
    pub fn remove(&mut self, place: u32) -> Channel {
        let channel = self.places[place as usize].take().expect("only a channel there is removed");
        assert!(channel.interest.is_empty(), "nobody listens to a channel that is removed");
        self.by_name.remove(&channel.name);
        self.free.push(place);
        channel
    }

    /// The channel at a place in use.
    ///
    /// # Panics
    /// If the place is not in use.
    pub fn at(&mut self, place: u32) -> &mut Channel {
        self.places[place as usize].as_mut().expect("the place is taken")
    }

    /// The channel at a place, if it is in use.
    #[must_use]
    pub fn get(&self, place: u32) -> Option<&Channel> {
        self.places.get(place as usize).and_then(Option::as_ref)
    }

    /// Counts one more Subscribe of a core, and returns the channel's local id.
    pub fn add_pair(&mut self, place: u32, core: u16) -> u32 {
        if let Some(interest) = self.at(place).interest_of(core) {
            interest.pairs += 1;
            return interest.local;
        }
        let locals = &mut self.locals[usize::from(core)];
        let local = locals.free.pop().unwrap_or_else(|| {
            locals.next += 1;
            locals.next - 1
        });
        self.subscribed += usize::from(self.at(place).interest.is_empty());
        self.at(place).interest.push(Interest { core, local, pairs: 1 });
        local
    }

    /// Counts one Subscribe less; the last one withdraws the core's interest and frees its local
    /// id.
    pub fn remove_pair(&mut self, place: u32, core: u16) {
        let channel = self.at(place);
        let Some(index) = channel.interest.iter().position(|interest| interest.core == core) else {
            debug_assert!(false, "an Unsubscribe without its Subscribe");
            return;
        };
        channel.interest[index].pairs -= 1;
        if channel.interest[index].pairs == 0 {
            let interest = channel.interest.swap_remove(index);
            let last = channel.interest.is_empty();
            self.subscribed -= usize::from(last);
            self.locals[usize::from(core)].free.push(interest.local);
        }
    }

    /// Channels with subscribers.
    #[must_use]
    pub fn subscribed(&self) -> usize {
        self.subscribed
    }

    /// Channels made so far, including those that are gone.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Number of places that are or were in use.
    #[must_use]
    pub fn places(&self) -> u32 {
        u32::try_from(self.places.len()).expect("the table is bounded")
    }
}
