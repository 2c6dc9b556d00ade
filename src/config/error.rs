//! Why a configuration is refused: the key, its value, the rule, and where it was written.

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the configuration file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// A line of the file that `cpu_file` names.
    CpuFile(usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(line) => write!(f, "line {line}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::CpuFile(line) => write!(f, "cpu_file line {line}"),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A file cannot be read.
    Unreadable { path: String, cause: String },
    /// The file is not TOML.
    Syntax { line: usize, cause: String },
    /// There is no such key.
    UnknownKey { key: String, origin: Origin, meant: Option<String> },
    /// A key of another program, or one of Corecast in the wrong place, and what to do about it.
    Elsewhere { key: String, origin: Origin, advice: String },
    /// A value breaks a rule of its key. No origin: it is the default.
    Value { key: String, value: String, origin: Option<Origin>, rule: String },
    /// Keys contradict each other, or one is missing.
    Relation { keys: String, rule: String },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, cause } => write!(f, "cannot read {path}: {cause}"),
            ConfigError::Syntax { line, cause } => write!(f, "not TOML (line {line}): {cause}"),
            ConfigError::UnknownKey { key, origin, meant } => {
                write!(f, "unknown key \"{key}\" ({origin})")?;
                match meant {
                    Some(meant) => write!(f, ": did you mean \"{meant}\"?"),
                    None => Ok(()),
                }
            }
            ConfigError::Elsewhere { key, origin, advice } => {
                write!(f, "unknown key \"{key}\" ({origin}): {advice}")
            }
            ConfigError::Value { key, value, origin, rule } => {
                f.write_str(key)?;
                if !value.is_empty() {
                    write!(f, " = {value}")?;
                }
                match origin {
                    Some(origin) => write!(f, " ({origin}): {rule}"),
                    None => write!(f, " (default): {rule}"),
                }
            }
            ConfigError::Relation { keys, rule } => write!(f, "{keys}: {rule}"),
        }
    }
}

impl std::error::Error for ConfigError {}
