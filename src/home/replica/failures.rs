//! What becomes of a replica's calls that failed, and of those who waited for them.
//!
//! A publish whose fate is not known is answered with an error that passes; what it did shows in
//! the stream. A replica asks again after a rest. Must not know what a read would have brought.
//! Invariant: whoever waits is answered, by a later call or by the end of its time.

use super::*;

impl<E: Engine> Home<E> {
    /// A call came to nothing.
    pub(in crate::home) fn failed(&mut self, asked: Asked, why: Failure, now: Now) {
        match asked {
            Asked::Publish { to, key, block } => self.publish_failed(to, key, &block, now),
            Asked::History(request) => self.refuse(Request::History(Box::new(request)), now),
            Asked::Remove { to, channel } => {
                self.refuse(Request::RemoveHistory { to, channel }, now);
            }
            // At most once, and its publisher has its answer.
            Asked::Pass(_) => self.not_passed += 1,
            // The bridge tells it as soon as it can.
            Asked::Users => self.users_told(now),
            Asked::ToUser(call) => self.others_unknown(call),
            Asked::Note(channel) => self.noted(&channel, Some(why), now),
            Asked::Presence { to, channel } => self.presence_failed((to, channel), why, now),
            Asked::Stats { to, channel } => {
                self.refuse(Request::PresenceStats { to, channel }, now);
            }
            Asked::OfNode { node, lives, .. } => self.tidings_failed((node, lives), why, now),
            // This node at least can tell of itself.
            Asked::Nodes(to) => self.tell_nodes(to, Box::default()),
            Asked::Watch(session) => self.watch_failed(session, why, now),
            Asked::Fill(session) | Asked::Recover(session) => {
                let is_fill = matches!(asked, Asked::Fill(_));
                let Some(place) = self.heard(session) else {
                    return debug_assert!(false, "a session lasts while its reads do");
                };
                let replica = self.replica(place).expect("it is heard");
                if is_fill {
                    assert!(replica.filling, "a fill was out");
                    replica.filling = false;
                    replica.needs_fill = true;
                } else {
                    assert!(replica.recovering, "a read for a subscriber was out");
                    replica.recovering = false;
                }
                self.rest(place, now);
                self.pump(place, now);
                self.drop_if_unused(place, now);
            }
        }
    }

    /// Its publisher is answered, and whoever published with the same key meanwhile.
    fn publish_failed(&mut self, to: ReplyTo, key: Option<Name>, block: &Block, now: Now) {
        let waiting = key.map_or_else(Vec::new, |key| self.keys.failed(&key));
        let channel = Name::from(block.channel());
        for to in std::iter::once(to).chain(waiting) {
            self.refuse_publish(to, &channel, now);
        }
    }

    /// Answers a publish with an error, after those that were asked before it (rule 32).
    pub(in crate::home) fn refuse_publish(&mut self, to: ReplyTo, channel: &Name, now: Now) {
        let place = self.channels.find(channel.as_str());
        let waits = |replica: &&mut Replica| !replica.unheard.is_empty();
        if let Some(place) = place
            && self.replica(place).filter(waits).is_some()
        {
            return self.wait_to_be_heard(place, to, None, now);
        }
        self.say_not_published(to, channel.clone());
    }

    pub(super) fn say_not_published(&mut self, to: ReplyTo, channel: Name) {
        let error = refused(to, ErrorCode::Internal, "publish", Some(channel));
        self.say(to.connection.core, error);
    }

    fn watch_failed(&mut self, session: Session, why: Failure, now: Now) {
        let Some(place) = self.heard(session) else {
            return debug_assert!(false, "a session lasts while its reads do");
        };
        let replica = self.replica(place).expect("it is heard");
        assert_eq!(replica.stage, Stage::Watching, "a session fails before it is live");
        replica.stage = Stage::Cold;
        replica.held.clear();
        replica.needs_fill = false;
        if why == Failure::Overdue {
            // The bridge may have begun it.
            replica.unwatch = Some(session);
        }
        replica.is_refused = !why.may_pass();
        self.rest(place, now);
        if why.may_pass() && !self.channels.at(place).keeps() {
            self.admit_all(place, now);
        }
        if !why.may_pass() {
            while let Some((_, ticket)) = self.replica(place).and_then(|it| it.pending.front()) {
                let ticket = *ticket;
                self.asking.stop_waiting(ticket);
                self.refuse_pending(place, ticket);
            }
        }
        self.pump(place, now);
        self.drop_if_unused(place, now);
    }

    /// Nothing is asked for a channel for a while.
    pub(super) fn rest(&mut self, place: u32, now: Now) {
        let ticket = self.asking.rests.begin(place, now.monotonic_ms());
        self.replica(place).expect("it is one").resting = Some(ticket);
    }

    /// A channel has rested.
    pub(in crate::home) fn rested(&mut self, place: u32, ticket: Ticket, now: Now) {
        // Another channel may have come to the place meanwhile.
        if let Some(replica) = self.replica(place).filter(|it| it.resting == Some(ticket)) {
            replica.resting = None;
            self.pump(place, now);
            self.drop_if_unused(place, now);
        }
    }

    /// A subscriber has waited for too long.
    pub(in crate::home) fn give_up_subscriber(&mut self, place: u32, ticket: Ticket, now: Now) {
        self.refuse_pending(place, ticket);
        self.leave_stream(place, now);
        self.drop_if_unused(place, now);
    }

    /// Refuses one that waits: its Subscribe counts for nothing (rule 9).
    fn refuse_pending(&mut self, place: u32, ticket: Ticket) {
        let replica = self.replica(place).expect("a channel lasts while somebody waits");
        let index = replica.pending.iter().position(|(_, other)| *other == ticket);
        let request = replica.pending.remove(index.expect("it waits")).expect("it was found");
        self.refuse_taken(place, request.0, ErrorCode::Internal);
    }

    /// Refuses one that does not wait any more.
    pub(super) fn refuse_taken(&mut self, place: u32, request: SubscribeRequest, why: ErrorCode) {
        self.channels.remove_pair(place, request.to.connection.core);
        self.refuse_subscribe(request, why);
        if self.channels.at(place).interest.is_empty() {
            self.channels.at(place).delta = None;
        }
        self.age(place);
    }

    /// A publisher has waited for too long for its own publication to come by: it is in order, and
    /// nobody knows when it will be heard here (rule 34).
    pub(in crate::home) fn give_up_publisher(&mut self, place: u32, ticket: Ticket) {
        let channel = self.channels.at(place).name.clone();
        let replica = self.replica(place).expect("a channel lasts while somebody waits");
        let (to, _, first) = replica.unheard.pop_front().expect("it waits");
        assert_eq!(first, ticket, "who came first is due first");
        self.unheard -= 1;
        self.say_not_published(to, channel);
        self.answer_heard(place);
    }
}
