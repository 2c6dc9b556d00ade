//! Every reply and push in all codecs: libraries read the same content from each.

use crate::crossing::value;
use crate::schema::{self, Field, Kind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use corecast::codec::command::{
    ClientInfo, ConnectResult, ErrorCode, Expiry, HistoryResult, Named, Payload, Publication, Push,
    PushSubscribe, RefreshResult, Reply, SubscribeResult, Tags,
};
use corecast::codec::{Codec, Pieces, tags};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use rmpv::Value as Packed;
use serde_json::{Map, Value};

fn written(codec: Codec, reply: &Reply<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    codec.write_reply(&mut out, reply);
    out
}

/// MessagePack as JSON: fields by name, payloads unchanged.
fn named(value: &Packed, fields: &[Field]) -> Value {
    let members = value.as_map().expect("a message").iter().map(|(key, value)| {
        let number = key.as_u64().expect("keys are numbers");
        let known = fields.iter().find(|field| field.1 == number);
        let (name, _, kind) = known.unwrap_or_else(|| panic!("no field {number}"));
        let value = match kind {
            Kind::Plain | Kind::Payload => plain(value),
            Kind::Message(fields) => named(value, fields()),
            Kind::List(fields) => {
                let values = value.as_array().expect("a list").iter();
                values.map(|value| named(value, fields())).collect()
            }
            Kind::Map(fields) => {
                let pairs = value.as_map().expect("a map").iter();
                let pairs = pairs.map(|(name, value)| (text(name), named(value, fields())));
                Value::Object(pairs.collect())
            }
        };
        (name.trim_start_matches("r#").to_owned(), value)
    });
    Value::Object(members.collect())
}

fn text(value: &Packed) -> String {
    value.as_str().expect("text").to_owned()
}

/// MessagePack as the equivalent JSON; bytes as base64.
pub fn plain(value: &Packed) -> Value {
    match value {
        Packed::Nil => Value::Null,
        Packed::Boolean(value) => Value::from(*value),
        Packed::Integer(value) => {
            value.as_u64().map_or_else(|| Value::from(value.as_i64()), Value::from)
        }
        Packed::F64(value) => Value::from(*value),
        Packed::String(_) => Value::from(text(value)),
        Packed::Binary(bytes) => Value::from(STANDARD.encode(bytes)),
        Packed::Array(values) => values.iter().map(plain).collect(),
        Packed::Map(pairs) => {
            Value::Object(pairs.iter().map(|(name, value)| (text(name), plain(value))).collect())
        }
        other => panic!("{other:?} is nothing that JSON says"),
    }
}

/// Leaves out empty fields: 0, false, "", empty lists and maps.
fn without_defaults(value: &Value, fields: &[Field]) -> Value {
    let said = |(name, value): (&String, &Value)| {
        let known = fields.iter().find(|field| field.0.trim_start_matches("r#") == name);
        let (_, _, kind) = known.unwrap_or_else(|| panic!("no field {name}"));
        let value = match kind {
            Kind::Payload => value.clone(),
            Kind::Plain => {
                let nothing = [Value::from(0), Value::from(false), Value::from("")];
                let empty = Value::Object(Map::new());
                return (!nothing.contains(value) && *value != empty)
                    .then(|| (name.clone(), value.clone()));
            }
            Kind::Message(_) if value.is_null() => return None,
            Kind::Message(fields) => without_defaults(value, fields()),
            Kind::List(_) if value == &Value::Array(Vec::new()) => return None,
            Kind::List(fields) => {
                let values = value.as_array().expect("a list").iter();
                values.map(|value| without_defaults(value, fields())).collect()
            }
            Kind::Map(_) if value == &Value::Object(Map::new()) => return None,
            Kind::Map(fields) => {
                let pairs = value.as_object().expect("a map").iter();
                let pairs =
                    pairs.map(|(name, value)| (name.clone(), without_defaults(value, fields())));
                Value::Object(pairs.collect())
            }
        };
        Some((name.clone(), value))
    };
    Value::Object(value.as_object().expect("a message").iter().filter_map(said).collect())
}

/// The content of the message in each codec, which has to be the same.
fn said(messages: [&[u8]; 3]) -> [Value; 3] {
    let [json, msgpack, protobuf] = messages;
    let fields = schema::Reply::fields();
    let from_json: Value = serde_json::from_slice(json).expect("JSON");
    let mut rest = msgpack;
    let from_msgpack = rmpv::decode::read_value(&mut rest).expect("MessagePack");
    assert!(rest.is_empty(), "one message");
    let mut rest = protobuf;
    let from_protobuf = schema::Reply::decode_length_delimited(&mut rest).expect("Protobuf");
    assert!(rest.is_empty(), "one message");
    let from_protobuf = serde_json::to_value(from_protobuf).expect("JSON");
    [
        without_defaults(&from_json, fields),
        named(&from_msgpack, fields),
        without_defaults(&from_protobuf, fields),
    ]
}

fn agree(reply: &Reply<'_>) -> Value {
    let messages = Codec::ALL.map(|codec| written(codec, reply));
    let [json, msgpack, protobuf] = said([&messages[0], &messages[1], &messages[2]]);
    assert_eq!(msgpack, json, "{reply:?}");
    assert_eq!(protobuf, json, "{reply:?}");
    json
}

fn info(conn_info: &'static [u8]) -> ClientInfo<'static> {
    let (user, client) = ("al".into(), "c-1".into());
    ClientInfo { user, client, conn_info: conn_info.into(), chan_info: b"[1]".into() }
}

fn publications(packed: &[u8]) -> [Publication<'_>; 2] {
    [
        Publication {
            data: br#"{"a":[1,-2.5,"\u00e9",null]}"#,
            info: Some(info(b"")),
            offset: u64::MAX,
            tags: Tags::packed(packed),
            time_ms: 1_700_000_000_000,
            ..Publication::default()
        },
        Publication { data: b"0", delta: true, ..Publication::default() },
    ]
}

/// Replies with every field that there is, and with none.
pub fn each_reply(mut each: impl FnMut(&Reply<'_>)) {
    let packed = tags::pack(&[("a".into(), "1".into()), ("é".into(), "".into())]).expect("short");
    let publications = publications(&packed);
    let expiry = Expiry { expires: true, ttl_s: 300 };
    let subscribed = SubscribeResult {
        expiry,
        recoverable: true,
        positioned: true,
        epoch: "abcdefgh",
        offset: 1 << 60,
        recovered: true,
        was_recovering: true,
        delta: true,
        data: b"{\"x\":1e3}",
        number: u32::MAX,
        debounce_ms: 1_500,
        publications: &publications,
    };
    let (client, version, session, node) = ("c-1", "v", "s", "n");
    let connected = ConnectResult {
        client,
        version,
        expiry,
        data: b"[[]]",
        subs: &[("a", SubscribeResult::default()), ("b", subscribed.clone())],
        ping_s: 25,
        pong: true,
        session,
        node,
    };
    let clients = [info(b"7"), ClientInfo { client: "c-2".into(), ..ClientInfo::default() }];
    let history = HistoryResult { publications: &publications, epoch: "e", offset: 5 };
    let nothing = HistoryResult { publications: &[], epoch: "", offset: 0 };
    let replies = [
        Reply::Error { id: 1, error: ErrorCode::Internal },
        Reply::Error { id: u32::MAX, error: ErrorCode::BadRequest },
        Reply::Connect { id: 1, result: connected },
        Reply::Connect { id: 1, result: ConnectResult::default() },
        Reply::Subscribe { id: 1, result: subscribed },
        Reply::Subscribe { id: 1, result: SubscribeResult::default() },
        Reply::Unsubscribe { id: 1 },
        Reply::Publish { id: 1 },
        Reply::Presence { id: 1, clients: &clients },
        Reply::Presence { id: 1, clients: &[] },
        Reply::PresenceStats { id: 1, clients: 2, users: 1 },
        Reply::PresenceStats { id: 1, clients: 0, users: 0 },
        Reply::History { id: 1, result: history },
        Reply::History { id: 1, result: nothing },
        Reply::Ping { id: 1 },
        Reply::Refresh { id: 1, result: RefreshResult { client, version, expiry } },
        Reply::SubRefresh { id: 1, expiry },
        Reply::Rpc { id: 1, data: b"" },
        Reply::ServerPing,
    ];
    for reply in &replies {
        each(reply);
    }
}

#[test]
fn replies_say_the_same_in_every_codec() {
    each_reply(|reply| {
        agree(reply);
    });
}

/// Pushes with every field that there is, and with none.
pub fn each_push(mut each: impl FnMut(&Push<'_>)) {
    let packed = tags::pack(&[("a".into(), "1".into())]).expect("short");
    let [full, small] = publications(&packed);
    let begun =
        PushSubscribe { recoverable: true, positioned: true, epoch: "e", offset: 3, data: b"{}" };
    let pushes = [
        Push::Publication(full),
        Push::Publication(small),
        Push::Join(info(b"{}")),
        Push::Leave(ClientInfo::default()),
        Push::Unsubscribe { code: 2500, reason: "insufficient state" },
        Push::Subscribe(begun),
        Push::Subscribe(PushSubscribe::default()),
        Push::Message { data: b"\"m\"" },
        Push::disconnect(3001, "shutdown"),
        Push::disconnect(3502, "stale"),
        Push::Refresh(Expiry { expires: true, ttl_s: 1 }),
    ];
    for push in &pushes {
        each(push);
    }
}

#[test]
fn pushes_say_the_same_in_every_codec() {
    each_push(|push| {
        for channel in ["", "é"] {
            let reply = Reply::Push { channel, push: push.clone() };
            agree(&reply);
            let Push::Publication(publication) = push else { continue };
            for codec in Codec::ALL {
                let mut out = Vec::new();
                codec.write_push_publication(&mut out, Named::Name(channel), publication);
                if !(codec == Codec::Json && channel.is_empty()) {
                    assert_eq!(out, written(codec, &reply), "{codec:?}");
                }
            }
        }
        for number in [1, 300, u32::MAX] {
            let reply = Reply::NumberedPush { number, push: push.clone() };
            let said = agree(&reply);
            assert_eq!(said["push"]["id"], number);
            assert!(said["push"].get("channel").is_none(), "{said}");
            let Push::Publication(publication) = push else { continue };
            for codec in Codec::ALL {
                let mut out = Vec::new();
                codec.write_push_publication(&mut out, Named::Number(number), publication);
                assert_eq!(out, written(codec, &reply), "{codec:?}");
            }
        }
    });
}

#[test]
fn a_reply_in_pieces_is_the_reply() {
    let packed = tags::pack(&[("a".into(), "1".into())]).expect("short");
    let all = publications(&packed);
    for (codec, count) in Codec::ALL.into_iter().flat_map(|codec| [(codec, 1), (codec, 2)]) {
        let publications = &all[..count];
        let result = SubscribeResult { epoch: "e", offset: 2, publications, ..Default::default() };
        let len = |(at, it)| codec.piece_len(it, at == 0);
        let pieces = Pieces { count, bytes: publications.iter().enumerate().map(len).sum() };
        let mut out = Vec::new();
        codec.write_subscribe_head(&mut out, 300, &result, pieces);
        let before = out.len();
        for (at, publication) in publications.iter().enumerate() {
            codec.write_piece(&mut out, publication, at == 0);
        }
        assert_eq!(out.len() - before, pieces.bytes, "{codec:?}: lengths are exact");
        out.extend_from_slice(codec.subscribe_tail());
        assert_eq!(out, written(codec, &Reply::Subscribe { id: 300, result }), "{codec:?}");
    }
}

#[test]
fn an_answer_of_an_rpc_is_in_the_codec_already() {
    let data: [&[u8]; 3] = [b"[1]", b"\x91\x01", b"\0\xff"];
    let expected: [&[u8]; 3] = [
        br#"{"id":1,"rpc":{"data":[1]}}"#,
        b"\x82\x01\x01\x0d\x81\x01\x91\x01",
        b"\x08\x08\x01\x6a\x04\x0a\x02\0\xff",
    ];
    for codec in Codec::ALL {
        let at = codec as usize;
        assert_eq!(written(codec, &Reply::Rpc { id: 1, data: data[at] }), expected[at]);
    }
}

#[test]
fn bytes_are_what_each_codec_has_for_them() {
    let data: Vec<u8> = (0..=255).cycle().take(2_000).collect();
    for length in [1, 2, 3, 767, 768, 769, 2_000] {
        let data = &data[..length];
        let publication = Publication { data, payload: Payload::Binary, ..Default::default() };
        let reply = Reply::Push { channel: "c", push: Push::Publication(publication) };
        let json: Value = serde_json::from_slice(&written(Codec::Json, &reply)).expect("JSON");
        assert_eq!(json["push"]["pub"]["data"], STANDARD.encode(data));
        let packed = written(Codec::MessagePack, &reply);
        let packed = rmpv::decode::read_value(&mut packed.as_slice()).expect("MessagePack");
        let inside =
            packed.as_map().and_then(|it| it[0].1.as_map()).and_then(|it| it[1].1.as_map());
        assert_eq!(inside.expect("push, pub")[0].1.as_slice(), Some(data));
        let protobuf = written(Codec::Protobuf, &reply);
        let protobuf = schema::Reply::decode_length_delimited(&*protobuf).expect("Protobuf");
        assert_eq!(protobuf.push.and_then(|it| it.r#pub).expect("pub").data, data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn publications_say_the_same_in_every_codec(
        data in value(),
        infos in proptest::option::of((any::<String>(), value())),
        tags in vec((any::<String>(), any::<String>()), 0..5),
        numbers in any::<(u64, u32, bool)>(),
        channel in any::<String>(),
    ) {
        let (value, data) = (data.clone(), data.to_string());
        let tags = tags.into_iter().map(|(name, value)| (name.into(), value.into()));
        let packed = corecast::codec::tags::pack(&tags.collect::<Vec<_>>()).expect("short");
        let (offset, time, delta) = numbers;
        let publication = Publication {
            data: data.as_bytes(),
            info: infos.map(|(user, info)| ClientInfo {
                user: user.into(),
                conn_info: info.to_string().into_bytes().into(),
                ..ClientInfo::default()
            }),
            offset,
            tags: Tags::packed(&packed),
            delta,
            time_ms: u64::from(time),
            ..Publication::default()
        };
        let all = agree(&Reply::Push { channel: &channel, push: Push::Publication(publication) });
        prop_assert_eq!(&all["push"]["pub"]["data"], &value);
    }
}
