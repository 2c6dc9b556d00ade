//! Commands from Protobuf and MessagePack: what is refused and why, what is skipped, and the
//! bounds.

use crate::schema::{self, FilterNode};
use corecast::codec::Codec;
use corecast::codec::command::{Command, DecodeError, History, Method};
use corecast::limits::{
    CONNECT_SUBS, FILTER_DEPTH, FILTER_NODES, JSON_DEPTH, TAGS_PER_PUBLICATION,
};
use prost::Message;

fn one(codec: Codec, bytes: &[u8]) -> Result<Command<'_>, DecodeError> {
    let mut commands = codec.commands(bytes);
    let command = commands.next().expect("there is a command");
    assert_eq!(commands.rest() == bytes.len(), command.is_ok());
    assert_eq!(commands.next(), None, "behind an error nothing is read");
    command
}

fn protobuf(command: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(command.len() as u64, &mut bytes);
    [bytes.as_slice(), command].concat()
}

#[test]
fn what_is_no_command_is_refused() {
    use DecodeError::{Malformed, NoMethod, WrongType};
    let table: &[(&[u8], DecodeError)] = &[
        (b"\x08\x01", NoMethod),
        (b"\x5a\x00\x62\x00", NoMethod),
        (b"\x0a\x00", WrongType),
        (b"\x5d\0\0\0\0", WrongType),
        (b"\x08\xff\xff\xff\xff\x1f\x5a\x00", WrongType),
        (b"\x5a\x05", Malformed),
        (b"\x08", Malformed),
        (b"\x00", Malformed),
        (b"\x0f", Malformed),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x5a\x00", Malformed),
        (b"\x32\x03\x0a\x01\xff", Malformed),
        (b"\x13\x5a\x00", Malformed),
        (b"\x14", Malformed),
    ];
    for (command, error) in table {
        assert_eq!(one(Codec::Protobuf, &protobuf(command)), Err(*error), "{command:x?}");
    }
    for cut in [&b"\x80"[..], b"\x05\x08", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
        assert_eq!(one(Codec::Protobuf, cut), Err(Malformed), "{cut:x?}");
    }
    let table: &[(&[u8], DecodeError)] = &[
        (b"\x81\x01\x01", NoMethod),
        (b"\x82\x0b\x80\x0c\x80", NoMethod),
        (b"\x81\x0b\x90", WrongType),
        (b"\x81\x01\xa11", WrongType),
        (b"\x82\x01\xcf\0\0\0\x01\0\0\0\0\x0b\x80", WrongType),
        (b"\x82\x01\xff\x0b\x80", WrongType),
        (b"\x82\x01\xcb\x3f\xe0\0\0\0\0\0\0\x0b\x80", WrongType),
        (b"\x81\x80\x01", WrongType),
        (b"\xc0", WrongType),
        (b"\x90", WrongType),
        (b"\x7b", WrongType),
        (b"\x81", Malformed),
        (b"\xc1", Malformed),
        (b"\x81\x06\x81\x01\xa1\xff", Malformed),
        (b"\x81\x02\xdf\xff\xff\xff\xff", Malformed),
        (b"\x81\x02\xc9\xff\xff\xff\xff\x01", Malformed),
        (b"\xdf\xff\xff\xff\xff\x01\x01", Malformed),
    ];
    for (command, error) in table {
        assert_eq!(one(Codec::MessagePack, command), Err(*error), "{command:x?}");
    }
}

#[test]
fn what_nobody_knows_is_passed_over() {
    let ping = Ok(Command { id: 3, method: Method::Ping, attributes: false });
    // Fields 2 and 99 in every wire type, including a group inside a group.
    let unknown = b"\x10\x01\x12\x01x\x11\0\0\0\0\0\0\0\0\x15\0\0\0\0\x13\x98\x06\x01\x1b\x1c\x14\x9a\x06\x00";
    let command = [&unknown[..], b"\x08\x03\x5a\x02\x50\x01"].concat();
    assert_eq!(one(Codec::Protobuf, &protobuf(&command)), ping);
    let command = b"\x87\x02\x92\x01\x81\x01\xc4\x01x\xa1x\xc7\x02\x01ab\xc3\xc0\xff\x00\xcb\0\0\0\0\0\0\0\0\xa0\xa2id\x03\xa211\x81\xc0\xc0";
    assert_eq!(one(Codec::MessagePack, command), ping);
}

#[test]
fn attributes_alone_are_a_command_when_they_ask() {
    let alone = Ok(Command { id: 5, method: Method::Attributes, attributes: true });
    assert_eq!(one(Codec::Protobuf, &protobuf(b"\x08\x05\xc2\x3e\x02\x0a\x00")), alone);
    assert_eq!(one(Codec::MessagePack, b"\x82\x01\x05\xcd\x03\xe8\x81\x01\x80"), alone);
    let named = b"\x82\x01\x05\xaaattributes\x91\x00";
    assert_eq!(one(Codec::MessagePack, named), alone);
    let beside = Ok(Command { id: 5, method: Method::Ping, attributes: true });
    assert_eq!(one(Codec::Protobuf, &protobuf(b"\x08\x05\xc2\x3e\x01x\x5a\x00")), beside);
    let nothing = Err(DecodeError::NoMethod);
    assert_eq!(one(Codec::Protobuf, &protobuf(b"\x08\x05\xc2\x3e\x00")), nothing);
    assert_eq!(one(Codec::MessagePack, b"\x82\x01\x05\xcd\x03\xe8\x80"), nothing);
}

#[test]
fn nil_is_absent_and_whole_floats_are_numbers() {
    let pong = Ok(Command { id: 0, method: Method::Pong, attributes: false });
    assert_eq!(one(Codec::MessagePack, b"\x83\x01\xc0\x04\xc0\x07\xc0"), pong);
    assert_eq!(one(Codec::Protobuf, b"\x00"), pong);
    let since = Some((1 << 53, "".into()));
    let history = History { limit: -1, since, ..History::default() };
    let offset = b"\x81\x0a\x84\x01\xc0\x07\xcb\xbf\xf0\0\0\0\0\0\0\x09\xc0\x08\x81\x01\xcb\x43\x40\0\0\0\0\0\0";
    assert_eq!(one(Codec::MessagePack, offset).map(|it| it.method), Ok(Method::History(history)));
    let far = b"\x81\x0a\x81\x08\x81\x01\xcb\x43\xf0\0\0\0\0\0\0";
    assert_eq!(one(Codec::MessagePack, far), Err(DecodeError::WrongType));
    let limit = b"\x82\x01\x01\x0a\x81\x07\xce\xff\xff\xff\xff";
    assert_eq!(one(Codec::MessagePack, limit), Err(DecodeError::WrongType));
}

fn is_excessive(command: &schema::Command) -> bool {
    let bytes = command.encode_length_delimited_to_vec();
    let read = one(Codec::Protobuf, &bytes).expect("it can be read").method;
    matches!(read, Method::Excessive | Method::ExcessiveConnect)
}

#[test]
fn bounds_of_protobuf_are_those_of_json() {
    let publish = |tags: usize| schema::Command {
        publish: Some(schema::PublishRequest {
            tags: (0..tags).map(|tag| (tag.to_string(), String::new())).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let connect = |subs: usize| schema::Command {
        connect: Some(schema::ConnectRequest {
            subs: (0..subs).map(|sub| (sub.to_string(), Default::default())).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let subscribe = |tf| schema::Command {
        subscribe: Some(schema::SubscribeRequest { tf: Some(tf), ..Default::default() }),
        ..Default::default()
    };
    let deep = |depth| {
        let around = |node, _| FilterNode { nodes: vec![node], ..Default::default() };
        subscribe((1..depth).fold(FilterNode::default(), around))
    };
    let wide = |nodes| {
        subscribe(FilterNode {
            nodes: vec![FilterNode::default(); nodes - 1],
            ..Default::default()
        })
    };
    let values = |values| {
        subscribe(FilterNode { vals: vec![String::new(); values - 1], ..Default::default() })
    };
    let table: [(&dyn Fn(usize) -> schema::Command, usize); 5] = [
        (&publish, TAGS_PER_PUBLICATION),
        (&connect, CONNECT_SUBS),
        (&deep, FILTER_DEPTH),
        (&wide, FILTER_NODES),
        (&values, FILTER_NODES),
    ];
    for (command, most) in table {
        assert!(!is_excessive(&command(most)) && is_excessive(&command(most + 1)), "{most}");
    }
}

#[test]
fn depth_costs_no_stack() {
    // A filter with this many levels, each with a single node.
    let mut filter: Vec<u8> = Vec::new();
    for _ in 0..100_000 {
        let mut outer = vec![0x32];
        prost::encoding::encode_varint(filter.len() as u64, &mut outer);
        filter.extend_from_slice(&outer);
        filter.rotate_right(outer.len());
        if filter.len() > 60_000 {
            break;
        }
    }
    let mut subscribe = vec![0x6a];
    prost::encoding::encode_varint(filter.len() as u64, &mut subscribe);
    subscribe.append(&mut filter);
    let mut command = vec![0x2a];
    prost::encoding::encode_varint(subscribe.len() as u64, &mut command);
    command.append(&mut subscribe);
    let command = protobuf(&command);
    let read = one(Codec::Protobuf, &command).map(|it| it.method);
    assert_eq!(read, Ok(Method::Excessive));
    let groups = [0x13; 60_000];
    assert_eq!(one(Codec::Protobuf, &protobuf(&groups)), Err(DecodeError::Malformed));

    let nested = |depth: usize| [&vec![0x91; depth - 1][..], b"\x90"].concat();
    let send = |depth| [&b"\x81\x0c\x81\x01"[..], &nested(depth)].concat();
    let method =
        |bytes: &[u8]| one(Codec::MessagePack, bytes).map(|it| it.method == Method::Excessive);
    assert_eq!(method(&send(JSON_DEPTH)), Ok(false));
    assert_eq!(method(&send(JSON_DEPTH + 1)), Ok(true));
    assert_eq!(method(&send(60_000)), Ok(true));
    let filter = [&b"\x81\x05\x81\x0d"[..], &b"\x81\x06\x91".repeat(20_000), b"\x80"].concat();
    assert_eq!(method(&filter), Ok(true));
    let skipped = [&b"\x82\x63"[..], &nested(60_000), b"\x0b\x80"].concat();
    assert_eq!(method(&skipped), Ok(false));
}
