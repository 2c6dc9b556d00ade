//! Tokens at work on live connections: who one is, how long that lasts, and how it is renewed.
//!
//! Must not know keys or claims (`auth` does). Invariants: the user's id comes from a token alone
//! and never changes; what a token began ends with it, unless another was brought in time.

use crate::auth::{Grant, Identity, Refusal, Wanted};
use crate::clock::Now;
use crate::codec::command::{
    Command, Disconnect, ErrorCode, Expiry, Method, Push, Reply, UNSUBSCRIBE_EXPIRED,
};
use crate::edge::connection::SubscriptionState;
use crate::edge::connection::details::SubscriptionDetails;
use crate::edge::{ConnectionId, Edge};
use crate::limits::{EXPIRY_S, REFRESH_GRACE_MS};
use std::collections::BTreeSet;

impl Edge {
    /// A connect was answered with an error over a channel that its token has.
    pub(in crate::edge) fn connect_channel_refused(
        &mut self,
        conn: ConnectionId,
        error: ErrorCode,
        text: &str,
        now: Now,
    ) {
        // It was read a moment ago, and is remembered.
        let subs = self.authenticate(conn, text, now).map_or(Vec::new(), |known| known.subs);
        let names = subs.iter().map(|it| it.channel.as_str());
        let channel = names.clone().find(|name| self.channel_options(name).is_err());
        self.command_refused(conn, error, "connect", channel.unwrap_or(""), now);
    }

    /// Goes on with the check of the token that a command brings. True: the command can be decided
    /// on now. Slow keys are tried one by one, each as a piece of work of its own, and only for
    /// commands that wait already, so that what comes in passes meanwhile.
    pub(in crate::edge) fn advance_check(
        &mut self,
        conn: ConnectionId,
        command: &Command<'_>,
    ) -> bool {
        let offered;
        let text: &str = match &command.method {
            Method::Connect(connect) if connect.token.is_empty() => {
                let details = self.details.get(conn.index);
                offered = details.and_then(|it| it.offered.clone());
                offered.as_deref().unwrap_or("")
            }
            Method::Connect(connect) => &connect.token,
            Method::Subscribe(subscribe) => &subscribe.token,
            Method::Refresh { token } | Method::SubRefresh { token, .. } => token,
            _ => return true,
        };
        let Some(mut check) = self.auth.begin_check(text) else { return true };
        if !self.serves_ready {
            return false;
        }
        let begun = self.at(conn).input.as_mut().and_then(|input| input.checking.take());
        if let Some(begun) = begun.filter(|begun| begun.is_of(&check)) {
            check = begun;
        }
        loop {
            let decided = self.auth.check_on(text, &mut check);
            self.work.charge(self.auth.take_spent_ns());
            if decided {
                return true;
            }
            if self.work.is_slice_spent() {
                self.at(conn).input().checking = Some(check);
                return false;
            }
        }
    }

    /// Who connects, by the token of its connect command or, without one, of its upgrade.
    pub(in crate::edge) fn authenticate(
        &mut self,
        conn: ConnectionId,
        given: &str,
        now: Now,
    ) -> Result<Identity, Refusal> {
        let offered = self.details.get(conn.index).and_then(|it| it.offered.as_deref());
        let text = if given.is_empty() { offered.unwrap_or("") } else { given };
        let judged = self.auth.connect(text, now);
        self.work.charge(self.auth.take_spent_ns());
        match judged {
            Ok(identity) => Ok(identity),
            Err(error) => {
                let text = text.to_owned();
                self.token_refused(conn, &text, error, "connect", "", now);
                Err(error.refusal())
            }
        }
    }

    /// Notes what a token says of its connection. Whose client showed it is told when it ends, and
    /// has a while more to show another; else the client cannot know.
    pub(in crate::edge) fn identified(
        &mut self,
        conn: ConnectionId,
        info: Box<[u8]>,
        expires_ms: Option<u64>,
        shown: bool,
        now: Now,
    ) {
        self.details.keep_info(conn.index, info);
        let grace_ms = if shown { REFRESH_GRACE_MS } else { 0 };
        if shown {
            self.details.drop_offered(conn.index);
        }
        let end_s = expires_ms.map_or(0, |ms| end_s(ms, now) + whole_s(grace_ms));
        self.at(conn).expires_s = end_s;
    }

    /// What the client of a connection is told of its end: nothing, when the token is not its own.
    pub(in crate::edge) fn expiry(&mut self, conn: ConnectionId, now: Now) -> Expiry {
        let details = self.details.get(conn.index);
        let offered = details.is_some_and(|details| details.offered.is_some());
        told(if offered { 0 } else { self.at(conn).expires_s }, now)
    }

    /// The server API gives a connection another end, in seconds since 1970; none: it has none. And
    /// another info, unless that is empty.
    pub(in crate::edge) fn refreshed(
        &mut self,
        conn: ConnectionId,
        expire_at_s: Option<u64>,
        info: &[u8],
        now: Now,
    ) {
        let expires_ms = expire_at_s.map(|at| at.saturating_mul(1_000));
        if expires_ms.is_some_and(|at| at <= now.unix_ms) {
            return self.close_with(conn, Disconnect::Expired, now);
        }
        let end_s = expires_ms.map_or(0, |ms| end_s(ms, now) + whole_s(REFRESH_GRACE_MS));
        self.at(conn).expires_s = end_s;
        self.rearm(conn);
        if !info.is_empty() {
            self.details.keep_info(conn.index, info.into());
        }
        let push = Push::Refresh(self.expiry(conn, now));
        self.reply(conn, &Reply::Push { channel: "", push });
    }

    /// What a subscribe or `sub_refresh` command's token grants.
    pub(in crate::edge) fn grant(
        &mut self,
        conn: ConnectionId,
        channel: &str,
        text: &str,
        now: Now,
    ) -> Result<Grant, ErrorCode> {
        let client = self.ids.of(self.key(conn));
        let user = self.at(conn).user.clone();
        let user = user.as_ref().map_or("", |user| user.as_str());
        let wanted = Wanted { channel, user, client: client.as_str() };
        let judged = self.auth.subscription(text, &wanted, now);
        self.work.charge(self.auth.take_spent_ns());
        judged.map_err(|error| {
            self.token_refused(conn, text, error, "subscribe", channel, now);
            error.subscription_error()
        })
    }

    /// Notes what a token says of a subscription.
    pub(in crate::edge) fn granted(
        &mut self,
        conn: ConnectionId,
        sequence: u32,
        grant: Grant,
        now: Now,
    ) {
        let Grant { expires_ms, info, data, .. } = grant;
        let expires_s = expires_ms.map_or(0, |ms| end_s(ms, now) + whole_s(REFRESH_GRACE_MS));
        let kept = SubscriptionDetails { info, data, expires_s };
        self.details.keep_subscription(conn.index, sequence, kept);
        if expires_s > 0 {
            self.rearm(conn);
        }
    }

    /// Notes what the server says of a subscription that it begins. The end is exact: a client has
    /// nothing to renew it with.
    pub(in crate::edge) fn keep_until(
        &mut self,
        conn: ConnectionId,
        sequence: u32,
        info: Box<[u8]>,
        expire_at_s: Option<u64>,
        now: Now,
    ) {
        let expires_s = expire_at_s.map_or(0, |at| end_s(at.saturating_mul(1_000), now));
        let data = Box::default();
        self.details.keep_subscription(
            conn.index,
            sequence,
            SubscriptionDetails { info, data, expires_s },
        );
        if expires_s > 0 {
            self.rearm(conn);
        }
    }

    /// What the reply to a subscribe command tells of its token: the end, and a value.
    pub(in crate::edge) fn told_of(
        &mut self,
        conn: ConnectionId,
        sequence: u32,
        now: Now,
    ) -> (Expiry, Box<[u8]>) {
        let Some(details) = self.details.subscription(conn.index, sequence) else {
            return Default::default();
        };
        (told(details.expires_s, now), std::mem::take(&mut details.data))
    }

    /// Something of a connection has ended: it, or some of its subscriptions.
    pub(in crate::edge) fn expire(&mut self, conn: ConnectionId, now: Now) {
        let own = self.at(conn).expires_s;
        let over = |second: u32| second > 0 && u64::from(second) * 1_000 <= now.monotonic_ms();
        if over(own) {
            return self.close_with(conn, Disconnect::Expired, now);
        }
        let Some(details) = self.details.get(conn.index) else { return };
        let ends = details.ends.iter().take_while(|(end, _)| over(*end));
        let ends: BTreeSet<u32> = ends.map(|(_, sequence)| *sequence).collect();
        // One that is not answered yet ends when it is.
        let it = self.places.get(conn.index);
        let active = it.subscriptions.iter().filter(|it| it.state == SubscriptionState::Active);
        let ended = active.filter(|it| ends.contains(&it.sequence));
        let ended: Vec<(u32, u32)> = ended.map(|it| (it.channel, it.sequence)).collect();
        for (channel, sequence) in ended {
            self.details.drop_subscription(conn.index, sequence);
            self.end_with_code(conn, channel, UNSUBSCRIBE_EXPIRED);
        }
    }
}

/// The second of the process in which a moment of Unix time lies, at most a year ahead.
fn end_s(unix_ms: u64, now: Now) -> u32 {
    let left_ms = unix_ms.saturating_sub(now.unix_ms).min(EXPIRY_S * 1_000);
    whole_s(now.monotonic_ms() + left_ms)
}

/// Milliseconds as seconds, rounded up.
fn whole_s(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// What a client is told of an end that its grace is part of: whole seconds, at least one.
fn told(expires_s: u32, now: Now) -> Expiry {
    if expires_s == 0 {
        return Expiry::default();
    }
    let end_ms = (u64::from(expires_s) * 1_000).saturating_sub(REFRESH_GRACE_MS);
    let left_s = end_ms.saturating_sub(now.monotonic_ms()) / 1_000;
    Expiry { expires: true, ttl_s: u32::try_from(left_s).unwrap_or(u32::MAX).max(1) }
}
