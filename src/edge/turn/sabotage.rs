//! What lines and debts do where a rule is broken on purpose. Compiled with the feature `sabotage`
//! only.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge, Turn};

impl Edge {
    /// Pushes the requests that were put aside and find room now.
    pub(super) fn push_what_was_put_aside(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..self.broken.aside.len() {
            let Some((conn, home, request)) = self.broken.aside.pop_front() else { return };
            if !self.is_current(conn) || self.life(conn) == Life::Dead {
                continue;
            }
            if let Err(request) = self.push(conn, home, request, turn) {
                self.put_aside(conn, home, request);
            }
        }
    }

    /// Rule 12, `reg_first`: pushes the registrations that are due.
    pub(super) fn push_late_registrations(&mut self, turn: &mut Turn<'_>) {
        while let Some((due_ms, conn, home, request)) = self.broken.late.pop_front() {
            if due_ms > turn.now.monotonic_ms() {
                return self.broken.late.push_front((due_ms, conn, home, request));
            }
            if !self.is_current(conn) || self.life(conn) == Life::Dead {
                continue;
            }
            if let Err(request) = self.push(conn, home, request, turn) {
                return self.broken.late.push_front((due_ms, conn, home, request));
            }
        }
    }

    /// Rule 10, `cleanup_queue`: what a dead connection owes and finds no room is forgotten. False:
    /// it is not dead, or in a line.
    pub(super) fn settles_once(&mut self, conn: ConnectionId, turn: &mut Turn<'_>) -> bool {
        if self.life(conn) != Life::Dead || self.at(conn).facts.has(Fact::Waiting) {
            return false;
        }
        while let Some(subscription) = self.at(conn).subscriptions.next_owed() {
            let channel = subscription.channel;
            self.push_unsubscribe_request(conn, subscription, turn);
            self.take_subscription(conn, channel);
        }
        if self.at(conn).subscriptions.is_empty() {
            self.settle_registration(conn, turn);
        }
        true
    }
}
