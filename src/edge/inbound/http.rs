//! A connection that speaks HTTP: the upgrade to a WebSocket, health and metrics, and the way to
//! the server API.
//! Invariant: one request at a time; the next is read when this one's response is written, and sent
//! but for a few KiB.

use crate::clock::Now;
use crate::edge::connection::{Fact, Life};
use crate::edge::inbound::subprotocol;
use crate::edge::refusals::About;
use crate::edge::responses::{JSON, No, TEXT};
use crate::edge::{ConnectionId, Edge, Turn, ms};
use crate::http::forwarded::Trusted;
use crate::http::origin::Origins;
use crate::http::request::Head;
use crate::http::response::Status;
use crate::http::routes::{Route, RouteOptions};
use crate::http::{request, routes};
use crate::limits::{HTTP_CALL_MS, METRICS_BURST, METRICS_PER_S, READ_ON_MS};
use crate::metrics::{Cause, ProcessStats, StoreHealth};
use crate::work::cost;
use crate::ws::handshake;
use crate::ws::handshake::Offer;
use crate::{api, metrics};

/// Time within which every worker must have answered a probe for `/ready`.
const READY_WITHIN_MS: u64 = 1_000;

const PROMETHEUS: (&str, &str) = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8");

/// What the process uses, as the system tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// CPU time of all threads.
    pub cpu_ns: u64,
    pub resident_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    /// When it started, in seconds since 1970.
    pub started_s: u64,
    /// Log lines that were not written.
    pub dropped_lines: u64,
}

/// What the HTTP side of an edge is told.
#[derive(Clone)]
pub struct HttpOptions {
    pub routes: RouteOptions,
    /// What the internal listener serves.
    pub internal_routes: RouteOptions,
    /// Where browsers may come from.
    pub origins: Origins,
    /// Proxies that are believed whom they pass on.
    pub trusted: Trusted,
    /// The key of the server API; none with `dev`: no key is needed.
    pub api_key: Option<Vec<u8>>,
    pub dev: bool,
    /// What this process is called in `info`: an id drawn at the start, and a name.
    pub node: (String, String),
    /// What the process uses.
    pub process: fn() -> ProcessUse,
    /// The driver in use.
    pub driver: &'static str,
    /// The store that several nodes share, if there is one.
    pub store: Option<StoreHealth>,
}

impl Edge {
    /// Serves the requests in `wire`; gives how many bytes are done with.
    pub(in crate::edge) fn requests(
        &mut self,
        conn: ConnectionId,
        wire: &[u8],
        turn: &mut Turn<'_>,
    ) -> usize {
        let mut at = 0;
        while self.life(conn) == Life::Http && !self.is_blocked(conn) {
            let exchange = self.exchange(conn);
            if exchange.call.is_some() || exchange.last {
                // Behind the last response nothing is read any more.
                return if exchange.last { wire.len() } else { at };
            }
            if exchange.body.is_some() {
                match self.read_body(conn, &wire[at..], turn) {
                    Some(taken) => at += taken,
                    None => return wire.len(),
                }
                if at == wire.len() && self.exchange(conn).body.is_some() {
                    return at;
                }
                continue;
            }
            let mut searched = exchange.searched;
            let head_bytes = self.limits.http_head_bytes as usize;
            let parsed = request::parse(&wire[at..], &mut searched, head_bytes);
            let exchange = self.exchange(conn);
            exchange.searched = searched;
            // Of a head that cannot be read too, as far as it came.
            exchange.head_only = wire[at..].trim_ascii_start().starts_with(b"HEAD ");
            match parsed {
                Ok(None) => {
                    self.head_begun(conn, request::begins_a_head(&wire[at..]), turn.now);
                    return at;
                }
                Err(error) => {
                    let head_size = error.status() == Status::HEAD_TOO_LARGE;
                    let cause = if head_size { Cause::HeadSize } else { Cause::Head };
                    let no = No::new(cause, error.status(), error.reason()).headers(&[]);
                    self.refuse(conn, &no, turn.now);
                    return wire.len();
                }
                Ok(Some((head, length))) => {
                    let waits = head.header("Upgrade").is_some();
                    self.exchange(conn).upgrading = waits;
                    if waits && self.is_blocked(conn) {
                        return at;
                    }
                    at += length;
                    self.work.charge(cost::REQUEST + length / cost::BYTES_PER_NS);
                    self.exchange(conn).searched = 0;
                    self.exchange(conn).head_begun = false;
                    let keeps = self.limits.http_keep_alive_ms > 0 && !self.draining;
                    // Proxies then have none left that the drain would cut.
                    let keeps = keeps && !self.leaving;
                    self.exchange(conn).keep_alive = head.keep_alive && keeps;
                    self.request(conn, &head, turn.now);
                }
            }
        }
        at
    }

    /// The first bytes of a head came on a connection that was kept: the rest has as long as the
    /// first request's.
    fn head_begun(&mut self, conn: ConnectionId, begun: bool, now: Now) {
        let exchange = self.exchange(conn);
        if begun && exchange.served > 0 && !std::mem::replace(&mut exchange.head_begun, true) {
            let wait = u64::from(self.limits.http_head_timeout_ms);
            self.set_deadline(conn, now.monotonic_ms() + wait);
        }
    }

    /// Notes whom a request is from, where a proxy that is trusted says so: of each request anew,
    /// for a proxy passes on many by one connection.
    fn note_client(&mut self, conn: ConnectionId, head: &Head<'_>) {
        if self.at(conn).facts.has(Fact::Proxied) {
            let client = self.http.trusted.client(head);
            self.peers.set(conn.index, client);
        }
    }

    fn request(&mut self, conn: ConnectionId, head: &Head<'_>, now: Now) {
        self.note_client(conn, head);
        if self.at(conn).facts.has(Fact::Refused) {
            return self.refuse(conn, &No::full().to(head), now);
        }
        let internal = self.at(conn).facts.has(Fact::Internal);
        let options = if internal { &self.http.internal_routes } else { &self.http.routes };
        let route = routes::route(head.method, head.path, options);
        if head.has_body() && !matches!(route, Route::Api(_)) {
            // What this request does not need is not read: the connection ends with the answer.
            self.exchange(conn).keep_alive = false;
        }
        match route {
            Route::Health => self.respond_text(conn, Status::OK, b"ok\n", now),
            Route::Ready => {
                let ready = self.is_ready(now);
                let (status, body) = if ready {
                    (Status::OK, b"ready\n".as_slice())
                } else {
                    (Status::UNAVAILABLE, b"not ready\n".as_slice())
                };
                self.respond_text(conn, status, body, now);
            }
            Route::Metrics => {
                // Where clients connect, strangers do too.
                if internal || self.http.dev || self.require_key(conn, head, now) {
                    self.metrics_page(conn, now);
                }
            }
            Route::Asset(asset) => {
                self.respond(conn, Status::OK, asset.headers, asset.body, now);
            }
            Route::Api(method) => self.call(conn, head, method, now),
            Route::OpenApi => {
                let body = api::OPENAPI.as_bytes();
                self.respond(conn, Status::OK, &[JSON], body, now);
            }
            Route::WebSocket => self.upgrade(conn, head, false, now),
            Route::Echo => self.upgrade(conn, head, true, now),
            Route::NotFound => {
                let no = No::new(Cause::Http, Status::NOT_FOUND, "not found").to(head);
                self.refuse(conn, &no, now);
            }
            Route::MethodNotAllowed { allow } => {
                let headers = [TEXT, ("Allow", allow)];
                let no = No::new(Cause::Http, Status::METHOD_NOT_ALLOWED, "method not allowed");
                self.refuse(conn, &no.to(head).headers(&headers), now);
            }
        }
    }

    fn is_ready(&self, now: Now) -> bool {
        !self.draining
            && !self.leaving
            && self
                .all_metrics
                .iter()
                .all(|core| core.answered_within(now.monotonic_ms(), READY_WITHIN_MS))
            && self.http.store.as_ref().is_none_or(|store| store.lets_be_ready(now.monotonic_ms()))
    }

    fn metrics_page(&mut self, conn: ConnectionId, now: Now) {
        // Who scrapes at an interval is given what is so now; who asks more often, the last text.
        let fresh = self.metrics_rate.take(ms(now), METRICS_PER_S, METRICS_BURST);
        let mut page = std::mem::take(&mut self.metrics_page);
        if fresh || page.is_empty() {
            page.clear();
            self.write_metrics(&mut page, now);
            self.work.charge(self.all_metrics.len() * cost::METRICS_OF_A_CORE);
        }
        self.respond(conn, Status::OK, &[PROMETHEUS], page.as_bytes(), now);
        self.metrics_page = page;
    }

    fn write_metrics(&self, page: &mut String, now: Now) {
        let used = (self.http.process)();
        let api_methods = api::ApiMethod::ALL.map(api::ApiMethod::name);
        let process = ProcessStats {
            cpu_ns: used.cpu_ns,
            resident_bytes: used.resident_bytes,
            open_fds: used.open_fds,
            max_fds: used.max_fds,
            started_s: used.started_s,
            made_unix_ms: now.unix_ms,
            dropped_lines: used.dropped_lines,
            limits: &self.limits.numbers(),
            namespaces: &self.namespaces.counted(),
            api_methods: &api_methods,
            driver: self.http.driver,
            store: self.http.store.as_ref().map(|store| &*store.metrics),
            version: env!("CARGO_PKG_VERSION"),
        };
        metrics::render(page, &self.all_metrics, &process);
    }

    fn upgrade(&mut self, conn: ConnectionId, head: &Head<'_>, echo: bool, now: Now) {
        if self.draining {
            let no = No { reason: "shutting down", ..No::full() };
            return self.refuse(conn, &no.to(head), now);
        }
        let offer = Offer {
            method: head.method,
            http_1_1: head.http_1_1,
            has_body: head.has_body(),
            headers: head.headers(),
        };
        let accepted = match handshake::accept(&offer, &subprotocol::NAMES) {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let status = Status(refusal.status());
                let no = No::new(Cause::Handshake, status, refusal.reason()).to(head);
                return self.refuse(conn, &no.headers(refusal.headers()), now);
            }
        };
        if !self.is_origin_allowed(head, head.header("Host")) {
            let reason = "origin not allowed; list it in allowed_origins";
            let no = No::new(Cause::Origin, Status::FORBIDDEN, reason).to(head);
            return self.refuse(conn, &no, now);
        }
        let since_ms = self.at(conn).since_ms;
        let waited_ms = crate::edge::ms(now).wrapping_sub(since_ms);
        self.metrics.handshake.record(u64::from(waited_ms) * 1000);
        let date = self.date.at(now.unix_s());
        let range = self.output.upgrade(|out| handshake::write_response(out, &accepted, date));
        self.output.mark(conn.index, range);
        let it = self.at(conn);
        it.aside = None;
        it.facts.set(Fact::Echo, echo);
        let (codec, own) = subprotocol::choose(accepted.protocol, head.query);
        it.codec = codec;
        it.facts.set(Fact::OwnProtocol, own);
        self.becomes_websocket(conn, if echo { Life::Active } else { Life::Authenticating });
        if echo {
            self.start_pings(conn, now);
        } else {
            if let Some(offered) = self.auth.offered(head.headers()) {
                let offered = offered.into();
                self.details.of(conn.index).offered = Some(offered);
            }
            let wait = u64::from(self.times.connect_timeout_ms);
            self.set_deadline(conn, now.monotonic_ms() + wait);
        }
    }

    /// A response still waits: it is kept for who reads on, however slowly.
    fn unread(&mut self, conn: ConnectionId, now: Now) {
        if self.take_moved(conn) {
            return self.set_deadline(conn, now.monotonic_ms() + READ_ON_MS);
        }
        let bytes = self.unsent_bytes(conn);
        let reason = format_args!("its response of {bytes} bytes more is not read");
        self.refused(conn, Cause::Unread, reason, &About::default(), now);
        self.close_now(conn, now);
    }

    /// A head or a body did not come in time, or nothing came at all.
    pub(in crate::edge) fn http_deadline(&mut self, conn: ConnectionId, now: Now) {
        let facts = self.at(conn).facts;
        if facts.has(Fact::Handshaking) {
            return self.handshake_timeout(conn, now);
        }
        if facts.has(Fact::Failed) {
            return self.close_now(conn, now);
        }
        let input = self.at(conn).input.as_ref();
        let started = input.is_some_and(|input| request::begins_a_head(&input.wire));
        let refused = facts.has(Fact::Refused);
        if self.unsent_bytes(conn) > 0 {
            return self.unread(conn, now);
        }
        let exchange = self.exchange(conn);
        let idle = exchange.is_idle(started);
        if idle && !exchange.last && now.monotonic_ms() < exchange.idle_until_ms {
            let until_ms = exchange.idle_until_ms;
            return self.set_deadline(conn, until_ms);
        }
        if exchange.last || idle {
            return self.close_now(conn, now);
        }
        if exchange.call.is_some() {
            return self.set_deadline(conn, now.monotonic_ms() + HTTP_CALL_MS);
        }
        if refused {
            return self.refuse(conn, &No::full(), now);
        }
        let (cause, reason) = match self.exchange(conn).body.take() {
            Some(_) => (Cause::BodyTimeout, "the request's body took too long"),
            None => (Cause::HeadTimeout, "the request took too long"),
        };
        self.discharge(conn);
        self.refuse(conn, &No::new(cause, Status::REQUEST_TIMEOUT, reason), now);
    }
}
