//! HTTP responses, and what happens to the connection afterwards.
//!
//! Must not know routes or calls.

use crate::api;
use crate::clock::Now;
use crate::edge::refusals::About;
use crate::edge::{ConnectionId, Edge};
use crate::http::request::Head;
use crate::http::response;
use crate::http::response::Status;
use crate::limits::READ_ON_MS;
use crate::metrics::Cause;

pub(in crate::edge) const TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

pub(in crate::edge) const JSON: (&str, &str) = ("Content-Type", "application/json");

pub(in crate::edge) const RETRY_AFTER: (&str, &str) = ("Retry-After", "5");

/// A refused request.
#[derive(Clone, Copy)]
pub(in crate::edge) struct No<'a> {
    pub cause: Cause,
    pub status: Status,
    pub headers: &'a [(&'a str, &'a str)],
    /// The text for the client.
    pub reason: &'a str,
    /// A longer text for the operator, if there is one.
    pub why: Option<&'a str>,
    pub about: About<'a>,
}

impl<'a> No<'a> {
    pub fn new(cause: Cause, status: Status, reason: &'a str) -> No<'a> {
        No { cause, status, headers: &[TEXT], reason, why: None, about: About::default() }
    }

    /// There is no slot.
    pub fn full() -> No<'a> {
        No::new(Cause::Slots, Status::UNAVAILABLE, "full").headers(&[TEXT, RETRY_AFTER])
    }

    pub fn headers(self, headers: &'a [(&'a str, &'a str)]) -> No<'a> {
        No { headers, ..self }
    }

    /// Refuses this request. A query may contain a token, so it is left out.
    pub fn to(self, head: &Head<'a>) -> No<'a> {
        let path = head.path.split('?').next().unwrap_or_default();
        let origin = head.header("Origin").and_then(|origin| std::str::from_utf8(origin).ok());
        No { about: About { path, origin: origin.unwrap_or(""), ..self.about }, ..self }
    }
}

impl Edge {
    /// Refuses a request without the API key. True: it has the key.
    pub(in crate::edge) fn require_key(
        &mut self,
        conn: ConnectionId,
        head: &Head<'_>,
        now: Now,
    ) -> bool {
        let key = self.http.api_key.as_deref();
        let given = (head.header("X-API-Key"), head.header("Authorization"));
        if api::authorized(key, self.http.dev, given.0, given.1) {
            return true;
        }
        let why = match given {
            _ if key.is_none() => "api.key is not set, so that nobody has it",
            (None, None) => "no key in X-API-Key or Authorization: apikey",
            _ => "a wrong key",
        };
        let no = No::new(Cause::ApiKey, Status::UNAUTHORIZED, "unauthorized").to(head);
        self.refuse(conn, &No { why: Some(why), ..no }, now);
        false
    }

    /// Clients that are not browsers send no Origin. An Origin must be listed, or, with `--dev`, be
    /// that of the page that was served at this `host`.
    pub(in crate::edge) fn is_origin_allowed(&self, head: &Head<'_>, host: Option<&[u8]>) -> bool {
        let Some(origin) = head.header("Origin") else { return true };
        let host = host.map(String::from_utf8_lossy);
        self.http.origins.allow(&String::from_utf8_lossy(origin), host.as_deref())
    }

    pub(in crate::edge) fn respond_text(
        &mut self,
        conn: ConnectionId,
        status: Status,
        body: &[u8],
        now: Now,
    ) {
        self.respond(conn, status, &[TEXT], body, now);
    }

    /// Writes a response; the connection then ends, or waits for its next request.
    pub(in crate::edge) fn respond(
        &mut self,
        conn: ConnectionId,
        status: Status,
        headers: &[(&str, &str)],
        body: &[u8],
        now: Now,
    ) {
        let exchange = self.exchange(conn);
        let head_only = exchange.head_only;
        let keep_alive = exchange.keep_alive && !self.draining;
        let date = self.date.at(now.unix_s());
        let range = self.output.bytes(|out| {
            if head_only {
                response::write_head(out, status, date, headers, body.len(), keep_alive);
            } else {
                response::write(out, status, date, headers, body, keep_alive);
            }
        });
        self.mark_or_spill(conn, range);
        self.exchange(conn).served += 1;
        if keep_alive {
            let keep_ms = u64::from(self.limits.http_keep_alive_ms);
            self.exchange(conn).idle_until_ms = now.monotonic_ms() + keep_ms;
            return self.set_deadline(conn, now.monotonic_ms() + keep_ms.min(READ_ON_MS));
        }
        self.exchange(conn).last = true;
        self.close_http(conn, now);
    }

    /// Refuses a request, and ends the connection.
    pub(in crate::edge) fn refuse(&mut self, conn: ConnectionId, no: &No<'_>, now: Now) {
        self.refused(conn, no.cause, no.why.unwrap_or(no.reason), &no.about, now);
        self.exchange(conn).keep_alive = false;
        self.respond(conn, no.status, no.headers, no.reason.as_bytes(), now);
    }
}
