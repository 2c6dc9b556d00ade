//! The machine as described by `/proc` and `/sys`: cores, memory, network queues, and which cores
//! should serve which. Gives the same answers as the tuner, below any root directory.
//!
//! Must not know the wanted values. Invariant: reads only; what is missing is `None`.

use std::fs;
use std::path::{Path, PathBuf};

/// Up to this many cores, all of them serve both connections and interrupts.
const SHARED_CORES: usize = 4;
/// With more, one core in this many is kept for interrupts and the bridge.
const CORES_PER_NETWORK_CORE: usize = 16;

/// See the module's documentation.
pub struct Machine {
    root: PathBuf,
    pub cpus: Vec<usize>,
    pub memory_bytes: u64,
    /// Cores for interrupts and the bridge; `None` where the layout is not clear.
    pub network_cpus: Option<Vec<usize>>,
}

impl Machine {
    /// The machine below `root`.
    pub fn new(root: &Path) -> Machine {
        let root = root.to_path_buf();
        let mut machine = Machine { root, cpus: Vec::new(), memory_bytes: 0, network_cpus: None };
        let online = machine.read("/sys/devices/system/cpu/online");
        machine.cpus = online.and_then(|text| expand(&text)).unwrap_or_else(|| vec![0]);
        machine.memory_bytes = machine.meminfo("MemTotal:").unwrap_or(0);
        machine.network_cpus = machine.choose_network_cpus();
        machine
    }

    /// A file's text without the white space around it.
    pub fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.below(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Bytes in a line of /proc/meminfo.
    pub fn meminfo(&self, field: &str) -> Option<u64> {
        let text = self.read("/proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    }

    fn below(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.below(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| natural(name));
        names
    }

    /// The paths that match a pattern, in which `*` matches any part between slashes.
    pub fn paths(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.trim_start_matches('/').split('/') {
            let deeper = |folder: &String| match part.split_once('*') {
                None => vec![format!("{folder}/{part}")],
                Some((start, end)) => {
                    let long = |name: &String| name.len() >= start.len() + end.len();
                    let names = self.names(folder).into_iter().filter(long);
                    let fit = names.filter(|name| name.starts_with(start) && name.ends_with(end));
                    fit.map(|name| format!("{folder}/{name}")).collect()
                }
            };
            found = found.iter().flat_map(deeper).collect();
        }
        found.retain(|path| self.below(path).exists());
        found
    }

    /// Is a network device backed by hardware?
    pub fn is_hardware(&self, device: &str) -> bool {
        self.below(&format!("/sys/class/net/{device}/device")).exists()
    }

    fn choose_network_cpus(&self) -> Option<Vec<usize>> {
        if self.cpus.len() <= SHARED_CORES {
            return Some(self.cpus.clone());
        }
        let lists = self.paths("/sys/devices/system/node/node*/cpulist");
        let mut nodes: Vec<Vec<usize>> = lists
            .iter()
            .filter_map(|path| expand(&self.read(path)?))
            .map(|cpus| cpus.into_iter().filter(|cpu| self.cpus.contains(cpu)).collect())
            .filter(|cpus: &Vec<usize>| !cpus.is_empty())
            .collect();
        if nodes.is_empty() {
            nodes.push(self.cpus.clone());
        }
        let size = nodes[0].len();
        if nodes.iter().any(|cpus| cpus.len() != size) {
            return None;
        }
        let kept = size.div_ceil(CORES_PER_NETWORK_CORE);
        let mut network: Vec<usize> =
            nodes.iter().flat_map(|cpus| cpus[size - kept..].iter().copied()).collect();
        network.sort_unstable();
        Some(network)
    }

    fn queues(&self, device: &str, kind: &str) -> Vec<usize> {
        let names = self.names(&format!("/sys/class/net/{device}/queues"));
        names.iter().filter_map(|name| name.strip_prefix(kind)?.parse().ok()).collect()
    }

    /// Cores that the work of a device's receive queues is spread over; `None` where the queues
    /// suffice.
    pub fn rps(&self, device: &str) -> Option<Vec<usize>> {
        let network = self.network_cpus.as_ref()?;
        let enough = self.queues(device, "rx-").len() >= network.len();
        Some(if enough { Vec::new() } else { network.clone() })
    }

    /// Cores that use a transmit queue.
    pub fn xps(&self, device: &str, queue: usize) -> Option<Vec<usize>> {
        let queues = self.queues(device, "tx-");
        let place = queues.iter().position(|other| *other == queue)?;
        let mine = self.cpus.iter().enumerate().filter(|(at, _)| at % queues.len() == place);
        Some(mine.map(|(_, cpu)| *cpu).collect())
    }

    /// Interrupts of network queues, each with the core that should handle it.
    pub fn network_interrupts(&self) -> Vec<(usize, usize)> {
        let Some(cores) = &self.network_cpus else { return Vec::new() };
        let devices = self.paths("/sys/class/net/*/device");
        let mut all: Vec<usize> =
            devices.iter().flat_map(|device| self.interrupts_of(device)).collect();
        all.sort_unstable();
        all.dedup();
        all.iter().enumerate().map(|(place, irq)| (*irq, cores[place % cores.len()])).collect()
    }

    /// A device lists its interrupts; those of virtio are named after it.
    fn interrupts_of(&self, device: &str) -> Vec<usize> {
        let real = fs::canonicalize(self.below(device)).unwrap_or_default();
        let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let table = self.read("/proc/interrupts").unwrap_or_default();
        let queues = [format!("{name}-input"), format!("{name}-output")];
        let named: Vec<usize> = table
            .lines()
            .filter_map(|line| {
                let last = line.split_whitespace().next_back()?;
                let ours = queues.iter().any(|queue| last.starts_with(queue.as_str()));
                ours.then(|| line.split(':').next()?.trim().parse().ok())?
            })
            .collect();
        if !named.is_empty() || name.starts_with("virtio") {
            return named;
        }
        let mut folders = vec![real.join("msi_irqs")];
        folders.extend(real.parent().map(|parent| parent.join("msi_irqs")));
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

/// Sorts "rx-10" after "rx-9".
fn natural(name: &str) -> (String, u64) {
    let start = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (start.to_owned(), name[start.len()..].parse().unwrap_or(0))
}

/// "0,2-3" as numbers; `None` if it is not a list.
pub fn expand(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > usize::from(u16::MAX) {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Numbers as "0,2-3".
pub fn compress(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *number == *last + 1 => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let text = |(a, b): &(usize, usize)| if a == b { a.to_string() } else { format!("{a}-{b}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Cores of a mask as the kernel prints it: hexadecimal words.
pub fn cpus_of_mask(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for (place, word) in text.trim().split(',').rev().enumerate() {
        let bits = u32::from_str_radix(word, 16).ok()?;
        cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| place * 32 + bit));
    }
    Some(cpus)
}

/// Cores as a mask.
pub fn mask(cpus: &[usize]) -> String {
    let words = cpus.iter().max().map_or(1, |last| last / 32 + 1);
    let word = |place: usize| {
        let mine = cpus.iter().filter(|cpu| *cpu / 32 == place);
        mine.fold(0u32, |bits, cpu| bits | 1 << (cpu % 32))
    };
    let mut text = format!("{:x}", word(words - 1));
    for place in (0..words - 1).rev() {
        text.push_str(&format!(",{:08x}", word(place)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_masks() {
        assert_eq!(expand("0,2-3"), Some(vec![0, 2, 3]));
        assert_eq!(expand(""), Some(vec![]));
        for bad in ["x", "3-1", "0-99999999", "-"] {
            assert_eq!(expand(bad), None, "{bad}");
        }
        assert_eq!(compress(&[0, 2, 3, 4, 9]), "0,2-4,9");
        assert_eq!(mask(&[]), "0");
        assert_eq!(mask(&[37, 38, 39]), "e0,00000000");
        assert_eq!(cpus_of_mask("e0,00000001"), Some(vec![0, 37, 38, 39]));
        assert_eq!(cpus_of_mask("00"), Some(vec![]));
        assert_eq!(cpus_of_mask("xyz"), None);
    }

    #[test]
    fn names_sort_by_their_numbers() {
        let mut names = ["rx-10", "rx-9", "cpu0", "rx-1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["cpu0", "rx-1", "rx-9", "rx-10"]);
    }
}
