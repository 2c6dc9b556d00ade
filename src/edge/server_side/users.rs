//! Commands about a user's connections, at the edge.
//!
//! A home hands a command on; here it takes effect on the connections that it selects. Invariant
//! (rule 3): nothing here pushes; requests to homes are queued.

use crate::clock::Now;
use crate::codec::command::{Push, Reply};
use crate::contract::key::ConnectionKey;
use crate::contract::user::{Selection, SharedCommand, UserAction, UserCommand};
use crate::edge::connection::Life;
use crate::edge::user_calls::CallPlace;
use crate::edge::{ConnectionId, Edge};

impl Edge {
    /// Takes a home's command for some of its user's connections, and reports to the home when it
    /// has taken full effect.
    pub(in crate::edge) fn user_commands(
        &mut self,
        home: u16,
        number: u32,
        connections: &[ConnectionKey],
        command: &SharedCommand,
        now: Now,
    ) {
        // What was published before reaches them first.
        self.mark_staged();
        let call = self.user_calls.begin(home, number);
        for connection in connections {
            if let Some(conn) = self.of(*connection)
                && self.is_selected(conn, &command.selection)
            {
                self.user_calls.add_part(call);
                self.user_command(conn, command, call, now);
            }
        }
        self.user_calls.part_done(call);
    }

    /// Takes a command for one connection, which is a part of `call`.
    fn user_command(
        &mut self,
        conn: ConnectionId,
        command: &SharedCommand,
        call: CallPlace,
        now: Now,
    ) {
        let now_or_never = matches!(command.action, UserAction::Disconnect { .. });
        let channel =
            matches!(command.action, UserAction::Subscribe { .. } | UserAction::Unsubscribe { .. });
        let it = self.at(conn);
        // Nothing is sent before the connect reply, or ahead of what came before.
        let free = it.life == Life::Active && it.server().is_none();
        if now_or_never || free && !channel {
            self.carry_out(conn, command, call, now);
        } else {
            self.wish(conn, command, call);
        }
    }

    /// Does what concerns only the connection. If that ends it, it is done when the homes of its
    /// channels have taken its subscriptions back.
    pub(in crate::edge) fn carry_out(
        &mut self,
        conn: ConnectionId,
        command: &UserCommand,
        call: CallPlace,
        now: Now,
    ) {
        let open = matches!(self.life(conn), Life::Authenticating | Life::Active);
        match &command.action {
            UserAction::Disconnect { code, reason } => {
                self.close_with_code(conn, *code, reason, now);
            }
            UserAction::Send { data } => {
                let push = Push::Message { data };
                self.reply(conn, &Reply::Push { channel: "", push });
            }
            UserAction::Refresh { expire_at_s, info } => {
                self.refreshed(conn, *expire_at_s, info, now);
            }
            UserAction::Subscribe { .. } | UserAction::Unsubscribe { .. } => {}
        }
        if open && !matches!(self.life(conn), Life::Authenticating | Life::Active) {
            for place in 0..self.at(conn).subscriptions.len() {
                let sequence = self.at(conn).subscriptions.as_slice()[place].sequence;
                self.user_calls.await_withdrawal(call, sequence);
            }
        }
        self.user_calls.part_done(call);
    }

    fn is_selected(&self, conn: ConnectionId, selection: &Selection) -> bool {
        if selection.client.is_empty() && selection.whitelist.is_empty() {
            return true;
        }
        let id = self.ids.of(self.key(conn));
        let id = id.as_str();
        (selection.client.is_empty() || *selection.client == *id)
            && selection.whitelist.iter().all(|spared| **spared != *id)
    }
}
