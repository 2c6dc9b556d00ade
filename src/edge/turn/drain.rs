//! An edge's part in a shutdown (rule 25): nothing new is taken, what is parked is refused, and
//! when the homes have said their last, everybody is told 3001.

use crate::clock::Now;
use crate::codec::command::{Disconnect, ErrorCode, Reply};
use crate::contract::envelope::Request;
use crate::edge::connection::Life;
use crate::edge::lifecycle::cut::Cut;
use crate::edge::pace::Pace;
use crate::edge::{ConnectionId, Edge};
use std::hash::BuildHasher;

/// Clients that are told in one turn that they should go, at most: the rest of it is for the
/// others.
const TOLD_PER_TURN: u32 = 256;

impl Edge {
    /// From here on `/ready` sends clients elsewhere; everything is served as before.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Tells all clients that are here to reconnect elsewhere, one after the other in this time.
    /// Everything is served to the others as before.
    pub fn begin_pace(&mut self, over_ms: u64, now: Now) {
        self.leaving = true;
        let places = self.places.len();
        let hash = self.ping_hasher.hash_one(now.monotonic_us);
        self.pace = Some(Pace::new(places, over_ms, hash, now));
    }

    /// Have all had their time, or is nobody left?
    #[must_use]
    pub fn is_pace_over(&self) -> bool {
        self.metrics.connections.get() == 0 || self.pace.as_ref().is_none_or(Pace::is_over)
    }

    /// Tells those whose time has come.
    pub fn keep_pace(&mut self, now: Now) {
        for _ in 0..TOLD_PER_TURN {
            let Some(pace) = self.pace.as_mut().filter(|it| it.has_due(now)) else {
                return;
            };
            let place = pace.take_next();
            let conn = self.places.id(place);
            if matches!(self.life(conn), Life::Authenticating | Life::Active) {
                self.close_with(conn, Disconnect::Shutdown, now);
            }
        }
    }

    /// When the next has its time, in milliseconds of the process.
    pub(in crate::edge) fn next_pace_ms(&self) -> Option<u64> {
        self.pace.as_ref().and_then(Pace::next_ms)
    }

    /// Takes nothing new from here on, and refuses the commands that wait for a lane.
    pub fn begin_drain(&mut self, now: Now) {
        self.draining = true;
        self.pace = None;
        self.tell_left_out(None);
        self.user_calls.stop();
        for conn in self.places.conns().collect::<Vec<_>>() {
            let parked = self.at(conn).input.as_mut().and_then(|input| input.parked.take());
            if let Some(parked) = parked {
                self.refuse_parked(conn, &parked.request);
            }
            let server = self.at(conn).server_mut();
            if let Some(server) = server {
                server.queue.clear();
                server.parked = None;
            }
            self.forget_unpushed(conn);
            if self.life(conn) == Life::Http {
                self.drain_call(conn, now);
                if self.exchange(conn).is_quiet() {
                    self.close_idle(conn, now);
                }
            }
        }
    }

    /// Ends a connection between two requests, when its responses are out.
    fn close_idle(&mut self, conn: ConnectionId, now: Now) {
        if self.unsent_bytes(conn) == 0 {
            return self.close_now(conn, now);
        }
        self.exchange(conn).last = true;
        self.close_http(conn, now);
    }

    fn refuse_parked(&mut self, conn: ConnectionId, request: &Request) {
        let id = match request {
            Request::Subscribe(subscribe) => subscribe.to.command,
            Request::History(history) => history.to.command,
            Request::Publish { to, .. }
            | Request::Presence { to, .. }
            | Request::PresenceStats { to, .. }
            | Request::RemoveHistory { to, .. }
            | Request::Channels { to, .. }
            | Request::OtherChannels { to, .. }
            | Request::Nodes { to } => to.command,
            Request::ToUser(to_user) => to_user.to.command,
            _ => 0,
        };
        if self.life(conn) == Life::Http {
            return self.call_not_asked(conn, id);
        }
        if id > 0 {
            self.reply(conn, &Reply::Error { id, error: ErrorCode::Internal });
        }
    }

    /// Is all that was said to connections with their sockets or in their backlogs?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.staging.is_empty() && !self.output.is_dirty()
    }

    /// Tells every client that the server goes. Nothing is owed to homes any more: they go too.
    pub fn say_shutdown(&mut self, now: Now) {
        for conn in self.places.conns().collect::<Vec<_>>() {
            match self.life(conn) {
                Life::Authenticating | Life::Active => {
                    self.close_with(conn, Disconnect::Shutdown, now);
                }
                // A last response that is still on its way ends by itself.
                Life::Http if !self.exchange(conn).last => {
                    self.close_idle(conn, now);
                }
                _ => {}
            }
        }
    }

    /// Is no socket left?
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.places.open() == 0 && self.effects.is_empty()
    }

    /// What is lost if the process ends now, and was lost since the shutdown began.
    #[must_use]
    pub fn cut(&self) -> Cut {
        let mut cut = self.cut;
        for conn in self.places.conns() {
            // Who is still here was not told to come back elsewhere.
            let untold = matches!(self.life(conn), Life::Authenticating | Life::Active);
            cut = cut.and(self.loss(conn, untold));
        }
        cut
    }
}
