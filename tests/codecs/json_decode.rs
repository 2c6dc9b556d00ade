//! Commands from JSON: what is read, what is refused and why, with the same verdict as serde_json.

use corecast::codec::command::{
    Command, Connect, DecodeError, History, Method, Publish, Subscribe,
};
use corecast::codec::json::Commands;
use proptest::prelude::*;
use std::borrow::Cow;

pub fn one(text: &str) -> Result<Command<'_>, DecodeError> {
    let mut commands = Commands::new(text.as_bytes());
    let command = commands.next().expect("there is a command");
    if command.is_ok() {
        assert_eq!(commands.rest(), text.len());
    }
    assert_eq!(commands.next(), None);
    command
}

pub fn connect(asked: Connect<'_>) -> Method<'_> {
    Method::Connect(Box::new(asked))
}

pub fn subscribe(asked: Subscribe<'_>) -> Method<'_> {
    Method::Subscribe(Box::new(asked))
}

#[test]
fn methods_with_payloads_and_options_are_read() {
    let table = [
        (
            r#"{"id":1,"connect":{"token":"t","data":{"a":[1]},"name":"js","version":"5","flag":1}}"#,
            connect(Connect {
                token: "t".into(),
                data: b"{\"a\":[1]}",
                name: "js".into(),
                version: "5".into(),
                ..Connect::default()
            }),
        ),
        (r#"{"id":1,"connect":{}}"#, connect(Connect::default())),
        (
            r#"{"subscribe":{"channel":"c","token":"t","recover":true,"epoch":"e","offset":18446744073709551615,"positioned":true,"recoverable":true,"join_leave":true,"type":-2,"flag":1,"delta":"fossil","data":7},"id":1}"#,
            subscribe(Subscribe {
                channel: "c".into(),
                token: "t".into(),
                recover: true,
                epoch: "e".into(),
                offset: u64::MAX,
                positioned: true,
                recoverable: true,
                join_leave: true,
                kind: -2,
                flag: 1,
                delta: "fossil".into(),
                data: b"7",
                filter: None,
            }),
        ),
        (r#"{"id":1,"unsubscribe":{"channel":"c"}}"#, Method::Unsubscribe { channel: "c".into() }),
        (
            r#"{"id":1,"publish":{"channel":"c","data": "\ud800" }}"#,
            Method::Publish(Publish {
                channel: "c".into(),
                data: br#""\ud800""#,
                ..Publish::default()
            }),
        ),
        (
            r#"{"id":1,"publish":{"channel":"c","data":null}}"#,
            Method::Publish(Publish { channel: "c".into(), data: b"null", ..Publish::default() }),
        ),
    ];
    for (text, method) in table {
        assert_eq!(one(text), Ok(Command { id: 1, method, attributes: false }), "{text}");
    }
}

#[test]
fn the_other_methods_are_read() {
    let table = [
        (r#"{"id":1,"presence":{"channel":"c"}}"#, Method::Presence { channel: "c".into() }),
        (
            r#"{"id":1,"presence_stats":{"channel":"c"}}"#,
            Method::PresenceStats { channel: "c".into() },
        ),
        (
            r#"{"id":1,"history":{"channel":"c","limit":-1,"since":{"offset":3,"epoch":"e","x":[]},"reverse":true}}"#,
            Method::History(History {
                channel: "c".into(),
                limit: -1,
                since: Some((3, "e".into())),
                reverse: true,
            }),
        ),
        (
            r#"{"id":1,"history":{"channel":"c","since":null}}"#,
            Method::History(History { channel: "c".into(), ..Default::default() }),
        ),
        (r#"{"id":1,"ping":{}}"#, Method::Ping),
        (
            r#"{"id":1,"rpc":{"method":"where","data":{}}}"#,
            Method::Rpc { method: "where".into(), data: b"{}" },
        ),
        (r#"{"id":1,"rpc":{"method":"m"}}"#, Method::Rpc { method: "m".into(), data: b"" }),
        (r#"{"id":1,"refresh":{"token":"t"}}"#, Method::Refresh { token: "t".into() }),
        (
            r#"{"id":1,"sub_refresh":{"channel":"c","token":"t"}}"#,
            Method::SubRefresh { channel: "c".into(), token: "t".into(), asks_more: false },
        ),
        (
            r#"{"id":1,"sub_refresh":{"channel":"c","type":1,"track":[{"signature":"s"}]}}"#,
            Method::SubRefresh { channel: "c".into(), token: "".into(), asks_more: true },
        ),
    ];
    for (text, method) in table {
        assert_eq!(one(text), Ok(Command { id: 1, method, attributes: false }), "{text}");
    }
    assert_eq!(
        one(r#"{"send":{"data":1}}"#),
        Ok(Command { id: 0, method: Method::Send { data: b"1" }, attributes: false })
    );
    assert_eq!(one("{}"), Ok(Command { id: 0, method: Method::Pong, attributes: false }));
}

#[test]
fn what_the_envelope_may_not_be() {
    use DecodeError::{Malformed, NoMethod, WrongType};
    let table = [
        ("[]", WrongType),
        ("null", WrongType),
        ("\"{}\"", WrongType),
        ("x", Malformed),
        ("{", Malformed),
        ("{]", Malformed),
        ("{,}", Malformed),
        (r#"{"id":1,}"#, Malformed),
        (r#"{"id" 1}"#, Malformed),
        (r#"{id:1}"#, Malformed),
        (r#"{"id":1 "ping":{}}"#, Malformed),
        (r#"{"id":01,"ping":{}}"#, Malformed),
        (r#"{"id":-,"ping":{}}"#, Malformed),
        (r#"{"id":-1,"ping":{}}"#, WrongType),
        (r#"{"id":-0,"ping":{}}"#, WrongType),
        (r#"{"id":1.0,"ping":{}}"#, WrongType),
        (r#"{"id":1e2,"ping":{}}"#, WrongType),
        (r#"{"id":4294967296,"ping":{}}"#, WrongType),
        (r#"{"id":18446744073709551616,"ping":{}}"#, WrongType),
        (r#"{"id":"1","ping":{}}"#, WrongType),
        (r#"{"id":true,"ping":{}}"#, WrongType),
        (r#"{"id":1,"ping":5}"#, WrongType),
        (r#"{"id":1,"ping":[]}"#, WrongType),
        (r#"{"id":1,"ping":true}"#, WrongType),
        (r#"{"id":1,"ping":nil}"#, Malformed),
        (r#"{"id":1}"#, NoMethod),
        (r#"{"id":1,"ping":null}"#, NoMethod),
        (r#"{"id":1,"pong":{}}"#, NoMethod),
        (r#"{"id":1,"Ping":{}}"#, NoMethod),
        (r#"{"id":1,"ping":{},"rpc":{}}"#, NoMethod),
        (r#"{"id":1,"unsubscribe":{"channel":5}}"#, WrongType),
        (r#"{"id":1,"unsubscribe":{"channel":"a}}"#, Malformed),
        (r#"{"id":1,"unsubscribe":{"channel":"\x"}}"#, Malformed),
        (r#"{"id":1,"unsubscribe":{"channel":"\u12g4"}}"#, Malformed),
        ("{\"id\":1,\"unsubscribe\":{\"channel\":\"a\nb\"}}", Malformed),
        (r#"{"id":1,"subscribe":{"recover":1}}"#, WrongType),
        (r#"{"id":1,"subscribe":{"recover":truth}}"#, Malformed),
        (r#"{"id":1,"subscribe":{"offset":-1}}"#, WrongType),
        (r#"{"id":1,"subscribe":{"offset":1.5}}"#, WrongType),
        (r#"{"id":1,"subscribe":{"offset":"1"}}"#, WrongType),
        (r#"{"id":1,"subscribe":{"type":9223372036854775808}}"#, WrongType),
        (r#"{"id":1,"history":{"limit":2147483648}}"#, WrongType),
        (r#"{"id":1,"history":{"since":[]}}"#, WrongType),
        (r#"{"id":1,"publish":{"channel":"c","data":}}"#, Malformed),
        (r#"{"id":1,"publish":{"channel":"c","data":[1,]}}"#, Malformed),
    ];
    for (text, error) in table {
        assert_eq!(one(text), Err(error), "{text}");
    }
    assert_eq!(
        Commands::new(b"{\"id\":1,\"refresh\":{\"token\":\"\xff\"}}").next(),
        Some(Err(Malformed))
    );
}

#[test]
fn commands_need_nothing_between_them() {
    let message =
        |between: &str| format!("{{\"id\":1,\"ping\":{{}}}}{between}{{\"id\":2,\"ping\":{{}}}}");
    let read = |text: &str| {
        let commands = Commands::new(text.as_bytes());
        commands.map(|command| command.map(|command| command.id)).collect::<Vec<_>>()
    };
    for between in ["", " ", "\t", "\n", "\r\n", " \n\n "] {
        assert_eq!(read(&message(between)), [Ok(1), Ok(2)], "{between:?}");
    }
    // Text that is not a command ends it, and the commands before it are carried out.
    for (between, error) in [
        (",", DecodeError::Malformed),
        ("x", DecodeError::Malformed),
        ("\u{a0}", DecodeError::Malformed),
        ("1", DecodeError::WrongType),
    ] {
        assert_eq!(read(&message(between)), [Ok(1), Err(error)], "{between:?}");
    }
}

#[test]
fn what_the_envelope_may_be() {
    let unsubscribe = |channel: &'static str| Method::Unsubscribe { channel: channel.into() };
    let table = [
        (r#"{"id":null,"ping":null}"#, 0, Method::Pong),
        (r#" { "id" : 1 , "ping" : { } } "#, 1, Method::Ping),
        (r#"{"id":1,"id":4294967295,"ping":{}}"#, u32::MAX, Method::Ping),
        (r#"{"id":1,"rpc":null,"ping":{},"send":null}"#, 1, Method::Ping),
        (r#"{"id":1,"rpc":{},"rpc":null,"ping":{}}"#, 1, Method::Ping),
        (r#"{"id":1,"x":{"ping":[{}]},"ping":{"y":"\ud800"},"z":1e400}"#, 1, Method::Ping),
        (
            r#"{"id":1,"unsubscribe":{"channel":"a"},"unsubscribe":{"channel":"b"}}"#,
            1,
            unsubscribe("b"),
        ),
        (r#"{"id":1,"unsubscribe":{"channel":"a","channel":null}}"#, 1, unsubscribe("")),
        (
            r#"{"\u0069d":1,"unsubscribe":{"\u0063hannel":"\u00e9\"\\\/\b\f\n\r\t"}}"#,
            1,
            unsubscribe("é\"\\/\u{8}\u{c}\n\r\t"),
        ),
        (r#"{"id":1,"unsubscribe":{"channel":"\uD83D\uDE00"}}"#, 1, unsubscribe("😀")),
        (
            r#"{"id":1,"unsubscribe":{"channel":"\ud83dx\ude00\ud800\ud83d\ude00"}}"#,
            1,
            unsubscribe("\u{fffd}x\u{fffd}\u{fffd}😀"),
        ),
        (
            r#"{"id":1,"unsubscribe":{"channel":"\ud800\u0041\udc00\udc00"}}"#,
            1,
            unsubscribe("\u{fffd}A\u{fffd}\u{fffd}"),
        ),
    ];
    for (text, id, method) in table {
        assert_eq!(one(text), Ok(Command { id, method, attributes: false }), "{text}");
    }
}

#[test]
fn names_are_borrowed_unless_they_have_escapes() {
    let channel = |text| match one(text) {
        Ok(Command { method: Method::Presence { channel }, .. }) => channel,
        other => panic!("{other:?}"),
    };
    assert!(matches!(channel(r#"{"id":1,"presence":{"channel":"é"}}"#), Cow::Borrowed("é")));
    assert!(matches!(channel(r#"{"id":1,"presence":{"channel":"\u00e9"}}"#), Cow::Owned(_)));
}

#[test]
fn depth_in_data_is_answered_and_in_the_envelope_ends_it() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let with_data =
        |method: &str, data: &str| format!(r#"{{"id":7,"{method}":{{"data":{data}}}}}"#);
    for method in ["connect", "subscribe", "publish", "rpc", "send"] {
        let text = with_data(method, &nested(64));
        let excessive = match method {
            "connect" => Method::ExcessiveConnect,
            _ => Method::Excessive,
        };
        assert_ne!(one(&text).unwrap().method, excessive, "{method}");
        for deep in [nested(65), nested(10_000), r#"{"a":"#.repeat(65) + "1" + &"}".repeat(65)] {
            let text = with_data(method, &deep);
            assert_eq!(
                one(&text),
                Ok(Command { id: 7, method: excessive.clone(), attributes: false }),
                "{method}"
            );
        }
    }
    // Brackets in strings over the bound are text, and the command after it is found.
    let deep = format!("{}\"]]\\\"}}\"{}", "[".repeat(70), "]".repeat(70));
    let text = with_data("publish", &deep) + "\n{}";
    let methods: Vec<_> =
        Commands::new(text.as_bytes()).map(|command| command.unwrap().method).collect();
    assert_eq!(methods, [Method::Excessive, Method::Pong]);

    let unknown = |levels| format!(r#"{{"id":7,"ping":{{}},"x":{}}}"#, nested(levels));
    assert!(one(&unknown(63)).is_ok());
    assert_eq!(one(&unknown(64)), Err(DecodeError::TooDeep));
    assert_eq!(one(&unknown(10_000)), Err(DecodeError::TooDeep));
    let inside = |levels| format!(r#"{{"id":7,"ping":{{"x":{}}}}}"#, nested(levels));
    assert!(one(&inside(62)).is_ok());
    assert_eq!(one(&inside(63)), Err(DecodeError::TooDeep));
    let since = |levels| format!(r#"{{"history":{{"since":{{"x":{}}}}}}}"#, nested(levels));
    assert!(one(&since(61)).is_ok());
    assert_eq!(one(&since(62)), Err(DecodeError::TooDeep));
    assert_eq!(one(&with_data("publish", &"[".repeat(10_000))), Err(DecodeError::Malformed));
    assert_eq!(one(&"[{".repeat(10_000)), Err(DecodeError::WrongType));
}

#[test]
fn commands_are_taken_one_by_one() {
    let text = b"\n {\"id\":1,\r\n \"ping\":{}}\n\n{}\r\n{\"id\":2,\"ping\":{}}\t \n";
    let mut commands = Commands::new(text);
    let mut offsets = vec![commands.rest()];
    let mut ids = Vec::new();
    while let Some(command) = commands.next() {
        ids.push(command.unwrap().id);
        offsets.push(commands.rest());
    }
    assert_eq!(ids, [1, 0, 2]);
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(offsets.last(), Some(&text.len()));
    for (index, offset) in offsets[..3].iter().enumerate() {
        assert_eq!(text[*offset], b'{');
        let rest: Vec<_> =
            Commands::new(&text[*offset..]).map(|command| command.unwrap().id).collect();
        assert_eq!(rest, ids[index..]);
    }
    for empty in ["", " ", "\n\r\n\t"] {
        assert_eq!(Commands::new(empty.as_bytes()).next(), None);
    }
}

#[test]
fn after_an_error_nothing_is_read() {
    let text = b"{}\n{\"id\":1}\n{}";
    let mut commands = Commands::new(text);
    assert!(commands.next().unwrap().is_ok());
    assert_eq!(commands.next(), Some(Err(DecodeError::NoMethod)));
    assert_eq!((commands.next(), commands.rest()), (None, 3));
}

/// serde_json's extent of a value in a payload's place; `None` if it is not JSON.
fn oracle(value: &str) -> Option<&str> {
    serde_json::from_str::<&serde_json::value::RawValue>(value).ok().map(|raw| raw.get())
}

fn payload(text: &str) -> Option<&[u8]> {
    match one(text) {
        Ok(Command { method: Method::Send { data }, .. }) => Some(data),
        Ok(Command { method: Method::Excessive, .. }) => panic!("too deep: {text}"),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_string()),
        Just("true".to_string()),
        Just("false".to_string()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?",
        "\"([ !#-\\[\\]-~é😀]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,24}\"",
    ]
}

fn document() -> impl Strategy<Value = String> {
    let space = "[ \t\r\n]{0,2}";
    scalar().prop_recursive(6, 40, 4, move |inner| {
        let key = "\"([a-z]|\\\\u00e9){0,9}\"";
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space).prop_map(|(items, space)| format!(
                "[{space}{}{space}]",
                items.join(&format!("{space},"))
            )),
            (prop::collection::vec((key, inner), 0..4), space).prop_map(|(members, space)| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, value)| format!("{space}{key}{space}:{space}{value}"))
                    .collect();
                format!("{{{}{space}}}", members.join(","))
            }),
        ]
    })
}

/// A document with a few of its characters replaced, removed or doubled.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), "[\\[\\]{}\",:\\\\ u0-9eE.+\\-a-f\u{1}\n]", 0..3u8);
    (document(), prop::collection::vec(edit, 1..4)).prop_map(|(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, character, kind) in edits {
            let at = at.index(text.len() + 1);
            let character = character.chars().next().expect("one character");
            match kind {
                0 => text.insert(at, character),
                1 if at < text.len() => text[at] = character,
                _ if at < text.len() => drop(text.remove(at)),
                _ => {}
            }
        }
        text.into_iter().collect()
    })
}

/// The members of an object, of any kind.
type Members = std::collections::BTreeMap<String, serde::de::IgnoredAny>;
/// A string literal with escapes, as a pattern.
const STRING: &str = "\"([ !#-\\[\\]-~é😀]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,24}\"";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn documents_are_kept_as_serde_json_keeps_them(value in document(), space in "[ \t\r\n]{0,3}") {
        let text = format!("{{\"send\":{{\"data\":{space}{value}{space}}}}}");
        let extent = oracle(&value);
        prop_assert!(extent.is_some(), "{}", value);
        prop_assert_eq!(payload(&text), extent.map(str::as_bytes));
    }

    #[test]
    fn mutants_are_judged_as_serde_json_judges_them(value in mutated()) {
        // In an array an early end of the value cannot be taken for the end of the command.
        let text = format!("{{\"send\":{{\"data\":[{value}]}}}}");
        let list = format!("[{value}]");
        let whole = serde_json::from_str::<Members>(&text).is_ok();
        let mut commands = serde_json::Deserializer::from_str(&text).into_iter::<Members>();
        let first = commands.next().is_some_and(|command| command.is_ok());
        match (oracle(&list), whole, first) {
            (Some(extent), true, _) => prop_assert_eq!(payload(&text), Some(extent.as_bytes())),
            (None, false, false) => prop_assert_eq!(payload(&text), None),
            // The mutation closed the payload, or the whole command, and opened something else.
            _ => drop(Commands::new(text.as_bytes()).next()),
        }
    }

    #[test]
    fn any_command_is_judged_as_serde_json_judges_it(value in mutated()) {
        // The mutation may have ended the command and begun another.
        let text = format!("{{\"unknown\":{value}}}");
        let mut known = serde_json::Deserializer::from_str(&text).into_iter::<Members>();
        let known = known.all(|command| command.is_ok());
        match Commands::new(text.as_bytes()).find_map(Result::err) {
            None => prop_assert!(known, "{}", text),
            Some(DecodeError::Malformed) => prop_assert!(!known, "{}", text),
            // It is read no further, so the rest is unknown.
            Some(_) => {}
        }
    }

    #[test]
    fn names_are_unescaped_as_serde_json_does(value in STRING) {
        let text = format!("{{\"refresh\":{{\"token\":{value}}}}}");
        // Without lone surrogates, which are an error in serde_json.
        if let Ok(expected) = serde_json::from_str::<String>(&value) {
            let method = Method::Refresh { token: expected.into() };
            prop_assert_eq!(one(&text), Ok(Command { id: 0, method, attributes: false }));
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut commands = Commands::new(&bytes);
        while commands.next().is_some() {}
        prop_assert!(commands.rest() <= bytes.len());
    }
}
