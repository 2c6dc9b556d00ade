//! The doctor's findings: one line each, as text or JSON.
//!
//! Must not know how they were made. Invariant: a shortfall says what it costs.

use serde::Serialize;
use std::fmt;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Differs,
    #[serde(rename = "not available")]
    Absent,
}

/// What a shortfall does to the server, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bite {
    /// The server does not start, or refuses or closes connections.
    Refuses,
    /// The server works, but less well than it could.
    Slows,
    /// The current value is fine, but will be lost at the next boot.
    Forgets,
}

/// The result of checking one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub name: String,
    pub state: State,
    pub current: String,
    pub want: String,
    /// What the shortfall costs, if it is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cost: String,
    pub bites: Bite,
    /// The current value as thousandths of the wanted one, where both are numbers: the lowest is
    /// the first to run out as connections grow.
    #[serde(skip)]
    pub share: u64,
}

impl Finding {
    pub fn ok(name: impl Into<String>, current: impl Into<String>) -> Finding {
        Finding {
            name: name.into(),
            state: State::Ok,
            current: current.into(),
            want: String::new(),
            cost: String::new(),
            bites: Bite::Slows,
            share: 1_000,
        }
    }

    pub fn short(
        name: impl Into<String>,
        current: impl Into<String>,
        want: impl Into<String>,
        cost: impl Into<String>,
    ) -> Finding {
        Finding {
            state: State::Differs,
            want: want.into(),
            cost: cost.into(),
            ..Finding::ok(name, current)
        }
    }

    /// Sets what the shortfall does.
    pub fn bites(self, bites: Bite) -> Finding {
        Finding { bites, ..self }
    }

    /// Sets the current value and the wanted one.
    pub fn has(self, current: u64, wanted: u64) -> Finding {
        let share = u128::from(current) * 1_000 / u128::from(wanted.max(1));
        Finding { share: share.min(1_000) as u64, ..self }
    }

    /// Sort key: shortfalls first, the worst of them first.
    pub fn rank(&self) -> impl Ord + use<> {
        (self.state != State::Differs, self.bites, self.share)
    }

    pub fn absent(name: impl Into<String>, reason: impl Into<String>) -> Finding {
        Finding { state: State::Absent, ..Finding::ok(name, reason) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { name, current, want, cost, .. } = self;
        match self.state {
            State::Ok => write!(f, "ok             {name}: {current}"),
            State::Absent => write!(f, "not available  {name}: {current}"),
            State::Differs => {
                write!(f, "differs        {name}: {current}, wanted {want}. Effect: {cost}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bites_first_comes_first() {
        let short = |name: &str| Finding::short(name, "a", "b", "c");
        let mut found = [
            Finding::ok("fine", "a"),
            short("forgotten").bites(Bite::Forgets),
            short("slow"),
            Finding::absent("absent", "a"),
            short("nearly enough").bites(Bite::Refuses).has(99, 100),
            short("a fifth").bites(Bite::Refuses).has(20_000, 100_000),
        ];
        found.sort_by_key(Finding::rank);
        let names = found.map(|finding| finding.name);
        assert_eq!(names, ["a fifth", "nearly enough", "slow", "forgotten", "fine", "absent"]);
    }
}
