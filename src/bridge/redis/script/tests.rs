//! What is asked of the scripts, and what their answers mean.

use super::*;
use bytes::Bytes;

fn scripts() -> Scripts {
    Scripts::new(Keys::new("cc").expect("a good prefix"))
}

/// The parts of a command.
fn parts(out: &[u8]) -> Vec<String> {
    let text = String::from_utf8(out.to_vec()).expect("text");
    text.split("\r\n").skip(2).step_by(2).map(str::to_owned).collect()
}

fn blob(text: &'static str) -> Value {
    Value::Blob(Bytes::from_static(text.as_bytes()))
}

#[test]
fn items_are_published_with_few_arguments() {
    let scripts = scripts();
    let item = |channel, key, block| Item { channel, epoch: Epoch(7), key, block };
    let items = [item("a", "", b"1".as_slice()), item("b", "k", b"2"), item("a", "l", b"3")];
    let mut out = Vec::new();
    scripts.publish(
        &mut out,
        By::Digest,
        Class { size: 10, ttl_s: 60, numbering_s: 600 },
        items.into_iter(),
    );
    let said = parts(&out);
    let digest = String::from_utf8(hex(Script::Publish.text()).to_vec()).expect("text");
    let (a, b) = (said[3].clone(), said[4].clone());
    assert!(a.starts_with("cc:{") && a.ends_with("}a"));
    let expected = [
        "EVALSHA",
        &digest,
        "8",
        &a,
        &b,
        &a,
        &a.replace("cc:", "cc:num"),
        &b.replace("cc:", "cc:num"),
        &a.replace("cc:", "cc:num"),
        &b.replace("cc:", "cc:done").replace("}b", "}1:bk"),
        &a.replace("cc:", "cc:done").replace("}a", "}1:al"),
        "10",
        "60",
        "300000",
        "600",
        "7-*",
        "",
        "1",
        "7-*",
        "7",
        "2",
        "7-*",
        "8",
        "3",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_begins_says_all_that_decides() {
    let scripts = scripts();
    let mut begin = Begin {
        channel: "a",
        class: Class { size: 10, ttl_s: 0, numbering_s: 0 },
        floor: Epoch(5),
        candidate: Epoch(9),
        low: Some(Position { epoch: Epoch(7), offset: 3 }),
        item: Some(Kept { key: "k", block: b"1", version: None }),
    };
    let said = |begin: &Begin<'_>| {
        let mut out = Vec::new();
        scripts.begin(&mut out, By::Text, begin);
        let said = parts(&out);
        let script = Script::Begin.text();
        assert!(out.windows(script.len()).any(|window| window == script.as_bytes()));
        said.join(" ")
    };
    assert!(said(&begin).ends_with("1:ak 10 0 300000 1 5 9 7-3 1"), "{}", said(&begin));
    begin.item = None;
    begin.low = Some(Position { epoch: Epoch::NONE, offset: 3 });
    assert!(said(&begin).ends_with("}a 10 0 300000 1 5 9 0-0"), "{}", said(&begin));
}

#[test]
fn the_digest_is_that_of_the_text() {
    assert_eq!(&hex("abc"), b"a9993e364706816aba3e25717850c26c9cd0d89d");
    let mut out = Vec::new();
    Scripts::load(&mut out, Script::Floor);
    assert!(out.starts_with(b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n"));
}

#[test]
fn an_answer_has_an_outcome_for_each_item() {
    let at = |epoch, offset| Position { epoch: Epoch(epoch), offset };
    let error = Value::Error("WRONGTYPE no".into());
    let answers = vec![blob("7-1"), blob("=6-2"), Value::Null, error.clone()];
    let expected = vec![
        Outcome::Published(at(7, 1)),
        Outcome::Repeated(at(6, 2)),
        Outcome::Unknown,
        Outcome::Failed(StoreError::new("WRONGTYPE no")),
    ];
    assert_eq!(outcomes(Value::Array(answers.clone()), 4), Ok(expected));
    assert_eq!(begun(blob("=6-2")), Ok(Outcome::Repeated(at(6, 2))));
    assert_eq!(begun(error), Err(StoreError::new("WRONGTYPE no")));
    let strange = || StoreError::of(&Value::Null);
    assert_eq!(outcomes(Value::Array(answers), 3), Err(strange()));
    assert_eq!(outcomes(Value::Array(vec![Value::Integer(1)]), 1), Err(strange()));
    assert_eq!(outcomes(Value::Array(vec![blob("7-x")]), 1), Err(strange()));
    assert_eq!(begun(Value::Null), Err(strange()));
    let noscript = Value::Error("NOSCRIPT no".into());
    assert_eq!(outcomes(noscript, 1), Err(StoreError::new("NOSCRIPT no")));
}

#[test]
fn a_floor_is_an_epoch() {
    let answer = |epoch| Value::Array(vec![Value::Integer(epoch), Value::Integer(1)]);
    assert_eq!(floor(&answer(7)), Ok(Floor { epoch: Epoch(7), raised: true }));
    for wrong in [answer(-1), answer(1 << 53), Value::Null, Value::Array(vec![])] {
        assert!(floor(&wrong).is_err(), "{wrong:?}");
    }
}
