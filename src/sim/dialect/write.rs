//! Translates a client's commands from JSON to the binary codecs.

use super::fields::{COMMAND, Field, Kind};
use rmp::encode;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

const OWN: &str = "the client's own JSON";
const TAKES_ALL: &str = "memory takes all that is put";

/// Appends a command.
pub fn command(msgpack: bool, json: &str, out: &mut Vec<u8>) {
    if msgpack {
        return put_msgpack(json, COMMAND, out);
    }
    let mut body = Vec::new();
    put_protobuf(json, COMMAND, &mut body);
    put_varint(out, body.len() as u64);
    out.append(&mut body);
}

/// The fields of an object that are in a table, in the order of their numbers.
fn known<'a, 't>(json: &'a str, fields: &'t [Field]) -> Vec<(&'t Field, &'a str)> {
    let members: BTreeMap<Cow<str>, &RawValue> = serde_json::from_str(json).expect(OWN);
    assert!(members.keys().all(|name| fields.iter().any(|field| field.0 == name)), "{json}");
    let value = |field: &'t Field| members.get(field.0).map(|value| (field, value.get()));
    fields.iter().filter_map(value).collect()
}

fn entries(json: &str) -> BTreeMap<Cow<'_, str>, &RawValue> {
    serde_json::from_str(json).expect(OWN)
}

fn text(json: &str) -> String {
    serde_json::from_str(json).expect(OWN)
}

fn number(json: &str) -> i64 {
    json.parse().expect(OWN)
}

fn put_msgpack(json: &str, fields: &[Field], out: &mut Vec<u8>) {
    let known = known(json, fields);
    encode::write_map_len(out, known.len() as u32).expect(TAKES_ALL);
    for ((_, field, kind), value) in known {
        encode::write_uint(out, u64::from(*field)).expect(TAKES_ALL);
        match kind {
            Kind::Message(fields) => put_msgpack(value, fields, out),
            Kind::Map(fields) => {
                let entries = entries(value);
                encode::write_map_len(out, entries.len() as u32).expect(TAKES_ALL);
                for (name, value) in entries {
                    encode::write_str(out, &name).expect(TAKES_ALL);
                    put_msgpack(value.get(), fields, out);
                }
            }
            _ => put_value(value, out),
        }
    }
}

fn put_protobuf(json: &str, fields: &[Field], out: &mut Vec<u8>) {
    for ((_, field, kind), value) in known(json, fields) {
        let field = u64::from(*field) << 3;
        let bytes = match kind {
            Kind::Number => {
                put_varint(out, field);
                put_varint(out, number(value) as u64);
                continue;
            }
            Kind::Flag => {
                put_varint(out, field);
                put_varint(out, u64::from(value == "true"));
                continue;
            }
            Kind::Text => text(value).into_bytes(),
            Kind::Value => value.as_bytes().to_vec(),
            Kind::Map(fields) => {
                for (name, value) in entries(value) {
                    let (mut entry, mut body) = (Vec::new(), Vec::new());
                    put_delimited(&mut entry, 0x0A, name.as_bytes());
                    put_protobuf(value.get(), fields, &mut body);
                    put_delimited(&mut entry, 0x12, &body);
                    put_delimited(out, field | 2, &entry);
                }
                continue;
            }
            Kind::Texts => {
                for (name, value) in entries(value) {
                    let mut entry = Vec::new();
                    put_delimited(&mut entry, 0x0A, name.as_bytes());
                    put_delimited(&mut entry, 0x12, text(value.get()).as_bytes());
                    put_delimited(out, field | 2, &entry);
                }
                continue;
            }
            Kind::Message(fields) | Kind::List(fields) => {
                let mut body = Vec::new();
                put_protobuf(value, fields, &mut body);
                body
            }
        };
        put_delimited(out, field | 2, &bytes);
    }
}

fn put_delimited(out: &mut Vec<u8>, key: u64, bytes: &[u8]) {
    put_varint(out, key);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        out.push(0x80 | value as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_value(json: &str, out: &mut Vec<u8>) {
    let mut from = serde_json::Deserializer::from_str(json);
    ToMsgpack(out).deserialize(&mut from).expect(OWN);
}

/// Writes any value, with names in their order.
struct ToMsgpack<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for ToMsgpack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToMsgpack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        encode::write_nil(self.0).expect(TAKES_ALL);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        encode::write_bool(self.0, value).expect(TAKES_ALL);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        encode::write_uint(self.0, value).expect(TAKES_ALL);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        encode::write_sint(self.0, value).expect(TAKES_ALL);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        encode::write_f64(self.0, value).expect(TAKES_ALL);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        encode::write_str(self.0, value).expect(TAKES_ALL);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        let (mut length, mut body) = (0, Vec::new());
        while values.next_element_seed(ToMsgpack(&mut body))?.is_some() {
            length += 1;
        }
        encode::write_array_len(self.0, length).expect(TAKES_ALL);
        self.0.append(&mut body);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (mut length, mut body) = (0, Vec::new());
        while members.next_key_seed(ToMsgpack(&mut body))?.is_some() {
            members.next_value_seed(ToMsgpack(&mut body))?;
            length += 1;
        }
        encode::write_map_len(self.0, length).expect(TAKES_ALL);
        self.0.append(&mut body);
        Ok(())
    }
}
