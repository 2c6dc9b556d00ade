//! Compares the machine with the tuning files, like `scripts/tune check` but read-only, and the
//! limits of this process.
//!
//! Must not know the configuration. Invariant: changes nothing.

use super::finding::{Bite, Finding};
use super::machine::{self, Machine};
use super::tuning::{self, FILES, Line, Rule, Values};

/// What the checks need besides the machine's own facts.
pub struct Wanted<'a> {
    pub values: Values,
    /// Ports of the listeners.
    pub ports: &'a [u16],
}

/// Descriptors and locked memory that this process may have; `None`: no limit.
pub struct Limits {
    pub descriptors: Option<u64>,
    pub locked_bytes: Option<u64>,
    /// It may lock memory without a limit (CAP_IPC_LOCK).
    pub may_lock: bool,
}

/// Files that keep the tuner's values over a reboot and pass them to the server, and the cost of a
/// missing one. Those of systemd are checked only where it is used.
const KEPT: [(&str, &str); 5] = [
    ("/etc/sysctl.d/90-corecast.conf", "values below /proc/sys are lost at the next boot"),
    ("/etc/security/limits.d/90-corecast.conf", "a server started from a login has fewer limits"),
    ("/etc/corecast/cpus", "workers and interrupts are not kept on separate cores"),
    (
        "/etc/systemd/system/corecast.service.d/90-tune.conf",
        "a server that systemd starts does not know its cores",
    ),
    ("/etc/systemd/system/corecast-tune.service", "values below /sys are lost at the next boot"),
];

/// All findings, in the order of the files.
pub fn look(machine: &Machine, wanted: &Wanted<'_>, limits: &Limits) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in FILES {
        let lines = tuning::read(file, text).expect("the files built in can be read");
        for line in lines {
            match file {
                "tuning/sysctl.tune" => {
                    let path = format!("/proc/sys/{}", line.name.replace('.', "/"));
                    found.push(value(machine, &line, line.name, &path, wanted));
                }
                "tuning/limits.tune" => found.push(limit(&line, wanted, limits)),
                _ => found.extend(devices(machine, &line, wanted)),
            }
        }
    }
    found.extend(KEPT.iter().filter_map(|(path, cost)| kept(machine, path, cost)));
    found
}

fn kept(machine: &Machine, path: &str, cost: &str) -> Option<Finding> {
    if path.starts_with("/etc/systemd/") && machine.paths("/etc/systemd/system").is_empty() {
        return None;
    }
    Some(match machine.read(path) {
        Some(_) => Finding::ok(path, "there"),
        None => Finding::short(path, "not there", "as scripts/tune apply writes it", cost)
            .bites(Bite::Forgets),
    })
}

/// The findings for a line whose name may be a pattern: one for each hardware device.
fn devices(machine: &Machine, line: &Line<'_>, wanted: &Wanted<'_>) -> Vec<Finding> {
    let mut paths = machine.paths(line.name);
    if line.rule == Rule::Cpus {
        let known = machine.network_interrupts();
        paths.retain(|path| known.iter().any(|(irq, _)| Some(*irq) == number_at(path, 3)));
    } else if line.name.starts_with("/sys/class/net/") {
        paths.retain(|path| path.split('/').nth(4).is_some_and(|name| machine.is_hardware(name)));
    }
    if paths.is_empty() {
        return vec![Finding::absent(line.name, "no such device, or its driver does not say")];
    }
    paths.iter().map(|path| value(machine, line, path, path, wanted)).collect()
}

/// The number in a part of a path, or at its end: "/proc/irq/38/..", ".../tx-1/...".
fn number_at(path: &str, part: usize) -> Option<usize> {
    path.split('/').nth(part)?.rsplit('-').next()?.parse().ok()
}

fn value(
    machine: &Machine,
    line: &Line<'_>,
    name: &str,
    path: &str,
    wanted: &Wanted<'_>,
) -> Finding {
    let Some(current) = machine.read(path) else {
        return Finding::absent(name, "no such file");
    };
    if line.rule == Rule::Mask && line.want == "rps" && machine.network_cpus.is_none() {
        let why = "uneven NUMA nodes: give scripts/tune the cores with --network-cpus";
        return Finding::absent(name, why);
    }
    let current = current.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = if current.is_empty() { "nothing".to_owned() } else { current.clone() };
    let (holds, want) = match judge(machine, line, path, &current, wanted) {
        Some(judged) => judged,
        None => (false, "contents of another form".to_owned()),
    };
    if holds {
        Finding { want, ..Finding::ok(name, said) }
    } else {
        let short = Finding::short(name, said, want, line.cost);
        // A value that grows with the connections refuses some of them when it is too small.
        let least = tuning::numbers(line.want, &wanted.values).unwrap_or_default();
        match (current.parse(), &least[..]) {
            (Ok(current), [least]) if line.want.contains("connections") => {
                short.bites(Bite::Refuses).has(current, *least)
            }
            _ => short,
        }
    }
}

/// Is a value right, and what should it be? `None` if it cannot be parsed.
fn judge(
    machine: &Machine,
    line: &Line<'_>,
    path: &str,
    current: &str,
    wanted: &Wanted<'_>,
) -> Option<(bool, String)> {
    let words = || current.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>().ok();
    let numbers = || tuning::numbers(line.want, &wanted.values).ok();
    let text = |numbers: &[u64], between: &str| {
        numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(between)
    };
    let each = |holds: fn(&u64, &u64) -> bool, before: &str| {
        let (found, least) = (words()?, numbers()?);
        let all = found.len() == least.len() && found.iter().zip(&least).all(|(a, b)| holds(a, b));
        Some((all, format!("{before}{}", text(&least, " "))))
    };
    match line.rule {
        Rule::Equal => each(|a, b| a == b, ""),
        Rule::AtLeast => each(|a, b| a >= b, "at least "),
        Rule::AtMost => each(|a, b| a <= b, "at most "),
        Rule::Is => Some((chosen(current) == line.want, line.want.to_owned())),
        Rule::In => {
            let among = line.want.split_whitespace().any(|word| word == chosen(current));
            Some((among, line.want.split_whitespace().collect::<Vec<_>>().join(" or ")))
        }
        Rule::Covers => {
            let (found, wide) = (words()?, numbers()?);
            let ([a, b], [first, last]) = (&found[..], &wide[..]) else { return None };
            Some((a <= first && b >= last, text(&wide, "-")))
        }
        Rule::Holds => {
            let held = machine::expand(current)?;
            let all = wanted.ports.iter().all(|port| held.contains(&usize::from(*port)));
            let ports: Vec<String> = wanted.ports.iter().map(u16::to_string).collect();
            Some((all, format!("with {}", ports.join(","))))
        }
        Rule::Mask => {
            let device = path.split('/').nth(4)?;
            let cpus = match line.want {
                "rps" => machine.rps(device)?,
                _ => machine.xps(device, number_at(path, 6)?)?,
            };
            Some((machine::cpus_of_mask(current)? == cpus, machine::mask(&cpus)))
        }
        Rule::Cpus => {
            let irq = number_at(path, 3)?;
            let (_, cpu) = machine.network_interrupts().into_iter().find(|(it, _)| *it == irq)?;
            Some((machine::expand(current)? == [cpu], machine::compress(&[cpu])))
        }
    }
}

/// The selected word of a value that lists all choices: "always [madvise] never".
fn chosen(current: &str) -> &str {
    current.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or(current, |it| it.0)
}

fn limit(line: &Line<'_>, wanted: &Wanted<'_>, limits: &Limits) -> Finding {
    let name = format!("limit {}", line.name);
    let least = tuning::numbers(line.want, &wanted.values).unwrap_or_default();
    let least = least.first().copied().unwrap_or(u64::MAX);
    let text = |number: Option<u64>| number.map_or("unlimited".to_owned(), |it| it.to_string());
    let mine = if line.name == "memlock" { limits.locked_bytes } else { limits.descriptors };
    if line.name == "memlock" && limits.may_lock {
        return Finding::ok(name, format!("{}, which does not hold CAP_IPC_LOCK", text(mine)));
    }
    if mine.unwrap_or(u64::MAX) >= least {
        return Finding::ok(name, text(mine));
    }
    let want = text(Some(least).filter(|least| *least != u64::MAX));
    Finding::short(name, text(mine), format!("at least {want}"), line.cost)
        .bites(Bite::Refuses)
        .has(mine.unwrap_or(u64::MAX), least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const VALUES: Values =
        Values { connections: 1_000, cores: 2, memory_bytes: 1 << 30, page_bytes: 4096 };

    fn judged(rule: &str, want: &str, current: &str) -> Option<bool> {
        let text = format!("name | {rule} | {want} | cost | why");
        let line = tuning::read("test", &text).expect("a good line")[0];
        let machine = Machine::new(Path::new("/nowhere"));
        let wanted = Wanted { values: VALUES, ports: &[8000, 9000] };
        judge(&machine, &line, "/proc/sys/name", current, &wanted).map(|(holds, _)| holds)
    }

    #[test]
    fn values_are_judged_by_their_rule() {
        for (rule, want, current, expected) in [
            ("=", "1", "1", Some(true)),
            ("=", "1", "2", Some(false)),
            (">=", "connections 2", "1000 2", Some(true)),
            (">=", "1 2", "1 1", Some(false)),
            (">=", "1 2", "1", Some(false)),
            ("<=", "10", "11", Some(false)),
            ("<=", "10", "ten", None),
            ("is", "madvise", "always [madvise] never", Some(true)),
            ("is", "madvise", "[always] madvise never", Some(false)),
            ("in", "cubic bbr", "bbr", Some(true)),
            ("in", "cubic bbr", "reno", Some(false)),
            ("covers", "10240 65535", "1024 65535", Some(true)),
            ("covers", "10240 65535", "32768 60999", Some(false)),
            ("covers", "10240 65535", "1024", None),
            ("holds", "ports", "80,7999-9000", Some(true)),
            ("holds", "ports", "8000", Some(false)),
            ("holds", "ports", "", Some(false)),
            ("holds", "ports", "?", None),
        ] {
            assert_eq!(judged(rule, want, current), expected, "{rule} {want}: {current}");
        }
    }

    #[test]
    fn a_host_that_was_never_tuned_lacks_its_files() {
        let machine = Machine::new(Path::new("/nowhere"));
        let found: Vec<Finding> =
            KEPT.iter().filter_map(|(path, cost)| kept(&machine, path, cost)).collect();
        assert_eq!(found.len(), 3, "no systemd there: {found:?}");
        assert!(found.iter().all(|finding| !finding.cost.is_empty()), "{found:?}");
    }

    #[test]
    fn limits_are_this_process_own() {
        let text = "memlock | >= | unlimited | cost | why\nnofile | >= | connections | cost | why";
        let lines = tuning::read("test", text).expect("good lines");
        let wanted = Wanted { values: VALUES, ports: &[] };
        let held = |locked_bytes, descriptors, may_lock| {
            let limits = Limits { locked_bytes, descriptors, may_lock };
            lines.iter().map(|line| limit(line, &wanted, &limits).cost.is_empty()).collect()
        };
        let good: Vec<bool> = held(None, Some(1_000), false);
        assert_eq!(good, [true, true]);
        let short: Vec<bool> = held(Some(8 << 20), Some(999), false);
        assert_eq!(short, [false, false]);
        let root: Vec<bool> = held(Some(8 << 20), None, true);
        assert_eq!(root, [true, true]);
    }
}
