//! What a node's user must be allowed in Redis: each command in a form that leaves nothing, on
//! keys that nothing else uses, because a user that may do no more than it must may not ask what it
//! may do.
//!
//! Must not know sockets. Invariant: nothing is different when all were made, whatever Redis
//! holds.

use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::encode::command;

/// The commands. A word with `~` is a key or channel with what follows it before its tag.
///
/// Redis looks at permissions before anything else. So that an allowed command does nothing as
/// well, some have arguments that it then refuses: a script with an open parenthesis, an odd number
/// of fields, a connection 0.
pub const ATTEMPTS: &[&str] = &[
    "PING",
    "TIME",
    "INFO replication",
    "CLIENT KILL ID 0",
    "SCRIPT LOAD (",
    "EVAL ( 0",
    "EVALSHA 0000000000000000000000000000000000000000 0",
    "XADD ~ NOMKSTREAM 1-1 b x",
    "XRANGE ~ - + COUNT 1",
    "XREVRANGE ~ + - COUNT 1",
    "XINFO STREAM ~",
    "XTRIM ~ MAXLEN 0",
    "XSETID ~ 1-1",
    "EXPIRE ~ 1",
    "TTL ~num",
    "GET ~num",
    "SET ~num x XX",
    "GET ~done",
    "GET ~gen",
    "SET ~echo x XX",
    "HGETALL ~nodes",
    "HSET ~nodes a b c",
    "HDEL ~nodes a",
    "PEXPIRE ~nodes 1",
    "HSET ~here a b c",
    "HGET ~here a",
    "HDEL ~here a",
    "HLEN ~here",
    "HSCAN ~here 0",
    "DEL ~here",
    "EXPIRE ~here 1",
    "HINCRBY ~count a x",
    "HGET ~count a",
    "HDEL ~count a",
    "HKEYS ~count",
    "DEL ~count",
    "SADD ~users x",
    "SREM ~users x",
    "SISMEMBER ~users x",
    "EXPIRE ~users 1",
    "DEL ~users",
    "XADD ~control NOMKSTREAM 1-1 b x",
    "XRANGE ~control - + COUNT 1",
    "PUBLISH ~control x",
    "SUBSCRIBE ~control",
    "UNSUBSCRIBE ~control",
    "PUBLISH ~ x",
    "PUBLISH ~echo x",
    "SUBSCRIBE ~",
    "UNSUBSCRIBE ~",
    "SUBSCRIBE ~echo",
    "UNSUBSCRIBE ~echo",
];

/// Of nothing that is kept: no channel has a name with this tag.
const NAME: &str = "{0}corecast-doctor";

/// Appends an attempt to `out`. It has one answer.
pub fn push(attempt: &str, prefix: &str, out: &mut Vec<u8>) {
    let words: Vec<String> = attempt
        .split(' ')
        .map(|word| match word.strip_prefix('~') {
            Some(kind) => format!("{prefix}:{kind}{NAME}"),
            None => word.to_owned(),
        })
        .collect();
    let parts: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    command(out, &parts);
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    /// The user may not, or the server does not have it. Redis' own words.
    Forbidden(Box<str>),
    /// The user may, but Redis would not write now. Redis' own words.
    NotNow(Box<str>),
}

impl Outcome {
    /// What an answer to an attempt means.
    #[must_use]
    pub fn of(answer: &Value) -> Outcome {
        let Value::Error(text) = answer else { return Outcome::Allowed };
        let text = text.clone();
        match text.split(' ').next().unwrap_or_default() {
            "NOPERM" => Outcome::Forbidden(text),
            "ERR" if text.starts_with("ERR unknown") => Outcome::Forbidden(text),
            "OOM" | "MISCONF" | "NOREPLICAS" | "READONLY" => Outcome::NotNow(text),
            _ => Outcome::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::redis::keys::Keys;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    /// Words of commands that are not their names.
    const OPTIONS: &[&str] = &["AUTH", "COUNT", "ID", "MAXLEN", "MINID", "PX", "SETNAME", "STREAM"];
    /// What every user may do, or what the greeting finds out.
    const GREETING: &[&str] = &["HELLO", "SELECT"];

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true if path.ends_with("tests") => {}
                true => files(&path, found),
                false => found.push(path),
            }
        }
    }

    /// The words in capitals that stand between `open` and `close` in a text.
    fn words<'a>(text: &'a str, open: &str, close: char) -> impl Iterator<Item = &'a str> {
        let quoted =
            text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0));
        let is_word = |word: &str| word.len() > 1 && word.bytes().all(|it| it.is_ascii_uppercase());
        quoted.filter(move |word| is_word(word))
    }

    #[test]
    fn every_command_that_is_sent_is_tried() {
        let mut all = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bridge/redis"), &mut all);
        let tried: BTreeSet<&str> = ATTEMPTS.iter().flat_map(|it| it.split(' ')).collect();
        let mut sent = 0;
        for path in all.iter().filter(|path| !path.ends_with("tests.rs")) {
            let text = std::fs::read_to_string(path).expect("a text");
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_script = path.extension().is_some_and(|it| it == "lua");
            let found = if is_script {
                words(product, "call('", '\'').collect::<Vec<_>>()
            } else {
                words(product, "b\"", '"').collect()
            };
            for word in found.into_iter().filter(|it| !OPTIONS.contains(it)) {
                sent += 1;
                let is_tried = tried.contains(word) || GREETING.contains(&word);
                assert!(is_tried, "{}: {word} is sent: try it", path.display());
            }
        }
        assert!(sent > 40, "{sent}: the commands are not found any more");
    }

    #[test]
    fn no_channel_is_touched() {
        let keys = Keys::new("cc").expect("a good prefix");
        let mut out = Vec::new();
        push("XTRIM ~ MAXLEN 0", "cc", &mut out);
        let text = String::from_utf8(out).expect("text");
        let key = text.lines().nth(4).expect("a key");
        assert_eq!((key, keys.name_of(key.as_bytes())), ("cc:{0}corecast-doctor", None));
        let mut out = Vec::new();
        push("GET ~num", "my", &mut out);
        assert!(out.ends_with(b"\r\nmy:num{0}corecast-doctor\r\n"));
    }

    #[test]
    fn an_error_of_the_command_itself_shows_that_it_is_allowed() {
        let error = |text: &str| Outcome::of(&Value::Error(text.into()));
        let forbidden = |text: &str| assert_eq!(error(text), Outcome::Forbidden(text.into()));
        forbidden("NOPERM this user has no permissions to run the 'xadd' command");
        forbidden("ERR unknown command 'XADD', with args beginning with: ");
        forbidden("ERR unknown subcommand 'KILL'. Try CLIENT HELP.");
        let not_now = "MISCONF Redis is configured to save RDB snapshots";
        assert_eq!(error(not_now), Outcome::NotNow(not_now.into()));
        assert_eq!(error("ERR no such key"), Outcome::Allowed);
        assert_eq!(error("NOSCRIPT No matching script"), Outcome::Allowed);
        assert_eq!(Outcome::of(&Value::Integer(0)), Outcome::Allowed);
    }
}
