//! Subscriptions that the server begins and ends: at connect, and by commands of the server API.
//!
//! Invariants: what is to be done stands in one queue for each connection and is done in order;
//! what reaches a home is pushed from that queue, never from a delivery (rule 3); and nothing more
//! is done about a channel before the answer to what was asked about it last.

use super::user_calls::{CallPlace, NOBODY};
use crate::clock::Now;
use crate::codec::command::{
    Disconnect, ErrorCode, Named, Push, PushSubscribe, Reply, UNSUBSCRIBE_SERVER,
};
use crate::contract::block::Placed;
use crate::contract::envelope::{Recovery, Request};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::Since;
use crate::contract::user::{ServerSubscription, SharedCommand, UserAction};
use crate::edge::channels::NO_FILTER;
use crate::edge::commands::subscribe::{Asked, EpochText};
use crate::edge::connection::{Aside, Life, Parked, SubscriptionState, Traits};
use crate::edge::outbound::deliver::Start;
use crate::edge::outbound::frames::{publication, publisher_id};
use crate::edge::outbound::output::Range;
use crate::edge::{ConnectionId, Edge, Late, Turn};
use crate::limits::USER_COMMANDS_WAITING;
use crate::namespace::{ChannelOptions, Mode};
use std::collections::VecDeque;

/// What the server has still to do about one connection.
#[derive(Debug, Default)]
pub struct ServerSide {
    pub queue: VecDeque<Wish>,
    /// What a new token names, until it is compared with what the connection has.
    pub renewed: Option<Vec<ServerSubscription>>,
    /// A Subscribe that found its lane full.
    pub parked: Option<Parked>,
    /// Subscriptions that were begun and are not answered.
    pub begun: Vec<Begun>,
    /// What the connect reply waits for, until that is written.
    pub connect: Option<Box<crate::edge::commands::connect::Connecting>>,
    /// What the connection was given before its connect reply.
    pub held: crate::edge::commands::connect::Held,
}

impl ServerSide {
    fn is_done(&self) -> bool {
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
    /// A new token does not name it any more.
    End(Name),
    /// A command about the connection's user, a part of this call.
    Command(SharedCommand, CallPlace),
}

impl Wish {
    /// The channel it is about.
    fn channel(&self) -> Option<&str> {
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

/// A subscription to begin, and where it is to go on from.
#[derive(Clone, Debug)]
pub struct ServerBegin {
    pub subscription: ServerSubscription,
    /// A recovery is wanted, whether or not it may be had.
    pub recover: bool,
    pub since: Option<Since>,
    /// When it ends, in seconds since 1970; none: with its connection.
    pub expire_at_s: Option<u64>,
    /// It comes and goes with the connection's token.
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
    call: CallPlace,
}

impl Edge {
    /// What the server has still to do about a connection, made when there is none.
    pub(in crate::edge) fn server_side(&mut self, conn: ConnectionId) -> &mut ServerSide {
        let it = self.at(conn);
        if it.server().is_none() {
            debug_assert!(it.aside.is_none(), "it is no WebSocket");
            it.aside = Some(Box::new(Aside::Server(ServerSide::default())));
        }
        it.server_mut().expect("it was just made")
    }

    /// Lines a command up behind what is still to be done. Over the bound the connection could not
    /// have what the server wants it to have: it is told to come back.
    pub(in crate::edge) fn wish(
        &mut self,
        conn: ConnectionId,
        command: &SharedCommand,
        call: CallPlace,
    ) {
        if self.draining || !matches!(self.life(conn), Life::Authenticating | Life::Active) {
            return self.user_calls.part_done(call);
        }
        let queue = &mut self.server_side(conn).queue;
        if queue.len() >= USER_COMMANDS_WAITING {
            self.user_calls.part_done(call);
            return self.late.push_back(Late::Insufficient(conn));
        }
        queue.push_back(Wish::Command(command.clone(), call));
        self.owe(conn);
    }

    /// Does what is to be done, in order; false when a lane has no room for it.
    pub(in crate::edge) fn serve_wishes(
        &mut self,
        conn: ConnectionId,
        turn: &mut Turn<'_>,
    ) -> bool {
        loop {
            let Some(server) = self.at(conn).server_mut() else { return true };
            if let Some(Parked { home, request }) = server.parked.take() {
                if !self.push_begun(conn, home, request, turn) {
                    return false;
                }
                continue;
            }
            let Some(wish) = self.next_wish(conn) else {
                if self.compare_renewed(conn) {
                    continue;
                }
                break;
            };
            if !self.serve_wish(conn, wish, turn) {
                return false;
            }
        }
        if self.at(conn).server().is_some_and(|server| server.is_done()) {
            self.at(conn).aside = None;
        }
        true
    }

    /// The next that may be done now.
    fn next_wish(&mut self, conn: ConnectionId) -> Option<Wish> {
        let it = self.places.at(conn);
        let server = it.server()?;
        let first = server.queue.front()?;
        let waits = match &server.connect {
            Some(connect) => !connect.registered || !matches!(first, Wish::Begin(_)),
            None => false,
        };
        if waits {
            return None;
        }
        let channel = first.channel().and_then(|name| self.channels.find(name));
        if let Some(channel) = channel {
            let of = it.subscription(channel);
            if of.is_some_and(|it| it.state != SubscriptionState::Active) {
                return None;
            }
        }
        it.server_mut()?.queue.pop_front()
    }

    fn serve_wish(&mut self, conn: ConnectionId, wish: Wish, turn: &mut Turn<'_>) -> bool {
        let (command, call) = match wish {
            Wish::Begin(begin) => {
                let server = self.at(conn).server();
                let in_connect = server.is_some_and(|server| server.connect.is_some());
                return self.begin(conn, *begin, in_connect, NOBODY, turn);
            }
            Wish::End(channel) => {
                self.end_subscription(conn, channel.as_str(), UNSUBSCRIBE_SERVER, NOBODY);
                return self.settle(conn, turn);
            }
            Wish::Command(command, call) => (command, call),
        };
        match &command.action {
            UserAction::Subscribe { subscription, since, expire_at_s } => {
                let (subscription, recover) = (subscription.clone(), since.is_some());
                let (since, expire_at_s) = (*since, *expire_at_s);
                let by_token = false;
                let begin = ServerBegin { subscription, recover, since, expire_at_s, by_token };
                self.begin(conn, begin, false, call, turn)
            }
            UserAction::Unsubscribe { channel, code, reason } => {
                self.end_subscription(conn, channel.as_str(), (*code, reason), call);
                self.user_calls.part_done(call);
                self.settle(conn, turn)
            }
            _ => {
                self.carry_out(conn, &command, call, turn.now);
                true
            }
        }
    }

    /// Begins a subscription; false when its lane has no room.
    fn begin(
        &mut self,
        conn: ConnectionId,
        begin: ServerBegin,
        in_connect: bool,
        call: CallPlace,
        turn: &mut Turn<'_>,
    ) -> bool {
        let ServerBegin { subscription, recover, since, expire_at_s, by_token } = begin;
        let ServerSubscription { channel: name, info, data, overrides } = subscription;
        let options = match self.server_options(conn, name.as_str()) {
            Ok(Some(options)) => options,
            Ok(None) => {
                self.user_calls.part_done(call);
                return true;
            }
            Err(error) => {
                self.user_calls.part_done(call);
                self.begin_refused(conn, name.as_str(), error, in_connect, turn.now);
                return true;
            }
        };
        let keeps = options.keeps_history();
        let on = |asked: Option<bool>, mode: Mode| asked.unwrap_or(mode == Mode::Force);
        let recoverable = keeps && on(overrides.recover, options.recovery);
        let traits = Traits::SERVER_SIDE
            .with(Traits::BY_TOKEN, by_token)
            .with(Traits::RECOVERABLE, recoverable)
            .with(Traits::POSITIONED, keeps && on(overrides.position, options.positioning))
            .with(Traits::JOIN_LEAVE, on(overrides.force_push_join_leave, options.join_leave));
        let asked = Asked {
            name: name.as_str(),
            traits,
            filter: NO_FILTER,
            keeps_history: keeps,
            since: since.filter(|_| recoverable),
            recover,
            overrides,
        };
        let to = ReplyTo { connection: self.key(conn), command: 0 };
        let (home, mut request) = self.new_subscription(conn, to, &asked);
        let sequence = request.sequence;
        self.keep_until(conn, sequence, info, expire_at_s, turn.now);
        request.infos = self.infos(conn, Some(sequence));
        self.server_side(conn).begun.push(Begun { sequence, data, in_connect, call });
        self.push_begun(conn, home, Request::Subscribe(Box::new(request)), turn)
    }

    /// The options of a channel to subscribe a connection to; none where it is subscribed already.
    fn server_options(
        &mut self,
        conn: ConnectionId,
        name: &str,
    ) -> Result<Option<ChannelOptions>, ErrorCode> {
        let options = self.channel_options(name)?;
        let channel = self.channels.find(name);
        if channel.is_some_and(|channel| self.at(conn).subscription(channel).is_some()) {
            return Ok(None);
        }
        self.check_subscription_limits(conn, name)?;
        Ok(Some(options))
    }

    /// A subscription cannot be had: connect fails over one of its own; else, where it is the
    /// connection that has too many, that ends.
    fn begin_refused(
        &mut self,
        conn: ConnectionId,
        channel: &str,
        error: ErrorCode,
        in_connect: bool,
        now: Now,
    ) {
        let (have, most) = (self.at(conn).subscriptions.len(), self.limits.channels_per_connection);
        let method = if in_connect { "connect" } else { "server_subscribe" };
        self.command_refused(conn, error, method, channel, now);
        if in_connect {
            self.connect_refused(conn, error);
        } else if error == ErrorCode::LimitExceeded && have >= most as usize {
            self.count_error(error);
            self.disconnect(conn, Disconnect::ChannelLimit, now);
        } else {
            self.count_error(error);
        }
    }

    fn push_begun(
        &mut self,
        conn: ConnectionId,
        home: u16,
        request: Request,
        turn: &mut Turn<'_>,
    ) -> bool {
        let pushed =
            if self.claim_turn(home) { self.push(conn, home, request, turn) } else { Err(request) };
        if let Err(request) = pushed {
            self.server_side(conn).parked = Some(Parked { home, request });
            self.stand_in_line(conn, home);
            return false;
        }
        true
    }

    /// Ends a subscription, whoever began it. The client is told; its Unsubscribe is owed.
    fn end_subscription(
        &mut self,
        conn: ConnectionId,
        name: &str,
        (code, reason): (u32, &str),
        call: CallPlace,
    ) {
        let Some(channel) = self.channels.find(name) else { return };
        let Some(subscription) = self.at(conn).subscription(channel) else { return };
        debug_assert!(subscription.state == SubscriptionState::Active, "nothing is in question");
        let sequence = subscription.sequence;
        self.remove_subscriber(conn, channel);
        self.at(conn).subscriptions.owe(channel);
        self.user_calls.await_withdrawal(call, sequence);
        let push = Push::Unsubscribe { code, reason };
        self.reply(conn, &Reply::Push { channel: name, push });
    }

    /// What was begun is answered, one way or the other: it is begun no more.
    pub(in crate::edge) fn take_begun(
        &mut self,
        conn: ConnectionId,
        sequence: u32,
    ) -> Option<Begun> {
        let server = self.at(conn).server_mut()?;
        let place = server.begun.iter().position(|begun| begun.sequence == sequence)?;
        let begun = server.begun.swap_remove(place);
        self.owe(conn);
        Some(begun)
    }

    /// A home answered what the server began: it is told with the connect reply, or pushed.
    pub(in crate::edge) fn server_subscribed(
        &mut self,
        conn: ConnectionId,
        name: &str,
        start: &Start,
        recovery: Recovery,
        now: Now,
    ) {
        let Some(begun) = self.take_begun(conn, start.subscription.sequence) else { return };
        self.user_calls.part_done(begun.call);
        if begun.in_connect {
            self.connect_subscribed(conn, name, start, recovery, begun.data);
            if self.is_answered(conn) {
                self.connected(conn, now);
            }
            return;
        }
        let epoch = EpochText::new(start.position.epoch);
        let recoverable = start.traits.has(Traits::RECOVERABLE);
        let positioned = start.traits.has(Traits::POSITIONED);
        let told = recoverable || positioned;
        let push = Push::Subscribe(PushSubscribe {
            recoverable,
            positioned,
            epoch: if told { epoch.as_str() } else { "" },
            offset: if told { recovery.start(start.position.offset) } else { 0 },
            data: &begun.data,
        });
        self.reply(conn, &Reply::Push { channel: name, push });
        // The push has no place for what was missed: it follows as if it were published now.
        if let Recovery::Complete(missed) = recovery {
            let (channel, codec) = (start.subscription.channel, self.at(conn).codec);
            for Placed { offset, block } in &missed {
                let id = publisher_id(block, &self.ids);
                let missed = publication(block, *offset, id.as_ref());
                let begin = self.output.end();
                self.output.publication(codec, (channel, Named::Name(name)), &missed);
                let range = Range { start: begin, end: self.output.end() };
                self.mark_or_spill(conn, range);
            }
        }
    }

    /// A home refused what the server began.
    pub(in crate::edge) fn server_subscribe_refused(
        &mut self,
        to: ReplyTo,
        sequence: u32,
        channel: &str,
        error: ErrorCode,
        now: Now,
    ) {
        let Some(conn) = self.of(to.connection) else { return };
        if let Some(begun) = self.take_begun(conn, sequence) {
            self.user_calls.part_done(begun.call);
            self.begin_refused(conn, channel, error, begun.in_connect, now);
        }
    }

    /// The connection ends: nothing more is done about it.
    pub(in crate::edge) fn drop_server_side(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        if it.server().is_none() {
            return;
        }
        let Some(Aside::Server(server)) = it.aside.take().map(|aside| *aside) else { return };
        self.drop_held(conn, &server.held);
        let waiting = server.queue.iter().map(|wish| match wish {
            Wish::Begin(_) | Wish::End(_) => NOBODY,
            Wish::Command(_, call) => *call,
        });
        for call in waiting.chain(server.begun.iter().map(|begun| begun.call)) {
            self.user_calls.part_done(call);
        }
        if server.parked.is_some() {
            self.forget_unpushed(conn);
        }
    }
}
