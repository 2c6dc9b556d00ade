//! The holder against servers that answer correctly, in pieces, or not at all.

use super::*;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const JOINED: &str = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{}}";

struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The test may have seen enough.
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut masked = Vec::new();
    ws::encode(&mut masked, 0x80 | ws::TEXT, [0; 4], text.as_bytes());
    let head = masked.len() - text.len() - 4;
    let mut bare = masked[..head].to_vec();
    bare[1] &= 0x7f;
    bare.extend_from_slice(text.as_bytes());
    bare
}

fn pushed(channel: &str, number: u32) -> Vec<u8> {
    let data = format!(r#"{{"number":{number}}}"#);
    frame(&format!(r#"{{"push":{{"channel":"{channel}","pub":{{"data":{data}}}}}}}"#))
}

/// Holds one connection to a server that answers the upgrade with `head` and says `pushes`, in
/// pieces of `piece` bytes. What the holder ends with, and its lines.
fn held(head: &str, pushes: &[u8], piece: usize) -> (Result<(), String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let (mut orders, input) = UnixStream::pair().expect("a pair");
    input.set_nonblocking(true).expect("a socket");
    let (out, lines) = mpsc::channel();
    let holder = std::thread::spawn(move || {
        let args = Args {
            url: format!("ws://{address}/x").parse().expect("a URL"),
            source: Ipv4Addr::LOCALHOST,
            first_port: 30_000,
            channels: 1,
            channel: "c".into(),
            at_once: 1,
        };
        let mut crowd = Crowd::new(args, Box::new(Lines(out))).expect("a crowd");
        crowd.hold(&input).map_err(|error| format!("{error:#}"))
    });
    let mut said = String::new();
    let mut await_word = |word: &str| {
        while !said.contains(word) {
            said.push_str(&lines.recv().expect("the holder is there"));
        }
    };
    let mut bytes = [0; 1_024];
    orders.write_all(b"grow 1\n").expect("an order");
    let (mut socket, _) = listener.accept().expect("the connection");
    socket.set_nodelay(true).expect("a socket");
    assert!(socket.read(&mut bytes).expect("the upgrade") > 0);
    socket.write_all(head.as_bytes()).expect("the answer");
    if head == ACCEPTED {
        assert!(socket.read(&mut bytes).expect("the commands") > 0);
        socket.write_all(&frame(JOINED)).expect("the answer");
        await_word("live");
        orders.write_all(b"expect 1\n").expect("an order");
        await_word("expecting");
        // A holder that has seen enough is gone: what it says counts.
        pushes.chunks(piece).all(|some| socket.write_all(some).is_ok());
        let _ = socket.read(&mut bytes);
        let _ = orders.write_all(b"report\nquit\n");
    }
    let done = holder.join().expect("no panic");
    said.extend(lines.iter());
    (done, said)
}

#[test]
fn what_comes_is_counted_however_it_is_cut() {
    let whole = [pushed("c0", 1), pushed("c0", 2), frame("{}")].concat();
    for piece in [1, 7, 64, whole.len()] {
        let (done, said) = held(ACCEPTED, &whole, piece);
        assert_eq!(done, Ok(()), "{said}");
        assert!(said.contains("\"publications\":2") && said.contains("\"pings\":1"), "{said}");
    }
}

#[test]
fn what_is_lost_damaged_or_refused_ends_it() {
    let close = [0x80 | ws::CLOSE, 2, 0x0d, 0xac];
    let error = frame(r#"{"id":7,"error":{"code":103,"message":"permission denied"}}"#);
    for (pushes, why) in [
        (pushed("c0", 2), r#"{"number":2} in c0, {"number":1} in c0 was to come"#),
        ([pushed("c0", 1), pushed("c0", 1)].concat(), r#"{"number":2} in c0 was to come"#),
        (pushed("c1", 1), "in c1, "),
        (close.to_vec(), "the server closed it: 3500"),
        (error, "error 103 permission denied"),
        (vec![0xf0, 0, 0, 0], "a malformed frame"),
        (frame("not JSON"), "message \"not JSON\""),
    ] {
        let (done, said) = held(ACCEPTED, &pushes, pushes.len());
        let told = done.expect_err("it must not go on");
        assert!(told.starts_with("connection 0: ") && told.contains(why), "{told}");
        assert!(said.contains("failure"), "{said}");
    }
    let (done, _) = held("HTTP/1.1 503 Service Unavailable\r\n\r\n", &[], 1);
    assert_eq!(done, Err("connection 0: the upgrade was refused: status 503".into()));
}
