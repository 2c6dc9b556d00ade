//! `corecast doctor`: does this host suit this configuration, and what does each shortfall cost?
//!
//! Makes the checks of `scripts/tune check`, from the same data, and those that only Corecast
//! itself can make: what the kernel's ring offers it, how fast a sleeping core wakes, how many
//! connections fit. Must not know the data path. Invariant: changes nothing, and lists the worst
//! shortfalls first.

mod capacity;
mod finding;
pub(super) mod machine;
mod redis;
mod stop;
mod tuned;
mod tuning;
mod wake;

use super::cgroup::Groups;
use super::given::Given;
use super::host;
use crate::config::{Config, DriverChoice, Listen};
use crate::driver::survey;
use crate::tell;
use capacity::{Bounds, Capacity};
use finding::{Bite, Finding, State};
use machine::Machine;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use tuned::{Limits, Wanted};

/// Connections that a host is tuned for by default, as in scripts/tune.
const CONNECTIONS: u64 = 100_000;
/// A wake-up that takes longer than this, one way, is reported. Idle hosts take 21-32 us.
const SLOW_WAKE_US: u128 = 100;
/// Cost of a host without io_uring: the figures of the two drivers in docs/benchmarks.md.
const EPOLL_COST: &str = "the server runs on epoll: about as much CPU per delivery, but all \
                          workers share the descriptors of one process";

/// The user's options.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Connections that the host should hold; `None`: the configured bound, or 100,000.
    pub connections: Option<u64>,
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    connections_wanted: u64,
    capacity: &'a Capacity,
    findings: &'a [Finding],
}

/// Runs the checks, prints the findings, and returns the exit code: 0 if nothing falls short, else
/// 1.
#[must_use]
pub fn run(config: &Config, ask: Ask) -> ExitCode {
    let machine = Machine::new(Path::new("/"));
    let given = host::given(core_affinity::get_core_ids().map_or(1, |cores| cores.len()));
    let groups = Groups::new(Path::new("/"));
    let workers = given.workers(config);
    let configured = u64::from(config.limits.connections_per_worker) * workers as u64;
    let wanted = ask.connections.unwrap_or(if configured > 0 { configured } else { CONNECTIONS });
    let mut findings = tuned_findings(&machine, config, wanted);
    findings.extend(group_findings(&groups, &machine, &given, workers));
    let descriptors = host::raise_descriptors();
    let ring = ring_findings(config, workers, &given, descriptors, &mut findings);
    findings.push(wake_finding(&machine.cpus));
    let limits = config.limits_on(descriptors, workers, !ring);
    let bounds = bounds(&machine, &groups, workers, limits.connections_per_worker);
    let capacity = capacity::capacity(&bounds);
    findings.push(fits(&capacity, wanted));
    findings.extend(stop::look(&machine, config));
    findings.extend(redis_findings(config));
    findings.sort_by_key(Finding::rank);
    let ok = findings.iter().all(|finding| finding.state != State::Differs);
    let report =
        Report { ok, connections_wanted: wanted, capacity: &capacity, findings: &findings };
    report_all(&report, ask.json);
    ExitCode::from(u8::from(!ok))
}

fn report_all(report: &Report<'_>, json: bool) {
    if json {
        tell::out(serde_json::to_string_pretty(report).expect("a report is plain data"));
        return;
    }
    for finding in report.findings {
        tell::out(finding);
    }
    let Capacity { connections, bounded_by } = report.capacity;
    tell::out(format_args!(
        "This host can hold {connections} connections; the limit is {bounded_by}."
    ));
    let short = report.findings.iter().filter(|finding| finding.state == State::Differs).count();
    let wanted = report.connections_wanted;
    match short {
        0 => tell::out(format_args!("Nothing falls short for {wanted} connections.")),
        _ => tell::out(format_args!(
            "{short} fall short for {wanted} connections, the worst first; scripts/tune raises most."
        )),
    }
}

fn tuned_findings(machine: &Machine, config: &Config, connections: u64) -> Vec<Finding> {
    let ports: Vec<u16> = std::iter::once(&config.listen)
        .chain(&config.internal_listen)
        .filter_map(Listen::port)
        .collect();
    let values = tuning::Values {
        connections,
        cores: machine.cpus.len() as u64,
        memory_bytes: machine.memory_bytes,
        page_bytes: rustix::param::page_size() as u64,
    };
    let limits = Limits {
        descriptors: getrlimit(Resource::Nofile).maximum,
        locked_bytes: getrlimit(Resource::Memlock).current,
        may_lock: host::may_lock(&machine.read("/proc/self/status").unwrap_or_default()),
    };
    tuned::look(machine, &Wanted { values, ports: &ports }, &limits)
}

/// The limits of the control groups, and their consequences.
fn group_findings(
    groups: &Groups,
    machine: &Machine,
    given: &Given,
    workers: usize,
) -> Vec<Finding> {
    let cores = machine.cpus.len();
    let cpu = match groups.cpu {
        None => Finding::ok("CPU quota of the control group", "none"),
        Some(quota) => {
            let share = quota.run_us as f64 / quota.period_us.max(1) as f64;
            let found = format!("{share:.2} of {cores} cores: {workers} workers");
            if quota.run_us < quota.period_us {
                let cost = "a worker that has used its share stops until the next period, up to a \
                            tenth of a second, and all of its clients wait";
                Finding::short("CPU quota of the control group", found, "a core at least", cost)
            } else {
                Finding::ok("CPU quota of the control group", found)
            }
        }
    };
    let memory = match groups.memory_bytes.filter(|bytes| *bytes < machine.memory_bytes) {
        None => Finding::ok("memory limit of the control group", "none"),
        Some(_) => {
            let found = format!("{} MiB, which limits the pools", given.memory_bytes >> 20);
            Finding::ok("memory limit of the control group", found)
        }
    };
    vec![cpu, memory]
}

/// Adds what the ring can do, and returns whether the server would use it.
fn ring_findings(
    config: &Config,
    workers: usize,
    given: &Given,
    descriptors: u64,
    findings: &mut Vec<Finding>,
) -> bool {
    if config.driver == DriverChoice::Epoll {
        findings.push(Finding::absent("io_uring", "driver = \"epoll\" does not use it"));
        return false;
    }
    let plan = super::ring_plan(config, descriptors, workers, given);
    let steps = survey::survey(plan);
    let works = steps.iter().all(|step| step.found.is_ok());
    for step in steps {
        findings.push(match step.found {
            Ok(found) => Finding::ok(step.name, found),
            Err(why) => Finding::short(step.name, why, "what Linux 6.1 gives", EPOLL_COST),
        });
    }
    works
}

fn redis_findings(config: &Config) -> Vec<Finding> {
    let Some(redis) = &config.redis else { return Vec::new() };
    let named = config.namespaces.named.iter().map(|(_, options)| options);
    let longest = named.chain([&config.namespaces.unnamed]).map(|options| options.history_size);
    redis::look(redis, longest.max().unwrap_or(0))
}

fn wake_finding(cpus: &[usize]) -> Finding {
    let name = "wake-up between cores";
    let [one, .., other] = cpus[..] else {
        return Finding::absent(name, "there is one core");
    };
    match wake::measure([one, other]) {
        Err(error) => Finding::absent(name, error.to_string()),
        Ok(wakes) => {
            let (p50, p99) = (wakes.p50.as_micros(), wakes.p99.as_micros());
            let current = format!("p50 {p50} us, p99 {p99} us");
            if p50 <= SLOW_WAKE_US {
                return Finding::ok(name, current);
            }
            let cost = "each delivery from one sleeping core to another comes that much later; \
                        deep idle states, or a busy host: try spin_us";
            Finding::short(name, current, format!("p50 at most {SLOW_WAKE_US} us"), cost)
        }
    }
}

fn bounds(machine: &Machine, groups: &Groups, workers: usize, per_worker: u32) -> Bounds {
    let number = |path: &str, at: usize| -> Option<u64> {
        machine.read(path)?.split_whitespace().nth(at)?.parse().ok()
    };
    let left = |most: Option<u64>, used: Option<u64>| Some(most?.saturating_sub(used?));
    let group = left(groups.memory_bytes, groups.memory_used_bytes);
    let host = machine.meminfo("MemAvailable:");
    let netfilter = "/proc/sys/net/netfilter/nf_conntrack";
    Bounds {
        workers: workers as u64,
        per_worker: u64::from(per_worker),
        files: left(number("/proc/sys/fs/file-nr", 2), number("/proc/sys/fs/file-nr", 0)),
        available_bytes: host.into_iter().chain(group).min(),
        tracked: left(
            number(&format!("{netfilter}_max"), 0),
            number(&format!("{netfilter}_count"), 0),
        ),
    }
}

fn fits(capacity: &Capacity, wanted: u64) -> Finding {
    let name = "connections";
    let Capacity { connections, bounded_by } = capacity;
    if *connections >= wanted {
        return Finding::ok(name, format!("{connections} fit"));
    }
    let cost = format!(
        "connections above are refused, or the host runs out of memory; the limit is {bounded_by}"
    );
    Finding::short(name, format!("{connections} fit"), wanted.to_string(), cost)
        .bites(Bite::Refuses)
        .has(*connections, wanted)
}
