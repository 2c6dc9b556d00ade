//! Subscribing and leaving, on the edge's side: permission, the pending entry, the dense lists.
//!
//! Invariant: a subscription is in its channel's list exactly while it is active.

use crate::codec::Codec;
use crate::codec::command::{ErrorCode, FLAG_NUMBER, FLAG_OR_REFUSED, Reply, Subscribe};
use crate::contract::envelope::{Request, SubscribeRequest};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Since};
use crate::contract::user::{Overrides, ServerSubscription};
use crate::edge::channels::{Form, NO_FILTER, Subscriber, Variant};
use crate::edge::connection::{Fact, Subscription, SubscriptionState, Traits};
use crate::edge::{ConnectionId, Edge, Turn};
use crate::filter::{Filter, FilterError};
use crate::namespace::{ChannelOptions, Delta, Mode, NameError, Payload, RecoveryMode, Who};

/// A subscription as it is allowed to be.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub name: &'a str,
    pub traits: Traits,
    /// Its filter in the edge's table, or `NO_FILTER`.
    pub filter: u16,
    pub keeps_history: bool,
    /// Recover from here; none: just go live.
    pub since: Option<Since>,
    /// A recovery was asked for, whether or not it may be had.
    pub recover: bool,
    pub overrides: Overrides,
}

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
        request.infos = self.infos(conn, Some(request.sequence));
        self.issue(conn, home, Request::Subscribe(Box::new(request)), turn);
        Ok(())
    }

    /// Is a subscription told its channel by a number?
    fn is_numbered(&self, conn: ConnectionId, command: &Subscribe<'_>) -> bool {
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
        let mut held = self.filters_held.get(&conn.index).copied().unwrap_or_default();
        let number = self.filters.add(filter, &mut held).ok_or(ErrorCode::LimitExceeded)?;
        self.filters_held.insert(conn.index, held);
        Ok(number)
    }

    /// Notes a subscription that is allowed, whoever asked for it, and gives the request for its
    /// home, which is to be pushed or parked next.
    pub(in crate::edge) fn new_subscription(
        &mut self,
        conn: ConnectionId,
        to: ReplyTo,
        asked: &Asked<'_>,
    ) -> (u16, SubscribeRequest) {
        let home = self.home_of(asked.name);
        let (name, history) = (asked.name, asked.keeps_history);
        let namespace = self.namespaces.counted_at(name);
        let channel = self.channels.find_or_add(name, home, history, namespace);
        self.channels.at(channel).parked += 1;
        self.next_sequence = self.next_sequence.wrapping_add(1);
        let sequence = self.next_sequence;
        self.subscriptions += 1;
        let (traits, filter) = (asked.traits, asked.filter);
        let state = SubscriptionState::Parked;
        self.at(conn).subscriptions.push(Subscription {
            channel,
            sequence,
            place: 0,
            state,
            traits,
            filter,
        });
        let channel = self.channels.at(channel).name.clone();
        let user = self.at(conn).user.clone().unwrap_or_else(|| Name::from(""));
        let Asked { since, recover, overrides, .. } = *asked;
        let recovers = traits.has(Traits::RECOVERABLE) || since.is_some();
        let cache = recovers && self.is_cache(channel.as_str());
        let infos = None;
        let delta = traits.has(Traits::DELTA);
        let request = SubscribeRequest {
            to,
            sequence,
            channel,
            user,
            infos,
            since,
            recover: recover || cache,
            or_refused: false,
            delta,
            overrides,
            cache,
            filtered: filter != NO_FILTER,
        };
        (home, request)
    }

    /// Does a recovery in this channel give the last publication alone?
    pub(in crate::edge) fn is_cache(&self, name: &str) -> bool {
        let options = self.namespaces.options(name);
        options.is_some_and(|options| options.recovery_mode == RecoveryMode::Cache)
    }

    pub(in crate::edge) fn check_subscription_limits(
        &mut self,
        conn: ConnectionId,
        name: &str,
    ) -> Result<(), ErrorCode> {
        let limits = &self.limits;
        let (per_connection, per_worker) =
            (limits.channels_per_connection, limits.subscriptions_per_worker);
        let channels = limits.channels_per_worker as usize;
        let over = |bound: u32, used: usize| bound > 0 && used >= bound as usize;
        let new = self.channels.find(name).is_none();
        if over(per_connection, self.at(conn).subscriptions.len())
            || over(per_worker, self.subscriptions as usize)
            || new && channels > 0 && self.channels.len() >= channels
        {
            return Err(ErrorCode::LimitExceeded);
        }
        Ok(())
    }

    /// The options of a channel's namespace, where its name is one.
    pub(in crate::edge) fn channel_options(&self, name: &str) -> Result<ChannelOptions, ErrorCode> {
        let bytes_max = self.limits.channel_name_bytes as usize;
        if bytes_max > 0 && name.len() > bytes_max {
            return Err(ErrorCode::BadRequest);
        }
        self.namespaces.channel(name).cloned().map_err(name_error)
    }

    /// May this connection subscribe to a channel by itself?
    fn may_subscribe(&self, conn: ConnectionId, name: &str, options: &ChannelOptions) -> bool {
        let listed = options.allow_user_limited && self.is_listed(conn, name) == Some(true);
        !self.namespaces.is_private(name)
            && (listed || self.is_allowed(conn, name, options.allow_subscribe))
    }

    /// Is the channel for this connection's user? None where it is for all.
    pub(in crate::edge) fn is_listed(&self, conn: ConnectionId, name: &str) -> Option<bool> {
        let user = self.connection(conn).user.as_ref();
        self.namespaces.is_listed(name, user.map(Name::as_str))
    }

    /// The channel of a user alone, where users have one.
    ///
    /// # Errors
    /// The user's id makes no name of a channel.
    pub(in crate::edge) fn personal_channel(
        &self,
        user: &Name,
    ) -> Result<Option<ServerSubscription>, ErrorCode> {
        if user.as_str().is_empty() {
            return Ok(None);
        }
        let channel = self.namespaces.personal_channel(user.as_str()).map_err(name_error)?;
        let Some(channel) = channel else { return Ok(None) };
        self.channel_options(&channel)?;
        Ok(Some(ServerSubscription {
            channel: Name::from(channel.as_str()),
            info: Box::default(),
            data: Box::default(),
            overrides: Overrides::default(),
        }))
    }

    /// May this connection do a thing that `who` may do in a channel? In one that is for some users
    /// nobody else may do anything.
    pub(in crate::edge) fn is_allowed(&self, conn: ConnectionId, channel: &str, who: Who) -> bool {
        if self.is_listed(conn, channel) == Some(false) {
            return false;
        }
        match who {
            Who::None => false,
            Who::Anyone => true,
            Who::User => self.connection(conn).user.is_some(),
            Who::Subscriber => {
                let place = self.channels.find(channel);
                place.is_some_and(|place| {
                    let subscription = self.connection(conn).subscription(place);
                    subscription.is_some_and(|it| it.state == SubscriptionState::Active)
                })
            }
        }
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

    /// Must this command wait for the answer to an earlier one about its channel?
    pub(in crate::edge) fn is_in_question(&self, conn: ConnectionId, name: &str) -> bool {
        let Some(channel) = self.channels.find(name) else { return false };
        let subscription = self.connection(conn).subscription(channel);
        subscription.is_some_and(|it| it.state != SubscriptionState::Active)
    }

    /// Adds an answered subscription to its channel's list.
    pub(in crate::edge) fn add_subscriber(&mut self, conn: ConnectionId, channel: u32) {
        let subscription = self.at(conn).subscription(channel).expect("it is being answered");
        let (traits, filter) = (subscription.traits, subscription.filter);
        let form = if traits.has(Traits::DELTA) { Form::Fresh } else { Form::Plain };
        let numbered = traits.has(Traits::NUMBERED);
        let variant = Variant::new(self.at(conn).codec, form, numbered);
        let join_leave = traits.has(Traits::JOIN_LEAVE);
        let subscriber = Subscriber { connection: conn.index, variant, join_leave, filter };
        self.put_back(conn, channel, subscriber);
        self.metrics.subscriptions.set(self.metrics.subscriptions.get() + 1);
        let in_namespace = self.metrics.namespace(self.channels.at(channel).namespace);
        in_namespace.subscriptions.set(in_namespace.subscriptions.get() + 1);
    }

    /// Takes an active subscription out of its channel's list for good.
    pub(in crate::edge) fn remove_subscriber(&mut self, conn: ConnectionId, channel: u32) {
        self.set_aside(conn, channel);
        self.metrics.subscriptions.set(self.metrics.subscriptions.get() - 1);
        let in_namespace = self.metrics.namespace(self.channels.at(channel).namespace);
        in_namespace.subscriptions.set(in_namespace.subscriptions.get() - 1);
    }

    /// Takes an active subscription out of its channel's list.
    pub(in crate::edge) fn set_aside(&mut self, conn: ConnectionId, channel: u32) -> Subscriber {
        let place = self.at(conn).subscription(channel).expect("it is active").place;
        let known = self.channels.at(channel);
        let removed = known.remove_subscriber(place);
        known.filters_ns -= self.filters.cost_ns(removed.filter);
        assert_eq!(removed.connection, conn.index, "a subscription knows its place");
        let moved = known.subscribers.get(place as usize).map(|it| it.connection);
        if let Some(index) = moved {
            let moved = self.at(self.places.id(index)).subscription_mut(channel);
            moved.expect("a subscriber is subscribed").place = place;
        }
        removed
    }

    /// Puts a subscription back that was set aside.
    pub(in crate::edge) fn put_back(
        &mut self,
        conn: ConnectionId,
        channel: u32,
        subscriber: Subscriber,
    ) {
        let known = self.channels.at(channel);
        known.filters_ns += self.filters.cost_ns(subscriber.filter);
        let place = known.add_subscriber(subscriber);
        self.at(conn).subscription_mut(channel).expect("it is active").place = place;
    }
}

/// Can a client of this name (`connect`) be told a channel by its number? npm's SDK asks for that
/// in Protobuf too, where its numbers are objects that are never equal (`_getSub` in 5.8.0, where
/// package `long` is found): it would hear nothing. So there only SDKs that were tried can, and who
/// gives no name.
pub(in crate::edge) fn takes_numbers(codec: Codec, name: &str) -> bool {
    codec != Codec::Protobuf || matches!(name, "" | "go" | "python")
}

fn name_error(error: NameError) -> ErrorCode {
    match error {
        NameError::UnknownNamespace => ErrorCode::UnknownChannel,
        NameError::NotAName => ErrorCode::BadRequest,
    }
}

/// A position as clients write it. With an empty epoch it is of the channel's, as in Centrifugo;
/// with one that is not ours, of no channel's.
pub fn since(epoch: &str, offset: u64) -> Since {
    let epoch = (!epoch.is_empty()).then(|| parse_epoch(epoch).unwrap_or(Epoch::NONE));
    Since { epoch, offset }
}

const LETTERS: usize = 8;

/// Epochs are eight lower-case letters.
fn parse_epoch(text: &str) -> Option<Epoch> {
    let bytes = text.as_bytes();
    if bytes.len() != LETTERS || !bytes.iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    Some(Epoch(bytes.iter().fold(0, |number, letter| number * 26 + u64::from(letter - b'a'))))
}

/// The text of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochText([u8; LETTERS]);

impl EpochText {
    #[must_use]
    pub fn new(epoch: Epoch) -> EpochText {
        let mut number = epoch.0;
        let mut text = [b'a'; LETTERS];
        for letter in text.iter_mut().rev() {
            *letter = b'a' + u8::try_from(number % 26).expect("below 26");
            number /= 26;
        }
        EpochText(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_survive_their_text() {
        for number in [0, 1, 25, 26, 26_u64.pow(8) - 1, 123_456_789] {
            let text = EpochText::new(Epoch(number));
            assert_eq!(parse_epoch(text.as_str()), Some(Epoch(number)));
        }
        for bad in ["", "abc", "ABCDEFGH", "abcdefghi", "abcdefg1"] {
            assert_eq!(parse_epoch(bad), None);
        }
        let epoch = |text| since(text, 7).epoch;
        let read = ["aaaaaaab", "abc", ""].map(epoch);
        assert_eq!(read, [Some(Epoch(1)), Some(Epoch::NONE), None]);
    }
}
