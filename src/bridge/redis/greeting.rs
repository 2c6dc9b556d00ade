//! The first words on a connection to Redis: who we are, and who answers (rule 29).
//!
//! Must not know what follows. Invariant: whoever passes is a master of a version that has what is
//! used, logged in, with its database selected.

use super::error::StoreError;
use super::link_error::{LinkError, shortened};
use super::resp::Value;
use super::resp::encode::{Command, command};

/// How one logs in, and how long one waits.
#[derive(Clone)]
pub struct Login {
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    /// What the server lists the connection as.
    pub name: String,
    pub timeouts: Timeouts,
}

/// In microseconds, each above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the dial to the end of the greeting.
    pub dial_us: u64,
    /// A command waits and nothing at all comes: the connection is half-open, or the server frozen.
    pub silence_us: u64,
    /// Nothing waits: the connection is tried after so long.
    pub idle_us: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { dial_us: 3_000_000, silence_us: 4_000_000, idle_us: 1_000_000 }
    }
}

/// Who answers at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The number of this connection there.
    pub connection: i64,
    pub version: Box<str>,
    /// Its incarnation; `None` where it may not be asked for.
    pub replication_id: Option<Box<str>>,
}

/// A greeting under way, by what is answered next.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting {
    Hello,
    Select { connection: i64, version: Box<str> },
    Info { connection: i64, version: Box<str> },
}

/// How far a greeting has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    On(Greeting),
    Over(Server),
}

impl Greeting {
    /// Appends the first words to `out`.
    #[must_use]
    pub fn begin(login: &Login, out: &mut Vec<u8>) -> Greeting {
        let mut parts: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &login.password {
            let user = login.user.as_deref().unwrap_or("default");
            parts.extend([b"AUTH".as_slice(), user.as_bytes(), password.as_bytes()]);
        }
        parts.extend([b"SETNAME".as_slice(), login.name.as_bytes()]);
        command(out, &parts);
        Command::new(out, 2).part(b"SELECT").number(u64::from(login.database));
        command(out, &[b"INFO", b"replication"]);
        Greeting::Hello
    }

    /// Takes the next answer.
    ///
    /// # Errors
    /// Whoever answers is not fit.
    pub fn answered(self, value: &Value) -> Result<Progress, LinkError> {
        match self {
            Greeting::Hello => hello(value).map(Progress::On),
            Greeting::Select { connection, version } => {
                if let Value::Error(text) = value {
                    let error = LinkError::of(&StoreError::new(text));
                    return Err(error.unwrap_or_else(|| LinkError::Database(shortened(text))));
                }
                Ok(Progress::On(Greeting::Info { connection, version }))
            }
            Greeting::Info { connection, version } => {
                let replication_id = info_field(value, "master_replid");
                if info_field(value, "role").is_some_and(|role| &*role != "master") {
                    return Err(LinkError::Replica);
                }
                Ok(Progress::Over(Server { connection, version, replication_id }))
            }
        }
    }
}

/// Reads the answer to HELLO.
fn hello(value: &Value) -> Result<Greeting, LinkError> {
    let fields = match value {
        Value::Map(fields) => fields,
        Value::Error(text) => return Err(refused(text)),
        other => return Err(LinkError::NotRedis(shortened(&format!("{other:?}")))),
    };
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| text_of(key).as_deref() == Some(name));
        found.map(|(_, value)| value)
    };
    let version = field("version").and_then(text_of).unwrap_or_default();
    let Some(&Value::Integer(connection)) = field("id") else {
        return Err(LinkError::NotRedis("its greeting has no id".into()));
    };
    let is_valkey = field("server").and_then(text_of).as_deref() == Some("valkey");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if !is_valkey && major.is_none_or(|major| major < OLDEST_MAJOR) {
        return Err(LinkError::Old(shortened(&version)));
    }
    match field("role").and_then(text_of).as_deref() {
        Some("master") | None => Ok(Greeting::Select { connection, version }),
        Some(_) => Err(LinkError::Replica),
    }
}

/// Streams and scripts of older ones lack what is used.
const OLDEST_MAJOR: u32 = 7;

/// Why HELLO was answered with an error.
fn refused(text: &str) -> LinkError {
    if let Some(cause) = LinkError::of(&StoreError::new(text)) {
        return cause;
    }
    if text.starts_with("NOPERM") {
        return LinkError::Login(shortened(text));
    }
    if text.starts_with("ERR unknown command") {
        return LinkError::Old("before 6.0".into());
    }
    LinkError::NotRedis(shortened(text))
}

fn text_of(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Simple(text) => Some(text.clone()),
        Value::Blob(bytes) => Some(shortened(std::str::from_utf8(bytes).ok()?)),
        Value::Error(_)
        | Value::Integer(_)
        | Value::Null
        | Value::Boolean(_)
        | Value::Double(_)
        | Value::Array(_)
        | Value::Map(_)
        | Value::Push(_) => None,
    }
}

/// A field of what INFO says, lines of `name:value`; none where it said nothing.
fn info_field(value: &Value, name: &str) -> Option<Box<str>> {
    let Value::Blob(bytes) = value else { return None };
    let text = std::str::from_utf8(bytes).ok()?;
    let of = |line: &str| Some(line.trim_end().strip_prefix(name)?.strip_prefix(':')?.into());
    text.lines().find_map(of)
}
