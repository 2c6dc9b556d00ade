//! The sets: which scenario, with which options, for which servers.
//!
//! Must not know how a run is made. Invariant: all servers in a case have the same load; if one
//! cannot, its entry says so.

use super::planned::EVERYBODY;
use super::{full, over_redis, published};
use anyhow::{Result, bail};

#[cfg(test)]
use super::planned::words;
pub use super::planned::{Planned, Seat, case};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Fan-out alone, three rounds: a look, no verdict.
    Quick,
    /// Echo and fan-out.
    Standard,
    /// The matrix.
    Full,
}

/// Rounds and their lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub rounds: u32,
    pub warm_s: f64,
    pub window_s: f64,
}

impl Set {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Set::Quick => "quick",
            Set::Standard => "standard",
            Set::Full => "full",
        }
    }

    #[must_use]
    pub fn pace(self) -> Pace {
        match self {
            Set::Quick => Pace { rounds: 3, warm_s: 1.0, window_s: 2.0 },
            Set::Standard | Set::Full => Pace { rounds: 7, warm_s: 1.0, window_s: 4.0 },
        }
    }

    #[must_use]
    pub fn cases(self) -> Vec<Planned> {
        match self {
            Set::Quick => vec![quick()],
            Set::Standard => vec![fanout(), echo()],
            Set::Full => {
                [vec![fanout(), echo()], full::cases(), over_redis::cases(), published::cases()]
                    .concat()
            }
        }
    }
}

fn fanout() -> Planned {
    case(
        "fanout",
        "Fan-out: 1 publisher to 1,000 subscribers, 64 B, 100,000 deliveries/s",
        "fanout",
        "--publishers 1 --subscribers 1000 --payload-bytes 64 --rate 100",
        &EVERYBODY,
    )
}

/// One floor is enough for a look.
fn quick() -> Planned {
    let mut planned = fanout();
    planned.seats.retain(|seat| seat.name != "floor-epoll");
    planned
}

fn echo() -> Planned {
    let raw = ["corecast-io_uring-raw", "corecast-epoll-raw"];
    let names = [&EVERYBODY[..2], &raw, &EVERYBODY[2..]].concat();
    case(
        "echo",
        "Echo: 100 connections, 64 B, 20,000 messages/s (rpc where there is a protocol)",
        "echo",
        "--connections 100 --payload-bytes 64 --rate 20000",
        &names,
    )
}

/// Keeps what `--only` asks for: ids of cases or beginnings of them, and names of contenders.
///
/// # Errors
/// A word that is neither.
pub fn only(cases: Vec<Planned>, asked: &[String]) -> Result<Vec<Planned>> {
    let is_case = |word: &str| cases.iter().any(|case| belongs(&case.id, word));
    let is_name =
        |word: &str| cases.iter().any(|case| case.seats.iter().any(|seat| seat.name == word));
    if let Some(word) = asked.iter().find(|word| !is_case(word) && !is_name(word)) {
        let ids: Vec<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        bail!("this set has no case and no contender {word:?}; its cases: {}", ids.join(", "));
    }
    let (ids, names): (Vec<&String>, Vec<&String>) =
        asked.iter().partition(|word| is_case(word.as_str()));
    let mut kept = Vec::new();
    for mut case in cases.iter().cloned() {
        if !ids.is_empty() && !ids.iter().any(|word| belongs(&case.id, word)) {
            continue;
        }
        if !names.is_empty() {
            case.seats.retain(|seat| names.iter().any(|name| *name == seat.name));
        }
        if !case.seats.is_empty() {
            kept.push(case);
        }
    }
    if kept.is_empty() {
        bail!("nobody of --only takes part in any of these cases");
    }
    Ok(kept)
}

fn belongs(id: &str, word: &str) -> bool {
    id.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
fn ids(cases: &[Planned]) -> Vec<&str> {
    cases.iter().map(|case| case.id.as_str()).collect()
}

#[test]
fn every_seat_is_a_contender_and_every_case_has_its_own_id() {
    let cases = Set::Full.cases();
    for case in &cases {
        assert_eq!(ids(&cases).iter().filter(|id| **id == case.id).count(), 1, "{}", case.id);
        assert!(!case.seats.is_empty(), "{}", case.id);
        for seat in &case.seats {
            assert!(super::contender::Contender::named(seat.name).is_some(), "{}", seat.name);
        }
    }
    assert_eq!(ids(&Set::Quick.cases()), ["fanout"]);
    assert_eq!(ids(&Set::Standard.cases()), ["fanout", "echo"]);
}

#[test]
fn the_generator_knows_every_option() {
    use clap::Parser;
    for case in Set::Full.cases() {
        for seat in &case.seats {
            let url = words("--url ws://127.0.0.1:1/ --server-pid 1 --json");
            let contender = super::contender::Contender::named(seat.name).expect("a contender");
            let options = [url, case.options_of(contender, seat)].concat();
            let scenario = contender.scenario(case.scenario);
            let line = [words(&format!("corecast-bench {scenario}")), options].concat();
            let parsed = crate::Cli::try_parse_from(&line).map(|_| ());
            assert!(parsed.is_ok(), "{}: {}", case.id, parsed.expect_err("just seen"));
        }
    }
}

#[test]
fn only_keeps_cases_and_contenders() {
    let asked = |text: &str| only(Set::Standard.cases(), &words(text));
    let kept = asked("echo ws uwebsockets").expect("both are there");
    assert_eq!(ids(&kept), ["echo"]);
    let names: Vec<&str> = kept[0].seats.iter().map(|seat| seat.name).collect();
    assert_eq!(names, ["uwebsockets", "ws"]);
    assert_eq!(asked("ws").expect("in both").len(), 2);
    let error = asked("nginx").expect_err("nobody knows it").to_string();
    assert!(error.contains("\"nginx\"") && error.contains("fanout, echo"), "{error}");
    let raw = words("fanout corecast-epoll-raw");
    assert!(only(Set::Standard.cases(), &raw).is_err(), "it takes no part in fan-out");
}
