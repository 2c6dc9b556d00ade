//! Translates a server's replies from the binary codecs to JSON.
//!
//! Invariant: a field that is not in the tables, or has another type, is `Corrupt`: the server must
//! not send clients anything that they do not know.

use super::Corrupt;
use super::fields::{Field, Kind, REPLY};
use rmp::decode::{self, RmpRead};
use std::fmt::Write;

const CUT: Corrupt = Corrupt("a message that is cut");
const KIND: Corrupt = Corrupt("a value of another kind");
const UNKNOWN: Corrupt = Corrupt("a field that nobody knows");

/// Takes one reply of MessagePack.
pub fn msgpack(rest: &mut &[u8]) -> Result<String, Corrupt> {
    let mut json = String::new();
    message(rest, REPLY, &mut json)?;
    Ok(json)
}

fn separate(first: &mut bool, json: &mut String) {
    if !std::mem::replace(first, false) {
        json.push(',');
    }
}

fn put_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::to_string(text).expect("text has a form in JSON"));
}

fn message(rest: &mut &[u8], fields: &[Field], json: &mut String) -> Result<(), Corrupt> {
    let length = decode::read_map_len(rest).map_err(|_| KIND)?;
    json.push('{');
    let mut first = true;
    for _ in 0..length {
        let number: u32 = decode::read_int(rest).map_err(|_| KIND)?;
        let (name, _, kind) = fields.iter().find(|field| field.1 == number).ok_or(UNKNOWN)?;
        separate(&mut first, json);
        let _ = write!(json, "\"{name}\":");
        match kind {
            Kind::Message(fields) => message(rest, fields, json)?,
            Kind::List(fields) => {
                let length = decode::read_array_len(rest).map_err(|_| KIND)?;
                json.push('[');
                let mut first = true;
                for _ in 0..length {
                    separate(&mut first, json);
                    message(rest, fields, json)?;
                }
                json.push(']');
            }
            Kind::Map(fields) => {
                let length = decode::read_map_len(rest).map_err(|_| KIND)?;
                json.push('{');
                let mut first = true;
                for _ in 0..length {
                    separate(&mut first, json);
                    put_text(&text(rest)?, json);
                    json.push(':');
                    message(rest, fields, json)?;
                }
                json.push('}');
            }
            Kind::Number => {
                let number: u64 = decode::read_int(rest).map_err(|_| KIND)?;
                let _ = write!(json, "{number}");
            }
            Kind::Flag => {
                let flag = decode::read_bool(rest).map_err(|_| KIND)?;
                let _ = write!(json, "{flag}");
            }
            Kind::Text => put_text(&text(rest)?, json),
            Kind::Texts | Kind::Value => value(rest, json)?,
        }
    }
    json.push('}');
    Ok(())
}

fn text(rest: &mut &[u8]) -> Result<String, Corrupt> {
    let length = decode::read_str_len(rest).map_err(|_| KIND)? as usize;
    let (text, after) = rest.split_at_checked(length).ok_or(CUT)?;
    *rest = after;
    String::from_utf8(text.to_vec()).map_err(|_| Corrupt("utf-8"))
}

/// A payload: only those MessagePack types that the clients' own payloads use.
fn value(rest: &mut &[u8], json: &mut String) -> Result<(), Corrupt> {
    use rmp::Marker;
    let marker = Marker::from_u8(*rest.first().ok_or(CUT)?);
    match marker {
        Marker::Null | Marker::True | Marker::False => {
            rest.read_u8().map_err(|_| CUT)?;
            json.push_str(match marker {
                Marker::Null => "null",
                Marker::True => "true",
                _ => "false",
            });
        }
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            put_text(&text(rest)?, json);
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let length = decode::read_array_len(rest).map_err(|_| CUT)?;
            json.push('[');
            let mut first = true;
            for _ in 0..length {
                separate(&mut first, json);
                value(rest, json)?;
            }
            json.push(']');
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let length = decode::read_map_len(rest).map_err(|_| CUT)?;
            json.push('{');
            let mut first = true;
            for _ in 0..length {
                separate(&mut first, json);
                put_text(&text(rest)?, json);
                json.push(':');
                value(rest, json)?;
            }
            json.push('}');
        }
        Marker::F64 => {
            let number = decode::read_f64(rest).map_err(|_| CUT)?;
            json.push_str(&serde_json::to_string(&number).map_err(|_| KIND)?);
        }
        _ => {
            let number: i128 = match decode::read_int::<u64, _>(&mut { *rest }) {
                Ok(_) => decode::read_int::<u64, _>(rest).map_err(|_| KIND)?.into(),
                Err(_) => decode::read_int::<i64, _>(rest).map_err(|_| KIND)?.into(),
            };
            let _ = write!(json, "{number}");
        }
    }
    Ok(())
}

/// Takes one reply of Protobuf, and the length before it.
pub fn protobuf(rest: &mut &[u8]) -> Result<String, Corrupt> {
    let mut json = String::new();
    fields(delimited(rest)?, REPLY, &mut json)?;
    Ok(json)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Corrupt> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(CUT)?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Corrupt("an endless number"))
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Corrupt> {
    let length = varint(rest)? as usize;
    let (bytes, after) = rest.split_at_checked(length).ok_or(CUT)?;
    *rest = after;
    Ok(bytes)
}

fn utf8(bytes: &[u8]) -> Result<&str, Corrupt> {
    std::str::from_utf8(bytes).map_err(|_| Corrupt("utf-8"))
}

fn fields(mut rest: &[u8], table: &[Field], json: &mut String) -> Result<(), Corrupt> {
    json.push('{');
    // Repeated fields may be anywhere in a message, but are in one place in JSON.
    let mut repeated: Vec<(&str, String)> = Vec::new();
    let mut first = true;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let known = table.iter().find(|field| u64::from(field.1) == key >> 3);
        let (name, _, kind) = known.ok_or(UNKNOWN)?;
        let scalar = matches!(kind, Kind::Number | Kind::Flag);
        if key & 7 != if scalar { 0 } else { 2 } {
            return Err(KIND);
        }
        let mut element = String::new();
        match kind {
            Kind::Number => drop(write!(element, "{}", varint(&mut rest)?)),
            Kind::Flag => drop(write!(element, "{}", varint(&mut rest)? != 0)),
            Kind::Text => put_text(utf8(delimited(&mut rest)?)?, &mut element),
            Kind::Value => element.push_str(utf8(delimited(&mut rest)?)?),
            Kind::Message(inner) => fields(delimited(&mut rest)?, inner, &mut element)?,
            Kind::List(inner) => fields(delimited(&mut rest)?, inner, &mut element)?,
            Kind::Map(inner) => entry(delimited(&mut rest)?, Some(inner), &mut element)?,
            Kind::Texts => entry(delimited(&mut rest)?, None, &mut element)?,
        }
        if let Kind::List(_) | Kind::Map(_) | Kind::Texts = kind {
            match repeated.iter_mut().find(|(known, _)| known == name) {
                Some((_, all)) => *all = format!("{all},{element}"),
                None => repeated.push((name, element)),
            }
        } else {
            separate(&mut first, json);
            let _ = write!(json, "\"{name}\":{element}");
        }
    }
    for (name, all) in repeated {
        let (_, _, kind) = table.iter().find(|field| field.0 == name).ok_or(UNKNOWN)?;
        let (open, close) =
            if matches!(kind, Kind::Map(_) | Kind::Texts) { ('{', '}') } else { ('[', ']') };
        separate(&mut first, json);
        let _ = write!(json, "\"{name}\":{open}{all}{close}");
    }
    json.push('}');
    Ok(())
}

/// A map's entry: its name is field 1, its message, or its text, field 2.
fn entry(mut rest: &[u8], table: Option<&[Field]>, json: &mut String) -> Result<(), Corrupt> {
    let (mut name, mut body) = ("", &[][..]);
    while !rest.is_empty() {
        match varint(&mut rest)? {
            0x0A => name = utf8(delimited(&mut rest)?)?,
            0x12 => body = delimited(&mut rest)?,
            _ => return Err(UNKNOWN),
        }
    }
    put_text(name, json);
    json.push(':');
    match table {
        Some(table) => fields(body, table, json)?,
        None => put_text(utf8(body)?, json),
    }
    Ok(())
}
