//! Reads HTTP/1.1 request bodies: by length, or chunked (RFC 9112 sections 6 and 7).
//!
//! Must not know heads or what is served. Invariant: memory grows with the bytes received, up to
//! `limits::HTTP_BODY_BYTES`, and not a byte behind the body's end is taken.

use super::response::Status;
use crate::limits;

/// Digits of a chunk's size: as many as a 64-bit number has.
const SIZE_DIGITS: u8 = 16;
/// Bytes of chunk extensions and trailers in one body, which are skipped.
const SKIPPED_BYTES: usize = limits::HTTP_HEAD_BYTES;

/// How a body's end is known.
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
    /// Chunks not of the grammar, or too many extensions and trailers.
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

/// A body that comes in pieces.
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
    /// The CR, then the LF behind a chunk's data.
    DataCr,
    DataLf,
    /// The first of a trailer line, then of its rest.
    LineStart,
    Line,
    /// The LF of a trailer line, and of the empty line that ends the body.
    LineLf,
    LastLf,
    Done,
}

impl Body {
    /// # Errors
    /// When the declared length is over the bound.
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

    /// Takes what belongs to the body, and says how many bytes that was. What is left when the body
    /// `is_whole` is the next request.
    ///
    /// # Errors
    /// The body is not to be read on.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let mut at = 0;
        while self.state != State::Done && at < input.len() {
            at += match self.state {
                State::Length(left) => {
                    let taken = self.collect(&input[at..], left)?;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    taken
                }
                State::Data(left) => {
                    let taken = self.collect(&input[at..], left)?;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                    taken
                }
                _ => {
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

    /// The bytes so far; all of them when the body `is_whole`.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.collected
    }

    /// Takes at most `left` bytes of data.
    fn collect(&mut self, input: &[u8], left: u64) -> Result<usize, BodyError> {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        self.collected.extend_from_slice(&input[..taken]);
        Ok(taken)
    }

    /// One byte of what stands between chunks.
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

    /// One more digit of a chunk's size, which must leave the body within its bound.
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

    /// Passes over a byte of an extension or a trailer; a bare LF there is what smuggling uses.
    fn skip(&mut self, byte: u8) -> Result<State, BodyError> {
        self.skipped += 1;
        if byte == b'\n' || self.skipped > SKIPPED_BYTES {
            return Err(BodyError::Chunk);
        }
        Ok(self.state)
    }
}
