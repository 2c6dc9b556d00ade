//! A table that a vendor published, measured here: Corecast beside npm `ws`.
//!
//! Must not know how a run is made. Invariant: where this machine cannot provide the table's
//! conditions, the row says so.

use super::contender::OURS;
use super::planned::{Planned, Seat, case, words};
use super::results::{Metric, Point};

/// Connections of the table, and those that one process here can hold.
const CONNECTIONS: u32 = 50_000;
const CONNECTIONS_OF_ONE_PROCESS: u32 = 15_000;
/// Deliveries a second of the table.
const DELIVERIES_PER_S: u32 = 120_000;
/// A room has so many members, so that a message is delivered to all but one.
const ROOM: u32 = 10;

/// Holds the table's numbers: host, connections, messages a second, p99, memory.
pub const PUBLISHED: [[&str; 3]; 5] = [
    ["host, message", "4 cores, 8 GB, 256 B", "the same, with Redis"],
    ["concurrent connections", "50,000", "45,000"],
    ["messages/s", "120,000", "95,000"],
    ["latency p99", "2 ms", "5 ms"],
    ["memory per 10,000 connections", "180 MB", "220 MB"],
];

/// So many connections in rooms, one of each publishing.
fn rooms(connections: u32) -> String {
    format!("--rooms {} --subscribers {}", connections / ROOM, ROOM - 1)
}

#[must_use]
pub fn cases() -> Vec<Planned> {
    let rate = DELIVERIES_PER_S / (ROOM - 1);
    let mut load = case(
        "table-load",
        "Published table: all connections held, 120,000 messages/s of 256 B in rooms of 10",
        "rooms",
        &format!("{} --payload-bytes 256 --rate {rate}", rooms(CONNECTIONS_OF_ONE_PROCESS)),
        &[OURS, "corecast-epoll", "ws"],
    );
    let held = format!(
        "{CONNECTIONS_OF_ONE_PROCESS} connections: this host allows a process 20,000 descriptors"
    );
    for seat in &mut load.seats {
        seat.note = Some(held.clone());
    }
    load.seats.insert(
        0,
        Seat {
            name: "corecast-io_uring-3",
            options: words(&format!("{} --processes 3", rooms(CONNECTIONS))),
            note: Some("3 workers, for a ring holds at most 20,000 connections here".into()),
        },
    );
    let mut peak = case(
        "table-peak",
        "Published table: most messages/s of 256 B at p99 <= 5 ms, 32 publishers to 250",
        "fanout",
        "--publishers 32 --subscribers 250 --payload-bytes 256 --saturate",
        &[OURS, "corecast-epoll", "ws"],
    );
    peak.metric = Metric::DeliveriesPerSecond;
    let mut memory = case(
        "table-memory",
        "Published table: resident memory for each connection more, from 5,000 to 15,000",
        "idle",
        "--connections 15000",
        &[OURS, "corecast-epoll", "ws"],
    );
    memory.metric = Metric::BytesPerConnection;
    memory.point = Some(Point { figure: "memory".into(), x: 15_000.0 });
    (memory.fresh, memory.windowed) = (true, false);
    for case in [&mut load, &mut peak] {
        case.rounds_max = 3;
        (case.fresh, case.spread) = (true, true);
    }
    vec![load, peak, memory]
}
