//! Every bound, with what happens when it is reached. Everything in Corecast that grows has one.
//!
//! Must not know anything else, so that every module may import it.

/// Bounds that an operator may change (`[limits]`). 0 lifts a bound where its line says so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections of one worker; further ones are answered 503 with Retry-After 5.
    pub connections_per_worker: u32,
    /// Bytes of one message, fragments together; over it 1009, decided from the frame's header.
    pub message_bytes: u32,
    /// Frames of one message: this many, and one more for every 16 bytes; over it 1008.
    pub fragments_per_message: u32,
    /// Control frames per second of one connection (0: no limit); over it and the burst 1008.
    pub control_frames_per_s: u32,
    /// Control frames that may come at once before the rate counts.
    pub control_frames_burst: u32,
    /// Bytes of a channel's name; over it error 107.
    pub channel_name_bytes: u32,
    /// Subscriptions of one connection; over it error 106.
    pub channels_per_connection: u32,
    /// Unsent bytes that may wait for one connection; over it disconnect 3008.
    pub backlog_bytes: u32,
    /// Bytes of publications in one recovery answer; over it `recovered: false`. History answers
    /// are shortened to it.
    pub recovery_bytes: u32,
    /// Received bytes of sessions that wait on one worker, as partial messages and waiting
    /// commands; over it the connections that hold most are closed with 1013 until a sixteenth is
    /// free. HTTP heads, WebSockets before their connect, and the internal listener each have a
    /// quarter of it for themselves.
    pub spill_bytes_per_worker: u64,
    /// Memory of unsent bytes on one worker, backlogs and recovery answers together; over it the
    /// connections that hold most are closed with 3008 until a sixteenth is free.
    pub backlog_bytes_per_worker: u64,
    /// Channels with subscribers on one worker, and channels at home there. A new channel at home
    /// takes the place of the oldest history without subscribers; if there is none, error 106.
    pub channels_per_worker: u32,
    /// Memory of the filters of one connection's subscriptions, in bytes; over it error 106.
    pub filter_bytes_per_connection: u64,
    /// Memory of the filters on one worker, equal ones counted once. A connection may have at most
    /// a 64th of what is free, including what it has already; over it error 106.
    pub filter_bytes_per_worker: u64,
    /// Subscriptions on one worker; over it error 106.
    pub subscriptions_per_worker: u32,
    /// Bytes of history at home on one worker; over it the largest histories are dropped, and of
    /// those of about the same size the one that would expire first.
    pub history_bytes_per_worker: u64,
    /// Bytes of the numberings that one worker keeps for channels without history or subscribers,
    /// 64 for each; over it those of channels in which nothing was published are forgotten first,
    /// then the oldest. 0 keeps none.
    pub numbering_bytes_per_worker: u64,
    /// New channels that one connection may cause per second at one worker's home, beyond its burst
    /// (0: no limit); over it error 111.
    pub new_channels_per_s: u32,
    /// New channels that it may cause at once; at least `channels_per_connection`.
    pub new_channels_burst: u32,
    /// The same for all connections of one user together.
    pub new_channels_per_user_per_s: u32,
    pub new_channels_per_user_burst: u32,
    /// Present clients of one channel; over it error 106.
    pub presence_per_channel: u32,
    /// Bytes of bodies and answers of the server API's calls on a worker; over it 503. 0: no limit.
    pub api_bytes_per_worker: u64,
    /// Keys of publications that one worker remembers for `IDEMPOTENCY_MS`; over it the oldest key
    /// of the client that has most is forgotten. Half of them are for the server API.
    pub idempotency_keys_per_worker: u32,
    /// Bytes of an HTTP request's head; over it 431.
    pub http_head_bytes: u32,
    /// Milliseconds in which a head must arrive, counted from the start of the connection, or from
    /// the first byte of a later request; over it 408.
    pub http_head_timeout_ms: u32,
    /// Milliseconds in which a request's body must arrive, counted from the end of its head; over
    /// it 408.
    pub http_body_timeout_ms: u32,
    /// Milliseconds for which a connection is kept open for its next request. 0: it is closed after
    /// every response.
    pub http_keep_alive_ms: u32,
    /// Bytes framed in one turn before the worker flushes.
    pub arena_bytes: u32,
}

impl Limits {
    /// All of them with their keys, for the metrics.
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

/// Connection slots of every worker that are reserved for refusals.
pub const REFUSAL_SLOTS: u32 = 64;
/// Connection slots of every worker that only the internal listener may use.
pub const INTERNAL_SLOTS: u32 = 64;
/// Header lines of an HTTP head; over it 431.
pub const HTTP_HEADERS: usize = 64;
/// Bytes of an HTTP request's body; over it 413.
pub const HTTP_BODY_BYTES: usize = 1 << 20;
/// Bytes of chunk extensions and trailers in one body, which are ignored; over it 400.
pub const HTTP_SKIPPED_BYTES: usize = 8 << 10;
/// Interval between checks of a connection whose call is under way.
pub const HTTP_CALL_MS: u64 = 5_000;
/// Log lines about refusals of one cause that a worker writes in `REFUSAL_WINDOW_MS`; the others
/// are only counted.
pub const REFUSAL_LINES: u32 = 10;
pub const REFUSAL_WINDOW_MS: u64 = 10_000;
/// Bytes of one text, such as a path, in a line about a refusal; the rest is cut.
pub const REFUSAL_TEXT_BYTES: usize = 256;
/// Time that a closing connection waits for its peer's close frame.
pub const CLOSE_WAIT_MS: u64 = 5_000;
/// Time in which a client has to make progress in reading while a response waits for it, or a close
/// frame after much other data; over it the connection is closed. Progress shows only when the
/// kernel accepts more, which it does for a third of its own buffer at a time. That buffer may be 4
/// MiB, so a client slower than 47 KB/s may be cut off.
pub const READ_ON_MS: u64 = 30_000;
/// Unsent bytes of responses up to which the next request of a connection is served; with more it
/// waits unread.
pub const HTTP_BACKLOG_BYTES: usize = 4 << 10;
/// Commands of one connection taken in one turn; the rest waits as bytes.
pub const COMMANDS_PER_TURN: u32 = 16;
/// Unanswered commands of one connection at homes; the next one waits as bytes.
pub const COMMANDS_IN_FLIGHT: u8 = 32;
/// Unanswered presence queries of one worker's connections at homes; further ones wait in line.
pub const PRESENCES_UNDER_WAY: usize = 16;
/// Members that the answers to those may list together, as far as earlier answers tell. A home and
/// an edge take about a fifth of a microsecond for each.
pub const PRESENCE_MEMBERS_UNDER_WAY: usize = 2_000;
/// Depth of JSON: 3501 in the envelope, error 107 inside `data`.
pub const JSON_DEPTH: usize = 64;
/// Tags of one publication; over it error 107.
pub const TAGS_PER_PUBLICATION: usize = 64;
/// Levels of a filter; over it error 107.
pub const FILTER_DEPTH: usize = 16;
/// Nodes of a filter, and values of all its comparisons together; over it error 107.
pub const FILTER_NODES: usize = 256;
/// Largest payload, in bytes, for which deltas are made; larger ones are sent in full.
pub const DELTA_BYTES: usize = 32 << 10;
/// Steps of the search for a delta, a few nanoseconds each; what was not found by then is sent as
/// it is. A text of `DELTA_BYTES` that shares nothing with the previous one takes a third of them.
/// Without this bound, texts chosen to be slow took 45 to 64 ms.
pub const DELTA_STEPS: usize = 100_000;
/// Distinct filters of a worker's subscriptions, of which a connection may have a share as it may
/// of their bytes; over it error 106.
pub const FILTERS_PER_WORKER: u16 = 60_000;
/// Server-side subscriptions that a connect command may ask to recover; over it error 107.
pub const CONNECT_SUBS: usize = 128;
/// Channels of one broadcast of the server API; over it error 106.
pub const BROADCAST_CHANNELS: usize = 10_000;
/// Commands of one batch of the server API; over it error 106.
pub const BATCH_COMMANDS: usize = 10_000;
/// Client ids in the whitelist of the server API's disconnect; over it error 106.
pub const WHITELIST_CLIENTS: usize = 1_000;
/// Bytes of the answer to one call of the server API; a command that would exceed it is answered
/// 106.
pub const API_ANSWER_BYTES: usize = 8 << 20;
/// Steps of one call in one turn: requests sent, and commands answered at once.
pub const CALL_STEPS_PER_TURN: u32 = 64;
/// Channels that a home visits for one part of a list.
pub const CHANNELS_PER_PART: usize = 1_024;
/// Bytes of a pattern for channel names; a longer one is answered 107.
pub const PATTERN_BYTES: usize = 256;
/// Bytes of a close frame's reason (RFC 6455 section 5.5: 125 with the code).
pub const CLOSE_REASON_BYTES: usize = 123;
/// Deliveries whose filters are still to be asked, and that others may pass. With more, nothing is
/// taken until they are asked: what publishes faster than filters are asked has to wait.
pub const FILTERED_STAGED: usize = 8;
/// Bytes of a token; a longer one is invalid and is not read.
pub const TOKEN_BYTES: usize = 8 << 10;
/// Largest token, in bytes, whose valid signature is remembered.
pub const CACHED_TOKEN_BYTES: usize = 2 << 10;
/// Valid tokens of each kind that a worker remembers; the least recently used are forgotten. This
/// many fit into two hash tables of 2,048 places; a few more would take twice the memory.
pub const TOKENS_CACHED: usize = 3_584;
/// Wrongly signed tokens that a worker remembers where checking is slow; the least recently used
/// are forgotten.
pub const WRONG_TOKENS_CACHED: usize = 896;
/// Time after the expiry of a connection or subscription in which its client may still send a new
/// token.
pub const REFRESH_GRACE_MS: u64 = 25_000;
/// Longest lifetime of a token that is reported to clients: a year.
pub const EXPIRY_S: u64 = 365 * 24 * 3_600;
/// Largest `publish_debounce_ms`, the interval between publications that is sent to SDKs.
pub const PUBLISH_DEBOUNCE_MS: u32 = 60_000;
/// Time for which the key of a publication is remembered.
pub const IDEMPOTENCY_MS: u64 = 300_000;
/// Bytes of such a key; over it error 107.
pub const IDEMPOTENCY_KEY_BYTES: usize = 256;
/// Bytes of the epoch of a publication's version, kept once for its channel; over it error 107.
pub const VERSION_EPOCH_BYTES: usize = 64;
/// Commands of the server API that wait for one connection; over it the connection is closed with
/// 3010.
pub const USER_COMMANDS_WAITING: usize = 1_024;
/// Time after which a call about a user is answered with error 100 although it has not taken effect
/// on every connection.
pub const USER_CALL_MS: u64 = 5_000;
/// Time for which a home waits for the answer to a call of its engine; then the call counts as
/// failed. The bridge's own time-outs are shorter.
pub const ENGINE_CALL_MS: u64 = 5_000;
/// Time for which a request waits until its engine may be asked, a subscriber until its channel has
/// been read, and a publisher until its publication was forwarded; then it is answered with error
/// 100.
pub const ENGINE_WAIT_MS: u64 = 5_000;
/// Time between a call of a channel's replica that failed and the next.
pub const ENGINE_REST_MS: u64 = 200;
/// Time in which what is on its way from an engine should have come: copies of what was put in
/// order before an answered publish, which are read then; and that a channel without history is
/// heard, for which its subscribers do not wait longer.
pub const ENGINE_SOON_MS: u64 = 250;
/// Bytes of requests of one home that wait until their engine may be asked; over it error 100.
pub const ENGINE_WAITING_BYTES: usize = 16 << 20;
/// Publications of one channel, and bytes of them, that a replica holds while it reads what it has
/// missed: more than are published in the time of a read. The oldest go, and are read.
pub const REPLICA_HELD: usize = 4_096;
pub const REPLICA_HELD_BYTES: usize = 4 << 20;
/// The requests about one channel have one part in so many of a home's unanswered calls; further
/// ones wait, so that a channel whose calls are stuck does not take what others need.
pub const ENGINE_SHARE: usize = 4;
/// Members of one call that notes them, and bytes of their infos, about; more follow by another.
pub const MEMBERS_PER_CALL: usize = 256;
pub const MEMBERS_CALL_BYTES: usize = 256 << 10;
/// Members of a channel that left and are not noted yet; over it all are noted anew.
pub const MEMBERS_GONE: usize = 4_096;
/// Time after which a home notes all members anew, so that what it noted does not expire.
pub const MEMBERS_RENEWAL_MS: u64 = 1_200_000;
/// Segments of one connection in one turn; further ones are copied to its backlog.
pub const SEGMENTS_PER_SEND: u32 = 64;
/// Connections flushed before the worker looks at completions and lanes again.
pub const SENDS_PER_FLUSH: usize = 256;
/// Bytes by which control frames may exceed a connection's backlog bound.
pub const CONTROL_BACKLOG_BYTES: usize = 4 << 10;
/// Bytes of one armed send of a backlog, and of one of the blocks of memory that hold a backlog.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Bytes that a connection's transport may have to say by itself, unsent: handshakes, tickets,
/// alerts. Over it the connection ends.
pub const TRANSPORT_BYTES: usize = 16 << 10;
/// Plain bytes that are sealed for the connections of one flush; with more they go to backlogs, and
/// are sealed as their sockets take them.
pub const SEALED_BYTES_PER_FLUSH: usize = 1 << 20;
/// Requests that a home takes from one lane before the next lane's turn.
pub const REQUESTS_PER_LANE: usize = 64;
/// Deliveries that an edge takes from one lane in one turn.
pub const DELIVERIES_PER_LANE: usize = 256;
/// Driver events taken in one turn.
pub const EVENTS_PER_TURN: usize = 1_024;
/// Work of one stage of a turn, in nanoseconds, before the next stage begins. Few stages run work
/// that clients ask for, so a neighbour waits for at most a millisecond and one more piece of work.
pub const WORK_PER_STAGE_NS: u32 = 250_000;
/// Times per second that a worker makes the text of `/metrics`; more requests get the last text.
pub const METRICS_PER_S: u32 = 5;
/// Times that it makes the text at once before the rate counts.
pub const METRICS_BURST: u32 = 20;
/// Bytes of one message to `/echo`, and of the received bytes that may wait for it.
pub const ECHO_MESSAGE_BYTES: u32 = 16 << 20;
/// Unsent bytes that may wait for one `/echo` connection.
pub const ECHO_BACKLOG_BYTES: u32 = 32 << 20;
/// The most that one stage of a turn takes before the next begins.
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
    /// Nanoseconds of work of each stage that runs what clients ask for (`work`).
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

/// Microseconds between the bridge's probes.
pub const PROBE_INTERVAL_US: u64 = 250_000;
/// Items that a turn of the bridge takes from each lane, and sends into each.
pub const BRIDGE_ITEMS_PER_LANE: usize = 256;
/// Most publications that wait at the bridge for the lane to one worker. Further ones are dropped,
/// and the home learns that the channel lost some.
pub const BRIDGE_NOTICES: usize = 1_024;

/// Lists within each other in one value of Redis; over it the connection ends.
pub const REDIS_DEPTH: usize = 8;
/// Bytes of a line of Redis, which is a number or a short text; over it the connection ends.
pub const REDIS_LINE_BYTES: usize = 64 << 10;
/// Bytes of one blob from Redis; over it the connection ends. A larger publication must not be
/// sent there.
pub const REDIS_BULK_BYTES: usize = 64 << 20;
/// Memory of one value from Redis, its blobs included; over it the connection ends.
pub const REDIS_VALUE_BYTES: usize = 96 << 20;
/// Entries that one command reads of a stream in Redis, at most; further ones follow by another.
pub const REDIS_READ_ENTRIES: u32 = 128;
/// Most by which the clocks of two nodes may differ. With more, an epoch that began before Redis
/// lost its newest data could go on after it.
pub const REDIS_CLOCK_SKEW_US: u64 = 60_000_000;
/// Bytes of the receive buffer that a connection to Redis keeps when they are not needed.
pub const REDIS_BUFFER_KEPT_BYTES: usize = 64 << 10;

/// Publications of one call of a script, at most.
pub const REDIS_BATCH_ITEMS: usize = 16;
/// Users of whose coming and going one call tells, at most.
pub const USERS_PER_CALL: usize = 512;
/// Bytes of commands that are written to Redis at once, about.
pub const REDIS_OUTPUT_BYTES: usize = 256 << 10;
/// Time in which a call to Redis is answered, whatever becomes of it; below `ENGINE_CALL_MS`.
pub const REDIS_CALL_US: u64 = 4_500_000;
/// Streams whose epochs are known, in each of two generations; over it the older is forgotten, and
/// what is published next in one of its channels takes the slow way.
pub const REDIS_EPOCHS: usize = 65_536;
/// Seconds for which a stream lasts in which nothing was published.
pub const REDIS_OPENED_S: u32 = 86_400;
/// What is read of a stream to find publications whose answers were lost.
pub const REDIS_SETTLE_ENTRIES: u32 = 1_024;
pub const REDIS_SETTLE_BYTES: usize = 8 << 20;
/// Pause after Redis said that it is busy.
pub const REDIS_PAUSE_US: u64 = 100_000;
/// Channels that are heard by one connection; over it a subscribe is refused with error 100.
pub const REDIS_CHANNELS: usize = 65_536;
/// Names that Redis was told of and has not confirmed, at most: their confirmations have to fit the
/// buffer that it keeps for the connection.
pub const REDIS_UNCONFIRMED: usize = 8_192;
/// Names of one command, at most.
pub const REDIS_NAMES_PER_COMMAND: usize = 512;
/// Time for which a channel is heard on after its last subscriber here.
pub const REDIS_LINGER_US: u64 = 5_000_000;
/// Time after which it is tried again to hear channels that Redis refused.
pub const REDIS_RETRY_US: u64 = 1_000_000;
/// Time after which two connections that are up count as steady: the next failure is a first one.
pub const REDIS_STEADY_US: u64 = 1_000_000;
/// Time from one try whether what is published comes back to the next.
pub const REDIS_ECHO_US: u64 = 1_000_000;
/// Time after which what was published and did not come back shows that its hearer is deaf.
pub const REDIS_DEAF_US: u64 = 3_000_000;
/// With `redis.ready = "redis"` a node is ready while something came back within this time.
pub const REDIS_LIVE_MS: u64 = 3_000;
/// Earlier connections to Redis that may still have commands there, and are ended by the next. With
/// more, publications that they had in flight fail.
pub const REDIS_EARLIER: usize = 16;
/// Seconds for which what a node notes of its members of a channel is kept; it is noted anew every
/// `MEMBERS_RENEWAL_MS`. Below `NODE_FORGOTTEN_MS`, so that nobody takes it for that of a node
/// which has just begun.
pub const REDIS_MEMBERS_S: u32 = 3_000;
/// Members that one command of a list reads, about.
pub const REDIS_SCANNED: u64 = 256;
/// Bytes of members of other nodes that are listed at most; over it error 106.
pub const REDIS_LIST_BYTES: usize = 32 << 20;
/// Time between two beats of a node among those that share a Redis.
pub const NODE_BEAT_US: u64 = 2_000_000;
/// Time after which a beat that failed is tried again.
pub const NODE_RETRY_US: u64 = 200_000;
/// Time that lies between two beats at least, where the next one comes early.
pub const NODE_HURRY_US: u64 = 500_000;
/// Time for which a node that ends waits until Redis knows it.
pub const NODE_LEAVE_US: u64 = 1_000_000;
/// Time without a beat after which a node is dead.
pub const NODE_DEAD_MS: u64 = 8_000;
/// Time without a beat after which a node's record is dropped.
pub const NODE_FORGOTTEN_MS: u64 = 3_600_000;
/// Nodes that share a Redis, at most.
pub const NODES: usize = 1_024;
/// Commands of other nodes that are under way at once; further ones wait in Redis.
pub const CONTROL_COMMANDS: usize = 64;
/// Messages to other nodes that wait for the connection; over it a command fails.
pub const CONTROL_LETTERS: usize = 4_096;
/// Messages of other nodes that are read at once.
pub const CONTROL_ENTRIES: usize = 64;
/// Messages that Redis keeps for a node, at most, and seconds for which it does after the last.
pub const CONTROL_KEPT: usize = 4_096;
pub const CONTROL_KEPT_S: u64 = 60;
/// Bytes of messages read at once after which Redis is told to forget them.
pub const CONTROL_TRIMMED_BYTES: usize = 64 << 10;
/// Lists of channels that are under way at once over nodes: of those that this node asks for, and
/// of those that others ask of it; and so many that wait. Beyond that a list lacks other nodes.
pub const LISTS_UNDER_WAY: usize = 4;
pub const LISTS_WAITING: usize = 64;
/// Bytes of one message of a list, about; the rest follows by another.
pub const LIST_PART_BYTES: usize = 128 << 10;
/// Time after which a list does not wait any more for a node of which nothing was heard.
pub const LIST_QUIET_US: u64 = 2_000_000;
/// Time after which a connect is not held up any more by telling its user to other nodes.
pub const REDIS_USERS_US: u64 = 250_000;
/// Bytes of users' names that are written to Redis at once, about.
pub const REDIS_USERS_BYTES: usize = 32 << 10;
/// Seconds for which Redis knows a node's users without its beat.
pub const USERS_LEASE_S: u64 = 30;
/// Bytes of what a node says of itself to the others.
pub const NODE_RECORD_BYTES: usize = 4 << 10;
/// Time in which one kind of event of a store has one line in the log, at most.
pub const EVENT_LINE_MS: u64 = 60_000;
/// Events of a shard that wait to be taken; further ones are dropped.
pub const REDIS_EVENTS: usize = 256;

/// Most workers: a core number has to fit one bit of the doorbell set.
pub const WORKERS: usize = 63;

/// Most memory of the mesh of lanes, in bytes.
pub const MESH_BYTES: usize = 64 << 20;

/// Slots of each lane: the largest power of two for which the mesh of `workers` fits into `bytes`,
/// with two rings per ordered pair and 64 bytes per slot. The bridge counts as a core.
#[must_use]
pub fn lane_slots(workers: usize, bytes: usize) -> usize {
    let cores = workers + 1;
    let fit = (bytes / (2 * cores * cores * 64)).max(1);
    let power = if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 };
    power.clamp(2, 1_024)
}

// A publish that waits behind one under way is not answered before it.
const _: () = assert!(ENGINE_WAIT_MS >= ENGINE_CALL_MS);
const _: () = assert!(REDIS_VALUE_BYTES > REDIS_BULK_BYTES);
const _: () = assert!(REDIS_CALL_US < ENGINE_CALL_MS * 1_000);
const _: () = assert!(LIST_QUIET_US < REDIS_CALL_US);
const _: () = assert!(2 * CONTROL_ENTRIES * LIST_PART_BYTES < REDIS_VALUE_BYTES);
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
