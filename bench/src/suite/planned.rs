//! One case before it is run: a scenario, its options, and who takes part.
//!
//! Must not know the sets. Invariant: everybody in a case has the same load; where one cannot, its
//! seat says so.

use super::contender::{Contender, Kind, OURS};
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
    /// Each worker of the server has a core, and the generator all of them. Servers over Redis have
    /// all of them too.
    pub spread: bool,
    /// Nodes of a server over Redis: with two, publishers are at the second.
    pub nodes: usize,
    /// At most so many rounds.
    pub rounds_max: u32,
    /// Not to be had on fewer cores. Beyond 2 the generator has the last for itself.
    pub cores: usize,
}

impl Planned {
    /// What the generator is told of this seat's load.
    #[must_use]
    pub fn options_of(&self, contender: Contender, seat: &Seat) -> Vec<String> {
        match contender.kind {
            Kind::Script { batch } => words(&format!("--batch {batch}")),
            _ => merged(&self.options, &seat.options),
        }
    }
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
        nodes: 1,
        rounds_max: u32::MAX,
        cores: 1,
    }
}

/// The servers of every case in which messages are passed on.
pub const EVERYBODY: [&str; 7] =
    [OURS, "corecast-epoll", "floor-ring", "floor-epoll", "uwebsockets", "ws", "centrifuge"];

/// A case's options with a seat's own in their place.
fn merged(options: &[String], own: &[String]) -> Vec<String> {
    let mut merged = options.to_vec();
    let mut rest = own.iter().peekable();
    while let Some(flag) = rest.next() {
        let value = rest.next_if(|word| !word.starts_with("--"));
        if let Some(at) = merged.iter().position(|word| word == flag) {
            let has_value = merged.get(at + 1).is_some_and(|word| !word.starts_with("--"));
            merged.drain(at..=at + usize::from(has_value));
        }
        merged.push(flag.clone());
        merged.extend(value.cloned());
    }
    merged
}

#[test]
fn a_seat_has_its_own_options() {
    let options = words("--rate 100 --saturate --subscribers 10");
    let cases = [
        ("", "--rate 100 --saturate --subscribers 10"),
        ("--rate 7", "--saturate --subscribers 10 --rate 7"),
        ("--saturate --processes 3", "--rate 100 --subscribers 10 --saturate --processes 3"),
    ];
    for (own, expected) in cases {
        assert_eq!(merged(&options, &words(own)), words(expected), "{own}");
    }
}
