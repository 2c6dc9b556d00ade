//! One case before it is run: a scenario, its options, and who takes part.
//!
//! Must not know the sets. Invariant: everybody in a case has the same load; where one cannot, its
//! seat says so.

use super::contender::OURS;
use super::results::{Metric, Point};

/// One contender in a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    pub name: &'static str,
    /// Instead of the case's options of the same name.
    pub options: Vec<String>,
    /// What its row has to say.
    pub note: Option<String>,
}

/// One case before it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub id: String,
    pub title: String,
    pub scenario: &'static str,
    pub metric: Metric,
    pub options: Vec<String>,
    pub seats: Vec<Seat>,
    pub point: Option<Point>,
    /// Each round has a new server: memory and storms want an empty one.
    pub fresh: bool,
    /// The scenario has a warm-up and a window.
    pub windowed: bool,
    /// Each worker of the server has a core, and the generator all of them.
    pub spread: bool,
    /// At most so many rounds.
    pub rounds_max: u32,
    /// Not to be had on fewer cores. Beyond 2 the generator has the last for itself.
    pub cores: usize,
}

/// Options from words; a word of more is split at blanks.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A case in which all seats are alike.
#[must_use]
pub fn case(
    id: &str,
    title: &str,
    scenario: &'static str,
    options: &str,
    names: &[&'static str],
) -> Planned {
    let seat = |name: &&'static str| Seat { name, options: Vec::new(), note: None };
    Planned {
        id: id.into(),
        title: title.into(),
        scenario,
        metric: Metric::CpuPerDelivery,
        options: words(options),
        seats: names.iter().map(seat).collect(),
        point: None,
        fresh: false,
        windowed: true,
        spread: false,
        rounds_max: u32::MAX,
        cores: 1,
    }
}

/// The servers of every case in which messages are passed on.
pub const EVERYBODY: [&str; 7] =
    [OURS, "corecast-epoll", "floor-ring", "floor-epoll", "uwebsockets", "ws", "centrifuge"];
