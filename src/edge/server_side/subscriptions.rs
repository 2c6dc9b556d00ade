//! Subscriptions that the server begins and ends: at connect, and by commands of the server API.
//!
//! Invariants: what is to be done stands in one queue for each connection and is done in order;
//! what reaches a home is pushed from that queue, never from a delivery (rule 3); and nothing more
//! is done about a channel before the answer to what was asked about it last.

use crate::clock::Now;
use crate::codec::command::{
    Disconnect, ErrorCode, Named, Push, PushSubscribe, Reply, UNSUBSCRIBE_SERVER,
};
use crate::contract::block::Placed;
use crate::contract::envelope::{Recovery, Request};
use crate::contract::key::ReplyTo;
use crate::contract::user::{ServerSubscription, SharedCommand, UserAction};
use crate::edge::channels::NO_FILTER;
use crate::edge::connection::server_side::{Begun, ServerBegin, Wish};
use crate::edge::connection::{Life, Parked, SubscriptionState, Traits};
use crate::edge::ids::epoch::EpochText;
use crate::edge::output::arena::Range;
use crate::edge::output::frames::{publication, publisher_id};
use crate::edge::subscriptions::{Asked, Start};
use crate::edge::user_calls::{CallPlace, NOBODY};
use crate::edge::{ConnectionId, Edge, Late, Turn};
use crate::limits::USER_COMMANDS_WAITING;
use crate::namespace::{ChannelOptions, Mode};

impl Edge {
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
            // The home has registered it, and its connect is not answered yet.
            None => it.life == Life::Authenticating,
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
                self.end_by_server(conn, channel.as_str(), UNSUBSCRIBE_SERVER, NOBODY);
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
                self.end_by_server(conn, channel.as_str(), (*code, reason), call);
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
    pub(in crate::edge) fn begin(
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
        request.infos = self.details.infos(conn.index, Some(sequence));
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
            self.close_with(conn, Disconnect::ChannelLimit, now);
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
            self.join_line(conn, home);
            return false;
        }
        true
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
                let id = publisher_id(block);
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
            if error == ErrorCode::Internal {
                self.user_calls.part_failed(begun.call);
            } else {
                self.user_calls.part_done(begun.call);
            }
            self.begin_refused(conn, channel, error, begun.in_connect, now);
        }
    }
}
