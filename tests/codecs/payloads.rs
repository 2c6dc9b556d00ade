//! Conversion of payloads between publishers and receivers: the tables of docs/codecs.md, and
//! random values against a slow reference.

use crate::crossing::{packed, value};
use crate::replies::plain;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corecast::codec::command::Payload;
use corecast::codec::payload::{Invalid, from_json, keep};
use corecast::codec::{Codec, json_to_msgpack, msgpack_to_json};
use corecast::limits::JSON_DEPTH;
use proptest::collection::vec;
use proptest::prelude::*;
use rmpv::Value as Packed;
use serde_json::Value;

fn kept(codec: Codec, kind: Payload, data: &[u8]) -> Result<Vec<u8>, Invalid> {
    keep(codec, kind, data).map(|kept| kept.into_owned())
}

fn json_of(msgpack: &[u8]) -> Result<String, Invalid> {
    kept(Codec::MessagePack, Payload::Json, msgpack)
        .map(|kept| String::from_utf8(kept).expect("JSON is text"))
}

#[test]
fn msgpack_in_json_namespaces() {
    let table: &[(&[u8], Option<&str>)] = &[
        (b"\xc0", Some("null")),
        (b"\xc2", Some("false")),
        (b"\x00", Some("0")),
        (b"\xff", Some("-1")),
        (b"\xd3\x00\x20\x00\x00\x00\x00\x00\x01", Some("9007199254740993")),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", Some("18446744073709551615")),
        (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", Some("-9223372036854775808")),
        (b"\xd0\x05", Some("5")),
        (b"\xcb\x40\x04\x00\x00\x00\x00\x00\x00", Some("2.5")),
        (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", Some("-0.0")),
        // The double nearest to 0.1 as a float, not the digits that a float is printed with.
        (b"\xca\x3d\xcc\xcc\xcd", Some("0.10000000149011612")),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", None),
        (b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", None),
        (b"\xca\x7f\x80\x00\x00", None),
        (b"\xa4\"\n\xc3\xa9", Some(r#""\"\né""#)),
        (b"\xa1\xff", None),
        (b"\xc4\x01a", None),
        (b"\xd4\x01a", None),
        (b"\xd6\xff\x00\x00\x00\x00", None),
        (b"\x92\x01\x90", Some("[1,[]]")),
        (b"\x83\xa1a\x01\x07\x02\xff\x80", Some(r#"{"a":1,"7":2,"-1":{}}"#)),
        (b"\x82\xa1a\x01\xa1a\x02", Some(r#"{"a":1,"a":2}"#)),
        (b"\x81\xc0\x01", None),
        (b"\x81\xc3\x01", None),
        (b"\x81\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x01", None),
        (b"\x81\x90\x01", None),
        (b"\x81\xc4\x01a\x01", None),
        (b"\xc1", None),
        (b"", None),
        (b"\x01\x01", None),
        (b"\x92\x01", None),
        (b"\xdd\xff\xff\xff\xff", None),
        (b"\xdb\xff\xff\xff\xff", None),
    ];
    for (msgpack, json) in table {
        assert_eq!(json_of(msgpack).ok().as_deref(), *json, "{msgpack:x?}");
    }
}

#[test]
fn json_for_msgpack_receivers() {
    let table: &[(&str, &[u8])] = &[
        ("9007199254740993", b"\xcf\x00\x20\x00\x00\x00\x00\x00\x01"),
        ("-9223372036854775808", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("18446744073709551616", b"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"),
        ("-9223372036854775809", b"\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00"),
        ("-0", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00"),
        ("1.0", b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
        ("1e2", b"\xcb\x40\x59\x00\x00\x00\x00\x00\x00"),
        ("1e400", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        ("-1e400", b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"),
        (r#""\ud83d\ude00""#, b"\xa4\xf0\x9f\x98\x80"),
        (r#""\ud83d""#, b"\xa3\xef\xbf\xbd"),
        (r#"{"a":1,"a":2}"#, b"\x82\xa1a\x01\xa1a\x02"),
        (r#" [ 1 , { "b" : null } ] "#, b"\x92\x01\x81\xa1b\xc0"),
    ];
    for (json, msgpack) in table {
        assert_eq!(from_json(Codec::MessagePack, json.as_bytes()), *msgpack, "{json}");
        // For the others it is unchanged text.
        assert_eq!(from_json(Codec::Protobuf, json.as_bytes()), json.as_bytes());
    }
    // Only an unchecked value, such as a token's claim, may not be JSON.
    assert_eq!(from_json(Codec::MessagePack, b"[1,"), b"\xc0".as_slice());
}

#[test]
fn text_stays_as_it_was_written() {
    for text in ["1e400", r#"{"a":1,"a":2}"#, r#""\ud800""#, "[ 1,\t2 ]", "-0"] {
        for codec in [Codec::Json, Codec::Protobuf] {
            let data = text.as_bytes();
            assert_eq!(kept(codec, Payload::Json, data), Ok(data.to_vec()), "{text}");
        }
    }
    assert_eq!(kept(Codec::Protobuf, Payload::Json, b" \n1 "), Ok(b"1".to_vec()));
    for bad in [&b"x"[..], b"", b"1 2", b"{\"a\":", b"\"\xff\"", b"NaN", b"\xef\xbb\xbf1"] {
        assert_eq!(kept(Codec::Protobuf, Payload::Json, bad), Err(Invalid), "{bad:x?}");
    }
}

#[test]
fn bytes_in_binary_namespaces() {
    type Case = (Codec, &'static [u8], Option<&'static [u8]>);
    let table: &[Case] = &[
        (Codec::Json, br#""AAH/""#, Some(b"\x00\x01\xff")),
        (Codec::Json, br#""AA==""#, Some(b"\0")),
        (Codec::Json, br#""AA""#, Some(b"\0")),
        (Codec::Json, br#""\u0041A==""#, Some(b"\0")),
        (Codec::Json, br#""A""#, None),
        (Codec::Json, br#""A-_A""#, None),
        // Empty bytes are valid.
        (Codec::Json, br#""""#, Some(b"")),
        (Codec::Json, b"1", None),
        (Codec::Json, b"null", None),
        (Codec::Protobuf, b"\r\n\0", Some(b"\r\n\0")),
        (Codec::Protobuf, b"", Some(b"")),
        (Codec::MessagePack, b"\xc4\x02\r\n", Some(b"\r\n")),
        (Codec::MessagePack, b"\xc4\x00", Some(b"")),
        (Codec::MessagePack, b"\xa1a", None),
        (Codec::MessagePack, b"\xc0", None),
    ];
    for (codec, data, bytes) in table {
        let kept = kept(*codec, Payload::Binary, data).ok();
        assert_eq!(kept.as_deref(), *bytes, "{codec:?} {data:x?}");
    }
}

#[test]
fn depth_is_bounded_for_everybody() {
    for (depth, fits) in [(JSON_DEPTH, true), (JSON_DEPTH + 1, false), (10_000, false)] {
        let json = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(kept(Codec::Protobuf, Payload::Json, json.as_bytes()).is_ok(), fits);
        let mut msgpack = vec![0x91; depth - 1];
        msgpack.push(0x90);
        assert_eq!(kept(Codec::MessagePack, Payload::Json, &msgpack).is_ok(), fits);
        let mut out = Vec::new();
        assert_eq!(json_to_msgpack::append(&mut out, json.as_bytes()).is_ok(), fits);
        assert!(!fits || out == msgpack);
    }
}

#[test]
fn headers_have_the_shortest_form() {
    for length in [0, 1, 15, 16, 17, 65_535, 65_536] {
        let list = Value::from(vec![Value::from(1); length]);
        let members = (0..length).map(|at| (at.to_string(), Value::from(at)));
        for value in [list, Value::Object(members.collect())] {
            let nested = Value::from(vec![value.clone(), value]);
            let mut expected = Vec::new();
            rmpv::encode::write_value(&mut expected, &packed(&nested)).expect("memory");
            assert_eq!(from_json(Codec::MessagePack, nested.to_string().as_bytes()), expected);
        }
    }
}

/// Any MessagePack value.
fn anything() -> impl Strategy<Value = Packed> {
    let leaf = prop_oneof![
        Just(Packed::Nil),
        any::<bool>().prop_map(Packed::from),
        any::<i64>().prop_map(Packed::from),
        any::<u64>().prop_map(Packed::from),
        any::<i8>().prop_map(Packed::from),
        any::<f64>().prop_map(Packed::from),
        any::<f32>().prop_map(|value| Packed::from(f64::from(value))),
        prop_oneof![Just(f64::NAN), Just(f64::INFINITY)].prop_map(Packed::from),
        any::<String>().prop_map(Packed::from),
        vec(any::<u8>(), 0..8).prop_map(Packed::from),
        (any::<i8>(), vec(any::<u8>(), 0..20)).prop_map(|(kind, data)| Packed::Ext(kind, data)),
    ];
    leaf.clone().prop_recursive(4, 40, 5, move |inner| {
        let key = prop_oneof![
            4 => any::<String>().prop_map(Packed::from),
            2 => any::<i64>().prop_map(Packed::from),
            1 => leaf.clone(),
        ];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Packed::Array),
            vec((key, inner), 0..5).prop_map(Packed::Map),
        ]
    })
}

/// The JSON text for it, if there is one.
fn reference(value: &Packed) -> Option<String> {
    let all = |values: Vec<Option<String>>| values.into_iter().collect::<Option<Vec<_>>>();
    Some(match value {
        Packed::Nil => "null".to_owned(),
        Packed::Boolean(value) => value.to_string(),
        Packed::Integer(value) => value.to_string(),
        Packed::F64(value) if value.is_finite() => Value::from(*value).to_string(),
        Packed::String(text) => Value::from(text.as_str()?).to_string(),
        Packed::Array(values) => {
            format!("[{}]", all(values.iter().map(reference).collect())?.join(","))
        }
        Packed::Map(pairs) => {
            let pair = |(name, value): &(Packed, Packed)| {
                let name = match name {
                    Packed::Integer(value) => format!("\"{value}\""),
                    Packed::String(_) => reference(name)?,
                    _ => return None,
                };
                Some(format!("{name}:{}", reference(value)?))
            };
            format!("{{{}}}", all(pairs.iter().map(pair).collect())?.join(","))
        }
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_json_can_say_is_kept_and_the_rest_refused(value in anything()) {
        let mut msgpack = Vec::new();
        rmpv::encode::write_value(&mut msgpack, &value).expect("memory");
        let expected = reference(&value);
        let json = json_of(&msgpack).ok();
        let parsed = |text: &Option<String>| {
            text.as_ref().map(|text| serde_json::from_str::<Value>(text).expect("JSON"))
        };
        prop_assert_eq!(parsed(&json), parsed(&expected));
        // Duplicate names are kept.
        let colons = |text: &Option<String>| text.as_ref().map(|text| text.matches("\":").count());
        prop_assert_eq!(colons(&json), colons(&expected));
    }

    #[test]
    fn there_and_back_is_the_same_value(value in value()) {
        let text = value.to_string();
        let msgpack = from_json(Codec::MessagePack, text.as_bytes());
        let read = rmpv::decode::read_value(&mut &*msgpack).expect("MessagePack");
        prop_assert_eq!(plain(&read), value.clone());
        let mut again = Vec::new();
        msgpack_to_json::append(&mut again, &msgpack).expect("it came from JSON");
        prop_assert_eq!(serde_json::from_slice::<Value>(&again).expect("JSON"), value);
    }

    #[test]
    fn bytes_come_from_every_codec(bytes in vec(any::<u8>(), 1..300)) {
        let base64 = Value::from(STANDARD.encode(&bytes)).to_string();
        let mut bin = Vec::new();
        rmpv::encode::write_value(&mut bin, &Packed::from(bytes.clone())).expect("memory");
        for (codec, data) in Codec::ALL.into_iter().zip([base64.as_bytes(), &bin, &bytes]) {
            prop_assert_eq!(kept(codec, Payload::Binary, data), Ok(bytes.clone()));
        }
    }
}
