//! CPU and memory limits of the process's control groups, of versions 1 and 2, including every
//! group above it.
//!
//! Must not know what follows from them. Invariant: reads only; a missing file means no limit.

use std::fs;
use std::path::{Path, PathBuf};

/// Version 1 expresses "no limit" by a number of pages that no machine has; anything above this
/// counts as that.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// The CPU time that all threads together may use in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub run_us: u64,
    pub period_us: u64,
}

impl Quota {
    /// Cores that it is worth, rounded up: rounded down, part of the quota would stay unused.
    #[must_use]
    pub fn cores(self) -> usize {
        usize::try_from(self.run_us.div_ceil(self.period_us.max(1))).unwrap_or(usize::MAX).max(1)
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// The smallest quota.
    pub cpu: Option<Quota>,
    pub memory_bytes: Option<u64>,
    /// Bytes used by the group with that limit.
    pub memory_used_bytes: Option<u64>,
}

impl Groups {
    /// The limits of this process, on a machine whose files are below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Groups {
        let mut groups = Groups::default();
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let (own, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
        for mount in mounts.lines().filter_map(Mount::read) {
            for controller in mount.controllers() {
                let Some(path) = own.lines().find_map(|line| path_of(line, controller)) else {
                    continue;
                };
                for folder in mount.folders(path) {
                    let folder = root.join(folder.strip_prefix("/").unwrap_or(&folder));
                    groups.look(&folder, controller);
                }
            }
        }
        groups
    }

    fn look(&mut self, folder: &Path, controller: &str) {
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let cpu = match controller {
            "" => read("cpu.max").and_then(|text| {
                let (run, period) = text.trim().split_once(' ')?;
                Some((run.parse().ok()?, period.parse().ok()?))
            }),
            // -1, which `number` does not read, means no limit.
            "cpu" => number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us")),
            _ => None,
        };
        if let Some((run_us, period_us)) = cpu {
            let quota = Quota { run_us, period_us };
            let share = |quota: Quota| quota.run_us as f64 / quota.period_us.max(1) as f64;
            if self.cpu.is_none_or(|least| share(quota) < share(least)) {
                self.cpu = Some(quota);
            }
        }
        let (limit, used) = match controller {
            "" => (number("memory.max"), "memory.current"),
            "memory" => (number("memory.limit_in_bytes"), "memory.usage_in_bytes"),
            _ => (None, ""),
        };
        if let Some(limit) = limit.filter(|limit| *limit < UNLIMITED_BYTES)
            && self.memory_bytes.is_none_or(|least| limit < least)
        {
            self.memory_bytes = Some(limit);
            self.memory_used_bytes = number(used);
        }
    }
}

/// The path of a line of /proc/self/cgroup, if it is this controller's; "" is version 2's.
fn path_of<'a>(line: &'a str, controller: &str) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_its = match controller {
        "" => number == "0" && controllers.is_empty(),
        _ => controllers.split(',').any(|name| name == controller),
    };
    is_its.then_some(path)
}

/// A mounted hierarchy.
struct Mount<'a> {
    /// The group at the mount point, which inside a container is not the root.
    top: &'a str,
    at: &'a str,
    /// `None`: version 2.
    options: Option<&'a str>,
}

impl<'a> Mount<'a> {
    /// A line of /proc/self/mountinfo.
    fn read(line: &'a str) -> Option<Mount<'a>> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (top, at) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let options = match kind.next()? {
            "cgroup2" => None,
            "cgroup" => Some(kind.nth(1)?),
            _ => return None,
        };
        Some(Mount { top, at, options })
    }

    fn controllers(&self) -> Vec<&'static str> {
        match self.options {
            None => vec![""],
            Some(options) => ["cpu", "memory"]
                .into_iter()
                .filter(|name| options.split(',').any(|option| option == *name))
                .collect(),
        }
    }

    /// The directories of a group and its parents, as far as they are mounted.
    fn folders(&self, group: &str) -> Vec<PathBuf> {
        let below = match self.top {
            "/" => Some(group),
            top => group.strip_prefix(top),
        };
        // A group that is not below the mount point has a path relative to elsewhere; the mount
        // point is then the nearest known group.
        let below = below.filter(|below| !below.contains("..")).unwrap_or("");
        let own = Path::new(self.at).join(below.trim_start_matches('/'));
        let all = own.ancestors().take_while(|folder| folder.starts_with(self.at));
        all.map(Path::to_path_buf).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine below a directory of its own: files by path.
    fn groups(name: &str, files: &[(&str, &str)]) -> Groups {
        let root =
            std::env::temp_dir().join(format!("corecast-cgroup-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
            fs::write(path, text).expect("a temporary file");
        }
        let groups = Groups::new(&root);
        fs::remove_dir_all(&root).expect("it is ours");
        groups
    }

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_2_counts_the_least_of_all_groups_above() {
        let found = groups(
            "v2",
            &[
                ("proc/self/cgroup", "0::/system.slice/corecast.service\n"),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/system.slice/corecast.service/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/system.slice/corecast.service/memory.max", "1073741824\n"),
                ("sys/fs/cgroup/system.slice/corecast.service/memory.current", "4096\n"),
                ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
                ("sys/fs/cgroup/cpu.max", "400000 100000\n"),
            ],
        );
        let quota = Quota { run_us: 150_000, period_us: 100_000 };
        assert_eq!((found.cpu, quota.cores()), (Some(quota), 2));
        assert_eq!((found.memory_bytes, found.memory_used_bytes), (Some(1 << 30), Some(4_096)));
    }

    #[test]
    fn version_2_in_a_container_is_at_the_mount_point() {
        for own in ["0::/\n", "0::/../other\n"] {
            let found = groups(
                "v2-container",
                &[
                    ("proc/self/cgroup", own),
                    ("proc/self/mountinfo", V2),
                    ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
                    ("sys/fs/cgroup/memory.max", "536870912\n"),
                ],
            );
            assert_eq!(found.cpu.map(Quota::cores), Some(1));
            assert_eq!(found.memory_bytes, Some(512 << 20));
        }
    }

    #[test]
    fn version_1_has_a_hierarchy_for_each_controller() {
        let found = groups(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/docker/a1\n2:cpu,cpuacct:/docker/a1\n0::/\n"),
                (
                    "proc/self/mountinfo",
                    "30 29 0:27 /docker/a1 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
                 31 29 0:28 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                 32 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                ),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/memory/docker/a1/memory.limit_in_bytes", "268435456\n"),
                ("sys/fs/cgroup/memory/docker/a1/memory.usage_in_bytes", "65536\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(found.cpu.map(Quota::cores), Some(3));
        assert_eq!((found.memory_bytes, found.memory_used_bytes), (Some(256 << 20), Some(65_536)));
    }

    #[test]
    fn without_limits_nothing_is_bounded() {
        let found = groups(
            "none",
            &[
                ("proc/self/cgroup", "2:cpu:/\n4:memory:/\n0::/\n"),
                (
                    "proc/self/mountinfo",
                    "30 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                 31 29 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                ),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(found, Groups::default());
        assert_eq!(groups("empty", &[("proc/self/cgroup", "")]), Groups::default());
    }
}
