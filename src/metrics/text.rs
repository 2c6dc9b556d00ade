//! Writes the counters of all cores in the Prometheus text format 0.0.4.
//!
//! Must not know how the values came about. Invariants: each family has one HELP and one TYPE
//! line before all its samples; buckets are cumulative, and the count equals the last of them.

use super::store::{StoreCall, StoreEvent, StoreMetrics};
use super::{
    BUCKETS, Cause, CoreMetrics, Counter, DISCONNECT_CODES, ERROR_CODES, Histogram,
    NamespaceMetrics,
};
use std::fmt::Write;
use std::sync::Arc;

/// What is known of the process as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessStats<'a> {
    /// CPU time of all threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Descriptors that are open, and how many may be.
    pub open_fds: u64,
    pub max_fds: u64,
    /// When it started, in seconds since 1970.
    pub started_s: u64,
    /// When the text is made, since 1970.
    pub made_unix_ms: u64,
    /// Log lines that were not written, because the reader is too slow.
    pub dropped_lines: u64,
    /// The limits in force, by the names of their keys.
    pub limits: &'a [(String, u64)],
    /// Names of namespaces, and of methods of the server API, by their places.
    pub namespaces: &'a [&'a str],
    pub api_methods: &'a [&'a str],
    /// What is counted of the store that several nodes share, if there is one.
    pub store: Option<&'a StoreMetrics>,
    /// The driver in use: `io_uring` or `epoll`.
    pub driver: &'a str,
    /// This program's version.
    pub version: &'a str,
}

type Value = fn(&CoreMetrics) -> &Counter;
type Family = (&'static str, &'static str, Value);

const GAUGES: &[Family] = &[
    ("connections", "Open connections.", |core| &core.connections),
    ("subscriptions", "Subscriptions of this worker's connections.", |core| &core.subscriptions),
    ("channels", "Channels that this worker's connections are subscribed to.", |core| {
        &core.channels
    }),
    ("filter_bytes", "Bytes of the filters of subscriptions.", |core| &core.filter_bytes),
    ("home_channels", "Channels at home on this worker.", |core| &core.home_channels),
    (
        "numberings",
        "Channels without history or subscribers whose numbering is kept on this worker.",
        |core| &core.numberings,
    ),
    ("subscribed_channels", "Channels at home on this worker that have subscribers.", |core| {
        &core.subscribed_channels
    }),
    ("users", "Users with connections whose home is this worker.", |core| &core.users),
    ("api_bytes", "Bytes of bodies and answers of server API calls.", |core| &core.api_bytes),
    ("parked", "Connections waiting for room in a lane.", |core| &core.parked),
    ("backlog_bytes", "Bytes waiting to be sent.", |core| &core.backlog_bytes),
    ("arena_bytes", "Bytes of frames written in the last turn.", |core| &core.arena_bytes),
    ("spill_bytes", "Bytes of partly received messages.", |core| &core.spill_bytes),
    ("history_bytes", "Bytes of history at home on this worker.", |core| &core.history_bytes),
];

const COUNTERS: &[Family] = &[
    (
        "history_evictions_total",
        "Histories evicted early because of limits.history_bytes_per_worker or \
         limits.channels_per_worker.",
        |core| &core.history_evictions,
    ),
    (
        "numbering_evictions_total",
        "Numberings evicted early because of limits.numbering_bytes_per_worker.",
        |core| &core.numbering_evictions,
    ),
    (
        "channels_refused_total",
        "New channels refused because a connection or user caused too many.",
        |core| &core.channels_refused,
    ),
    ("accepted_total", "Connections accepted.", |core| &core.accepted),
    ("messages_in_total", "Messages received.", |core| &core.messages_in),
    ("messages_out_total", "Messages sent.", |core| &core.messages_out),
    ("bytes_in_total", "Bytes received.", |core| &core.bytes_in),
    ("bytes_out_total", "Bytes sent.", |core| &core.bytes_out),
    ("publications_total", "Publications put in order on this worker.", |core| &core.publications),
    ("deliveries_total", "Publications delivered to a subscriber.", |core| &core.deliveries),
    ("sends_total", "Sends handed to the kernel.", |core| &core.sends),
    (
        "stages_cut_total",
        "Stages of turns that ended with work left over, which waits for the next turn.",
        |core| &core.stages_cut,
    ),
    ("lane_full_total", "Pushes that found their lane full.", |core| &core.lane_full),
    (
        "position_lost_total",
        "Times that a channel skipped an offset; its subscribers were sent 2500.",
        |core| &core.position_lost,
    ),
    ("duplicates_total", "Publications dropped because their offset had been seen.", |core| {
        &core.duplicates
    }),
    ("out_of_buffers_total", "Times that the receive buffers ran out.", |core| {
        &core.out_of_buffers
    }),
    ("overflows_total", "Completions that found the completion queue full.", |core| {
        &core.overflows
    }),
];

type Durations = fn(&CoreMetrics) -> &Histogram;

const HISTOGRAMS: &[(&str, &str, Durations)] = &[
    ("handshake_seconds", "Time from accept to the response to the upgrade.", |core| {
        &core.handshake
    }),
    ("turn_seconds", "Duration of a worker's turns, without sleep.", |core| &core.turn),
    ("connection_seconds", "Duration of ended connections.", |core| &core.connection),
    ("latency_seconds", "Time from receiving a publication to framing it for delivery.", |core| {
        &core.latency
    }),
];

/// Every counter by its name in the text, summed over cores.
#[must_use]
pub fn totals(cores: &[Arc<CoreMetrics>]) -> Vec<(&'static str, u64)> {
    let total = |value: &Value| cores.iter().map(|core| value(core).get()).sum();
    COUNTERS.iter().map(|(name, _, value)| (*name, total(value))).collect()
}

/// Appends every sample: of the process, then of each core, which is named by its place in `cores`.
pub fn render(out: &mut String, cores: &[Arc<CoreMetrics>], process: &ProcessStats<'_>) {
    put_process(out, process);
    for (kind, families) in [("gauge", GAUGES), ("counter", COUNTERS)] {
        for (name, help, value) in families {
            put_head(out, name, help, kind);
            for (worker, core) in cores.iter().enumerate() {
                put(
                    out,
                    format_args!("corecast_{name}{{worker=\"{worker}\"}} {}", value(core).get()),
                );
            }
        }
    }
    put_codes(out, cores, "disconnects_total", "Ended connections by close code.", |core| {
        (&DISCONNECT_CODES, &core.disconnects)
    });
    put_codes(out, cores, "errors_total", "Error replies by code.", |core| {
        (&ERROR_CODES, &core.errors)
    });
    put_head(
        out,
        "refusals_total",
        "Refused connections, requests and commands by cause.",
        "counter",
    );
    for (worker, core) in cores.iter().enumerate() {
        for (cause, counter) in Cause::ALL.iter().zip(&core.refusals) {
            let cause = cause.name();
            let labels = format_args!("worker=\"{worker}\",cause=\"{cause}\"");
            put(out, format_args!("corecast_refusals_total{{{labels}}} {}", counter.get()));
        }
    }
    for (name, help, histogram) in HISTOGRAMS {
        put_head(out, name, help, "histogram");
        for (worker, core) in cores.iter().enumerate() {
            put_histogram(out, name, worker, "", histogram(core));
        }
    }
    put_namespaces(out, cores, process.namespaces);
    put_calls(out, cores, process.api_methods);
    if let Some(store) = process.store {
        put_store(out, store);
    }
}

type OfNamespace = fn(&NamespaceMetrics) -> &Counter;

fn put_namespaces(out: &mut String, cores: &[Arc<CoreMetrics>], names: &[&str]) {
    let families: [(&str, &str, &str, OfNamespace); 3] = [
        ("namespace_subscriptions", "gauge", "Subscriptions in a namespace.", |it| {
            &it.subscriptions
        }),
        ("namespace_publications_total", "counter", "Publications received, by namespace.", |it| {
            &it.publications
        }),
        ("namespace_deliveries_total", "counter", "Publications delivered, by namespace.", |it| {
            &it.deliveries
        }),
    ];
    for (family, kind, help, value) in families {
        put_head(out, family, help, kind);
        for (worker, core) in cores.iter().enumerate() {
            for (name, namespace) in names.iter().zip(&core.namespaces) {
                let labels = format_args!("worker=\"{worker}\",namespace=\"{}\"", Escaped(name));
                let value = value(namespace).get();
                put(out, format_args!("corecast_{family}{{{labels}}} {value}"));
            }
        }
    }
}

/// Methods that nobody has called are left out: each is as many lines as a histogram has buckets.
fn put_calls(out: &mut String, cores: &[Arc<CoreMetrics>], methods: &[&str]) {
    put_head(out, "api_call_errors_total", "Server API calls answered with an error.", "counter");
    let called = |core: &CoreMetrics, place: usize| {
        core.calls[place].duration.counts.iter().any(|count| count.get() > 0)
    };
    for (worker, core) in cores.iter().enumerate() {
        for (place, method) in methods.iter().enumerate().filter(|(place, _)| called(core, *place))
        {
            let errors = core.calls[place].errors.get();
            let labels = format_args!("worker=\"{worker}\",method=\"{method}\"");
            put(out, format_args!("corecast_api_call_errors_total{{{labels}}} {errors}"));
        }
    }
    let help = "Time from the end of the body of a server API call to its answer.";
    put_head(out, "api_call_seconds", help, "histogram");
    for (worker, core) in cores.iter().enumerate() {
        for (place, method) in methods.iter().enumerate().filter(|(place, _)| called(core, *place))
        {
            let label = format!(",method=\"{method}\"");
            put_histogram(out, "api_call_seconds", worker, &label, &core.calls[place].duration);
        }
    }
}

fn put_process(out: &mut String, process: &ProcessStats<'_>) {
    put_head(out, "build_info", "Version of this program.", "gauge");
    let version = Escaped(process.version);
    put(out, format_args!("corecast_build_info{{version=\"{version}\"}} 1"));
    put_head(out, "driver", "The driver in use.", "gauge");
    let kind = Escaped(process.driver);
    put(out, format_args!("corecast_driver{{kind=\"{kind}\"}} 1"));
    put_head(out, "process_cpu_seconds_total", "CPU time of all threads.", "counter");
    let cpu = Seconds(process.cpu_ns / 1_000);
    put(out, format_args!("corecast_process_cpu_seconds_total {cpu}"));
    put_head(out, "process_resident_memory_bytes", "Resident memory.", "gauge");
    let resident = process.resident_bytes;
    put(out, format_args!("corecast_process_resident_memory_bytes {resident}"));
    put_head(
        out,
        "metrics_timestamp_seconds",
        "Unix time at which this text was made; requests soon after are sent the same text.",
        "gauge",
    );
    let made = Seconds(process.made_unix_ms * 1_000);
    put(out, format_args!("corecast_metrics_timestamp_seconds {made}"));
    let numbers = [
        (
            "process_open_fds",
            "gauge",
            "Open file descriptors, not counting sockets that only io_uring holds.",
            process.open_fds,
        ),
        ("process_max_fds", "gauge", "Most file descriptors that may be open.", process.max_fds),
        (
            "process_start_time_seconds",
            "gauge",
            "Unix time at which the process started.",
            process.started_s,
        ),
        (
            "log_lines_dropped_total",
            "counter",
            "Log lines dropped because their reader was too slow.",
            process.dropped_lines,
        ),
    ];
    for (name, kind, help, value) in numbers {
        put_head(out, name, help, kind);
        put(out, format_args!("corecast_{name} {value}"));
    }
    put_head(out, "limit", "The limits in force, by their key in [limits].", "gauge");
    for (name, value) in process.limits {
        put(out, format_args!("corecast_limit{{name=\"{}\"}} {value}", Escaped(name)));
    }
}

type OfStore = fn(&StoreMetrics) -> &Counter;
type StoreDurations = fn(&StoreMetrics) -> &Histogram;

const STORE_GAUGES: [(&str, &str, OfStore); 3] = [
    ("redis_up", "1 while what this node publishes in Redis comes back to it.", |it| &it.up),
    ("redis_unanswered", "Calls to Redis that are not answered.", |it| &it.unanswered),
    ("redis_channels", "Channels that this node hears from Redis.", |it| &it.channels),
];

const STORE_COUNTERS: [(&str, &str, OfStore); 5] = [
    ("redis_batches_total", "Commands to Redis that published.", |it| &it.batches),
    ("redis_batched_total", "Publications in those commands.", |it| &it.batched),
    ("redis_heard_total", "Publications heard from Redis, of this node too.", |it| &it.heard),
    ("redis_dropped_total", "Publications heard that a worker had no room for.", |it| &it.dropped),
    ("redis_failed_total", "Calls to Redis that failed.", |it| &it.failed),
];

const STORE_HISTOGRAMS: [(&str, &str, StoreDurations); 3] = [
    ("redis_call_seconds", "Time from a call to Redis to its answer.", |it| &it.call),
    ("redis_echo_seconds", "Time until what this node publishes comes back to it.", |it| &it.echo),
    (
        "redis_lag_seconds",
        "Time from receiving a publication on another node to hearing it on this one, by the \
         clocks of both.",
        |it| &it.lag,
    ),
];

/// Appends the samples of a store.
fn put_store(out: &mut String, store: &StoreMetrics) {
    for (kind, families) in [("gauge", &STORE_GAUGES[..]), ("counter", &STORE_COUNTERS[..])] {
        for (name, help, value) in families {
            put_head(out, name, help, kind);
            put(out, format_args!("corecast_{name} {}", value(store).get()));
        }
    }
    put_head(out, "redis_calls_total", "Calls of this node's workers to Redis.", "counter");
    for (call, counter) in StoreCall::ALL.iter().zip(&store.calls) {
        let (call, count) = (call.name(), counter.get());
        put(out, format_args!("corecast_redis_calls_total{{call=\"{call}\"}} {count}"));
    }
    put_head(out, "redis_events_total", "What happened to the connections to Redis.", "counter");
    for (event, counter) in StoreEvent::ALL.iter().zip(&store.events) {
        let (event, count) = (event.name(), counter.get());
        put(out, format_args!("corecast_redis_events_total{{event=\"{event}\"}} {count}"));
    }
    for (name, help, durations) in STORE_HISTOGRAMS {
        put_head(out, name, help, "histogram");
        let histogram = durations(store);
        let mut total = 0;
        for (bucket, count) in histogram.counts[..BUCKETS].iter().enumerate() {
            total += count.get();
            let le = Seconds(histogram.bound_us(bucket));
            put(out, format_args!("corecast_{name}_bucket{{le=\"{le}\"}} {total}"));
        }
        total += histogram.counts[BUCKETS].get();
        put(out, format_args!("corecast_{name}_bucket{{le=\"+Inf\"}} {total}"));
        put(out, format_args!("corecast_{name}_sum {}", Seconds(histogram.sum_us.get())));
        put(out, format_args!("corecast_{name}_count {total}"));
    }
}

/// Writes a family of counters by code; the last counter is for codes that are not in the table.
fn put_codes(
    out: &mut String,
    cores: &[Arc<CoreMetrics>],
    name: &str,
    help: &str,
    table: fn(&CoreMetrics) -> (&[u16], &[Counter]),
) {
    put_head(out, name, help, "counter");
    for (worker, core) in cores.iter().enumerate() {
        let (codes, counters) = table(core);
        for (code, counter) in codes.iter().zip(counters) {
            let labels = format_args!("worker=\"{worker}\",code=\"{code}\"");
            put(out, format_args!("corecast_{name}{{{labels}}} {}", counter.get()));
        }
        let labels = format_args!("worker=\"{worker}\",code=\"other\"");
        put(out, format_args!("corecast_{name}{{{labels}}} {}", counters[codes.len()].get()));
    }
}

/// `more` is further labels, each behind a comma.
fn put_histogram(out: &mut String, name: &str, worker: usize, more: &str, histogram: &Histogram) {
    let mut total = 0;
    for (bucket, count) in histogram.counts[..BUCKETS].iter().enumerate() {
        total += count.get();
        let le = Seconds(histogram.bound_us(bucket));
        let labels = format_args!("worker=\"{worker}\"{more},le=\"{le}\"");
        put(out, format_args!("corecast_{name}_bucket{{{labels}}} {total}"));
    }
    total += histogram.counts[BUCKETS].get();
    let sum = Seconds(histogram.sum_us.get());
    let labels = format!("worker=\"{worker}\"{more}");
    put(out, format_args!("corecast_{name}_bucket{{{labels},le=\"+Inf\"}} {total}"));
    put(out, format_args!("corecast_{name}_sum{{{labels}}} {sum}"));
    put(out, format_args!("corecast_{name}_count{{{labels}}} {total}"));
}

fn put_head(out: &mut String, name: &str, help: &str, kind: &str) {
    put(out, format_args!("# HELP corecast_{name} {help}"));
    put(out, format_args!("# TYPE corecast_{name} {kind}"));
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a string takes what it is given");
}

/// Microseconds, written as seconds without rounding.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if part == 0 { write!(f, "{whole}") } else { write!(f, "{whole}.{part:06}") }
    }
}

/// A label's value: backslash, quote and newline are escaped.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
