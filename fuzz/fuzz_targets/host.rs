//! Edges and homes, driven by streams of operations: connections come, ask, are cut short, and go.
#![no_main]

use corecast::auth::mint::Signer;
use corecast::ws::frame::{self, OpCode};
use corecast_fuzz::choices::Choices;

use corecast_fuzz::host::{Host, Peer, SECRET};
use jsonwebtoken::Algorithm;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

const CHANNELS: [&str; 6] = ["a", "b", "chat:a", "chat:b", "asked:a", "nowhere:a"];
const SUBPROTOCOLS: [&str; 4] =
    ["", "centrifuge-json", "centrifuge-protobuf", "corecast.v1.msgpack"];
/// Calls of the server API.
const CALLS: [(&str, &str); 18] = [
    ("publish", r#"{"channel":"chat:a","data":1}"#),
    ("publish", r#"{"channel":"asked:a","data":{"n":[1,2]},"tags":{"k":"v"}}"#),
    ("publish", r#"{"channel":"chat:a","data":2,"idempotency_key":"once"}"#),
    ("publish", r#"{"channel":"nowhere:a","data":2}"#),
    ("broadcast", r#"{"channels":["a","b","chat:a","chat:b"],"data":3}"#),
    ("subscribe", r#"{"user":"bob","channel":"chat:b"}"#),
    ("unsubscribe", r#"{"user":"bob","channel":"chat:b"}"#),
    ("disconnect", r#"{"user":"bob"}"#),
    ("refresh", r#"{"user":"bob","expire_at":1700000100}"#),
    ("presence", r#"{"channel":"chat:a"}"#),
    ("presence_stats", r#"{"channel":"chat:a"}"#),
    ("history", r#"{"channel":"chat:a","limit":10}"#),
    ("history_remove", r#"{"channel":"chat:a"}"#),
    ("channels", "{}"),
    ("info", "{}"),
    ("rpc", r#"{"method":"echo","params":[1]}"#),
    ("batch", r#"{"commands":[{"publish":{"channel":"a","data":1}},{"info":{}},{"channels":{}}]}"#),
    ("nothing", "{"),
];
const REQUESTS: [&str; 3] = [
    "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /metrics HTTP/1.0\r\n\r\n",
];

/// Claims of connection tokens: with channels of the server's making, and of short validity.
const TOKENS: [&str; 5] = [
    "",
    r#"{"sub":"bob"}"#,
    r#"{"sub":"bob","channels":["chat:a","a"],"info":{"n":1}}"#,
    r#"{"sub":"eve","exp":1700000010}"#,
    r#"{"sub":"eve","exp":1}"#,
];

fn tokens() -> &'static [String] {
    static SIGNED: OnceLock<Vec<String>> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let signer = Signer::from_secret(Algorithm::HS256, SECRET).expect("a secret");
        let sign = |claims: &&str| match *claims {
            "" => String::new(),
            claims => signer.sign(None, claims).expect("it signs"),
        };
        TOKENS.iter().map(sign).collect()
    })
}

fn upgrade(peer: &mut Peer, choices: &mut Choices<'_>) {
    let which = choices.below(SUBPROTOCOLS.len() * 2) % SUBPROTOCOLS.len();
    peer.client.offers_json = which < 2;
    let offer = match SUBPROTOCOLS[which] {
        "" => String::new(),
        name => format!("Sec-WebSocket-Protocol: {name}\r\n"),
    };
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offer}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    peer.sent.extend(head.as_bytes());
}

fn send(peer: &mut Peer, opcode: OpCode, fin: bool, payload: &[u8]) {
    let mut bytes = Vec::new();
    frame::write_masked(&mut bytes, opcode, fin, [7, 5, 3, 1], payload);
    peer.sent.extend(bytes);
}

/// A command of a sensible client, in JSON.
fn command(peer: &mut Peer, id: &mut u32, choices: &mut Choices<'_>) -> String {
    *id += 1;
    let (kind, channel) = (choices.below(10), *choices.pick(&CHANNELS));
    let size = choices.byte();
    let text = match kind {
        0 | 1 => {
            let since = peer.client.place(channel).filter(|_| size % 2 == 1);
            let since = since.map_or(String::new(), |(epoch, offset)| {
                format!(r#","recover":true,"epoch":"{epoch}","offset":{offset}"#)
            });
            let wish = match size % 8 {
                6 => r#","delta":"fossil""#,
                7 => r#","tf":{"key":"k","cmp":"eq","val":"v"}"#,
                _ => "",
            };
            peer.client.subscribes(*id, channel, size % 8 == 7);
            return format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"{since}{wish}}}}}"#);
        }
        2 => {
            peer.client.forgets(channel);
            format!(r#""unsubscribe":{{"channel":"{channel}"}}"#)
        }
        3 => format!(r#""history":{{"channel":"{channel}","limit":{}}}"#, i32::from(size) - 1),
        4 => format!(r#""presence":{{"channel":"{channel}"}}"#),
        5 => format!(r#""presence_stats":{{"channel":"{channel}"}}"#),
        6 => format!(r#""rpc":{{"method":"echo","data":"{}"}}"#, "x".repeat(size.into())),
        _ => {
            let data = format!(r#"[{id},"{}"]"#, "y".repeat(size.into()));
            let more = match size % 8 {
                5 => {
                    peer.client.forgets(channel);
                    r#","exclude_self":true"#
                }
                6 => r#","idempotency_key":"twice""#,
                7 => r#","tags":{"k":"v"}"#,
                _ => "",
            };
            format!(r#""publish":{{"channel":"{channel}","data":{data}{more}}}"#)
        }
    };
    peer.client.asks(*id);
    format!(r#"{{"id":{id},{text}}}"#)
}

fn speak(peer: &mut Peer, id: &mut u32, choices: &mut Choices<'_>) {
    match choices.below(8) {
        0 => upgrade(peer, choices),
        1 => {
            *id += 1;
            peer.client.asks(*id);
            let token = &tokens()[choices.below(TOKENS.len())];
            let text = format!(r#"{{"id":{id},"connect":{{"token":"{token}"}}}}"#);
            send(peer, OpCode::Text, true, text.as_bytes());
        }
        2..=4 => {
            let count = 1 + choices.below(20);
            let commands: Vec<_> = (0..count).map(|_| command(peer, id, choices)).collect();
            send(peer, OpCode::Text, true, commands.join("\n").as_bytes());
        }
        5 => {
            peer.client.wild = true;
            let request = match choices.below(4) {
                0 => (*choices.pick(&REQUESTS)).to_owned(),
                _ => {
                    let (method, body) = choices.pick(&CALLS);
                    let length = body.len();
                    format!(
                        "POST /api/{method} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
                    )
                }
            };
            peer.sent.extend(request.as_bytes());
        }
        6 => {
            peer.client.wild = true;
            let opcodes =
                [OpCode::Text, OpCode::Binary, OpCode::Continuation, OpCode::Ping, OpCode::Close];
            let (opcode, fin) = (*choices.pick(&opcodes), choices.byte() < 200);
            send(peer, opcode, fin, choices.bytes());
        }
        _ => {
            peer.client.wild = true;
            peer.sent.extend(choices.bytes());
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    let mut host = Host::new(&mut choices);
    let mut id = 0;
    while !choices.is_over() {
        let (operation, which) = (choices.below(16), choices.byte());
        let peers = host.peers.len();
        let peer = usize::from(which) % peers.max(1);
        match operation {
            0 => host.accept(which.into(), which & 2 != 0),
            1..=4 if peers > 0 => speak(&mut host.peers[peer], &mut id, &mut choices),
            5..=8 if peers > 0 => {
                let bytes = usize::from(choices.byte()).pow(2);
                host.receive(peer, bytes);
            }
            9 if peers > 0 => host.ends(peer, choices.flag()),
            10 if peers > 0 => {
                host.arrives(peer);
            }
            11 => host.wait(u64::from(which) * 100),
            _ => {
                host.turn(which.into(), &mut choices, false);
            }
        }
    }
    host.end();
});
