//! Bounds the presence queries under way: each answer may list everybody in a channel, and costs a
//! home and an edge milliseconds and much memory.
//!
//! Must not know answers. Invariant: a waiting connection is in the line and comes to its turn when
//! an answer makes room; other connections' commands, and its own about other channels, are not
//! delayed.

use crate::codec::command::Method;
use crate::contract::envelope::{Delivery, Request};
use crate::edge::connection::{Fact, Input};
use crate::edge::{ConnectionId, Edge};
use crate::limits::PRESENCES_UNDER_WAY;
use std::collections::VecDeque;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::edge) struct Presences {
    under_way: usize,
    line: VecDeque<ConnectionId>,
}

impl Presences {
    fn has_room(&self) -> bool {
        self.under_way < PRESENCES_UNDER_WAY
    }

    /// Is there room for a query that waits?
    pub fn has_work(&self) -> bool {
        self.has_room() && !self.line.is_empty()
    }

    /// A query was sent to its home, or waits for its lane.
    pub fn asked(&mut self, request: &Request) {
        self.under_way += usize::from(is_about_presence(request));
    }

    /// Queries that waited for a lane will never be sent.
    pub fn dropped(&mut self, input: &Input) {
        let dropped = input.parked.as_ref().is_some_and(|it| is_about_presence(&it.request));
        self.under_way -= usize::from(dropped);
    }

    /// A delivery arrived, which may be an answer.
    pub fn answered(&mut self, delivery: &Delivery) {
        if matches!(delivery, Delivery::Presence(_) | Delivery::PresenceStats { .. }) {
            debug_assert!(self.under_way > 0, "every answer has its question");
            self.under_way = self.under_way.saturating_sub(1);
        }
    }
}

fn is_about_presence(request: &Request) -> bool {
    matches!(request, Request::Presence { .. } | Request::PresenceStats { .. })
}

impl Edge {
    /// Must a command wait because too many presence queries are under way?
    pub(in crate::edge) fn must_line_up(&self, method: &Method<'_>) -> bool {
        let asks = matches!(method, Method::Presence { .. } | Method::PresenceStats { .. });
        asks && !self.presences.has_room()
    }

    /// Adds a connection to the line, once, if its command has to wait there.
    pub(in crate::edge) fn line_up(&mut self, conn: ConnectionId, method: &Method<'_>) {
        if self.must_line_up(method) && !self.at(conn).facts.replace(Fact::AwaitsPresence, true) {
            self.presences.line.push_back(conn);
        }
    }

    /// Lets as many connections in the line continue as there is room for.
    pub(in crate::edge) fn serve_presences(&mut self) {
        let room = PRESENCES_UNDER_WAY.saturating_sub(self.presences.under_way);
        let mut woken = 0;
        while woken < room
            && let Some(conn) = self.presences.line.pop_front()
        {
            if self.is_current(conn) {
                self.at(conn).facts.set(Fact::AwaitsPresence, false);
                self.make_ready(conn);
                woken += 1;
            }
        }
    }
}
