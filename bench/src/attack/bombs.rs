//! Depth and count bombs in the binary codecs: lengths without the bytes, nesting without end.
//! Those of JSON are in `commands`.
//!
//! Must not know the bounds except from docs/configuration.md. Invariant: a bomb that is a command
//! is answered 107 and its connection stays; anything else ends it with 3501.

use super::wire::{Next, Wire};
use super::{Checked, Site, expect};
use crate::{proc, ws};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const FIN: u8 = 0x80;
/// Memory that all bombs of a codec together may cost the server.
const GROWTH_MIB: u64 = 16;
/// Nodes of the deepest filters, which fit into a message.
const DEEP: usize = 3_000;

/// What has to come of a message whose command, if it is one, has id 2.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    /// Closed with 3501.
    Ends,
    /// Error 107, and a ping is still answered.
    Refused,
    /// Answered without an error: the largest that is allowed.
    Taken,
}
use Outcome::{Ends, Refused, Taken};

type Bomb = (&'static str, Outcome, Vec<u8>);

/// How a codec says what these checks need.
struct Codec {
    subprotocol: &'static str,
    connect: &'static [u8],
    /// A ping with id 3, and its answer.
    ping: &'static [u8],
    pong: &'static [u8],
    is_refusal: fn(&[u8]) -> bool,
}

/// Bombs in Protobuf: groups, lengths, varints, filters.
pub fn protobuf(site: &Site) -> Checked {
    let groups = |count: usize, tag: [u8; 2]| tag.repeat(count);
    let nested = [groups(DEEP, [0xab, 6]), groups(DEEP, [0xac, 6])].concat();
    let command = |rest: &[u8]| sized(&[&[8, 2], rest].concat());
    let leaf = [field(2, b"a"), field(3, b"ex")].concat();
    let deep = |levels: usize| {
        let not = |node: Vec<u8>, _| [field(1, b"not"), field(6, &node)].concat();
        (1..levels).fold(leaf.clone(), not)
    };
    let wide = |leaves| [field(1, b"or"), field(6, &leaf).repeat(leaves)].concat();
    let subscribe =
        |filter: &[u8]| command(&field(5, &[field(1, b"tagged:bomb"), field(13, filter)].concat()));
    let mut cut = subscribe(&deep(DEEP));
    cut.truncate(cut.len() - 1);
    let bombs: Vec<Bomb> = vec![
        ("a length of 2^63", Ends, [vec![0xff; 9], vec![1]].concat()),
        ("a length without end", Ends, vec![0xff; 60_000]),
        ("an id without end", Ends, sized(&[vec![8], vec![0xff; 60_000]].concat())),
        ("a command longer than its message", Ends, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 8, 2]),
        ("a field longer than its command", Ends, command(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        ("a name longer than its field", Ends, command(&field(7, &[0x0a, 0xff, 0xff, 3, b'p']))),
        ("30,000 groups begun", Ends, command(&groups(30_000, [0xab, 6]))),
        ("3,000 groups within each other", Ends, command(&nested)),
        ("a filter of 16 levels", Taken, subscribe(&deep(16))),
        ("a filter of 17 levels", Refused, subscribe(&deep(17))),
        ("a filter of 3,000 levels", Refused, subscribe(&deep(DEEP))),
        ("a filter of 3,000 levels, cut", Ends, cut),
        ("a filter of 256 nodes", Taken, subscribe(&wide(255))),
        ("a filter of 6,000 nodes", Refused, subscribe(&wide(5_999))),
    ];
    let codec = Codec {
        subprotocol: "centrifuge-protobuf",
        connect: &[4, 8, 1, 0x22, 0],
        ping: &[4, 8, 3, 0x5a, 0],
        pong: &[4, 8, 3, 0x62, 0],
        is_refusal: |answer| matches!(answer, [_, 8, 2, 0x12, _, 8, 107, ..]),
    };
    explode(site, &codec, &bombs)
}

/// Bombs in MessagePack: counts of 2^32 - 1, and depth.
pub fn msgpack(site: &Site) -> Checked {
    let publish = |data: &[u8]| [b"\x82\x01\x02\x07\x82\x01\xa7plain:a\x02", data].concat();
    let unknown = |data: &[u8]| [b"\x82\x01\x02\xcd\x27\x10", data].concat();
    let subscribe =
        |filter: &[u8]| [b"\x82\x01\x02\x05\x82\x01\xabtagged:bomb\x0d", filter].concat();
    let most = |head: u8| [head, 0xff, 0xff, 0xff, 0xff];
    let leaf = b"\x82\x02\xa1a\x03\xa2ex".as_slice();
    let deep =
        |levels: usize| subscribe(&[&b"\x82\x01\xa3not\x06\x91".repeat(levels - 1), leaf].concat());
    let wide = |leaves: u16| {
        let nodes = [&[0xdc][..], &leaves.to_be_bytes(), &leaf.repeat(leaves.into())].concat();
        subscribe(&[b"\x82\x01\xa2or\x06", &nodes[..]].concat())
    };
    let arrays = [vec![0x91; 60_000], vec![0xc0]].concat();
    let maps = [[0x81, 0x01].repeat(30_000), vec![0xc0]].concat();
    let bombs: Vec<Bomb> = vec![
        ("a command of 2^32 fields", Ends, most(0xdf).to_vec()),
        ("an array as a command", Ends, most(0xdd).to_vec()),
        ("an array of 2^32", Ends, publish(&most(0xdd))),
        (
            "an array of 2^32 with some of it",
            Ends,
            publish(&[&most(0xdd), &[1; 60_000][..]].concat()),
        ),
        ("a map of 2^32", Ends, publish(&most(0xdf))),
        ("a str of 2^32", Ends, publish(&most(0xdb))),
        ("a bin of 2^32", Ends, publish(&most(0xc6))),
        ("an ext of 2^32", Ends, publish(&most(0xc9))),
        ("an unknown field of 2^32", Ends, unknown(&most(0xdd))),
        ("60,000 arrays within each other", Refused, publish(&arrays)),
        ("30,000 maps within each other", Refused, publish(&maps)),
        ("60,000 arrays, cut", Ends, publish(&arrays[..60_000])),
        ("an unknown field of 60,000 arrays", Ends, unknown(&arrays)),
        ("a filter of 16 levels", Taken, deep(16)),
        ("a filter of 17 levels", Refused, deep(17)),
        ("a filter of 3,000 levels", Refused, deep(DEEP)),
        ("a filter of 256 nodes", Taken, wide(255)),
        ("a filter of 6,000 nodes", Refused, wide(5_999)),
        ("a filter of 2^32 nodes", Ends, subscribe(&[b"\x81\x06", &most(0xdd)[..]].concat())),
        ("a filter of 2^32 values", Ends, subscribe(&[b"\x81\x05", &most(0xdd)[..]].concat())),
    ];
    let codec = Codec {
        subprotocol: "corecast.v1.msgpack",
        connect: b"\x82\x01\x01\x04\x80",
        ping: b"\x82\x01\x03\x0b\x80",
        pong: b"\x82\x01\x03\x0c\x80",
        is_refusal: |answer| matches!(answer, [0x82, 1, 2, 2, _, 1, 107, ..]),
    };
    explode(site, &codec, &bombs)
}

/// Each on a connection of its own, and the server's memory afterwards.
fn explode(site: &Site, codec: &Codec, bombs: &[Bomb]) -> Checked {
    let before = proc::rss(site.server_pid).map_err(|error| error.to_string())?;
    for (what, outcome, bytes) in bombs {
        let fits = bytes.len() <= site.message_bytes;
        expect(fits, || format!("{what}: {} bytes are a bomb of another kind", bytes.len()))?;
        ignite(site, codec, *outcome, bytes).map_err(|error| format!("{what}: {error}"))?;
    }
    let after = proc::rss(site.server_pid).map_err(|error| error.to_string())?;
    let grown = after.saturating_sub(before) >> 20;
    expect(grown < GROWTH_MIB, || format!("the server grew by {grown} MiB"))?;
    Ok(format!("{} messages, {grown} MiB", bombs.len()))
}

fn ignite(site: &Site, codec: &Codec, outcome: Outcome, bytes: &[u8]) -> Result<(), String> {
    let header = format!("Sec-WebSocket-Protocol: {}\r\n", codec.subprotocol);
    let mut wire = Wire::upgraded_with(&site.target, &header)?;
    wire.frame(FIN | ws::BINARY, codec.connect);
    answer(&mut wire, "connect")?;
    wire.frame(FIN | ws::BINARY, bytes);
    if outcome == Ends {
        let code = wire.close_code()?;
        return expect(code == 3501, || format!("{code} not 3501"));
    }
    let told = answer(&mut wire, "the bomb")?;
    expect((codec.is_refusal)(&told) == (outcome == Refused), || format!("answered {told:x?}"))?;
    wire.frame(FIN | ws::BINARY, codec.ping);
    let pong = answer(&mut wire, "a ping afterwards")?;
    expect(pong == codec.pong, || format!("a ping afterwards: {pong:x?}"))
}

fn answer(wire: &mut Wire, what: &str) -> Result<Vec<u8>, String> {
    match wire.next(PATIENCE) {
        Next::Binary(bytes) => Ok(bytes),
        other => Err(format!("{what}: {other:?} instead of an answer")),
    }
}

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes after their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 4);
    varint(&mut out, bytes.len());
    out.extend_from_slice(bytes);
    out
}

/// A field of bytes.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3 | 2);
    out.extend(sized(bytes));
    out
}
