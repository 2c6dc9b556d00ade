//! One simulated client's view of its channels: positions, and which publication must come next.
//!
//! Invariant: a position advances by the publications seen, one by one, or by an answer that says
//! explicitly that something was missed.

use super::client::{Around, Client, Sub};
use super::dialect::Dialect;
use super::inbox::LATE_US;
use super::wire::{History, Publication, Push, Subscribed};

impl Client {
    pub(super) fn subscribed(
        &mut self,
        id: u32,
        channel: usize,
        since: Option<(String, u64)>,
        answer: &Subscribed,
        around: &mut Around,
    ) {
        if self.channels[channel].sub != (Sub::Asked { id }) {
            return;
        }
        self.began(channel, since, answer, around);
    }

    /// A subscription has begun, by the client or the server.
    pub(super) fn began(
        &mut self,
        channel: usize,
        since: Option<(String, u64)>,
        answer: &Subscribed,
        around: &mut Around,
    ) {
        let mut offset = answer.offset;
        match since {
            Some(since) => offset = self.recovered(channel, &since, answer, around),
            None if !answer.publications.is_empty() => {
                self.wrong("recovery_not_asked", around, || format!("channel {channel}"));
            }
            None => {}
        }
        let clean_us = around.ledger.clean_us;
        let live_since = around.ledger.tick();
        let state = &mut self.channels[channel];
        state.sub = Sub::Live;
        state.last = None;
        state.live_since = live_since;
        if around.plan.channels[channel].keeps {
            state.position = Some((answer.epoch.clone().into_owned(), offset));
        }
        self.clear_since_us = self.clear_since_us.max(clean_us);
    }

    /// The answer to a recovery: everything that was missed, or a refusal. Returns the new
    /// position.
    fn recovered(
        &mut self,
        channel: usize,
        since: &(String, u64),
        answer: &Subscribed,
        around: &mut Around,
    ) -> u64 {
        if !answer.was_recovering {
            self.wrong("recovery_forgotten", around, || format!("channel {channel} {since:?}"));
        }
        if !answer.recovered {
            if !answer.publications.is_empty() {
                self.wrong("recovery_in_part", around, || format!("channel {channel}"));
            }
            if around.plan.always_recovers {
                self.wrong("recovered_false_needlessly", around, || {
                    format!("channel {channel} {since:?} of {} {}", answer.epoch, answer.offset)
                });
            }
            around.ledger.told += 1;
            return answer.offset;
        }
        if *since != (answer.epoch.clone().into_owned(), answer.offset) {
            self.wrong("recovery_from_elsewhere", around, || {
                format!("channel {channel}: {since:?}, answered {} {}", answer.epoch, answer.offset)
            });
        }
        let filter = self.channels[channel].filter;
        let mut offset = since.1;
        for publication in &answer.publications {
            let next = offset + 1;
            if filter.is_some() && publication.offset >= next {
                self.passed_over(channel, &since.0, next..publication.offset, around);
            } else if publication.offset != next {
                self.wrong("recovery_not_contiguous", around, || {
                    format!("channel {channel}: {} after {offset}", publication.offset)
                });
            }
            offset = publication.offset;
            self.saw(channel, &since.0, publication, around);
        }
        offset
    }

    /// Finds which publication it is.
    fn recognise(
        &self,
        channel: usize,
        publication: &Publication,
        around: &mut Around,
    ) -> Option<u32> {
        let compact = self.dialect == Dialect::MessagePack;
        let number =
            around.ledger.recognise(channel, publication.data.get().as_bytes(), compact)?;
        if !around.ledger.is_tagged(number, &publication.tags) {
            self.wrong("wrong_tags", around, || format!("{number}: {:?}", publication.tags));
        }
        Some(number)
    }

    pub(super) fn push(&mut self, push: &Push, around: &mut Around) {
        let names = &around.plan.channels;
        let Some(channel) = names.iter().position(|one| one.name == push.channel) else {
            return self.wrong("foreign_push", around, || push.channel.to_string());
        };
        if let Some(problem) = &push.unsubscribe {
            return self.unsubscribed(channel, problem.code, around);
        }
        if push.subscribe.is_some() {
            return self.begun_by_the_server(channel, around);
        }
        match self.channels[channel].sub {
            Sub::Live => {}
            Sub::Leaving { .. } => return,
            Sub::Off | Sub::Asked { .. } => {
                return self.wrong("foreign_push", around, || format!("channel {channel}"));
            }
        }
        let Some(publication) = &push.publication else { return };
        if around.plan.channels[channel].keeps {
            self.live_with_offset(channel, publication, around);
        } else {
            self.live_without_offset(channel, publication, around);
        }
    }

    /// The subscription was ended with a code to subscribe again, which SDKs do at once, with their
    /// position.
    fn unsubscribed(&mut self, channel: usize, code: u32, around: &mut Around) {
        let live = self.channels[channel].sub == Sub::Live;
        self.channels[channel].taken_out += 1;
        if code == 2000 && live && around.plan.channels[channel].called {
            around.ledger.judge_farewell(self);
            self.channels[channel].sub = Sub::Off;
            self.channels[channel].live_at_stop = false;
            return;
        }
        if code != 2500 || (live && !around.plan.channels[channel].keeps) {
            self.wrong("unsubscribed", around, || format!("channel {channel}: {code}"));
        }
        if live {
            around.ledger.told += 1;
            self.channels[channel].sub = Sub::Off;
            self.channels[channel].live_at_stop = false;
            self.subscribe(channel, around.plan);
            self.post(around);
        }
    }

    /// The backend has subscribed it.
    fn begun_by_the_server(&mut self, channel: usize, around: &mut Around) {
        if !around.plan.channels[channel].called || self.channels[channel].sub != Sub::Off {
            self.wrong("foreign_push", around, || format!("a subscription to {channel}"));
        }
        let live_since = around.ledger.tick();
        let state = &mut self.channels[channel];
        (state.sub, state.last, state.live_since) = (Sub::Live, None, live_since);
    }

    fn live_with_offset(&mut self, channel: usize, publication: &Publication, around: &mut Around) {
        let Some((epoch, last)) = self.channels[channel].position.take() else { return };
        let offset = publication.offset;
        if offset <= last {
            self.wrong("duplicate", around, || format!("channel {channel}: {offset} at {last}"));
        } else if offset != last + 1 && !self.excuses(channel, &epoch, last + 1..offset, around) {
            self.wrong("hole", around, || format!("channel {channel}: {offset} at {last}"));
        }
        let number = self.saw(channel, &epoch, publication, around);
        self.judge_exclusion(number, around);
        self.channels[channel].position = Some((epoch, offset.max(last)));
        if let Some(number) = number {
            self.judge_delay(channel, number, around);
        }
    }

    fn live_without_offset(
        &mut self,
        channel: usize,
        publication: &Publication,
        around: &mut Around,
    ) {
        if publication.offset != 0 {
            self.wrong("offset_without_history", around, || format!("channel {channel}"));
        }
        let Some(number) = self.recognise(channel, publication, around) else {
            return;
        };
        self.see_once(channel, number, publication, around);
        self.judge_exclusion(Some(number), around);
        let before = self.channels[channel].last.replace(number);
        // Its own publications, which it does not receive, are between those that it receives.
        if let Some(before) = before
            && !around.plan.lossy
            && self.channels[channel].unheard == 0
            && self.channels[channel].filter.is_none()
        {
            around.ledger.seen_after(channel, before, number);
        }
        self.judge_delay(channel, number, around);
    }

    /// It must not receive live what it published only for others.
    fn judge_exclusion(&self, number: Option<u32>, around: &mut Around) {
        let Some(number) = number else { return };
        let from = (self.index, self.connection);
        if around.ledger.is_excluded(number, from) {
            self.wrong("own_publication_told", around, || format!("{number}"));
        }
        let of = &around.ledger.publications[number as usize];
        if of.acknowledged && (of.client, of.connection) == from {
            self.wrong("own_heard_after_the_answer", around, || format!("{number}"));
        }
    }

    /// Records a publication at its position.
    fn saw(
        &mut self,
        channel: usize,
        epoch: &str,
        publication: &Publication,
        around: &mut Around,
    ) -> Option<u32> {
        let number = self.recognise(channel, publication, around)?;
        around.ledger.seen_at(channel, epoch, publication.offset, number);
        self.see_once(channel, number, publication, around);
        Some(number)
    }

    fn see_once(
        &mut self,
        channel: usize,
        number: u32,
        publication: &Publication,
        around: &mut Around,
    ) {
        around.ledger.deliveries += 1;
        let of = &around.ledger.publications[number as usize];
        if of.refused || of.silent {
            self.wrong("heard_though_not_sent", around, || format!("{number} in {channel}"));
        }
        let is_forgotten = around.ledger.publications[number as usize].forgotten;
        let was_seen = self.mark_seen(number);
        let keeps = around.plan.channels[channel].keeps;
        let was_seen =
            if keeps { was_seen && !is_forgotten } else { !self.seen_here.insert(number) };
        if was_seen {
            self.wrong("publication_seen_twice", around, || format!("{number} in {channel}"));
        }
        if around.ledger.is_filtered(number, self.channels[channel].filter) {
            self.wrong("filtered_publication_told", around, || format!("{number} in {channel}"));
        }
        let told = publication.info.as_ref().map_or("", |info| info.client.as_ref());
        if !around.ledger.published_by(number, told) {
            self.wrong("wrong_publisher", around, || format!("{number}: {told}"));
        }
    }

    /// Sets a publication's bit; was it set already?
    fn mark_seen(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let before = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        before
    }

    /// Did this client see a publication?
    #[must_use]
    pub fn has_seen(&self, number: u32) -> bool {
        self.seen.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// A delivery must be in time, unless this client itself caused the delay.
    fn judge_delay(&mut self, channel: usize, number: u32, around: &mut Around) {
        let short = self.link.is_some_and(|link| around.net.links[link].was_short);
        if around.plan.lossy || self.slow || short {
            return;
        }
        let Some(ordered_us) = around.ledger.publications[number as usize].ordered_us else {
            return;
        };
        let late_us = around.ledger.clean_us - ordered_us.max(self.clear_since_us);
        around.ledger.latest_us = around.ledger.latest_us.max(late_us);
        if late_us > LATE_US {
            self.wrong("late_delivery", around, || {
                format!("{number} in channel {channel} after {late_us} us")
            });
        }
    }

    pub(super) fn history_came(&mut self, channel: usize, answer: &History, around: &mut Around) {
        let mut last = None;
        for publication in &answer.publications {
            if last.is_some_and(|last| publication.offset != last + 1)
                || publication.offset > answer.offset
            {
                self.wrong("history_not_contiguous", around, || format!("channel {channel}"));
            }
            last = Some(publication.offset);
            if let Some(number) = self.recognise(channel, publication, around) {
                around.ledger.seen_at(channel, &answer.epoch, publication.offset, number);
            }
        }
    }
}
