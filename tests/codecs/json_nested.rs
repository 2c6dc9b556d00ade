//! Commands from JSON with members that nest: filters, tags, subscriptions to recover; and their
//! bounds.

use crate::json_decode::{connect as connect_method, one, subscribe as subscribe_method};
use corecast::codec::command::{
    Command, Connect, DecodeError, FilterNode, Method, Publish, Subscribe,
};
use corecast::limits::{CONNECT_SUBS, FILTER_DEPTH, FILTER_NODES, TAGS_PER_PUBLICATION};

#[test]
fn what_nests_is_read() {
    let leaf =
        |key: &'static str| FilterNode { key: key.into(), cmp: "ex".into(), ..Default::default() };
    let table = [
        (
            r#"{"id":1,"publish":{"channel":"c","data":1,"tags":{"a":"1","é":null},"exclude_self":true,"idempotency_key":"k"}}"#,
            Method::Publish(Publish {
                channel: "c".into(),
                data: b"1",
                tags: vec![("a".into(), "1".into()), ("é".into(), "".into())],
                exclude_self: true,
                idempotency_key: "k".into(),
                asks_more: false,
            }),
        ),
        (
            r#"{"id":1,"publish":{"channel":"c","data":1,"users":["a"],"key":""}}"#,
            Method::Publish(Publish {
                channel: "c".into(),
                data: b"1",
                asks_more: true,
                ..Default::default()
            }),
        ),
        (
            r#"{"id":1,"publish":{"channel":"c","data":1,"users":[],"key":"","prio":0,"audience":null,"drop":false}}"#,
            Method::Publish(Publish { channel: "c".into(), data: b"1", ..Default::default() }),
        ),
        (
            r#"{"id":1,"subscribe":{"channel":"c","tf":{"op":"and","nodes":[{"key":"a","cmp":"ex"},{"key":"b","cmp":"in","vals":["x","y"],"val":"z"}]}}}"#,
            subscribe_method(Subscribe {
                channel: "c".into(),
                filter: Some(FilterNode {
                    op: "and".into(),
                    nodes: vec![
                        leaf("a"),
                        FilterNode {
                            cmp: "in".into(),
                            val: "z".into(),
                            vals: vec!["x".into(), "y".into()],
                            ..leaf("b")
                        },
                    ],
                    ..Default::default()
                }),
                ..Default::default()
            }),
        ),
        (
            r#"{"id":1,"connect":{"subs":{"c":{"recover":true,"epoch":"e","offset":3,"channel":"other"},"d":{}}}}"#,
            connect_method(Connect {
                subs: vec![
                    Subscribe {
                        channel: "c".into(),
                        recover: true,
                        epoch: "e".into(),
                        offset: 3,
                        ..Default::default()
                    },
                    Subscribe { channel: "d".into(), ..Default::default() },
                ],
                ..Default::default()
            }),
        ),
    ];
    for (text, method) in table {
        assert_eq!(one(text), Ok(Command { id: 1, method, attributes: false }), "{text}");
    }
}

#[test]
fn what_asks_for_nothing_is_told_from_what_does() {
    let attributes = one(r#"{"id":1,"ping":{},"attributes":{"set":{"a":"b"}}}"#);
    assert_eq!(attributes, Ok(Command { id: 1, method: Method::Ping, attributes: true }));
    let nothing = one(r#"{"id":1,"ping":{},"attributes":{}}"#);
    assert_eq!(nothing, Ok(Command { id: 1, method: Method::Ping, attributes: false }));
    for (id, alone) in [(5, r#"{"id":5,"attributes":[0]}"#), (0, r#"{"attributes":"x"}"#)] {
        let method = Method::Attributes;
        assert_eq!(one(alone), Ok(Command { id, method, attributes: true }), "{alone}");
    }
    assert_eq!(one(r#"{"id":5,"attributes":null}"#), Err(DecodeError::NoMethod));
    for bad in [r#""tf":1"#, r#""tf":{"vals":"x"}"#, r#""tf":{"nodes":[1]}"#, r#""tf":{"op":2}"#] {
        let text = format!(r#"{{"id":1,"subscribe":{{"channel":"c",{bad}}}}}"#);
        assert_eq!(one(&text), Err(DecodeError::WrongType), "{text}");
    }
}

#[test]
fn what_is_over_its_bound_is_excessive() {
    let node = |inside: String| format!(r#"{{"op":"not","nodes":[{inside}]}}"#);
    let deep =
        |levels: usize| (1..levels).fold(r#"{"key":"a"}"#.to_owned(), |inner, _| node(inner));
    let list = |count: usize, each: &str| vec![each; count].join(",");
    let members = |count: usize, each: &str| {
        (0..count).map(|n| format!("\"{n}\":{each}")).collect::<Vec<_>>().join(",")
    };
    let subscribe =
        |filter: String| format!(r#"{{"id":1,"subscribe":{{"channel":"c","tf":{filter}}}}}"#);
    let values =
        |count| subscribe(format!(r#"{{"key":"a","cmp":"in","vals":[{}]}}"#, list(count, "\"v\"")));
    let publish = |count| {
        format!(
            r#"{{"id":1,"publish":{{"channel":"c","data":1,"tags":{{{}}}}}}}"#,
            members(count, "\"v\"")
        )
    };
    let connect =
        |count| format!(r#"{{"id":1,"connect":{{"subs":{{{}}}}}}}"#, members(count, "{}"));
    assert_ne!(one(&connect(CONNECT_SUBS)).expect("it reads").method, Method::ExcessiveConnect);
    let over = connect(CONNECT_SUBS + 1);
    assert_eq!(one(&over).expect("it reads").method, Method::ExcessiveConnect);
    let table = [
        (subscribe(deep(FILTER_DEPTH)), subscribe(deep(FILTER_DEPTH + 1))),
        // Over the envelope's bound too.
        (subscribe(deep(1)), subscribe(deep(40))),
        (subscribe(deep(1)), subscribe(deep(1_000))),
        (values(FILTER_NODES - 1), values(FILTER_NODES)),
        (publish(TAGS_PER_PUBLICATION), publish(TAGS_PER_PUBLICATION + 1)),
    ];
    for (within, over) in table {
        assert_ne!(one(&within).expect("it reads").method, Method::Excessive, "{within}");
        assert_eq!(one(&over).expect("it reads").method, Method::Excessive, "{over}");
    }
}
