//! What a core counts: counters, gauges and histograms that one core writes and any thread reads.
//!
//! Must not know what it counts: codes and causes are numbers here, and their tables are made
//! from the enums that define them. Invariants: every cell has one writer, so counting is a load
//! and a store, without a lock, an allocation or a read-modify-write. Readers may see the cells of
//! one core at slightly different moments.

mod store;
mod text;

use crate::codec::command::{Disconnect, ErrorCode};
use crate::namespace::NAMESPACES_COUNTED;
use crate::ws::frame::close_code;

pub use store::{StoreCall, StoreEvent, StoreHealth, StoreMetrics};
pub use text::{ProcessStats, render, totals};

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer and any readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only its one writer may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Replaces it. Only its one writer may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Buckets with an upper bound; one more holds everything above them.
const BUCKETS: usize = 24;

/// Durations in microseconds, in buckets that double: bucket `i` holds those of at most `2^(first +
/// i)` that do not fit into the bucket below.
#[derive(Debug, Default)]
pub struct Histogram {
    first: u32,
    counts: [Counter; BUCKETS + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Its first bucket ends at `2^first` microseconds, the last bounded one 23 doublings later.
    fn from(first: u32) -> Self {
        Histogram { first, ..Histogram::default() }
    }

    /// Counts one duration. Only its one writer may call this.
    #[inline]
    pub fn record(&self, us: u64) {
        let doublings = u64::BITS - us.saturating_sub(1).leading_zeros();
        let bucket = (doublings.saturating_sub(self.first) as usize).min(BUCKETS);
        self.counts[bucket].add(1);
        self.sum_us.add(us);
    }

    /// Upper bound of a bounded bucket.
    fn bound_us(&self, bucket: usize) -> u64 {
        1 << (self.first as usize + bucket)
    }
}

/// Close codes that have a counter of their own: those of the WebSocket protocol (RFC 6455 section
/// 7.4), 1006 for an end without a close frame, and all codes of Centrifugo's protocol.
pub const DISCONNECT_CODES: [u16; CLOSE_CODES + Disconnect::ALL.len()] = {
    let mut codes = [close_code::NONE; CLOSE_CODES + Disconnect::ALL.len()];
    let mut index = 0;
    while index < close_code::REGISTERED.len() {
        codes[1 + index] = close_code::REGISTERED[index];
        index += 1;
    }
    index = 0;
    while index < Disconnect::ALL.len() {
        codes[CLOSE_CODES + index] = Disconnect::ALL[index].parts().0;
        index += 1;
    }
    codes
};
const CLOSE_CODES: usize = 1 + close_code::REGISTERED.len();

/// Error codes of replies that have a counter of their own: all of them.
pub const ERROR_CODES: [u16; ErrorCode::ALL.len()] = {
    let mut codes = [0; ErrorCode::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        let code = ErrorCode::ALL[index].parts().0;
        assert!(code <= u16::MAX as u32);
        codes[index] = code as u16;
        index += 1;
    }
    codes
};

listed! {
    /// Why a connection, a request or a command was refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Cause {
        /// No connection slot (503).
        Slots = "slots",
        /// An invalid upgrade request (400, 405, 426).
        Handshake = "handshake",
        /// A head that cannot be read or is not supported (400, 417, 501).
        Head = "head",
        /// An Origin that is not allowed (403).
        Origin = "origin",
        /// The head took too long (408).
        HeadTimeout = "head_timeout",
        /// A body took too long (408).
        BodyTimeout = "body_timeout",
        /// The head is too large (431).
        HeadSize = "head_size",
        /// The body is too large (413).
        BodySize = "body_size",
        /// Calls of the server API hold more memory than they may (503).
        ApiBytes = "api_bytes",
        /// A wrong or missing API key (401).
        ApiKey = "api_key",
        /// A token that is invalid, expired, or missing.
        Token = "token",
        /// Anything else that HTTP refuses (404, 405, 501).
        Http = "http",
        /// A response that its client does not read (closed).
        Unread = "unread",
        /// A command that its client is not allowed to send (103).
        Permission = "permission",
        /// A channel of a namespace that is not configured (102).
        Namespace = "namespace",
        /// A command over a bound (106).
        Limit = "limit",
        /// A command that is malformed, or asks for something that is not available (104, 107,
        /// 108).
        Command = "command",
        /// A call of the server API with an invalid body (104, 107, 108, 110).
        ApiBody = "api_body",
        /// Too many received bytes wait, and this connection held most of them (closed, or 1013).
        Spill = "spill",
        /// Closed before it was a session, because another connection needed its slot.
        Displaced = "displaced",
        /// A handshake of its transport that is wrong, or took too long (closed).
        TransportHandshake = "transport_handshake",
        /// A record of its transport that cannot be opened (closed).
        TransportRecord = "transport_record",
        /// Its client ended the transport with an alert (closed).
        TransportAlert = "transport_alert",
        /// A user whose id does not fit into a channel's name (connected, without a personal
        /// channel).
        PersonalChannel = "personal_channel",
    }
}

/// When the bridge last heard from a core. The bridge is its writer, so it has a cache line of its
/// own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Probe {
    /// When the last answer to a probe came, in milliseconds since the process started; 0: never.
    pub answered_ms: Counter,
}

/// Methods of the server API that have counters of their own.
pub const API_METHODS: usize = 16;

/// What happens in the channels of one namespace.
#[derive(Debug, Default)]
pub struct NamespaceMetrics {
    /// Gauge: subscriptions of this core's connections.
    pub subscriptions: Counter,
    /// Publications that this core received, from its connections and from calls.
    pub publications: Counter,
    /// Publications delivered to a subscriber.
    pub deliveries: Counter,
}

/// Calls of one method.
#[derive(Debug, Default)]
struct CallMetrics {
    duration: Histogram,
    errors: Counter,
}

/// What one core counts. The core is the writer of everything but `probe`.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreMetrics {
    /// Gauge: open connections.
    pub connections: Counter,
    /// Gauge: subscriptions of its connections.
    pub subscriptions: Counter,
    /// Gauge: channels that its connections are subscribed to.
    pub channels: Counter,
    /// Gauge: bytes of the filters of subscriptions.
    pub filter_bytes: Counter,
    /// Gauge: channels whose home is this core.
    pub home_channels: Counter,
    /// Gauge: channels without history or subscribers whose numbering this core keeps.
    pub numberings: Counter,
    /// Gauge: channels at home on this core that have subscribers, on any core.
    pub subscribed_channels: Counter,
    /// Gauge: users with connections whose home is this core.
    pub users: Counter,
    /// Gauge: bytes of bodies and answers of the server API's calls.
    pub api_bytes: Counter,
    /// Gauge: connections that wait for room in a lane.
    pub parked: Counter,
    /// Gauge: bytes waiting to be sent, backlogs and recovery answers together.
    pub backlog_bytes: Counter,
    /// Gauge: bytes of frames written in the last turn.
    pub arena_bytes: Counter,
    /// Gauge: bytes of partly received messages.
    pub spill_bytes: Counter,
    /// Gauge: bytes of history at home on this core.
    pub history_bytes: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Messages received, WebSocket and HTTP.
    pub messages_in: Counter,
    /// Messages sent.
    pub messages_out: Counter,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes sent.
    pub bytes_out: Counter,
    /// Histories evicted early because of `limits.history_bytes_per_worker` or
    /// `limits.channels_per_worker`.
    pub history_evictions: Counter,
    /// Numberings evicted early because of `limits.numbering_bytes_per_worker`.
    pub numbering_evictions: Counter,
    /// New channels refused because of `limits.new_channels_per_s` and its siblings.
    pub channels_refused: Counter,
    /// Publications that homes on this core put in order.
    pub publications: Counter,
    /// Publications delivered to a subscriber.
    pub deliveries: Counter,
    /// Sends handed to the driver.
    pub sends: Counter,
    /// Stages of turns that ended because they may do no more work (`limits::WORK_PER_STAGE_NS`).
    pub stages_cut: Counter,
    /// Pushes that found their lane full.
    pub lane_full: Counter,
    /// Times that a channel skipped an offset, and its subscribers were sent 2500.
    pub position_lost: Counter,
    /// Publications dropped because their offset had been seen.
    pub duplicates: Counter,
    /// Times that the driver ran out of provided buffers.
    pub out_of_buffers: Counter,
    /// Completions that found the completion queue full.
    pub overflows: Counter,
    /// Time from accept to the response to the upgrade.
    pub handshake: Histogram,
    /// Duration of a turn, without its sleep.
    pub turn: Histogram,
    /// Duration of ended connections.
    pub connection: Histogram,
    /// Time from receiving a publication to framing it for delivery on this core.
    pub latency: Histogram,
    /// When the last turn began, in milliseconds since the process started.
    pub turned_ms: Counter,
    /// Read by `/ready`.
    pub probe: Probe,
    namespaces: [NamespaceMetrics; NAMESPACES_COUNTED],
    calls: [CallMetrics; API_METHODS],
    disconnects: [Counter; DISCONNECT_CODES.len() + 1],
    errors: [Counter; ERROR_CODES.len() + 1],
    refusals: [Counter; Cause::ALL.len()],
}

impl Default for CoreMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl CoreMetrics {
    /// Everything at 0.
    #[must_use]
    pub fn new() -> Self {
        CoreMetrics {
            connections: Counter::default(),
            subscriptions: Counter::default(),
            channels: Counter::default(),
            filter_bytes: Counter::default(),
            home_channels: Counter::default(),
            numberings: Counter::default(),
            subscribed_channels: Counter::default(),
            users: Counter::default(),
            api_bytes: Counter::default(),
            parked: Counter::default(),
            backlog_bytes: Counter::default(),
            arena_bytes: Counter::default(),
            spill_bytes: Counter::default(),
            history_bytes: Counter::default(),
            accepted: Counter::default(),
            messages_in: Counter::default(),
            messages_out: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            history_evictions: Counter::default(),
            numbering_evictions: Counter::default(),
            channels_refused: Counter::default(),
            publications: Counter::default(),
            deliveries: Counter::default(),
            sends: Counter::default(),
            stages_cut: Counter::default(),
            lane_full: Counter::default(),
            position_lost: Counter::default(),
            duplicates: Counter::default(),
            out_of_buffers: Counter::default(),
            overflows: Counter::default(),
            handshake: Histogram::from(4),
            turn: Histogram::from(0),
            connection: Histogram::from(14),
            latency: Histogram::from(0),
            turned_ms: Counter::default(),
            probe: Probe::default(),
            namespaces: std::array::from_fn(|_| NamespaceMetrics::default()),
            calls: std::array::from_fn(|_| CallMetrics {
                duration: Histogram::from(0),
                errors: Counter::default(),
            }),
            disconnects: Default::default(),
            errors: Default::default(),
            refusals: Default::default(),
        }
    }

    /// Counts the end of a connection by its close code; 1006 if there was none.
    pub fn disconnect(&self, code: u16) {
        self.disconnects[place(&DISCONNECT_CODES, code)].add(1);
    }

    /// The counters of a namespace, by its index in the configuration.
    #[inline]
    #[must_use]
    pub fn namespace(&self, place: u8) -> &NamespaceMetrics {
        &self.namespaces[usize::from(place)]
    }

    /// Counts an answered call of the server API: its method by its index among the names, and the
    /// time from the end of its body to the answer.
    pub fn call(&self, method: usize, us: u64, failed: bool) {
        let calls = &self.calls[method];
        calls.duration.record(us);
        calls.errors.add(u64::from(failed));
    }

    /// Counts an error reply.
    pub fn error(&self, code: u16) {
        self.errors[place(&ERROR_CODES, code)].add(1);
    }

    /// Refusals of this cause so far.
    #[must_use]
    pub fn refused(&self, cause: Cause) -> u64 {
        self.refusals[cause as usize].get()
    }

    /// Counts a refusal.
    pub fn refuse(&self, cause: Cause) {
        self.refusals[cause as usize].add(1);
    }

    /// Whether the core answered a probe of the bridge within the last `within_ms`.
    #[must_use]
    pub fn answered_within(&self, now_ms: u64, within_ms: u64) -> bool {
        let answered_ms = self.probe.answered_ms.get();
        answered_ms > 0 && now_ms.saturating_sub(answered_ms) <= within_ms
    }
}

/// A code's index in its table; one past the end for a code that is not in it.
fn place(codes: &[u16], code: u16) -> usize {
    codes.iter().position(|known| *known == code).unwrap_or(codes.len())
}
