//! What a fan-out does where a rule is broken on purpose. Compiled with the feature
//! `sabotage` only.

use super::Ranges;
use crate::edge::outbound::staging::Staged;
use crate::edge::{ConnectionId, Edge};

impl Edge {
    /// `whole_pass`: takes slow subscribers out of the list that it walks, and the one that takes a
    /// removed one's place is passed over.
    pub(super) fn mark_and_remove(&mut self, channel: u32, ranges: &Ranges, run: &[Staged]) {
        let all = run[0].is_publication();
        let mut place = 0;
        while let Some(known) = self.channels.get(channel)
            && let Some(subscriber) = known.subscribers.get(place).copied()
        {
            if all || subscriber.join_leave {
                self.output.mark(subscriber.connection, ranges.of(subscriber.variant));
            }
            let index = subscriber.connection;
            let conn = ConnectionId { index, generation: self.output.generation(index) };
            let slow = self.at(conn).backlog.is_some();
            if slow {
                let name = self.channels.at(channel).name.clone();
                if self.end_subscription(conn, channel) {
                    self.push_unsubscribe(conn, name.as_str());
                }
            }
            place += 1;
        }
    }
}
