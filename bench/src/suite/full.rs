//! The matrix: the cases of the full set that the standard one does not have.
//!
//! Must not know how a run is made. Invariant: cases that make a curve differ in one option.

use super::contender::{OURS, SPINNING, TWO_WORKERS};
use super::planned::{EVERYBODY, Planned, case};
use super::results::{Metric, Point};

const OURS_BOTH: [&str; 2] = [OURS, "corecast-epoll"];
const RAW_PEERS: [&str; 2] = ["uwebsockets", "ws"];

/// Deliveries a second of curves over the size of a fan-out: every server can keep up.
const CURVE_DELIVERIES_PER_S: u32 = 60_000;

#[must_use]
pub fn cases() -> Vec<Planned> {
    [sizes(), rates(), echoes(), fanouts(), codecs(), states()].concat()
}

fn at(mut planned: Planned, figure: &str, x: u32) -> Planned {
    planned.point = Some(Point { figure: figure.into(), x: x.into() });
    planned.rounds_max = 3;
    planned
}

/// 1 to N at the same number of deliveries.
fn sizes() -> Vec<Planned> {
    let size = |subscribers: u32| {
        let rate = CURVE_DELIVERIES_PER_S / subscribers;
        let options = format!("--publishers 1 --subscribers {subscribers} --rate {rate}");
        let planned = case(
            &format!("size-{subscribers}"),
            &format!("Fan-out: 1 to {subscribers}, {CURVE_DELIVERIES_PER_S} deliveries/s"),
            "fanout",
            &(options + " --payload-bytes 64"),
            &EVERYBODY,
        );
        at(planned, "fanout-size", subscribers)
    };
    [10, 100, 1_000, 10_000].map(size).into()
}

/// 1 to 1,000 at more and more publications.
fn rates() -> Vec<Planned> {
    let rate = |rate: u32| {
        let planned = case(
            &format!("rate-{rate}"),
            &format!("Fan-out: 1 to 1,000, {rate} publications/s"),
            "fanout",
            &format!("--publishers 1 --subscribers 1000 --rate {rate} --payload-bytes 64"),
            &EVERYBODY,
        );
        at(planned, "fanout-rate", rate)
    };
    [10, 50, 150, 250].map(rate).into()
}

/// Echo over connections, and over sizes.
fn echoes() -> Vec<Planned> {
    let names = [&OURS_BOTH[..], &["floor-ring", "floor-epoll"], &RAW_PEERS, &["centrifuge"]];
    let names = names.concat();
    let connections = |connections: u32| {
        let planned = case(
            &format!("connections-{connections}"),
            &format!("Echo: {connections} connections, 64 B, 20,000 messages/s"),
            "echo",
            &format!("--connections {connections} --payload-bytes 64 --rate 20000"),
            &names,
        );
        at(planned, "echo-connections", connections)
    };
    let bytes = |bytes: u32| {
        let planned = case(
            &format!("bytes-{bytes}"),
            &format!("Echo: 100 connections, {bytes} B, 10,000 messages/s"),
            "echo",
            &format!("--connections 100 --payload-bytes {bytes} --rate 10000"),
            &names,
        );
        at(planned, "echo-bytes", bytes)
    };
    let over_connections = [10, 100, 1_000, 10_000].map(connections);
    let over_bytes = [64, 512, 1_024, 16_384].map(bytes);
    over_connections.into_iter().chain(over_bytes).collect()
}

/// Saturation, workers, small rooms, pairs, streams.
fn fanouts() -> Vec<Planned> {
    let mut saturate = case(
        "saturate",
        "Fan-out: 32 publishers to 250, highest rate at p99 <= 5 ms",
        "fanout",
        "--publishers 32 --subscribers 250 --payload-bytes 64 --saturate",
        &[&EVERYBODY[..], &["centrifugo"]].concat(),
    );
    saturate.metric = Metric::DeliveriesPerSecond;
    let mut workers = case(
        "workers",
        "Fan-out: one channel over 2 workers, generator unpinned, 100,000 deliveries/s",
        "fanout",
        "--publishers 1 --subscribers 1000 --payload-bytes 64 --rate 100",
        &[OURS, "corecast-io_uring-2"],
    );
    let passed_on = [
        &OURS_BOTH[..],
        &["floor-ring"],
        &RAW_PEERS,
        &["socketio", "socketio-redis", "centrifuge"],
    ];
    let passed_on = passed_on.concat();
    workers.spread = true;
    let rooms = case(
        "rooms",
        "Rooms: 1,000 connections in rooms of 10, 40,000 deliveries/s",
        "rooms",
        "--rooms 100 --subscribers 9 --publishers 1 --payload-bytes 64 --rate 4444",
        &passed_on,
    );
    let pairs = case(
        "p2p",
        "Pairs: 1,000 connections, 10,000 messages/s",
        "p2p",
        "--connections 1000 --payload-bytes 64 --rate 10000",
        &passed_on,
    );
    let fanout = case(
        "everybody",
        "Fan-out: 1 to 1,000, 64 B, 50,000 deliveries/s, socket.io and Centrifugo with us",
        "fanout",
        "--publishers 1 --subscribers 1000 --payload-bytes 64 --rate 50",
        &[OURS, "uwebsockets", "socketio", "socketio-redis", "centrifuge", "centrifugo"],
    );
    let protocol = [OURS, "corecast-epoll", "centrifuge"];
    let tokens = case(
        "tokens",
        "Answers of a language model: 30 small messages a second to each of 1,000 users",
        "tokens",
        "--connections 1000",
        &protocol,
    );
    let mixed = case("mixed", "A chat day in small", "mixed", "--connections 1000", &protocol);
    vec![saturate, workers, fanout, rooms, pairs, tokens, mixed]
}

/// The same fan-out in each codec.
fn codecs() -> Vec<Planned> {
    let names = [
        OURS,
        "corecast-io_uring-protobuf",
        "corecast-io_uring-msgpack",
        "centrifuge",
        "centrifuge-protobuf",
        "centrifugo-protobuf",
    ];
    let fanout = case(
        "codecs-fanout",
        "Codecs: 1 to 1,000, 64 B, 100,000 deliveries/s",
        "fanout",
        "--publishers 1 --subscribers 1000 --payload-bytes 64 --rate 100",
        &names,
    );
    let echo = case(
        "codecs-echo",
        "Codecs: rpc echo, 100 connections, 64 B, 20,000 messages/s",
        "echo",
        "--connections 100 --payload-bytes 64 --rate 20000",
        &names[..5],
    );
    vec![fanout, echo]
}

/// What is not a stream of messages: connects, memory, recovery, the API, hops.
fn states() -> Vec<Planned> {
    let floors = ["floor-ring", "floor-epoll"];
    let peers =
        [&OURS_BOTH[..], &floors, &["uwebsockets", "ws", "centrifuge", "centrifugo"]].concat();
    let mut connect = case(
        "connect",
        "Connect storm: TCP, upgrade, connect command (with a token, but for Centrifugo's library)",
        "connect",
        "--connections 4000",
        &peers,
    );
    let mut idle = case(
        "idle",
        "Idle: resident memory for each connection more, from 5,000 to 15,000",
        "idle",
        "--connections 15000",
        &peers,
    );
    idle.metric = Metric::BytesPerConnection;
    idle.point = Some(Point { figure: "memory".into(), x: 15_000.0 });
    let mut recover = case(
        "recover",
        "Recovery storm on channels with history",
        "recover",
        "--connections 1000",
        &[&OURS_BOTH[..], &["centrifuge"]].concat(),
    );
    for storm in [&mut connect, &mut idle, &mut recover] {
        (storm.fresh, storm.windowed) = (true, false);
    }
    vec![connect, idle, recover, pings(), http(), hop(), hop_spin()]
}

/// CPU of connections that are pinged every 25 s: the window has a ping of each.
fn pings() -> Planned {
    let mut pings = case(
        "pings",
        "Idle: server CPU of a connection with pings every 25 s, 10,000 connections, 25 s",
        "idle",
        "--from 0 --connections 10000 --warm-s 1 --window-s 25 --pings-least 1",
        &[&OURS_BOTH[..], &["floor-ring", "floor-epoll"]].concat(),
    );
    pings.metric = Metric::IdleCpu;
    (pings.fresh, pings.windowed) = (true, false);
    pings
}

fn http() -> Planned {
    case(
        "http",
        "Publishes by the HTTP API with a key: 32 connections, keep-alive, 20,000/s",
        "http",
        "--connections 32 --rate 20000",
        &[&OURS_BOTH[..], &["floor-ring", "floor-epoll", "centrifuge", "centrifugo"]].concat(),
    )
}

/// The generator is on the core of its connection's worker, so the other core is idle: the extra
/// time of a publication over that one is two wake-ups from core to core, and what they wake.
fn hop() -> Planned {
    let mut hop = case(
        "hop",
        "From core to core, asleep: half of what a publication takes longer over another worker \
         (lane, doorbell, wake-up and a turn of the other), beside a wake-up alone, by eventfd and \
         by a message from ring to ring",
        "hop",
        "--closed",
        &[TWO_WORKERS, "floor-wake", "floor-message"],
    );
    (hop.metric, hop.spread, hop.cores) = (Metric::Hop, true, 2);
    hop
}

/// Workers that spin leave the generator no core of two: it would take one of them from its worker,
/// and the hop would be the scheduler's.
fn hop_spin() -> Planned {
    let mut hop = case(
        "hop-spin",
        "From core to core, spinning: half of what a publication takes longer over another worker \
         (lane and a turn of the other), beside a line of 64 bytes between two cores alone",
        "hop",
        "--closed --spin",
        &[SPINNING, "floor-hop"],
    );
    (hop.metric, hop.cores) = (Metric::Hop, 3);
    hop
}
