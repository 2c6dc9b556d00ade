//! What the kernel reports about a process and the machine, and how many sockets this process may
//! have.
//!
//! Must not know the runs. CPU time is the sum of the threads' `schedstat`, because user and system
//! time by clock tick is useless for short turns.

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

/// CPU time of all threads of a process so far.
pub fn cpu(pid: u32) -> Result<Duration> {
    Ok(schedule(pid)?.0)
}

/// CPU time so far of a process's threads, by their names.
pub fn cpu_by_name(pid: u32) -> Result<BTreeMap<String, Duration>> {
    let mut names = BTreeMap::new();
    for (thread, (ran, _)) in schedules(pid)? {
        // One that has ended since has no name any more.
        let name = fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm"));
        let name = name.unwrap_or_default().trim().to_owned();
        *names.entry(name).or_insert(Duration::ZERO) += ran;
    }
    Ok(names)
}

/// Time that threads of a process had work and no core, so far.
pub fn run_delay(pid: u32) -> Result<Duration> {
    Ok(schedule(pid)?.1)
}

/// The same of each thread, by its id.
pub fn run_delays(pid: u32) -> Result<BTreeMap<u32, Duration>> {
    Ok(schedules(pid)?.into_iter().map(|(thread, (_, waited))| (thread, waited)).collect())
}

/// The sums of the threads' `schedstat`: time on a core, and time waiting for one.
fn schedule(pid: u32) -> Result<(Duration, Duration)> {
    let sum = |(ran, waited), (_, it): (u32, (Duration, Duration))| (ran + it.0, waited + it.1);
    Ok(schedules(pid)?.into_iter().fold((Duration::ZERO, Duration::ZERO), sum))
}

/// The threads' `schedstat`: time on a core, and time waiting for one.
fn schedules(pid: u32) -> Result<Vec<(u32, (Duration, Duration))>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("process {pid} is not running"))?;
    let mut threads = Vec::new();
    for task in tasks {
        let task = task?;
        let text = match fs::read_to_string(task.path().join("schedstat")) {
            Ok(text) => text,
            // The thread ended since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let thread = task.file_name().to_string_lossy().parse()?;
        let mut fields = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || fields.next().context("a short schedstat");
        let (ran_ns, waited_ns) = (next()??, next()??);
        threads.push((thread, (Duration::from_nanos(ran_ns), Duration::from_nanos(waited_ns))));
    }
    Ok(threads)
}

/// The kernel's softirq thread of the core that a server is bound to, where that is one core and
/// not its client's: what packets cause there is its work instead of the server's when there is
/// much.
#[must_use]
pub fn softirq_thread(server: u32, client: u32) -> Option<u32> {
    let bound = |pid: u32| -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        list.trim().parse().ok()
    };
    let cpu = bound(server)?;
    if bound(client).is_none_or(|other| other == cpu) {
        return None;
    }
    let name = format!("ksoftirqd/{cpu}\n");
    let is_it = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm == name)
    };
    let entry = fs::read_dir("/proc").ok()?.flatten().find(is_it)?;
    entry.file_name().to_str()?.parse().ok()
}

/// Resident bytes of a process.
pub fn rss(pid: u32) -> Result<u64> {
    Ok(kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")? << 10)
}

/// Bytes that the kernel keeps for itself: what sockets are made of.
pub fn kernel_bytes() -> Result<u64> {
    let parts = ["Slab:", "KernelStack:", "PageTables:", "Percpu:"];
    parts.iter().map(|part| Ok(kilobytes("/proc/meminfo", part)? << 10)).sum()
}

fn kilobytes(path: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("no {field} in {path}"))
}

/// Has a process ended? One that was not waited for yet counts as ended.
#[must_use]
pub fn ended(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(text) => text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")),
    }
}

/// Raises the limit of descriptors as far as it goes; how many sockets that leaves.
pub fn sockets() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX).saturating_sub(100)
}
