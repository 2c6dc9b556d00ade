//! Two cores, edge and home each, between lanes of a few slots: driven step by step by choices.
//!
//! Must not know drivers or workers: it stands in their place. Invariants that it holds edges and
//! homes to: nothing panics, at rest nobody is owed anything, and when all have gone nothing is
//! left.

use crate::choices::Choices;
use crate::client::{Client, Ledger, Stage};
use bytes::Bytes;
use corecast::auth;
use corecast::auth::Auth;
use corecast::clock::Now;
use corecast::contract::engine::Memory;
use corecast::contract::envelope::{Delivery, Request};
use corecast::edge::{
    ClientTimes, ConnectionId, Edge, EdgeOptions, EdgeSecrets, Effect, Flush, HttpOptions, Range,
    RequestLanes, Turn,
};
use corecast::hashing::Key;
use corecast::home::{Home, HomeOptions, HomeSecrets};
use corecast::http::origin::Origins;
use corecast::http::routes::RouteOptions;
use corecast::limits::Limits;
use corecast::metrics::CoreMetrics;
use corecast::namespace::{ChannelOptions, Delta, Mode, Namespaces, Who};
use std::collections::VecDeque;
use std::sync::Arc;

/// Signs the tokens of clients.
pub const SECRET: &[u8] = b"fuzz-secret-fuzz-secret-fuzz-secret";
/// Unix time at the start of a run, in milliseconds.
pub const START_MS: u64 = 1_700_000_000_000;
const CORES: usize = 2;
/// Connections of a run.
const PEERS_MOST: usize = 12;
/// Rounds in which everything must have come to rest.
const ROUNDS_MOST: usize = 20_000;

type Lanes<T> = Vec<Vec<VecDeque<T>>>;

/// The request lanes of one core.
struct Out<'a> {
    lanes: &'a mut Vec<VecDeque<Request>>,
    slots: usize,
}

impl RequestLanes for Out<'_> {
    fn push(&mut self, home: u16, request: Request) -> Result<(), Request> {
        let lane = &mut self.lanes[usize::from(home)];
        if lane.len() >= self.slots {
            return Err(request);
        }
        lane.push_back(request);
        Ok(())
    }
}

/// A connection and its two ends.
pub struct Peer {
    core: usize,
    conn: ConnectionId,
    pub client: Client,
    /// Bytes that it sent and the edge has not been given.
    pub sent: VecDeque<u8>,
    /// A chunk that is on its way to it.
    armed: Option<Bytes>,
    paused: bool,
    pub open: bool,
    /// It has sent its FIN.
    ended: bool,
}

impl Peer {
    fn is_readable(&self) -> bool {
        self.open && !self.paused && !self.ended && !self.sent.is_empty()
    }
}

/// How the socket takes what it is sent inline.
#[derive(Clone, Copy)]
enum Takes {
    All,
    Some(u8),
}

pub struct Host {
    edges: Vec<Edge>,
    homes: Vec<Home<Memory>>,
    /// By asking core, then home.
    requests: Lanes<Request>,
    /// By home, then core.
    deliveries: Lanes<Delivery>,
    slots: usize,
    pub peers: Vec<Peer>,
    pub ledger: Ledger,
    now_ms: u64,
}

fn namespaces() -> Namespaces {
    let open = ChannelOptions {
        allow_subscribe: Who::Anyone,
        allow_publish: Who::Anyone,
        allow_history: Who::Anyone,
        allow_presence: Who::Anyone,
        ..ChannelOptions::default()
    };
    let chat = ChannelOptions {
        history_size: 6,
        history_ttl_s: 2,
        presence: true,
        recovery: Mode::Force,
        positioning: Mode::Force,
        join_leave: Mode::Force,
        ..open.clone()
    };
    let asked = ChannelOptions {
        history_size: 6,
        history_ttl_s: 60,
        delta: Delta::Fossil,
        allow_tags_filter: true,
        recovery: Mode::Allow,
        positioning: Mode::Allow,
        join_leave: Mode::Allow,
        ..open.clone()
    };
    let named = vec![("chat".to_owned(), chat), ("asked".to_owned(), asked)];
    Namespaces { unnamed: open, named, ..Namespaces::default() }
}

/// Bounds that a short run reaches, or those of a real server.
fn limits(tight: bool) -> Limits {
    if !tight {
        // The arena is touched when it is made: a large one is most of a run's time.
        return Limits { connections_per_worker: 16, arena_bytes: 65_536, ..Limits::default() };
    }
    Limits {
        connections_per_worker: 3,
        message_bytes: 3_000,
        channels_per_connection: 3,
        backlog_bytes: 3_000,
        recovery_bytes: 400,
        spill_bytes_per_worker: 5_000,
        backlog_bytes_per_worker: 6_000,
        channels_per_worker: 4,
        subscriptions_per_worker: 6,
        history_bytes_per_worker: 2_000,
        presence_per_channel: 2,
        arena_bytes: 2_000,
        ..Limits::default()
    }
}

impl Host {
    pub fn new(choices: &mut Choices<'_>) -> Host {
        let slots = 1 + choices.below(4);
        let limits = limits(choices.flag());
        let metrics: Vec<_> = (0..CORES).map(|_| Arc::new(CoreMetrics::new())).collect();
        let edge = |core: u16| {
            let websocket_paths = vec!["/ws".to_owned()];
            let routes = RouteOptions { websocket_paths, dev: true, serves_api: true };
            let keys =
                auth::KeyOptions { hmac_secrets: vec![SECRET.to_vec()], ..Default::default() };
            let auth = auth::Options { keys, allow_anonymous: true, ..Default::default() };
            Edge::new(EdgeOptions {
                core,
                homes: CORES as u16,
                namespaces: namespaces(),
                limits: limits.clone(),
                times: ClientTimes {
                    ping_interval_ms: 25_000,
                    pong_timeout_ms: 8_000,
                    connect_timeout_ms: 10_000,
                },
                auth: Auth::new(&auth).expect("a good key"),
                http: HttpOptions {
                    internal_routes: routes.clone(),
                    routes,
                    origins: Origins::default(),
                    trusted: corecast::http::forwarded::Trusted::default(),
                    api_key: None,
                    dev: true,
                    node: ("id".to_owned(), "name".to_owned()),
                    process: Default::default,
                    driver: "none",
                    store: None,
                },
                secrets: EdgeSecrets::drawn(Key::of(1), Key::of(2), || {
                    Key::of(3 + u128::from(core))
                }),
                metrics: metrics.clone(),
            })
        };
        let home = |core: u16| {
            let (namespaces, limits) = (namespaces(), limits.clone());
            let secrets = HomeSecrets::drawn(|| Key::of(9 + u128::from(core)));
            let options = HomeOptions { core, cores: CORES, namespaces, limits, secrets };
            Home::new(options, Memory)
        };
        Host {
            edges: (0..CORES as u16).map(edge).collect(),
            homes: (0..CORES as u16).map(home).collect(),
            requests: (0..CORES).map(|_| (0..CORES).map(|_| VecDeque::new()).collect()).collect(),
            deliveries: (0..CORES).map(|_| (0..CORES).map(|_| VecDeque::new()).collect()).collect(),
            slots,
            peers: Vec::new(),
            ledger: Ledger::new(),
            now_ms: 1_000,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_us: self.now_ms * 1_000, unix_ms: START_MS + self.now_ms }
    }

    /// Lets time pass.
    pub fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// A connection to a core, where there is room.
    pub fn accept(&mut self, core: usize, internal: bool) {
        if self.peers.len() >= PEERS_MOST {
            return;
        }
        let core = core % CORES;
        let now = self.now();
        let Some(conn) = self.edges[core].accept(internal, now) else { return };
        self.peers.push(Peer {
            core,
            conn,
            client: Client::default(),
            sent: VecDeque::new(),
            armed: None,
            paused: false,
            open: true,
            ended: false,
        });
        self.apply_effects(core);
    }

    /// Gives the edge up to `bytes` of what a peer sent. True: it was given some.
    pub fn receive(&mut self, peer: usize, bytes: usize) -> bool {
        let now = self.now();
        let it = &mut self.peers[peer];
        if !it.is_readable() {
            return false;
        }
        let count = bytes.max(1).min(it.sent.len());
        let mut buffer: Vec<u8> = it.sent.drain(..count).collect();
        let (core, conn) = (it.core, it.conn);
        let mut out = Out { lanes: &mut self.requests[core], slots: self.slots };
        self.edges[core].settle_late(now);
        self.edges[core].receive(conn, &mut buffer, &mut Turn::new(now, &mut out));
        self.apply_effects(core);
        true
    }

    /// A peer's FIN, or its reset.
    pub fn ends(&mut self, peer: usize, reset: bool) {
        let now = self.now();
        let it = &mut self.peers[peer];
        if !it.open || it.ended {
            return;
        }
        let (core, conn) = (it.core, it.conn);
        it.client.wild = true;
        self.edges[core].settle_late(now);
        if reset {
            self.edges[core].peer_lost(conn, now);
        } else {
            it.ended = true;
            self.edges[core].peer_ended(conn, now);
        }
        self.apply_effects(core);
    }

    /// The chunk under way to a peer arrives. True: there was one.
    pub fn arrives(&mut self, peer: usize) -> bool {
        let it = &mut self.peers[peer];
        let Some(chunk) = it.armed.take().filter(|_| it.open) else { return false };
        let (core, conn) = (it.core, it.conn);
        it.client.receive(&chunk, &mut self.ledger);
        self.edges[core].chunk_sent(conn);
        self.apply_effects(core);
        true
    }

    /// One turn of a core, as a worker turns, but for what is received.
    pub fn turn(&mut self, core: usize, choices: &mut Choices<'_>, ends: bool) -> bool {
        let core = core % CORES;
        let now = self.now();
        let mut out = Out { lanes: &mut self.requests[core], slots: self.slots };
        self.edges[core].settle_late(now);
        self.edges[core].resume_work(&mut Turn::new(now, &mut out));
        self.apply_effects(core);
        let mut busy = self.take_deliveries(core);
        busy |= self.serve_requests(core);
        self.edges[core].timers(now);
        self.apply_effects(core);
        let takes =
            if ends || choices.byte() % 4 > 0 { Takes::All } else { Takes::Some(choices.byte()) };
        self.flush(core, takes);
        self.apply_effects(core);
        busy || self.edges[core].has_work()
    }

    fn take_deliveries(&mut self, core: usize) -> bool {
        let now = self.now();
        let mut taken = false;
        for home in 0..CORES {
            while self.edges[core].has_room()
                && let Some(delivery) = self.deliveries[home][core].pop_front()
            {
                taken = true;
                self.edges[core].deliver(home as u16, delivery, now);
            }
        }
        self.edges[core].mark_staged();
        taken
    }

    fn serve_requests(&mut self, core: usize) -> bool {
        let now = self.now();
        let mut served = false;
        if !self.say(core, &mut served) {
            return served;
        }
        self.homes[core].timers(now);
        for asking in 0..CORES {
            loop {
                if !self.say(core, &mut served) {
                    return served;
                }
                let Some(request) = self.requests[asking][core].pop_front() else { break };
                served = true;
                self.homes[core].take(request, now);
            }
        }
        served
    }

    /// False: a lane is full, and the home waits with what it has to say.
    fn say(&mut self, home: usize, said: &mut bool) -> bool {
        while let Some((core, delivery)) = self.homes[home].next_delivery() {
            let lane = &mut self.deliveries[home][usize::from(core)];
            if lane.len() >= self.slots {
                self.homes[home].put_back(core, delivery);
                return false;
            }
            lane.push_back(delivery);
            *said = true;
        }
        true
    }

    fn flush(&mut self, core: usize, takes: Takes) {
        let mut batch: Vec<(ConnectionId, Vec<Range>)> = Vec::new();
        let (mut conns, mut ranges) = (Vec::new(), Vec::new());
        self.edges[core].take_dirty(usize::MAX, &mut conns);
        for conn in conns {
            match self.edges[core].flush_of(conn, &mut ranges) {
                Flush::Nothing => {}
                Flush::One(range) => batch.push((conn, vec![range])),
                Flush::Send => batch.push((conn, ranges.clone())),
            }
        }
        for (conn, ranges) in batch {
            let Some(peer) = self.find(core, conn) else { continue };
            assert!(self.peers[peer].armed.is_none(), "one send at a time (rule 19)");
            let arena = self.edges[core].arena();
            let bytes: Vec<u8> = ranges
                .iter()
                .flat_map(|range| &arena[range.start as usize..range.end as usize])
                .copied()
                .collect();
            let taken = match takes {
                Takes::All => bytes.len(),
                Takes::Some(part) => bytes.len() * usize::from(part) / 256,
            };
            self.peers[peer].client.receive(&bytes[..taken], &mut self.ledger);
            if taken == bytes.len() {
                self.edges[core].sent_inline(conn);
            } else {
                self.edges[core].unsent(conn, &ranges, taken as u32);
            }
        }
        self.edges[core].restart_if_flushed();
    }

    fn find(&self, core: usize, conn: ConnectionId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.open && peer.core == core && peer.conn == conn)
    }

    fn apply_effects(&mut self, core: usize) {
        let mut effects = Vec::new();
        loop {
            self.edges[core].take_effects(&mut effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects.drain(..) {
                let (Effect::Arm(conn)
                | Effect::Pause(conn)
                | Effect::Resume(conn)
                | Effect::Shutdown(conn)
                | Effect::Close(conn)) = effect;
                let Some(peer) = self.find(core, conn) else { continue };
                match effect {
                    Effect::Arm(_) => {
                        if let Some(chunk) = self.edges[core].next_chunk(conn) {
                            let before = self.peers[peer].armed.replace(chunk);
                            assert!(before.is_none(), "one chunk at a time");
                        }
                    }
                    Effect::Pause(_) => self.peers[peer].paused = true,
                    Effect::Resume(_) => self.peers[peer].paused = false,
                    Effect::Shutdown(_) => {}
                    Effect::Close(_) => self.peers[peer].open = false,
                }
            }
        }
    }

    /// Lets everything that is under way come to its end.
    fn settle(&mut self) {
        let mut none = Choices::new(&[]);
        for _ in 0..ROUNDS_MOST {
            let mut busy = false;
            for peer in 0..self.peers.len() {
                busy |= self.receive(peer, 1_000);
                busy |= self.arrives(peer);
            }
            for core in 0..CORES {
                busy |= self.turn(core, &mut none, true);
            }
            if !busy && !self.is_anything_under_way() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn is_anything_under_way(&self) -> bool {
        self.requests.iter().flatten().any(|lane| !lane.is_empty())
            || self.deliveries.iter().flatten().any(|lane| !lane.is_empty())
            || self.homes.iter().any(|home| !home.is_free())
            || self.peers.iter().any(|peer| peer.open && peer.armed.is_some())
            || self.peers.iter().any(Peer::is_readable)
    }

    /// At rest nobody is owed anything; and when all have gone, nothing is left.
    pub fn end(mut self) {
        self.settle();
        for (number, peer) in self.peers.iter().enumerate() {
            let client = &peer.client;
            let served = matches!(client.stage, Stage::WebSocket { json: true });
            if peer.open && served && !client.wild {
                assert!(!peer.paused, "peer {number}: nobody reads it");
                assert!(
                    client.asked.is_empty(),
                    "peer {number}: unanswered {:?}; {} bytes not taken, {} in spills, FIN {}",
                    client.asked,
                    peer.sent.len(),
                    self.edges[peer.core].spill_bytes(),
                    peer.ended,
                );
            }
        }
        for edge in &self.edges {
            assert_eq!(edge.parked(), 0, "parked for ever");
        }
        for peer in 0..self.peers.len() {
            self.ends(peer, true);
        }
        self.settle();
        // Longer than any history is kept.
        self.wait(100_000);
        self.settle();
        for (edge, home) in self.edges.iter().zip(&self.homes) {
            assert_eq!(edge.places_used(), 0, "connections that nobody has");
            assert_eq!(edge.channels().count(), 0, "channels that nobody listens to");
            assert_eq!((edge.backlog_bytes(), edge.spill_bytes(), edge.api_bytes()), (0, 0, 0));
            assert_eq!((home.channels(), home.history_bytes()), (0, 0));
        }
        assert!(self.peers.iter().all(|peer| !peer.open), "sockets that nobody closed");
    }
}
