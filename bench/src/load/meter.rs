//! What a run measures: CPU of server and generator and deliveries within a window, latency.
//!
//! Must not know what is delivered. Invariant: CPU and deliveries are counted between the same two
//! times, without the warm-up.

use super::clock;
use super::watch::{Look, Watch};
use crate::proc;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// The times of a run, on the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The warm-up ends.
    pub open: u64,
    pub close: u64,
}

impl Times {
    #[must_use]
    pub fn new(start: u64, warm_s: f64, window_s: f64) -> Times {
        let open = start + (warm_s * 1e9) as u64;
        Times { open, close: open + (window_s * 1e9) as u64 }
    }
}

/// CPU time so far, and the time of the look.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    at: u64,
    server: u64,
    own: u64,
    /// Time that the server's and our threads had work and no core.
    server_waited: u64,
    own_waited: u64,
}

/// What one process measured; those of several are added.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// Seconds of the window, as it was.
    pub window_s: f64,
    /// Messages per second that were tried, where the run has chosen that itself.
    pub offered_per_s: Option<f64>,
    pub messages: u64,
    pub deliveries: u64,
    pub server_cpu_ns: u64,
    pub own_cpu_ns: u64,
    /// Latency in nanoseconds: value and count.
    pub latency: Vec<(u64, u64)>,
    /// More that a scenario has to say.
    pub more: BTreeMap<String, f64>,
    /// Resident bytes of the servers: number of connections, and bytes.
    pub rss: Vec<(u64, u64)>,
    pub failure: Option<String>,
}

impl Figures {
    #[must_use]
    pub fn failed(why: String) -> Figures {
        Figures { failure: Some(why), ..Figures::default() }
    }

    /// Adds what another process measured in the same window.
    pub fn add(&mut self, other: Figures) {
        self.window_s = self.window_s.max(other.window_s);
        self.messages += other.messages;
        self.deliveries += other.deliveries;
        self.server_cpu_ns += other.server_cpu_ns;
        self.own_cpu_ns += other.own_cpu_ns;
        self.latency.extend(other.latency);
        for (name, value) in other.more {
            // Worst cases are no sums.
            let join: fn(f64, f64) -> f64 = match name.as_str() {
                "late_us_max" => f64::max,
                "frame_bytes" => f64::min,
                _ => |sum, value| sum + value,
            };
            self.more.entry(name).and_modify(|sum| *sum = join(*sum, value)).or_insert(value);
        }
        self.rss.extend(other.rss);
        self.failure = self.failure.take().or(other.failure);
    }

    /// All latencies, in nanoseconds.
    #[must_use]
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = histogram();
        for (value, count) in &self.latency {
            histogram.saturating_record_n(*value, *count);
        }
        histogram
    }
}

/// From 1 us to 100 s, by three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 100 * clock::SECOND, 3).expect("bounds that are right")
}

pub struct Meter {
    pub times: Times,
    /// The servers, and the softirq threads of their cores.
    servers: Vec<u32>,
    latency: Histogram<u64>,
    messages: u64,
    deliveries: u64,
    opened: Option<Cpu>,
    closed: Option<Cpu>,
    watch: Option<Watch>,
    seen: [Option<Look>; 2],
}

impl Meter {
    /// Measures these servers (process ids) at those times.
    #[must_use]
    pub fn new(times: Times, servers: &[u32]) -> Meter {
        let own = std::process::id();
        let mut threads: Vec<u32> =
            servers.iter().filter_map(|pid| proc::softirq_thread(*pid, own)).collect();
        threads.dedup();
        Meter {
            times,
            servers: [servers, &threads].concat(),
            latency: histogram(),
            messages: 0,
            deliveries: 0,
            opened: None,
            closed: None,
            watch: None,
            seen: [None, None],
        }
    }

    /// The same, and watches a Redis.
    #[must_use]
    pub fn watching(self, watch: Option<Watch>) -> Meter {
        Meter { watch, ..self }
    }

    fn look(&self) -> Result<Option<Look>, String> {
        let look = self.watch.as_ref().map(Watch::look).transpose();
        look.map_err(|error| format!("Redis cannot be watched: {error:#}"))
    }

    /// To be called in every turn.
    ///
    /// # Errors
    /// When a server is gone.
    pub fn tick(&mut self, now: u64) -> Result<(), String> {
        if self.opened.is_none() && now >= self.times.open {
            self.seen[0] = self.look()?;
            self.opened = Some(self.cpu()?);
        }
        if self.closed.is_none() && now >= self.times.close {
            self.closed = Some(self.cpu()?);
            self.seen[1] = self.look()?;
        }
        Ok(())
    }

    fn cpu(&self) -> Result<Cpu, String> {
        let waited = |pid: &u32| proc::run_delay(*pid).map_or(0, |waited| waited.as_nanos() as u64);
        Ok(Cpu {
            at: clock::now(),
            server: servers_cpu(&self.servers)?,
            own: clock::own_cpu(),
            server_waited: self.servers.iter().map(waited).sum(),
            own_waited: waited(&std::process::id()),
        })
    }

    /// Is it between the warm-up and the window's end?
    #[must_use]
    pub fn counts(&self) -> bool {
        self.opened.is_some() && self.closed.is_none()
    }

    /// A message was sent.
    pub fn sent(&mut self) {
        self.messages += u64::from(self.counts());
    }

    /// Something was delivered without a latency of its own.
    pub fn delivered(&mut self) {
        self.deliveries += u64::from(self.counts());
    }

    /// Something arrived that was to be sent at `intended`.
    pub fn arrived(&mut self, intended: u64, now: u64) {
        self.delivered();
        self.took(intended, now);
    }

    /// Something that was to begin at `intended` is done, which is no delivery by itself.
    pub fn took(&mut self, intended: u64, now: u64) {
        if intended >= self.times.open && intended < self.times.close {
            self.latency.saturating_record(now.saturating_sub(intended));
        }
    }

    /// The latency below which a share of what arrived lies, in nanoseconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        self.latency.value_at_quantile(share)
    }

    /// How many took longer, so far. What the histogram's three digits cannot tell apart did not.
    #[must_use]
    pub fn beyond(&self, limit: u64) -> u64 {
        self.latency.count_between(limit + limit / 1_000, u64::MAX)
    }

    /// What was measured, once the window is closed.
    #[must_use]
    pub fn figures(&self, failure: Option<String>) -> Figures {
        let (opened, closed) = (self.opened.unwrap_or_default(), self.closed.unwrap_or_default());
        let recorded = self.latency.iter_recorded();
        let ms = |ns: u64| ns as f64 / 1e6;
        let waited = [
            ("server_waited_ms", closed.server_waited.saturating_sub(opened.server_waited)),
            ("generator_waited_ms", closed.own_waited.saturating_sub(opened.own_waited)),
        ];
        let waited = waited.map(|(name, waited)| (name.to_owned(), ms(waited)));
        let watched = match &self.seen {
            [Some(before), Some(after)] => after.since(before),
            _ => BTreeMap::new(),
        };
        Figures {
            window_s: closed.at.saturating_sub(opened.at) as f64 / 1e9,
            messages: self.messages,
            deliveries: self.deliveries,
            server_cpu_ns: closed.server.saturating_sub(opened.server),
            own_cpu_ns: closed.own.saturating_sub(opened.own),
            latency: recorded
                .map(|value| (value.value_iterated_to(), value.count_at_value()))
                .collect(),
            failure,
            more: waited.into_iter().chain(watched).collect(),
            ..Figures::default()
        }
    }
}

/// CPU time of servers so far, in nanoseconds.
///
/// # Errors
/// When one of them is gone.
fn servers_cpu(servers: &[u32]) -> Result<u64, String> {
    let each = servers.iter().map(|pid| match (proc::ended(*pid), proc::cpu(*pid)) {
        (false, Ok(cpu)) => Ok(cpu.as_nanos() as u64),
        (true, _) => Err(format!("the server (process {pid}) died during the run")),
        (false, Err(error)) => Err(format!("{error:#}")),
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_window_is_counted() {
        let start = clock::now();
        let times = Times { open: start + 100, close: start + 200 };
        let mut meter = Meter::new(times, &[std::process::id()]);
        meter.arrived(start + 50, start + 90);
        meter.tick(start + 100).expect("alive");
        meter.arrived(start + 90, start + 110);
        meter.arrived(start + 100, start + 5_000_100);
        meter.sent();
        meter.tick(start + 200).expect("alive");
        meter.arrived(start + 199, start + 3_000_199);
        meter.arrived(start + 200, start + 210);
        let figures = meter.figures(None);
        assert_eq!((figures.messages, figures.deliveries), (1, 2));
        let histogram = figures.histogram();
        assert_eq!(histogram.len(), 2);
        assert!((2_990_000..3_010_000).contains(&histogram.min()), "{}", histogram.min());
        assert!((4_990_000..5_010_000).contains(&histogram.max()), "{}", histogram.max());
    }

    #[test]
    fn a_server_that_is_gone_is_told() {
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = child.id();
        child.wait().expect("an end");
        let why = servers_cpu(&[pid]).expect_err("it is gone");
        assert_eq!(why, format!("the server (process {pid}) died during the run"));
    }
}
