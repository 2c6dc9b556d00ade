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
}

impl Finding {
    pub fn ok(name: impl Into<String>, current: impl Into<String>) -> Finding {
        Finding {
            name: name.into(),
            state: State::Ok,
            current: current.into(),
            want: String::new(),
            cost: String::new(),
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
