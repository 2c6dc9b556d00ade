//! The results file: every run as it was reported, and what is needed to read it.
//!
//! Must not know how runs are made or shown. Invariant: `complete` is true only in a file whose set
//! ran to its end with every run made, except those of a peer that could not carry the load; a file
//! appears as a whole or not at all.

use super::machine::{Cores, Machine};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub format: u32,
    /// Every case of the set was run, and is complete.
    pub complete: bool,
    /// `quick`, `standard`, `full`, or what a part of one was asked for.
    pub set: String,
    /// UTC, `2026-11-21T10:30:00Z`.
    pub started: String,
    pub ended: String,
    /// What `git describe` says of the tree that was measured.
    pub commit: String,
    pub machine: Machine,
    pub cores: Cores,
    /// The servers that could not take part, and why.
    pub missing: Vec<Missing>,
    pub cases: Vec<Case>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub name: String,
    pub why: String,
}

/// Which figure of a run is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Microseconds of the server's threads for each delivery: less is better.
    CpuPerDelivery,
    /// Deliveries a second: more is better.
    DeliveriesPerSecond,
    /// Bytes of resident memory for each connection more: less is better.
    BytesPerConnection,
    /// Median latency, microseconds: less is better.
    Latency,
    /// Microseconds of the server's threads a second for each idle connection: less is better.
    IdleCpu,
    /// Bytes of the server and of the kernel for each connection, both its ends included but the
    /// generator's own memory not: less is better.
    MachineBytes,
    /// Microseconds from one core to another: less is better.
    Hop,
}

/// The place of a case in a figure with an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// `fanout-size`, `fanout-rate`, `echo-connections`, ...
    pub figure: String,
    pub x: f64,
}

/// One scenario with its options, and all servers that ran it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    pub id: String,
    pub title: String,
    pub scenario: String,
    pub metric: Metric,
    pub options: Vec<String>,
    pub point: Option<Point>,
    /// Every run was made and verified, or a peer could not carry the load. None: the file is
    /// older, and says it of all of its cases.
    #[serde(default)]
    pub complete: Option<bool>,
    pub entries: Vec<Entry>,
}

/// One server in a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    pub label: String,
    pub dialect: String,
    /// What is different for this one, said in its row.
    pub note: Option<String>,
    pub runs: Vec<Run>,
    /// Why it has fewer runs than rounds.
    pub failure: Option<String>,
    /// What that says of it: `COULD_NOT`, where it started but failed under the load. None: the run
    /// says nothing of it.
    #[serde(default)]
    pub outcome: Option<String>,
}

/// A peer's outcome in a case.
pub const COULD_NOT: &str = "could not carry it";

/// A verified run, as the generator reported it, and what the machine did meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub round: u32,
    pub report: Report,
    /// Share of the time that the hypervisor gave to others.
    pub steal: f64,
    /// Share of the cores' time that other programs took. None: the file is older.
    #[serde(default)]
    pub others: Option<f64>,
}

/// Above this share the load of other programs affects the figures.
const DISTURBED: f64 = 0.02;

impl Run {
    /// Was much of the time stolen, or taken by other programs?
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.steal > DISTURBED || self.others.is_some_and(|share| share > DISTURBED)
    }
}

/// The generator's line.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub scenario: String,
    pub dialect: String,
    pub verified: bool,
    pub failure: Option<String>,
    #[serde(default)]
    pub offered_per_s: Option<f64>,
    pub messages: u64,
    pub deliveries: u64,
    /// Deliveries of what was to be sent within the window, whenever they came.
    #[serde(default)]
    pub deliveries_due: Option<u64>,
    pub window_s: f64,
    #[serde(default)]
    pub server_cpu_us_per_delivery: Option<f64>,
    #[serde(default)]
    pub generator_cpu_us_per_delivery: Option<f64>,
    #[serde(default)]
    pub latency_us: Option<Latency>,
    #[serde(default)]
    pub rss_bytes: Option<Rss>,
    #[serde(default)]
    pub params: serde_json::Value,
    /// What else the scenario measured, by name.
    #[serde(default)]
    pub more: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Percentile, and the latency that so many stayed within.
    #[serde(default)]
    pub curve: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rss {
    pub before: f64,
    pub after: f64,
    /// None where fewer than two states were seen.
    pub slope_per_connection: Option<f64>,
    /// Connections, and resident bytes with so many.
    #[serde(default)]
    pub states: Vec<(f64, f64)>,
}

impl Report {
    /// The figure that is compared; `None` if the run has none.
    #[must_use]
    pub fn figure(&self, metric: Metric) -> Option<f64> {
        let figure = match metric {
            Metric::CpuPerDelivery => self.server_cpu_us_per_delivery,
            Metric::DeliveriesPerSecond => Some(self.deliveries as f64 / self.window_s),
            Metric::BytesPerConnection => {
                self.rss_bytes.as_ref().and_then(|rss| rss.slope_per_connection)
            }
            Metric::Latency => self.latency_us.as_ref().map(|latency| latency.p50),
            Metric::IdleCpu => self.named("server_cpu_us_per_connection_s"),
            // The generator's own memory is the dialect's, and no cost of the server.
            Metric::MachineBytes => self
                .named("machine_bytes_per_connection")
                .zip(self.named("generator_bytes_per_connection"))
                .map(|(machine, generator)| machine - generator),
            Metric::Hop => self.named("hop_us"),
        };
        figure.filter(|figure| figure.is_finite() && *figure > 0.0)
    }

    fn named(&self, name: &str) -> Option<f64> {
        self.more.get(name).copied()
    }
}

impl Results {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not there, not ours, or of another format.
    pub fn read(path: &Path) -> Result<Results> {
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("{name}"))?;
        let results: Results =
            serde_json::from_str(&text).with_context(|| format!("{name} is no results file"))?;
        if results.format != FORMAT {
            bail!("{name} has format {}, not {FORMAT}", results.format);
        }
        Ok(results)
    }

    /// The same, but refuses what did not run to its end.
    ///
    /// # Errors
    /// Those of `read`, and a file that says `complete: false`.
    pub fn read_whole(path: &Path) -> Result<Results> {
        let results = Results::read(path)?;
        if !results.complete {
            bail!("{} says complete: false, so no table is made of it", path.display());
        }
        Ok(results)
    }

    /// The same, but keeps only those cases that are complete.
    ///
    /// # Errors
    /// Those of `read`, and a file without any.
    pub fn read_cases(path: &Path) -> Result<Results> {
        let mut results = Results::read(path)?;
        let whole = results.complete;
        results.cases.retain(|case| case.complete.unwrap_or(whole));
        if results.cases.is_empty() {
            bail!("{} has no complete case", path.display());
        }
        Ok(results)
    }

    /// Writes the results and their page into a directory; where they are.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, directory: &Path, page: &str) -> Result<(PathBuf, PathBuf)> {
        fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
        let date = self.started.split('T').next().unwrap_or_default();
        let whole = format!("{date}-{}-{}", self.machine.name, self.set);
        let part = format!("{whole}.incomplete");
        let base = if self.complete { whole } else { part.clone() };
        // A complete file is never written over.
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let free =
            |name: &String| !self.complete || !directory.join(format!("{name}.json")).exists();
        let name = std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or(base.clone());
        let json = directory.join(format!("{name}.json"));
        let html = directory.join(format!("{name}.html"));
        replace(&html, page)?;
        replace(&json, &(serde_json::to_string(self)? + "\n"))?;
        if self.complete {
            // What was written after each case is all in the whole file now.
            for ending in ["json", "html"] {
                let _ = fs::remove_file(directory.join(format!("{part}.{ending}")));
            }
        }
        Ok((json, html))
    }
}

/// Writes beside the file and renames: it is there whole or not at all.
fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text).with_context(|| format!("{}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("{}", path.display()))
}

/// Now, in UTC.
#[must_use]
pub fn timestamp() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    civil(since.as_secs())
}

/// Seconds since 1970 as a date, after Howard Hinnant's `civil_from_days`.
fn civil(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[test]
fn dates_are_those_of_the_calendar() {
    let cases = [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (1_795_257_000, "2026-11-21T10:30:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(civil(seconds), expected);
    }
}

#[test]
fn what_a_scenario_says_by_name_is_kept_and_old_files_have_none_of_it() {
    let old = r#"{"scenario":"idle","dialect":"raw","verified":true,"failure":null,
        "messages":0,"deliveries":10,"window_s":2.0}"#;
    let old: Report = serde_json::from_str(old).expect("an old report");
    assert_eq!((old.figure(Metric::IdleCpu), old.figure(Metric::MachineBytes)), (None, None));
    let names = [
        ("server_cpu_us_per_connection_s", 0.2),
        ("machine_bytes_per_connection", 10_000.0),
        ("generator_bytes_per_connection", 600.0),
        ("hop_us", 1.5),
    ];
    let more = names.map(|(name, value)| (name.to_owned(), value)).into();
    let new = Report { more, ..old };
    let text = serde_json::to_string(&new).expect("JSON");
    let new: Report = serde_json::from_str(&text).expect("the same");
    assert_eq!(new.figure(Metric::IdleCpu), Some(0.2));
    assert_eq!(new.figure(Metric::MachineBytes), Some(9_400.0));
    assert_eq!(new.figure(Metric::Hop), Some(1.5));
}
