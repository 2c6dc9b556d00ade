//! An edge driven by hand: bytes in, requests into lanes of a chosen capacity, deliveries back.
//!
//! Must not know homes: a test answers in their place.

use super::{
    ClientTimes, ConnectionId, Edge, EdgeOptions, EdgeSecrets, Effect, Flush, HttpOptions, Range,
    RequestLanes, Turn,
};
use crate::auth::{self, Auth};
use crate::clock::Now;
use crate::contract::block::Block;
use crate::contract::envelope::{Delivery, Recovery, Request, Subscribed};
use crate::contract::position::{Epoch, Position};
use crate::hashing::Key;
use crate::http::routes::RouteOptions;
use crate::limits::{Limits, READ_ON_MS};
use crate::metrics::CoreMetrics;
use crate::namespace::{ChannelOptions, Delta, Namespaces, Personal, Who};
use crate::ws::frame::{self, OpCode};
use std::collections::VecDeque;
use std::sync::Arc;

mod budget;
mod chosen;
mod mixed;
mod server_side;
mod tokens;
pub(super) const SECRET: &[u8] = b"a secret of the tests";

/// One lane, to the one home.
pub(super) struct Lane {
    pub slots: usize,
    pub requests: VecDeque<Request>,
}

impl RequestLanes for Lane {
    fn push(&mut self, _: u16, request: Request) -> Result<(), Request> {
        if self.requests.len() >= self.slots {
            return Err(request);
        }
        self.requests.push_back(request);
        Ok(())
    }
}

pub(super) struct Bench {
    pub edge: Edge,
    pub lane: Lane,
    pub now: Now,
    pub effects: Vec<Effect>,
}

pub(super) fn at_ms(ms: u64) -> Now {
    Now { monotonic_us: ms * 1_000, unix_ms: 1_700_000_000_000 + ms }
}

const TIMES: ClientTimes =
    ClientTimes { ping_interval_ms: 25_000, pong_timeout_ms: 8_000, connect_timeout_ms: 10_000 };

impl Bench {
    pub fn new(slots: usize, limits: Limits) -> Bench {
        Bench::with_personal(slots, limits, Personal::Off)
    }

    pub fn with_personal(slots: usize, limits: Limits, personal: Personal) -> Bench {
        let keys = auth::KeyOptions { hmac_secrets: vec![SECRET.to_vec()], ..Default::default() };
        Bench::with_keys(slots, limits, personal, keys)
    }

    pub fn with_keys(
        slots: usize,
        limits: Limits,
        personal: Personal,
        keys: auth::KeyOptions,
    ) -> Bench {
        let everyone = ChannelOptions {
            allow_subscribe: Who::Anyone,
            allow_publish: Who::Anyone,
            allow_tags_filter: true,
            presence: true,
            allow_presence: Who::Anyone,
            delta: Delta::Fossil,
            ..ChannelOptions::default()
        };
        let routes =
            RouteOptions { websocket_paths: vec!["/ws".to_owned()], dev: true, serves_api: true };
        let auth = auth::Options { keys, allow_anonymous: true, ..Default::default() };
        let edge = Edge::new(EdgeOptions {
            core: 0,
            homes: 1,
            namespaces: Namespaces { unnamed: everyone, personal, ..Namespaces::default() },
            limits,
            times: TIMES,
            auth: Auth::new(&auth).expect("no keys"),
            http: HttpOptions {
                internal_routes: routes.clone(),
                routes,
                origins: Default::default(),
                trusted: Default::default(),
                api_key: None,
                dev: true,
                node: ("uid".to_owned(), "name".to_owned()),
                process: Default::default,
                driver: "none",
                store: None,
            },
            secrets: EdgeSecrets::drawn(Key::of(1), Key::of(2), || Key::of(3)),
            metrics: vec![Arc::new(CoreMetrics::new())],
        });
        let lane = Lane { slots, requests: VecDeque::new() };
        Bench { edge, lane, now: at_ms(1_000), effects: Vec::new() }
    }

    pub fn receive(&mut self, conn: ConnectionId, bytes: &[u8]) {
        self.edge.receive(conn, &mut bytes.to_vec(), &mut Turn::new(self.now, &mut self.lane));
    }

    pub fn resume(&mut self) {
        self.edge.settle_late(self.now);
        self.edge.resume_work(&mut Turn::new(self.now, &mut self.lane));
    }

    pub fn deliver(&mut self, delivery: Delivery) {
        self.edge.deliver(0, delivery, self.now);
    }

    /// Flushes everything to sockets that take it all; gives what `conn` was sent.
    pub fn flush(&mut self, conn: ConnectionId) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut ranges = Vec::new();
        while let Some(flush) = next_flush(&mut self.edge, &mut ranges) {
            if let Some(to) = sent_whole(&mut self.edge, flush, &mut ranges)
                && to == conn
            {
                for range in &ranges {
                    sent.extend(&self.edge.arena()[range.start as usize..range.end as usize]);
                }
            }
        }
        self.edge.restart_if_flushed();
        self.edge.take_effects(&mut self.effects);
        sent
    }

    pub fn accept(&mut self) -> ConnectionId {
        self.edge.accept(false, self.now).expect("there is a place")
    }

    pub fn client(&mut self) -> ConnectionId {
        let conn = self.accept();
        self.receive(conn, UPGRADE);
        self.receive(conn, &text(r#"{"id":1,"connect":{}}"#));
        let sent = String::from_utf8_lossy(&self.flush(conn)).into_owned();
        assert!(sent.contains(r#""connect""#), "{sent}");
        conn
    }

    /// A connection that is subscribed to `channel`, which its home calls `local`.
    pub fn subscriber(&mut self, channel: &str, local: u32) -> ConnectionId {
        self.subscriber_with(&format!(r#"{{"channel":"{channel}"}}"#), local)
    }

    /// The same by this request, as JSON.
    pub fn subscriber_with(&mut self, request: &str, local: u32) -> ConnectionId {
        let conn = self.client();
        self.receive(conn, &text(&format!(r#"{{"id":2,"subscribe":{request}}}"#)));
        let Some(Request::Subscribe(asked)) = self.lane.requests.pop_front() else {
            panic!("a Subscribe was pushed")
        };
        self.deliver(Delivery::Subscribed(Box::new(Subscribed {
            to: asked.to,
            sequence: asked.sequence,
            channel: asked.channel,
            local,
            position: Position { epoch: Epoch(0), offset: 0 },
            recovery: Recovery::NotAsked,
        })));
        self.flush(conn);
        conn
    }

    pub fn published_by(&mut self) -> Vec<u32> {
        let publisher = |request: Request| match request {
            Request::Publish { to, .. } => to.connection.index,
            other => panic!("{other:?}"),
        };
        self.lane.requests.drain(..).map(publisher).collect()
    }
}

/// The next dirty connection, and what is to be done with it.
pub(super) fn next_flush(edge: &mut Edge, out: &mut Vec<Range>) -> Option<(ConnectionId, Flush)> {
    let mut conns = Vec::new();
    edge.take_dirty(1, &mut conns);
    let conn = conns.pop()?;
    Some((conn, edge.flush_of(conn, out)))
}

/// Takes a send as one that goes out whole; to whom it went, and in `ranges` what.
pub(super) fn sent_whole(
    edge: &mut Edge,
    (to, flush): (ConnectionId, Flush),
    ranges: &mut Vec<Range>,
) -> Option<ConnectionId> {
    match flush {
        Flush::Nothing => None,
        Flush::One(range) => {
            *ranges = vec![range];
            Some(to)
        }
        Flush::Send => {
            edge.sent_inline(to);
            Some(to)
        }
    }
}

pub(super) const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's text frame.
pub(super) fn text(json: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, OpCode::Text, true, [1, 2, 3, 4], json.as_bytes());
    bytes
}

fn publish(id: u32) -> Vec<u8> {
    text(&format!(r#"{{"id":{id},"publish":{{"channel":"c","data":{id}}}}}"#))
}

pub(super) fn publication(local: u32, offset: u64, data: &str) -> Delivery {
    Delivery::Publication { local, offset, block: Block::plain("c", data.as_bytes(), at_ms(0)) }
}

#[test]
fn frames_behind_an_upgrade_are_run() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.accept();
    let bytes = [UPGRADE, &text(r#"{"id":1,"connect":{}}"#)].concat();
    bench.receive(conn, &bytes);
    bench.resume();
    let sent = String::from_utf8_lossy(&bench.flush(conn)).into_owned();
    assert!(sent.contains(r#"{"id":1,"connect""#), "{sent}");
}

/// A connection whose socket took nothing yet: its upgrade's answer, and what follows it, wait.
fn stuffed(bench: &mut Bench, bytes: &[u8]) -> Vec<u8> {
    let conn = bench.accept();
    bench.receive(conn, &[UPGRADE, bytes].concat());
    bench.resume();
    let mut ranges = Vec::new();
    let range = match next_flush(&mut bench.edge, &mut ranges) {
        Some((_, Flush::One(range))) => vec![range],
        Some((_, Flush::Send)) => ranges.clone(),
        other => panic!("{other:?}"),
    };
    bench.edge.unsent(conn, &range, 0);
    bench.edge.settle_late(bench.now);
    let chunks = std::iter::from_fn(|| {
        let chunk = bench.edge.next_chunk(conn)?;
        bench.edge.chunk_sent(conn);
        Some(chunk)
    });
    chunks.flat_map(Vec::from).collect()
}

#[test]
fn no_frame_overtakes_the_answer_to_the_upgrade() {
    let mut bench = Bench::new(8, Limits::default());
    let mut frames = Vec::new();
    frame::write_masked(&mut frames, OpCode::Ping, true, [1, 2, 3, 4], b"x");
    let sent = stuffed(&mut bench, &frames);
    assert!(sent.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&sent));
    assert!(sent.ends_with(b"\r\n\r\n\x8a\x01x"), "and the pong follows");

    frame::write_masked(&mut frames, OpCode::Close, true, [1, 2, 3, 4], &[3, 0xe8]);
    let sent = stuffed(&mut bench, &frames);
    assert!(sent.starts_with(b"HTTP/1.1 101 "), "{:?}", String::from_utf8_lossy(&sent));
    assert!(sent.ends_with(b"\x88\x02\x03\xe8"), "and the close follows");
}

#[test]
fn who_was_served_goes_to_the_end_of_the_line() {
    let mut bench = Bench::new(1, Limits::default());
    let (first, second) = (bench.client(), bench.client());
    // One goes into the lane, the others of `first` wait, and `second` stands behind.
    let many: Vec<u8> = (2..12).flat_map(publish).collect();
    bench.receive(first, &many);
    bench.receive(second, &publish(2));
    let mut order = bench.published_by();
    for _ in 0..3 {
        bench.resume();
        order.extend(bench.published_by());
    }
    assert_eq!(order[..3], [first.index, first.index, second.index]);
}

#[test]
fn nothing_that_waits_is_run_once_a_shutdown_has_begun() {
    let mut bench = Bench::new(64, Limits::default());
    let conn = bench.client();
    // More than a turn takes: the rest waits as bytes.
    let many: Vec<u8> = (2..40)
        .flat_map(|id| {
            format!("{{\"id\":{id},\"publish\":{{\"channel\":\"c\",\"data\":1}}}}\n").into_bytes()
        })
        .collect();
    bench.receive(conn, &text(std::str::from_utf8(&many).unwrap()));
    let before = bench.published_by().len();
    assert_eq!(before, 16);
    bench.edge.begin_drain(bench.now);
    for _ in 0..3 {
        bench.resume();
    }
    assert!(
        bench.lane.requests.is_empty(),
        "a request behind the marker: {:?}",
        bench.lane.requests
    );
    assert!(!bench.edge.has_work(), "there is nothing left to do");
}

#[test]
fn a_burst_of_publications_is_sent_inline_whatever_its_sum() {
    let mut bench = Bench::new(8, Limits { arena_bytes: 64 << 10, ..Limits::default() });
    let conn = bench.subscriber("c", 0);
    let data = format!("\"{}\"", "x".repeat(4_000));
    for offset in 1..=10 {
        bench.deliver(publication(0, offset, &data));
    }
    bench.edge.mark_staged();
    let sent = bench.flush(conn);
    assert!(sent.len() > 40_000, "no frame is large by itself: {} bytes inline", sent.len());
    assert_eq!(bench.edge.backlog_bytes(), 0);
}

#[test]
fn a_dead_connection_gets_no_backlog() {
    let mut bench = Bench::new(64, Limits::default());
    let (conn, other) = (bench.client(), bench.client());
    // Answers to the two in turn, so that ranges are not adjacent.
    for id in 0..70 {
        bench.receive(conn, &text(&format!(r#"{{"id":{},"ping":{{}}}}"#, id + 2)));
        bench.receive(other, &text(&format!(r#"{{"id":{},"ping":{{}}}}"#, id + 2)));
    }
    bench.edge.peer_reset(conn, bench.now);
    bench.flush(conn);
    let held: u64 = bench.edge.backlog_bytes();
    bench.edge.peer_reset(other, bench.now);
    bench.resume();
    assert_eq!(bench.edge.backlog_bytes(), 0, "{held} at first");
    assert_eq!(bench.edge.places_used(), 0);
}

#[test]
fn a_command_that_waits_for_an_answer_keeps_nobody_awake() {
    let mut bench = Bench::new(64, Limits::default());
    let conn = bench.client();
    let both = "{\"id\":2,\"subscribe\":{\"channel\":\"c\"}}\n\
                {\"id\":3,\"unsubscribe\":{\"channel\":\"c\"}}";
    bench.receive(conn, &text(both));
    bench.receive(conn, &text(r#"{"id":4,"ping":{}}"#));
    bench.flush(conn);
    for _ in 0..3 {
        bench.resume();
        bench.flush(conn);
    }
    assert!(!bench.edge.has_work(), "the home's answer will wake it");
}

#[test]
fn pings_go_on_after_fifty_days() {
    let mut bench = Bench::new(8, Limits::default());
    bench.now = at_ms(u64::from(u32::MAX) - 1_000);
    let conn = bench.client();
    let mut pings = 0;
    for _ in 0..1_000 {
        bench.now = at_ms(bench.now.monotonic_ms() + 100);
        bench.edge.timers(bench.now);
        if bench.flush(conn).ends_with(b"{}") {
            pings += 1;
            bench.receive(conn, &text("{}"));
        }
    }
    assert!((3..=8).contains(&pings), "{pings} pings in 100 s");
}

#[test]
fn kept_alive_http_leaves_no_timers_behind() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.accept();
    for _ in 0..100 {
        bench.receive(conn, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        bench.now = at_ms(bench.now.monotonic_ms() + 50);
        assert!(bench.flush(conn).starts_with(b"HTTP/1.1 200"));
    }
    assert!(bench.edge.wheel.entries() <= 2, "{} entries", bench.edge.wheel.entries());
}

#[test]
fn every_byte_of_a_message_that_is_not_whole_is_counted() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.client();
    let mut part = Vec::new();
    frame::write_masked(&mut part, OpCode::Text, false, [1, 2, 3, 4], &[b' '; 5_000]);
    bench.receive(conn, &part);
    assert!(bench.edge.spill_bytes() >= 5_000, "{}", bench.edge.spill_bytes());
    bench.edge.peer_ended(conn, bench.now);
    assert_eq!(bench.edge.spill_bytes(), 0);
}

#[test]
fn pipelined_requests_wait_for_the_arena() {
    let mut bench = Bench::new(8, Limits { arena_bytes: 4 << 10, ..Limits::default() });
    let conn = bench.accept();
    bench.receive(conn, &b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200));
    assert!(bench.edge.arena_bytes() < 8 << 10, "{} bytes at once", bench.edge.arena_bytes());
    let mut answers = 0;
    for _ in 0..200 {
        let sent = bench.flush(conn);
        answers += sent.windows(8).filter(|window| window == b"HTTP/1.1").count();
        bench.resume();
    }
    assert_eq!(answers, 200);
}

#[test]
fn a_parked_call_is_answered_at_shutdown() {
    let mut bench = Bench::new(0, Limits::default());
    let conn = bench.accept();
    let body = r#"{"channel":"c","data":1}"#;
    let head =
        format!("POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    bench.receive(conn, (head + body).as_bytes());
    bench.edge.begin_drain(bench.now);
    let sent = String::from_utf8_lossy(&bench.flush(conn)).into_owned();
    assert!(sent.contains("error"), "{sent}");
}

#[test]
fn reading_pauses_behind_a_parked_command() {
    let mut bench = Bench::new(0, Limits::default());
    let conn = bench.client();
    bench.receive(conn, &publish(2));
    for _ in 0..3 {
        bench.receive(conn, &text("{}"));
    }
    bench.flush(conn);
    assert_eq!(bench.effects, [Effect::Pause(conn)], "what comes cannot be looked at yet");
    bench.lane.slots = 1;
    bench.resume();
    bench.flush(conn);
    assert_eq!(bench.effects[1..], [Effect::Resume(conn)]);
    assert_eq!((bench.edge.spill_bytes(), bench.edge.has_work()), (0, false));
}

#[test]
fn who_half_closes_still_gets_its_answer() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.accept();
    bench.receive(conn, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    bench.edge.peer_ended(conn, bench.now);
    assert!(bench.flush(conn).starts_with(b"HTTP/1.1 200"));
    let failed = bench.client();
    bench.receive(failed, &[0xff; 8]);
    bench.edge.peer_ended(failed, bench.now);
    let close = bench.flush(failed);
    assert_eq!((close[0], &close[2..4]), (0x88, &[3, 0xea][..]), "1002");
    bench.resume();
    assert_eq!(bench.edge.places_used(), 0, "and nothing more is waited for");
}

#[test]
fn who_sent_its_fin_is_waited_for_while_it_reads() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.client();
    bench.receive(conn, &publish(2));
    bench.edge.peer_ended(conn, bench.now);
    bench.resume();
    assert_eq!(bench.edge.places_used(), 1, "an answer is owed");
    let Some(Request::Publish { to, .. }) = bench.lane.requests.pop_front() else {
        panic!("it is asked")
    };
    bench.deliver(Delivery::Published { to, position: Position { epoch: Epoch(0), offset: 1 } });
    let mut ranges = Vec::new();
    while let Some((to, flush)) = next_flush(&mut bench.edge, &mut ranges) {
        if let Flush::One(range) = flush {
            ranges = vec![range];
        }
        bench.edge.unsent(to, &ranges, 0);
    }
    bench.resume();
    assert_eq!(bench.edge.places_used(), 1, "it is on its way");
    bench.now = at_ms(1_100 + READ_ON_MS);
    bench.edge.timers(bench.now);
    bench.resume();
    assert_eq!((bench.edge.places_used(), bench.edge.backlog_bytes()), (0, 0));
}
