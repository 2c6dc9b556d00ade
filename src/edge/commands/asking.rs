//! Requests that both client commands and calls of the server API send. The caller has checked
//! permission.

use crate::codec::command::{ErrorCode, History};
use crate::codec::{Codec, payload};
use crate::contract::envelope::{HistoryRequest, Request};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::edge::Edge;
use crate::edge::ids::epoch::since;
use std::borrow::Cow;

impl Edge {
    /// Requests history, for a client's user or for the server API. In reverse there is nothing
    /// before the start: 107.
    pub(in crate::edge) fn history_request(
        to: ReplyTo,
        command: &History<'_>,
        asker: Option<Name>,
    ) -> Result<Request, ErrorCode> {
        let since = command.since.as_ref().map(|(offset, epoch)| since(epoch, *offset));
        if command.reverse && since.is_some_and(|since| since.offset == 0) {
            return Err(ErrorCode::BadRequest);
        }
        let channel = Name::from(&*command.channel);
        let (limit, reverse) = (command.limit, command.reverse);
        let whole = asker.is_none();
        let request = HistoryRequest { to, channel, limit, since, reverse, whole, asker };
        Ok(Request::History(Box::new(request)))
    }

    /// Requests a channel's presence, or its numbers.
    pub(in crate::edge) fn presence_request(to: ReplyTo, name: &str, stats: bool) -> Request {
        let channel = Name::from(name);
        if stats {
            Request::PresenceStats { to, channel }
        } else {
            Request::Presence { to, channel }
        }
    }

    /// The answer of a built-in rpc method.
    pub(in crate::edge) fn rpc_answer<'a>(
        &self,
        codec: Codec,
        method: &str,
        data: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, ErrorCode> {
        match method {
            "ping" => Ok(payload::from_json(codec, b"{}")),
            "echo" if data.is_empty() => Ok(payload::from_json(codec, b"null")),
            "echo" => Ok(data.into()),
            "where" if self.http.dev => {
                #[derive(serde::Deserialize)]
                struct Where<'a> {
                    #[serde(borrow)]
                    channel: Cow<'a, str>,
                }
                let data = payload::to_json(codec, data)?;
                let asked: Where<'_> =
                    serde_json::from_slice(&data).map_err(|_| ErrorCode::BadRequest)?;
                let home = self.home_of(&asked.channel);
                let answer = format!(r#"{{"worker":{},"home":{home}}}"#, self.core);
                Ok(payload::from_json(codec, answer.as_bytes()).into_owned().into())
            }
            _ => Err(ErrorCode::MethodNotFound),
        }
    }
}
