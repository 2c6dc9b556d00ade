//! What a connection may do in a channel, by the channel's options and the connection's user.
//!
//! Must not know tokens, and changes nothing.

use crate::codec::command::ErrorCode;
use crate::contract::name::Name;
use crate::contract::user::{Overrides, ServerSubscription};
use crate::edge::connection::SubscriptionState;
use crate::edge::{ConnectionId, Edge};
use crate::namespace::{ChannelOptions, NameError, RecoveryMode, Who};

impl Edge {
    /// The options of a channel that keeps history.
    pub(in crate::edge) fn history_options(&self, name: &str) -> Result<ChannelOptions, ErrorCode> {
        let options = self.channel_options(name)?;
        if options.keeps_history() { Ok(options) } else { Err(ErrorCode::NotAvailable) }
    }

    /// The options of a channel with presence.
    pub(in crate::edge) fn presence_options(
        &self,
        name: &str,
    ) -> Result<ChannelOptions, ErrorCode> {
        let options = self.channel_options(name)?;
        if options.presence { Ok(options) } else { Err(ErrorCode::NotAvailable) }
    }

    /// Does a recovery in this channel return only the last publication?
    pub(in crate::edge) fn is_cache(&self, name: &str) -> bool {
        let options = self.namespaces.options(name);
        options.is_some_and(|options| options.recovery_mode == RecoveryMode::Cache)
    }

    /// The options of a channel's namespace, if its name is valid.
    pub(in crate::edge) fn channel_options(&self, name: &str) -> Result<ChannelOptions, ErrorCode> {
        let bytes_max = self.limits.channel_name_bytes as usize;
        if bytes_max > 0 && name.len() > bytes_max {
            return Err(ErrorCode::BadRequest);
        }
        self.namespaces.channel(name).cloned().map_err(name_error)
    }

    /// May this connection subscribe to a channel by itself?
    pub(in crate::edge) fn may_subscribe(
        &self,
        conn: ConnectionId,
        name: &str,
        options: &ChannelOptions,
    ) -> bool {
        let listed = options.allow_user_limited && self.is_listed(conn, name) == Some(true);
        !self.namespaces.is_private(name)
            && (listed || self.is_allowed(conn, name, options.allow_subscribe))
    }

    /// Is the channel reserved for this connection's user? `None` if it is not reserved.
    pub(in crate::edge) fn is_listed(&self, conn: ConnectionId, name: &str) -> Option<bool> {
        let user = self.connection(conn).user.as_ref();
        self.namespaces.is_listed(name, user.map(Name::as_str))
    }

    /// The personal channel of a user, if they are enabled.
    ///
    /// # Errors
    /// If the user's id does not fit into a channel's name.
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

    /// May this connection do something that `who` may do in a channel? In a channel that is
    /// reserved for some users, others may do nothing.
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
}

fn name_error(error: NameError) -> ErrorCode {
    match error {
        NameError::UnknownNamespace => ErrorCode::UnknownChannel,
        NameError::NotAName => ErrorCode::BadRequest,
    }
}
