//! The channels that connections of this edge are subscribed to, and the local ids by which homes
//! know them.
//!
//! Invariant (rule 9): a channel is here while more Subscribes than Unsubscribes were pushed, or
//! one waits to be pushed; its local id is mapped from the first Subscribed answer until the last
//! pair is taken back.

pub mod filters;
mod variant;

use crate::contract::name::Name;
use crate::hashing::{Key, Keyed};
use crate::rules::sabotage;
use std::collections::HashMap;
use variant::FRESH;

pub use variant::{Form, Variant};

/// One subscriber in a channel's dense list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Index of the connection's place.
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
    /// Its number on its home, once it is known.
    pub local: Option<u32>,
    /// Subscribes pushed less Unsubscribes pushed and Subscribes refused.
    pub pairs: u32,
    /// Subscriptions whose Subscribe waits for its lane; they keep the channel too.
    pub parked: u32,
    /// The offset of the last publication in lane order; `None` after a loss was declared.
    pub last: Option<u64>,
    /// Do clients see offsets?
    pub keeps_history: bool,
    /// Index of its namespace in the metrics.
    pub namespace: u8,
    pub subscribers: Vec<Subscriber>,
    /// Number of subscribers with each variant.
    variants: [u32; Variant::COUNT],
    /// The variants in use, one bit each.
    in_use: u32,
    /// Number of subscribers with a filter.
    filtered: u32,
    /// Highest cost of evaluating all their filters for one publication, in nanoseconds.
    pub filters_ns: usize,
}

/// How a publication relates to the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the next, as far as is known.
    Next,
    /// It was delivered already.
    Repeated,
    /// Publications before it are missing.
    Gap,
}

impl EdgeChannel {
    /// How the publication with this offset relates to the last; offset 0: its channel has none.
    #[must_use]
    pub fn arrival(&self, offset: u64) -> Arrival {
        match self.last.filter(|_| offset > 0) {
            None => Arrival::Next,
            Some(last) if offset <= last => Arrival::Repeated,
            Some(last) if offset == last + 1 => Arrival::Next,
            Some(_) => Arrival::Gap,
        }
    }

    /// Adds a subscriber and returns its index.
    pub fn add_subscriber(&mut self, subscriber: Subscriber) -> u32 {
        let place = u32::try_from(self.subscribers.len()).expect("connections are bounded");
        self.count_variant(subscriber.variant, 1);
        self.filtered += u32::from(subscriber.filter != NO_FILTER);
        self.subscribers.push(subscriber);
        place
    }

    /// Counts one subscriber more or less with a variant.
    fn count_variant(&mut self, variant: Variant, by: i32) {
        let count = &mut self.variants[variant.index()];
        *count = count.checked_add_signed(by).expect("subscribers are counted once");
        let bit = 1 << variant.index();
        self.in_use = if *count > 0 { self.in_use | bit } else { self.in_use & !bit };
    }

    /// Removes the subscriber at an index; the last one moves there.
    pub fn remove_subscriber(&mut self, place: u32) -> Subscriber {
        let removed = self.subscribers.swap_remove(place as usize);
        self.count_variant(removed.variant, -1);
        self.filtered -= u32::from(removed.filter != NO_FILTER);
        removed
    }

    /// The variants of its subscribers.
    pub fn variants(&self) -> impl Iterator<Item = Variant> + use<> {
        let mut left = self.in_use;
        std::iter::from_fn(move || {
            let next = u8::try_from(left.trailing_zeros()).expect("below 33");
            left &= left.wrapping_sub(1);
            (usize::from(next) < Variant::COUNT).then_some(Variant(next))
        })
    }

    /// Does any subscriber have a filter?
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.filtered > 0
    }

    /// The variant of all subscribers, if they have the same one and no filter.
    #[must_use]
    pub fn only_variant(&self) -> Option<Variant> {
        let first = self.subscribers.first()?.variant;
        let alike = self.variants[first.index()] as usize == self.subscribers.len();
        (alike && self.filtered == 0).then_some(first)
    }

    /// Subscribers that were sent a publication in full now have the base of the next delta.
    pub fn settle_fresh(&mut self) {
        if self.in_use & FRESH == 0 {
            return;
        }
        let mut subscribers = std::mem::take(&mut self.subscribers);
        for subscriber in &mut subscribers {
            if subscriber.variant.form() == Form::Fresh {
                self.count_variant(subscriber.variant, -1);
                subscriber.variant = subscriber.variant.in_form(Form::Delta);
                self.count_variant(subscriber.variant, 1);
            }
        }
        self.subscribers = subscribers;
    }

    /// Number of variants in use, at least one.
    #[must_use]
    pub fn variants_in_use(&self) -> usize {
        self.in_use.count_ones().max(1) as usize
    }
}

/// The number by which pushes name the channel at a place, above 0. It is valid on this edge as
/// long as a connection here is subscribed; a connection gets it in each subscribe reply.
#[must_use]
pub fn number_of(place: u32) -> u32 {
    place + 1
}

/// The channels of one edge.
#[derive(Debug)]
pub struct EdgeChannels {
    by_name: HashMap<Name, u32, Keyed>,
    places: Vec<Option<EdgeChannel>>,
    free: Vec<u32>,
    /// By home: local id to place.
    locals: Vec<Vec<Option<u32>>>,
}

impl EdgeChannels {
    #[must_use]
    pub fn new(homes: usize, key: Key) -> EdgeChannels {
        EdgeChannels {
            by_name: HashMap::with_hasher(Keyed::new(key)),
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

    pub fn find_or_add(
        &mut self,
        name: &str,
        home: u16,
        keeps_history: bool,
        namespace: u8,
    ) -> u32 {
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
            namespace,
            subscribers: Vec::new(),
            variants: [0; Variant::COUNT],
            in_use: 0,
            filtered: 0,
            filters_ns: 0,
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

    /// The channel at a place in use.
    ///
    /// # Panics
    /// If the place is not in use.
    pub fn at(&mut self, place: u32) -> &mut EdgeChannel {
        self.places[place as usize].as_mut().expect("the place is taken")
    }

    #[must_use]
    pub fn get(&self, place: u32) -> Option<&EdgeChannel> {
        self.places.get(place as usize).and_then(Option::as_ref)
    }

    /// The channel with a home's local id; `None` once the interest was withdrawn.
    #[must_use]
    pub fn mapped(&self, home: u16, local: u32) -> Option<u32> {
        self.locals[usize::from(home)].get(local as usize).copied().flatten()
    }

    /// Stores a channel's local id from a Subscribed answer.
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

    /// Removes a channel's local id after the interest was withdrawn.
    pub fn unmap(&mut self, place: u32) {
        let channel = self.at(place);
        let home = usize::from(channel.home);
        if let Some(local) = channel.local.take() {
            channel.last = None;
            self.locals[home][local as usize] = None;
        }
    }

    /// Counts one pair less; at zero the channel is unmapped and removed.
    pub fn remove_pair(&mut self, place: u32) {
        let channel = self.at(place);
        assert!(channel.pairs > 0, "a pair is taken back once");
        channel.pairs -= 1;
        sabotage!(CountSubs => channel.forget_pairs_without_members());
        if channel.pairs == 0 {
            self.unmap(place);
            self.forget_if_unused(place);
        }
    }

    /// Removes a channel that has no pairs, no subscribers, and no subscription that waits to be
    /// pushed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;

    #[test]
    fn variants_are_counted_and_told_apart() {
        let mut channels = EdgeChannels::new(1, crate::hashing::Key::of(1));
        let place = channels.find_or_add("c", 0, true, 0);
        let channel = channels.at(place);
        let mut all = Vec::new();
        for codec in Codec::ALL {
            for form in Variant::FORMS {
                for numbered in [false, true] {
                    let variant = Variant::new(codec, form, numbered);
                    let said = (variant.codec(), variant.form(), variant.is_numbered());
                    assert_eq!(said, (codec, form, numbered));
                    let subscriber = Subscriber {
                        connection: u32::try_from(all.len()).unwrap(),
                        variant,
                        join_leave: false,
                        filter: NO_FILTER,
                    };
                    channel.add_subscriber(subscriber);
                    all.push(variant);
                }
            }
        }
        assert_eq!(channel.variants().collect::<Vec<_>>(), all);
        assert_eq!(channel.variants_in_use(), Variant::COUNT);
        // A subscriber that was sent a publication in full receives deltas next, with the same
        // naming.
        channel.settle_fresh();
        all.retain(|variant| variant.form() != Form::Fresh);
        assert_eq!(channel.variants().collect::<Vec<_>>(), all);
        let last = channel.subscribers.last().unwrap().variant;
        assert_eq!((last.form(), last.is_numbered()), (Form::Delta, true));
        while !channel.subscribers.is_empty() {
            channel.remove_subscriber(0);
        }
        assert_eq!((channel.variants().count(), channel.variants_in_use()), (0, 1));
        assert_eq!(number_of(place), 1, "0 is none");
    }
}
