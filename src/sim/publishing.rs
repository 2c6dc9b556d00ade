//! How a simulated client publishes: now and then twice with one key, or not for itself.
//!
//! Must not know what comes of it but by answers. Invariant: what it publishes with a key it
//! publishes again on the same connection alone, so that it is known whose it is.

use super::client::{Around, Channel, Client, Sub};
use super::dialect::Dialect;
use super::ledger::{Ledger, Publication};
use super::plan::Plan;
use super::waiting::{Standing, Waiting};
use std::io::Write;

/// Publications with a key that may be repeated later.
const REMEMBERED: usize = 4;

impl Client {
    pub(super) fn publish(&mut self, around: &mut Around, channel: usize) {
        self.sequence += 1;
        let from = (self.index, self.connection, self.sequence);
        let pad = self.random.below(around.plan.pad_bytes + 1) as u16;
        let publication = around.ledger.publish(from, self.core as u16, channel, pad);
        let of = &mut around.ledger.publications[publication as usize];
        of.alone = self.waiting.is_empty();
        of.compact = self.dialect == Dialect::MessagePack;
        of.excluded = self.random.chance(100);
        if of.excluded {
            self.channels[channel].unheard += 1;
        }
        self.write_publish(around, publication);
        // What is refused to a stranger, and sent again by a member, would come out of order.
        let members = around.plan.channels[channel].members;
        if around.plan.repeats && !members && self.random.chance(200) {
            self.repeatable.push(publication);
            if self.repeatable.len() > REMEMBERED {
                self.repeatable.remove(0);
            }
            if self.random.chance(300) {
                self.repeat(around);
            }
        }
        self.marks.push(publication);
    }

    /// Behind its subscribes, in the same message: what only members may do.
    pub(super) fn pipeline(&mut self, around: &mut Around) {
        for channel in 0..self.channels.len() {
            let asked = matches!(self.channels[channel].sub, Sub::Asked { .. });
            if asked && around.plan.channels[channel].members && self.random.chance(500) {
                self.publish(around, channel);
                self.presence(channel, around.plan);
            }
        }
    }

    /// What a command in a channel that is sent now may expect.
    pub(super) fn standing(&self, channel: usize, plan: &Plan) -> Standing {
        if !plan.channels[channel].members {
            return Standing::Open;
        }
        let Channel { sub, taken_out, .. } = self.channels[channel];
        match sub {
            Sub::Asked { .. } | Sub::Live | Sub::Leaving { then: Some(_), .. } => {
                Standing::Member { taken_out }
            }
            Sub::Off | Sub::Leaving { then: None, .. } => Standing::Stranger,
        }
    }

    /// Publishes again what it published with a key: nothing may come of it but an answer.
    pub(super) fn repeat(&mut self, around: &mut Around) {
        if !self.repeatable.is_empty() {
            let publication = self.random.pick(&self.repeatable.clone());
            let of = &mut around.ledger.publications[publication as usize];
            of.repeated = true;
            // Where its first try may fail, it may be put in order by this one: behind what came
            // in between, and behind what this connection waits for.
            of.alone &= !around.plan.fails();
            self.write_publish(around, publication);
        }
    }

    fn write_publish(&mut self, around: &mut Around, publication: u32) {
        let channel = usize::from(around.ledger.publications[publication as usize].channel);
        let standing = self.standing(channel, around.plan);
        let id = self.id(Waiting::Publish { publication, channel, standing });
        self.separate();
        let of = &around.ledger.publications[publication as usize];
        let name = &around.plan.channels[usize::from(of.channel)].name;
        let _ = write!(self.outbox, "{{\"id\":{id},\"publish\":{{\"channel\":\"{name}\",");
        if around.plan.repeats {
            let _ = write!(self.outbox, "\"idempotency_key\":\"k{publication}\",");
        }
        if of.excluded {
            let _ = write!(self.outbox, "\"exclude_self\":true,");
        }
        around.ledger.put_tags(publication, &mut self.outbox);
        let _ = write!(self.outbox, "\"data\":");
        around.ledger.payload(publication, &mut self.outbox);
        self.outbox.extend_from_slice(b"}}");
    }

    /// Offsets were passed over: were they this connection's own, or such as it filters out?
    pub(super) fn excuses(
        &mut self,
        channel: usize,
        epoch: &str,
        offsets: std::ops::Range<u64>,
        around: &mut Around,
    ) -> bool {
        let count = (offsets.end - offsets.start) as u32;
        let state = &mut self.channels[channel];
        let is_filtered = state.filter.is_some();
        if state.sub != Sub::Live || (!is_filtered && count > state.unheard) {
            return false;
        }
        state.unheard = state.unheard.saturating_sub(count);
        self.passed_over(channel, epoch, offsets, around);
        true
    }

    /// Takes note of offsets that it was not told, for the end of the run to judge.
    pub(super) fn passed_over(
        &self,
        channel: usize,
        epoch: &str,
        offsets: std::ops::Range<u64>,
        around: &mut Around,
    ) {
        let (from, filter) = ((self.index, self.connection), self.channels[channel].filter);
        for offset in offsets {
            around.ledger.passed_over((channel, epoch, offset), from, filter);
        }
    }
}

impl Ledger {
    /// A publish came to nothing, as far as is known.
    pub fn failed(&mut self, number: u32) {
        self.publications[number as usize].failed = true;
    }

    /// May it stand behind later ones of its connection? Sent again after a first call that came to
    /// nothing, it comes when it comes. A client that left before the answer does not know whether
    /// that was so.
    pub(super) fn may_be_late(&self, publication: &Publication) -> bool {
        let may_have_failed = publication.failed || self.fails && !publication.acknowledged;
        publication.repeated && (may_have_failed || publication.forgotten)
    }

    /// The store has forgotten a publication that was in order.
    pub fn forgotten(&mut self, number: u32) {
        self.publications[number as usize].forgotten = true;
    }

    /// A publication that is not kept was handed to other nodes.
    pub fn passed(&mut self, number: u32) {
        if std::mem::replace(&mut self.publications[number as usize].passed, true) {
            self.violation("passed_twice", || format!("{number}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_failed_and_is_sent_again_may_be_late() {
        let is_broken = |fails: bool, change: fn(&mut Publication)| {
            let mut ledger = Ledger::new(["a".to_owned()].into_iter());
            ledger.fails = fails;
            for sequence in 0..2 {
                ledger.publish((1, 1, sequence), 0, 0, 3);
            }
            ledger.seen_at(0, "e", 1, 1);
            ledger.seen_at(0, "e", 2, 0);
            change(&mut ledger.publications[0]);
            ledger.judge(&[None]);
            !ledger.violations.is_empty()
        };
        assert!(is_broken(true, |_| ()), "it was sent once");
        assert!(!is_broken(true, |it| it.repeated = true), "nobody read the first answer");
        assert!(is_broken(false, |it| it.repeated = true), "no call fails");
        let answered = |it: &mut Publication| (it.repeated, it.acknowledged) = (true, true);
        assert!(is_broken(true, answered), "its first call did not fail");
        let failed = |it: &mut Publication| (it.repeated, it.failed) = (true, true);
        assert!(!is_broken(true, failed));
    }
}
