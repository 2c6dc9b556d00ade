//! Suggestions for misspelt names: which of the known names was probably meant, and the fields of a
//! type that is read by name.
//!
//! A leaf: must not know configuration, bodies or tokens.

use serde::de::{Deserialize, Deserializer, Visitor};

/// The nearest of `known` within a third of the name's length (at least one edit), if any.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (slips(name, candidate), candidate))
        .filter(|(slips, _)| *slips <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and substitutions between two names (Levenshtein distance).
fn slips(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for column in 0..to.len() {
            let change = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// The field names of a struct with a derived `Deserialize`, as written in the input.
#[must_use]
pub fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(Fields) {
        Err(Found(fields)) => fields,
        Ok(_) => &[],
    }
}

/// A deserializer that answers with the error that lists the struct's fields.
struct Fields;

#[derive(Debug)]
struct Found(&'static [&'static str]);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Found {}

impl serde::de::Error for Found {
    fn custom<T: std::fmt::Display>(_: T) -> Found {
        Found(&[])
    }
}

impl<'de> Deserializer<'de> for Fields {
    type Error = Found;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Found> {
        Err(Found(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Found> {
        Err(Found(fields))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_meant() {
        let known = ["listen", "limits", "log", "workers", "worker_cpus"];
        let cases = [
            ("lisen", Some("listen")),
            ("worker", Some("workers")),
            ("workerss", Some("workers")),
            ("lag", Some("log")),
            ("worker_cpu", Some("worker_cpus")),
            ("redis", None),
            ("x", None),
        ];
        for (name, meant) in cases {
            assert_eq!(did_you_mean(name, known), meant, "{name}");
        }
        assert_eq!(slips("kitten", "sitting"), 3);
        assert_eq!(slips("", "abc"), 3);
    }

    #[test]
    fn fields_are_named_as_they_are_written() {
        #[derive(serde::Deserialize)]
        struct Body<'a> {
            #[serde(rename = "override")]
            _first: Option<u8>,
            #[serde(borrow, default)]
            _second: std::borrow::Cow<'a, str>,
        }
        assert_eq!(fields_of::<Body<'_>>(), ["override", "_second"]);
        assert_eq!(fields_of::<u8>(), [""; 0]);
    }
}
