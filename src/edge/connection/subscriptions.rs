//! A connection's subscriptions: most connections have one, which is stored inline. With many, each
//! is found by its channel in a table, so that neither a delivery nor leaving takes longer.
//!
//! Must not know channels. Invariants: a channel is in it once; only `owe` marks a subscription as
//! owed, so that owed ones are found without visiting the others.
//!
//! Bytes for each subscription besides the connection: 0 for a single one; 16 to 32 for up to
//! `FEW`, and 22 to 44 above that, depending on how far list and table have grown.

use crate::edge::connection::{Subscription, SubscriptionState};
use crate::indexed::{FEW, Indexed, Of};

/// The subscriptions of one connection.
#[derive(Debug, Default)]
pub enum Subscriptions {
    #[default]
    None,
    One(Subscription),
    Few(Vec<Subscription>),
    Many(Box<Many>),
}

const _: () = assert!(size_of::<Subscriptions>() == 24, "every connection has it");

impl Of for Subscription {
    type Of = u32;

    fn of(&self) -> u32 {
        self.channel
    }
}

/// Those of a connection that has many.
#[derive(Debug)]
pub struct Many {
    all: Indexed<Subscription>,
    /// Channels of the subscriptions that are owed.
    owed: Vec<u32>,
}

impl Many {
    fn remove(&mut self, channel: u32) -> Option<Subscription> {
        let gone = self.all.remove(channel)?;
        if gone.state == SubscriptionState::Owed {
            // Usually it is the last, because owed ones are taken from the end.
            let at = self.owed.iter().rposition(|owed| *owed == channel);
            self.owed.swap_remove(at.expect("what is owed is noted"));
        }
        Some(gone)
    }
}

impl Subscriptions {
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// All of them, in no particular order.
    #[must_use]
    pub fn as_slice(&self) -> &[Subscription] {
        match self {
            Subscriptions::None => &[],
            Subscriptions::One(it) => std::slice::from_ref(it),
            Subscriptions::Few(list) => list,
            Subscriptions::Many(many) => many.all.as_slice(),
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Subscription> {
        self.as_slice().iter()
    }

    fn place(&self, channel: u32) -> Option<usize> {
        match self {
            Subscriptions::Many(many) => many.all.place(channel),
            few => few.iter().position(|it| it.channel == channel),
        }
    }

    /// The subscription to a channel.
    #[must_use]
    pub fn get(&self, channel: u32) -> Option<&Subscription> {
        Some(&self.as_slice()[self.place(channel)?])
    }

    /// The same, mutable.
    pub fn get_mut(&mut self, channel: u32) -> Option<&mut Subscription> {
        let place = self.place(channel)?;
        match self {
            Subscriptions::None => None,
            Subscriptions::One(it) => Some(it),
            Subscriptions::Few(list) => list.get_mut(place),
            Subscriptions::Many(many) => many.all.at(place),
        }
    }

    /// Adds a subscription to a channel that has none yet.
    pub fn push(&mut self, it: Subscription) {
        debug_assert!(self.place(it.channel).is_none(), "one of each channel");
        match self {
            Subscriptions::None => *self = Subscriptions::One(it),
            Subscriptions::One(first) => *self = Subscriptions::Few(vec![*first, it]),
            Subscriptions::Few(list) if list.len() < FEW => list.push(it),
            Subscriptions::Few(list) => {
                let owed = list.iter().filter(|it| it.state == SubscriptionState::Owed);
                let owed = owed.map(|it| it.channel).collect();
                let mut all = Indexed::from(std::mem::take(list));
                all.push(it);
                *self = Subscriptions::Many(Box::new(Many { all, owed }));
            }
            Subscriptions::Many(many) => many.all.push(it),
        }
    }

    /// Removes the subscription to a channel.
    pub fn remove(&mut self, channel: u32) -> Option<Subscription> {
        let place = self.place(channel)?;
        let gone = match self {
            Subscriptions::None => return None,
            Subscriptions::One(it) => *it,
            Subscriptions::Few(list) => list.swap_remove(place),
            Subscriptions::Many(many) => many.remove(channel)?,
        };
        let fewer = match self {
            Subscriptions::None | Subscriptions::One(_) => Some(Subscriptions::None),
            Subscriptions::Few(list) if list.len() == 1 => Some(Subscriptions::One(list[0])),
            Subscriptions::Many(many) if many.all.as_slice().len() <= FEW / 4 => {
                Some(Subscriptions::Few(many.all.take()))
            }
            _ => None,
        };
        if let Some(fewer) = fewer {
            *self = fewer;
        }
        Some(gone)
    }

    /// The subscription to a channel has ended, and its Unsubscribe is still to be pushed.
    pub fn owe(&mut self, channel: u32) {
        let Some(it) = self.get_mut(channel) else { return };
        let before = std::mem::replace(&mut it.state, SubscriptionState::Owed);
        if let Subscriptions::Many(many) = self
            && before != SubscriptionState::Owed
        {
            many.owed.push(channel);
        }
    }

    /// A subscription whose Unsubscribe has to be pushed.
    #[must_use]
    pub fn next_owed(&self) -> Option<Subscription> {
        match self {
            Subscriptions::Many(many) => {
                many.owed.last().map(|channel| *self.get(*channel).expect("what is owed is there"))
            }
            few => few.iter().find(|it| it.state == SubscriptionState::Owed).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Traits;
    use super::*;
    use crate::edge::channels::NO_FILTER;

    fn subscription(channel: u32) -> Subscription {
        let (state, traits) = (SubscriptionState::Active, Traits::default());
        Subscription { channel, sequence: channel + 7, place: 0, state, traits, filter: NO_FILTER }
    }

    fn channels(all: &Subscriptions) -> Vec<u32> {
        let mut channels: Vec<u32> = all.iter().map(|it| it.channel).collect();
        channels.sort_unstable();
        channels
    }

    /// Every size and every order of leaving, compared with a plain list.
    #[test]
    fn it_says_what_a_list_would() {
        for most in [1, 2, 3, FEW, FEW + 1, 2 * FEW] {
            let mut all = Subscriptions::default();
            let mut plain: Vec<u32> = Vec::new();
            let mut owed: Vec<u32> = Vec::new();
            for round in 0..4 * most {
                let number = u32::try_from(round).unwrap();
                if plain.len() < most {
                    all.push(subscription(number * 3));
                    plain.push(number * 3);
                }
                if round % 3 == 0 {
                    let channel = plain[round * 5 % plain.len()];
                    all.owe(channel);
                    if !owed.contains(&channel) {
                        owed.push(channel);
                    }
                }
                if plain.len() == most {
                    let gone = plain.swap_remove(round * 7 % most);
                    owed.retain(|channel| *channel != gone);
                    assert_eq!(all.remove(gone).map(|it| it.sequence), Some(gone + 7));
                    assert!(all.get(gone).is_none() && all.remove(gone).is_none());
                }
                assert_eq!(all.next_owed().is_some(), !owed.is_empty());
                let next = all.next_owed().map(|it| it.channel);
                assert!(next.is_none_or(|channel| owed.contains(&channel)));
                for channel in &plain {
                    assert_eq!(all.get(*channel).map(|it| it.channel), Some(*channel));
                    assert_eq!(all.get_mut(*channel).map(|it| it.channel), Some(*channel));
                }
                let mut sorted = plain.clone();
                sorted.sort_unstable();
                assert_eq!((channels(&all), all.len()), (sorted, plain.len()));
            }
            while let Some(gone) = plain.pop() {
                assert!(all.remove(gone).is_some());
            }
            assert!(matches!(all, Subscriptions::None) && all.is_empty());
        }
    }
}
