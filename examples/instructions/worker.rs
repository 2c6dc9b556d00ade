//! A whole worker on a driver that takes everything and does nothing.
//!
//! Must not know what is counted. Invariant: no system call is made between `say` and the end of
//! `turn_until_idle`.

use bytes::Bytes;
use corecast::auth::{self, Auth};
use corecast::clock::Now;
use corecast::contract::engine::Memory;
use corecast::driver::{Buffer, Driver, Event, Segment, Send, Socket, Tag, Unsent};
use corecast::edge::{ClientTimes, Edge, EdgeOptions, EdgeSecrets, HttpOptions};
use corecast::hashing::Key;
use corecast::home::{Home, HomeOptions, HomeSecrets};
use corecast::http::origin::Origins;
use corecast::http::routes::RouteOptions;
use corecast::limits::{Budgets, Limits};
use corecast::mesh::{Slots, mesh};
use corecast::metrics::CoreMetrics;
use corecast::namespace::{ChannelOptions, Namespaces, Who};
use corecast::transport::Plain;
use corecast::worker::{Parts, Rest, TurnOutcome, Worker, WorkerEndpoint};
use corecast::ws::frame::{self, OpCode};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const NOW: Now = Now { monotonic_us: 1_000_000, unix_ms: 1_700_000_000_000 };
const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SUBSCRIBE: &str = r#"{"id":2,"subscribe":{"channel":"chat:lobby"}}"#;

/// Takes every send whole, at once.
#[derive(Default)]
struct Sink {
    events: VecDeque<Event>,
    received: Vec<u8>,
    /// The owner's name of the socket adopted last.
    adopted: Option<Tag>,
    sends: usize,
}

impl Driver for Sink {
    fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn bytes(&mut self, buffer: &Buffer) -> &mut [u8] {
        &mut self.received[..buffer.len as usize]
    }

    fn release(&mut self, _: Buffer) {}

    fn adopt(&mut self, _: Socket, tag: Tag) {
        self.adopted = Some(tag);
    }

    fn pause(&mut self, _: Socket) {}

    fn resume(&mut self, _: Socket) {}

    fn flush(
        &mut self,
        _: &[u8],
        _: &[u8],
        _: &[Segment],
        sends: &[Send],
        unsent: &mut Vec<Unsent>,
    ) {
        unsent.clear();
        self.sends += sends.len();
    }

    fn arm_send(&mut self, _: Socket, _: Bytes) {}

    fn shutdown(&mut self, _: Socket) {}

    fn close(&mut self, _: Socket) {}

    fn stop_listening(&mut self) {}

    fn look_for_news(&mut self) -> bool {
        !self.events.is_empty()
    }

    fn notify(&mut self, _: usize) {}

    fn wait(&mut self, _: Option<Duration>) {}
}

/// A worker, its subscribers, and one publisher.
pub struct Rig {
    worker: Worker<Sink, Plain, Memory>,
    publisher: Tag,
}

impl Rig {
    /// A worker with `subscribers` connections in one channel, and a publisher that is not in it.
    pub fn new(subscribers: usize) -> Rig {
        let (mut ends, _) = mesh(1, Slots { requests: 1_024, deliveries: 1_024, bridge: 1_024 });
        let mesh: WorkerEndpoint = ends.pop().expect("there is one worker");
        let metrics = Arc::new(CoreMetrics::new());
        let everyone = ChannelOptions {
            allow_subscribe: Who::Anyone,
            allow_publish: Who::Anyone,
            ..ChannelOptions::default()
        };
        let namespaces =
            Namespaces { named: vec![("chat".into(), everyone)], ..Namespaces::default() };
        let limits = Limits { connections_per_worker: 2_000, ..Limits::default() };
        let home = HomeOptions {
            core: 0,
            cores: 1,
            namespaces: namespaces.clone(),
            limits: limits.clone(),
            secrets: HomeSecrets::drawn(|| Key::of(3)),
        };
        let worker = Worker::new(Parts {
            driver: Sink::default(),
            transport: Plain,
            internal_listener: None,
            edge: Edge::new(edge(namespaces, limits, &metrics)),
            home: Home::new(home, Memory),
            mesh,
            metrics,
            budgets: Budgets::default(),
        });
        let mut rig = Rig { worker, publisher: Tag(0) };
        for socket in 0..=subscribers {
            rig.publisher = rig.connect(socket as u32);
            if socket < subscribers {
                rig.say(SUBSCRIBE);
                assert_eq!(rig.turn_until_idle(), 1, "it is answered");
            }
        }
        rig
    }

    fn connect(&mut self, socket: u32) -> Tag {
        let accepted = Event::Accepted { socket: Socket(socket), peer: None, listener: 0 };
        self.worker.driver_mut().events.push_back(accepted);
        self.turn_until_idle();
        self.publisher = self.worker.driver().adopted.expect("it is taken over");
        self.receive(UPGRADE);
        assert_eq!(self.turn_until_idle(), 1, "it is upgraded");
        self.say(r#"{"id":1,"connect":{}}"#);
        assert_eq!(self.turn_until_idle(), 1, "it is connected");
        self.publisher
    }

    /// Puts a text message of the publisher where the driver would.
    pub fn say(&mut self, text: &str) {
        let mut bytes = Vec::new();
        frame::write_masked(&mut bytes, OpCode::Text, true, [1, 2, 3, 4], text.as_bytes());
        self.receive(&bytes);
    }

    fn receive(&mut self, bytes: &[u8]) {
        let tag = self.publisher;
        let driver = self.worker.driver_mut();
        driver.received.clear();
        driver.received.extend_from_slice(bytes);
        let buffer = Buffer { id: 0, len: bytes.len() as u32 };
        driver.events.push_back(Event::Received { tag, buffer });
    }

    /// Turns until there is nothing to do; the sends that were made.
    pub fn turn_until_idle(&mut self) -> usize {
        let before = self.worker.driver().sends;
        loop {
            let TurnOutcome { worked, rest } = self.worker.turn(NOW);
            if !worked && rest != Rest::Busy && !self.worker.has_mail() {
                break;
            }
        }
        self.worker.driver().sends - before
    }
}

fn edge(namespaces: Namespaces, limits: Limits, metrics: &Arc<CoreMetrics>) -> EdgeOptions {
    let routes =
        RouteOptions { websocket_paths: vec!["/ws".into()], dev: false, serves_api: false };
    EdgeOptions {
        core: 0,
        homes: 1,
        namespaces,
        limits,
        times: ClientTimes {
            ping_interval_ms: 25_000,
            pong_timeout_ms: 8_000,
            connect_timeout_ms: 10_000,
        },
        auth: Auth::new(&auth::Options { allow_anonymous: true, ..auth::Options::default() })
            .expect("there is no key to be wrong"),
        http: HttpOptions {
            internal_routes: routes.clone(),
            routes,
            origins: Origins::default(),
            trusted: corecast::http::forwarded::Trusted::default(),
            api_key: None,
            dev: false,
            node: ("uid".to_owned(), "name".to_owned()),
            process: Default::default,
            driver: "none",
            store: None,
        },
        secrets: EdgeSecrets::drawn(Key::of(1), Key::of(2), || Key::of(3)),
        metrics: vec![Arc::clone(metrics)],
    }
}
