//! What calls ask for, whatever their bodies look like.
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
    /// Those whose names fit; "" for all.
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
    /// The one channel that it is about; none for several, or none at all.
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
            _ => None,
        }
    }
}

/// What is published, whatever the channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published<'a> {
    pub data: Cow<'a, [u8]>,
    /// It came as bytes (`b64data`), not as a JSON value.
    pub bytes: bool,
    /// Packed.
    pub tags: Vec<u8>,
    /// It is delivered, and not kept.
    pub skip_history: bool,
    pub idempotency_key: Cow<'a, str>,
    /// It is dropped where the channel has one as new; 0 for none.
    pub version: u64,
    pub version_epoch: Cow<'a, str>,
}

impl Published<'_> {
    /// The same, with a life of its own.
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

/// Which connections are meant: of a user, and of those one, or not those in the list.
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
    /// Seconds since 1970; none: it does not expire.
    pub expire_at_s: Option<u64>,
}

/// Options of a subscription that are otherwise than its namespace says.
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
    /// Close code and reason; none for the usual ones.
    pub with: Option<(u16, Cow<'a, str>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRefresh<'a> {
    pub whom: ApiSelection<'a>,
    /// It has expired: it ends.
    pub expired: bool,
    /// Seconds since 1970; none: it does not expire.
    pub expire_at_s: Option<u64>,
    /// What others are told from here on, JSON; empty: as before.
    pub info: Cow<'a, [u8]>,
}
