//! A log line for each refusal: what was refused, why, and to which client.
//!
//! Must not know sockets: the edge is given the address with the connection. Invariants: no token,
//! key or payload is in a line; whatever clients do, at most `REFUSAL_LINES` lines of one cause are
//! written in `REFUSAL_WINDOW_MS`, followed by the number of those left out.

use crate::api::ApiMethod;
use crate::auth::{AuthError, Said};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge};
use crate::limits::{REFUSAL_LINES, REFUSAL_TEXT_BYTES, REFUSAL_WINDOW_MS};
use crate::meant::did_you_mean;
use crate::metrics::Cause;
use crate::namespace::Who;
use crate::{api, auth};
use std::fmt::Display;
use std::net::IpAddr;
use tracing::field::display;

/// What is known of a refusal besides its connection; "" if it is not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// The command or method.
    pub method: &'a str,
    pub channel: &'a str,
    /// Of the request, without its query.
    pub path: &'a str,
    /// The origin of a browser's page.
    pub origin: &'a str,
    /// What a token says about itself, valid or not: its user, and the key that it names.
    pub claimed_user: &'a str,
    pub algorithm: &'a str,
    pub kid: &'a str,
}

/// Number of recent lines by cause.
#[derive(Debug, Default)]
pub struct Refusals {
    windows: [Window; Cause::ALL.len()],
    /// Refusals so far, including those left out.
    noted: u64,
    /// Lines left out and not yet reported, of all causes; read every turn.
    left_out: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// End of the window, in milliseconds of the process; 0 if there is none.
    ends_ms: u64,
    written: u32,
    left_out: u64,
}

impl Refusals {
    /// Counts a refusal. False: its line is left out.
    fn take_line(&mut self, cause: Cause, now: Now) -> bool {
        self.noted += 1;
        let window = &mut self.windows[cause as usize];
        if window.ends_ms <= now.monotonic_ms() && window.left_out == 0 {
            let ends_ms = now.monotonic_ms() + REFUSAL_WINDOW_MS;
            *window = Window { ends_ms, ..Window::default() };
        }
        let writes = window.written < REFUSAL_LINES;
        window.written += u32::from(writes);
        window.left_out += u64::from(!writes);
        self.left_out += u64::from(!writes);
        writes
    }

    /// Refusals so far, including those left out.
    #[must_use]
    pub fn noted(&self) -> u64 {
        self.noted
    }

    /// When the number of left-out lines has to be reported, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        if self.left_out == 0 {
            return None;
        }
        let owed = self.windows.iter().filter(|window| window.left_out > 0);
        owed.map(|window| window.ends_ms).min()
    }

    /// The causes whose window is over, each with the number of lines left out; their windows are
    /// reset. `None`: all causes.
    fn take_left_out(&mut self, now: Option<Now>) -> impl Iterator<Item = (&'static str, u64)> {
        let now_ms = now.map_or(u64::MAX, Now::monotonic_ms);
        let (windows, rest) = (&mut self.windows, &mut self.left_out);
        let windows = if *rest == 0 { &mut windows[..0] } else { &mut windows[..] };
        windows.iter_mut().zip(Cause::ALL).filter_map(move |(window, cause)| {
            let owed = window.left_out > 0 && window.ends_ms <= now_ms;
            owed.then(|| {
                let left_out = std::mem::take(window).left_out;
                *rest -= left_out;
                (cause.name(), left_out)
            })
        })
    }
}

impl Edge {
    /// Stores a connection's address, because an edge cannot ask its socket.
    pub fn came_from(&mut self, conn: ConnectionId, peer: Option<IpAddr>) {
        self.peers.set(conn.index, peer);
        let proxied = self.http.trusted.has(peer);
        self.at(conn).facts.set(Fact::Proxied, proxied);
    }

    /// A connection was closed without an answer, because there was no place to refuse it from.
    pub fn turned_away(&mut self, peer: Option<IpAddr>, now: Now) {
        self.metrics.refuse(Cause::Slots);
        if self.refusals.take_line(Cause::Slots, now) {
            let reason = if self.draining { "shutting down" } else { "full" };
            let (core, remote, cause) = (self.core, peer.map(display), Cause::Slots.name());
            tracing::info!(core, cause, reason, remote, "refused");
        }
    }

    /// Counts a refusal, and writes its line.
    pub(in crate::edge) fn refused(
        &mut self,
        conn: ConnectionId,
        cause: Cause,
        reason: impl Display,
        about: &About<'_>,
        now: Now,
    ) {
        if self.count_refusal(cause, now) {
            self.write_refusal(conn, cause, &reason, about);
        }
    }

    /// Counts a refusal. True: its line has to be written.
    fn count_refusal(&mut self, cause: Cause, now: Now) -> bool {
        self.metrics.refuse(cause);
        self.refusals.take_line(cause, now) && tracing::enabled!(tracing::Level::INFO)
    }

    fn write_refusal(
        &mut self,
        conn: ConnectionId,
        cause: Cause,
        reason: &dyn Display,
        about: &About<'_>,
    ) {
        let (core, cause, remote) = (self.core, cause.name(), self.remote(conn));
        let client = self.shown_client(conn);
        let known = self.at(conn).user.clone();
        let user = known.as_ref().and_then(|user| some(user.as_str()));
        let (method, channel, path) = (some(about.method), some(about.channel), some(about.path));
        let (origin, claimed_user) = (some(about.origin), some(about.claimed_user));
        let (algorithm, kid) = (some(about.algorithm), some(about.kid));
        tracing::info!(
            core, cause, reason = %reason, remote, client, user, method, channel, path, origin,
            claimed_user, algorithm, kid, "refused"
        );
    }

    /// A token was refused, of a connection or, if `channel` is not "", of a subscription.
    pub(in crate::edge) fn token_refused(
        &mut self,
        conn: ConnectionId,
        text: &str,
        error: AuthError,
        method: &str,
        channel: &str,
        now: Now,
    ) {
        if self.count_refusal(Cause::Token, now) {
            let Said { user, algorithm, kid } = auth::said_by(text);
            let (algorithm, kid, claimed_user) = (&*algorithm, &*kid, &*user);
            let key = About { algorithm, kid, claimed_user, ..About::default() };
            self.write_refusal(conn, Cause::Token, &error, &About { method, channel, ..key });
        }
    }

    /// A client's command was answered with an error.
    pub(in crate::edge) fn command_refused(
        &mut self,
        conn: ConnectionId,
        error: ErrorCode,
        method: &'static str,
        channel: &str,
        now: Now,
    ) {
        let Some(cause) = cause_of(error) else { return };
        let about = About { method, channel, ..About::default() };
        if self.count_refusal(cause, now) {
            match self.why_not(conn, error, method, channel) {
                Some(why) => self.write_refusal(conn, cause, &why, &about),
                None => self.write_refusal(conn, cause, &error.parts().1, &about),
            }
        }
    }

    /// A command of the server API is answered with an error.
    pub(in crate::edge) fn call_refused(
        &mut self,
        conn: ConnectionId,
        error: ErrorCode,
        method: ApiMethod,
        channel: &str,
        why: &str,
        now: Now,
    ) {
        let cause = match error {
            ErrorCode::Expired => Cause::ApiBody,
            other => match cause_of(other) {
                Some(Cause::Command) => Cause::ApiBody,
                Some(cause) => cause,
                None => return,
            },
        };
        if self.count_refusal(cause, now) {
            let path = match method {
                ApiMethod::Commands => "/api".to_owned(),
                method => format!("/api/{}", method.name()),
            };
            let about = About { path: &path, channel, ..About::default() };
            let why = if why.is_empty() { error.parts().1 } else { why };
            self.write_refusal(conn, cause, &why, &about);
        }
    }

    /// The channel of a refused command of the server API, and the explanation for the caller; ""
    /// for none.
    pub(in crate::edge) fn why_not_called(
        &self,
        method: ApiMethod,
        body: &[u8],
        error: ErrorCode,
    ) -> (String, String) {
        let channel = match api::read(method, body) {
            Err(_) => return (String::new(), api::explain(method, body).unwrap_or_default()),
            Ok(request) => request.channel().unwrap_or_default().to_owned(),
        };
        let why = self.why_not_in(&channel, error).unwrap_or_default();
        (channel, why)
    }

    /// Why a channel does not admit what the holder of the API key asked for.
    pub(in crate::edge) fn why_not_in(&self, channel: &str, error: ErrorCode) -> Option<String> {
        match error {
            ErrorCode::UnknownChannel => self.unknown_namespace(channel),
            ErrorCode::BadRequest if self.channel_options(channel).is_err() => Some(
                "channel: control characters, over limits.channel_name_bytes, or not what its \
                 namespace's channel_regex wants"
                    .into(),
            ),
            _ => None,
        }
    }

    /// Warns about a user who is connected without a personal channel.
    pub(in crate::edge) fn no_personal_channel(
        &mut self,
        conn: ConnectionId,
        user: &str,
        now: Now,
    ) {
        self.metrics.refuse(Cause::PersonalChannel);
        if self.refusals.take_line(Cause::PersonalChannel, now) {
            let (core, cause, remote) =
                (self.core, Cause::PersonalChannel.name(), self.remote(conn));
            let reason = "its id cannot stand in a channel's name: it lists users, has control \
                          characters, is too long, or is not what channel_regex wants";
            tracing::warn!(
                core,
                cause,
                reason,
                remote,
                user,
                "connected without a personal channel"
            );
        }
    }

    /// Which option of the channel's namespace refuses a command.
    fn why_not(
        &mut self,
        conn: ConnectionId,
        error: ErrorCode,
        method: &str,
        channel: &str,
    ) -> Option<String> {
        if error == ErrorCode::UnknownChannel {
            return self.unknown_namespace(channel);
        }
        if error != ErrorCode::PermissionDenied {
            return None;
        }
        let options = self.channel_options(channel).ok()?;
        let (key, who) = match method {
            "subscribe" if self.namespaces.is_private(channel) => {
                return Some("a private channel needs a subscription token".into());
            }
            "subscribe" => ("allow_subscribe", options.allow_subscribe),
            "publish" => ("allow_publish", options.allow_publish),
            "history" => ("allow_history", options.allow_history),
            "presence" | "presence_stats" => ("allow_presence", options.allow_presence),
            "sub_refresh" => return Some("it has no subscription of its own there".into()),
            _ => return None,
        };
        if self.is_listed(conn, channel) == Some(false) {
            return Some("the channel is for other users, those named in it".into());
        }
        let (who, lacks) = match who {
            Who::None => ("none", ""),
            Who::Subscriber => ("subscriber", ", and it is not subscribed"),
            Who::User => ("user", ", and it is anonymous"),
            Who::Anyone => ("anyone", ""),
        };
        Some(format!("{key} = \"{who}\" there{lacks}"))
    }

    /// A debug line about the end of a connection.
    pub(in crate::edge) fn note_closed(&mut self, conn: ConnectionId, code: u16, reason: &str) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (core, remote, client) = (self.core, self.remote(conn), self.shown_client(conn));
        let known = self.at(conn).user.clone();
        let user = known.as_ref().and_then(|user| some(user.as_str()));
        tracing::debug!(core, code, reason, remote, client, user, "closed");
    }

    /// Reports how many lines were left out, for causes whose window is over; `None`, at the end:
    /// for all.
    pub(in crate::edge) fn tell_left_out(&mut self, now: Option<Now>) {
        let core = self.core;
        for (cause, left_out) in self.refusals.take_left_out(now) {
            tracing::info!(core, cause, left_out, "refused, without a line for each");
        }
    }

    fn unknown_namespace(&self, channel: &str) -> Option<String> {
        /// Most names in the message.
        const TOLD: usize = 8;
        let wanted = some(self.namespaces.namespace_of(channel)?).unwrap_or_default();
        let known = self.namespaces.named.iter().map(|(name, _)| name.as_str());
        let meant = did_you_mean(wanted, known.clone());
        let known: Vec<&str> = known.take(TOLD).collect();
        Some(match (meant, known.as_slice()) {
            (Some(meant), _) => {
                format!("no namespace {wanted:?} is configured; did you mean {meant:?}?")
            }
            (None, []) => format!("no namespace {wanted:?} is configured, nor any other"),
            (None, known) => {
                format!("no namespace {wanted:?} is configured, but {}", known.join(", "))
            }
        })
    }

    fn remote(&self, conn: ConnectionId) -> Option<tracing::field::DisplayValue<IpAddr>> {
        self.peers.get(conn.index).map(display)
    }

    /// The client id as SDKs show it; `None` for a connection that is not a WebSocket.
    fn shown_client(&self, conn: ConnectionId) -> Option<tracing::field::DisplayValue<String>> {
        let is_client = !matches!(self.life(conn), Life::Free | Life::Http | Life::Dead);
        is_client.then(|| display(self.ids.of(self.key(conn)).as_str().to_owned()))
    }
}

/// The cause of a refusal with this error; `None` if it is not a refusal by the server, or has a
/// line already.
fn cause_of(error: ErrorCode) -> Option<Cause> {
    match error {
        ErrorCode::PermissionDenied | ErrorCode::Unauthorized => Some(Cause::Permission),
        ErrorCode::UnknownChannel => Some(Cause::Namespace),
        ErrorCode::LimitExceeded | ErrorCode::TooManyRequests => Some(Cause::Limit),
        ErrorCode::BadRequest | ErrorCode::NotAvailable | ErrorCode::MethodNotFound => {
            Some(Cause::Command)
        }
        // A fault of the server, what has its own lines, and what a client asked for.
        ErrorCode::Internal
        | ErrorCode::AlreadySubscribed
        | ErrorCode::TokenExpired
        | ErrorCode::Expired
        | ErrorCode::UnrecoverablePosition => None,
    }
}

/// A text as a line shows it: shortened, and `None` if empty.
fn some(text: &str) -> Option<&str> {
    let end = text.floor_char_boundary(REFUSAL_TEXT_BYTES);
    (!text.is_empty()).then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_cause_are_few_and_the_rest_is_counted() {
        let mut refusals = Refusals::default();
        let at = |ms: u64| Now { monotonic_us: ms * 1_000, unix_ms: 0 };
        let written = |refusals: &mut Refusals, cause, ms, count: u32| -> u32 {
            (0..count).map(|_| u32::from(refusals.take_line(cause, at(ms)))).sum()
        };
        assert_eq!(written(&mut refusals, Cause::Origin, 5, REFUSAL_LINES), REFUSAL_LINES);
        assert_eq!(refusals.next_ms(), None, "nothing was left out");
        assert_eq!(written(&mut refusals, Cause::Origin, 6, 7), 0);
        assert_eq!(written(&mut refusals, Cause::Token, 6, 1), 1, "another cause");
        let ends_ms = 5 + REFUSAL_WINDOW_MS;
        assert_eq!(refusals.next_ms(), Some(ends_ms));
        assert_eq!(refusals.take_left_out(Some(at(ends_ms - 1))).count(), 0);
        // A refusal before the number was reported is counted with it.
        assert_eq!(written(&mut refusals, Cause::Origin, ends_ms, 1), 0);
        assert_eq!(refusals.take_left_out(Some(at(ends_ms))).collect::<Vec<_>>(), [("origin", 8)]);
        assert_eq!((refusals.next_ms(), refusals.noted()), (None, 9 + u64::from(REFUSAL_LINES)));
        assert_eq!(written(&mut refusals, Cause::Origin, ends_ms, 1), 1);
    }

    #[test]
    fn texts_are_cut_between_letters() {
        let long = "é".repeat(REFUSAL_TEXT_BYTES);
        let cut = some(&long).expect("a text");
        assert!(cut.len() <= REFUSAL_TEXT_BYTES && long.starts_with(cut) && !cut.is_empty());
        assert_eq!((some(""), some("a")), (None, Some("a")));
    }
}
