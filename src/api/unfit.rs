//! Why the body of a call is refused: an error code, and a text for the holder of the API key that
//! names the field.
//!
//! Invariant: the text contains only names of fields, never a value of the body.

use crate::codec::command::ErrorCode;
use crate::codec::payload::Invalid;
use crate::meant::{did_you_mean, fields_of};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

/// A body that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub error: ErrorCode,
    pub why: Why,
}

/// What is wrong with it, as far as the reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Unsaid,
    /// A required field is missing or empty.
    Missing(&'static str),
    /// A list is over its bound.
    TooMany(&'static str),
    Said(&'static str),
}

impl Unfit {
    pub fn bad(why: &'static str) -> Unfit {
        Unfit { error: ErrorCode::BadRequest, why: Why::Said(why) }
    }

    pub fn missing(field: &'static str) -> Unfit {
        Unfit { error: ErrorCode::BadRequest, why: Why::Missing(field) }
    }

    pub fn too_many(field: &'static str) -> Unfit {
        Unfit { error: ErrorCode::LimitExceeded, why: Why::TooMany(field) }
    }

    pub fn not_available(why: &'static str) -> Unfit {
        Unfit { error: ErrorCode::NotAvailable, why: Why::Said(why) }
    }
}

impl From<ErrorCode> for Unfit {
    fn from(error: ErrorCode) -> Unfit {
        Unfit { error, why: Why::Unsaid }
    }
}

impl From<Invalid> for Unfit {
    fn from(_: Invalid) -> Unfit {
        Unfit::bad("a value is not what the channel's payload has to be")
    }
}

impl From<Unfit> for ErrorCode {
    fn from(unfit: Unfit) -> ErrorCode {
        unfit.error
    }
}

/// Says what is wrong with a body of the form `T`. `None`: there is nothing to add to the code.
pub fn explain<'a, T: Deserialize<'a>>(body: &'a [u8], unfit: Unfit) -> Option<String> {
    let text = std::str::from_utf8(body).ok();
    let known = fields_of::<T>();
    match unfit.why {
        Why::TooMany(field) => Some(format!("{field} has too many items")),
        Why::Said(why) => Some(why.into()),
        Why::Missing(field) => {
            let slip = text.and_then(|text| misspelt(text, known, Some(field)));
            Some(slip.unwrap_or_else(|| format!("{field} is missing or empty")))
        }
        Why::Unsaid => {
            let text = text?;
            let said = ill_formed::<T>(text);
            let other = said.as_ref().is_some_and(|said| !said.starts_with("missing field"));
            if other { said } else { misspelt(text, known, None).or(said) }
        }
    }
}

/// An unknown field whose name is close to that of a known one.
fn misspelt(text: &str, known: &'static [&'static str], wanted: Option<&str>) -> Option<String> {
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).ok()?;
    fields.keys().filter(|field| !known.contains(&field.as_str())).find_map(|field| {
        let meant = did_you_mean(field, known.iter().copied())?;
        let fits = wanted.is_none_or(|wanted| wanted == meant);
        fits.then(|| format!("unknown field {field}; did you mean {meant}?"))
    })
}

/// Why a text cannot be read as `T`.
fn ill_formed<'a, T: Deserialize<'a>>(text: &'a str) -> Option<String> {
    if !text.trim_start().starts_with('{') {
        return Some("the body is not a JSON object".into());
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => error,
        Ok(_) => return reader.end().err().map(|_| "something follows the JSON object".into()),
    };
    let inner = error.inner();
    if !inner.is_data() {
        return Some(format!("no JSON: line {}, column {}", inner.line(), inner.column()));
    }
    let place = match error.path().to_string() {
        path if path == "." => String::new(),
        path => format!("{path}: "),
    };
    let said = inner.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
    // The text before "expected" quotes the value.
    let said = match said.rsplit_once("expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None => said.into(),
    };
    Some(format!("{place}{said}"))
}
