//! Does systemd give the server the time that its shutdown takes? After `TimeoutStopSec` of the
//! unit it kills every process that is left.
//!
//! Must not know the shutdown itself. Invariant: reads only; without a unit there is no finding.

use super::finding::{Bite, Finding};
use super::machine::Machine;
use crate::config::Config;

/// The administrator's unit and its drop-ins, in systemd's order.
const UNIT: &str = "/etc/systemd/system/corecast.service";
const CHANGES: &str = "/etc/systemd/system/corecast.service.d/*.conf";
/// systemd's default, if the unit does not set it.
const DEFAULT_S: u64 = 90;
/// Time that ending takes in addition: closing connections, files, and the process itself.
const SPARE_MS: u64 = 2_000;

/// The finding about the unit, if there is a unit.
pub fn look(machine: &Machine, config: &Config) -> Option<Finding> {
    let name = "time to stop in corecast.service";
    let mut given = within(&machine.read(UNIT)?).unwrap_or(Some(DEFAULT_S));
    for path in machine.paths(CHANGES) {
        given = machine.read(&path).as_deref().and_then(within).unwrap_or(given);
    }
    let parts_ms = [config.shutdown_delay_ms, config.drain_ms, config.shutdown_timeout_ms];
    let takes_ms: u64 = parts_ms.into_iter().map(u64::from).sum();
    let least = (takes_ms + SPARE_MS).div_ceil(1_000);
    Some(match given {
        None => Finding::ok(name, "without end"),
        Some(given) if given >= least => Finding::ok(name, format!("{given} s")),
        Some(given) => {
            let keys = "shutdown_delay_ms + drain_ms + shutdown_timeout_ms";
            let want = format!("TimeoutStopSec of {least}, above {keys}");
            let cost = "systemd kills it before its clients are sent 3001; acknowledged messages \
                        may be lost";
            Finding::short(name, format!("{given} s"), want, cost)
                .bites(Bite::Refuses)
                .has(given, least)
        }
    })
}

/// The last value in a unit: seconds, `Some(None)` for infinity, `None` if there is no value that
/// is understood here.
fn within(unit: &str) -> Option<Option<u64>> {
    let mut lines = unit.lines().filter_map(|line| line.trim().strip_prefix("TimeoutStopSec="));
    lines.next_back().and_then(|text| match text.trim() {
        "infinity" | "0" => Some(None),
        text => text.split_whitespace().map(seconds).sum::<Option<u64>>().map(Some),
    })
}

/// One part of a systemd time: `90`, `90s`, `2min`.
fn seconds(part: &str) -> Option<u64> {
    let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
    let number: u64 = part[..end].parse().ok()?;
    match &part[end..] {
        "" | "s" | "sec" => Some(number),
        "ms" => Some(number / 1_000),
        "m" | "min" => number.checked_mul(60),
        "h" | "hr" => number.checked_mul(3_600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;
    use std::path::PathBuf;

    fn machine(files: &[(&str, &str)]) -> (Machine, PathBuf) {
        let name = format!("corecast-stop-{}-{:p}", std::process::id(), files);
        let root = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = root.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        (Machine::new(&root), root)
    }

    fn config(delay_ms: u32) -> Config {
        let delay = ("CORECAST_SHUTDOWN_DELAY_MS".into(), delay_ms.to_string());
        let sources = Sources { dev: true, variables: vec![delay], ..Sources::default() };
        Config::load(sources).expect("it is good")
    }

    #[test]
    fn a_unit_that_is_too_impatient_is_named() {
        let shipped = include_str!("../../../tuning/corecast.service");
        let change = "/etc/systemd/system/corecast.service.d/own.conf";
        let table = [
            (vec![], 60_000, None),
            (vec![(UNIT, shipped)], 0, Some(State::Ok)),
            (vec![(UNIT, shipped)], 80_000, Some(State::Ok)),
            (vec![(UNIT, shipped)], 90_000, Some(State::Differs)),
            (vec![(UNIT, "[Service]")], 90_000, Some(State::Differs)),
            (vec![(UNIT, "TimeoutStopSec=20")], 15_000, Some(State::Differs)),
            (vec![(UNIT, "TimeoutStopSec=1min 30s")], 80_000, Some(State::Ok)),
            (vec![(UNIT, "TimeoutStopSec=infinity")], 600_000, Some(State::Ok)),
            (vec![(UNIT, shipped), (change, "TimeoutStopSec=5min")], 200_000, Some(State::Ok)),
            (vec![(UNIT, shipped), (change, "TimeoutStopSec=6")], 0, Some(State::Differs)),
        ];
        for (files, delay_ms, expected) in table {
            let (machine, root) = machine(&files);
            let found = look(&machine, &config(delay_ms));
            assert_eq!(found.map(|it| it.state), expected, "{files:?} {delay_ms}");
            let _ = std::fs::remove_dir_all(root);
        }
    }
}
