//! What the server has yet to do about one connection: subscriptions that it begins, commands of
//! the server API, and the connect reply that waits for them.

use crate::codec::command::{Publication, SubscribeResult};
use crate::contract::block::Placed;
use crate::contract::envelope::Recovery;
use crate::contract::name::Name;
use crate::contract::position::{Position, Since};
use crate::contract::user::{ServerSubscription, SharedCommand, UserAction};
use crate::edge::connection::Parked;
use crate::edge::ids::epoch::EpochText;
use crate::edge::output::arena::Class;
use crate::edge::user_calls::CallPlace;
use std::collections::VecDeque;

/// What a connect reply waits for.
#[derive(Debug, Default)]
pub struct ConnectReply {
    /// The home of its user has registered the connection, or it has no user.
    pub registered: bool,
    /// Subscriptions not yet answered.
    pub left: usize,
    pub answers: Vec<Answer>,
    /// Bytes of the publications in them.
    pub recovered_bytes: usize,
}

/// A subscription that the reply will name.
#[derive(Debug)]
pub struct Answer {
    pub channel: Name,
    pub recoverable: bool,
    pub positioned: bool,
    pub position: Position,
    pub recovery: Recovery,
    pub data: Box<[u8]>,
}

/// Frames that wait for the connect reply.
#[derive(Debug, Default)]
pub struct Deferred {
    pub bytes: Vec<u8>,
    pub frames: Vec<DeferredFrame>,
}

impl Deferred {
    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct DeferredFrame {
    pub bytes: u32,
    pub class: Class,
    pub channel: u32,
}

impl Answer {
    pub fn missed(&self) -> &[Placed] {
        match &self.recovery {
            Recovery::Complete(missed) => missed,
            Recovery::NotAsked | Recovery::Impossible => &[],
        }
    }

    pub fn result<'a>(
        &'a self,
        missed: &'a [Publication<'a>],
        epoch: &'a EpochText,
    ) -> SubscribeResult<'a> {
        let told = self.recoverable || self.positioned;
        SubscribeResult {
            recoverable: self.recoverable,
            positioned: self.positioned,
            epoch: if told { epoch.as_str() } else { "" },
            offset: if told { self.recovery.start(self.position.offset) } else { 0 },
            recovered: matches!(self.recovery, Recovery::Complete(_)),
            was_recovering: !matches!(self.recovery, Recovery::NotAsked),
            data: &self.data,
            publications: missed,
            ..SubscribeResult::default()
        }
    }
}

/// What the server has still to do about one connection.
#[derive(Debug, Default)]
pub struct ServerSide {
    pub queue: VecDeque<Wish>,
    /// The subscriptions in a new token, until they are compared with those of the connection.
    pub renewed: Option<Vec<ServerSubscription>>,
    /// A Subscribe that found its lane full.
    pub parked: Option<Parked>,
    /// Subscriptions that were begun and are not answered.
    pub begun: Vec<Begun>,
    /// What the connect reply waits for, until it is written.
    pub connect: Option<Box<crate::edge::connection::server_side::ConnectReply>>,
    /// Frames for the connection before its connect reply.
    pub deferred: crate::edge::connection::server_side::Deferred,
}

impl ServerSide {
    pub fn is_done(&self) -> bool {
        self.queue.is_empty()
            && self.renewed.is_none()
            && self.parked.is_none()
            && self.begun.is_empty()
            && self.connect.is_none()
    }
}

/// One thing to do.
#[derive(Debug)]
pub enum Wish {
    /// A subscription of the connection's token.
    Begin(Box<ServerBegin>),
    /// A new token no longer names it.
    End(Name),
    /// A command about the connection's user, as a part of this call.
    Command(SharedCommand, CallPlace),
}

impl Wish {
    /// The channel that it is about.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Wish::Begin(begin) => Some(begin.subscription.channel.as_str()),
            Wish::End(channel) => Some(channel.as_str()),
            Wish::Command(command, _) => match &command.action {
                UserAction::Subscribe { subscription, .. } => Some(subscription.channel.as_str()),
                UserAction::Unsubscribe { channel, .. } => Some(channel.as_str()),
                _ => None,
            },
        }
    }
}

/// A subscription to begin, and the position to continue from.
#[derive(Clone, Debug)]
pub struct ServerBegin {
    pub subscription: ServerSubscription,
    /// A recovery was asked for, whether or not it is possible.
    pub recover: bool,
    pub since: Option<Since>,
    /// When it expires, in seconds since 1970; `None`: with its connection.
    pub expire_at_s: Option<u64>,
    /// It begins and ends with the connection's token.
    pub by_token: bool,
}

/// A server-side subscription that was begun.
#[derive(Debug)]
pub struct Begun {
    pub sequence: u32,
    pub data: Box<[u8]>,
    /// The connect reply waits for it.
    pub in_connect: bool,
    /// The call that it is a part of.
    pub call: CallPlace,
}
