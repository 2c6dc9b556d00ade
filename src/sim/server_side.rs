//! Subscriptions that a simulated client did not ask for: its user's personal channel, which comes
//! with connect.
//!
//! Invariant: it treats them as SDKs do: it sends its positions at connect, and never subscribes to
//! one.

use super::client::{Around, Client, Sub};
use super::wire::Connected;
use std::fmt::Write;

/// A channel, and the epoch and offset that its client saw last.
pub type Since = (usize, (String, u64));

impl Client {
    /// Does the server subscribe this client to a channel?
    #[must_use]
    fn is_given(&self, channel: usize, around: &Around) -> bool {
        let user = around.plan.channels[channel].user;
        user.is_some() && user == self.user
    }

    /// Is it allowed to do anything in a channel?
    pub(super) fn is_let_in(&self, channel: usize, around: &Around) -> bool {
        let plan = &around.plan.channels[channel];
        !plan.called && plan.user.is_none_or(|user| Some(user) == self.user)
    }

    /// Its positions in server-side subscriptions, as connect sends them.
    pub(super) fn positions(&self, around: &Around) -> (String, Vec<Since>) {
        let given = (0..self.channels.len()).filter(|channel| self.is_given(*channel, around));
        let known: Vec<_> = given
            .filter_map(|channel| Some((channel, self.channels[channel].position.clone()?)))
            .collect();
        let mut text = String::new();
        for (at, (channel, (epoch, offset))) in known.iter().enumerate() {
            let name = &around.plan.channels[*channel].name;
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(
                text,
                "{comma}\"{name}\":{{\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}}}"
            );
        }
        let subs = if text.is_empty() { text } else { format!(",\"subs\":{{{text}}}") };
        (subs, known)
    }

    /// Connect is answered: exactly its own subscriptions must have begun.
    pub(super) fn given(&mut self, since: &[Since], answer: &Connected, around: &mut Around) {
        let mut told = 0;
        for channel in 0..self.channels.len() {
            if !self.is_given(channel, around) {
                continue;
            }
            let name = around.plan.channels[channel].name.clone();
            let Some(subscribed) = answer.subs.get(name.as_str()) else {
                self.wrong("not_subscribed_by_the_server", around, || name);
                continue;
            };
            told += 1;
            let since = since.iter().find(|(of, _)| *of == channel).map(|(_, since)| since.clone());
            if self.channels[channel].sub != Sub::Off {
                self.wrong("subscribed_twice", around, || name);
            }
            self.began(channel, since, subscribed, around);
        }
        if told != answer.subs.len() {
            self.wrong("foreign_subscription", around, || format!("{:?}", answer.subs.keys()));
        }
    }

    /// May the server have closed it with a code to reconnect, because something was missed?
    #[must_use]
    pub fn may_have_missed(&self, around: &Around) -> bool {
        around.plan.lossy && (0..self.channels.len()).any(|channel| self.is_given(channel, around))
    }
}
