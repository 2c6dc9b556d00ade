//! What has to be known about the machine to read its figures.
//!
//! Must not know the runs. Invariant: what the machine does not report is shown as unknown.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;

/// Core of the server, and core of the generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cores {
    pub server: usize,
    pub generator: usize,
}

/// The machine as it was when the set began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    pub virtual_machine: bool,
    pub governor: String,
    pub congestion_control: String,
    pub transparent_huge_pages: String,
    pub load: String,
    /// What the kernel does against each fault of the processor that concerns it.
    pub mitigations: BTreeMap<String, String>,
}

fn text(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn mitigations() -> BTreeMap<String, String> {
    let directory = "/sys/devices/system/cpu/vulnerabilities";
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let told = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let state = fs::read_to_string(entry.path()).ok()?.trim().to_owned();
        (state != "Not affected").then_some((name, state))
    });
    told.collect()
}

impl Machine {
    /// Reads it now; `name` replaces the host's name if given.
    #[must_use]
    pub fn read(name: Option<&str>, cores: Cores) -> Machine {
        let about = rustix::system::uname();
        let processors = text("/proc/cpuinfo");
        let memory = field(&text("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kilobytes = memory.split(' ').next().and_then(|number| number.parse::<f64>().ok());
        let governor =
            format!("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cores.server);
        let host = about.nodename().to_string_lossy();
        let kept = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
        Machine {
            name: name.unwrap_or(&host).chars().filter(kept).collect(),
            processor: field(&processors, "model name").unwrap_or_else(|| "unknown".into()),
            cores: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: (kilobytes.unwrap_or(0.0) / 1_048_576.0 * 10.0).round() / 10.0,
            kernel: about.release().to_string_lossy().into_owned(),
            virtual_machine: processors.contains("hypervisor"),
            governor: text(&governor),
            congestion_control: text("/proc/sys/net/ipv4/tcp_congestion_control"),
            transparent_huge_pages: text("/sys/kernel/mm/transparent_hugepage/enabled"),
            load: text("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            mitigations: mitigations(),
        }
    }
}

/// The share of a core's time that the hypervisor gave to others.
#[derive(Clone, Copy, Debug)]
pub struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// Of all cores together, so far.
    #[must_use]
    pub fn now() -> Steal {
        Steal::of(&text("/proc/stat"))
    }

    fn of(stat: &str) -> Steal {
        let line = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guests are inside user.
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).filter_map(|tick| tick.parse().ok()).collect();
        Steal { stolen: ticks.get(7).copied().unwrap_or(0), all: ticks.iter().sum() }
    }

    /// The share since then, between 0 and 1.
    #[must_use]
    pub fn since(self, before: Steal) -> f64 {
        self.stolen.saturating_sub(before.stolen) as f64 / self.ticks_since(before)
    }

    /// Ticks of all cores together since then, at least one.
    #[must_use]
    pub fn ticks_since(self, before: Steal) -> f64 {
        self.all.saturating_sub(before.all).max(1) as f64
    }
}

/// CPU time so far, in ticks, of programs that have no part in a run, by process. The kernel's own
/// threads work for all of them, and are not included.
#[derive(Clone, Debug, Default)]
pub struct Others(BTreeMap<u32, u64>);

impl Others {
    /// Of all but these servers, this process and its children.
    #[must_use]
    pub fn now(servers: &[u32]) -> Others {
        let own = std::process::id();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (parent, ticks) = program(&stat)?;
            let ours = pid == own || parent == own || servers.contains(&pid);
            (!ours).then_some((pid, ticks))
        });
        Others(processes.collect())
    }

    /// Ticks since then. What began meanwhile counts whole; what ended is in its parent's.
    #[must_use]
    pub fn since(&self, before: &Others) -> f64 {
        let grown = |(pid, ticks): (&u32, &u64)| {
            ticks.saturating_sub(before.0.get(pid).copied().unwrap_or(0))
        };
        self.0.iter().map(grown).sum::<u64>() as f64
    }
}

/// A program's parent, and its CPU time with that of children that ended, from /proc/PID/stat;
/// `None` for a thread of the kernel.
fn program(stat: &str) -> Option<(u32, u64)> {
    const KERNEL_THREAD: u64 = 0x20_0000;
    // The name may hold anything. Behind it: state, parent, ..., flags the 7th, CPU times from the
    // 12th on: user, system, and both of children.
    let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| rest.get(index)?.parse::<u64>().ok();
    let is_kernel = number(6)? & KERNEL_THREAD != 0;
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    (!is_kernel).then_some((u32::try_from(number(1)?).ok()?, ticks))
}

/// Runs `spawn` with this thread on `cpu`, so that what it starts is there from its first
/// instruction; then the thread goes back.
///
/// # Errors
/// A core that this process may not use; what `spawn` says.
pub fn pinned<T>(cpus: &[usize], spawn: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None).context("the cores of this process")?;
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).with_context(|| format!("core {cpus:?} cannot be used here"))?;
    let done = spawn();
    sched_setaffinity(None, &before).context("back to the cores of before")?;
    done
}

/// The cores that this process may use, in order.
///
/// # Errors
/// Those of the system call.
pub fn usable() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("the cores of this process")?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

#[test]
fn steal_is_the_eighth_number() {
    let before = Steal::of("cpu  100 0 100 700 0 0 0 100 5 5\ncpu0 1 2 3\n");
    let after = Steal::of("cpu  200 0 200 1300 0 0 0 300 5 5\n");
    assert!((after.since(before) - 0.2).abs() < 1e-9);
    assert!((before.since(before)).abs() < 1e-9);
    assert_eq!(Steal::of("").all, 0);
}

#[test]
fn other_programs_are_told_from_ours_and_the_kernels() {
    let stat = "7 (a ) b) S 3 7 7 0 -1 4194560 1 2 3 4 100 20 7 3 20 0 1 0 5 6 7";
    assert_eq!(program(stat), Some((3, 130)));
    assert_eq!(program(&stat.replace("4194560", "69238880")), None, "a thread of the kernel");
    assert_eq!(program("7 (cut"), None);
    let (before, after) = ([(1, 10), (2, 5)].into(), [(1, 14), (3, 2)].into());
    assert!((Others(after).since(&Others(before)) - 6.0).abs() < 1e-9);
    let (all, parent) = (Others::now(&[]), std::os::unix::process::parent_id());
    assert!(all.0.contains_key(&parent) && !all.0.contains_key(&std::process::id()));
    assert!(!Others::now(&[parent]).0.contains_key(&parent), "a server");
}

#[test]
fn this_machine_tells_about_itself() {
    let machine = Machine::read(Some("a b/c-1"), Cores { server: 0, generator: 0 });
    assert_eq!(machine.name, "abc-1");
    assert!(machine.cores > 0 && machine.memory_gib > 0.0, "{machine:?}");
    assert_ne!(machine.kernel, "");
}

#[test]
fn a_child_starts_where_it_was_put() {
    let cpu = *usable().expect("cores").last().expect("one core");
    let spawned = pinned(&[cpu], || {
        let status = fs::read_to_string("/proc/thread-self/status")?;
        field(&status, "Cpus_allowed_list").context("a list of cores")
    });
    assert_eq!(spawned.expect("a core that may be used"), cpu.to_string());
    assert!(pinned(&[CpuSet::MAX_CPU - 1], || Ok(())).is_err(), "a core that is not there");
}

#[test]
fn the_softirq_thread_is_that_of_a_core_of_ones_own() {
    use crate::proc::softirq_thread;
    let cores = usable().expect("cores");
    let bound = |cpus: &[usize]| {
        let start = || Ok(std::process::Command::new("sleep").arg("60").spawn()?);
        pinned(cpus, start).expect("a process")
    };
    let [first, last] = [cores[0], cores[cores.len() - 1]];
    let mut children = [&[first][..], &[last], &cores].map(bound);
    let [server, client, free] = [children[0].id(), children[1].id(), children[2].id()];
    let found = softirq_thread(server, client);
    let others = [softirq_thread(server, server), softirq_thread(server, free)];
    let unbound = softirq_thread(free, client);
    for child in &mut children {
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
    }
    if first != last {
        let name = found.map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")));
        let name = name.expect("a thread of each core").expect("its name");
        assert_eq!(name.trim(), format!("ksoftirqd/{first}"));
        assert_eq!((others, unbound), ([None, None], None));
    }
}
