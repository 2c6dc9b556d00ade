//! The newest protocol compared with Corecast's: every field that a client may send is read, and
//! carried out or refused, and every field that it may receive is sent, except those listed with a
//! reason.
//!
//! `tests/data/protocol.json` has the fields; `tests/sdk/protocol.test.mjs` compares it with the
//! protocol's own definition and npm's build.

use crate::replies::{each_push, each_reply};
use corecast::codec::command::{Command, DecodeError, Reply};
use corecast::codec::{Codec, json};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Fields that are not read, and why that is acceptable.
const PASSED_OVER: &[(&str, &str, &str)] = &[
    ("ConnectRequest", "headers", "for the application's own code, which is not asked yet"),
    ("ConnectRequest", "flag", "offers to compress; the reply says that nothing was taken"),
    ("ConnectRequest", "profile", "a hint for that compression"),
    ("ConnectRequest", "dict", "what a client has of that compression"),
    ("SubscribeRequest", "phase", "of maps, which `type` says, and which is refused"),
    ("SubscribeRequest", "cursor", "of maps"),
    ("SubscribeRequest", "limit", "of maps"),
    ("SubscribeRequest", "asc", "of maps"),
];

/// Messages whose fields are not checked here: refused as a whole, or read like a subscribe.
const NOT_ENTERED: &[(&str, &str)] = &[("SubRefreshRequest", "track"), ("ConnectRequest", "subs")];

/// Fields that are not sent, and why.
const NOT_SAID: &[(&str, &str, &str)] = &[
    ("Push", "connect", "of transports that only push"),
    ("ConnectResult", "time", "Centrifugo sends it only if configured"),
    ("ConnectResult", "flag", "no feature is taken"),
    ("ConnectResult", "dict", "nothing is compressed so"),
    ("SubscribeResult", "type", "0, a stream"),
    ("SubscribeResult", "phase", "of maps"),
    ("SubscribeResult", "cursor", "of maps"),
    ("SubscribeResult", "state", "of maps"),
    ("SubRefreshResult", "items", "of shared polls"),
    ("Publication", "channel", "of wildcard subscriptions"),
    ("Publication", "key", "of maps"),
    ("Publication", "removed", "of maps"),
    ("Publication", "score", "of maps"),
    ("Publication", "epoch", "a new epoch is told by 2500"),
    ("Publication", "prev_data", "between Centrifugo's nodes"),
    ("Publication", "version", "of shared polls"),
];

fn protocol() -> Value {
    serde_json::from_str(include_str!("../data/protocol.json")).expect("a table")
}

/// The message type of a field, if it has one.
fn inner(protocol: &Value, kind: &str) -> Option<String> {
    let name = kind.rsplit(' ').next().expect("a type");
    protocol.get(name).map(|_| name.to_owned())
}

/// A value that is not empty.
fn sample(protocol: &Value, kind: &str) -> Value {
    if let Some(kind) = kind.strip_prefix("list ") {
        return json!([sample(protocol, kind)]);
    }
    if let Some(kind) = kind.strip_prefix("map ") {
        return json!({ "x": sample(protocol, kind) });
    }
    match kind {
        "bool" => json!(true),
        "string" => json!("x"),
        "bytes" | "int32" | "int64" | "uint32" | "uint64" => json!(3),
        _ => {
            let fields = protocol[kind].as_object().expect("a message");
            let first = fields.iter().find(|(_, it)| it[1] == "string").into_iter();
            first
                .map(|(name, it)| (name.clone(), sample(protocol, it[1].as_str().unwrap())))
                .collect()
        }
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

fn delimited(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A message as Protobuf.
fn protobuf(protocol: &Value, message: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in value.as_object().expect("a message") {
        let field = &protocol[message][name];
        let (number, kind) = (field[0].as_u64().unwrap(), field[1].as_str().unwrap());
        put(protocol, &mut out, number, kind, value);
    }
    out
}

fn put(protocol: &Value, out: &mut Vec<u8>, number: u64, kind: &str, value: &Value) {
    match value {
        Value::Array(values) => {
            let kind = kind.strip_prefix("list ").expect("a list");
            values.iter().for_each(|value| put(protocol, out, number, kind, value));
        }
        Value::Object(entries) if kind.starts_with("map ") => {
            for (key, value) in entries {
                let mut entry = Vec::new();
                delimited(&mut entry, 1, key.as_bytes());
                put(protocol, &mut entry, 2, &kind["map ".len()..], value);
                delimited(out, number, &entry);
            }
        }
        Value::Object(_) => delimited(out, number, &protobuf(protocol, kind, value)),
        Value::String(text) => delimited(out, number, text.as_bytes()),
        value if kind == "bytes" => delimited(out, number, value.to_string().as_bytes()),
        value => {
            varint(out, number << 3);
            varint(out, value.as_u64().unwrap_or(u64::from(*value == Value::Bool(true))));
        }
    }
}

fn read(codec: Codec, bytes: &[u8]) -> Option<Result<Command<'_>, DecodeError>> {
    codec.commands(bytes).next()
}

/// A command with these fields in the message at `path`.
fn command(protocol: &Value, path: &[(String, String)], fields: Value) -> (Vec<u8>, Vec<u8>) {
    let wrap = |value, (name, kind): &(String, String)| {
        let value = match kind.split_once(' ') {
            Some(("map", _)) => json!({ "x": value }),
            Some(_) => json!([value]),
            None => value,
        };
        json!({ name: value })
    };
    let mut command = path.iter().rev().fold(fields, wrap);
    let members = command.as_object_mut().expect("a command");
    members.entry("id").or_insert(json!(1));
    if path.is_empty() {
        members.entry("ping").or_insert(json!({}));
    }
    let text = command.to_string().into_bytes();
    let message = protobuf(protocol, "Command", &command);
    let mut binary = Vec::new();
    varint(&mut binary, message.len() as u64);
    binary.extend(message);
    (text, binary)
}

/// The fields of a message, and of those in it, that have no effect.
fn unread(
    protocol: &Value,
    message: &str,
    path: &mut Vec<(String, String)>,
    seen: &mut BTreeSet<String>,
    found: &mut BTreeSet<(String, String)>,
) {
    if !seen.insert(message.to_owned()) {
        return;
    }
    for (name, field) in protocol[message].as_object().expect("a message") {
        let kind = field[1].as_str().expect("a type");
        let (text, binary) = command(protocol, path, json!({}));
        let value = sample(protocol, kind);
        let (more_text, more_binary) = command(protocol, path, json!({ name: value }));
        let differ = [
            read(Codec::Json, &text) != read(Codec::Json, &more_text),
            read(Codec::Protobuf, &binary) != read(Codec::Protobuf, &more_binary),
        ];
        let empty = *kind.rsplit(' ').next().unwrap() == *"PingRequest";
        if differ != [true, true] && !empty {
            assert_eq!(differ, [false, false], "{message}.{name} is read in one codec alone");
            found.insert((message.to_owned(), name.clone()));
        } else if let Some(inside) = inner(protocol, kind)
            && !NOT_ENTERED.contains(&(message, name))
        {
            path.push((name.clone(), kind.to_owned()));
            unread(protocol, &inside, path, seen, found);
            path.pop();
        }
    }
}

fn listed(table: &[(&str, &str, &str)]) -> BTreeSet<(String, String)> {
    table.iter().map(|(message, field, _)| ((*message).to_owned(), (*field).to_owned())).collect()
}

#[test]
fn every_field_that_clients_send_is_read_or_listed() {
    let mut found = BTreeSet::new();
    unread(&protocol(), "Command", &mut Vec::new(), &mut BTreeSet::new(), &mut found);
    assert_eq!(found, listed(PASSED_OVER), "left: neither carried out nor refused; right: listed");
}

/// Collects every field of a message, by the name of its message.
fn note(protocol: &Value, message: &str, value: &Value, said: &mut BTreeSet<(String, String)>) {
    for (name, value) in value.as_object().expect("a message") {
        let kind =
            protocol[message][name][1].as_str().unwrap_or_else(|| panic!("{message}.{name}"));
        said.insert((message.to_owned(), name.clone()));
        let Some(inside) = inner(protocol, kind) else { continue };
        match value {
            Value::Array(values) => {
                values.iter().for_each(|value| note(protocol, &inside, value, said));
            }
            Value::Object(entries) if kind.starts_with("map ") => {
                entries.values().for_each(|value| note(protocol, &inside, value, said));
            }
            value => note(protocol, &inside, value, said),
        }
    }
}

#[test]
fn every_field_that_clients_are_told_is_said_or_listed() {
    let protocol = protocol();
    let mut said = BTreeSet::new();
    let mut take = |reply: &Reply<'_>| {
        let mut text = Vec::new();
        json::write_reply(&mut text, reply);
        let value: Map<String, Value> = serde_json::from_slice(&text).expect("JSON");
        note(&protocol, "Reply", &Value::Object(value), &mut said);
    };
    each_reply(&mut take);
    take(&Reply::Rpc { id: 1, data: b"1" });
    each_push(|push| {
        take(&Reply::Push { channel: "c", push: push.clone() });
        take(&Reply::NumberedPush { number: 1, push: push.clone() });
    });
    let mut to_look_at = vec!["Reply".to_owned()];
    let mut unsaid = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(message) = to_look_at.pop() {
        if !seen.insert(message.clone()) {
            continue;
        }
        for (name, field) in protocol[&message].as_object().expect("a message") {
            let field_of = (message.clone(), name.clone());
            if said.contains(&field_of) {
                to_look_at.extend(inner(&protocol, field[1].as_str().expect("a type")));
            } else {
                unsaid.insert(field_of);
            }
        }
    }
    assert_eq!(unsaid, listed(NOT_SAID), "left: never said; right: listed");
}
