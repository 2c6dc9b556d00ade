//! One channel, subscribers of every codec: each gets its own frames, and nobody another's.

use super::super::connection::Life;
use super::*;
use crate::contract::block::Placed;
use crate::limits::CHUNK_BYTES;
use std::collections::BTreeMap;

const OWN: [&str; 3] = ["corecast.v1.json", "corecast.v1.msgpack", "corecast.v1.protobuf"];

/// `connect` with id 1, `subscribe` to "c" with id 2, in the codecs of `OWN`.
const CONNECT: [&[u8]; 3] =
    [br#"{"id":1,"connect":{}}"#, b"\x82\x01\x01\x04\x80", b"\x04\x08\x01\x22\x00"];
const SUBSCRIBE: [&[u8]; 3] = [
    br#"{"id":2,"subscribe":{"channel":"c"}}"#,
    b"\x82\x01\x02\x05\x81\x01\xa1c",
    b"\x07\x08\x02\x2a\x03\x0a\x01c",
];

fn masked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, opcode, true, [1, 2, 3, 4], payload);
    bytes
}

fn opcode(codec: usize) -> OpCode {
    if codec == 0 { OpCode::Text } else { OpCode::Binary }
}

/// A frame of a codec.
fn framed(codec: usize, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, opcode(codec), payload);
    bytes
}

impl Bench {
    fn speaks(&mut self, codec: usize) -> ConnectionId {
        let conn = self.accept();
        let head = String::from_utf8(UPGRADE.to_vec()).unwrap();
        let head = head.trim_end().to_owned();
        let name = OWN[codec];
        self.receive(conn, format!("{head}\r\nSec-WebSocket-Protocol: {name}\r\n\r\n").as_bytes());
        let answer = String::from_utf8(self.flush(conn)).unwrap();
        assert!(answer.contains(name), "{answer}");
        self.receive(conn, &masked(opcode(codec), CONNECT[codec]));
        let connected = self.flush(conn);
        assert_eq!(connected[0], framed(codec, b"")[0], "text for JSON, binary for the others");
        conn
    }

    /// Flushes everything; what each connection was sent.
    pub(super) fn flush_all(&mut self) -> BTreeMap<u32, Vec<u8>> {
        let mut sent: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut ranges = Vec::new();
        while let Some(flush) = next_flush(&mut self.edge, &mut ranges) {
            let Some(to) = sent_whole(&mut self.edge, flush, &mut ranges) else { continue };
            for range in &ranges {
                let bytes = &self.edge.arena()[range.start as usize..range.end as usize];
                sent.entry(to.index).or_default().extend_from_slice(bytes);
            }
        }
        self.edge.restart_if_flushed();
        sent
    }

    /// A subscriber to "c"; gives what it was sent too.
    fn subscribes(&mut self, codec: usize, recovery: Recovery) -> (ConnectionId, Vec<u8>) {
        let conn = self.speaks(codec);
        self.receive(conn, &masked(opcode(codec), SUBSCRIBE[codec]));
        let Some(Request::Subscribe(asked)) = self.lane.requests.pop_front() else {
            panic!("a Subscribe was pushed")
        };
        self.deliver(Delivery::Subscribed(Box::new(Subscribed {
            to: asked.to,
            sequence: asked.sequence,
            channel: asked.channel,
            local: 0,
            position: Position { epoch: Epoch(0), offset: 0 },
            recovery,
        })));
        (conn, self.flush(conn))
    }
}

#[test]
fn each_codec_gets_its_own_frames() {
    let mut bench = Bench::new(8, Limits::default());
    let conns: Vec<ConnectionId> = [0, 1, 2, 2, 1, 0]
        .map(|codec| bench.subscribes(codec, Recovery::NotAsked).0)
        .into_iter()
        .collect();
    bench.deliver(publication(0, 1, r#"[1,"é"]"#));
    bench.deliver(publication(0, 2, "2"));
    bench.edge.mark_staged();
    let expected: [&[&[u8]]; 3] = [
        &[
            r#"{"push":{"channel":"c","pub":{"data":[1,"é"],"time":1700000000000}}}"#.as_bytes(),
            br#"{"push":{"channel":"c","pub":{"data":2,"time":1700000000000}}}"#,
        ],
        &[
            b"\x81\x04\x82\x02\xa1c\x04\x82\x04\x92\x01\xa2\xc3\xa9\x09\xcf\x00\x00\x01\x8b\xcf\xe5\x68\x00",
            b"\x81\x04\x82\x02\xa1c\x04\x82\x04\x02\x09\xcf\x00\x00\x01\x8b\xcf\xe5\x68\x00",
        ],
        &[
            b"\x18\x22\x16\x12\x01c\x22\x11\x22\x08[1,\"\xc3\xa9\"]\x48\x80\xd0\x95\xff\xbc\x31",
            b"\x11\x22\x0f\x12\x01c\x22\x0a\x22\x012\x48\x80\xd0\x95\xff\xbc\x31",
        ],
    ];
    let sent = bench.flush_all();
    for (conn, codec) in conns.into_iter().zip([0, 1, 2, 2, 1, 0]) {
        let frames = expected[codec].iter().flat_map(|payload| framed(codec, payload));
        assert_eq!(sent[&conn.index], frames.collect::<Vec<u8>>(), "{}", OWN[codec]);
    }
}

#[test]
fn a_publication_that_is_large_goes_to_every_backlog() {
    let mut bench = Bench::new(8, Limits { arena_bytes: 4 << 10, ..Limits::default() });
    let conns = [0, 1, 2].map(|codec| bench.subscribes(codec, Recovery::NotAsked).0);
    let data = format!("\"{}\"", "x".repeat(4_000));
    bench.deliver(publication(0, 1, &data));
    bench.edge.mark_staged();
    assert_eq!(bench.edge.arena_bytes(), 0, "the arena is given back");
    for conn in conns {
        let chunk = bench.edge.next_chunk(conn).expect("it waits in the backlog");
        assert!((4_000..4_100).contains(&chunk.len()), "one frame, not three: {}", chunk.len());
    }
}

#[test]
fn a_recovery_answer_is_one_message_whatever_its_size() {
    for (codec, size) in [0, 1, 2].into_iter().flat_map(|codec| [(codec, 10), (codec, CHUNK_BYTES)])
    {
        let mut bench = Bench::new(8, Limits::default());
        let now = bench.now;
        let block =
            |byte: &str| Block::plain("c", format!("\"{}\"", byte.repeat(size)).as_bytes(), now);
        let missed = [(1, block("a")), (2, block("b"))];
        let missed = missed.map(|(offset, block)| Placed { offset, block });
        let (conn, mut sent) = bench.subscribes(codec, Recovery::Complete(missed.into()));
        while let Some(chunk) = bench.edge.next_chunk(conn) {
            sent.extend_from_slice(&chunk);
            bench.edge.chunk_sent(conn);
        }
        assert_eq!(frame::frame_len(&sent), Some(sent.len()), "{} {size}", OWN[codec]);
        for byte in [b'a', b'b'] {
            let run = vec![byte; size];
            assert!(sent.windows(size).any(|window| window == run), "{} {size}", OWN[codec]);
        }
    }
}

#[test]
fn what_cannot_be_read_ends_the_connection() {
    let bad: [&[u8]; 3] = [b"{", b"\x81\x01", b"\x05\x08"];
    for codec in 0..3 {
        let mut bench = Bench::new(8, Limits::default());
        let conn = bench.speaks(codec);
        bench.receive(conn, &masked(opcode(codec), bad[codec]));
        let sent = bench.flush(conn);
        let push = [
            br#"{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}"#.as_slice(),
            b"\x81\x04\x81\x0b\x82\x01\xcd\x0d\xad\x02\xabbad request",
            b"\x14\x22\x12\x5a\x10\x08\xad\x1b\x12\x0bbad request",
        ];
        let push = framed(codec, push[codec]);
        assert!(sent.starts_with(&push), "{} is told in its own words: {sent:x?}", OWN[codec]);
        assert_eq!(sent[push.len()..push.len() + 4], [0x88, 13, 0x0d, 0xad]);
    }
}

#[test]
fn a_publish_without_data_is_an_error_and_no_end() {
    let publish: [&[u8]; 3] = [
        br#"{"id":9,"publish":{"channel":"c"}}"#,
        b"\x82\x01\x09\x07\x81\x01\xa1c",
        b"\x07\x08\x09\x3a\x03\x0a\x01c",
    ];
    for codec in 0..3 {
        let mut bench = Bench::new(8, Limits::default());
        let conn = bench.speaks(codec);
        bench.receive(conn, &masked(opcode(codec), publish[codec]));
        let sent = bench.flush(conn);
        assert_eq!(sent.first(), framed(codec, b"").first(), "{}: {sent:x?}", OWN[codec]);
        let told = sent.windows(11).any(|part| part == b"bad request");
        assert!(told, "{}: {sent:x?}", OWN[codec]);
        assert!(bench.lane.requests.is_empty());
        assert_eq!(bench.edge.life(conn), Life::Active, "{}", OWN[codec]);
    }
}

#[test]
fn sdks_are_not_sent_the_push_of_a_disconnect() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.client();
    bench.receive(conn, &text("{"));
    assert_eq!(bench.flush(conn)[..4], [0x88, 13, 0x0d, 0xad]);
}

#[test]
fn the_words_of_a_batch_are_those_of_the_codec() {
    let pong: [&[u8]; 3] =
        [b"{}\n{\"id\":9,\"ping\":{}}", b"\x80\x82\x01\x09\x0b\x80", b"\x00\x04\x08\x09\x5a\x00"];
    let answer: [&[u8]; 3] =
        [b"{\"id\":9,\"ping\":{}}", b"\x82\x01\x09\x0c\x80", b"\x04\x08\x09\x62\x00"];
    for codec in 0..3 {
        let mut bench = Bench::new(8, Limits::default());
        let conn = bench.speaks(codec);
        bench.receive(conn, &masked(opcode(codec), pong[codec]));
        assert_eq!(bench.flush(conn), framed(codec, answer[codec]), "{}", OWN[codec]);
        bench.now = at_ms(bench.now.monotonic_ms() + 26_000);
        bench.edge.timers(bench.now);
        let ping: [&[u8]; 3] = [b"{}", b"\x80", b"\x00"];
        assert_eq!(bench.flush(conn), framed(codec, ping[codec]), "a ping in {}", OWN[codec]);
    }
}
