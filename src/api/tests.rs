//! Bodies that are valid, invalid, or ask for too much, and their answers.

use super::answer;
use super::answer::{Answer, Node};
use super::*;
use crate::codec::command::{ClientInfo, ErrorCode, History, HistoryResult, Publication, Tags};
use crate::limits::{BROADCAST_CHANNELS, JSON_DEPTH, TAGS_PER_PUBLICATION, WHITELIST_CLIENTS};
use std::borrow::Cow;

fn publish(body: &[u8]) -> Result<(Cow<'_, str>, Published<'_>), ErrorCode> {
    match read(ApiMethod::Publish, body)? {
        ApiRequest::Publish { channel, what } => Ok((channel, what)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn methods_stand_in_their_order() {
    for (index, method) in ApiMethod::ALL.into_iter().enumerate() {
        assert_eq!(method as usize, index);
    }
    for method in ApiMethod::served() {
        assert_eq!(ApiMethod::named(method.name()), Some(method));
    }
    assert_eq!((ApiMethod::named("Publish"), ApiMethod::named("map")), (None, None));
    for name in ["map_publish", "map_remove", "map_whatever_comes"] {
        assert_eq!(ApiMethod::named(name), Some(ApiMethod::Map), "{name}");
    }
}

#[test]
fn a_publish_keeps_its_data_as_it_came() {
    let body =
        br#" { "extra": {"x": 1}, "data": {"a" : 1.50, "b":"\ud800"} , "channel":"chat:a" }"#;
    let (channel, what) = publish(body).expect("a good body");
    assert_eq!((&*channel, &*what.data), ("chat:a", br#"{"a" : 1.50, "b":"\ud800"}"#.as_slice()));
    assert!(matches!((channel, what.data), (Cow::Borrowed(_), Cow::Borrowed(_))));
    let nulls = br#"{"channel":"\u0061","data":null,"skip_history":null,"tags":null,
        "b64data":null,"idempotency_key":null,"version":0,"delta":true}"#;
    let (channel, what) = publish(nulls).expect("null is empty");
    assert_eq!(channel, "a");
    assert_eq!(what, Published { data: b"null".as_slice().into(), ..Published::default() });
}

#[test]
fn a_publish_with_everything() {
    let body = br#"{"channel":"a","data":1,"b64data":"eyJhIjoxfQ==","skip_history":true,
        "tags":{"k":"v","k":"w"},"idempotency_key":"once",
        "version":18446744073709551615,"version_epoch":"e"}"#;
    let (_, what) = publish(body).expect("a good body");
    assert_eq!(&*what.data, b"{\"a\":1}", "bytes win over the value");
    assert!(what.bytes && what.skip_history && what.idempotency_key == "once");
    assert_eq!((what.version, &*what.version_epoch), (u64::MAX, "e"));
    assert_eq!(Tags::packed(&what.tags).iter().collect::<Vec<_>>(), [("k", "w")]);
    let many = |count: usize| {
        let tags: Vec<String> = (0..count).map(|n| format!(r#""{n}":"""#)).collect();
        format!(r#"{{"channel":"a","data":1,"tags":{{{}}}}}"#, tags.join(","))
    };
    assert!(publish(many(TAGS_PER_PUBLICATION).as_bytes()).is_ok());
    assert!(publish(many(TAGS_PER_PUBLICATION + 1).as_bytes()).is_err());
}

/// Bodies that are wrong for a method, whatever the state of the server.
fn bad(method: ApiMethod) -> &'static [&'static str] {
    match method {
        ApiMethod::Publish => &[
            "{}",
            r#"{"channel":"a"}"#,
            r#"{"data":1}"#,
            r#"{"channel":"","data":1}"#,
            r#"{"channel":"a","data":}"#,
            r#"{"channel":"a","data":1,"data":2}"#,
            r#"{"channel":"a","channel":"b","data":2}"#,
            r#"{"channel":"a","data":01}"#,
            r#"{"channel":"a","data":1} x"#,
            r#"{"channel":"a","data":1,"skip_history":"yes"}"#,
            r#"{"channel":"a","data":1,"tags":{"a":1}}"#,
            r#"{"channel":"a","data":1,"tags":["a"]}"#,
            r#"{"channel":"a","data":1,"b64data":"?"}"#,
            r#"{"channel":"a","data":1,"b64data":"AA"}"#,
            r#"{"channel":"a","data":1,"version":-1}"#,
            r#"{"channel":"a","b64data":""}"#,
        ],
        ApiMethod::Broadcast => &[
            "{}",
            r#"{"channels":[],"data":1}"#,
            r#"{"channels":"a","data":1}"#,
            r#"{"channels":["a",1],"data":1}"#,
            r#"{"channels":["a"]}"#,
        ],
        ApiMethod::Subscribe => &[
            r#"{"user":"u"}"#,
            r#"{"channel":"a"}"#,
            r#"{"user":"u","channel":"a","override":{"presence":true}}"#,
            r#"{"user":"u","channel":"a","recover_since":{"offset":-1}}"#,
            r#"{"user":"u","channel":"a","recover_since":[1,"e"]}"#,
            r#"{"user":"u","channel":"a","b64info":"e30"}"#,
            r#"{"user":"u","channel":"a","b64data":"ew=="}"#,
            r#"{"user":"u","channel":"a","expire_at":-1}"#,
            r#"{"user":"u","channel":"a","expire_at":"9"}"#,
            r#"["u","a"]"#,
        ],
        ApiMethod::Unsubscribe => &[r#"{"user":"u"}"#, r#"{"channel":"a"}"#],
        ApiMethod::Disconnect => &[
            "{}",
            r#"{"user":""}"#,
            r#"{"user":7}"#,
            r#"{"user":"u","disconnect":{"code":1000,"reason":""}}"#,
            r#"{"user":"u","disconnect":{"code":70000,"reason":""}}"#,
            r#"{"user":"u","disconnect":{}}"#,
            r#"{"user":"u","whitelist":"x"}"#,
            r#"{"user":"u","disconnect":[4000,""]}"#,
        ],
        ApiMethod::Refresh => &["{}", r#"{"user":"u","expire_at":-1}"#],
        ApiMethod::Presence | ApiMethod::PresenceStats | ApiMethod::HistoryRemove => {
            &["{}", r#"{"channel":""}"#, r#"{"channel":1}"#]
        }
        ApiMethod::History => &[
            "{}",
            r#"{"channel":"a","limit":1.5}"#,
            r#"{"channel":"a","limit":2147483648}"#,
            r#"{"channel":"a","since":7}"#,
        ],
        ApiMethod::Channels => &[r#"{"pattern":1}"#],
        ApiMethod::Rpc => &["{}", r#"{"method":""}"#, r#"{"method":"x","params":}"#],
        ApiMethod::Info | ApiMethod::Batch | ApiMethod::Map | ApiMethod::Commands => &[],
    }
}

#[test]
fn bad_bodies() {
    let all = ["", "null", "[]", "{", "7", "{} x", "\u{feff}{}"];
    for method in ApiMethod::served() {
        let name = method.name();
        if method == ApiMethod::Batch {
            continue;
        }
        for body in all.iter().chain(bad(method)) {
            assert_eq!(read(method, body.as_bytes()), Err(ErrorCode::BadRequest), "{name} {body}");
        }
        let not_text = read(method, b"{\"channel\":\"\xff\",\"user\":\"\xff\"}");
        assert_eq!(not_text, Err(ErrorCode::BadRequest), "{name}");
    }
}

#[test]
fn what_cannot_be_done_is_not_half_done() {
    let wishes = [
        (ApiMethod::Subscribe, r#"{"user":"u","channel":"a","session":"s"}"#),
        (ApiMethod::Unsubscribe, r#"{"user":"u","channel":"a","session":"s"}"#),
        (ApiMethod::Disconnect, r#"{"user":"u","session":"s"}"#),
        (ApiMethod::Refresh, r#"{"user":"u","session":"s"}"#),
        (ApiMethod::Subscribe, r#"{"user":"u","channel":"a","label_filter":{"key":"a"}}"#),
        (ApiMethod::Unsubscribe, r#"{"user":"u","channel":"a","label_filter":{}}"#),
        (ApiMethod::Disconnect, r#"{"user":"u","label_filter":{"key":"a","cmp":"ex"}}"#),
        (ApiMethod::Refresh, r#"{"user":"u","label_filter":[]}"#),
        (ApiMethod::Subscribe, r#"{"all_users":true,"channel":"a"}"#),
        (ApiMethod::Unsubscribe, r#"{"all_users":true,"user":"","channel":"a"}"#),
        (ApiMethod::Disconnect, r#"{"all_users":true}"#),
        (ApiMethod::Refresh, r#"{"all_users":true}"#),
        (ApiMethod::Map, r#"{"channel":"a","key":"k","data":1}"#),
    ];
    for (method, body) in wishes {
        assert_eq!(read(method, body.as_bytes()), Err(ErrorCode::NotAvailable), "{body}");
    }
    let nothing = br#"{"user":"u","label_filter":null,"all_users":false}"#;
    assert!(read(ApiMethod::Disconnect, nothing).is_ok(), "they ask for nothing");
}

#[test]
fn lists_are_bounded() {
    let list = |count: usize| vec!["\"a\""; count].join(",");
    let broadcast = |count| format!(r#"{{"channels":[{}],"data":1}}"#, list(count));
    let spare = |count| format!(r#"{{"user":"u","whitelist":[{}]}}"#, list(count));
    assert!(read(ApiMethod::Broadcast, broadcast(BROADCAST_CHANNELS).as_bytes()).is_ok());
    assert!(read(ApiMethod::Disconnect, spare(WHITELIST_CLIENTS).as_bytes()).is_ok());
    let over = [
        (ApiMethod::Broadcast, broadcast(BROADCAST_CHANNELS + 1)),
        (ApiMethod::Disconnect, spare(WHITELIST_CLIENTS + 1)),
    ];
    for (method, body) in over {
        assert_eq!(read(method, body.as_bytes()), Err(ErrorCode::LimitExceeded));
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| {
        let data = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"channel":"a","data":{data}}}"#)
    };
    assert!(publish(nested(JSON_DEPTH).as_bytes()).is_ok());
    assert!(publish(nested(JSON_DEPTH + 1).as_bytes()).is_err());
    assert!(publish(nested(100_000).as_bytes()).is_err());
    let quoted = format!(r#"{{"channel":"a","data":"\"{}"}}"#, "[".repeat(1_000));
    assert!(publish(quoted.as_bytes()).is_ok());
}

#[test]
fn what_is_about_users() {
    let body = br#"{"user":"u","channel":"a","client":"c","info":{"i":1},"b64data":"W10=",
        "recover_since":{"offset":7,"epoch":"e"},"expire_at":1900000000,
        "override":{"presence":{"value":true},"force_recovery":{"value":false},"join_leave":null}}"#;
    let Ok(ApiRequest::Subscribe(subscribe)) = read(ApiMethod::Subscribe, body) else { panic!() };
    assert_eq!((&*subscribe.whom.user, &*subscribe.whom.client), ("u", "c"));
    assert_eq!((&*subscribe.info, &*subscribe.data), (b"{\"i\":1}".as_slice(), b"[]".as_slice()));
    assert_eq!(subscribe.since, Some((7, "e".into())));
    let expected =
        Switches { presence: Some(true), force_recovery: Some(false), ..Switches::default() };
    assert_eq!((subscribe.switches, subscribe.expire_at_s), (expected, Some(1_900_000_000)));
    let lines = b"{\"user\":\"u\",\"channel\":\"a\",\"expire_at\":0,
        \"info\":{\r\n\"i\":1},\"b64data\":\"WwoxXQ==\"}";
    let Ok(ApiRequest::Subscribe(subscribe)) = read(ApiMethod::Subscribe, lines) else { panic!() };
    assert_eq!(&*subscribe.info, b"{  \"i\":1}", "newlines would end a message");
    assert_eq!((&*subscribe.data, subscribe.expire_at_s), (b"[ 1]".as_slice(), None));
    let body = br#"{"user":"u","whitelist":["a","b"],"disconnect":{"code":4001,"reason":"go"}}"#;
    let Ok(ApiRequest::Disconnect(disconnect)) = read(ApiMethod::Disconnect, body) else {
        panic!()
    };
    assert_eq!(disconnect.whom.whitelist, ["a", "b"]);
    assert_eq!(disconnect.with, Some((4001, "go".into())));
    let body = br#"{"user":"u","expired":true,"expire_at":1900000000}"#;
    let Ok(ApiRequest::Refresh(refresh)) = read(ApiMethod::Refresh, body) else { panic!() };
    assert_eq!((refresh.expired, refresh.expire_at_s), (true, Some(1_900_000_000)));
    assert!(refresh.info.is_empty());
    let body = b"{\"user\":\"u\",\"info\":[\n1]}";
    let Ok(ApiRequest::Refresh(refresh)) = read(ApiMethod::Refresh, body) else { panic!() };
    assert_eq!(&*refresh.info, b"[ 1]");
}

#[test]
fn what_is_asked_of_channels() {
    let body = br#"{"channel":"a","limit":-1,"reverse":true,"since":{"offset":3,"epoch":"e"}}"#;
    let expected =
        History { channel: "a".into(), limit: -1, since: Some((3, "e".into())), reverse: true };
    assert_eq!(read(ApiMethod::History, body), Ok(ApiRequest::History(expected)));
    let all = ApiRequest::Channels { pattern: "".into() };
    assert_eq!(read(ApiMethod::Channels, b"{}"), Ok(all));
    assert_eq!(read(ApiMethod::Info, b"{\"x\":[1]}"), Ok(ApiRequest::Info));
    let rpc = ApiRequest::Rpc { method: "echo".into(), params: b"[1, 2]" };
    assert_eq!(read(ApiMethod::Rpc, br#"{"method":"echo","params":[1, 2]}"#), Ok(rpc));
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let text = String::from_utf8(out).expect("text");
    let _: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    text
}

#[test]
fn answers_as_the_server_libraries_read_them() {
    let published = |position| -> Answer {
        let mut out = Vec::new();
        answer::published(&mut out, position);
        Ok(out)
    };
    let placed = published(Some((7, "a1b2")));
    let answer = text(|out| answer::whole(out, &placed, ""));
    assert_eq!(answer, r#"{"result":{"offset":7,"epoch":"a1b2"}}"#);
    let empty = published(None);
    assert_eq!(text(|out| answer::whole(out, &empty, "")), r#"{"result":{}}"#);
    let error: Answer = Err(ErrorCode::UnknownChannel);
    let refused = r#"{"error":{"code":102,"message":"unknown channel"}}"#;
    assert_eq!(text(|out| answer::whole(out, &error, "")), refused);
    let reply = text(|out| answer::reply(out, ApiMethod::HistoryRemove, &empty, ""));
    assert_eq!(reply, r#"{"history_remove":{}}"#);
    assert_eq!(text(|out| answer::reply(out, ApiMethod::Publish, &error, "")), refused);
    let answers = [placed, error];
    let responses = text(|out| answer::broadcast(out, answers.iter()));
    let expected =
        format!(r#"{{"responses":[{{"result":{{"offset":7,"epoch":"a1b2"}}}},{refused}]}}"#);
    assert_eq!(responses, expected);
}

#[test]
fn results_that_tell_more() {
    let al = ClientInfo { user: "a\"l".into(), client: "c1".into(), ..ClientInfo::default() };
    let who = r#"{"user":"a\"l","client":"c1"}"#;
    let presence = text(|out| answer::presence(out, std::slice::from_ref(&al)));
    assert_eq!(presence, format!(r#"{{"presence":{{"c1":{who}}}}}"#));
    assert_eq!(text(|out| answer::presence_stats(out, 3, 2)), r#"{"num_clients":3,"num_users":2}"#);
    let publication =
        Publication { data: b"[1]", info: Some(al), offset: 5, ..Publication::default() };
    let page = HistoryResult { publications: &[publication], epoch: "ep", offset: 9 };
    let history = text(|out| answer::history(out, &page));
    let expected = format!(
        r#"{{"publications":[{{"data":[1],"info":{who},"offset":5}}],"offset":9,"epoch":"ep"}}"#
    );
    assert_eq!(history, expected);
    let channels = text(|out| {
        out.extend_from_slice(answer::CHANNELS_HEAD);
        answer::channel(out, "a", 1);
        answer::channel(out, "b\\", 2);
        out.extend_from_slice(answer::CHANNELS_TAIL);
    });
    let expected = r#"{"channels":{"a":{"num_clients":1},"b\\":{"num_clients":2}}}"#;
    assert_eq!(channels, expected);
    let counters: Option<&[_]> = Some(&[("x", 1)]);
    let node = Node { uid: "u", name: "h_1", cpu_percent: 1.25, counters, ..Node::default() };
    let other = Node { name: "h_2", clients: 7, ..Node::default() };
    let info: serde_json::Value =
        serde_json::from_str(&text(|out| answer::info(out, [node, other].into_iter())))
            .expect("JSON");
    assert_eq!(info["nodes"][0]["name"], "h_1");
    assert_eq!(info["nodes"][0]["metrics"]["items"]["x"], 1);
    assert_eq!(
        (info["nodes"][1]["name"].as_str(), info["nodes"][1]["num_clients"].as_u64()),
        (Some("h_2"), Some(7))
    );
    assert!(info["nodes"][1]["metrics"].is_null());
}
