//! The decoder compared with two libraries, `redis-protocol` and `resp-rs`, on random values and on
//! mutants of them.

use bytes::Bytes;
use corecast::bridge::redis::resp::decode::Decoder;
use corecast::bridge::redis::resp::{RespError, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp3::decode::complete;
use redis_protocol::resp3::types::OwnedFrame;
use resp_rs::resp3::{Frame, parse_frame};

/// A value and its bytes.
#[derive(Clone, Debug)]
struct Sent {
    value: Value,
    bytes: Vec<u8>,
}

fn sent(value: Value, text: String) -> Sent {
    Sent { value, bytes: text.into_bytes() }
}

fn blob_of(head: &str, bytes: &[u8]) -> Vec<u8> {
    [head.as_bytes(), bytes, b"\r\n"].concat()
}

fn scalar() -> impl Strategy<Value = Sent> {
    let line = "[ -~]{0,12}";
    prop_oneof![
        line.prop_map(|text| sent(Value::Simple(text.as_str().into()), format!("+{text}\r\n"))),
        line.prop_map(|text| sent(Value::Error(text.as_str().into()), format!("-{text}\r\n"))),
        any::<i64>().prop_map(|it| sent(Value::Integer(it), format!(":{it}\r\n"))),
        any::<bool>().prop_map(|it| {
            sent(Value::Boolean(it), format!("#{}\r\n", if it { 't' } else { 'f' }))
        }),
        Just(sent(Value::Null, "_\r\n".into())),
        prop_oneof![any::<f64>().prop_filter("a number", |it| !it.is_nan()), Just(f64::INFINITY)]
            .prop_map(|it| sent(Value::Double(it), format!(",{it}\r\n"))),
        "-?[0-9]{1,40}"
            .prop_map(|it| sent(Value::Simple(it.as_str().into()), format!("({it}\r\n"))),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Sent {
            bytes: blob_of(&format!("${}\r\n", bytes.len()), &bytes),
            value: Value::Blob(bytes.into()),
        }),
        line.prop_map(|text| sent(
            Value::Error(text.as_str().into()),
            format!("!{}\r\n{text}\r\n", text.len()),
        )),
        line.prop_map(|text| sent(
            Value::Blob(text.clone().into()),
            format!("={}\r\ntxt:{text}\r\n", text.len() + 4),
        )),
    ]
}

fn list(kind: char, of: &[Sent]) -> Vec<u8> {
    let mut bytes = format!("{kind}{}\r\n", of.len()).into_bytes();
    bytes.extend(of.iter().flat_map(|it| it.bytes.iter().copied()));
    bytes
}

fn values(of: Vec<Sent>) -> Vec<Value> {
    of.into_iter().map(|it| it.value).collect()
}

/// One library keeps sets and maps without their order, and no lists in sets: a set has one number,
/// and the keys of a map are in the order of `canonical`.
fn nested(inner: impl Strategy<Value = Sent> + Clone) -> impl Strategy<Value = Sent> {
    let map = proptest::collection::btree_map("[a-z]{1,4}", inner.clone(), 0..4);
    prop_oneof![
        3 => vec(inner.clone(), 0..5).prop_map(|of| Sent {
            bytes: list('*', &of),
            value: Value::Array(values(of)),
        }),
        1 => vec(any::<i64>(), 0..=1).prop_map(|of| {
            of.into_iter().map(|it| sent(Value::Integer(it), format!(":{it}\r\n"))).collect::<Vec<_>>()
        }).prop_map(|of| Sent {
            bytes: list('~', &of),
            value: Value::Array(values(of)),
        }),
        1 => map.prop_map(|map| {
            let mut bytes = format!("%{}\r\n", map.len()).into_bytes();
            let mut pairs = Vec::new();
            for (key, value) in map {
                bytes.extend(blob_of(&format!("${}\r\n", key.len()), key.as_bytes()));
                bytes.extend(&value.bytes);
                pairs.push((Value::Blob(key.into()), value.value));
            }
            canonical(Sent { value: Value::Map(pairs), bytes })
        }),
    ]
}

fn canonical(mut of: Sent) -> Sent {
    if let Value::Map(pairs) = &mut of.value {
        pairs.sort_by_key(|(key, _)| format!("{key:?}"));
    }
    of
}

fn value() -> impl Strategy<Value = Sent> {
    let whole = scalar().prop_recursive(4, 40, 5, nested);
    let push = vec(scalar(), 1..4).prop_map(|mut of| {
        // One library reads what a push is about as text.
        of[0] = sent(Value::Blob("message".into()), "$7\r\nmessage\r\n".into());
        Sent { bytes: list('>', &of), value: Value::Push(values(of)) }
    });
    prop_oneof![9 => whole, 1 => push]
}

/// The first value of these bytes, as we read them in pieces of this size.
fn ours(bytes: &[u8], size: usize) -> Result<Option<Value>, RespError> {
    let mut decoder = Decoder::new();
    for piece in bytes.chunks(size) {
        decoder.receive(piece);
        if let Some(value) = decoder.next()? {
            return Ok(Some(sorted(value)));
        }
    }
    Ok(None)
}

/// What each library says of them; none for an error, or for something that we do not have.
fn theirs(bytes: &[u8]) -> [Option<Option<Value>>; 2] {
    let first = match complete::decode(bytes) {
        Ok(Some((frame, _))) => of_redis_protocol(frame).map(Some),
        Ok(None) => Some(None),
        Err(_) => None,
    };
    let second = match parse_frame(Bytes::copy_from_slice(bytes)) {
        Ok((frame, _)) => of_resp_rs(frame).map(Some),
        Err(resp_rs::ParseError::Incomplete) => Some(None),
        Err(_) => None,
    };
    [first, second].map(|it| it.map(|it| it.map(sorted)))
}

fn sorted(value: Value) -> Value {
    let each = |of: Vec<Value>| of.into_iter().map(sorted).collect();
    match value {
        Value::Array(of) => Value::Array(each(of)),
        Value::Push(of) => Value::Push(each(of)),
        Value::Map(of) => {
            let pairs = of.into_iter().map(|(key, value)| (sorted(key), sorted(value)));
            let value = Value::Map(pairs.collect());
            canonical(Sent { value, bytes: Vec::new() }).value
        }
        value => value,
    }
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

fn of_redis_protocol(frame: OwnedFrame) -> Option<Value> {
    let all = |of: Vec<OwnedFrame>| of.into_iter().map(of_redis_protocol).collect::<Option<_>>();
    Some(match frame {
        OwnedFrame::SimpleString { data, .. } | OwnedFrame::BigNumber { data, .. } => {
            Value::Simple(text(&data))
        }
        OwnedFrame::SimpleError { data, .. } => Value::Error(data.into()),
        OwnedFrame::BlobError { data, .. } => Value::Error(text(&data)),
        OwnedFrame::BlobString { data, .. } | OwnedFrame::VerbatimString { data, .. } => {
            Value::Blob(data.into())
        }
        OwnedFrame::Boolean { data, .. } => Value::Boolean(data),
        OwnedFrame::Null => Value::Null,
        OwnedFrame::Number { data, .. } => Value::Integer(data),
        OwnedFrame::Double { data, .. } => Value::Double(data),
        OwnedFrame::Array { data, .. } => Value::Array(all(data)?),
        OwnedFrame::Push { data, .. } => Value::Push(all(data)?),
        // It does not keep their order.
        OwnedFrame::Set { data, .. } if data.len() > 1 => return None,
        OwnedFrame::Set { data, .. } => Value::Array(all(data.into_iter().collect())?),
        OwnedFrame::Map { data, .. } => {
            let pair = |(key, value)| Some((of_redis_protocol(key)?, of_redis_protocol(value)?));
            Value::Map(data.into_iter().map(pair).collect::<Option<_>>()?)
        }
        OwnedFrame::Hello { .. } | OwnedFrame::ChunkedString(_) => return None,
    })
}

fn of_resp_rs(frame: Frame) -> Option<Value> {
    let all = |of: Vec<Frame>| of.into_iter().map(of_resp_rs).collect::<Option<_>>();
    Some(match frame {
        Frame::SimpleString(text_of) | Frame::BigNumber(text_of) => Value::Simple(text(&text_of)),
        Frame::Error(text_of) | Frame::BlobError(text_of) => Value::Error(text(&text_of)),
        Frame::BulkString(bytes) => bytes.map_or(Value::Null, Value::Blob),
        Frame::Integer(number) => Value::Integer(number),
        Frame::Boolean(flag) => Value::Boolean(flag),
        Frame::Null => Value::Null,
        Frame::Double(number) => Value::Double(number),
        Frame::SpecialFloat(name) => Value::Double(match &name[..] {
            b"inf" => f64::INFINITY,
            b"-inf" => f64::NEG_INFINITY,
            _ => return None,
        }),
        Frame::VerbatimString { payload } => Value::Blob(payload.slice(4.min(payload.len())..)),
        Frame::Array(None) => Value::Null,
        Frame::Array(Some(of)) => Value::Array(all(of)?),
        Frame::Set(of) => Value::Array(all(of)?),
        Frame::Push(of) => Value::Push(all(of)?),
        Frame::Map(of) => {
            let pair = |(key, value)| Some((of_resp_rs(key)?, of_resp_rs(value)?));
            Value::Map(of.into_iter().map(pair).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// A change of one byte: its place in the whole, what is done, and by what.
fn mutation() -> impl Strategy<Value = (prop::sample::Index, u8, u8)> {
    let byte =
        prop_oneof![any::<u8>(), prop::sample::select(b"+-:$_#,(=!*~%|>\r\n0123456789".to_vec())];
    (any::<prop::sample::Index>(), 0..4_u8, byte)
}

fn mutate(bytes: &mut Vec<u8>, (place, what, byte): (prop::sample::Index, u8, u8)) {
    if bytes.is_empty() {
        return;
    }
    let at = place.index(bytes.len());
    match what {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
}

/// In letters of a case, or in words, that Redis does not use?
fn spells_infinity(bytes: &[u8]) -> bool {
    text(bytes).to_ascii_lowercase().contains("inf")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn all_read_the_same_value(sent in value(), size in 1..64_usize) {
        let expected = sorted(sent.value);
        prop_assert_eq!(ours(&sent.bytes, size), Ok(Some(expected.clone())));
        for theirs in theirs(&sent.bytes) {
            prop_assert_eq!(theirs, Some(Some(expected.clone())));
        }
    }

    #[test]
    fn who_reads_a_mutant_reads_the_same(
        sent in value(),
        mutations in vec(mutation(), 1..4),
        size in 1..64_usize,
    ) {
        let mut bytes = sent.bytes;
        mutations.into_iter().for_each(|it| mutate(&mut bytes, it));
        let ours = ours(&bytes, size);
        let [lenient, strict] = theirs(&bytes);
        if let (Ok(Some(ours)), Some(Some(theirs))) = (&ours, &lenient) {
            prop_assert_eq!(ours, theirs);
        }
        match (ours, strict) {
            // Nothing of these is for Redis to send; the library takes them.
            (Err(RespError::BadLine | RespError::NestedPush), _) => {}
            (Err(RespError::BadNumber), _) if spells_infinity(&bytes) => {}
            (Err(error), theirs) => {
                prop_assert!(!matches!(theirs, Some(Some(_))), "{error} against {theirs:?}");
            }
            // It takes no colon in a text's format.
            (Ok(Some(_)), None) if bytes.contains(&b'=') => {}
            // What cannot become a value any more, it says at the end only.
            (Ok(None), None) => {}
            (Ok(ours), theirs) => {
                prop_assert_eq!(Some(ours), theirs, "{:?}", text(&bytes));
            }
        }
    }
}
