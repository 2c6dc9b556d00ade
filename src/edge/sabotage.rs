//! What an edge does where a rule is broken on purpose, to prove that the simulation would notice.
//! Compiled with the feature `sabotage` only.

use super::channels::EdgeChannel;
use super::{ConnectionId, Edge};
use crate::clock::Now;
use crate::codec::command::{Command, Method};
use crate::contract::envelope::Request;
use crate::edge::connection::Later;
use std::collections::VecDeque;

/// What broken rules need to remember.
#[derive(Default)]
pub(super) struct Broken {
    /// Rule 4: requests that found no room, while their connections went on.
    pub aside: VecDeque<(ConnectionId, u16, Request)>,
    /// Rule 12: registrations that follow their connect's answer, with the millisecond at which
    /// each is due.
    pub late: VecDeque<(u64, ConnectionId, u16, Request)>,
}

/// Time by which a registration follows its connect's answer.
const LATE_MS: u64 = 1_000;

impl EdgeChannel {
    /// Rule 9, `count_subs`: with the last member, whoever else has asked is forgotten.
    pub(super) fn forget_pairs_without_members(&mut self) {
        if self.subscribers.is_empty() {
            (self.pairs, self.parked) = (0, 0);
        }
    }
}

impl Edge {
    /// Rule 9, `undo_pending`: a closed connection's Subscribe that was accepted is not taken back.
    pub(super) fn forget_subscription(&mut self, conn: ConnectionId, channel: u32) {
        self.take_subscription(conn, channel);
        self.owe(conn);
    }

    /// Rule 12, `reg_first`: connect is answered at once, and registered in the background.
    pub(super) fn register_late(
        &mut self,
        conn: ConnectionId,
        home: u16,
        request: Request,
        now: Now,
    ) {
        self.broken.late.push_back((now.monotonic_ms() + LATE_MS, conn, home, request));
        self.connect_registered(conn, now);
    }

    /// Rule 32, `in_order`: only what begins or ends a subscription waits for others like it.
    pub(super) fn waits_as_subscribe(
        &self,
        conn: ConnectionId,
        command: &Command<'_>,
        name: &str,
        earlier: &[Later],
    ) -> bool {
        let channel = self.channel_hash(name);
        let subscribes =
            matches!(command.method, Method::Subscribe(_) | Method::Unsubscribe { .. });
        earlier.iter().any(|later| later.channel == channel)
            || subscribes && self.is_in_question(conn, name)
    }
}
