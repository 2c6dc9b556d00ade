//! Merges what an operator wrote: flags over variables over the file over the defaults, each key
//! with its origin. Must not know what a value means (`check`).
//!
//! Invariant: every key in the table is a key of the schema.

use super::error::{ConfigError, Origin};
use super::foreign;
use super::raw::Raw;
use crate::meant::did_you_mean;
use crate::namespace::ChannelOptions;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

/// Prefix of Corecast's environment variables.
const PREFIX: &str = "CORECAST_";
/// Largest file that holds a secret, in bytes.
const SECRET_FILE_BYTES: u64 = 1 << 20;

/// Values by key, and where each came from.
pub struct Merged {
    table: Table,
    origins: BTreeMap<String, Origin>,
    namespaces: Vec<(String, Table)>,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<String>,
}

impl Merged {
    #[must_use]
    pub fn new(dev: bool) -> Merged {
        let table = Table::try_from(Raw::defaults(dev)).expect("defaults are plain TOML");
        Merged {
            table,
            origins: BTreeMap::new(),
            namespaces: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Where a key's value came from; `None` for the default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// A key's value, as written.
    #[must_use]
    pub fn value(&self, key: &str) -> String {
        let mut value = None;
        let mut table = &self.table;
        for part in key.split('.') {
            value = table.get(part);
            if let Some(Value::Table(inner)) = value {
                table = inner;
            }
        }
        value.map_or_else(String::new, |value| shown(key, value))
    }

    /// Overrides values with those of a file.
    pub fn file(&mut self, text: &str) {
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let line = error.span().map_or(0, |span| line_of(text, span.start));
                let json = text.trim_start().starts_with('{');
                let cause = if json { "it is JSON" } else { error.message() }.into();
                self.errors.push(ConfigError::Syntax { line, cause });
                return;
            }
        };
        let mut top = document.into_inner();
        if let Some(list) = top.remove("namespace") {
            let line = line_of(text, list.span().start);
            self.namespace_list(text, line, list.into_inner());
        }
        let schema = self.table.clone();
        self.section(text, "", &schema, top);
    }

    fn section(&mut self, text: &str, prefix: &str, schema: &Table, entries: DeTable<'_>) {
        for (name, value) in entries {
            let origin = Origin::Line(line_of(text, name.span().start));
            let key = format!("{prefix}{}", name.get_ref());
            match (schema.get(name.get_ref().as_ref()), value.get_ref()) {
                (None, DeValue::Table(_)) if foreign::has_section(&key) => {
                    let DeValue::Table(entries) = value.into_inner() else { unreachable!() };
                    self.section(text, &format!("{key}."), &Table::new(), entries);
                }
                (None, _) => self.unknown(key, prefix, schema, origin),
                (Some(Value::Table(inner)), DeValue::Table(_)) => {
                    let DeValue::Table(entries) = value.into_inner() else { unreachable!() };
                    self.section(text, &format!("{key}."), inner, entries);
                }
                _ => {
                    if let Some(value) = self.plain(&key, value, &origin) {
                        self.set(key, value, origin);
                    }
                }
            }
        }
    }

    /// A value without its position in the text; if it is out of TOML's range, records an error and
    /// returns `None`.
    fn plain(&mut self, key: &str, value: Spanned<DeValue<'_>>, origin: &Origin) -> Option<Value> {
        let plain = Value::deserialize(ValueDeserializer::from(value));
        plain
            .map_err(|error| {
                self.errors.push(ConfigError::Value {
                    key: key.into(),
                    value: String::new(),
                    origin: Some(origin.clone()),
                    rule: error.message().into(),
                });
            })
            .ok()
    }

    fn unknown(&mut self, key: String, prefix: &str, schema: &Table, origin: Origin) {
        let name = key[prefix.len()..].to_owned();
        if let Some(advice) = self.advice(&key, prefix, &name) {
            return self.errors.push(ConfigError::Elsewhere { key, origin, advice });
        }
        let near = did_you_mean(&name, schema.keys().map(String::as_str));
        let meant = near.map(|near| format!("{prefix}{near}"));
        self.errors.push(ConfigError::UnknownKey { key, origin, meant });
    }

    /// Advice about a key that exists, but is Centrifugo's or belongs in another section.
    fn advice(&self, key: &str, prefix: &str, name: &str) -> Option<String> {
        let theirs = match prefix.strip_prefix("namespace.") {
            Some(_) => foreign::option(name),
            None => foreign::key(key),
        };
        if let Some(ours) = theirs {
            return Some(format!("that is Centrifugo's name; here it is {ours}"));
        }
        let top = !prefix.is_empty() && self.table.get(name).is_some_and(|it| !it.is_table());
        if top {
            return Some(format!(
                "\"{name}\" belongs at the top of the file, above the first [section]"
            ));
        }
        let elsewhere = keys(&self.table, "")
            .find(|known| known.rsplit_once('.').is_some_and(|(_, last)| last == name));
        elsewhere.map(|known| format!("did you mean \"{known}\"?"))
    }

    fn set(&mut self, key: String, value: Value, origin: Origin) {
        insert(&mut self.table, &key, value);
        self.origins.insert(key, origin);
    }

    fn namespace_list(&mut self, text: &str, line: usize, list: DeValue<'_>) {
        let DeValue::Array(entries) = list else {
            self.bad_namespace(line, "write it as [[namespace]]");
            return;
        };
        let schema = Table::try_from(ChannelOptions::default()).expect("options are plain TOML");
        for entry in entries {
            let line = line_of(text, entry.span().start);
            let DeValue::Table(mut entry) = entry.into_inner() else {
                self.bad_namespace(line, "write it as [[namespace]]");
                continue;
            };
            let name = entry.remove("name").map(|name| name.into_inner());
            let Some(name) = name.as_ref().and_then(DeValue::as_str) else {
                self.bad_namespace(line, "needs a name, in quotes");
                continue;
            };
            self.namespace(text, line, name, &schema, entry);
        }
    }

    fn namespace(
        &mut self,
        text: &str,
        line: usize,
        name: &str,
        schema: &Table,
        entries: DeTable<'_>,
    ) {
        if self.namespaces.iter().any(|(other, _)| other == name) {
            self.bad_namespace(line, &format!("{name:?} appears twice"));
            return;
        }
        let prefix = format!("namespace.{name}.");
        self.origins.insert(format!("namespace.{name}"), Origin::Line(line));
        let mut table = Table::new();
        for (option, value) in entries {
            let origin = Origin::Line(line_of(text, option.span().start));
            let key = format!("{prefix}{}", option.get_ref());
            if !schema.contains_key(option.get_ref().as_ref()) {
                self.unknown(key, &prefix, schema, origin);
                continue;
            }
            if let Some(value) = self.plain(&key, value, &origin) {
                table.insert(option.get_ref().to_string(), value);
                self.origins.insert(key, origin);
            }
        }
        self.namespaces.push((name.to_owned(), table));
    }

    fn bad_namespace(&mut self, line: usize, rule: &str) {
        self.errors.push(ConfigError::Value {
            key: "namespace".into(),
            value: String::new(),
            origin: Some(Origin::Line(line)),
            rule: rule.into(),
        });
    }

    /// Overrides values with those of variables: `CORECAST_`, then the key in capitals. An empty
    /// variable counts as not set. A secret may be in a file that the variable with the suffix
    /// `_FILE` names. Other variables with the prefix cause a warning, except those that Kubernetes
    /// sets for a service.
    pub fn variables(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let schema = self.table.clone();
        let names: BTreeMap<String, String> =
            keys(&schema, "").map(|key| (variable(&key), key)).collect();
        for (name, text) in variables {
            let Some(own) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if text.is_empty() {
                continue;
            }
            let in_file = own.strip_suffix("_FILE").and_then(|own| names.get(own));
            if let Some(key) = names.get(own) {
                let by_file = format!("{name}_FILE");
                if self.origin(key) == Some(&Origin::Variable(by_file.clone())) {
                    self.twice(&name, &by_file);
                }
                self.text(key, &text, Origin::Variable(name));
            } else if let Some(key) = in_file.filter(|key| secret(key)) {
                let beside = name.trim_end_matches("_FILE");
                if self.origin(key) == Some(&Origin::Variable(beside.to_owned())) {
                    self.twice(beside, &name);
                }
                self.secret_in_file(key, &text, name);
            } else if let Some(near) = did_you_mean(own, names.keys().map(String::as_str)) {
                self.warnings.push(format!("{name} is not a key: did you mean {PREFIX}{near}?"));
            } else if !is_of_kubernetes(own) {
                self.warnings.push(format!("{name} is not a key and is ignored"));
            }
        }
    }

    fn twice(&mut self, one: &str, other: &str) {
        let (keys, rule) =
            (format!("{one}, {other}"), "are both set: set only one of them".to_owned());
        self.errors.push(ConfigError::Relation { keys, rule });
    }

    /// Reads a secret from a file, without the newline at its end.
    fn secret_in_file(&mut self, key: &str, path: &str, variable: String) {
        let origin = Origin::Variable(variable);
        let read = std::fs::File::open(path).and_then(|file| {
            let mut text = String::new();
            file.take(SECRET_FILE_BYTES).read_to_string(&mut text).map(|_| text)
        });
        let rule = match read {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if !text.is_empty() {
                    return self.text(key, text, origin);
                }
                format!("{path} is an empty file")
            }
            Err(cause) => format!("{path} cannot be read: {cause}"),
        };
        let (key, value, origin) = (key.into(), String::new(), Some(origin));
        self.errors.push(ConfigError::Value { key, value, origin, rule });
    }

    /// Overrides values with those of flags.
    pub fn flags(&mut self, flags: super::Flags) {
        let super::Flags { listen, workers, driver } = flags;
        let flags = [
            ("listen", "--listen", listen),
            ("workers", "--workers", workers),
            ("driver", "--driver", driver),
        ];
        for (key, flag, text) in flags {
            if let Some(text) = text {
                self.text(key, &text, Origin::Flag(flag));
            }
        }
    }

    /// Keys that were not set.
    #[cfg(test)]
    pub fn unset(&self) -> Vec<String> {
        keys(&self.table, "").filter(|key| !self.origins.contains_key(key)).collect()
    }

    /// Overrides one value, parsed by the type of the key's default.
    ///
    /// # Panics
    /// If there is no such key: flags and variables are named after keys.
    pub fn text(&mut self, key: &str, text: &str, origin: Origin) {
        let known = key.split('.').fold(None, |at: Option<&Value>, part| match at {
            None => self.table.get(part),
            Some(value) => value.get(part),
        });
        let wrong = match known.expect("a known key") {
            Value::Integer(_) => match text.trim().parse() {
                Ok(number) => return self.set(key.into(), Value::Integer(number), origin),
                Err(_) => "must be a whole number",
            },
            Value::Boolean(_) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => return self.set(key.into(), Value::Boolean(true), origin),
                "false" | "0" => return self.set(key.into(), Value::Boolean(false), origin),
                _ => "must be true or false, or 1 or 0",
            },
            Value::Array(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                let list = items.map(|item| Value::String(item.into())).collect();
                return self.set(key.into(), Value::Array(list), origin);
            }
            _ => {
                let text = self.in_its_case(key, text);
                return self.set(key.into(), Value::String(text), origin);
            }
        };
        self.errors.push(ConfigError::Value {
            key: key.into(),
            value: shown(key, &Value::String(text.into())),
            origin: Some(origin),
            rule: wrong.into(),
        });
    }

    /// Lowers the case of a value, such as `INFO`, where the key accepts only words in small
    /// letters.
    fn in_its_case(&self, key: &str, text: &str) -> String {
        let small = text.trim().to_ascii_lowercase();
        let is_taken = |text: &str| {
            let mut probe = self.table.clone();
            insert(&mut probe, key, Value::String(text.to_owned()));
            Raw::deserialize(probe).is_ok()
        };
        if small != text && !is_taken(text) && is_taken(&small) { small } else { text.to_owned() }
    }

    /// The typed values; if one has the wrong type, records an error and returns `None`.
    pub fn typed(&mut self) -> Option<(Raw, Vec<(String, ChannelOptions)>)> {
        let mut namespaces = Vec::with_capacity(self.namespaces.len());
        for (name, table) in std::mem::take(&mut self.namespaces) {
            match serde_path_to_error::deserialize(table.clone()) {
                Ok(options) => namespaces.push((name, options)),
                Err(error) => {
                    let option = error.path().to_string();
                    let value = table.get(&option).map(|value| shown(&option, value));
                    self.mistyped(format!("namespace.{name}.{option}"), value, &error);
                }
            }
        }
        match serde_path_to_error::deserialize(self.table.clone()) {
            Ok(raw) => Some((raw, namespaces)),
            Err(error) => {
                // An item of a list is recorded under the list's key.
                let mut key = error.path().to_string();
                key.truncate(key.find('[').unwrap_or(key.len()));
                let value = self.value(&key);
                self.mistyped(key, Some(value), &error);
                None
            }
        }
    }

    fn mistyped(
        &mut self,
        key: String,
        value: Option<String>,
        error: &serde_path_to_error::Error<toml::de::Error>,
    ) {
        let rule = if secret(&key) { "must be a string" } else { error.inner().message() };
        let origin = self.origin(&key).cloned();
        self.errors.push(ConfigError::Value {
            rule: rule.into(),
            value: value.unwrap_or_default(),
            key,
            origin,
        });
    }
}

/// Puts the value of a known key into a table of all keys.
fn insert(mut table: &mut Table, key: &str, value: Value) {
    let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
    for section in sections.split('.').filter(|section| !section.is_empty()) {
        let inner = table.get_mut(section).and_then(Value::as_table_mut);
        table = inner.expect("only known sections are set");
    }
    table.insert(name.to_owned(), value);
}

/// The keys of a schema, sections with dots.
fn keys<'a>(schema: &'a Table, prefix: &'a str) -> Box<dyn Iterator<Item = String> + 'a> {
    Box::new(schema.iter().flat_map(move |(name, value)| match value {
        Value::Table(inner) => {
            let keys: Vec<String> =
                keys(inner, "").map(|key| format!("{prefix}{name}.{key}")).collect();
            keys
        }
        _ => vec![format!("{prefix}{name}")],
    }))
}

/// The variable of a key, after the prefix.
fn variable(key: &str) -> String {
    key.replace('.', "_").to_uppercase()
}

/// Is it one of those that Kubernetes sets for a service called `corecast`?
fn is_of_kubernetes(own: &str) -> bool {
    own == "PORT"
        || own == "SERVICE_HOST"
        || ["SERVICE_PORT", "PORT_"].iter().any(|it| own.starts_with(it))
}

fn secret(key: &str) -> bool {
    let key = key.strip_prefix("client.token_").unwrap_or(key);
    matches!(key, "hmac_secret" | "hmac_secrets_old" | "api.key") || key.ends_with("_public_key")
}

fn shown(key: &str, value: &Value) -> String {
    if secret(key) { "(secret)".into() } else { value.to_string() }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}
