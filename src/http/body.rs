//! Reads HTTP/1.1 request bodies, by length or chunked (RFC 9112 sections 6 and 7).
//!
//! Must not know heads or what is served. Invariant: memory grows with the bytes received, up to
//! `limits::HTTP_BODY_BYTES`, and no byte after the end of the body is taken.

use super::response::Status;
use crate::limits;

/// Digits of a chunk's size: as many as a 64-bit number has.
const SIZE_DIGITS: u8 = 16;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    /// Bytes, as declared.
    Length(u64),
    Chunked,
}

/// Why a body is refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Over `limits::HTTP_BODY_BYTES`, declared or received.
    TooLong,
    /// Chunks that break the grammar, or too many extensions and trailers.
    Chunk,
}

impl BodyError {
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            BodyError::TooLong => Status::CONTENT_TOO_LARGE,
            BodyError::Chunk => Status::BAD_REQUEST,
        }
    }

    /// The answer's body, one line.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            BodyError::TooLong => "request body too long",
            BodyError::Chunk => "malformed chunk",
        }
    }
}

/// A body that arrives in pieces.
#[derive(Debug)]
pub struct Body {
    collected: Vec<u8>,
    state: State,
    skipped: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Of a body of known length, with this many bytes to come.
    Length(u64),
    /// A digit of a chunk's size, or what ends it.
    Size {
        size: u64,
        digits: u8,
    },
    /// Of a chunk extension.
    Extension {
        size: u64,
    },
    /// The LF of a size line.
    SizeLf {
        size: u64,
    },
    /// Of a chunk's data, with this many to come.
    Data(u64),
    /// The CR, then the LF after a chunk's data.
    DataCr,
    DataLf,
    /// The first byte of a trailer line, then the rest of it.
    LineStart,
    Line,
    /// The LF of a trailer line, or of the empty line that ends the body.
    LineLf,
    LastLf,
    Done,
}

impl Body {
    /// # Errors
    /// If the declared length is over the bound.
    pub fn new(framing: Framing) -> Result<Body, BodyError> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) if length > limits::HTTP_BODY_BYTES as u64 => {
                return Err(BodyError::TooLong);
            }
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
        };
        Ok(Body { collected: Vec::new(), state, skipped: 0 })
    }

    /// Takes the bytes that belong to the body, and returns how many. The bytes left when the body
    /// `is_whole` are the next request.
    ///
    /// # Errors
    /// If the body must not be read further.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let mut at = 0;
        while self.state != State::Done && at < input.len() {
            at += match self.state {
                State::Length(left) => {
                    let taken = self.collect(&input[at..], left);
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    taken
                }
                State::Data(left) => {
                    let taken = self.collect(&input[at..], left);
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                    taken
                }
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeLf { .. }
                | State::DataCr
                | State::DataLf
                | State::LineStart
                | State::Line
                | State::LineLf
                | State::LastLf
                | State::Done => {
                    self.state = self.step(input[at])?;
                    1
                }
            };
        }
        Ok(at)
    }

    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state == State::Done
    }

    /// The bytes so far; all of them once the body `is_whole`.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.collected
    }

    /// The bytes, by value.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.collected
    }

    /// Takes at most `left` bytes of data.
    fn collect(&mut self, input: &[u8], left: u64) -> usize {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        self.collected.extend_from_slice(&input[..taken]);
        taken
    }

    /// Takes one byte of the framing between chunks.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits: 1.. }, b'\r') => State::SizeLf { size },
            (State::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => State::Extension { size },
            (State::Size { size, digits }, _) => self.digit(size, digits, byte)?,
            (State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { .. } | State::Line, _) if byte != b'\r' => self.skip(byte)?,
            (State::SizeLf { size: 0 }, b'\n') => State::LineStart,
            (State::SizeLf { size }, b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::LineStart, b'\r') => State::LastLf,
            (State::LineStart, _) => {
                self.state = State::Line;
                self.skip(byte)?
            }
            (State::Line, b'\r') => State::LineLf,
            (State::LineLf, b'\n') => State::LineStart,
            (State::LastLf, b'\n') => State::Done,
            _ => return Err(BodyError::Chunk),
        })
    }

    /// Takes one more digit of a chunk's size, which must stay within the body's bound.
    fn digit(&self, size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
        let digit = char::from(byte).to_digit(16).ok_or(BodyError::Chunk)?;
        if digits == SIZE_DIGITS {
            return Err(BodyError::Chunk);
        }
        let size = size << 4 | u64::from(digit);
        let room = limits::HTTP_BODY_BYTES - self.collected.len();
        if size > room as u64 {
            return Err(BodyError::TooLong);
        }
        Ok(State::Size { size, digits: digits + 1 })
    }

    /// Skips a byte of an extension or a trailer. A bare LF is refused there, because request
    /// smuggling uses it.
    fn skip(&mut self, byte: u8) -> Result<State, BodyError> {
        self.skipped += 1;
        if byte == b'\n' || self.skipped > limits::HTTP_SKIPPED_BYTES {
            return Err(BodyError::Chunk);
        }
        Ok(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MAX: usize = limits::HTTP_BODY_BYTES;

    fn chunked(wire: &[u8]) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let mut body = Body::new(Framing::Chunked)?;
        let taken = body.read(wire)?;
        Ok((body.bytes().to_vec(), taken, body.is_whole()))
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let mut body = Body::new(Framing::Length(5)).unwrap();
        assert_eq!(body.read(b"he"), Ok(2));
        assert!(!body.is_whole());
        assert_eq!(body.read(b"lloGET / "), Ok(3));
        assert!(body.is_whole());
        assert_eq!(body.read(b"GET"), Ok(0));
        assert_eq!(body.bytes(), b"hello");
        for framing in [Framing::None, Framing::Length(0)] {
            assert!(Body::new(framing).unwrap().is_whole());
        }
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let wire = b"5;a=\"b\"\r\nhello\r\n00A \r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\nGET";
        assert_eq!(chunked(wire), Ok((b"hello0123456789".to_vec(), wire.len() - 3, true)));
    }

    #[test]
    fn every_refusal_has_its_status() {
        let long = MAX as u64 + 1;
        assert_eq!(Body::new(Framing::Length(long)).unwrap_err(), BodyError::TooLong);
        assert_eq!(BodyError::TooLong.status().0, 413);
        assert_eq!(BodyError::Chunk.status().0, 400);
        let skipped = "x".repeat(limits::HTTP_SKIPPED_BYTES);
        let table = [
            (BodyError::TooLong, format!("{long:x}")),
            (BodyError::TooLong, format!("1\r\na\r\n{MAX:x}")),
            (BodyError::Chunk, "\r".into()),
            (BodyError::Chunk, "-".into()),
            (BodyError::Chunk, "0x".into()),
            (BodyError::Chunk, "1\n".into()),
            (BodyError::Chunk, "1;a\n".into()),
            (BodyError::Chunk, "1\r\nab".into()),
            (BodyError::Chunk, "1\r\na\n".into()),
            (BodyError::Chunk, "1\r\na\r1".into()),
            (BodyError::Chunk, "0\r\n\rX".into()),
            (BodyError::Chunk, "0\r\n\n".into()),
            (BodyError::Chunk, format!("{:017}", 1)),
            (BodyError::Chunk, format!("1;{skipped}x")),
            (BodyError::Chunk, format!("0\r\n{skipped}x")),
        ];
        for (error, wire) in table {
            let last = wire.len() - 1;
            assert!(chunked(&wire.as_bytes()[..last]).is_ok(), "{:.40} too early", wire);
            assert_eq!(chunked(wire.as_bytes()), Err(error), "{wire:.40}");
        }
    }

    #[test]
    fn the_longest_body_is_taken() {
        let data = vec![b'a'; MAX - 1];
        let size = format!("{:x}\r\n", MAX - 1);
        let wire = [size.as_bytes(), &data, b"\r\n1\r\na\r\n0\r\n\r\n"];
        let (bytes, _, whole) = chunked(&wire.concat()).unwrap();
        assert!(whole && bytes.len() == MAX);
    }

    proptest! {
        #[test]
        fn chunks_cut_anywhere_are_the_body(
            chunks in vec(vec(any::<u8>(), 1..40), 0..6),
            cuts in vec(any::<usize>(), 0..8),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let end = wire.len();
            wire.extend_from_slice(b"next");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % wire.len()).collect();
            cuts.push(wire.len());
            cuts.sort_unstable();
            let mut body = Body::new(Framing::Chunked).unwrap();
            let mut at = 0;
            for cut in cuts {
                at += body.read(&wire[at.min(cut)..cut]).unwrap();
            }
            prop_assert_eq!((at, body.is_whole()), (end, true));
            prop_assert_eq!(body.bytes(), chunks.concat());
        }

        #[test]
        fn garbage_costs_no_more_than_was_received(
            wire in vec(prop_oneof![any::<u8>(), Just(b'1'), Just(b'\r'), Just(b'\n')], 0..60),
        ) {
            let mut body = Body::new(Framing::Chunked).unwrap();
            let read = body.read(&wire);
            prop_assert!(read.is_ok_and(|taken| taken <= wire.len()) || !body.is_whole());
            prop_assert!(body.collected.capacity() <= (2 * wire.len()).max(8));
        }
    }
}
