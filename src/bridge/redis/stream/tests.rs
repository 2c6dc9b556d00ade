//! Tests of reading: what is asked, and answers that a quiet server does not give. Those of a real
//! one are in `tests/redis/`.

use super::*;

const KEY: &[&[u8]] = &[b"k"];

fn command(reading: &Reading) -> String {
    let mut out = Vec::new();
    reading.command(&mut out, KEY);
    let text = String::from_utf8(out).expect("text");
    text.split("\r\n").skip(2).step_by(2).collect::<Vec<_>>().join(" ")
}

fn blob(text: &str) -> Value {
    Value::Blob(Bytes::copy_from_slice(text.as_bytes()))
}

/// An answer with these entries, each with its id as its block.
fn answer(ids: &[&str]) -> Value {
    let entry = |id: &&str| Value::Array(vec![blob(id), Value::Array(vec![blob("b"), blob(id)])]);
    Value::Array(ids.iter().map(entry).collect())
}

fn info(last: &str) -> Value {
    let pair = |name, value| (blob(name), value);
    Value::Map(vec![
        pair("length", Value::Integer(0)),
        pair("last-generated-id", blob(last)),
        pair("first-entry", Value::Null),
    ])
}

fn at(epoch: u64, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

/// What was found: epoch, after, offsets, end, top.
type Told = (u64, u64, Vec<u64>, u64, u64);

/// Reads a page by these answers. What was asked, and what was found.
fn read(page: Page, answers: &[Value]) -> (Vec<String>, Option<Told>) {
    let (mut reading, mut asked) = (Reading::new(page, 3), Vec::new());
    for (index, answer) in answers.iter().enumerate() {
        asked.push(command(&reading));
        match reading.receive(answer.clone()) {
            Ok(None) => {}
            Ok(Some(found)) => {
                assert_eq!(index + 1, answers.len(), "it is found too early");
                let Found::Part(part) = found else { return (asked, None) };
                let offsets = part.entries.iter().map(|(offset, _)| *offset).collect();
                return (asked, Some((part.epoch.0, part.after, offsets, part.end, part.top)));
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("nothing is found by {answers:?}");
}

const ALL: usize = usize::MAX;

#[test]
fn who_is_level_needs_one_command() {
    let (asked, found) = read(Page::after(at(7, 4), ALL), &[answer(&["7-4"])]);
    assert_eq!(asked, ["XRANGE k 7-4 + COUNT 3"]);
    assert_eq!(found, Some((7, 4, vec![], 4, 4)));
    let (_, found) = read(Page::after(at(7, 4), ALL), &[answer(&["7-4", "7-5"])]);
    assert_eq!(found, Some((7, 4, vec![5], 5, 5)));
}

#[test]
fn a_page_goes_on_until_it_is_whole() {
    let answers = [answer(&["7-4", "7-5", "7-6"]), answer(&["7-7"])];
    let (asked, found) = read(Page::after(at(7, 4), ALL), &answers);
    assert_eq!(asked, ["XRANGE k 7-4 + COUNT 3", "XRANGE k (7-6 + COUNT 3"]);
    assert_eq!(found, Some((7, 4, vec![5, 6, 7], 7, 7)));
    let newest = [answer(&["7-7", "7-6", "7-5"]), answer(&["7-4"])];
    let (asked, found) = read(Page::newest(4, ALL), &newest);
    assert_eq!(asked, ["XREVRANGE k + - COUNT 3", "XREVRANGE k (7-5 - COUNT 1"]);
    assert_eq!(found, Some((7, 3, vec![4, 5, 6, 7], 7, 7)));
}

#[test]
fn a_page_that_ends_before_the_top_asks_for_it() {
    let page = Page { limit: 2, ..Page::after(at(7, 4), ALL) };
    let (asked, found) = read(page, &[answer(&["7-4", "7-5", "7-6"]), answer(&["7-9"])]);
    assert_eq!(asked[1], "XREVRANGE k + - COUNT 1");
    assert_eq!(found, Some((7, 4, vec![5, 6], 6, 9)));
    // Which may be gone by then, or of another stream.
    let answers = [answer(&["7-4", "7-5", "7-6"]), answer(&[]), info("7-9")];
    assert_eq!(read(page, &answers).1, Some((7, 4, vec![5, 6], 6, 9)));
    let answers =
        [answer(&["7-4", "7-5", "7-6"]), answer(&["9-1"]), answer(&["9-1"]), answer(&["9-1"])];
    assert_eq!(read(page, &answers).1, Some((9, 0, vec![1], 1, 1)));
}

#[test]
fn another_epoch_or_none_is_told() {
    // A newer one: its first entries follow the place, and the newest are wanted.
    let answers = [answer(&["9-1"]), answer(&["9-1"])];
    let (asked, found) = read(Page::after(at(7, 4), ALL), &answers);
    assert_eq!(asked[1], "XREVRANGE k + - COUNT 3");
    assert_eq!(found, Some((9, 0, vec![1], 1, 1)));
    // An older one, an empty one, and none.
    let answers = [answer(&[]), info("5-2"), answer(&["5-2"])];
    let (asked, found) = read(Page::after(at(7, 4), ALL), &answers);
    assert_eq!(asked[1], "XINFO STREAM k");
    assert_eq!(found, Some((5, 1, vec![2], 2, 2)));
    let answers = [answer(&[]), info("5-2"), answer(&["9-1"])];
    let (_, found) = read(Page::after(at(7, 4), ALL), &answers);
    assert_eq!(found, Some((9, 0, vec![1], 1, 1)), "it became another again");
    let (_, found) = read(Page::after(at(7, 4), ALL), &[answer(&[]), info("7-2")]);
    assert_eq!(found, Some((7, 2, vec![], 2, 2)), "it has lost its end");
    let none = Value::Error("ERR no such key".into());
    assert_eq!(read(Page::newest(4, ALL), &[answer(&[]), none]).1, None);
}

#[test]
fn what_came_between_two_commands_is_not_missing() {
    // A stream that was opened has a position and no entry.
    let between = [answer(&[]), info("7-1"), answer(&["7-1"])];
    let (asked, found) = read(Page::after(at(7, 0), ALL), &between);
    assert_eq!(asked, ["XRANGE k 7-0 + COUNT 3", "XINFO STREAM k", "XRANGE k 7-0 + COUNT 3"]);
    assert_eq!(found, Some((7, 0, vec![1], 1, 1)));
    let more = [answer(&[]), info("7-1"), answer(&["7-1", "7-2"])];
    assert_eq!(read(Page::after(at(7, 0), ALL), &more).1, Some((7, 0, vec![1, 2], 2, 2)));
    assert_eq!(read(Page::newest(4, ALL), &between).1, Some((7, 0, vec![1], 1, 1)));
    let falling = [answer(&[]), info("7-1"), answer(&["7-2", "7-1"])];
    assert_eq!(read(Page::newest(4, ALL), &falling).1, Some((7, 0, vec![1, 2], 2, 2)));
    let all = Page { from: None, reverse: false, limit: 4, bytes: ALL };
    assert_eq!(read(all, &between).1, Some((7, 0, vec![1], 1, 1)));
    // What is not there a moment later either was trimmed or removed.
    let gone = [answer(&[]), info("7-9"), answer(&[])];
    assert_eq!(read(Page::after(at(7, 4), ALL), &gone).1, Some((7, 9, vec![], 9, 9)));
    assert_eq!(read(Page::newest(4, ALL), &gone).1, Some((7, 9, vec![], 9, 9)));
    // It may have become another.
    let other = [answer(&[]), info("7-1"), answer(&["9-1"]), answer(&["9-1"])];
    assert_eq!(read(Page::after(at(7, 0), ALL), &other).1, Some((9, 0, vec![1], 1, 1)));
}

#[test]
fn what_was_trimmed_or_deleted_is_no_part() {
    let (_, found) = read(Page::after(at(7, 4), ALL), &[answer(&["7-7", "7-8"])]);
    assert_eq!(found, Some((7, 6, vec![7, 8], 8, 8)), "trimmed since");
    let (_, found) = read(Page::after(at(7, 4), ALL), &[answer(&["7-5", "7-7"])]);
    assert_eq!(found, Some((7, 4, vec![5], 5, 7)), "6 was deleted");
    let (_, found) = read(Page::newest(4, ALL), &[answer(&["7-7", "7-5"])]);
    assert_eq!(found, Some((7, 6, vec![7], 7, 7)));
    let (_, found) = read(Page::newest(4, ALL), &[answer(&["7-1", "6-9"])]);
    assert_eq!(found, Some((7, 0, vec![1], 1, 1)), "of another epoch");
    // Trimmed between two commands.
    let answers = [answer(&["7-4", "7-5", "7-6"]), answer(&["7-9"])];
    let (_, found) = read(Page::after(at(7, 4), ALL), &answers);
    assert_eq!(found, Some((7, 4, vec![5, 6], 6, 9)));
}

#[test]
fn a_stream_that_becomes_another_is_read_anew() {
    let all = Page { from: None, reverse: false, limit: u32::MAX, bytes: 5 };
    let again = [answer(&["7-1", "7-2", "7-3"]), answer(&["9-1"]), answer(&["9-1"])];
    let (asked, found) = read(all, &again);
    assert_eq!(asked[1..], ["XREVRANGE k + - COUNT 1", "XRANGE k - + COUNT 3"]);
    assert_eq!(found, Some((9, 0, vec![1], 1, 1)));
    let mut reading = Reading::new(all, 3);
    for epoch in 1..20_u64 {
        let ids = [1, 2, 3].map(|offset| format!("{epoch}-{offset}"));
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = match reading.step {
            Step::Last => reading.receive(answer(&[&format!("{}-1", epoch + 1)])),
            _ => reading.receive(answer(&ids)),
        };
        match found {
            Ok(found) => assert_eq!(found, None),
            Err(error) => return assert!(error.text().contains("faster"), "{error}"),
        }
    }
    panic!("it goes on for ever");
}

#[test]
fn bounds_are_kept() {
    let page = |limit, bytes| Page { from: None, reverse: false, limit, bytes };
    let (asked, found) = read(page(9, 6), &[answer(&["7-1", "7-2", "7-3"]), answer(&["7-9"])]);
    assert_eq!(asked[1], "XREVRANGE k + - COUNT 1");
    assert_eq!(found, Some((7, 0, vec![1, 2], 2, 9)));
    let (_, found) = read(page(9, 0), &[answer(&["7-1", "7-2"])]);
    assert_eq!(found, Some((7, 0, vec![1], 1, 2)), "one in any case");
    // One more than is wanted, for the place itself.
    let page_after = Page { limit: 1, ..Page::after(at(7, 4), ALL) };
    let (asked, _) = read(page_after, &[answer(&["7-4"])]);
    assert_eq!(asked, ["XRANGE k 7-4 + COUNT 2"]);
    let (asked, found) = read(page(0, 9), &[answer(&["7-9"])]);
    assert_eq!(asked, ["XREVRANGE k + - COUNT 1"]);
    assert_eq!(found, Some((7, 9, vec![], 9, 9)));
    assert_eq!(entries_per_command(0), REDIS_READ_ENTRIES);
    assert_eq!(entries_per_command(usize::MAX), 1);
    let block = 4 << 20;
    let whole = entries_per_command(block) as usize * (block + ENTRY_BYTES);
    assert!((REDIS_VALUE_BYTES / 2..=REDIS_VALUE_BYTES).contains(&whole));
}

#[test]
fn a_strange_answer_is_an_error() {
    let strange = [
        Value::Null,
        Value::Array(vec![Value::Integer(1)]),
        Value::Array(vec![Value::Array(vec![blob("7-1")])]),
        Value::Array(vec![Value::Array(vec![blob("7-1"), Value::Array(vec![])])]),
        answer(&["7-x"]),
        Value::Error("LOADING it reads".into()),
    ];
    for answer in strange {
        let error = Reading::new(Page::newest(1, 1), 3).receive(answer.clone());
        assert!(error.is_err(), "{answer:?}");
    }
    for answer in [Value::Null, Value::Map(vec![]), info("x"), Value::Error("ERR x".into())] {
        let mut reading = Reading::new(Page::newest(1, 1), 3);
        assert_eq!(reading.receive(Value::Array(vec![])), Ok(None));
        assert!(reading.receive(answer.clone()).is_err(), "{answer:?}");
    }
    assert!(removed(&Value::Integer(0)).is_ok() && removed(&Value::Null).is_err());
}
