//! The bodies of calls as Centrifugo documents them: absent and null fields are empty, unknown ones
//! are ignored.
//!
//! Must not know namespaces or connections. Invariant: a body that asks for something this version
//! cannot do is refused, never carried out in part.

#[cfg(test)]
mod tests;

use super::request::{
    ApiDisconnect, ApiRefresh, ApiRequest, ApiSelection, ApiSubscribe, Published, Switches,
};
use super::unfit::Unfit;
use super::values::{ApiTags, Object, Text, base64, json, raw};
use super::{ApiMethod, batch, unfit};
use crate::codec::command::{ErrorCode, History, Payload};
use crate::codec::{Codec, payload};
use crate::limits::{BROADCAST_CHANNELS, CLOSE_REASON_BYTES, WHITELIST_CLIENTS};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Reads the body of a call. The body of a batch is read by `Batch`.
///
/// # Errors
/// 107 if it is not valid, a required field is empty, or it nests deeper than `JSON_DEPTH`; 106 if
/// a list is over its bound; 108 if it asks for something that this version cannot do.
pub fn read(method: ApiMethod, body: &[u8]) -> Result<ApiRequest<'_>, ErrorCode> {
    request(method, body).map_err(|unfit| unfit.error)
}

fn request(method: ApiMethod, body: &[u8]) -> Result<ApiRequest<'_>, Unfit> {
    match method {
        ApiMethod::Publish => json::<PublishBody<'_>>(body)?.request(),
        ApiMethod::Broadcast => json::<BroadcastBody<'_>>(body)?.request(),
        ApiMethod::Subscribe => json::<SubscribeBody<'_>>(body)?.request(),
        ApiMethod::Unsubscribe => json::<UnsubscribeBody<'_>>(body)?.request(),
        ApiMethod::Disconnect => json::<DisconnectBody<'_>>(body)?.request(),
        ApiMethod::Refresh => json::<RefreshBody<'_>>(body)?.request(),
        ApiMethod::Presence => Ok(ApiRequest::Presence { channel: channel(body)? }),
        ApiMethod::PresenceStats => Ok(ApiRequest::PresenceStats { channel: channel(body)? }),
        ApiMethod::History => json::<HistoryBody<'_>>(body)?.request(),
        ApiMethod::HistoryRemove => Ok(ApiRequest::HistoryRemove { channel: channel(body)? }),
        ApiMethod::Channels => {
            Ok(ApiRequest::Channels { pattern: json::<ChannelsBody<'_>>(body)?.pattern.0 })
        }
        ApiMethod::Info => Ok(json::<InfoBody>(body).map(|InfoBody {}| ApiRequest::Info)?),
        ApiMethod::Rpc => json::<RpcBody<'_>>(body)?.request(),
        ApiMethod::Batch | ApiMethod::Commands => Err(ErrorCode::MethodNotFound.into()),
        ApiMethod::Map => Err(Unfit::not_available("this server has no maps")),
    }
}

/// Says what is wrong with a body that `read` refused, for the holder of the API key. `None`: there
/// is nothing to add to the code.
#[must_use]
pub fn explain(method: ApiMethod, body: &[u8]) -> Option<String> {
    let many = matches!(method, ApiMethod::Batch | ApiMethod::Commands);
    let unfit = if many { ErrorCode::BadRequest.into() } else { request(method, body).err()? };
    match method {
        ApiMethod::Publish => unfit::explain::<PublishBody<'_>>(body, unfit),
        ApiMethod::Broadcast => unfit::explain::<BroadcastBody<'_>>(body, unfit),
        ApiMethod::Subscribe => unfit::explain::<SubscribeBody<'_>>(body, unfit),
        ApiMethod::Unsubscribe => unfit::explain::<UnsubscribeBody<'_>>(body, unfit),
        ApiMethod::Disconnect => unfit::explain::<DisconnectBody<'_>>(body, unfit),
        ApiMethod::Refresh => unfit::explain::<RefreshBody<'_>>(body, unfit),
        ApiMethod::Presence | ApiMethod::PresenceStats | ApiMethod::HistoryRemove => {
            unfit::explain::<ChannelBody<'_>>(body, unfit)
        }
        ApiMethod::History => unfit::explain::<HistoryBody<'_>>(body, unfit),
        ApiMethod::Channels => unfit::explain::<ChannelsBody<'_>>(body, unfit),
        ApiMethod::Info => unfit::explain::<InfoBody>(body, unfit),
        ApiMethod::Rpc => unfit::explain::<RpcBody<'_>>(body, unfit),
        ApiMethod::Batch => unfit::explain::<batch::Body<'_>>(body, unfit),
        ApiMethod::Commands => unfit::explain::<batch::Line<'_>>(body, unfit),
        ApiMethod::Map => unfit::explain::<InfoBody>(body, unfit),
    }
}

#[derive(Deserialize)]
struct PublishBody<'a> {
    #[serde(borrow, default)]
    channel: Text<'a>,
    #[serde(borrow, default, deserialize_with = "raw")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64data: Text<'a>,
    #[serde(default)]
    skip_history: Option<bool>,
    #[serde(borrow, default)]
    tags: ApiTags<'a>,
    #[serde(borrow, default)]
    idempotency_key: Text<'a>,
    #[serde(default)]
    delta: Option<bool>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(borrow, default)]
    version_epoch: Text<'a>,
}

#[derive(Deserialize)]
struct BroadcastBody<'a> {
    #[serde(borrow, default)]
    channels: Option<Vec<Text<'a>>>,
    #[serde(borrow, default, deserialize_with = "raw")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64data: Text<'a>,
    #[serde(default)]
    skip_history: Option<bool>,
    #[serde(borrow, default)]
    tags: ApiTags<'a>,
    #[serde(borrow, default)]
    idempotency_key: Text<'a>,
    #[serde(default)]
    delta: Option<bool>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(borrow, default)]
    version_epoch: Text<'a>,
}

impl<'a> PublishBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let channel = self.channel.clone().required("channel")?;
        Ok(ApiRequest::Publish { channel, what: self.published()? })
    }

    fn published(self) -> Result<Published<'a>, Unfit> {
        // Deltas are made for subscribers that want them, whatever the publisher asks for.
        let _ = self.delta;
        let (bytes, data) = bytes_or_value(&self.b64data, self.data)?;
        if data.is_empty() {
            return Err(Unfit::missing("data"));
        }
        Ok(Published {
            data,
            bytes,
            tags: self.tags.pack()?,
            skip_history: self.skip_history.unwrap_or(false),
            idempotency_key: self.idempotency_key.0,
            version: self.version.unwrap_or(0),
            version_epoch: self.version_epoch.0,
        })
    }
}

impl<'a> BroadcastBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let channels = self.channels.unwrap_or_default();
        if channels.is_empty() {
            return Err(Unfit::missing("channels"));
        }
        if channels.len() > BROADCAST_CHANNELS {
            return Err(Unfit::too_many("channels"));
        }
        let publish = PublishBody {
            channel: Text::default(),
            data: self.data,
            b64data: self.b64data,
            skip_history: self.skip_history,
            tags: self.tags,
            idempotency_key: self.idempotency_key,
            delta: self.delta,
            version: self.version,
            version_epoch: self.version_epoch,
        };
        let channels = channels.into_iter().map(|channel| channel.0).collect();
        Ok(ApiRequest::Broadcast { channels, what: publish.published()? })
    }
}

/// The bytes of the base64 field if it is there, else the value, and whether it was the first.
fn bytes_or_value<'a>(
    base64_field: &Text<'a>,
    value: Option<&'a RawValue>,
) -> Result<(bool, Cow<'a, [u8]>), Unfit> {
    if base64_field.0.is_empty() {
        let value = value.map_or(b"".as_slice(), |value| value.get().as_bytes());
        return Ok((false, value.into()));
    }
    Ok((true, base64(&base64_field.0)?.into()))
}

/// Checks `client` and `session` beside `user`. Sessions belong to transports that Corecast does
/// not have, and connections have no labels; `all_users` means everybody if `user` is empty.
fn whom<'a>(
    user: Text<'a>,
    client: Text<'a>,
    session: &Text<'a>,
    label_filter: Option<&RawValue>,
    all_users: Option<bool>,
) -> Result<ApiSelection<'a>, Unfit> {
    if !session.0.is_empty() {
        return Err(Unfit::not_available(
            "session is for transports that this server does not have",
        ));
    }
    if label_filter.is_some() || all_users == Some(true) {
        return Err(Unfit::not_available("label_filter and all_users are not supported"));
    }
    let user = user.required("user")?;
    Ok(ApiSelection { user, client: client.0, whitelist: Vec::new() })
}

#[derive(Deserialize)]
struct SubscribeBody<'a> {
    #[serde(borrow, default)]
    user: Text<'a>,
    #[serde(borrow, default)]
    channel: Text<'a>,
    #[serde(borrow, default, deserialize_with = "raw")]
    info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64info: Text<'a>,
    #[serde(borrow, default)]
    client: Text<'a>,
    #[serde(borrow, default)]
    session: Text<'a>,
    #[serde(borrow, default)]
    label_filter: Option<&'a RawValue>,
    #[serde(default)]
    all_users: Option<bool>,
    #[serde(borrow, default, deserialize_with = "raw")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    b64data: Text<'a>,
    #[serde(borrow, default)]
    recover_since: Option<Object<PositionBody<'a>>>,
    #[serde(default, rename = "override")]
    switches: Option<Object<OverrideBody>>,
    #[serde(default)]
    expire_at: Option<i64>,
}

#[derive(Deserialize)]
struct PositionBody<'a> {
    #[serde(default)]
    offset: Option<u64>,
    #[serde(borrow, default)]
    epoch: Text<'a>,
}

#[derive(Default, Deserialize)]
struct OverrideBody {
    #[serde(default)]
    presence: Option<Object<BoolBody>>,
    #[serde(default)]
    join_leave: Option<Object<BoolBody>>,
    #[serde(default)]
    force_push_join_leave: Option<Object<BoolBody>>,
    #[serde(default)]
    force_positioning: Option<Object<BoolBody>>,
    #[serde(default)]
    force_recovery: Option<Object<BoolBody>>,
}

#[derive(Clone, Copy, Deserialize)]
struct BoolBody {
    #[serde(default)]
    value: Option<bool>,
}

impl<'a> SubscribeBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let channel = self.channel.required("channel")?;
        let whom = whom(self.user, self.client, &self.session, self.label_filter, self.all_users)?;
        let on =
            |body: Option<Object<BoolBody>>| body.map(|Object(body)| body.value.unwrap_or(false));
        let Object(switches) = self.switches.unwrap_or_default();
        Ok(ApiRequest::Subscribe(ApiSubscribe {
            whom,
            channel,
            info: json_value(&self.b64info, self.info)?,
            data: json_value(&self.b64data, self.data)?,
            since: self
                .recover_since
                .map(|Object(since)| (since.offset.unwrap_or(0), since.epoch.0)),
            switches: Switches {
                presence: on(switches.presence),
                join_leave: on(switches.join_leave),
                force_push_join_leave: on(switches.force_push_join_leave),
                force_positioning: on(switches.force_positioning),
                force_recovery: on(switches.force_recovery),
            },
            expire_at_s: moment(self.expire_at)?,
        }))
    }
}

/// A time in seconds since 1970, where 0 means never.
fn moment(seconds: Option<i64>) -> Result<Option<u64>, Unfit> {
    let seconds = u64::try_from(seconds.unwrap_or(0));
    let seconds = seconds.map_err(|_| Unfit::bad("expire_at is before 1970"))?;
    Ok((seconds > 0).then_some(seconds))
}

/// A JSON value that is sent in every codec; empty for `null`. Raw newlines, which are white space
/// in JSON, become spaces, because a newline separates messages.
fn json_value<'a>(
    base64_field: &Text<'a>,
    value: Option<&'a RawValue>,
) -> Result<Cow<'a, [u8]>, Unfit> {
    let (bytes, mut data) = bytes_or_value(base64_field, value)?;
    if bytes {
        let kept = payload::keep(Codec::Protobuf, Payload::Json, &data)?;
        data = Cow::Owned(kept.into_owned());
    } else if *data == *b"null" {
        return Ok(Cow::default());
    }
    let newline = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if data.iter().any(newline) {
        data.to_mut().iter_mut().filter(|byte| newline(byte)).for_each(|byte| *byte = b' ');
    }
    Ok(data)
}

#[derive(Deserialize)]
struct UnsubscribeBody<'a> {
    #[serde(borrow, default)]
    user: Text<'a>,
    #[serde(borrow, default)]
    channel: Text<'a>,
    #[serde(borrow, default)]
    client: Text<'a>,
    #[serde(borrow, default)]
    session: Text<'a>,
    #[serde(borrow, default)]
    label_filter: Option<&'a RawValue>,
    #[serde(default)]
    all_users: Option<bool>,
}

impl<'a> UnsubscribeBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let channel = self.channel.required("channel")?;
        let whom = whom(self.user, self.client, &self.session, self.label_filter, self.all_users)?;
        Ok(ApiRequest::Unsubscribe { whom, channel })
    }
}

#[derive(Deserialize)]
struct DisconnectBody<'a> {
    #[serde(borrow, default)]
    user: Text<'a>,
    #[serde(borrow, default)]
    client: Text<'a>,
    #[serde(borrow, default)]
    session: Text<'a>,
    #[serde(borrow, default)]
    label_filter: Option<&'a RawValue>,
    #[serde(default)]
    all_users: Option<bool>,
    #[serde(borrow, default)]
    whitelist: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    disconnect: Option<Object<CloseBody<'a>>>,
}

#[derive(Deserialize)]
struct CloseBody<'a> {
    #[serde(default)]
    code: Option<u32>,
    #[serde(borrow, default)]
    reason: Text<'a>,
}

impl<'a> DisconnectBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let mut whom =
            whom(self.user, self.client, &self.session, self.label_filter, self.all_users)?;
        let whitelist = self.whitelist.unwrap_or_default();
        if whitelist.len() > WHITELIST_CLIENTS {
            return Err(Unfit::too_many("whitelist"));
        }
        whom.whitelist = whitelist.into_iter().map(|client| client.0).collect();
        let with = self.disconnect.map(|Object(with)| with.checked()).transpose()?;
        Ok(ApiRequest::Disconnect(ApiDisconnect { whom, with }))
    }
}

impl<'a> CloseBody<'a> {
    /// Accepts only the codes that applications may use (RFC 6455 section 7.4.2), and a reason that
    /// fits.
    fn checked(self) -> Result<(u16, Cow<'a, str>), Unfit> {
        let code = u16::try_from(self.code.unwrap_or(0)).unwrap_or(0);
        if !(3_000..5_000).contains(&code) {
            return Err(Unfit::bad("disconnect.code is not from 3000 to 4999"));
        }
        if self.reason.0.len() > CLOSE_REASON_BYTES {
            return Err(Unfit::bad("disconnect.reason has more than 123 bytes"));
        }
        Ok((code, self.reason.0))
    }
}

#[derive(Deserialize)]
struct RefreshBody<'a> {
    #[serde(borrow, default)]
    user: Text<'a>,
    #[serde(borrow, default)]
    client: Text<'a>,
    #[serde(borrow, default)]
    session: Text<'a>,
    #[serde(borrow, default)]
    label_filter: Option<&'a RawValue>,
    #[serde(default)]
    all_users: Option<bool>,
    #[serde(default)]
    expired: Option<bool>,
    #[serde(default)]
    expire_at: Option<i64>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
}

impl<'a> RefreshBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let whom = whom(self.user, self.client, &self.session, self.label_filter, self.all_users)?;
        Ok(ApiRequest::Refresh(ApiRefresh {
            whom,
            expired: self.expired.unwrap_or(false),
            expire_at_s: moment(self.expire_at)?,
            info: json_value(&Text::default(), self.info)?,
        }))
    }
}

/// The body of a call about a channel alone.
#[derive(Deserialize)]
struct ChannelBody<'a> {
    #[serde(borrow, default)]
    channel: Text<'a>,
}

fn channel(body: &[u8]) -> Result<Cow<'_, str>, Unfit> {
    json::<ChannelBody<'_>>(body)?.channel.required("channel")
}

#[derive(Deserialize)]
struct HistoryBody<'a> {
    #[serde(borrow, default)]
    channel: Text<'a>,
    #[serde(default)]
    limit: Option<i32>,
    #[serde(borrow, default)]
    since: Option<Object<PositionBody<'a>>>,
    #[serde(default)]
    reverse: Option<bool>,
}

impl<'a> HistoryBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        Ok(ApiRequest::History(History {
            channel: self.channel.required("channel")?,
            limit: self.limit.unwrap_or(0),
            since: self.since.map(|Object(since)| (since.offset.unwrap_or(0), since.epoch.0)),
            reverse: self.reverse.unwrap_or(false),
        }))
    }
}

#[derive(Deserialize)]
struct ChannelsBody<'a> {
    #[serde(borrow, default)]
    pattern: Text<'a>,
}

#[derive(Deserialize)]
struct InfoBody {}

#[derive(Deserialize)]
struct RpcBody<'a> {
    #[serde(borrow, default)]
    method: Text<'a>,
    #[serde(borrow, default, deserialize_with = "raw")]
    params: Option<&'a RawValue>,
}

impl<'a> RpcBody<'a> {
    fn request(self) -> Result<ApiRequest<'a>, Unfit> {
        let params = self.params.map_or(b"".as_slice(), |params| params.get().as_bytes());
        Ok(ApiRequest::Rpc { method: self.method.required("method")?, params })
    }
}
