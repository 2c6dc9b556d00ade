//! Frames: the header that a client sends (RFC 6455 section 5.2), and everything that a server
//! writes.
//!
//! Must not know messages, sockets or time. Invariant: a frame written here is final, unmasked and
//! has the shortest length form; a header is refused at the first wrong byte.

use super::mask;

/// The longest payload of a control frame (section 5.5).
pub const CONTROL_BYTES: usize = 125;
/// The longest header of a client's frame: 2 bytes, 8 of length, 4 of mask.
pub const CLIENT_HEADER_BYTES: usize = 14;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Room that `begin` reserves: the header for 126 to 65,535 bytes, the most common ones.
const RESERVED: usize = 4;

/// Opcodes (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl OpCode {
    fn from_bits(bits: u8) -> Option<OpCode> {
        Some(match bits {
            0x0 => OpCode::Continuation,
            0x1 => OpCode::Text,
            0x2 => OpCode::Binary,
            0x8 => OpCode::Close,
            0x9 => OpCode::Ping,
            0xa => OpCode::Pong,
            _ => return None,
        })
    }

    /// Close, ping and pong: they may come between the frames of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Close codes of RFC 6455 and its registry (section 7.4).
pub mod close_code {
    /// All codes that may be sent: those defined for it, and the registered 1012 to 1014.
    pub const REGISTERED: [u16; 12] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    /// A connection that ended without a close frame; never on the wire.
    pub const NONE: u16 = 1006;
    pub const NORMAL: u16 = 1000;
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const NOT_UTF8: u16 = 1007;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// May a peer send this close code? It must be defined for the wire, or be in the ranges of
/// libraries and applications (section 7.4).
#[must_use]
pub fn may_be_sent(code: u16) -> bool {
    close_code::REGISTERED.contains(&code) || matches!(code, 3000..=4999)
}

/// How a peer broke RFC 6455 or exceeded a bound. All of these end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit, with no extension negotiated (section 5.2).
    ReservedBits,
    /// Opcodes 3 to 7 and 11 to 15 (section 5.2).
    ReservedOpCode,
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A control frame that is not final (section 5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    LongControl,
    /// A length in a longer form than it needs (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its first bit set (section 5.2).
    LengthTooLarge,
    /// A continuation with no message open (section 5.4).
    StrayContinuation,
    /// A new message inside an open one (section 5.4).
    InterleavedMessage,
    /// A close frame of one byte (section 5.5.1).
    CloseBody,
    /// A close code that must not be sent (section 7.4).
    CloseCode,
    /// A close reason that is not UTF-8 (section 5.5.1).
    CloseReason,
    /// Text that is not UTF-8 (section 8.1).
    BadUtf8,
    /// A message over its bound, by what the header declares (section 7.4.1).
    MessageTooBig,
    /// More frames in a message than its bytes allow; Corecast's own bound.
    TooManyFragments,
}

impl Violation {
    /// The code of the close frame that answers it.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self {
            Violation::BadUtf8 | Violation::CloseReason => close_code::NOT_UTF8,
            Violation::MessageTooBig => close_code::TOO_BIG,
            Violation::TooManyFragments => close_code::POLICY,
            _ => close_code::PROTOCOL_ERROR,
        }
    }

    /// The reason in that close frame.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Violation::ReservedBits => "reserved bits set",
            Violation::ReservedOpCode => "reserved opcode",
            Violation::Unmasked => "frame not masked",
            Violation::FragmentedControl => "fragmented control frame",
            Violation::LongControl => "control frame too long",
            Violation::LengthNotMinimal => "length not minimal",
            Violation::LengthTooLarge => "length over 63 bits",
            Violation::StrayContinuation => "continuation of nothing",
            Violation::InterleavedMessage => "message inside a message",
            Violation::CloseBody => "close body of one byte",
            Violation::CloseCode => "close code not allowed",
            Violation::CloseReason => "close reason not UTF-8",
            Violation::BadUtf8 => "text not UTF-8",
            Violation::MessageTooBig => "message too big",
            Violation::TooManyFragments => "too many fragments",
        }
    }
}

/// The header of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub fin: bool,
    pub opcode: OpCode,
    pub mask: [u8; 4],
    /// Payload bytes as declared, below 2^63.
    pub payload_len: u64,
    /// Bytes of the header itself.
    pub len: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` if it is incomplete.
    ///
    /// # Errors
    /// If the header is invalid, as far as it has arrived.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RSV != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = OpCode::from_bits(first & 0x0f).ok_or(Violation::ReservedOpCode)?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES {
            return Err(Violation::LongControl);
        }
        let Some((payload_len, at)) = declared_len(bytes, short)? else { return Ok(None) };
        let Some(&mask) = bytes[at..].first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Header { fin, opcode, mask, payload_len, len: at + 4 }))
    }
}

/// The payload's length, and where the header continues after it.
fn declared_len(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    let rest = &bytes[2..];
    let (len, at, least) = match short {
        LENGTH_16 => {
            let Some(&len) = rest.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(len)), 4, 126)
        }
        LENGTH_64 => {
            let Some(&len) = rest.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(len), 10, 1 << 16)
        }
        _ => (u64::from(short), 2, 0),
    };
    if len >> 63 != 0 {
        return Err(Violation::LengthTooLarge);
    }
    if len < least {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(Some((len, at)))
}

/// Bytes of a server frame's header for a payload of this many bytes.
#[must_use]
#[inline]
pub fn header_len(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// A header's bytes, of which the first `header_len` count.
#[inline]
fn header_bytes(opcode: OpCode, payload: usize) -> [u8; 10] {
    let mut header = [0; 10];
    header[0] = FIN | opcode as u8;
    match header_len(payload) {
        2 => header[1] = payload as u8,
        4 => {
            header[1] = LENGTH_16;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            header[1] = LENGTH_64;
            header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    header
}

/// Appends the header of a final, unmasked frame.
#[inline]
pub fn write_header(out: &mut Vec<u8>, opcode: OpCode, payload_len: usize) {
    out.extend_from_slice(&header_bytes(opcode, payload_len)[..header_len(payload_len)]);
}

/// Appends a final, unmasked frame.
#[inline]
pub fn write(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason over 123 bytes is cut at a character.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut len = reason.len().min(CONTROL_BYTES - 2);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    write_header(out, OpCode::Close, 2 + len);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..len]);
}

/// The start of a frame of unknown length.
#[derive(Debug)]
#[must_use = "a frame begun must be finished"]
pub struct Begun {
    at: usize,
    opcode: OpCode,
}

/// Begins a frame whose payload is appended next; `finish` writes its header.
#[inline]
pub fn begin(out: &mut Vec<u8>, opcode: OpCode) -> Begun {
    let at = out.len();
    out.extend_from_slice(&[0; RESERVED]);
    Begun { at, opcode }
}

/// Ends a frame, whose payload is everything appended since `begin`. The payload moves by a few
/// bytes if its header does not have the reserved length.
#[inline]
pub fn finish(out: &mut Vec<u8>, begun: Begun) {
    let Begun { at, opcode } = begun;
    let payload = at + RESERVED..out.len();
    let len = payload.len();
    let header = header_bytes(opcode, len);
    let header = &header[..header_len(len)];
    if header.len() > RESERVED {
        out.resize(at + header.len() + len, 0);
    }
    if header.len() != RESERVED {
        out.copy_within(payload, at + header.len());
        out.truncate(at + header.len() + len);
    }
    out[at..at + header.len()].copy_from_slice(header);
}

/// Length of the unmasked frame at the start of `bytes`, header and payload, whether or not all of
/// it is there; `None` if its header is not.
#[must_use]
#[inline]
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    let short = *bytes.get(1)?;
    debug_assert!(short & MASKED == 0, "only a server's frames are walked");
    Some(match short {
        LENGTH_16 => 4 + usize::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)),
        LENGTH_64 => 10 + u64::from_be_bytes(*bytes[2..].first_chunk()?) as usize,
        _ => 2 + usize::from(short),
    })
}

/// Appends a client's frame: for tests, the simulation and load generators.
pub fn write_masked(out: &mut Vec<u8>, opcode: OpCode, fin: bool, key: [u8; 4], payload: &[u8]) {
    let at = out.len();
    write_header(out, opcode, payload.len());
    if !fin {
        out[at] &= !FIN;
    }
    out[at + 1] |= MASKED;
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::unmask(&mut out[start..], key, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];

    #[test]
    fn a_frame_begun_equals_a_frame_written_whole() {
        for len in LENGTHS {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut whole = b"before".to_vec();
            write(&mut whole, OpCode::Binary, &payload);
            let mut begun = b"before".to_vec();
            let mark = begin(&mut begun, OpCode::Binary);
            begun.extend_from_slice(&payload);
            finish(&mut begun, mark);
            assert!(whole == begun, "length {len}");
            assert_eq!(whole.len(), 6 + header_len(len) + len);
            assert_eq!(frame_len(&whole[6..]), Some(whole.len() - 6));
            assert_eq!(frame_len(&whole[6..6 + header_len(len) - 1]), None);
        }
    }

    #[test]
    fn a_header_written_is_read_back() {
        for len in LENGTHS {
            for fin in [true, false] {
                let mut bytes = Vec::new();
                write_masked(&mut bytes, OpCode::Text, fin, [1, 2, 3, 4], &vec![0; len]);
                let header = Header::parse(&bytes).unwrap().unwrap();
                let expected = Header {
                    fin,
                    opcode: OpCode::Text,
                    mask: [1, 2, 3, 4],
                    payload_len: len as u64,
                    len: header_len(len) + 4,
                };
                assert_eq!(header, expected);
                for cut in 0..header.len {
                    assert_eq!(Header::parse(&bytes[..cut]), Ok(None), "length {len}, cut {cut}");
                }
            }
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        write_close(&mut out, 3501, &"\u{e9}".repeat(100));
        assert_eq!(out[..4], [0x88, 124, 0x0d, 0xad]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "\u{e9}".repeat(61));
    }

    #[test]
    fn close_codes_are_those_of_the_wire() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3999, 4000, 4999] {
            assert!(may_be_sent(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert!(!may_be_sent(code), "{code}");
        }
    }
}
