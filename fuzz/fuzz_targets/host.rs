//! Edges and homes, driven by streams of operations: connections come, ask, are cut short, and go.
#![no_main]

use corecast::edge::auth::mint::Signer;
use corecast::ws::frame::{self, OpCode};
use corecast_fuzz::choices::Choices;

use corecast_fuzz::host::{Host, Peer, SECRET};
use jsonwebtoken::Algorithm;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

const CHANNELS: [&str; 6] = ["a", "b", "chat:a", "chat:b", "asked:a", "nowhere:a"];
const SUBPROTOCOLS: [&str; 4] =
    ["", "centrifuge-json", "centrifuge-protobuf", "corecast.v1.msgpack"];
const REQUESTS: [&str; 6] = [
    "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 29\r\n\r\n{\"channel\":\"chat:a\",\"data\":1}",
    "POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    "POST /api/disconnect HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"user\":\"bob\"}",
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
            peer.client.asks(*id, Some(channel));
            return format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}"{since}}}}}"#);
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
            format!(r#""publish":{{"channel":"{channel}","data":{data}}}"#)
        }
    };
    peer.client.asks(*id, None);
    format!(r#"{{"id":{id},{text}}}"#)
}

fn speak(peer: &mut Peer, id: &mut u32, choices: &mut Choices<'_>) {
    match choices.below(8) {
        0 => upgrade(peer, choices),
        1 => {
            *id += 1;
            peer.client.asks(*id, None);
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
            let request = choices.pick(&REQUESTS);
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
