//! The machine's resources: cores, descriptors, randomness, bells, and what the process has used.

use super::Error;
use super::cgroup::Groups;
use super::doctor::machine::Machine;
use super::given::Given;
use crate::config::{Config, Listen};
use crate::driver::socket::{self, Bell};
use crate::edge::ProcessUse;
use crate::hashing::Key;
use crate::logging;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What a server uses of the machine.
pub struct Host {
    pub given: Given,
    /// Workers to start.
    pub workers: usize,
    /// Descriptors that the process may open.
    pub descriptors: u64,
    /// Core of each worker; `None`: not pinned.
    pub worker_cpus: Vec<Option<usize>>,
    pub bridge_cpu: Option<usize>,
    /// Key of the hash that chooses homes, and of client ids: the same on every worker.
    pub home_key: Key,
    pub client_id_key: Key,
    /// Id and name of this node, for `info`.
    pub node: (String, String),
}

impl Host {
    pub fn new(config: &Config) -> Result<Host, Error> {
        let allowed: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        let given = given(allowed.len());
        let workers = given.workers(config);
        // More workers than cores are not pinned, because pinned workers would block each other.
        // Nor are they with a quota: every container of the host would pin its workers to the same
        // first cores.
        let cpus: &[usize] =
            if config.worker_cpus.is_empty() { &allowed } else { &config.worker_cpus };
        let pinned = workers <= cpus.len() && !(given.by_quota && config.worker_cpus.is_empty());
        let worker_cpus = (0..workers).map(|worker| pinned.then(|| cpus[worker])).collect();
        Ok(Host {
            given,
            workers,
            descriptors: raise_descriptors(),
            worker_cpus,
            bridge_cpu: config.bridge_cpu,
            home_key: key()?,
            client_id_key: key()?,
            node: node(&config.listen)?,
        })
    }
}

/// The available resources, for a process that may run on `allowed` cores.
pub fn given(allowed: usize) -> Given {
    let root = Path::new("/");
    let machine_bytes = Machine::new(root).memory_bytes;
    let machine_bytes = if machine_bytes > 0 { machine_bytes } else { u64::MAX };
    Given::new(allowed, machine_bytes, &Groups::new(root))
}

/// Raises the soft limit to the hard limit, and returns it.
pub fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err()
    {
        return current.unwrap_or(1_024);
    }
    maximum.unwrap_or(1 << 20)
}

/// Bytes that the process may lock, as io_uring does; `None`: no limit.
pub fn lockable_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    getrlimit(Resource::Memlock).current.filter(|_| !may_lock(&status))
}

/// Does the process have CAP_IPC_LOCK, by /proc/self/status?
pub fn may_lock(status: &str) -> bool {
    /// Number of that capability.
    const IPC_LOCK: u32 = 14;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.is_some_and(|set| set >> IPC_LOCK & 1 == 1)
}

/// 128 bits of the system's randomness.
pub fn key() -> Result<Key, Error> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|cause| Error::System { what: "/dev/urandom", cause })?;
    Ok(Key(bytes))
}

/// The node's id, which is random, and its name: the host's name with the port, or with the name of
/// the socket file.
pub fn node(listen: &Listen) -> Result<(String, String), Error> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let id = u128::from_le_bytes(key()?.0);
    let place = match listen {
        Listen::Unix(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        other => other.port().unwrap_or(0).to_string(),
    };
    Ok((format!("{id:032x}"), format!("{}_{place}", host.trim())))
}

/// Resources that this process uses, for the metrics.
pub fn process() -> ProcessUse {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let whole = |number: i64| u64::try_from(number).unwrap_or(0);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (started_ticks, pages) = started_and_pages(&stat).unwrap_or_default();
    let since_boot = clock_gettime(ClockId::Boottime).tv_sec;
    let age_s = whole(since_boot).saturating_sub(started_ticks / TICKS_PER_S);
    let unix_s = whole(clock_gettime(ClockId::Realtime).tv_sec);
    ProcessUse {
        cpu_ns: whole(time.tv_sec) * 1_000_000_000 + whole(time.tv_nsec),
        resident_bytes: pages * rustix::param::page_size() as u64,
        open_fds: open_descriptors(),
        max_fds: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        started_s: unix_s.saturating_sub(age_s),
        dropped_lines: logging::dropped_lines(),
    }
}

/// Unit in which the kernel reports process times, independent of its own tick.
const TICKS_PER_S: u64 = 100;

/// A process's start time, in ticks since the boot, and its resident pages, from its stat file.
fn started_and_pages(stat: &str) -> Option<(u64, u64)> {
    // The name may contain spaces and brackets and ends with the last bracket; fields are counted
    // from 1 before it.
    let (_, fields) = stat.rsplit_once(')')?;
    let field = |number: usize| fields.split_whitespace().nth(number - 3)?.parse().ok();
    Some((field(22)?, field(24)?))
}

/// Number of open descriptors. From Linux 6.2 on it is the size of their directory; before, they
/// are counted.
fn open_descriptors() -> u64 {
    const OPEN: &str = "/proc/self/fd";
    match std::fs::metadata(OPEN).map_or(0, |about| about.len()) {
        0 => std::fs::read_dir(OPEN).map_or(0, |open| open.count() as u64),
        open => open,
    }
}

/// Linux version from which a message between rings like ours is delivered directly. Before, it
/// went back through the sender and took longer than the bell.
const MESSAGES_SINCE: (u32, u32) = (6, 11);

/// Should workers be woken by messages between rings, and not by bells? Not where they share cores:
/// 56 workers on two cores made 0.87 of the connects per second with messages, because the woken
/// worker has no free core yet.
pub fn wakes_by_message(workers: usize, cores: usize) -> bool {
    if workers > cores {
        return false;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    version(&release).is_some_and(|version| version >= MESSAGES_SINCE)
}

/// 6.18 of "6.18.44-name".
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The bells of every core: eventfds of workers, and one end of a socket pair for the bridge.
pub struct Bells {
    workers: Vec<OwnedFd>,
    /// Descriptors that become the workers' rings, until each worker has taken its own; and their
    /// numbers.
    rings: Vec<Option<OwnedFd>>,
    ring_fds: Vec<Option<RawFd>>,
    ring_bridge: UnixStream,
    bridge: UnixStream,
}

impl Bells {
    /// For this many workers, with or without rings.
    pub fn new(workers: usize, have_rings: bool) -> Result<Bells, Error> {
        let system = |cause| Error::System { what: "doorbells", cause };
        let workers: Vec<OwnedFd> =
            (0..workers).map(|_| socket::bell()).collect::<Result<_, _>>().map_err(system)?;
        // Any descriptor will do: it only reserves the number.
        let held = |bell: &OwnedFd| have_rings.then(|| bell.try_clone()).transpose();
        let rings: Vec<Option<OwnedFd>> =
            workers.iter().map(held).collect::<Result<_, _>>().map_err(system)?;
        let ring_fds = rings.iter().map(|ring| Some(ring.as_ref()?.as_raw_fd())).collect();
        let (ring_bridge, bridge) = UnixStream::pair().map_err(system)?;
        ring_bridge.set_nonblocking(true).map_err(system)?;
        bridge.set_nonblocking(true).map_err(system)?;
        Ok(Bells { workers, rings, ring_fds, ring_bridge, bridge })
    }

    /// A worker's own bell.
    pub fn own(&self, worker: usize) -> Result<OwnedFd, Error> {
        self.workers[worker].try_clone().map_err(|cause| Error::System { what: "doorbells", cause })
    }

    /// Returns the descriptor that becomes a worker's ring; each can be taken once.
    pub fn take_ring(&mut self, worker: usize) -> Option<OwnedFd> {
        self.rings[worker].take()
    }

    /// Every core's bell as others ring it, the bridge's last.
    pub fn remote(&self) -> Result<Vec<Option<Bell>>, Error> {
        let system = |cause| Error::System { what: "doorbells", cause };
        let mut bells = Vec::with_capacity(self.workers.len() + 1);
        for (worker, ring) in self.workers.iter().zip(&self.ring_fds) {
            bells.push(Some(Bell::new(worker).map_err(system)?.of_ring(*ring)));
        }
        bells.push(Some(Bell::new(&self.ring_bridge).map_err(system)?));
        Ok(bells)
    }

    /// The end that the bridge waits on.
    pub fn bridge_end(&self) -> Result<UnixStream, Error> {
        self.bridge.try_clone().map_err(|cause| Error::System { what: "doorbells", cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_by_their_numbers() {
        for (release, expected) in [
            ("6.18.44-fc-v657\n", Some((6, 18))),
            ("6.8.0-31-generic", Some((6, 8))),
            ("6.11-rc1", Some((6, 11))),
            ("", None),
            ("next", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn a_process_is_read_by_its_fields() {
        let stat = "1 (a b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 222 20 2424 22";
        assert_eq!(started_and_pages(stat), Some((222, 2424)));
        assert_eq!(started_and_pages("1 (x) S"), None);
        let used = process();
        let now_s = super::super::now().unix_ms / 1_000;
        assert!(used.started_s <= now_s && now_s - used.started_s < 86_400, "{used:?}");
        assert!(used.open_fds > 2 && used.max_fds >= used.open_fds, "{used:?}");
        assert!(used.resident_bytes > 1 << 20 && used.cpu_ns > 0, "{used:?}");
    }

    #[test]
    fn capabilities_are_read() {
        assert!(may_lock("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(may_lock("CapEff:\t0000000000004000\n"));
        assert!(!may_lock("CapEff:\t0000000000002000\n"));
        assert!(!may_lock("CapEff:\t\n") && !may_lock(""));
    }
}
