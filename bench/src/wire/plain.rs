//! Socket.IO 4 in Engine.IO 4, only over WebSocket. (Plain frames need no code.)
//!
//! Must not know sockets. Invariant: a payload has no letter that JSON would escape.

use super::{Heard, Said, Shape};
use crate::protocol::Position;

/// Echoed to know that a room was joined: a connection's events are handled in order.
const JOINED: &[u8] = b"joined";

/// Bytes of a frame beside the stamp.
#[must_use]
pub fn overhead(shape: Shape) -> usize {
    match shape {
        Shape::Echo => "42[\"echo\",\"\"]".len(),
        Shape::Push { .. } => "42[\"m\",\"\"]".len(),
    }
}

pub fn event(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"42[\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"");
    write(out);
    out.extend_from_slice(b"\"]");
}

/// Joins a room. What asks whether it is joined goes into a frame of its own: see `joined`.
pub fn join(out: &mut Vec<u8>, room: &str) {
    event(out, "join", |out| out.extend_from_slice(room.as_bytes()));
}

/// Asks whether rooms are joined by now.
pub fn ask_joined(out: &mut Vec<u8>) {
    event(out, "echo", |out| out.extend_from_slice(JOINED));
}

pub fn next(frame: &[u8]) -> Result<Said<'_>, String> {
    match frame {
        [b'0', ..] => Ok(Said::Greeted),
        b"2" => Ok(Said::Ping),
        [b'4', b'0', ..] => Ok(Said::Connected),
        [b'4', b'2', event @ ..] => said(event).ok_or("not an event of ours".into()),
        _ => Err("not a packet that was awaited".into()),
    }
}

fn said(event: &[u8]) -> Option<Said<'_>> {
    let text = |prefix: &[u8]| event.strip_prefix(prefix)?.strip_suffix(b"\"]");
    if let Some(data) = text(b"[\"m\",\"") {
        return Some(Said::Delivered(Heard { channel: b"", data, offset: 0 }));
    }
    let data = text(b"[\"echo\",\"")?;
    Some(match data == JOINED {
        true => {
            let position = Position::default();
            Said::Subscribed { recovered: false, position, missed: Vec::new() }
        }
        false => Said::Answered { id: 0, data },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_apart() {
        assert_eq!(next(b"2"), Ok(Said::Ping));
        assert_eq!(next(b"0{\"sid\":\"a\"}"), Ok(Said::Greeted));
        assert_eq!(next(b"40{\"sid\":\"a\"}"), Ok(Said::Connected));
        assert_eq!(next(b"42[\"echo\",\"abc\"]"), Ok(Said::Answered { id: 0, data: b"abc" }));
        let heard = Heard { channel: b"", data: b"abc", offset: 0 };
        assert_eq!(next(b"42[\"m\",\"abc\"]"), Ok(Said::Delivered(heard)));
        assert!(matches!(next(b"42[\"echo\",\"joined\"]"), Ok(Said::Subscribed { .. })));
        for wrong in [&b"41"[..], b"44{}", b"42[\"m\",\"abc\"", b"42[\"n\",\"abc\"]", b""] {
            assert!(next(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
