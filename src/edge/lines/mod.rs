//! Pushing requests, or waiting for a lane. Who is served next is decided in `turn`.
//!
//! Rule 4: each lane has one line, dead connections included, and newcomers go to its end
//! (`queues`).

pub mod presences;
pub mod queues;
#[cfg(feature = "sabotage")]
mod sabotage;

use crate::contract::envelope::Request;
use crate::contract::key::ReplyTo;
use crate::edge::connection::under_way::{About, channel_of_request};
use crate::edge::connection::{Fact, Life, Parked, SubscriptionState};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::rules::sabotage;

impl Edge {
    /// Pushes a connection's request, or parks it in the lane's line.
    pub(in crate::edge) fn issue(
        &mut self,
        conn: ConnectionId,
        home: u16,
        request: Request,
        turn: &mut Turn<'_>,
    ) {
        self.presences.asked(&request);
        let pushed =
            if self.claim_turn(home) { self.push(conn, home, request, turn) } else { Err(request) };
        if let Err(request) = pushed {
            self.park(conn, home, request);
        }
    }

    /// Takes this connection's turn at a lane. False: others wait in its line before it.
    pub(in crate::edge) fn claim_turn(&mut self, home: u16) -> bool {
        self.lines.claim_turn(home)
    }

    /// Pushes a request whose turn it is; gives it back when the lane is full.
    pub(in crate::edge) fn push(
        &mut self,
        conn: ConnectionId,
        home: u16,
        request: Request,
        turn: &mut Turn<'_>,
    ) -> Result<(), Request> {
        let subscribe = match &request {
            Request::Subscribe(subscribe) => Some(subscribe.channel.clone()),
            _ => None,
        };
        let register = matches!(request, Request::Register { .. });
        // What the server begins is no command of the client's, and has its own bound.
        let ours = matches!(&request, Request::Subscribe(asked) if asked.to.command == 0);
        let about = self.about(conn, &request);
        if let Err(request) = turn.lanes.push(home, request) {
            self.metrics.lane_full.add(1);
            return Err(request);
        }
        if let Some(name) = subscribe {
            let channel = self.channels.find(name.as_str()).expect("its subscription holds it");
            let known = self.channels.at(channel);
            known.pairs += 1;
            known.parked -= 1;
            let subscription = self.at(conn).subscription_mut(channel).expect("it was just made");
            subscription.state = SubscriptionState::Pending;
        }
        let it = self.places.at(conn);
        if register {
            it.facts.set(Fact::Registered, true);
        } else if !ours {
            it.in_flight += 1;
        }
        if let Some(about) = about {
            self.under_way.begin(&mut it.under_way, about);
        }
        Ok(())
    }

    /// What a client's command is about; none of what the server API or the server asks.
    pub(in crate::edge) fn about(
        &mut self,
        conn: ConnectionId,
        request: &Request,
    ) -> Option<About> {
        if self.life(conn) == Life::Http {
            return None;
        }
        let (id, name, kind) = channel_of_request(request)?;
        (id > 0).then(|| About { id, channel: self.channel_hash(name), kind })
    }

    pub(in crate::edge) fn park(&mut self, conn: ConnectionId, home: u16, request: Request) {
        sabotage!(ConnFifo => return self.put_aside(conn, home, request));
        let before = self.at(conn).input().parked.replace(Parked { home, request });
        debug_assert!(before.is_none(), "nothing is parsed after a command that waits");
        self.join_line(conn, home);
    }

    /// Puts a connection in a lane's line, where it is in none.
    pub(in crate::edge) fn join_line(&mut self, conn: ConnectionId, home: u16) {
        self.lines.join(conn, &mut self.places.at(conn).facts, home);
    }

    /// Puts a connection in the queue of those that owe.
    pub(in crate::edge) fn owe(&mut self, conn: ConnectionId) {
        self.lines.owe(conn, &mut self.places.at(conn).facts);
    }

    /// One command less is under way; what waited for that goes on.
    pub(in crate::edge) fn answered(&mut self, to: ReplyTo) -> Option<ConnectionId> {
        let conn = self.of(to.connection)?;
        let it = self.places.at(conn);
        debug_assert!(it.in_flight > 0, "every answer has its command");
        it.in_flight = it.in_flight.saturating_sub(1);
        self.under_way.end(&mut it.under_way, to.command);
        if it.input.is_some() {
            self.make_ready(conn);
        }
        Some(conn)
    }

    /// Puts a connection in the queue of those with work left over.
    pub(in crate::edge) fn make_ready(&mut self, conn: ConnectionId) {
        self.lines.make_ready(conn, &mut self.places.at(conn).facts);
    }
}
