//! The channels that connections of this edge are subscribed to, and the local ids homes know them
//! by.
//!
//! Invariant (rule 9): a channel is here while Subscribes pushed exceed Unsubscribes pushed, or one
//! waits to be pushed; its local id is mapped from the first Subscribed answer until the last pair
//! is taken back.

use crate::codec::Codec;
use crate::home::name::Name;
use crate::rules::{Rule, holds};
use foldhash::quality::FixedState;
use std::collections::HashMap;

/// What a subscriber has of a channel's publications, which decides what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Publications as they are.
    Plain,
    /// It wants deltas, and has the publication before.
    Delta,
    /// It wants deltas, and does not have the publication before: the next comes in full.
    Fresh,
}

/// How deliveries are framed for a subscriber. Each that some subscriber of a channel has is
/// written once per delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant(u8);

impl Variant {
    /// How many there are.
    pub const COUNT: usize = Codec::ALL.len() * Variant::FORMS.len();
    const FORMS: [Form; 3] = [Form::Plain, Form::Delta, Form::Fresh];

    #[must_use]
    pub fn new(codec: Codec, form: Form) -> Variant {
        Variant(codec as u8 * Variant::FORMS.len() as u8 + form as u8)
    }

    #[must_use]
    pub fn codec(self) -> Codec {
        Codec::ALL[self.index() / Variant::FORMS.len()]
    }

    #[must_use]
    pub fn form(self) -> Form {
        Variant::FORMS[self.index() % Variant::FORMS.len()]
    }

    /// Every one.
    pub fn all() -> impl Iterator<Item = Variant> {
        (0..Variant::COUNT as u8).map(Variant)
    }

    /// Its place in a table of `COUNT`.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One subscriber in a channel's dense list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection's place.
    pub connection: u32,
    pub variant: Variant,
    /// Wants joins and leaves.
    pub join_leave: bool,
    /// Its filter's number, or `NO_FILTER`.
    pub filter: u16,
}

/// No filter.
pub const NO_FILTER: u16 = u16::MAX;

/// A channel at an edge.
#[derive(Debug)]
pub struct EdgeChannel {
    pub name: Name,
    pub home: u16,
    /// Its number on its home, once that is known.
    pub local: Option<u32>,
    /// Subscribes pushed less Unsubscribes pushed and Subscribes refused.
    pub pairs: u32,
    /// Subscriptions whose Subscribe waits for its lane: they hold the channel too.
    pub parked: u32,
    /// The offset of the last publication in lane order; none after a loss was declared.
    pub last: Option<u64>,
    /// Do clients see offsets?
    pub keeps_history: bool,
    pub subscribers: Vec<Subscriber>,
    /// How many of them have each variant.
    variants: [u32; Variant::COUNT],
    /// How many of them have a filter.
    filtered: u32,
}

impl EdgeChannel {
    /// Adds a subscriber; gives its place.
    pub fn add_subscriber(&mut self, subscriber: Subscriber) -> u32 {
        let place = u32::try_from(self.subscribers.len()).expect("connections are bounded");
        self.variants[subscriber.variant.index()] += 1;
        self.filtered += u32::from(subscriber.filter != NO_FILTER);
        self.subscribers.push(subscriber);
        place
    }

    /// Takes out the subscriber at a place, which the last one takes over.
    pub fn remove_subscriber(&mut self, place: u32) -> Subscriber {
        let removed = self.subscribers.swap_remove(place as usize);
        self.variants[removed.variant.index()] -= 1;
        self.filtered -= u32::from(removed.filter != NO_FILTER);
        removed
    }

    /// Has any subscriber this variant?
    #[must_use]
    pub fn has_variant(&self, variant: Variant) -> bool {
        self.variants[variant.index()] > 0
    }

    /// Has any subscriber a filter?
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.filtered > 0
    }

    /// The variant that all subscribers have, if they are alike and none has a filter.
    #[must_use]
    pub fn only_variant(&self) -> Option<Variant> {
        let first = self.subscribers.first()?.variant;
        let alike = self.variants[first.index()] as usize == self.subscribers.len();
        (alike && self.filtered == 0).then_some(first)
    }

    /// Subscribers that were sent a publication in full have what the next delta is against.
    pub fn settle_fresh(&mut self) {
        let codecs = Codec::ALL;
        if !codecs.iter().any(|codec| self.has_variant(Variant::new(*codec, Form::Fresh))) {
            return;
        }
        for subscriber in &mut self.subscribers {
            if subscriber.variant.form() == Form::Fresh {
                self.variants[subscriber.variant.index()] -= 1;
                subscriber.variant = Variant::new(subscriber.variant.codec(), Form::Delta);
                self.variants[subscriber.variant.index()] += 1;
            }
        }
    }

    /// The variants that its subscribers have, one at least.
    #[must_use]
    pub fn variants_in_use(&self) -> usize {
        self.variants.iter().filter(|count| **count > 0).count().max(1)
    }
}

/// The channels of one edge.
#[derive(Debug)]
pub struct EdgeChannels {
    by_name: HashMap<Name, u32, FixedState>,
    places: Vec<Option<EdgeChannel>>,
    free: Vec<u32>,
    /// By home: local id to place.
    locals: Vec<Vec<Option<u32>>>,
}

impl EdgeChannels {
    #[must_use]
    pub fn new(homes: usize, seed: u64) -> EdgeChannels {
        EdgeChannels {
            by_name: HashMap::with_hasher(FixedState::with_seed(seed)),
            places: Vec::new(),
            free: Vec::new(),
            locals: vec![Vec::new(); homes],
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub fn find_or_add(&mut self, name: &str, home: u16, keeps_history: bool) -> u32 {
        if let Some(place) = self.find(name) {
            return place;
        }
        let name = Name::from(name);
        let channel = Some(EdgeChannel {
            name: name.clone(),
            home,
            local: None,
            pairs: 0,
            parked: 0,
            last: None,
            keeps_history,
            subscribers: Vec::new(),
            variants: [0; Variant::COUNT],
            filtered: 0,
        });
        let place = if let Some(place) = self.free.pop() {
            self.places[place as usize] = channel;
            place
        } else {
            self.places.push(channel);
            u32::try_from(self.places.len() - 1).expect("the table is bounded")
        };
        self.by_name.insert(name, place);
        place
    }

    /// The channel at a place that is known to be taken.
    ///
    /// # Panics
    /// When it is not.
    pub fn at(&mut self, place: u32) -> &mut EdgeChannel {
        self.places[place as usize].as_mut().expect("the place is taken")
    }

    #[must_use]
    pub fn get(&self, place: u32) -> Option<&EdgeChannel> {
        self.places.get(place as usize).and_then(Option::as_ref)
    }

    /// The channel that a home means by a local id; none once the interest was withdrawn.
    #[must_use]
    pub fn mapped(&self, home: u16, local: u32) -> Option<u32> {
        self.locals[usize::from(home)].get(local as usize).copied().flatten()
    }

    /// Learns a channel's local id from a Subscribed answer.
    pub fn map(&mut self, place: u32, local: u32) {
        let channel = self.at(place);
        debug_assert!(channel.local.is_none_or(|known| known == local), "one id at a time");
        channel.local = Some(local);
        let home = usize::from(channel.home);
        let locals = &mut self.locals[home];
        let index = local as usize;
        if locals.len() <= index {
            locals.resize(index + 1, None);
        }
        locals[index] = Some(place);
    }

    /// Forgets what a channel's home calls it: its interest was withdrawn.
    pub fn unmap(&mut self, place: u32) {
        let channel = self.at(place);
        let home = usize::from(channel.home);
        if let Some(local) = channel.local.take() {
            channel.last = None;
            self.locals[home][local as usize] = None;
        }
    }

    /// One pair less; at zero the channel is unmapped and forgotten.
    pub fn remove_pair(&mut self, place: u32) {
        let channel = self.at(place);
        assert!(channel.pairs > 0, "a pair is taken back once");
        channel.pairs -= 1;
        let last_member = channel.subscribers.is_empty() && !holds(Rule::CountSubs);
        if last_member {
            // With the last member, whoever else has asked.
            (channel.pairs, channel.parked) = (0, 0);
        }
        if channel.pairs == 0 {
            self.unmap(place);
            self.forget_if_unused(place);
        }
    }

    /// Forgets a channel that has neither pairs nor subscribers, nor anybody who waits to ask for
    /// it.
    pub fn forget_if_unused(&mut self, place: u32) {
        let Some(channel) = self.get(place) else { return };
        if channel.pairs == 0 && channel.parked == 0 && channel.subscribers.is_empty() {
            let channel = self.places[place as usize].take().expect("it is there");
            self.by_name.remove(&channel.name);
            self.free.push(place);
        }
    }

    /// Every channel, in the order of places.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &EdgeChannel)> {
        (0_u32..).zip(&self.places).filter_map(|(place, channel)| Some((place, channel.as_ref()?)))
    }
}
