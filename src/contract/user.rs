//! What is done to a user's connections from outside: by a token's claims, or by the server API.
//!
//! Must not know connections' insides. Invariant: a command is immutable once a home has it; every
//! edge of the user's connections is given the same one.

use super::key::ReplyTo;
use super::position::Since;
use crate::contract::name::Name;
use std::ops::Deref;
use std::sync::Arc;

/// What a subscription may have otherwise than its namespace says; none: as the namespace says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Is the subscriber listed in presence?
    pub presence: Option<bool>,
    /// Do its join and its leave reach the others?
    pub join_leave: Option<bool>,
    /// Is it told joins and leaves?
    pub force_push_join_leave: Option<bool>,
    pub recover: Option<bool>,
    pub position: Option<bool>,
}

/// A subscription that the server begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSubscription {
    pub channel: Name,
    /// What others are told of the subscriber (`chan_info`), JSON; empty for nothing.
    pub info: Box<[u8]>,
    /// A value for the subscriber, JSON; empty for none.
    pub data: Box<[u8]>,
    pub overrides: Overrides,
}

/// Which connections of a user are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only the connection with this client id; "" for all.
    pub client: Box<str>,
    /// Client ids that are passed over.
    pub whitelist: Box<[Box<str>]>,
}

/// What is to be done to each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Subscribes, until `expire_at_s`, in seconds since 1970, where there is one; where it is
    /// subscribed already, nothing happens.
    Subscribe { subscription: ServerSubscription, since: Option<Since>, expire_at_s: Option<u64> },
    /// Ends a subscription, the client's own or the server's.
    Unsubscribe { channel: Name, code: u32, reason: Box<str> },
    /// Closes with this code and reason.
    Disconnect { code: u16, reason: Box<str> },
    /// Gives the connection another expiry, in seconds since 1970; none: it does not expire any
    /// more. One that has passed ends it. With `info`, JSON, others are told that of it from here
    /// on; empty: what they were told before.
    Refresh { expire_at_s: Option<u64>, info: Box<[u8]> },
    /// A message to the connection alone, JSON.
    Send { data: Box<[u8]> },
}

/// A command about a user's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCommand {
    pub selection: Selection,
    pub action: UserAction,
}

/// The same as the edges of the user's connections are given it: one, whatever their number.
#[derive(Clone, Debug)]
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

/// The same on its way to the home of the user, which hands it on to the edges and then answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToUser {
    pub to: ReplyTo,
    pub user: Name,
    pub what: UserCommand,
}
