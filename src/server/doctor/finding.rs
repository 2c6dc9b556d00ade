//! What the doctor found: one line each, for people or as JSON.
//!
//! Must not know how it was found. Invariant: a shortfall says what it costs.

use serde::Serialize;
use std::fmt;

/// How a thing stands.
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
    /// It does not start, turns clients away or ends them.
    Refuses,
    /// It serves everybody, but worse than it could.
    Slows,
    /// What is good now is gone after the next boot.
    Forgets,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub name: String,
    pub state: State,
    pub current: String,
    pub want: String,
    /// What the shortfall costs, where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cost: String,
    pub bites: Bite,
    /// How much there is of what is wanted, in thousandths, where that is a number: what has least
    /// ends first while connections grow.
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

    /// The same shortfall, with what it does.
    pub fn bites(self, bites: Bite) -> Finding {
        Finding { bites, ..self }
    }

    /// The same shortfall, of which there is so much.
    pub fn has(self, current: u64, wanted: u64) -> Finding {
        let share = u128::from(current) * 1_000 / u128::from(wanted.max(1));
        Finding { share: share.min(1_000) as u64, ..self }
    }

    /// Where it stands among others: shortfalls first, and of them what bites first.
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
                write!(f, "differs        {name}: {current}, wanted {want}. It costs: {cost}")
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
