//! The commands subscribe and unsubscribe: what is refused at once, and what a home is asked.

use crate::codec::Codec;
use crate::codec::command::{ErrorCode, FLAG_NUMBER, FLAG_OR_REFUSED, Reply, Subscribe};
use crate::contract::envelope::Request;
use crate::contract::key::ReplyTo;
use crate::contract::user::Overrides;
use crate::edge::channels::NO_FILTER;
use crate::edge::connection::{Fact, SubscriptionState, Traits};
use crate::edge::ids::epoch::since;
use crate::edge::subscriptions::Asked;
use crate::edge::{ConnectionId, Edge, Turn};
use crate::filter::{Filter, FilterError};
use crate::namespace::{ChannelOptions, Delta, Mode, Payload};

impl Edge {
    /// Runs a subscribe command. Its refusals come at once, its answer from the home.
    pub(in crate::edge) fn subscribe(
        &mut self,
        conn: ConnectionId,
        id: u32,
        command: &Subscribe<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        let name: &str = &command.channel;
        let options = self.channel_options(name)?;
        if command.kind != 0 {
            return Err(ErrorCode::NotAvailable);
        }
        if let Some(channel) = self.channels.find(name)
            && self.at(conn).subscription(channel).is_some()
        {
            return Err(ErrorCode::AlreadySubscribed);
        }
        let grant = match &*command.token {
            "" => None,
            text => Some(self.grant(conn, name, text, turn.now)?),
        };
        // A token lets in where nobody may come by himself, but not to another user's channel.
        let allowed = match grant {
            Some(_) => self.is_listed(conn, name) != Some(false),
            None => self.may_subscribe(conn, name, &options),
        };
        if !allowed {
            return Err(ErrorCode::PermissionDenied);
        }
        self.check_subscription_limits(conn, name)?;
        let filter = self.compile_filter(conn, &options, command)?;
        // A delta needs the publication before, which a filter may have kept back.
        let delta = options.delta == Delta::Fossil && command.delta == "fossil";
        // Bytes are base64 in JSON, and the SDKs apply deltas to text there.
        let delta =
            delta && (options.payload == Payload::Json || self.at(conn).codec != Codec::Json);
        let keeps_history = options.keeps_history();
        let own = grant.as_ref().map_or_else(Overrides::default, |grant| grant.overrides);
        let on = |own: Option<bool>, mode: Mode, asked| own.unwrap_or(mode.on(asked));
        let recoverable = keeps_history && on(own.recover, options.recovery, command.recoverable);
        let positioned = keeps_history && on(own.position, options.positioning, command.positioned);
        let join_leave = on(own.force_push_join_leave, options.join_leave, command.join_leave);
        let recovers = command.recover
            && keeps_history
            && own.recover.unwrap_or(options.recovery != Mode::Off);
        let asked = Asked {
            name,
            traits: Traits::default()
                .with(Traits::RECOVERABLE, recoverable)
                .with(Traits::POSITIONED, positioned)
                .with(Traits::JOIN_LEAVE, join_leave)
                .with(Traits::DELTA, delta && filter == NO_FILTER)
                .with(Traits::NUMBERED, self.is_numbered(conn, command)),
            filter,
            keeps_history,
            since: recovers.then(|| since(&command.epoch, command.offset)),
            recover: command.recover,
            overrides: own,
        };
        let to = ReplyTo { connection: self.key(conn), command: id };
        let (home, mut request) = self.new_subscription(conn, to, &asked);
        request.or_refused = command.recover && command.flag & FLAG_OR_REFUSED != 0;
        if let Some(grant) = grant {
            self.granted(conn, request.sequence, grant, turn.now);
        }
        request.infos = self.details.infos(conn.index, Some(request.sequence));
        self.issue(conn, home, Request::Subscribe(Box::new(request)), turn);
        Ok(())
    }

    /// Is a subscription told its channel by a number?
    pub(in crate::edge) fn is_numbered(&self, conn: ConnectionId, command: &Subscribe<'_>) -> bool {
        command.flag & FLAG_NUMBER != 0 && self.connection(conn).facts.has(Fact::TakesNumbers)
    }

    /// The number of the filter that a command asks for, which counts for its connection.
    fn compile_filter(
        &mut self,
        conn: ConnectionId,
        options: &ChannelOptions,
        command: &Subscribe<'_>,
    ) -> Result<u16, ErrorCode> {
        let Some(node) = &command.filter else { return Ok(NO_FILTER) };
        if !options.allow_tags_filter {
            return Err(ErrorCode::BadRequest);
        }
        let filter = Filter::compile(node).map_err(FilterError::code)?;
        self.filters.give(conn.index, filter).ok_or(ErrorCode::LimitExceeded)
    }

    /// Runs an unsubscribe command. It is answered at once; the Unsubscribe goes ahead of what the
    /// connection asks next.
    pub(in crate::edge) fn unsubscribe(
        &mut self,
        conn: ConnectionId,
        id: u32,
        name: &str,
        turn: &mut Turn<'_>,
    ) {
        if let Some(channel) = self.channels.find(name)
            && let Some(subscription) = self.at(conn).subscription(channel)
            && subscription.state == SubscriptionState::Active
        {
            self.remove_subscriber(conn, channel);
            self.at(conn).subscriptions.owe(channel);
            self.settle(conn, turn);
        }
        self.reply(conn, &Reply::Unsubscribe { id });
    }
}

/// Can a client of this name (`connect`) be told a channel by its number? npm's SDK asks for that
/// in Protobuf too, where its numbers are objects that are never equal (`_getSub` in 5.8.0, where
/// package `long` is found): it would hear nothing. So there only SDKs that were tried can, and who
/// gives no name.
pub(in crate::edge) fn takes_numbers(codec: Codec, name: &str) -> bool {
    codec != Codec::Protobuf || matches!(name, "" | "go" | "python")
}
