//! An edge's part in a shutdown (rule 25): nothing new is taken, what is parked is refused, and
//! when the homes have said their last, everybody is told 3001.

use crate::clock::Now;
use crate::codec::command::{Disconnect, ErrorCode, Reply};
use crate::contract::envelope::Request;
use crate::edge::connection::Life;
use crate::edge::{Edge, Token};

impl Edge {
    /// From here on `/ready` sends clients elsewhere; everything is served as before.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Takes nothing new from here on, and refuses the commands that wait for a lane.
    pub fn begin_drain(&mut self, now: Now) {
        self.draining = true;
        self.tell_left_out(None);
        self.user_calls.close();
        for token in self.places.tokens().collect::<Vec<_>>() {
            let parked =
                self.at(token).input.as_mut().map(|input| std::mem::take(&mut input.parked));
            for parked in parked.into_iter().flatten() {
                self.refuse_parked(token, &parked.request);
            }
            let server = self.at(token).server();
            if let Some(server) = server {
                server.queue.clear();
                server.parked = None;
            }
            self.forget_unpushed(token);
            if self.life(token) == Life::Connecting {
                self.drain_call(token, now);
                if self.exchange(token).is_quiet() {
                    self.kill(token, now);
                }
            }
        }
    }

    fn refuse_parked(&mut self, token: Token, request: &Request) {
        let id = match request {
            Request::Subscribe(subscribe) => subscribe.to.command,
            Request::History(history) => history.to.command,
            Request::Publish { to, .. }
            | Request::Presence { to, .. }
            | Request::PresenceStats { to, .. }
            | Request::RemoveHistory { to, .. }
            | Request::Channels { to, .. } => to.command,
            Request::ToUser(to_user) => to_user.to.command,
            _ => 0,
        };
        if self.life(token) == Life::Connecting {
            return self.call_not_asked(token, id);
        }
        if id > 0 {
            self.reply(token, &Reply::Error { id, error: ErrorCode::Internal });
        }
    }

    /// Is all that was said to connections with their sockets or in their backlogs?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.staged.is_empty() && !self.output.is_dirty()
    }

    /// Tells every client that the server goes. Nothing is owed to homes any more: they go too.
    pub fn say_shutdown(&mut self, now: Now) {
        for token in self.places.tokens().collect::<Vec<_>>() {
            match self.life(token) {
                Life::Authenticating | Life::Active => {
                    self.disconnect(token, Disconnect::Shutdown, now);
                }
                // A last response that is still on its way ends by itself.
                Life::Connecting if !self.exchange(token).last => self.kill(token, now),
                _ => {}
            }
        }
    }

    /// Is no socket left?
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.places.open() == 0 && self.effects.is_empty()
    }
}
