//! The metrics as a scraper reads them: the text is parsed by a small, independent reader.

use corecast::codec::command::{Disconnect, ErrorCode};
use corecast::metrics::{
    Cause, CoreMetrics, DISCONNECT_CODES, ProcessStats, StoreCall, StoreEvent, StoreMetrics, render,
};
use corecast::ws::frame::may_be_sent;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// A sample's name with its labels, in the order written.
type Key = (String, Vec<(String, String)>);

#[derive(Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    samples: Vec<(Key, f64)>,
}

impl Scrape {
    /// Reads the text format 0.0.4 strictly: HELP, then TYPE, then the samples of that family
    /// alone.
    fn read(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        let mut family = String::new();
        let mut helped = HashSet::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().to_string();
                assert!(helped.insert(family.clone()), "two families {family}");
            } else if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert!(["counter", "gauge", "histogram"].contains(&kind));
                scrape.types.insert(name.to_string(), kind.to_string());
            } else {
                let (key, value) = sample(line);
                assert!(belongs(&key.0, &family, &scrape.types[&family]), "{line}");
                assert!(scrape.samples.iter().all(|(other, _)| *other != key), "twice: {line}");
                scrape.samples.push((key, value));
            }
        }
        scrape
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let found = self.samples.iter().find(|(key, _)| key.0 == name && key.1 == labels);
        found.unwrap_or_else(|| panic!("no {name} {labels:?}")).1
    }

    fn buckets(&self, name: &str, worker: &str) -> Vec<(f64, f64)> {
        let name = format!("{name}_bucket");
        let of = |key: &Key| key.0 == name && key.1[0].1 == worker;
        let bound = |key: &Key| key.1[1].1.replace("+Inf", "inf").parse().unwrap();
        let mine = self.samples.iter().filter(|(key, _)| of(key));
        mine.map(|(key, value)| (bound(key), *value)).collect()
    }
}

fn belongs(name: &str, family: &str, kind: &str) -> bool {
    let suffix = name.strip_prefix(family);
    match kind {
        "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
        _ => suffix == Some(""),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sample(line: &str) -> (Key, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name) && name.starts_with("corecast_"), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(is_name(label), "{line}");
            let (value, after) = label_value(after);
            labels.push((label.to_string(), value));
            rest = &after[1..];
            match &after[..1] {
                "," => {}
                "}" => break,
                _ => panic!("{line}"),
            }
        }
    }
    ((name.to_string(), labels), rest.strip_prefix(' ').unwrap().parse().unwrap())
}

/// Undoes a label value's escapes; returns the rest after its closing quote.
fn label_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next().unwrap().1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                other => panic!("escape {other}"),
            }),
            other => value.push(other),
        }
    }
    panic!("unclosed: {text}");
}

const PROCESS: ProcessStats<'_> = ProcessStats {
    cpu_ns: 1_500_002_999,
    resident_bytes: 12_345_678,
    open_fds: 17,
    max_fds: 1_024,
    started_s: 1_700_000_000,
    made_unix_ms: 1_700_000_001_500,
    dropped_lines: 3,
    limits: &[],
    namespaces: &["", "chat"],
    api_methods: &["publish", "broadcast"],
    store: None,
    driver: "io_uring",
    version: "0.1.0-\"a\\b\n\"",
};

fn scrape(cores: &[Arc<CoreMetrics>]) -> Scrape {
    let mut text = String::new();
    render(&mut text, cores, &PROCESS);
    Scrape::read(&text)
}

#[test]
fn every_core_has_its_own_samples() {
    let cores = [Arc::new(CoreMetrics::new()), Arc::new(CoreMetrics::new())];
    cores[0].connections.set(7);
    cores[1].connections.set(3);
    cores[1].connections.set(2);
    cores[1].accepted.add(40);
    cores[1].accepted.add(2);
    cores[1].bytes_in.set(u64::from(u32::MAX) + 1);
    let scrape = scrape(&cores);
    let table = [
        ("corecast_connections", "0", 7.0, "gauge"),
        ("corecast_connections", "1", 2.0, "gauge"),
        ("corecast_accepted_total", "0", 0.0, "counter"),
        ("corecast_accepted_total", "1", 42.0, "counter"),
        ("corecast_bytes_in_total", "1", 4_294_967_296.0, "counter"),
        ("corecast_deliveries_total", "1", 0.0, "counter"),
    ];
    for (name, worker, value, kind) in table {
        assert_eq!(scrape.value(name, &[("worker", worker)]), value, "{name}");
        assert_eq!(scrape.types[name], kind);
    }
    assert_eq!(scrape.types["corecast_turn_seconds"], "histogram");
}

#[test]
fn the_process_is_described_once() {
    let scrape = scrape(&[]);
    assert_eq!(scrape.value("corecast_build_info", &[("version", PROCESS.version)]), 1.0);
    assert_eq!(scrape.value("corecast_driver", &[("kind", "io_uring")]), 1.0);
    assert_eq!(scrape.value("corecast_process_cpu_seconds_total", &[]), 1.500_002);
    assert_eq!(scrape.value("corecast_process_resident_memory_bytes", &[]), 12_345_678.0);
}

#[test]
fn namespaces_and_methods_are_told_apart() {
    let core = Arc::new(CoreMetrics::new());
    core.namespace(1).subscriptions.set(5);
    core.namespace(1).deliveries.add(70);
    core.namespace(0).publications.add(2);
    core.call(1, 3, false);
    core.call(1, 900, true);
    let mut text = String::new();
    let limits = [("message_bytes".to_owned(), 65_536)];
    render(&mut text, &[Arc::clone(&core)], &ProcessStats { limits: &limits, ..PROCESS });
    let scrape = Scrape::read(&text);
    let of = |family: &str, label: &str, value: &str| {
        scrape.value(&format!("corecast_{family}"), &[("worker", "0"), (label, value)])
    };
    assert_eq!(of("namespace_subscriptions", "namespace", "chat"), 5.0);
    assert_eq!(of("namespace_deliveries_total", "namespace", "chat"), 70.0);
    assert_eq!(of("namespace_publications_total", "namespace", ""), 2.0);
    assert_eq!(of("namespace_publications_total", "namespace", "chat"), 0.0);
    assert_eq!(of("api_call_seconds_count", "method", "broadcast"), 2.0);
    assert_eq!(of("api_call_errors_total", "method", "broadcast"), 1.0);
    assert!(!text.contains("method=\"publish\""), "nobody has called it");
    assert_eq!(scrape.value("corecast_limit", &[("name", "message_bytes")]), 65_536.0);
    for (name, value) in [
        ("process_open_fds", 17.0),
        ("process_max_fds", 1_024.0),
        ("process_start_time_seconds", 1_700_000_000.0),
        ("metrics_timestamp_seconds", 1_700_000_001.5),
        ("log_lines_dropped_total", 3.0),
    ] {
        assert_eq!(scrape.value(&format!("corecast_{name}"), &[]), value, "{name}");
    }
}

/// `docs/metrics.md` has exactly the families with their type, labels and help.
#[test]
fn the_reference_is_the_code() {
    let core = Arc::new(CoreMetrics::new());
    core.call(0, 1, false);
    let mut text = String::new();
    let limits = [("message_bytes".to_owned(), 1)];
    let store = StoreMetrics::default();
    let process = ProcessStats { limits: &limits, store: Some(&store), ..PROCESS };
    render(&mut text, &[core], &process);
    let scrape = Scrape::read(&text);
    let mut rows = Vec::new();
    for line in text.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|it| it.split_once(' '))
        else {
            continue;
        };
        let kind = &scrape.types[name];
        let sample = scrape.samples.iter().find(|((of, _), _)| belongs(of, name, kind));
        let labels = sample.map_or(Vec::new(), |((_, labels), _)| labels.clone());
        let labels: Vec<String> = labels
            .iter()
            .filter(|(label, _)| label != "le")
            .map(|(label, _)| format!("`{label}`"))
            .collect();
        rows.push(format!("| `{name}` | {kind} | {} | {help} |", labels.join(", ")));
    }
    let page = std::fs::read_to_string("docs/metrics.md").expect("the reference");
    let causes = Cause::ALL.map(Cause::name);
    let calls = StoreCall::ALL.map(StoreCall::name);
    let events = StoreEvent::ALL.map(StoreEvent::name);
    for name in causes.iter().chain(&calls).chain(&events) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not explained");
    }
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(written, rows, "write docs/metrics.md anew:\n{}", rows.join("\n"));
}

#[test]
fn codes_and_causes_are_told_apart() {
    let core = Arc::new(CoreMetrics::new());
    for (index, code) in DISCONNECT_CODES.iter().enumerate() {
        (0..=index).for_each(|_| core.disconnect(*code));
    }
    core.disconnect(4999);
    core.error(102);
    core.error(7);
    core.refuse(Cause::Slots);
    core.refuse(Cause::Http);
    core.refuse(Cause::Http);
    let scrape = scrape(&[core]);
    let of = |family: &str, label: &str, value: &str| {
        scrape.value(&format!("corecast_{family}_total"), &[("worker", "0"), (label, value)])
    };
    for (index, code) in DISCONNECT_CODES.iter().enumerate() {
        assert_eq!(of("disconnects", "code", &code.to_string()), (index + 1) as f64);
    }
    assert_eq!(of("disconnects", "code", "other"), 1.0);
    assert_eq!((of("errors", "code", "102"), of("errors", "code", "other")), (1.0, 1.0));
    assert_eq!(of("errors", "code", "103"), 0.0);
    assert_eq!((of("refusals", "cause", "slots"), of("refusals", "cause", "http")), (1.0, 2.0));
    assert_eq!(of("refusals", "cause", "origin"), 0.0);
}

/// Every code of the protocol, and every one that a peer may send, has a sample of its own.
#[test]
fn no_code_of_the_protocol_is_other() {
    let core = Arc::new(CoreMetrics::new());
    let of_websocket = (1000..=2999).filter(|code| may_be_sent(*code) || *code == 1006);
    let of_ours = Disconnect::ALL.into_iter().map(|it| it.parts().0);
    let closed: Vec<u16> = of_websocket.chain(of_ours).collect();
    let errors = ErrorCode::ALL.map(|it| u16::try_from(it.parts().0).expect("a small number"));
    closed.iter().for_each(|code| core.disconnect(*code));
    errors.iter().for_each(|code| core.error(*code));
    let scrape = scrape(&[core]);
    let families = [("disconnects", closed.as_slice()), ("errors", errors.as_slice())];
    for (family, codes) in families {
        let name = format!("corecast_{family}_total");
        for code in codes {
            let labels = [("worker", "0"), ("code", &*code.to_string())];
            assert_eq!(scrape.value(&name, &labels), 1.0, "{family} {code}");
        }
        assert_eq!(scrape.value(&name, &[("worker", "0"), ("code", "other")]), 0.0, "{family}");
    }
    // These were once forgotten.
    assert!(closed.contains(&3005) && closed.contains(&3505) && errors.contains(&110));
}

/// The tables of errors and close codes in docs have the same codes.
#[test]
fn the_codes_of_the_documents_are_those_of_the_enums() {
    let text = std::fs::read_to_string("docs/codes.md").expect("the page of codes");
    let told: BTreeSet<u32> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |")?.0.parse().ok())
        .filter(|code| matches!(code, 100..=199 | 3000..=3999))
        .collect();
    let errors = ErrorCode::ALL.map(|it| it.parts().0);
    let ends = Disconnect::ALL.map(|it| u32::from(it.parts().0));
    assert_eq!(told, errors.into_iter().chain(ends).collect());
}

#[test]
fn histograms_are_cumulative_and_bounds_are_inclusive() {
    let core = Arc::new(CoreMetrics::new());
    let durations = [0, 1, 2, 3, 4, 5, 1_000_000, 1 << 23, (1 << 23) + 1, u64::from(u32::MAX)];
    durations.iter().for_each(|us| core.turn.record(*us));
    let scrape = scrape(&[Arc::clone(&core)]);
    let buckets = scrape.buckets("corecast_turn_seconds", "0");
    assert_eq!(buckets.len(), 25);
    assert_eq!(buckets[0].0, 0.000_001);
    for (bound, count) in &buckets {
        let expected = durations.iter().filter(|us| **us as f64 / 1e6 <= *bound).count();
        assert_eq!(*count, expected as f64, "le {bound}");
    }
    assert_eq!(buckets[24], (f64::INFINITY, durations.len() as f64));
    let of = |suffix| scrape.value(&format!("corecast_turn_seconds{suffix}"), &[("worker", "0")]);
    assert_eq!(of("_count"), durations.len() as f64);
    assert_eq!(of("_sum"), durations.iter().sum::<u64>() as f64 / 1e6);
    assert_eq!(scrape.value("corecast_latency_seconds_count", &[("worker", "0")]), 0.0);
}

#[test]
fn a_long_connection_has_a_bucket_of_its_own() {
    let core = Arc::new(CoreMetrics::new());
    let day_us = 24 * 3600 * 1_000_000;
    core.connection.record(day_us);
    core.connection.record(u64::MAX);
    let buckets = scrape(&[core]).buckets("corecast_connection_seconds", "0");
    let first = buckets.iter().find(|(_, count)| *count > 0.0).unwrap();
    assert!(first.0 >= day_us as f64 / 1e6 && first.0 < 2.0 * day_us as f64 / 1e6);
    assert_eq!((first.1, buckets[24].1), (1.0, 2.0));
}

#[test]
fn a_core_is_ready_while_it_answers() {
    let core = CoreMetrics::new();
    assert!(!core.answered_within(500, 1_000));
    core.probe.answered_ms.set(500);
    assert!(core.answered_within(400, 1_000) && core.answered_within(1_500, 1_000));
    assert!(!core.answered_within(1_501, 1_000));
}

/// A reader on another thread sees whole numbers that only grow.
#[test]
fn a_reader_sees_what_the_writer_wrote() {
    const ROUNDS: u64 = 100_000;
    let core = Arc::new(CoreMetrics::new());
    let writer = Arc::clone(&core);
    let thread = std::thread::spawn(move || (0..ROUNDS).for_each(|_| writer.sends.add(1 << 32)));
    let mut last = 0;
    while last < ROUNDS << 32 {
        let seen = core.sends.get();
        assert!(seen >= last && seen.trailing_zeros() >= 32);
        last = seen;
    }
    thread.join().unwrap();
}
