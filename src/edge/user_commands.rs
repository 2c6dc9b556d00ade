//! What is done to a user's connections from outside, on the edge's side.
//!
//! A home hands a command on; here it takes effect on the connections that it selects. Invariant
//! (rule 3): nothing here pushes; what has to reach a home is lined up.

use super::connection::Life;
use super::{Edge, Token};
use crate::clock::Now;
use crate::codec::command::{Push, Reply};
use crate::home::envelope::{Selection, SharedCommand, UserAction, UserCommand};

impl Edge {
    /// Takes a command for one connection of the user.
    pub(super) fn user_command(&mut self, token: Token, command: &SharedCommand, now: Now) {
        if !self.is_selected(token, &command.selection) {
            return;
        }
        let now_or_never = matches!(command.action, UserAction::Disconnect { .. });
        let channel =
            matches!(command.action, UserAction::Subscribe { .. } | UserAction::Unsubscribe { .. });
        let it = self.at(token);
        // Nothing is told before the connect reply, nor ahead of what came before.
        let free = it.life == Life::Active && it.server().is_none();
        if now_or_never || free && !channel {
            self.carry_out(token, command, now);
        } else {
            self.wish(token, command);
        }
    }

    /// Does what concerns the connection alone.
    pub(super) fn carry_out(&mut self, token: Token, command: &UserCommand, now: Now) {
        match &command.action {
            UserAction::Disconnect { code, reason } => {
                self.disconnect_with(token, *code, reason, now);
            }
            UserAction::Send { data } => {
                let push = Push::Message { data };
                self.reply(token, &Reply::Push { channel: "", push });
            }
            UserAction::Refresh { expire_at_s, info } => {
                self.refreshed(token, *expire_at_s, info, now);
            }
            UserAction::Subscribe { .. } | UserAction::Unsubscribe { .. } => {}
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
