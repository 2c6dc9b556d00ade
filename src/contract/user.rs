//! Commands about a user's connections, from a token's claims or the server API.
//!
//! Must not know the inside of connections. Invariant: a command is immutable once a home has it;
//! every edge with connections of the user receives the same one.

use super::key::ReplyTo;
use super::position::Since;
use crate::contract::name::Name;
use std::ops::Deref;
use std::sync::Arc;

/// Options of a subscription that override those of the namespace; `None`: as in the namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Is the subscriber listed in presence?
    pub presence: Option<bool>,
    /// Are its join and leave sent to the others?
    pub join_leave: Option<bool>,
    /// Does it receive joins and leaves?
    pub force_push_join_leave: Option<bool>,
    pub recover: Option<bool>,
    pub position: Option<bool>,
}

/// A subscription that the server begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSubscription {
    pub channel: Name,
    /// Info that others receive about the subscriber (`chan_info`), JSON; empty for none.
    pub info: Box<[u8]>,
    /// A value for the subscriber, JSON; empty for none.
    pub data: Box<[u8]>,
    pub overrides: Overrides,
}

/// Which connections of a user are selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only the connection with this client id; "" for all.
    pub client: Box<str>,
    /// Client ids that are left out.
    pub whitelist: Box<[Box<str>]>,
}

/// What is done to each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Subscribes, until `expire_at_s` if set, in seconds since 1970. A connection that is
    /// subscribed already is not changed.
    Subscribe { subscription: ServerSubscription, since: Option<Since>, expire_at_s: Option<u64> },
    /// Ends a subscription, whoever began it.
    Unsubscribe { channel: Name, code: u32, reason: Box<str> },
    /// Closes with this code and reason.
    Disconnect { code: u16, reason: Box<str> },
    /// Changes the connection's expiry, in seconds since 1970; `None`: it no longer expires. An
    /// expiry that has passed ends it. `info`, JSON, is what others receive about it from now on;
    /// empty: unchanged.
    Refresh { expire_at_s: Option<u64>, info: Box<[u8]> },
    /// A message to the connection only, JSON.
    Send { data: Box<[u8]> },
}

/// A command about a user's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCommand {
    pub selection: Selection,
    pub action: UserAction,
}

/// The command that the edges of the user's connections receive: one object, shared by all edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCommand(Arc<UserCommand>);

impl From<UserCommand> for SharedCommand {
    fn from(command: UserCommand) -> Self {
        SharedCommand(Arc::new(command))
    }
}

impl Deref for SharedCommand {
    type Target = UserCommand;

    fn deref(&self) -> &UserCommand {
        &self.0
    }
}

/// The command on its way to the home of the user, which hands it on to the edges and then answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToUser {
    pub to: ReplyTo,
    pub user: Name,
    pub what: UserCommand,
}
