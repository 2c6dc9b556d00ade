//! A shard against a Redis that answers what a test says.

use super::*;
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::resp::decode::Decoder;
use crate::clock::Now;
use crate::contract::block::Block;
use crate::contract::engine::{Call, CallId, Page, Session, Wish};
use crate::contract::key::ConnectionKey;
use crate::contract::position::Epoch;
use crate::contract::wire::{Origin, encode};

mod ends;
mod hearing;
mod leaving;
mod members;
mod nodes;
mod publishing;

const OWN: NodeId = NodeId([1; 16]);
const OTHER: NodeId = NodeId([2; 16]);
/// What `TIME` answers at the start, in seconds.
const UNIX_S: u64 = 1_796_000_000;
const FLOOR: u64 = 5;

struct Bench {
    shard: Shard,
    now_us: u64,
    calls: u64,
}

fn blob(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn array(kind: char, items: &[Vec<u8>]) -> Vec<u8> {
    [format!("{kind}{}\r\n", items.len()).into_bytes(), items.concat()].concat()
}

/// What a server with this replication id says first.
fn greeting(replication_id: &str) -> Vec<u8> {
    let text = |text: &str| blob(text.as_bytes());
    let fields = [
        text("version"),
        text("7.0.15"),
        text("id"),
        b":17\r\n".to_vec(),
        text("role"),
        text("master"),
    ];
    let info = format!("role:master\r\nmaster_replid:{replication_id}\r\n");
    [b"%3\r\n".to_vec(), fields.concat(), b"+OK\r\n".to_vec(), text(&info)].concat()
}

impl Bench {
    /// A shard with no connection.
    fn away() -> Bench {
        let config = ShardConfig {
            user: None,
            password: None,
            database: 0,
            prefix: "cc".into(),
            timeouts: Timeouts::default(),
            homes: Homes::new(Key::of(1), 4),
        };
        Bench { shard: Shard::new(config, (OWN, Box::new(client_id)), 7), now_us: 0, calls: 0 }
    }

    /// One that is ready, and has nothing to say.
    fn ready() -> Bench {
        let mut bench = Bench::away();
        bench.dial(Wire::Commands, "abc");
        bench.serve(FLOOR);
        bench.dial(Wire::Subscriptions, "abc");
        bench.hear_echoes();
        assert!(bench.shard.is_ready());
        assert!(bench.events().contains(&Event::Ready));
        bench
    }

    /// Connects at the time that the shard wants to.
    fn dial(&mut self, wire: Wire, replication_id: &str) {
        self.later(2_000_000);
        assert!(self.shard.wants_dial(wire));
        self.shard.connected(wire, self.now_us);
        assert_eq!(self.said(wire)[0][0], "HELLO");
        self.bring(wire, &greeting(replication_id));
    }

    /// Takes what is said first on the connection that hears.
    fn hear_echoes(&mut self) {
        let said = self.said(Wire::Subscriptions);
        assert_eq!(said, [vec!["SUBSCRIBE".to_owned(), self.echo_key()], vec!["PING".to_owned()]]);
        self.bring(Wire::Subscriptions, b"+PONG\r\n");
    }

    fn echo_key(&self) -> String {
        String::from_utf8(self.shard.echo_key.to_vec()).expect("text")
    }

    /// Answers what is asked before anything else, up to the floor.
    fn serve(&mut self, floor: u64) -> Vec<Vec<String>> {
        let asked = self.said(Wire::Commands);
        for command in &asked {
            match command[0].as_str() {
                "SCRIPT" => self.reply(&blob(b"digest")),
                "CLIENT" => self.reply(b":1\r\n"),
                "TIME" => {
                    let seconds = (UNIX_S + self.now_us / 1_000_000).to_string();
                    self.reply(&array('*', &[blob(seconds.as_bytes()), blob(b"0")]));
                }
                other => panic!("{other} is not asked first"),
            }
        }
        assert_eq!(self.said(Wire::Commands)[0][0], "EVAL");
        self.reply(format!("*2\r\n:{floor}\r\n:0\r\n").as_bytes());
        asked
    }

    fn later(&mut self, by_us: u64) {
        self.now_us += by_us;
        self.shard.turn(self.now_us);
    }

    /// What is written now, by commands and their parts; what is no text is marked.
    fn said(&mut self, wire: Wire) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        self.shard.take_output(wire, &mut out);
        let mut decoder = Decoder::new();
        decoder.receive(&out);
        let mut commands: Vec<Vec<String>> = Vec::new();
        while let Some(Value::Array(parts)) = decoder.next().expect("commands") {
            let text = |part: &Value| match part {
                Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => panic!("not a part: {other:?}"),
            };
            commands.push(parts.iter().map(text).collect());
        }
        // It is asked whether it lives, where nothing else is.
        if wire == Wire::Commands && commands.first().is_some_and(|first| first == &["PING"]) {
            commands.remove(0);
            self.reply(b"+PONG\r\n");
        }
        // A node hears what is for itself first.
        let own = |it: &Vec<String>| it[0] == "SUBSCRIBE" && it[1].ends_with(&OWN.text());
        if commands.first().is_some_and(own) {
            assert_eq!(commands.remove(1), ["PING"]);
            commands.remove(0);
            self.bring(wire, b"+PONG\r\n");
        }
        commands
    }

    fn bring(&mut self, wire: Wire, bytes: &[u8]) {
        self.shard.received(wire, bytes, self.now_us);
    }

    fn reply(&mut self, bytes: &[u8]) {
        self.bring(Wire::Commands, bytes);
    }

    fn push(&mut self, kind: &str, channel: &str, last: Vec<u8>) {
        let key = self.key(channel);
        let push = array('>', &[blob(kind.as_bytes()), blob(key.as_bytes()), last]);
        self.bring(Wire::Subscriptions, &push);
    }

    fn key(&self, channel: &str) -> String {
        String::from_utf8(self.shard.scripts.keys().channel(channel).concat()).expect("text")
    }

    fn end(&mut self, wire: Wire) {
        self.shard.closed(wire, self.now_us);
    }

    fn call(&mut self, call: impl FnOnce(CallId) -> Call) -> u64 {
        self.calls += 1;
        self.shard.call(3, call(CallId(self.calls)), self.now_us);
        self.calls
    }

    /// Publishes where the channel is known to be of epoch 9.
    fn publish(&mut self, channel: &str) -> u64 {
        let above = Position { epoch: Epoch(9), offset: 0 };
        self.publish_with(channel, Some(above), "")
    }

    fn publish_with(&mut self, channel: &str, above: Option<Position>, key: &str) -> u64 {
        let block = Block::plain(channel, b"1", Now { monotonic_us: 0, unix_ms: 0 });
        let wish = Box::new(Wish {
            key: key.into(),
            size: 10,
            ttl_s: 60,
            numbering_s: 600,
            version: None,
            above,
        });
        self.call(|id| Call::Publish { id, block, wish })
    }

    fn read(&mut self, channel: &str) -> u64 {
        let page = Box::new(Page::newest(10, 1_000));
        self.call(|id| Call::Read { id, channel: channel.into(), page })
    }

    fn watch(&mut self, channel: &str, number: u32) -> u64 {
        let (page, session) = (Box::new(Page::newest(10, 1_000)), Session { place: 1, number });
        self.call(|id| Call::Watch { id, channel: channel.into(), session, page })
    }

    fn unwatch(&mut self, channel: &str, number: u32) {
        let session = Session { place: 1, number };
        self.shard.call(3, Call::Unwatch { channel: channel.into(), session }, self.now_us);
    }

    /// What was answered, in short.
    fn answers(&mut self) -> Vec<String> {
        let mut answers = Vec::new();
        while let Some((worker, answer)) = self.shard.next_answer() {
            let is_command = matches!(answer, Answer::Command { .. } | Answer::List { .. });
            assert!(is_command || worker == 3, "it is told who asked");
            answers.push(match answer {
                Answer::Published { id, position, .. } => {
                    format!("{} at {}-{}", id.0, position.epoch.0, position.offset)
                }
                Answer::Passed { id } => format!("{} passed", id.0),
                Answer::Removed { id } => format!("{} removed", id.0),
                Answer::Failed { id, why } => format!("{} {why:?}", id.0),
                Answer::Read(read) => {
                    let offsets: Vec<u64> = read.entries.iter().map(|it| it.offset).collect();
                    format!("{} read {}: {} {offsets:?}", read.id.0, read.epoch.0, read.after)
                }
                Answer::Publication { session, position, .. } => {
                    format!("heard by {} {:?}", session.number, position.map(|at| at.offset))
                }
                Answer::Noted { id } => format!("{} noted", id.0),
                Answer::Members { id, entries } => format!("{} lists {}", id.0, entries.len()),
                Answer::Counted { id, clients, users } => {
                    format!("{} counts {clients} {users}", id.0)
                }
                Answer::Membership { session, joined, .. } => {
                    format!("told {} {joined}", session.number)
                }
                answer @ (Answer::Node { .. } | Answer::Forgotten) => format!("{answer:?}"),
                Answer::Lost { session } => format!("{} lost", session.number),
                Answer::Channels { number, channels } => format!("{number} channels {channels:?}"),
                Answer::List { number, from } => {
                    format!("list {number} of {worker} from {}", from.place)
                }
                Answer::Nodes { id, nodes } => format!("{} nodes {}", id.0, nodes.len()),
                Answer::UsersTold { id } => format!("{} users", id.0),
                Answer::UserTold { id, missing } => format!("{} told but [{missing}]", id.0),
                Answer::Command { number, user, .. } => {
                    format!("command {number} for {}", user.as_str())
                }
            });
        }
        answers
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.shard.next_event()).collect()
    }
}

/// The client id of a connection.
fn client_id(connection: ConnectionKey) -> [u8; 16] {
    [connection.index as u8; 16]
}

/// A publication as it stands in a stream.
fn data(node: NodeId, number: u64) -> Vec<u8> {
    let mut data = Vec::new();
    let block = Block::plain("any", b"1", Now { monotonic_us: 0, unix_ms: 0 });
    encode(&block, Origin { node, number }, &mut data);
    data
}

/// Entries as a range gives them: ids, and whose they are.
fn entries(of: &[(&str, NodeId, u64)]) -> Vec<u8> {
    let entry = |(id, node, number): &(&str, NodeId, u64)| {
        let fields = array('*', &[blob(b"b"), blob(&data(*node, *number))]);
        array('*', &[blob(id.as_bytes()), fields])
    };
    array('*', &of.iter().map(entry).collect::<Vec<_>>())
}

/// What the script that publishes answers: ids, or "" for nil.
fn ids(of: &[&str]) -> Vec<u8> {
    let id = |id: &&str| match id.as_bytes() {
        b"" => b"_\r\n".to_vec(),
        [b'-', ..] => format!("{id}\r\n").into_bytes(),
        id => blob(id),
    };
    array('*', &of.iter().map(id).collect::<Vec<_>>())
}
