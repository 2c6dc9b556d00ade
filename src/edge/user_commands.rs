//! What is done to a user's connections from outside, on the edge's side.
//!
//! A home hands a command on; here it takes effect on the connections that it selects. Invariant
//! (rule 3): nothing here pushes; what has to reach a home is owed.

use super::connection::Life;
use super::{Edge, Token};
use crate::clock::Now;
use crate::codec::command::{Push, Reply};
use crate::home::envelope::{Selection, UserAction, UserCommand};

impl Edge {
    /// Carries a command out on one connection of the user.
    pub(super) fn user_command(&mut self, token: Token, command: &UserCommand, now: Now) {
        if !self.is_selected(token, &command.selection) {
            return;
        }
        match &command.action {
            UserAction::Disconnect { code, reason } => self.close(token, *code, reason, now),
            UserAction::Send { data } if self.life(token) == Life::Active => {
                let push = Push::Message { data };
                self.reply(token, &Reply::Push { channel: "", push });
            }
            _ => {}
        }
    }

    fn is_selected(&self, token: Token, selection: &Selection) -> bool {
        if selection.client.is_empty() && selection.whitelist.is_empty() {
            return true;
        }
        let id = super::client_id::client_id(self.ids, self.key(token));
        let id = id.as_str();
        (selection.client.is_empty() || *selection.client == *id)
            && selection.whitelist.iter().all(|spared| **spared != *id)
    }
}
