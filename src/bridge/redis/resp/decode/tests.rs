//! Tests of the decoder: every kind, every cut, every bound.

use super::*;

/// Everything that comes out of reads of these bytes, and what ends it.
fn read<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Value>, Option<RespError>) {
    let (mut decoder, mut values) = (Decoder::new(), Vec::new());
    for bytes in reads {
        decoder.receive(bytes);
        loop {
            match decoder.next() {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(), Err(error), "it fails from then on");
                    return (values, Some(error));
                }
            }
        }
    }
    (values, None)
}

fn error_of(bytes: &[u8]) -> Option<RespError> {
    let whole = read([bytes]).1;
    assert_eq!(read(bytes.chunks(1)).1, whole, "{:?}", String::from_utf8_lossy(bytes));
    whole
}

fn simple(text: &str) -> Value {
    Value::Simple(text.into())
}

fn blob(text: &str) -> Value {
    Value::Blob(Bytes::copy_from_slice(text.as_bytes()))
}

/// Each kind of value with its bytes.
fn kinds() -> Vec<(&'static str, Value)> {
    vec![
        ("+OK\r\n", simple("OK")),
        ("+\r\n", simple("")),
        ("-ERR no\r\n", Value::Error("ERR no".into())),
        ("!7\r\nERR\r\nno\r\n", Value::Error("ERR\r\nno".into())),
        (":-12\r\n", Value::Integer(-12)),
        (":+12\r\n", Value::Integer(12)),
        (":9223372036854775807\r\n", Value::Integer(i64::MAX)),
        ("$5\r\na\r\nbc\r\n", blob("a\r\nbc")),
        ("$0\r\n\r\n", blob("")),
        ("=7\r\ntxt:abc\r\n", blob("abc")),
        ("_\r\n", Value::Null),
        ("$-1\r\n", Value::Null),
        ("*-1\r\n", Value::Null),
        ("#t\r\n", Value::Boolean(true)),
        ("#f\r\n", Value::Boolean(false)),
        (",1.5e3\r\n", Value::Double(1500.0)),
        (",10\r\n", Value::Double(10.0)),
        (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
        (",inf\r\n", Value::Double(f64::INFINITY)),
        ("(-34928903284092385094\r\n", simple("-34928903284092385094")),
        ("*0\r\n", Value::Array(vec![])),
        ("*2\r\n:1\r\n*1\r\n_\r\n", {
            Value::Array(vec![Value::Integer(1), Value::Array(vec![Value::Null])])
        }),
        ("~2\r\n:1\r\n:1\r\n", Value::Array(vec![Value::Integer(1), Value::Integer(1)])),
        ("%0\r\n", Value::Map(vec![])),
        ("%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n*0\r\n", {
            let inner = Value::Map(vec![(simple("c"), Value::Array(vec![]))]);
            Value::Map(vec![(simple("a"), Value::Integer(1)), (simple("b"), inner)])
        }),
        (">2\r\n$1\r\na\r\n:1\r\n", Value::Push(vec![blob("a"), Value::Integer(1)])),
        // Attributes are skipped wherever they stand.
        ("|1\r\n+ttl\r\n:3\r\n:7\r\n", Value::Integer(7)),
        ("|0\r\n|1\r\n*1\r\n_\r\n|0\r\n:2\r\n>1\r\n_\r\n", Value::Push(vec![Value::Null])),
        ("*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n|0\r\n:2\r\n", {
            Value::Array(vec![Value::Integer(1), Value::Integer(2)])
        }),
    ]
}

#[test]
fn every_kind_is_read_however_it_is_cut() {
    let kinds = kinds();
    for (text, value) in &kinds {
        let expected = (vec![value.clone()], None);
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            assert_eq!(read([first, second]), expected, "{text:?} cut at {at}");
        }
    }
    let all: String = kinds.iter().map(|(text, _)| *text).collect();
    let values: Vec<Value> = kinds.into_iter().map(|(_, value)| value).collect();
    for size in [1, 2, 3, 7, 100, all.len()] {
        assert_eq!(read(all.as_bytes().chunks(size)), (values.clone(), None), "by {size}");
    }
    assert!(matches!(read([b",nan\r\n".as_slice()]).0[..], [Value::Double(it)] if it.is_nan()));
    assert_eq!(read([b"+\xff\r\n".as_slice()]).0, [simple("\u{fffd}")]);
}

#[test]
fn what_is_no_value_is_an_error() {
    let cases: [(&str, RespError); 39] = [
        ("HTTP/1.1 400 Bad Request\r\n", RespError::UnknownKind(b'H')),
        (":1\r\n\r\n", RespError::UnknownKind(b'\r')),
        ("*1\r\nx\r\n", RespError::UnknownKind(b'x')),
        ("+OK\n", RespError::BadLine),
        ("+OK\rx", RespError::BadLine),
        ("+a\r\r\n", RespError::BadLine),
        (":\r\n", RespError::BadNumber),
        (":1a\r\n", RespError::BadNumber),
        (": 1\r\n", RespError::BadNumber),
        (":9223372036854775808\r\n", RespError::BadNumber),
        (",\r\n", RespError::BadNumber),
        (",1.x\r\n", RespError::BadNumber),
        (",infinity\r\n", RespError::BadNumber),
        ("(\r\n", RespError::BadNumber),
        ("(-\r\n", RespError::BadNumber),
        ("(1.5\r\n", RespError::BadNumber),
        ("$\r\n", RespError::BadLength),
        ("$-2\r\n", RespError::BadLength),
        ("$+1\r\n", RespError::BadLength),
        ("!-1\r\n", RespError::BadLength),
        ("~-1\r\n", RespError::BadLength),
        ("%x\r\n", RespError::BadLength),
        ("$99999999999999999999999\r\n", RespError::BadLength),
        ("$1\r\nab\r\n", RespError::BadEnd),
        ("$1\r\na\r\r", RespError::BadEnd),
        ("$0\r\n:1\r\n", RespError::BadEnd),
        ("=3\r\nabc\r\n", RespError::BadFormat),
        ("=4\r\nabcd\r\n", RespError::BadFormat),
        ("#true\r\n", RespError::BadConstant),
        ("#\r\n", RespError::BadConstant),
        ("_null\r\n", RespError::BadConstant),
        ("$?\r\n", RespError::Streamed),
        ("*?\r\n", RespError::Streamed),
        ("%?\r\n", RespError::Streamed),
        ("*1\r\n>1\r\n_\r\n", RespError::NestedPush),
        ("%1\r\n+a\r\n>0\r\n", RespError::NestedPush),
        ("*99999999999\r\n", RespError::ValueTooLong),
        ("%18446744073709551615\r\n", RespError::ValueTooLong),
        ("$99999999999\r\n", RespError::BulkTooLong),
    ];
    for (text, error) in cases {
        assert_eq!(error_of(text.as_bytes()), Some(error), "{text:?}");
    }
}

#[test]
fn what_came_before_an_error_is_read() {
    let (values, error) = read([b":1\r\n*1\r\n:2\r\n*2\r\n:3\r\n?".as_slice()]);
    assert_eq!(values, [Value::Integer(1), Value::Array(vec![Value::Integer(2)])]);
    assert_eq!(error, Some(RespError::UnknownKind(b'?')));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize, kind: &str| format!("{}:1\r\n", kind.repeat(depth));
    for kind in ["*1\r\n", "~1\r\n", "%1\r\n+k\r\n", "|1\r\n+k\r\n"] {
        let deep = nested(REDIS_DEPTH, kind);
        assert_eq!(error_of(deep.as_bytes()), None, "{deep:?}");
        let deeper = nested(REDIS_DEPTH + 1, kind);
        assert_eq!(error_of(deeper.as_bytes()), Some(RespError::TooDeep), "{deeper:?}");
    }
    // What is closed is no longer open.
    let beside = format!("*99\r\n{}", "*1\r\n*0\r\n".repeat(99));
    assert_eq!(error_of(beside.as_bytes()), None);
}

#[test]
fn lines_blobs_and_values_are_bounded() {
    let line = |length: usize| [b"+", "a".repeat(length - 1).as_bytes(), b"\r\n"].concat();
    assert_eq!(error_of(&line(REDIS_LINE_BYTES)), None);
    assert_eq!(error_of(&line(REDIS_LINE_BYTES + 1)), Some(RespError::LineTooLong));
    let endless = "a".repeat(REDIS_LINE_BYTES + 1);
    let reads = [b"+".as_slice(), endless.as_bytes()];
    assert_eq!(read(reads).1, Some(RespError::LineTooLong), "without its end");

    let head = |length: usize| format!("${length}\r\n");
    assert_eq!(error_of(head(REDIS_BULK_BYTES).as_bytes()), None);
    assert_eq!(error_of(head(REDIS_BULK_BYTES + 1).as_bytes()), Some(RespError::BulkTooLong));
    // Two of the largest blobs are too much for one value, and none is received for it.
    let blob = vec![b'a'; REDIS_BULK_BYTES];
    let two = format!("\r\n{}", head(REDIS_BULK_BYTES));
    let array = format!("*2\r\n{}", head(REDIS_BULK_BYTES));
    let reads = [array.as_bytes(), &blob, two.as_bytes()];
    assert_eq!(read(reads).1, Some(RespError::ValueTooLong));
    // As two values they are not.
    let alone = head(REDIS_BULK_BYTES);
    let reads = [alone.as_bytes(), &blob, two.as_bytes(), &blob, b"\r\n"];
    let (values, error) = read(reads);
    assert_eq!((values.len(), error), (2, None));

    let most = REDIS_VALUE_BYTES / size_of::<Value>() - 1;
    assert_eq!(read([format!("*{most}\r\n").as_bytes()]).1, None);
    assert_eq!(
        read([format!("*{}\r\n", most + 1).as_bytes()]).1,
        Some(RespError::ValueTooLong),
        "an array of so many cannot be whole"
    );
}

#[test]
fn a_value_announced_takes_no_memory() {
    let mut decoder = Decoder::new();
    let most = REDIS_VALUE_BYTES / size_of::<Value>() / 2;
    decoder.receive(format!("*{most}\r\n${REDIS_BULK_BYTES}\r\nabc").as_bytes());
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.open[0].values.capacity() <= PLACES_AT_ONCE);
    assert!(decoder.buffer.capacity() < 100, "{}", decoder.buffer.capacity());
}

#[test]
fn what_was_decoded_is_not_kept_nor_decoded_again() {
    let item = format!("*2\r\n$18\r\n1764544800000000-1\r\n$100\r\n{}\r\n", "a".repeat(100));
    let bytes = format!("*10000\r\n{}", item.repeat(10_000));
    let mut decoder = Decoder::new();
    let mut received = 0;
    for read in bytes.as_bytes().chunks(16 << 10) {
        decoder.receive(read);
        received += read.len();
        assert!(decoder.buffer.len() < (16 << 10) + item.len(), "only the last part is kept");
        if received == bytes.len() {
            assert!(decoder.next().expect("it is right").is_some());
        }
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.at, 0);
        assert!(decoder.buffer.len() < item.len(), "{} are kept", decoder.buffer.len());
    }
    // A line that was cut is looked through once.
    decoder.receive(b"+");
    for length in 1..1_000 {
        decoder.receive(b"a");
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.searched, length + 1);
    }
    let end = std::mem::replace(&mut decoder.buffer[500], b'\n');
    assert_eq!(decoder.next(), Ok(None), "what was looked at is not looked at again");
    decoder.buffer[500] = end;
    // The room that a large value took is given back.
    let large = vec![b'a'; 1 << 20];
    decoder.receive(b"\r\n$1048576\r\n");
    decoder.receive(&large);
    decoder.receive(b"\r\n");
    while decoder.next().expect("it is right").is_some() {}
    assert!(decoder.buffer.capacity() <= REDIS_BUFFER_KEPT_BYTES);
}
