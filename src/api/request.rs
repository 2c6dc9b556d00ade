//! What calls ask for, independent of the form of their bodies.
//!
//! Must not know JSON's names. Invariant: lists are within their bounds.

use crate::codec::command::History;
use std::borrow::Cow;

/// What a call asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiRequest<'a> {
    Publish {
        channel: Cow<'a, str>,
        what: Published<'a>,
    },
    /// At most `BROADCAST_CHANNELS`; an empty name is an error in its place.
    Broadcast {
        channels: Vec<Cow<'a, str>>,
        what: Published<'a>,
    },
    Subscribe(ApiSubscribe<'a>),
    Unsubscribe {
        whom: ApiSelection<'a>,
        channel: Cow<'a, str>,
    },
    Disconnect(ApiDisconnect<'a>),
    Refresh(ApiRefresh<'a>),
    Presence {
        channel: Cow<'a, str>,
    },
    PresenceStats {
        channel: Cow<'a, str>,
    },
    History(History<'a>),
    HistoryRemove {
        channel: Cow<'a, str>,
    },
    /// Those whose names match; "" for all.
    Channels {
        pattern: Cow<'a, str>,
    },
    Info,
    Rpc {
        method: Cow<'a, str>,
        params: &'a [u8],
    },
}

impl ApiRequest<'_> {
    /// The channel that the request is about; `None` if there is none, or several.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            ApiRequest::Publish { channel, .. }
            | ApiRequest::Unsubscribe { channel, .. }
            | ApiRequest::Presence { channel }
            | ApiRequest::PresenceStats { channel }
            | ApiRequest::HistoryRemove { channel } => Some(channel),
            ApiRequest::Subscribe(subscribe) => Some(&subscribe.channel),
            ApiRequest::History(history) => Some(&history.channel),
            ApiRequest::Broadcast { .. }
            | ApiRequest::Disconnect(_)
            | ApiRequest::Refresh(_)
            | ApiRequest::Channels { .. }
            | ApiRequest::Info
            | ApiRequest::Rpc { .. } => None,
        }
    }
}

/// A publication without its channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published<'a> {
    pub data: Cow<'a, [u8]>,
    /// It was given as bytes (`b64data`), not as a JSON value.
    pub bytes: bool,
    /// Packed.
    pub tags: Vec<u8>,
    /// Deliver it without keeping it in history.
    pub skip_history: bool,
    pub idempotency_key: Cow<'a, str>,
    /// The publication is dropped if the channel has this version or a newer one; 0 for none.
    pub version: u64,
    pub version_epoch: Cow<'a, str>,
}

impl Published<'_> {
    /// The same, owned.
    #[must_use]
    pub fn into_owned(self) -> Published<'static> {
        Published {
            data: self.data.into_owned().into(),
            bytes: self.bytes,
            tags: self.tags,
            skip_history: self.skip_history,
            idempotency_key: self.idempotency_key.into_owned().into(),
            version: self.version,
            version_epoch: self.version_epoch.into_owned().into(),
        }
    }
}

/// The connections that a call is about: those of a user, of them perhaps only one, or all except a
/// list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSelection<'a> {
    pub user: Cow<'a, str>,
    pub client: Cow<'a, str>,
    pub whitelist: Vec<Cow<'a, str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiSubscribe<'a> {
    pub whom: ApiSelection<'a>,
    pub channel: Cow<'a, str>,
    /// JSON, or empty.
    pub info: Cow<'a, [u8]>,
    /// JSON, or empty.
    pub data: Cow<'a, [u8]>,
    pub since: Option<(u64, Cow<'a, str>)>,
    pub switches: Switches,
    /// Seconds since 1970; `None`: it does not expire.
    pub expire_at_s: Option<u64>,
}

/// Options of a subscription that override those of the namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    pub presence: Option<bool>,
    pub join_leave: Option<bool>,
    pub force_push_join_leave: Option<bool>,
    pub force_positioning: Option<bool>,
    pub force_recovery: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiDisconnect<'a> {
    pub whom: ApiSelection<'a>,
    /// Close code and reason; `None` for the usual ones.
    pub with: Option<(u16, Cow<'a, str>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRefresh<'a> {
    pub whom: ApiSelection<'a>,
    /// The connection has expired and is closed.
    pub expired: bool,
    /// Seconds since 1970; `None`: it does not expire.
    pub expire_at_s: Option<u64>,
    /// Info that others receive from now on, JSON; empty: unchanged.
    pub info: Cow<'a, [u8]>,
}
