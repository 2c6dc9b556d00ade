//! Lists channels for a call of the server API: first other nodes are asked what they have, and
//! then this node's homes, part by part.
//!
//! Must not know how other nodes are reached. Invariant: a channel is in the list once, with the
//! sum of its subscriptions; what is held for a list is counted like any other answer.

use crate::api::answer;
use crate::codec::command::ErrorCode;
use crate::contract::envelope::{Delivery, Request};
use crate::contract::key::ReplyTo;
use crate::edge::connection::call::{Call, Listing, State, Step};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::limits::API_ANSWER_BYTES;

impl Edge {
    /// Does the next step of a list.
    pub(super) fn list_on(
        &mut self,
        conn: ConnectionId,
        call: &mut Call,
        (task, to): (usize, ReplyTo),
        turn: &mut Turn<'_>,
    ) {
        let (homes, core) = (self.homes, self.core);
        let State::Listing(listing) = call.state(task) else { return };
        let (home, request) = match listing.step(homes) {
            Step::AskOthers => {
                let pattern = listing.pattern.text().into();
                (core, Request::OtherChannels { to, pattern })
            }
            Step::AskHome(home, from) => (home, Request::Channels { to, from }),
            Step::Write => {
                let before = listing.text.len();
                let is_over = listing.write_others();
                return self.grown(conn, call, task, (before, is_over));
            }
        };
        call.ask(task, 0);
        self.issue(conn, home, request, turn);
    }

    /// A part of a list has come; the next step follows in the connection's turn. False: it is
    /// none.
    pub(super) fn take_listed(
        &mut self,
        conn: ConnectionId,
        call: &mut Call,
        task: usize,
        delivery: &mut Delivery,
    ) -> bool {
        let State::Listing(listing) = call.state(task) else { return false };
        let before = listing.text.len();
        if let Delivery::Channels { part, .. } = delivery {
            listing.add(part);
        } else if let Delivery::OtherChannels { channels, .. } = delivery {
            let bytes = channels.bytes();
            listing.others = Some(std::mem::take(&mut **channels));
            if !self.charge(conn, bytes) {
                self.finish_task(conn, call, task, Err(ErrorCode::LimitExceeded));
                return true;
            }
        } else {
            return false;
        }
        self.grown(conn, call, task, (before, false));
        true
    }

    /// A list has grown from so many bytes; it goes on unless it is over, or too large.
    fn grown(
        &mut self,
        conn: ConnectionId,
        call: &mut Call,
        task: usize,
        (before, is_over): (usize, bool),
    ) {
        let State::Listing(listing) = call.state(task) else { return };
        let length = listing.text.len();
        if length > API_ANSWER_BYTES || !self.charge(conn, length - before) {
            return self.finish_task(conn, call, task, Err(ErrorCode::LimitExceeded));
        }
        if is_over {
            let text = end_of(listing);
            return self.finish_task(conn, call, task, Ok(text));
        }
        call.make_ready(task);
        self.make_ready(conn);
    }
}

fn end_of(listing: &mut Listing) -> Vec<u8> {
    let mut text = std::mem::take(&mut listing.text);
    text.extend_from_slice(answer::CHANNELS_TAIL);
    text
}
