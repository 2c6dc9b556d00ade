//! RFC 6455 from the client's side: the upgrade and frames as bytes.
//!
//! Must not know sockets or the protocol inside. Invariant: a frame is read only if it is complete
//! in the given bytes, and nothing is copied to read it.

/// Opcodes (RFC 6455, section 5.2).
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The upgrade request for `path`; the key need not be secret, so it is always the same.
#[must_use]
pub fn upgrade_request(host: &str, path: &str, extra: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n"
    )
    .into_bytes()
}

/// What the server must answer to the key above (RFC 6455, section 1.3).
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The server's answer to an upgrade.
pub enum Upgrade {
    Incomplete,
    /// Accepted; the head has so many bytes.
    Accepted(usize),
    Refused(String),
}

#[must_use]
pub fn read_upgrade(bytes: &[u8]) -> Upgrade {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => return Upgrade::Incomplete,
        Err(error) => return Upgrade::Refused(format!("the answer is not HTTP: {error}")),
        Ok(httparse::Status::Complete(length)) => {
            if response.code == Some(101) && accepts(response.headers) {
                return Upgrade::Accepted(length);
            }
        }
    }
    Upgrade::Refused(format!("status {}", response.code.unwrap_or(0)))
}

fn accepts(headers: &[httparse::Header<'_>]) -> bool {
    headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("sec-websocket-accept") && header.value == ACCEPT
    })
}

/// Appends one masked frame.
pub fn encode(out: &mut Vec<u8>, first: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(first);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
}

/// Masks, or unmasks, a payload.
pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut pieces = payload.chunks_exact_mut(4);
    for piece in &mut pieces {
        piece.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
    pieces.into_remainder().iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// A server's frame at the start of some bytes.
#[derive(Debug, PartialEq)]
pub enum Parsed<'a> {
    Incomplete,
    Frame { fin: bool, opcode: u8, payload: &'a [u8], length: usize },
    Malformed(&'static str),
}

#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let [first, second, rest @ ..] = bytes else { return Parsed::Incomplete };
    if first & 0x70 != 0 {
        return Parsed::Malformed("reserved bits are set");
    }
    if second & 0x80 != 0 {
        return Parsed::Malformed("the server masks its frames");
    }
    let (head, length) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Parsed::Incomplete,
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (10, u64::from_be_bytes(*length) as usize),
            None => return Parsed::Incomplete,
        },
        length => (2, usize::from(length)),
    };
    if length > 64 << 20 {
        return Parsed::Malformed("a frame of more than 64 MiB");
    }
    match bytes.get(head..head + length) {
        None => Parsed::Incomplete,
        Some(payload) => Parsed::Frame {
            fin: first & 0x80 != 0,
            opcode: first & 0x0f,
            payload,
            length: head + length,
        },
    }
}

/// Code and reason of a close frame's payload; 1005 if there is none.
#[must_use]
pub fn close_parts(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => {
            (u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())
        }
        _ => (1005, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut masked = Vec::new();
            encode(&mut masked, 0x80 | TEXT, [0; 4], &payload);
            // What a server would send: the same without the mask.
            let head = masked.len() - length - 4;
            let mut frame = masked[..head].to_vec();
            frame[1] &= 0x7f;
            frame.extend_from_slice(&payload);
            for cut in [0, 1, head - 1, frame.len() - 1] {
                assert_eq!(parse(&frame[..cut]), Parsed::Incomplete, "{cut} of {length}");
            }
            let whole =
                Parsed::Frame { fin: true, opcode: TEXT, payload: &payload, length: frame.len() };
            assert_eq!(parse(&frame), whole);
            assert!(matches!(parse(&masked), Parsed::Malformed(_)), "a mask is refused");
        }
    }
}
