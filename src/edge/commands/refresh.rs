//! The commands refresh and sub_refresh: a new token for a connection, or for a subscription.

use crate::auth::{AuthError, Flaw, Grant, Refusal};
use crate::clock::Now;
use crate::codec::command::{Disconnect, ErrorCode, RefreshResult, Reply};
use crate::edge::{ConnectionId, Edge};

impl Edge {
    /// Runs a refresh command.
    pub(in crate::edge) fn refresh(
        &mut self,
        conn: ConnectionId,
        id: u32,
        text: &str,
        now: Now,
    ) -> Result<(), ErrorCode> {
        if text.is_empty() {
            self.close_with(conn, Disconnect::BadRequest, now);
            return Ok(());
        }
        let own = self.at(conn).user.clone();
        let identity = self.auth.connect(text, now).and_then(|identity| {
            let same = own.as_ref().map_or("", |own| own.as_str()) == identity.user.as_str();
            if same { Ok(identity) } else { Err(AuthError::Invalid(Flaw::User)) }
        });
        self.work.charge(self.auth.take_spent_ns());
        let identity = match identity {
            Ok(identity) => identity,
            Err(error) => {
                self.token_refused(conn, text, error, "refresh", "", now);
                return match error.refresh_refusal() {
                    Refusal::Error(error) => Err(error),
                    Refusal::Disconnect(why) => {
                        self.close_with(conn, why, now);
                        Ok(())
                    }
                };
            }
        };
        self.identified(conn, identity.info, identity.expires_ms, true, now);
        self.rearm(conn);
        self.renew_subscriptions(conn, identity.subs);
        let expiry = self.expiry(conn, now);
        self.reply(
            conn,
            &Reply::Refresh { id, result: RefreshResult { expiry, ..Default::default() } },
        );
        Ok(())
    }

    /// Runs a `sub_refresh` command.
    pub(in crate::edge) fn sub_refresh(
        &mut self,
        conn: ConnectionId,
        id: u32,
        name: &str,
        text: &str,
        now: Now,
    ) -> Result<(), ErrorCode> {
        let Some(sequence) = self.active_sequence(conn, name) else {
            return Err(self.late_sub_refresh(conn, name, text, now));
        };
        if text.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        let grant = self.grant(conn, name, text, now)?;
        self.granted(conn, sequence, Grant { data: Box::default(), ..grant }, now);
        let (expiry, _) = self.told_of(conn, sequence, now);
        self.reply(conn, &Reply::SubRefresh { id, expiry });
        Ok(())
    }

    /// The answer to a `sub_refresh` without a subscription that the client began. With a valid
    /// token it may have crossed the subscription's end. The error is then temporary, so that SDKs,
    /// which are subscribing again, do not give that up.
    fn late_sub_refresh(
        &mut self,
        conn: ConnectionId,
        name: &str,
        text: &str,
        now: Now,
    ) -> ErrorCode {
        let channel = self.channels.find(name);
        let it = channel.and_then(|channel| self.at(conn).subscription(channel));
        if text.is_empty() || it.is_some() {
            return ErrorCode::PermissionDenied;
        }
        self.grant(conn, name, text, now).err().unwrap_or(ErrorCode::TokenExpired)
    }
}
