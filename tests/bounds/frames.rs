//! Bounds of frames and messages: 1009, 1008; and frames that break the protocol: 1002, 1007.

use crate::client::{CLOSE, CONTINUATION, Client, Event, FIN, PING, TEXT, header};
use crate::server::{Server, limits};
use crate::{on_both_drivers, serve};

on_both_drivers!(message_bytes, fragments, control_frames, broken_frames);

/// A fresh connection on which something is sent must end with this code.
fn ends(server: &Server, code: u16, what: &str, send: impl FnOnce(&mut Client)) {
    let mut client = server.client();
    send(&mut client);
    assert_eq!(client.close_code(), Some(code), "{what}");
    client.half_close();
    assert!(client.is_ended(), "{what}: the server closes behind its close frame");
}

fn message_bytes(driver: &str) {
    const BYTES: usize = 1_000;
    let server = serve!(driver, limits("message_bytes = 1000"));
    let neighbour = server.neighbour();
    let fits = format!(r#"{{"id":2,"ping":{{}}}}{}"#, " ".repeat(BYTES - 18));
    assert_eq!(fits.len(), BYTES);
    let mut client = server.client();
    client.text(&fits);
    assert!(matches!(client.next(), Event::Message(_)), "a message of exactly so many bytes");
    ends(&server, 1009, "one byte over", |client| {
        client.text(&format!("{fits} "));
    });
    ends(&server, 1009, "a megabyte, sent whole", |client| {
        client.text(&" ".repeat(1 << 20));
    });
    ends(&server, 1009, "fragments over in sum", |client| {
        client.frame(TEXT, &[b' '; BYTES / 2]);
        client.frame(CONTINUATION, &[b' '; BYTES / 2]);
        client.frame(FIN | CONTINUATION, b" ");
    });

    let before = server.rss();
    let mut open: Vec<Client> = Vec::new();
    for _ in 0..64 {
        let mut client = server.client();
        client.send(&header(FIN | TEXT, 1 << 30));
        assert_eq!(client.close_code(), Some(1009), "from the header alone");
        open.push(client);
    }
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 16 << 20, "64 headers of 1 GiB took {grown} bytes");
    drop(open);
    assert!(client.lives());
    server.settles("spill_bytes", 0);
    neighbour.end();
    server.end();
}

fn fragments(driver: &str) {
    let server = serve!(driver, limits("fragments_per_message = 4"));
    let neighbour = server.neighbour();
    // Four, and one more for every 16 bytes: the last of these fits, and so does the message.
    let mut client = server.client();
    client.frame(TEXT, br#"{"id":2,"pin"#);
    for part in [&br#"g":"#[..], b"{", b"}"] {
        client.frame(CONTINUATION, part);
    }
    client.frame(FIN | CONTINUATION, b"}");
    assert!(matches!(client.next(), Event::Message(_)), "as many fragments as may be");
    ends(&server, 1008, "empty fragments", |client| {
        client.frame(TEXT, b"");
        (0..10_000).all(|_| client.frame(CONTINUATION, b""));
    });
    ends(&server, 1008, "fragments of a byte", |client| {
        client.frame(TEXT, b" ");
        (0..64).all(|_| client.frame(CONTINUATION, b" "));
    });
    server.settles("spill_bytes", 0);
    neighbour.end();
    server.end();
}

fn control_frames(driver: &str) {
    let limited = "control_frames_per_s = 1\ncontrol_frames_burst = 10";
    let server = serve!(driver, limits(limited));
    let neighbour = server.neighbour();
    let mut client = server.client();
    for number in 0..10_u8 {
        client.frame(FIN | PING, &[number]);
        assert_eq!(client.next(), Event::Pong(vec![number]), "the burst is answered");
    }
    ends(&server, 1008, "a ping flood", |client| {
        (0..20_000).all(|_| client.frame(FIN | PING, b"flood"));
    });
    ends(&server, 1008, "a pong flood", |client| {
        (0..100).all(|_| client.frame(FIN | 10, b"flood"));
    });
    neighbour.end();
    server.end();

    let Some(server) = Server::start_dev(driver) else { return };
    let mut client = server.client();
    for number in 0..500_u16 {
        client.frame(FIN | PING, &number.to_be_bytes());
    }
    let last = Event::Pong(499_u16.to_be_bytes().to_vec());
    while client.next() != last {}
    assert!(client.lives(), "--dev has no rate");
    server.end();
}

fn broken_frames(driver: &str) {
    let server = serve!(driver, limits(""));
    let neighbour = server.neighbour();
    let firsts: [(&str, u8); 8] = [
        ("RSV1", FIN | 0x40 | TEXT),
        ("RSV2", FIN | 0x20 | TEXT),
        ("RSV3", FIN | 0x10 | TEXT),
        ("opcode 3", FIN | 3),
        ("opcode 11", FIN | 11),
        ("a fragmented ping", PING),
        ("a fragmented close", CLOSE),
        ("a continuation of nothing", FIN | CONTINUATION),
    ];
    for (what, first) in firsts {
        ends(&server, 1002, what, |client| {
            client.frame(first, b"{}");
        });
    }
    ends(&server, 1002, "unmasked", |client| {
        client.send(&[FIN | TEXT, 2, b'{', b'}']);
    });
    ends(&server, 1002, "a text within a text", |client| {
        client.frame(TEXT, b"{");
        client.frame(FIN | TEXT, b"}");
    });
    ends(&server, 1002, "a violation, and much behind it", |client| {
        client.frame(FIN | 3, b"");
        client.send(&[0x55; 300_000]);
    });
    ends(&server, 1007, "a byte that UTF-8 has not", |client| {
        client.frame(FIN | TEXT, b"{\"id\":2,\"\xff\":1}");
    });
    ends(&server, 1007, "a letter cut by the message's end", |client| {
        client.frame(TEXT, b"\xe2\x82");
        client.frame(FIN | CONTINUATION, b"");
    });
    ends(&server, 1007, "before the frame is whole", |client| {
        let mut begun = header(FIN | TEXT, 1_000);
        begun.extend([0xff ^ 0x11]);
        client.send(&begun);
    });
    neighbour.end();
    server.end();
}
