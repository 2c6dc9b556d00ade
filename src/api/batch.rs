//! A batch of calls, or a sequence of commands: finds the extent of each in the body, so that they
//! can be read one by one.
//!
//! Must not know what a command says. Invariant: either the whole body is valid JSON, or nothing is
//! done.

use super::ApiMethod;
use super::values::{Text, object, raw};
use crate::codec::command::ErrorCode;
use crate::limits::BATCH_COMMANDS;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt::{Formatter, Result as Formatted};

/// The body of one command of a batch, as a range of the batch's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub start: usize,
    pub end: usize,
}

/// The commands of a batch, in order. One that names no method, or an unknown one, is an error in
/// its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub commands: Vec<Result<(ApiMethod, Extent), ErrorCode>>,
    /// A command need not wait for the answer to the previous one.
    pub parallel: bool,
}

/// The body of a batch.
#[derive(Deserialize)]
pub struct Body<'a> {
    #[serde(borrow)]
    commands: Vec<&'a RawValue>,
    parallel: Option<bool>,
}

impl Batch {
    /// Finds the commands of a batch.
    ///
    /// # Errors
    /// 107 if it is not a batch; 106 if it has more than `BATCH_COMMANDS`.
    pub fn read(body: &[u8]) -> Result<Batch, ErrorCode> {
        let text = simdutf8::basic::from_utf8(body).map_err(|_| ErrorCode::BadRequest)?;
        let read: Body<'_> = object(text)?;
        if read.commands.len() > BATCH_COMMANDS {
            return Err(ErrorCode::LimitExceeded);
        }
        let commands = read.commands.iter().map(|command| {
            let (method, inner) = command_of(command)?;
            let start = inner.as_ptr() as usize - text.as_ptr() as usize;
            Ok((method, Extent { start, end: start + inner.len() }))
        });
        Ok(Batch { commands: commands.collect(), parallel: read.parallel.unwrap_or(false) })
    }
}

/// One command of a sequence.
#[derive(Deserialize)]
pub struct Line<'a> {
    #[serde(borrow, default)]
    method: Text<'a>,
    #[serde(borrow, default, deserialize_with = "raw")]
    params: Option<&'a RawValue>,
}

/// The body of a command without parameters.
pub const NO_PARAMS: &[u8] = b"{}";

impl Batch {
    /// Finds the commands of a sequence, separated by white space or nothing. The extent of missing
    /// parameters is empty.
    ///
    /// # Errors
    /// 107 if there is no command, or something else; 106 if there are more than `BATCH_COMMANDS`.
    pub fn read_commands(body: &[u8]) -> Result<Batch, ErrorCode> {
        let text = simdutf8::basic::from_utf8(body).map_err(|_| ErrorCode::BadRequest)?;
        let mut commands = Vec::new();
        let values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        for value in values {
            let value = value.map_err(|_| ErrorCode::BadRequest)?;
            if commands.len() == BATCH_COMMANDS {
                return Err(ErrorCode::LimitExceeded);
            }
            commands.push(line(value.get()).map(|(method, params)| {
                let start = params.map_or(0, |it| it.as_ptr() as usize - text.as_ptr() as usize);
                (method, Extent { start, end: start + params.map_or(0, str::len) })
            }));
        }
        if commands.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        Ok(Batch { commands, parallel: false })
    }
}

/// The method of one command, and its parameters.
fn line(text: &str) -> Result<(ApiMethod, Option<&str>), ErrorCode> {
    let Line { method, params } = object(text)?;
    let method = ApiMethod::named(&method.0).filter(|it| *it != ApiMethod::Batch);
    let method = method.ok_or(ErrorCode::MethodNotFound)?;
    Ok((method, params.map(RawValue::get).filter(|params| *params != "null")))
}

/// The one method that a command names, and its body.
fn command_of(command: &RawValue) -> Result<(ApiMethod, &str), ErrorCode> {
    struct Command<'a>(Option<(ApiMethod, &'a str)>);

    impl<'de> Deserialize<'de> for Command<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Reader)
        }
    }

    struct Reader;
    impl<'de> Visitor<'de> for Reader {
        type Value = Command<'de>;

        fn expecting(&self, f: &mut Formatter<'_>) -> Formatted {
            f.write_str("a command")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<Text<'de>>()? {
                // A batch cannot contain a batch.
                let method = ApiMethod::named(&name.0).filter(|it| *it != ApiMethod::Batch);
                let Some(method) = method else {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                };
                let body: &'de RawValue = map.next_value()?;
                if body.get() != "null" && found.replace((method, body.get())).is_some() {
                    return Err(A::Error::custom("two methods"));
                }
            }
            Ok(Command(found))
        }
    }

    let command: Command<'_> =
        serde_json::from_str(command.get()).map_err(|_| ErrorCode::BadRequest)?;
    command.0.ok_or(ErrorCode::MethodNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_found_or_is_wrong_in_its_place() {
        let body = br#" {"parallel" : true, "commands": [
            {"publish": {"channel":"a","data":1}}, {"info":{}}, {}, {"map_publish":{}},
            {"publish":{},"info":{}}, {"batch":{"commands":[]}}, 7, {"\u0069nfo": [ ] },
            {"publish":null,"rpc":{"method":"x"}} ]} "#;
        let batch = Batch::read(body).expect("a batch");
        assert!(batch.parallel);
        let text = |at: Extent| std::str::from_utf8(&body[at.start..at.end]).expect("text");
        let found: Vec<_> =
            batch.commands.iter().map(|it| it.map(|(method, at)| (method, text(at)))).collect();
        assert_eq!(
            found,
            [
                Ok((ApiMethod::Publish, r#"{"channel":"a","data":1}"#)),
                Ok((ApiMethod::Info, "{}")),
                Err(ErrorCode::MethodNotFound),
                Ok((ApiMethod::Map, "{}")),
                Err(ErrorCode::BadRequest),
                Err(ErrorCode::MethodNotFound),
                Err(ErrorCode::BadRequest),
                Ok((ApiMethod::Info, "[ ]")),
                Ok((ApiMethod::Rpc, r#"{"method":"x"}"#)),
            ]
        );
    }

    #[test]
    fn commands_stand_one_behind_the_other() {
        let body = br#"{"method":"publish","params":{"channel":"a","data":1}}
            {"params" : null, "method":"info"}{"method":"info"} {"method":"batch","params":{}}
            {"method":"levitate","params":{}} [] {"method":7} {"method":"\u0069nfo","params":7}
            {"publish":{}}
        "#;
        let commands = Batch::read_commands(body).expect("commands").commands;
        let text = |at: Extent| std::str::from_utf8(&body[at.start..at.end]).expect("text");
        let found: Vec<_> =
            commands.iter().map(|it| it.map(|(method, at)| (method, text(at)))).collect();
        assert_eq!(
            found,
            [
                Ok((ApiMethod::Publish, r#"{"channel":"a","data":1}"#)),
                Ok((ApiMethod::Info, "")),
                Ok((ApiMethod::Info, "")),
                Err(ErrorCode::MethodNotFound),
                Err(ErrorCode::MethodNotFound),
                Err(ErrorCode::BadRequest),
                Err(ErrorCode::BadRequest),
                Ok((ApiMethod::Info, "7")),
                Err(ErrorCode::MethodNotFound),
            ]
        );
        for body in ["", " \n", "{", "{},{}", "{}x", r#"{"method":"info"} {"method":"info""#] {
            let read = Batch::read_commands(body.as_bytes());
            assert_eq!(read, Err(ErrorCode::BadRequest), "{body}");
        }
        let over = "{}".repeat(BATCH_COMMANDS + 1);
        assert_eq!(Batch::read_commands(over.as_bytes()), Err(ErrorCode::LimitExceeded));
    }

    #[test]
    fn what_is_no_batch() {
        for body in
            ["", "[]", "{}", r#"{"commands":{}}"#, r#"{"commands":[1,]}"#, "{\"commands\":["]
        {
            assert_eq!(Batch::read(body.as_bytes()), Err(ErrorCode::BadRequest), "{body}");
        }
        let many = |count: usize| format!(r#"{{"commands":[{}]}}"#, vec!["{}"; count].join(","));
        assert_eq!(Batch::read(many(0).as_bytes()).expect("none is fine").commands, []);
        let most = Batch::read(many(BATCH_COMMANDS).as_bytes()).expect("as many as may be");
        assert_eq!(most.commands.len(), BATCH_COMMANDS);
        let over = many(BATCH_COMMANDS + 1);
        assert_eq!(Batch::read(over.as_bytes()), Err(ErrorCode::LimitExceeded));
        let deep = format!(r#"{{"commands":[{}{}]}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(
            Batch::read(deep.as_bytes()).map(|it| it.commands),
            Ok(vec![Err(ErrorCode::BadRequest)])
        );
    }
}
