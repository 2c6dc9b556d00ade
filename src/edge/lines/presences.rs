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
use crate::limits::{PRESENCE_MEMBERS_UNDER_WAY, PRESENCES_UNDER_WAY};
use std::collections::VecDeque;

/// Of what an answer is expected to list, an answer that lists less takes away this part. So a few
/// small answers between large ones do not let many large ones follow.
const FORGOTTEN: usize = 8;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::edge) struct Presences {
    under_way: usize,
    /// Members that an answer is expected to list, from those that came.
    expected_members: usize,
    line: VecDeque<ConnectionId>,
}

impl Presences {
    /// Queries that may be under way. One always may.
    fn bound(&self) -> usize {
        let fitting = PRESENCE_MEMBERS_UNDER_WAY / self.expected_members.max(1);
        fitting.clamp(1, PRESENCES_UNDER_WAY)
    }

    fn has_room(&self) -> bool {
        self.under_way < self.bound()
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
        let members = if let Delivery::Presence(answer) = delivery {
            answer.members.len()
        } else if let Delivery::PresenceStats { clients, .. } = delivery {
            *clients as usize
        } else if let Delivery::Refused { method: "presence" | "presence_stats", .. } = delivery {
            0
        } else {
            return;
        };
        debug_assert!(self.under_way > 0, "every answer has its question");
        self.under_way = self.under_way.saturating_sub(1);
        let forgotten = self.expected_members.div_ceil(FORGOTTEN);
        self.expected_members = members.max(self.expected_members - forgotten);
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
        let room = self.presences.bound().saturating_sub(self.presences.under_way);
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
