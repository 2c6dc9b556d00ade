//! Commands of a client, one after the other: what is wrong is answered at once, the rest is asked
//! of a home.

mod asking;
mod refresh;
mod subscribe;

use crate::auth::{Identity, Refusal};
use crate::codec::command::{
    Command, Connect, Disconnect, ErrorCode, History, Method, Publish, Reply, Tags,
};
use crate::codec::{payload, tags};
use crate::contract::block::{Block, Parts, Publisher};
use crate::contract::envelope::{PublishOptions, Request};
use crate::contract::infos::Infos;
use crate::contract::key::ReplyTo;
use crate::edge::commands::subscribe::takes_numbers;
use crate::edge::connection::under_way::{About, channel_of};
use crate::edge::connection::{Fact, Later, Life};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::limits::IDEMPOTENCY_KEY_BYTES;
use crate::rules::sabotage;

impl Edge {
    /// The channel that a command has to wait for, where it has to: as a hash of its name (rule
    /// 32). `earlier` are the commands that wait before it.
    pub(in crate::edge) fn must_wait(
        &self,
        conn: ConnectionId,
        command: &Command<'_>,
        earlier: &[Later],
    ) -> Option<u32> {
        if self.must_line_up(&command.method) {
            return Some(self.channel_hash(channel_of(&command.method)?.0));
        }
        let it = self.connection(conn);
        let (in_flight, under_way) = (it.in_flight, it.under_way);
        let owes = it.facts.has(Fact::Owing) || it.facts.has(Fact::Waiting);
        if in_flight == 0 && earlier.is_empty() && !owes && it.server().is_none() {
            return None;
        }
        let (name, kind) = channel_of(&command.method)?;
        let channel = self.channel_hash(name);
        let asked = About { id: command.id, channel, kind };
        let waits = earlier.iter().any(|later| later.channel == channel)
            || self.is_in_question(conn, name)
            || self.under_way.holds_back(under_way, asked);
        sabotage!(InOrder: waits = self.waits_as_subscribe(conn, command, name, earlier));
        waits.then_some(channel)
    }

    /// Runs one command. Some: it would be refused here and now, while others about this channel
    /// are not answered; it is to be run again when they are.
    pub(in crate::edge) fn command(
        &mut self,
        conn: ConnectionId,
        command: Command<'_>,
        turn: &mut Turn<'_>,
    ) -> Option<u32> {
        let behind = match &command.method {
            Method::Publish(publish) if self.at(conn).in_flight > 0 => {
                let under_way = self.at(conn).under_way;
                let channel = self.channel_hash(&publish.channel);
                self.under_way.is_about(under_way, channel).then_some(channel)
            }
            _ => None,
        };
        let (id, name, channel) = (command.id, command.method.name(), command.method.channel());
        let noted = self.refusals.noted();
        let Err(error) = self.try_command(conn, command, turn) else { return None };
        if behind.is_some() {
            return behind;
        }
        if self.refusals.noted() == noted {
            self.command_refused(conn, error, name, &channel, turn.now);
        }
        if id == 0 {
            // A send without an id: an answer with id 0 would be taken for a push.
            self.count_error(error);
        } else {
            self.reply(conn, &Reply::Error { id, error });
        }
        None
    }

    /// The same; an error is what the command is to be answered.
    fn try_command(
        &mut self,
        conn: ConnectionId,
        command: Command<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let Command { id, method, attributes } = command;
        let connected = self.at(conn).life == Life::Active;
        match (&method, connected) {
            (Method::Connect(_), false) if attributes && id > 0 => {
                return Err(ErrorCode::NotAvailable);
            }
            (Method::Connect(connect), false) => {
                self.connect(conn, id, connect, turn);
                return Ok(());
            }
            (Method::ExcessiveConnect, false) if id > 0 => return Err(ErrorCode::BadRequest),
            (Method::Pong, _) => return Ok(()),
            // The first command must be connect, and only the first may be.
            (Method::Connect(_) | Method::ExcessiveConnect, true) | (_, false) => {
                self.close_with(conn, Disconnect::BadRequest, turn.now);
                return Ok(());
            }
            _ => {}
        }
        if id == 0 && !matches!(method, Method::Send { .. }) {
            self.close_with(conn, Disconnect::BadRequest, turn.now);
            return Ok(());
        }
        let malformed = match &method {
            // A kind of delta that nobody knows is a client's mistake, as an empty name is.
            Method::Subscribe(command) => {
                command.channel.is_empty() || !matches!(&*command.delta, "" | "fossil")
            }
            Method::Publish(command) => command.channel.is_empty(),
            Method::History(command) => command.channel.is_empty(),
            Method::Unsubscribe { channel }
            | Method::Presence { channel }
            | Method::PresenceStats { channel }
            | Method::SubRefresh { channel, .. } => channel.is_empty(),
            _ => false,
        };
        if malformed {
            self.close_with(conn, Disconnect::BadRequest, turn.now);
            return Ok(());
        }
        if attributes {
            return Err(ErrorCode::NotAvailable);
        }
        self.run(conn, id, method, turn)
    }

    fn run(
        &mut self,
        conn: ConnectionId,
        id: u32,
        method: Method<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        match method {
            Method::Subscribe(command) => self.subscribe(conn, id, &command, turn),
            Method::Unsubscribe { channel } => {
                self.unsubscribe(conn, id, &channel, turn);
                Ok(())
            }
            Method::Publish(command) => self.publish(conn, id, &command, turn),
            Method::History(command) => self.history(conn, id, &command, turn),
            Method::Presence { channel } => self.presence(conn, id, &channel, false, turn),
            Method::PresenceStats { channel } => self.presence(conn, id, &channel, true, turn),
            Method::Ping => {
                self.reply(conn, &Reply::Ping { id });
                Ok(())
            }
            Method::Rpc { method, data } => self.rpc(conn, id, &method, data),
            Method::Excessive => Err(ErrorCode::BadRequest),
            Method::Attributes => Err(ErrorCode::NotAvailable),
            // Nobody takes messages yet; SDKs are not told, as sending has no answer.
            Method::Send { .. } => Ok(()),
            Method::Refresh { token: text } => self.refresh(conn, id, &text, turn.now),
            // Keys of a shared poll.
            Method::SubRefresh { asks_more: true, .. } => Err(ErrorCode::NotAvailable),
            Method::SubRefresh { channel, token: text, .. } => {
                self.sub_refresh(conn, id, &channel, &text, turn.now)
            }
            Method::Connect(_) | Method::ExcessiveConnect | Method::Pong => {
                unreachable!("they were run before")
            }
        }
    }

    pub(in crate::edge) fn connect(
        &mut self,
        conn: ConnectionId,
        id: u32,
        command: &Connect<'_>,
        turn: &mut Turn<'_>,
    ) {
        if id == 0 {
            return self.close_with(conn, Disconnect::BadRequest, turn.now);
        }
        let identity = match self.authenticate(conn, &command.token, turn.now) {
            Ok(identity) => identity,
            Err(Refusal::Error(error)) => return self.reply(conn, &Reply::Error { id, error }),
            Err(Refusal::Disconnect(why)) => return self.close_with(conn, why, turn.now),
        };
        if self.at(conn).facts.has(Fact::Registered) {
            // Its connect was refused over a subscription.
            return self.close_with(conn, Disconnect::BadRequest, turn.now);
        }
        let Identity { user, expires_ms, info, subs, .. } = identity;
        let personal = self.personal_channel(&user).unwrap_or_else(|_| {
            self.no_personal_channel(conn, user.as_str(), turn.now);
            None
        });
        let begins = match self.connect_subscriptions(command, personal, subs) {
            Ok(begins) => begins,
            Err(error) => {
                self.connect_channel_refused(conn, error, &command.token, turn.now);
                return self.reply(conn, &Reply::Error { id, error });
            }
        };
        self.identified(conn, info, expires_ms, !command.token.is_empty(), turn.now);
        let anonymous = user.as_str().is_empty();
        let it = self.at(conn);
        it.user = (!anonymous).then(|| user.clone());
        it.facts.set(Fact::AwaitsConnect, true);
        it.connect_id = id;
        it.facts.set(Fact::TakesNumbers, takes_numbers(it.codec, &command.name));
        let subscribes = !begins.is_empty();
        if subscribes {
            self.await_subscriptions(conn, begins);
        }
        if anonymous {
            if !subscribes {
                self.connected(conn, turn.now);
            }
            return;
        }
        let home = self.home_of(user.as_str());
        let connection = self.key(conn);
        let request = Request::Register { connection, user };
        sabotage!(RegFirst => return self.register_late(conn, home, request, turn.now));
        self.issue(conn, home, request, turn);
    }

    fn publish(
        &mut self,
        conn: ConnectionId,
        id: u32,
        command: &Publish<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        if command.asks_more {
            return Err(ErrorCode::NotAvailable);
        }
        let idempotency_key: Box<str> = (&*command.idempotency_key).into();
        if idempotency_key.len() > IDEMPOTENCY_KEY_BYTES {
            return Err(ErrorCode::BadRequest);
        }
        let name: &str = &command.channel;
        let options = self.channel_options(name)?;
        let who = options.allow_publish;
        if !self.is_allowed(conn, name, who) {
            return Err(ErrorCode::PermissionDenied);
        }
        let connection = self.key(conn);
        let user = self.at(conn).user.clone();
        let user = user.as_ref().map_or("", |user| user.as_str());
        let tags = tags::pack(&command.tags).ok_or(ErrorCode::BadRequest)?;
        let infos = self.publisher_infos(conn, name);
        let publisher = Publisher {
            key: Some(connection),
            client: self.ids.bytes(connection),
            user,
            conn_info: infos.as_ref().map_or(b"", |infos| infos.connection()),
            chan_info: infos.as_ref().map_or(b"", |infos| infos.subscription()),
            exclude_self: command.exclude_self,
        };
        let codec = self.at(conn).codec;
        let data = payload::keep(codec, options.payload, command.data)?;
        let parts = Parts {
            channel: name,
            publisher: Some(publisher),
            tags: Tags::packed(&tags),
            data: &data,
            now: turn.now,
        };
        let block = Block::of(options.payload, &parts);
        self.metrics.namespace(self.namespaces.counted_at(name)).publications.add(1);
        let home = self.home_of(name);
        let to = ReplyTo { connection, command: id };
        let options = (!idempotency_key.is_empty())
            .then(|| Box::new(PublishOptions { idempotency_key, ..PublishOptions::default() }));
        self.issue(conn, home, Request::Publish { to, block, options }, turn);
        Ok(())
    }

    /// What the others are told of whoever publishes in a channel, besides its user.
    fn publisher_infos(&self, conn: ConnectionId, name: &str) -> Option<Infos> {
        self.details.get(conn.index)?;
        let channel = self.channels.find(name);
        let of = channel.and_then(|channel| self.connection(conn).subscription(channel));
        self.details.infos(conn.index, of.map(|it| it.sequence))
    }

    fn history(
        &mut self,
        conn: ConnectionId,
        id: u32,
        command: &History<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let name: &str = &command.channel;
        let who = self.history_options(name)?.allow_history;
        if !self.is_allowed(conn, name, who) {
            return Err(ErrorCode::PermissionDenied);
        }
        let to = ReplyTo { connection: self.key(conn), command: id };
        let user = self.at(conn).user.clone().unwrap_or_else(|| "".into());
        let request = Self::history_request(to, command, Some(user))?;
        self.issue(conn, self.home_of(name), request, turn);
        Ok(())
    }

    fn presence(
        &mut self,
        conn: ConnectionId,
        id: u32,
        name: &str,
        stats: bool,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let who = self.presence_options(name)?.allow_presence;
        if !self.is_allowed(conn, name, who) {
            return Err(ErrorCode::PermissionDenied);
        }
        let to = ReplyTo { connection: self.key(conn), command: id };
        let request = Self::presence_request(to, name, stats);
        self.issue(conn, self.home_of(name), request, turn);
        Ok(())
    }

    fn rpc(
        &mut self,
        conn: ConnectionId,
        id: u32,
        method: &str,
        data: &[u8],
    ) -> Result<(), ErrorCode> {
        let codec = self.at(conn).codec;
        let answer = self.rpc_answer(codec, method, data)?;
        self.reply(conn, &Reply::Rpc { id, data: &answer });
        Ok(())
    }
}
