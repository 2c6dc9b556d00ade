//! Every command read from all codecs, and every reply written in all of them, must have the same
//! content.
//!
//! The other side is libraries' code (`schema`): `serde_json`, `prost` and `rmpv` write commands
//! and read replies.

use crate::schema::{self, Field, Kind};
use corecast::codec::command::{Command, Method, Publish};
use corecast::codec::{Codec, payload};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use rmpv::Value as Packed;
use serde_json::Value;

/// JSON that every codec can express: whatever `serde_json` can hold.
pub fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-40..40_i32).prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A payload; often none.
fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), value().prop_map(|value| value.to_string().into_bytes())]
}

fn filter() -> impl Strategy<Value = schema::FilterNode> {
    let text = || "[a-zé\"]{0,3}";
    let leaf = (text(), text(), text(), vec(text(), 0..3)).prop_map(|(key, cmp, val, vals)| {
        schema::FilterNode { key, cmp, val, vals, ..Default::default() }
    });
    leaf.prop_recursive(3, 16, 3, |inner| {
        ("and|or|not", vec(inner, 0..3)).prop_map(|(op, nodes)| schema::FilterNode {
            op,
            nodes,
            ..Default::default()
        })
    })
}

fn subscribe() -> impl Strategy<Value = schema::SubscribeRequest> {
    let flags = any::<[bool; 4]>();
    let texts = (any::<String>(), "[a-z]{0,8}", "[a-z]{0,8}", "(fossil)?");
    let numbers = any::<(u64, i32, i64)>();
    (texts, flags, numbers, data(), option::of(filter())).prop_map(
        |((channel, token, epoch, delta), flags, (offset, r#type, flag), data, tf)| {
            let [recover, positioned, recoverable, join_leave] = flags;
            schema::SubscribeRequest {
                channel,
                token,
                recover,
                epoch,
                offset,
                data,
                positioned,
                recoverable,
                join_leave,
                delta,
                tf,
                flag,
                r#type,
            }
        },
    )
}

fn publish() -> impl Strategy<Value = schema::PublishRequest> {
    let tags = btree_map(any::<String>(), any::<String>(), 0..4);
    let more = ("k?", 0..2_u32, vec("u", 0..2), -1..1_i32, any::<bool>());
    (any::<String>(), data(), tags, more, any::<bool>(), "[a-z]{0,4}").prop_map(
        |(channel, data, tags, more, exclude_self, idempotency_key)| {
            let (key, prio, users, r#type, removed) = more;
            schema::PublishRequest {
                channel,
                data,
                r#type,
                key,
                removed,
                tags,
                prio,
                exclude_self,
                idempotency_key,
                users,
            }
        },
    )
}

fn connect() -> impl Strategy<Value = schema::ConnectRequest> {
    let headers = btree_map("[a-z]{0,3}", any::<String>(), 0..2);
    let subs = btree_map(any::<String>(), subscribe(), 0..3);
    (any::<String>(), data(), subs, any::<String>(), headers).prop_map(
        |(token, data, subs, name, headers)| {
            let version = "1".to_owned();
            schema::ConnectRequest { token, data, subs, name, version, headers, flag: 1 }
        },
    )
}

fn history() -> impl Strategy<Value = schema::HistoryRequest> {
    let since = option::of((any::<u64>(), any::<String>()));
    (any::<String>(), any::<i32>(), since, any::<bool>()).prop_map(
        |(channel, limit, since, reverse)| {
            let since = since.map(|(offset, epoch)| schema::StreamPosition { offset, epoch });
            schema::HistoryRequest { channel, limit, since, reverse }
        },
    )
}

fn command() -> impl Strategy<Value = schema::Command> {
    let none = schema::Command::default;
    let channel = || any::<String>().prop_map(|channel| schema::ChannelRequest { channel });
    let method = prop_oneof![
        connect().prop_map(move |it| schema::Command { connect: Some(it), ..none() }),
        subscribe().prop_map(move |it| schema::Command { subscribe: Some(it), ..none() }),
        publish().prop_map(move |it| schema::Command { publish: Some(it), ..none() }),
        history().prop_map(move |it| schema::Command { history: Some(it), ..none() }),
        channel().prop_map(move |it| schema::Command { unsubscribe: Some(it), ..none() }),
        channel().prop_map(move |it| schema::Command { presence: Some(it), ..none() }),
        channel().prop_map(move |it| schema::Command { presence_stats: Some(it), ..none() }),
        data().prop_map(move |data| {
            schema::Command { send: Some(schema::SendRequest { data }), ..none() }
        }),
        (data(), any::<String>()).prop_map(move |(data, method)| {
            schema::Command { rpc: Some(schema::RpcRequest { data, method }), ..none() }
        }),
        (any::<String>(), any::<String>(), 0..2_i32, vec("k", 0..2)).prop_map(
            move |(channel, token, r#type, untrack)| {
                let refresh = schema::SubRefreshRequest { channel, token, r#type, untrack };
                schema::Command { sub_refresh: Some(refresh), ..none() }
            }
        ),
        any::<String>().prop_map(move |token| {
            schema::Command { refresh: Some(schema::RefreshRequest { token }), ..none() }
        }),
        Just(schema::Command { ping: Some(schema::Empty {}), ..none() }),
    ];
    (method, any::<u32>()).prop_map(|(command, id)| schema::Command { id, ..command })
}

/// JSON as MessagePack, by `rmpv`.
pub fn packed(value: &Value) -> Packed {
    match value {
        Value::Null => Packed::Nil,
        Value::Bool(value) => Packed::from(*value),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Packed::from(value),
            (None, Some(value)) => Packed::from(value),
            (None, None) => Packed::from(number.as_f64().expect("a number")),
        },
        Value::String(text) => Packed::from(text.as_str()),
        Value::Array(values) => Packed::Array(values.iter().map(packed).collect()),
        Value::Object(members) => {
            let pair =
                |(name, value): (&String, &Value)| (Packed::from(name.as_str()), packed(value));
            Packed::Map(members.iter().map(pair).collect())
        }
    }
}

/// A JSON message in MessagePack, with numbers or names as keys.
fn message(value: &Value, fields: &[Field], named: bool) -> Packed {
    let Value::Object(members) = value else { return packed(value) };
    let list = |value: &Value, fields| {
        let values = value.as_array().expect("a list").iter();
        Packed::Array(values.map(|value| message(value, fields, named)).collect())
    };
    let pairs = members.iter().map(|(name, value)| {
        let (_, number, kind) = field(fields, name);
        let value = match kind {
            Kind::Plain | Kind::Payload => packed(value),
            Kind::Message(fields) => message(value, fields(), named),
            Kind::List(fields) => list(value, fields()),
            Kind::Map(fields) => {
                let pairs = value.as_object().expect("a map").iter();
                let pair = |(name, value): (&String, &Value)| {
                    (Packed::from(name.as_str()), message(value, fields(), named))
                };
                Packed::Map(pairs.map(pair).collect())
            }
        };
        (if named { Packed::from(name.as_str()) } else { Packed::from(*number) }, value)
    });
    Packed::Map(pairs.collect())
}

fn field<'f>(fields: &'f [Field], name: &str) -> &'f Field {
    let known = fields.iter().find(|field| field.0.trim_start_matches("r#") == name);
    known.unwrap_or_else(|| panic!("no field {name}"))
}

fn bytes(value: &Packed) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).expect("memory takes it");
    bytes
}

/// The only command of a message, with its payloads taken out.
fn read(codec: Codec, bytes: &[u8]) -> (Command<'_>, Vec<Value>) {
    let mut commands = codec.commands(bytes);
    let mut command = commands.next().expect("a command").expect("a good one");
    assert_eq!((commands.rest(), commands.next()), (bytes.len(), None));
    let mut payloads = Vec::new();
    let mut take = |data: &mut &[u8]| {
        let kept =
            if data.is_empty() { Ok(b"\"none\"".into()) } else { payload::to_json(codec, data) };
        payloads.push(serde_json::from_slice(&kept.expect("a payload")).expect("JSON"));
        *data = b"";
    };
    match &mut command.method {
        Method::Connect(connect) => {
            take(&mut connect.data);
            connect.subs.iter_mut().for_each(|sub| take(&mut sub.data));
        }
        Method::Subscribe(subscribe) => take(&mut subscribe.data),
        Method::Publish(Publish { data, .. })
        | Method::Send { data }
        | Method::Rpc { data, .. } => take(data),
        _ => {}
    }
    (command, payloads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_command_is_the_same_in_every_codec(command in command()) {
        let json = serde_json::to_string(&command).expect("it has a form in JSON");
        let tree: Value = serde_json::from_str(&json).expect("JSON");
        let fields = schema::Command::fields();
        let numbered = bytes(&message(&tree, fields, false));
        let named = bytes(&message(&tree, fields, true));
        let protobuf = command.encode_length_delimited_to_vec();
        let expected = read(Codec::Json, json.as_bytes());
        prop_assert_eq!(&read(Codec::Protobuf, &protobuf), &expected);
        prop_assert_eq!(&read(Codec::MessagePack, &numbered), &expected);
        prop_assert_eq!(&read(Codec::MessagePack, &named), &expected);
    }

    #[test]
    fn commands_follow_each_other(ids in vec(1..1_000_u32, 0..6), cut in 0..6_usize) {
        let ping = |id: &u32| {
            schema::Command { id: *id, ping: Some(schema::Empty {}), ..Default::default() }
        };
        let pings: Vec<_> = ids.iter().map(ping).collect();
        for codec in Codec::ALL {
            let one = |ping: &schema::Command| match codec {
                Codec::Json => serde_json::to_string(ping).expect("JSON").into_bytes(),
                Codec::Protobuf => ping.encode_length_delimited_to_vec(),
                Codec::MessagePack => {
                    let tree = serde_json::to_value(ping).expect("JSON");
                    bytes(&message(&tree, schema::Command::fields(), false))
                }
            };
            let separator: &[u8] = if codec == Codec::Json { b"\n" } else { b"" };
            let batch = pings.iter().map(one).collect::<Vec<_>>().join(separator);
            // Some are read now and the rest later, as an edge does.
            let mut first = codec.commands(&batch);
            let mut read: Vec<_> = first.by_ref().take(cut).map(|it| it.expect("good").id).collect();
            read.extend(codec.commands(&batch[first.rest()..]).map(|it| it.expect("good").id));
            prop_assert_eq!(&read, &ids);
        }
    }

    #[test]
    fn no_bytes_do_harm(
        bytes in vec(any::<u8>(), 0..200),
        like in command(),
        at in any::<u16>(),
        to in any::<u8>(),
    ) {
        for codec in Codec::ALL {
            codec.commands(&bytes).for_each(drop);
            drop(payload::to_json(codec, &bytes));
        }
        // Nearly valid input gets further.
        let mut near = like.encode_length_delimited_to_vec();
        let at = usize::from(at) % near.len();
        near[at] = to;
        Codec::Protobuf.commands(&near).for_each(drop);
        Codec::Protobuf.commands(&near[..at]).for_each(drop);
        let tree = serde_json::to_value(&like).expect("JSON");
        let mut near = self::bytes(&message(&tree, schema::Command::fields(), false));
        let at = at % near.len();
        near[at] = to;
        Codec::MessagePack.commands(&near).for_each(drop);
        prop_assert!(Codec::MessagePack.commands(&near[..at]).all(|it| it.is_err()), "it is cut");
    }
}
