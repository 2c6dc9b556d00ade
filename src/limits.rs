//! Every bound, with its answer. Nothing in Corecast grows without one of these above it.
//!
//! Must not know: anything. Every module may import it.

/// Bounds that an operator may move (`[limits]`); 0 lifts one where its line says so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections of one worker; one more is answered 503 with Retry-After 5.
    pub connections_per_worker: u32,
    /// Bytes of one message, fragments together; over it 1009, decided from the header.
    pub message_bytes: u32,
    /// Frames of one message: this many and one more for every 16 bytes; over it 1008.
    pub fragments_per_message: u32,
    /// Control frames per second of one connection (0: no limit); over it, and the burst, 1008.
    pub control_frames_per_s: u32,
    /// Control frames that may come at once before the rate counts.
    pub control_frames_burst: u32,
    /// Bytes of a channel's name; over it error 107.
    pub channel_name_bytes: u32,
    /// Subscriptions of one connection; over it error 106.
    pub channels_per_connection: u32,
    /// Unsent bytes that may wait for one connection; over it disconnect 3008.
    pub backlog_bytes: u32,
    /// Bytes of publications in one recovery answer; over it `recovered: false`. History is cut to
    /// it.
    pub recovery_bytes: u32,
    /// Bytes of sessions that came in and wait on one worker, parts of messages and commands; over
    /// it those that hold most get 1013, until a sixteenth is free. HTTP heads, WebSockets before
    /// their connect, and the internal listener have a quarter of it each, of their own.
    pub spill_bytes_per_worker: u64,
    /// Memory of what waits unsent, backlogs and recovery answers together, on one worker; over it
    /// the connections that hold most are disconnected with 3008, until a sixteenth is free.
    pub backlog_bytes_per_worker: u64,
    /// Channels with subscribers on one worker, and channels at home there. A home's oldest history
    /// without subscribers makes room; where there is none, error 106.
    pub channels_per_worker: u32,
    /// Bytes of the filters of one connection's subscriptions, as they are kept; over it error 106.
    pub filter_bytes_per_connection: u64,
    /// Bytes of the filters on one worker, each counted once. A connection may have a 64th of what
    /// is left, with those that it has; over it error 106.
    pub filter_bytes_per_worker: u64,
    /// Subscriptions on one worker; over it error 106.
    pub subscriptions_per_worker: u32,
    /// Bytes of history at home on one worker; over it the largest histories go, of
    /// those about as large the one that would expire soonest first.
    pub history_bytes_per_worker: u64,
    /// Bytes of the numberings of channels that have neither history nor subscribers, at home on
    /// one worker, 64 for each; over it those go first in whose channels nothing was published,
    /// then the oldest. 0 keeps none.
    pub numbering_bytes_per_worker: u64,
    /// New channels that one connection may cause per second at one worker's home, behind its burst
    /// (0: no limit); over it error 111.
    pub new_channels_per_s: u32,
    /// New channels that it may cause at once; `channels_per_connection` where that is more.
    pub new_channels_burst: u32,
    /// The same of all connections of one user.
    pub new_channels_per_user_per_s: u32,
    pub new_channels_per_user_burst: u32,
    /// Present clients of one channel; over it error 106.
    pub presence_per_channel: u32,
    /// Bytes of bodies and answers of the server API's calls on a worker; over it 503. 0: no limit.
    pub api_bytes_per_worker: u64,
    /// Keys of publications that one worker remembers for `IDEMPOTENCY_MS`; with more the oldest
    /// goes of the client that has most; half of them are the server API's.
    pub idempotency_keys_per_worker: u32,
    /// Bytes of an HTTP request's head; over it 431.
    pub http_head_bytes: u32,
    /// Time in milliseconds for a head, from the connection's start, or from its first byte on a
    /// connection that was kept; over it 408.
    pub http_head_timeout_ms: u32,
    /// Time in milliseconds for a request's body, from the end of its head; over it 408.
    pub http_body_timeout_ms: u32,
    /// Time in milliseconds for which a connection is kept for its next request, then closed. 0:
    /// every response is the last of its connection.
    pub http_keep_alive_ms: u32,
    /// Bytes framed in one turn before the worker flushes.
    pub arena_bytes: u32,
}

impl Limits {
    /// All of them by the names of their keys, for the metrics.
    #[must_use]
    pub fn numbers(&self) -> Vec<(String, u64)> {
        let Ok(serde_json::Value::Object(all)) = serde_json::to_value(self) else {
            return Vec::new();
        };
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_per_worker: 16_384,
            message_bytes: 65_536,
            fragments_per_message: 1_024,
            control_frames_per_s: 50,
            control_frames_burst: 100,
            channel_name_bytes: 255,
            channels_per_connection: 128,
            backlog_bytes: 1 << 20,
            recovery_bytes: 512 << 10,
            spill_bytes_per_worker: 64 << 20,
            backlog_bytes_per_worker: 512 << 20,
            channels_per_worker: 1_000_000,
            filter_bytes_per_connection: 128 << 10,
            filter_bytes_per_worker: 32 << 20,
            subscriptions_per_worker: 4_000_000,
            history_bytes_per_worker: 256 << 20,
            numbering_bytes_per_worker: 32 << 20,
            new_channels_per_s: 50,
            new_channels_burst: 256,
            new_channels_per_user_per_s: 200,
            new_channels_per_user_burst: 1_024,
            presence_per_channel: 10_000,
            api_bytes_per_worker: 64 << 20,
            idempotency_keys_per_worker: 100_000,
            http_head_bytes: 16 << 10,
            http_head_timeout_ms: 5_000,
            http_body_timeout_ms: 30_000,
            http_keep_alive_ms: 75_000,
            arena_bytes: 4 << 20,
        }
    }
}

/// Connection slots kept back on every worker for saying no.
pub const REFUSAL_SLOTS: u32 = 64;
/// Connection slots of every worker that are the internal listener's own.
pub const INTERNAL_SLOTS: u32 = 64;
/// Header lines of an HTTP head; over it 431.
pub const HTTP_HEADERS: usize = 64;
/// Bytes of an HTTP request's body; over it 413.
pub const HTTP_BODY_BYTES: usize = 1 << 20;
/// Bytes of chunk extensions and trailers in one body, which are passed over; with more it is 400.
pub const HTTP_SKIPPED_BYTES: usize = 8 << 10;
/// Time between looks at a connection whose call is under way.
pub const HTTP_CALL_MS: u64 = 5_000;
/// Lines about refusals of one cause that a worker writes in `REFUSAL_WINDOW_MS`; of the others it
/// tells the number.
pub const REFUSAL_LINES: u32 = 10;
pub const REFUSAL_WINDOW_MS: u64 = 10_000;
/// Bytes of one text, such as a path, in a line about a refusal; the rest is cut.
pub const REFUSAL_TEXT_BYTES: usize = 256;
/// Time a closing connection waits for its peer's close.
pub const CLOSE_WAIT_MS: u64 = 5_000;
/// Time in which a peer has to read on while a response, or a close frame behind much else, waits
/// for it; over it the connection is closed. That it reads shows only when the kernel takes more,
/// and that is a third of its own buffer, which may be 4 MiB: slower than 47 KB/s may be cut off.
pub const READ_ON_MS: u64 = 30_000;
/// Unsent bytes of responses up to which the next request of a connection is served; behind more it
/// waits unread.
pub const HTTP_BACKLOG_BYTES: usize = 4 << 10;
/// Commands of one connection taken in one turn; the rest waits as bytes.
pub const COMMANDS_PER_TURN: u32 = 16;
/// Commands of one connection unanswered at homes; the next waits as bytes.
pub const COMMANDS_IN_FLIGHT: u8 = 32;
/// Questions of one worker's connections about who is present, and about how many, that are
/// unanswered at homes; the next wait in line.
pub const PRESENCES_UNDER_WAY: usize = 16;
/// Depth of JSON: 3501 in the envelope, error 107 inside `data`.
pub const JSON_DEPTH: usize = 64;
/// Tags of one publication; with more it is answered 107.
pub const TAGS_PER_PUBLICATION: usize = 64;
/// Levels of a filter; a deeper one is answered 107.
pub const FILTER_DEPTH: usize = 16;
/// Nodes of a filter, and values of all its comparisons together; with more it is answered 107.
pub const FILTER_NODES: usize = 256;
/// Bytes of a payload up to which deltas are made; a longer one goes in full.
pub const DELTA_BYTES: usize = 32 << 10;
/// Steps in which a delta is looked for, a few nanoseconds each; what is not found by then goes as
/// it is. A text of `DELTA_BYTES` that has nothing of the one before takes a third of them. Without
/// a bound, texts made up for it took 45 to 64 ms.
pub const DELTA_STEPS: usize = 100_000;
/// Distinct filters of a worker's subscriptions, of which a connection may have a share as of their
/// bytes; over it 106.
pub const FILTERS_PER_WORKER: u16 = 60_000;
/// Server-side subscriptions that a connect command may want to recover; with more it is 107.
pub const CONNECT_SUBS: usize = 128;
/// Channels of one broadcast of the server API; over it error 106.
pub const BROADCAST_CHANNELS: usize = 10_000;
/// Commands of one batch of the server API; over it error 106.
pub const BATCH_COMMANDS: usize = 10_000;
/// Client ids that a disconnect of the server API may spare; over it error 106.
pub const WHITELIST_CLIENTS: usize = 1_000;
/// Bytes of the answer to one call of the server API; a command that would pass it is answered 106.
pub const API_ANSWER_BYTES: usize = 8 << 20;
/// Steps of one call in one turn: requests asked, and commands answered at once.
pub const CALL_STEPS_PER_TURN: u32 = 64;
/// Channels that a home looks at for one part of a list.
pub const CHANNELS_PER_PART: usize = 1_024;
/// Bytes of a pattern that names of channels are to fit; a longer one is answered 107.
pub const PATTERN_BYTES: usize = 256;
/// Bytes of a close frame's reason (RFC 6455 section 5.5: 125 with the code).
pub const CLOSE_REASON_BYTES: usize = 123;
/// Bytes of a token; a longer one is invalid, and is not looked at.
pub const TOKEN_BYTES: usize = 8 << 10;
/// Bytes of a token up to which it is remembered that its signature was right.
pub const CACHED_TOKEN_BYTES: usize = 2 << 10;
/// Tokens of each kind that a worker remembers so; those unused for longest are forgotten. Two hash
/// tables of 2,048 places hold as many; a few more would take twice the memory.
pub const TOKENS_CACHED: usize = 3_584;
/// Tokens that a worker remembers as wrongly signed, where finding that out is slow; those unused
/// for longest are forgotten.
pub const WRONG_TOKENS_CACHED: usize = 896;
/// Time beyond its end that a connection, or a subscription, has to bring another token.
pub const REFRESH_GRACE_MS: u64 = 25_000;
/// Longest time that a client is told that its token lasts: a year.
pub const EXPIRY_S: u64 = 365 * 24 * 3_600;
/// The longest time that SDKs may be told to leave between publications (`publish_debounce_ms`).
pub const PUBLISH_DEBOUNCE_MS: u32 = 60_000;
/// Time for which the key of a publication is remembered.
pub const IDEMPOTENCY_MS: u64 = 300_000;
/// Bytes of such a key; a longer one is answered 107.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// Bytes of the epoch of a publication's version, kept once for its channel; a longer one is 107.
pub const VERSION_EPOCH_BYTES: usize = 64;
/// Commands of the server API that wait for one connection; with more it is disconnected with 3010.
pub const USER_COMMANDS_WAITING: usize = 1_024;
/// Time after which a call about a user is answered with error 100 although not every connection
/// has taken it in.
pub const USER_CALL_MS: u64 = 5_000;
/// Segments of one connection in one turn; more are copied to its backlog.
pub const SEGMENTS_PER_SEND: u32 = 64;
/// Connections flushed before the worker looks at completions and lanes again.
pub const SENDS_PER_FLUSH: usize = 256;
/// Bytes that control frames may stand above a connection's backlog bound.
pub const CONTROL_BACKLOG_BYTES: usize = 4 << 10;
/// Bytes of one armed send of a backlog, and of a block of memory that a backlog lies in.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Requests that a home takes from one lane before the next lane's turn.
pub const REQUESTS_PER_LANE: usize = 64;
/// Deliveries that an edge takes from one lane in one turn.
pub const DELIVERIES_PER_LANE: usize = 256;
/// Driver events taken in one turn.
pub const EVENTS_PER_TURN: usize = 1_024;
/// Work of one stage of a turn, in nanoseconds, before the next stage has its turn. Few stages run
/// what others ask for, so a neighbour waits for a millisecond, and for one piece of work more.
pub const WORK_PER_STAGE_NS: u32 = 250_000;
/// Times per second that a worker makes the text of `/metrics`; more often it gives the last one.
pub const METRICS_PER_S: u32 = 5;
/// Times that it makes it at once before the rate counts.
pub const METRICS_BURST: u32 = 20;
/// Bytes of one message to `/echo`, and of what may wait for it.
pub const ECHO_MESSAGE_BYTES: u32 = 16 << 20;
/// Unsent bytes that may wait for one `/echo` connection.
pub const ECHO_BACKLOG_BYTES: u32 = 32 << 20;
/// What one stage of a turn takes at most before the next has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Driver events.
    pub events: usize,
    /// Deliveries of each lane.
    pub deliveries_per_lane: usize,
    /// Requests of each lane, and messages of the bridge.
    pub requests_per_lane: usize,
    /// Connections of one flush.
    pub sends: usize,
    /// Nanoseconds of work of each stage that runs what others ask for (`work`).
    pub work_ns: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Budgets {
            events: EVENTS_PER_TURN,
            deliveries_per_lane: DELIVERIES_PER_LANE,
            requests_per_lane: REQUESTS_PER_LANE,
            sends: SENDS_PER_FLUSH,
            work_ns: WORK_PER_STAGE_NS,
        }
    }
}

/// Workers, at most: a core number fits one bit of the doorbell set.
pub const WORKERS: usize = 63;

/// Bytes of the mesh of lanes, at most.
pub const MESH_BYTES: usize = 64 << 20;

/// Slots of each lane: the largest power of two that keeps the mesh of `workers` within `bytes`,
/// two rings per ordered pair, 64 bytes a slot, the bridge counted as a core.
#[must_use]
pub fn lane_slots(workers: usize, bytes: usize) -> usize {
    let cores = workers + 1;
    let fit = (bytes / (2 * cores * cores * 64)).max(1);
    let power = if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 };
    power.clamp(2, 1_024)
}

const _: () = assert!(CHUNK_BYTES > CONTROL_BACKLOG_BYTES);
const _: () = assert!(ECHO_BACKLOG_BYTES as usize > ECHO_MESSAGE_BYTES as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_fit_the_mesh() {
        for workers in 1..=WORKERS {
            let slots = lane_slots(workers, MESH_BYTES);
            assert!(slots.is_power_of_two() && (2..=1_024).contains(&slots));
            assert!(slots == 2 || 2 * (workers + 1) * (workers + 1) * 64 * slots <= 64 << 20);
        }
        assert_eq!(lane_slots(2, MESH_BYTES), 1_024);
        assert_eq!(lane_slots(56, MESH_BYTES), 128);
        assert_eq!(lane_slots(56, 0), 2);
    }
}
