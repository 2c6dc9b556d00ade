//! Received bytes to messages, in place (RFC 6455 sections 5 and 8.1).
//!
//! Must not know sockets, spills or time: the caller keeps the bytes of an incomplete frame.
//! Invariant: nothing is unmasked or checked twice, no memory is taken for bytes that were only
//! declared, and a connection without an open fragmented message has no buffer.

use super::frame::{Header, OpCode};
use super::utf8::Utf8State;
use super::{frame, mask};

pub use super::frame::Violation;

/// Bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes, fragments together.
    pub message_bytes: u32,
    /// Frames: this many, and one more for every 16 bytes.
    pub fragments_per_message: u32,
}

/// The result of one call of `Deframer::next`.
#[derive(Debug, PartialEq, Eq)]
pub struct Next<'a> {
    /// Bytes of the input that are finished; the next call begins after them.
    pub consumed: usize,
    /// `None`: the bytes after `consumed` are not a complete frame yet.
    pub item: Option<Item<'a>>,
}

/// A message or a control frame, its payload unmasked.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Valid UTF-8.
    Text(&'a mut [u8]),
    Binary(&'a mut [u8]),
    Ping(&'a [u8]),
    Pong,
    /// The code is valid on the wire, the reason valid UTF-8. Bytes after it must not be read.
    Close {
        code: Option<u16>,
        reason: &'a [u8],
    },
}

/// Read state of one connection.
#[derive(Debug, Default)]
pub struct Deframer {
    /// A message whose last frame has not arrived, or that the last call handed out.
    message: Option<Box<Message>>,
    /// Payload bytes of the data frame at the input's start that are already unmasked and checked.
    done: u32,
    /// The state of checking the open text, across pieces and frames.
    utf8: Utf8State,
}

#[derive(Debug)]
struct Message {
    buffer: Vec<u8>,
    frames: u32,
    text: bool,
    delivered: bool,
}

/// A data frame whose header is within the rules.
struct DataFrame {
    fin: bool,
    first: bool,
    text: bool,
    mask: [u8; 4],
    payload_len: usize,
}

impl Deframer {
    /// The next message or control frame in `input`, which begins with the first byte of a frame.
    ///
    /// If that frame is incomplete, its available payload is unmasked and checked in place: the
    /// caller keeps the bytes after `consumed` as they are *after* the call, and the next call's
    /// input begins with them. A message of one frame is in `input`, one of several in a buffer
    /// that the next call frees: call until the item is `None`, even with no bytes left.
    ///
    /// # Errors
    /// A violation ends the connection; the deframer must not be used again.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: MessageLimits,
    ) -> Result<Next<'a>, Violation> {
        self.release();
        let mut at = 0;
        loop {
            let Some(header) = Header::parse(&input[at..])? else {
                return Ok(Next { consumed: at, item: None });
            };
            let start = at + header.len;
            if header.opcode.is_control() {
                let (len, item) = control(header, &mut input[at..])?;
                return Ok(Next { consumed: at + len, item });
            }
            let data = self.admit(&header, limits)?;
            if !self.open_payload(&data, &mut input[start..])? {
                return Ok(Next { consumed: at, item: None });
            }
            let end = start + data.payload_len;
            if data.first && data.fin {
                let payload = &mut input[start..end];
                return Ok(Next { consumed: end, item: Some(message_item(data.text, payload)) });
            }
            self.append(&data, &input[start..end]);
            if data.fin {
                return Ok(Next { consumed: end, item: self.deliver() });
            }
            at = end;
        }
    }

    /// Frees the buffer of a message that the last call handed out; `next` does so too.
    #[inline]
    pub fn release(&mut self) {
        if self.message.as_ref().is_some_and(|message| message.delivered) {
            self.message = None;
        }
    }

    /// Bytes of memory that an open or just delivered fragmented message holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.buffer.capacity())
    }

    /// Checks a data frame's header against its message and the bounds.
    #[inline]
    fn admit(&self, header: &Header, limits: MessageLimits) -> Result<DataFrame, Violation> {
        let (text, before, frames) = match (&self.message, header.opcode) {
            (None, OpCode::Continuation) => return Err(Violation::StrayContinuation),
            (None, opcode) => (opcode == OpCode::Text, 0, 0),
            (Some(open), OpCode::Continuation) => {
                (open.text, open.buffer.len() as u64, open.frames)
            }
            (Some(_), _) => return Err(Violation::InterleavedMessage),
        };
        // Both are below 2^63.
        let bytes = before + header.payload_len;
        if bytes > u64::from(limits.message_bytes) {
            return Err(Violation::MessageTooBig);
        }
        if frames > 0 && u64::from(frames) >= u64::from(limits.fragments_per_message) + bytes / 16 {
            return Err(Violation::TooManyFragments);
        }
        Ok(DataFrame {
            fin: header.fin,
            first: self.message.is_none(),
            text,
            mask: header.mask,
            payload_len: header.payload_len as usize,
        })
    }

    /// Unmasks and checks the new part of a frame's payload, which is at the start of `bytes`.
    /// Returns whether it is complete.
    #[inline]
    fn open_payload(&mut self, data: &DataFrame, bytes: &mut [u8]) -> Result<bool, Violation> {
        let whole = bytes.len() >= data.payload_len;
        let here = bytes.len().min(data.payload_len);
        debug_assert!(self.done as usize <= here, "the input does not begin where the last ended");
        let done = (self.done as usize).min(here);
        let fresh = &mut bytes[done..here];
        mask::unmask(fresh, data.mask, done);
        self.done = if whole { 0 } else { here as u32 };
        let valid = match (data.text, whole && data.fin) {
            (false, _) => true,
            (true, true) => self.utf8.finish(fresh),
            (true, false) => self.utf8.push(fresh),
        };
        if valid { Ok(whole) } else { Err(Violation::BadUtf8) }
    }

    /// Appends a complete frame's payload to its message.
    fn append(&mut self, data: &DataFrame, payload: &[u8]) {
        let message = self.message.get_or_insert_with(|| {
            Box::new(Message { buffer: Vec::new(), frames: 0, text: data.text, delivered: false })
        });
        message.frames += 1;
        message.buffer.extend_from_slice(payload);
    }

    /// Hands out the open message.
    fn deliver(&mut self) -> Option<Item<'_>> {
        let message = self.message.as_mut()?;
        message.delivered = true;
        Some(message_item(message.text, &mut message.buffer))
    }
}

fn message_item(text: bool, payload: &mut [u8]) -> Item<'_> {
    if text { Item::Text(payload) } else { Item::Binary(payload) }
}

/// The control frame at the start of `input`, if it is complete.
fn control(header: Header, input: &mut [u8]) -> Result<(usize, Option<Item<'_>>), Violation> {
    debug_assert!(header.payload_len <= frame::CONTROL_BYTES as u64);
    let end = header.len + header.payload_len as usize;
    let Some(payload) = input.get_mut(header.len..end) else { return Ok((0, None)) };
    mask::unmask(payload, header.mask, 0);
    let item = match header.opcode {
        OpCode::Ping => Item::Ping(payload),
        OpCode::Close => close_item(payload)?,
        _ => Item::Pong,
    };
    Ok((end, Some(item)))
}

/// Reads a close frame's body (section 5.5.1).
fn close_item(body: &[u8]) -> Result<Item<'_>, Violation> {
    let Some((&code, reason)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() {
            Ok(Item::Close { code: None, reason: body })
        } else {
            Err(Violation::CloseBody)
        };
    };
    let code = u16::from_be_bytes(code);
    if !frame::may_be_sent(code) {
        return Err(Violation::CloseCode);
    }
    if simdutf8::basic::from_utf8(reason).is_err() {
        return Err(Violation::CloseReason);
    }
    Ok(Item::Close { code: Some(code), reason })
}

const _: () = assert!(size_of::<Deframer>() <= 16, "every idle connection has one");

#[cfg(test)]
mod tests {
    use super::super::frame::{CLIENT_HEADER_BYTES, close_code, write_masked};
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    const LIMITS: MessageLimits = MessageLimits { message_bytes: 1_000, fragments_per_message: 4 };

    /// Client frames, masked: opcode, final, payload.
    fn client(frames: &[(OpCode, bool, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (opcode, fin, payload) in frames {
            write_masked(&mut bytes, *opcode, *fin, KEY, payload);
        }
        bytes
    }

    fn close(body: &[u8]) -> Vec<u8> {
        client(&[(OpCode::Close, true, body)])
    }

    #[test]
    fn every_violation_is_named_at_the_first_byte_that_shows_it() {
        use OpCode::{Binary, Continuation, Ping, Text};
        let one = (Text, false, &b"a"[..]);
        let open = |next: &[u8]| [client(&[one]), next.to_vec()].concat();
        let mut five = vec![one];
        five.extend([(Continuation, false, &b""[..]); 4]);
        let table: [(Violation, u16, Vec<u8>); 21] = [
            (Violation::ReservedBits, 1002, vec![0xc1]),
            (Violation::ReservedBits, 1002, vec![0x91]),
            (Violation::ReservedOpCode, 1002, vec![0x83]),
            (Violation::ReservedOpCode, 1002, vec![0x8b]),
            (Violation::Unmasked, 1002, vec![0x81, 0x05]),
            (Violation::FragmentedControl, 1002, vec![0x09]),
            (Violation::LongControl, 1002, vec![0x89, 0xfe]),
            (Violation::LengthNotMinimal, 1002, vec![0x82, 0xfe, 0, 125]),
            (Violation::LengthNotMinimal, 1002, vec![0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            (Violation::LengthTooLarge, 1002, vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (Violation::StrayContinuation, 1002, client(&[(Continuation, true, b"")])),
            (Violation::InterleavedMessage, 1002, open(&client(&[(Binary, true, b"")]))),
            (Violation::CloseBody, 1002, close(&[3])),
            (Violation::CloseCode, 1002, close(&1005u16.to_be_bytes())),
            (Violation::CloseReason, 1007, close(b"\x03\xe8\xff")),
            (Violation::BadUtf8, 1007, client(&[(Text, true, b"ab\xff")])),
            (Violation::BadUtf8, 1007, client(&[(Text, true, b"\xe2\x82")])),
            (Violation::BadUtf8, 1007, open(&client(&[(Continuation, true, b"\xf4\x90")]))),
            // A message that would be too big is refused by its header: no payload follows here.
            (Violation::MessageTooBig, 1009, [&[0x82, 0xfe, 0x03, 0xe9][..], &KEY].concat()),
            (
                Violation::MessageTooBig,
                1009,
                open(&[&[0x80, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0][..], &KEY].concat()),
            ),
            (Violation::TooManyFragments, 1008, client(&five)),
        ];
        for (violation, code, bytes) in table {
            assert_eq!(violation.close_code(), code);
            for cut in 0..bytes.len() {
                let next = Deframer::default().next(&mut bytes[..cut].to_vec(), LIMITS).map(drop);
                assert_eq!(next, Ok(()), "{violation:?} after {cut} of {bytes:02x?}");
            }
            let refused = Deframer::default().next(&mut bytes.clone(), LIMITS).map(drop);
            assert_eq!(refused, Err(violation), "{bytes:02x?}");
        }
        assert!(matches!(
            Deframer::default().next(&mut client(&[(Ping, true, b"")]), LIMITS),
            Ok(Next { consumed: 6, item: Some(Item::Ping(b"")) })
        ));
    }

    #[test]
    fn bad_text_fails_inside_a_frame_that_is_not_whole() {
        let mut bytes = client(&[(OpCode::Text, true, b"caf\xc3\xa9 \xed\xa0\x80 and more")]);
        let mut deframer = Deframer::default();
        let surrogate = CLIENT_HEADER_BYTES - 8 + 7;
        let next = deframer.next(&mut bytes[..surrogate], LIMITS).unwrap();
        assert_eq!(next, Next { consumed: 0, item: None });
        let next = deframer.next(&mut bytes[..=surrogate], LIMITS);
        assert_eq!(next, Err(Violation::BadUtf8));
    }

    #[test]
    fn a_fragmented_message_owns_memory_until_the_next_call() {
        let mut bytes = client(&[
            (OpCode::Text, false, b"Hel"),
            (OpCode::Ping, true, b"?"),
            (OpCode::Continuation, true, b"lo"),
        ]);
        let mut deframer = Deframer::default();
        let next = deframer.next(&mut bytes, LIMITS).unwrap();
        assert_eq!(next, Next { consumed: 16, item: Some(Item::Ping(b"?")) });
        assert!(deframer.held_bytes() >= 3);
        let next = deframer.next(&mut bytes[16..], LIMITS).unwrap();
        assert_eq!(next, Next { consumed: 8, item: Some(Item::Text(&mut b"Hello".to_vec())) });
        deframer.next(&mut [], LIMITS).unwrap();
        assert_eq!(deframer.held_bytes(), 0);
        assert!(deframer.message.is_none());
    }

    #[test]
    fn bounds_hold_to_the_byte_and_to_the_frame() {
        let full = [b'x'; 1_000];
        let mut bytes = client(&[(OpCode::Binary, true, &full)]);
        let mut deframer = Deframer::default();
        let next = deframer.next(&mut bytes, LIMITS).unwrap();
        assert_eq!(next.item, Some(Item::Binary(&mut full.to_vec())));

        // Four frames are free, 16 bytes buy the fifth.
        let mut frames = vec![(OpCode::Binary, false, &full[..16])];
        frames.extend([(OpCode::Continuation, false, &b""[..]); 3]);
        frames.push((OpCode::Continuation, true, b""));
        let next = Deframer::default().next(&mut client(&frames), LIMITS).map(|next| next.consumed);
        assert_eq!(next, Ok(5 * 6 + 16));
        frames[0].2 = &full[..15];
        let next = Deframer::default().next(&mut client(&frames), LIMITS).map(|next| next.consumed);
        assert_eq!(next, Err(Violation::TooManyFragments));
    }

    #[test]
    fn a_close_gives_code_and_reason() {
        let close_of = |body: &[u8]| {
            let next = Deframer::default().next(&mut close(body), LIMITS).map(|next| match next {
                Next { item: Some(Item::Close { code, reason }), .. } => (code, reason.to_vec()),
                other => panic!("no close: {other:?}"),
            });
            next.unwrap()
        };
        assert_eq!(close_of(b""), (None, Vec::new()));
        assert_eq!(close_of(b"\x03\xe8bye"), (Some(close_code::NORMAL), b"bye".to_vec()));
    }
}
