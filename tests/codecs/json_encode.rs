//! Replies as JSON: the texts are what Centrifugo's protocol package 0.23.1 writes for the same
//! values, except for the position of `publications` in a subscribe reply.

use corecast::codec::command::{
    ClientInfo, ConnectResult, ErrorCode, Expiry, HistoryResult, Named, Publication, Push,
    PushSubscribe, RefreshResult, Reply, SubscribeResult, Tags,
};
use corecast::codec::json::{
    PUBLICATION_SEPARATOR, SUBSCRIBE_TAIL, publication_len, push_publication_len, reply_len,
    subscribe_head_len, write_publication, write_push_publication, write_reply,
    write_subscribe_head, write_subscribe_tail,
};
use proptest::prelude::*;

fn info<'a>(user: &'a str, client: &'a str) -> ClientInfo<'a> {
    ClientInfo { user: user.into(), client: client.into(), ..ClientInfo::default() }
}

fn full() -> Publication<'static> {
    Publication {
        data: b"{\"a\":1}",
        info: Some(info("al", "c1")),
        offset: 7,
        ..Publication::default()
    }
}

fn bare() -> Publication<'static> {
    Publication { data: b"1", info: None, offset: 0, ..Publication::default() }
}

fn text(reply: &Reply<'_>) -> String {
    let mut out = b"before".to_vec();
    write_reply(&mut out, reply);
    assert_eq!(out.len(), 6 + reply_len(reply));
    String::from_utf8(out.split_off(6)).unwrap()
}

#[test]
fn what_begins_and_renews_is_what_centrifugo_writes() {
    let connect = ConnectResult {
        client: "c1",
        version: "0.1.0",
        ping_s: 25,
        pong: true,
        ..Default::default()
    };
    let quiet =
        ConnectResult { client: "c1", version: "", ping_s: 0, pong: false, ..Default::default() };
    let one = [bare()];
    let subs = [
        ("a", SubscribeResult::default()),
        (
            "b",
            SubscribeResult { epoch: "abcd", data: b"1", publications: &one, ..Default::default() },
        ),
    ];
    let table = [
        (
            Reply::Connect { id: 1, result: connect },
            r#"{"id":1,"connect":{"client":"c1","version":"0.1.0","ping":25,"pong":true}}"#,
        ),
        (Reply::Connect { id: 1, result: quiet }, r#"{"id":1,"connect":{"client":"c1"}}"#),
        (
            Reply::Connect {
                id: 1,
                result: ConnectResult {
                    client: "c1",
                    expiry: Expiry { expires: true, ttl_s: 60 },
                    data: b"[]",
                    subs: &subs,
                    session: "s",
                    node: "n",
                    ..Default::default()
                },
            },
            r#"{"id":1,"connect":{"client":"c1","expires":true,"ttl":60,"data":[],"subs":{"a":{},"b":{"epoch":"abcd","data":1,"publications":[{"data":1}]}},"session":"s","node":"n"}}"#,
        ),
        (
            Reply::Refresh {
                id: 2,
                result: RefreshResult {
                    client: "c1",
                    version: "v",
                    expiry: Expiry { expires: true, ttl_s: 1 },
                },
            },
            r#"{"id":2,"refresh":{"client":"c1","version":"v","expires":true,"ttl":1}}"#,
        ),
        (Reply::SubRefresh { id: 3, expiry: Expiry::default() }, r#"{"id":3,"sub_refresh":{}}"#),
    ];
    for (reply, expected) in table {
        assert_eq!(text(&reply), expected);
    }
}

#[test]
fn results_are_what_centrifugo_writes() {
    let clients = [info("al", "c1"), info("", "c2")];
    let publications = [full()];
    let history = HistoryResult { publications: &publications, epoch: "abcd", offset: 9 };
    let position = HistoryResult { publications: &[], epoch: "abcd", offset: 0 };
    let table = [
        (
            Reply::Error { id: 1, error: ErrorCode::UnknownChannel },
            r#"{"id":1,"error":{"code":102,"message":"unknown channel"}}"#,
        ),
        (
            Reply::Error { id: 1, error: ErrorCode::Internal },
            r#"{"id":1,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
        ),
        (Reply::Unsubscribe { id: 1 }, r#"{"id":1,"unsubscribe":{}}"#),
        (Reply::Publish { id: u32::MAX }, r#"{"id":4294967295,"publish":{}}"#),
        (
            Reply::Presence { id: 1, clients: &clients },
            r#"{"id":1,"presence":{"presence":{"c1":{"user":"al","client":"c1"},"c2":{"user":"","client":"c2"}}}}"#,
        ),
        (Reply::Presence { id: 1, clients: &[] }, r#"{"id":1,"presence":{"presence":{}}}"#),
        (
            Reply::PresenceStats { id: 1, clients: 2, users: 1 },
            r#"{"id":1,"presence_stats":{"num_clients":2,"num_users":1}}"#,
        ),
        (
            Reply::PresenceStats { id: 1, clients: 0, users: 0 },
            r#"{"id":1,"presence_stats":{"num_clients":0,"num_users":0}}"#,
        ),
        (
            Reply::History { id: 1, result: history },
            r#"{"id":1,"history":{"publications":[{"data":{"a":1},"info":{"user":"al","client":"c1"},"offset":7}],"epoch":"abcd","offset":9}}"#,
        ),
        (
            Reply::History { id: 1, result: position },
            r#"{"id":1,"history":{"publications":[],"epoch":"abcd","offset":0}}"#,
        ),
        (Reply::Ping { id: 1 }, r#"{"id":1,"ping":{}}"#),
        (Reply::Rpc { id: 1, data: b"[1]" }, r#"{"id":1,"rpc":{"data":[1]}}"#),
        (Reply::Rpc { id: 1, data: b"" }, r#"{"id":1,"rpc":{}}"#),
        (Reply::Rpc { id: 1, data: b"[\r\n1]" }, r#"{"id":1,"rpc":{"data":[  1]}}"#),
        (Reply::ServerPing, "{}"),
    ];
    for (reply, expected) in table {
        assert_eq!(text(&reply), expected);
    }
}

#[test]
fn pushes_are_what_centrifugo_writes() {
    let packed = corecast::codec::tags::pack(&[("k".into(), "v".into()), ("é".into(), "".into())]);
    let packed = packed.expect("short enough");
    let infos =
        ClientInfo { conn_info: b"{\"a\":1}".into(), chan_info: b"2".into(), ..info("al", "c1") };
    let rich = Publication {
        payload: corecast::codec::command::Payload::Json,
        data: b"\"x\"",
        info: Some(infos),
        offset: 0,
        tags: Tags::packed(&packed),
        delta: true,
        time_ms: 1700,
        verbatim: false,
    };
    let object = Publication { data: b"{}", ..Publication::default() };
    let table = [
        (
            Push::Publication(full()),
            r#"{"push":{"channel":"chat","pub":{"data":{"a":1},"info":{"user":"al","client":"c1"},"offset":7}}}"#,
        ),
        (Push::Publication(object), r#"{"push":{"channel":"chat","pub":{"data":{}}}}"#),
        (
            Push::Join(info("al", "c1")),
            r#"{"push":{"channel":"chat","join":{"info":{"user":"al","client":"c1"}}}}"#,
        ),
        (
            Push::Leave(info("", "c")),
            r#"{"push":{"channel":"chat","leave":{"info":{"user":"","client":"c"}}}}"#,
        ),
        (
            Push::Publication(rich.clone()),
            r#"{"push":{"channel":"chat","pub":{"data":"x","info":{"user":"al","client":"c1","conn_info":{"a":1},"chan_info":2},"tags":{"k":"v","é":""},"delta":true,"time":1700}}}"#,
        ),
        (
            Push::Subscribe(PushSubscribe {
                recoverable: true,
                positioned: true,
                epoch: "abcd",
                offset: 2,
                data: b"{}",
            }),
            r#"{"push":{"channel":"chat","subscribe":{"recoverable":true,"epoch":"abcd","offset":2,"positioned":true,"data":{}}}}"#,
        ),
        (Push::Message { data: b"1" }, r#"{"push":{"channel":"chat","message":{"data":1}}}"#),
        (
            Push::Disconnect { code: 3001, reason: "shutdown", reconnect: true },
            r#"{"push":{"channel":"chat","disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}}"#,
        ),
        (
            Push::Refresh(Expiry { expires: true, ttl_s: 5 }),
            r#"{"push":{"channel":"chat","refresh":{"expires":true,"ttl":5}}}"#,
        ),
        (
            Push::Unsubscribe { code: 2500, reason: "insufficient state" },
            r#"{"push":{"channel":"chat","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
        ),
    ];
    for (push, expected) in table {
        let numbered = expected.replace(r#""channel":"chat""#, r#""id":7"#);
        assert_eq!(text(&Reply::NumberedPush { number: 7, push: push.clone() }), numbered);
        assert_eq!(text(&Reply::Push { channel: "chat", push }), expected);
    }
}

#[test]
fn subscribe_replies_are_what_centrifugo_writes() {
    let publications = [full(), bare()];
    let recovered = SubscribeResult {
        recoverable: true,
        positioned: true,
        epoch: "abcd",
        offset: 9,
        recovered: true,
        was_recovering: true,
        publications: &publications,
        ..Default::default()
    };
    let reply = text(&Reply::Subscribe { id: 1, result: recovered.clone() });
    let expected = r#"{"id":1,"subscribe":{"recoverable":true,"epoch":"abcd","publications":[{"data":{"a":1},"info":{"user":"al","client":"c1"},"offset":7},{"data":1}],"recovered":true,"offset":9,"positioned":true,"was_recovering":true}}"#;
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&reply), value(expected));
    assert_eq!(reply.len(), expected.len());
    let at = SubscribeResult { offset: 3, positioned: true, ..Default::default() };
    let numbered = SubscribeResult { number: 7, debounce_ms: 100, ..Default::default() };
    let table = [
        (numbered, r#"{"id":1,"subscribe":{"id":7,"publish_debounce":100}}"#),
        (SubscribeResult::default(), r#"{"id":1,"subscribe":{}}"#),
        (at, r#"{"id":1,"subscribe":{"offset":3,"positioned":true}}"#),
        (
            SubscribeResult { publications: &publications[1..], ..Default::default() },
            r#"{"id":1,"subscribe":{"publications":[{"data":1}]}}"#,
        ),
    ];
    for (result, expected) in table {
        assert_eq!(text(&Reply::Subscribe { id: 1, result }), expected);
    }
}

#[test]
fn names_are_escaped_where_json_asks_for_it() {
    let channel = "a\"\\/\u{8}\n\r\t\u{1f}\u{7f}\u{2028}é😀 and more than eight plain bytes";
    let reply = text(&Reply::Push { channel, push: Push::Unsubscribe { code: 1, reason: "" } });
    assert_eq!(
        reply,
        "{\"push\":{\"channel\":\"a\\\"\\\\/\\u0008\\n\\r\\t\\u001f\u{7f}\u{2028}é😀 and more than \
         eight plain bytes\",\"unsubscribe\":{\"code\":1,\"reason\":\"\"}}}"
    );
}

proptest! {
    #[test]
    fn any_name_comes_back(channel in ".*", reason in "\\PC*") {
        let push = Push::Unsubscribe { code: 2500, reason: &reason };
        let value: serde_json::Value =
            serde_json::from_str(&text(&Reply::Push { channel: &channel, push })).unwrap();
        // A push about the connection has no channel.
        prop_assert_eq!(value["push"]["channel"].as_str().unwrap_or(""), channel);
        prop_assert_eq!(&value["push"]["unsubscribe"]["reason"], &reason);
    }

    #[test]
    fn a_subscribe_reply_in_pieces_is_the_whole(
        id in any::<u32>(),
        flags in any::<[bool; 4]>(),
        epoch in "[a-z\"]{0,4}",
        offset in prop_oneof![Just(0), any::<u64>()],
        offsets in prop::collection::vec(any::<u64>(), 1..4),
    ) {
        let publications: Vec<_> =
            offsets.iter().map(|offset| Publication { offset: *offset, ..full() }).collect();
        let result = SubscribeResult {
            recoverable: flags[0],
            positioned: flags[1],
            recovered: flags[2],
            was_recovering: flags[3],
            epoch: &epoch,
            offset,
            publications: &publications,
            ..Default::default()
        };
        let mut pieces = Vec::new();
        let bare = SubscribeResult { publications: &[], ..result.clone() };
        write_subscribe_head(&mut pieces, id, &bare);
        prop_assert_eq!(pieces.len(), subscribe_head_len(id, &bare));
        for (index, publication) in publications.iter().enumerate() {
            if index > 0 {
                pieces.push(PUBLICATION_SEPARATOR);
            }
            let before = pieces.len();
            write_publication(&mut pieces, publication);
            prop_assert_eq!(pieces.len() - before, publication_len(publication));
        }
        let before = pieces.len();
        write_subscribe_tail(&mut pieces);
        prop_assert_eq!(&pieces[before..], SUBSCRIBE_TAIL);
        prop_assert_eq!(String::from_utf8(pieces).unwrap(), text(&Reply::Subscribe { id, result }));
    }
}

#[test]
fn the_fast_path_writes_the_same_push() {
    let mut fast = Vec::new();
    let named = Named::Name("chat:\"x");
    write_push_publication(&mut fast, named, &full());
    assert_eq!(fast.len(), push_publication_len(named, &full()));
    let push = Push::Publication(full());
    assert_eq!(String::from_utf8(fast).unwrap(), text(&Reply::Push { channel: "chat:\"x", push }));
}
