//! A server's answer to an upgrade, and to a call of its API.
//!
//! Must not know sockets. Invariant: an upgrade without a key is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// RFC 6455, section 1.3.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a gateway says to a publish, in as many bytes.
pub const PUBLISHED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 13\r\nConnection: keep-alive\r\n\r\n{\"result\":{}}";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Incomplete,
    /// Path, answer, and bytes of the request.
    Upgrade {
        path: String,
        answer: String,
        length: usize,
    },
    /// A publish by HTTP; bytes of the request with its body.
    Publish {
        length: usize,
    },
    Wrong,
}

#[must_use]
pub fn read(bytes: &[u8]) -> Asked {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Asked::Incomplete,
        Ok(httparse::Status::Complete(length)) => length,
        Err(_) => return Asked::Wrong,
    };
    let header = |name: &str| {
        let mut all = request.headers.iter();
        all.find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    if request.method == Some("POST") {
        let body = header("content-length").and_then(|text| str::from_utf8(text).ok());
        let Some(body) = body.and_then(|text| text.parse::<u16>().ok()) else {
            return Asked::Wrong;
        };
        let length = length + usize::from(body);
        return if length > bytes.len() { Asked::Incomplete } else { Asked::Publish { length } };
    }
    let (Some(key), Some(path)) = (header("sec-websocket-key"), request.path) else {
        return Asked::Wrong;
    };
    let digest = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
    let accept = STANDARD.encode(digest);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Asked::Upgrade { path: path.to_owned(), answer, length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws;

    #[test]
    fn the_answer_is_what_a_client_awaits() {
        let request = ws::upgrade_request("127.0.0.1:1", "/room/a", "");
        let Asked::Upgrade { path, answer, length } = read(&request) else { panic!("refused") };
        assert_eq!((path.as_str(), length), ("/room/a", request.len()));
        assert!(matches!(
            ws::read_upgrade(answer.as_bytes()),
            ws::Upgrade::Accepted(length) if length == answer.len()
        ));
        assert_eq!(read(&request[..request.len() - 1]), Asked::Incomplete);
        assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n"), Asked::Wrong);
        let publish = b"POST /api/publish HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(read(publish), Asked::Publish { length: publish.len() });
        assert_eq!(read(&publish[..publish.len() - 1]), Asked::Incomplete);
        assert_eq!(read(b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"), Asked::Wrong);
    }
}
