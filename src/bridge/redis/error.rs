//! Errors of Redis by their cause, and what is to be done about each.
//!
//! Must not know which command failed. Invariant: an error whose remedy is not `Redial` leaves the
//! connection in order.

use super::resp::Value;

/// Why Redis did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It does not have the script, as after a restart or SCRIPT FLUSH.
    NoScript,
    /// Another script has been running for long.
    Busy,
    /// It is at `maxmemory`.
    OutOfMemory,
    /// It is a replica: another server is the primary now.
    ReadOnly,
    /// It reads its data after a start.
    Loading,
    /// It is a replica without its primary.
    MasterDown,
    /// Who asks is not, or no longer, authenticated.
    NoAuth,
    /// The user may not use this command, key or channel.
    NoPermission,
    /// The key holds something that is not ours.
    WrongType,
    /// It cannot save to its disk, and so does not write.
    Misconfigured,
    /// Fewer replicas than it is configured to want.
    NoReplicas,
    /// The answer is none that this command has: the answers are no longer those to our commands.
    Unexpected,
    /// Anything else.
    Other,
}

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Load the scripts, and send the same again, in its order: nothing was carried out.
    Reload,
    /// Send the same again a little later: nothing was carried out.
    Later,
    /// End the connection, and dial again. Nothing was carried out, unless the answer was
    /// `Unexpected`.
    Redial,
    /// Answer `Failure::Refused`: nothing was carried out.
    Refuse,
}

impl Cause {
    /// The cause by the word that an error begins with.
    fn of(text: &str) -> Cause {
        // Redis 7.0 has no word of its own for a command that a script may not run.
        if text.starts_with("ERR The user executing the script can't") {
            return Cause::NoPermission;
        }
        match text.split(' ').next().unwrap_or_default() {
            "NOSCRIPT" => Cause::NoScript,
            "BUSY" => Cause::Busy,
            "OOM" => Cause::OutOfMemory,
            "READONLY" => Cause::ReadOnly,
            "LOADING" => Cause::Loading,
            "MASTERDOWN" => Cause::MasterDown,
            "NOAUTH" | "WRONGPASS" => Cause::NoAuth,
            "NOPERM" => Cause::NoPermission,
            "WRONGTYPE" => Cause::WrongType,
            "MISCONF" => Cause::Misconfigured,
            "NOREPLICAS" => Cause::NoReplicas,
            _ => Cause::Other,
        }
    }

    /// What it asks for.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        match self {
            Cause::NoScript => Remedy::Reload,
            Cause::Busy => Remedy::Later,
            Cause::ReadOnly
            | Cause::Loading
            | Cause::MasterDown
            | Cause::NoAuth
            | Cause::Unexpected => Remedy::Redial,
            Cause::OutOfMemory
            | Cause::NoPermission
            | Cause::WrongType
            | Cause::Misconfigured
            | Cause::NoReplicas
            | Cause::Other => Remedy::Refuse,
        }
    }
}

/// Bytes of an error's text that are kept, for the log.
const TEXT_BYTES: usize = 200;

/// An error of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    cause: Cause,
    text: Box<str>,
}

impl StoreError {
    /// An error by its text.
    #[must_use]
    pub fn new(text: &str) -> StoreError {
        let end = (0..=TEXT_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        StoreError { cause: Cause::of(text), text: text[..end.unwrap_or(0)].into() }
    }

    /// What an answer is that was not expected: the error that it is, or that it is none of ours.
    #[must_use]
    pub fn of(answer: &Value) -> StoreError {
        match answer {
            Value::Error(text) => StoreError::new(text),
            Value::Simple(_)
            | Value::Integer(_)
            | Value::Blob(_)
            | Value::Null
            | Value::Boolean(_)
            | Value::Double(_)
            | Value::Array(_)
            | Value::Map(_)
            | Value::Push(_) => {
                let text = "an answer of another form than expected";
                StoreError { cause: Cause::Unexpected, text: text.into() }
            }
        }
    }

    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What Redis said, for the log.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_cause_and_says_what_to_do() {
        let cases = [
            ("NOSCRIPT No matching script. Please use EVAL.", Cause::NoScript, Remedy::Reload),
            ("BUSY Redis is busy running a script.", Cause::Busy, Remedy::Later),
            ("BUSYKEY Target key name already exists.", Cause::Other, Remedy::Refuse),
            ("OOM command not allowed", Cause::OutOfMemory, Remedy::Refuse),
            ("READONLY You can't write", Cause::ReadOnly, Remedy::Redial),
            ("LOADING Redis is loading", Cause::Loading, Remedy::Redial),
            ("MASTERDOWN Link with MASTER is down", Cause::MasterDown, Remedy::Redial),
            ("NOAUTH Authentication required.", Cause::NoAuth, Remedy::Redial),
            ("WRONGPASS invalid username-password pair", Cause::NoAuth, Remedy::Redial),
            ("NOPERM this user has no permissions", Cause::NoPermission, Remedy::Refuse),
            (
                "ERR The user executing the script can't run this command or subcommand",
                Cause::NoPermission,
                Remedy::Refuse,
            ),
            ("WRONGTYPE Operation against a key", Cause::WrongType, Remedy::Refuse),
            ("MISCONF Errors writing to the AOF file", Cause::Misconfigured, Remedy::Refuse),
            ("NOREPLICAS Not enough good replicas", Cause::NoReplicas, Remedy::Refuse),
            ("ERR unknown command", Cause::Other, Remedy::Refuse),
            ("", Cause::Other, Remedy::Refuse),
        ];
        for (text, cause, remedy) in cases {
            let error = StoreError::of(&Value::Error(text.into()));
            assert_eq!((error.cause(), error.cause().remedy()), (cause, remedy), "{text}");
            assert_eq!(error.to_string(), text);
        }
        let strange = StoreError::of(&Value::Integer(1));
        assert_eq!(strange.cause().remedy(), Remedy::Redial);
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let text = format!("ERR {}", "\u{e9}".repeat(500));
        assert_eq!(StoreError::new(&text).text(), &text[..200]);
        assert_eq!(StoreError::new(&text[..8]).text(), &text[..8]);
        assert_eq!(StoreError::new(&format!("a{text}")).text().len(), 199);
    }
}
