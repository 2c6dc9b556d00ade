//! Reads HTTP/1.1 request heads (RFC 9112 sections 2 to 6).
//!
//! Must not know what is served. Invariant: a head is parsed once, when all of it is there; what
//! could be read in two ways (bare LF, folded lines, two lengths) is refused, so that no proxy in
//! front can disagree about where a request ends.

use super::body::Framing;
use super::response::Status;
use crate::limits;

/// A request's head, borrowed from the bytes received.
#[derive(Debug)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The target's path, with its first slash; `*` and authorities as they came.
    pub path: &'a str,
    /// What follows the target's `?`; empty when there is none.
    pub query: &'a str,
    /// HTTP/1.1, not 1.0.
    pub http_1_1: bool,
    /// Whether the connection may stay after the response (section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    pub framing: Framing,
    headers: [(&'a str, &'a [u8]); limits::HTTP_HEADERS],
    header_count: usize,
}

/// Why a head is refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not of the grammar, a bare LF, or bytes before the request line.
    Malformed,
    /// Over `limits::HTTP_HEAD_BYTES`.
    TooLong,
    /// Over `limits::HTTP_HEADERS`.
    TooManyHeaders,
    /// HTTP/1.1 without Host, or more than one Host (section 3.2).
    Host,
    /// Content-Length twice, or not a number (section 6.3).
    ContentLength,
    /// Transfer-Encoding other than `chunked` once, in HTTP/1.0, or beside Content-Length (section 6.1).
    TransferEncoding,
    /// An expectation other than 100-continue (RFC 9110 section 10.1.1).
    Expectation,
}

impl HeadError {
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            HeadError::TooLong | HeadError::TooManyHeaders => Status::HEAD_TOO_LARGE,
            HeadError::Expectation => Status::EXPECTATION_FAILED,
            _ => Status::BAD_REQUEST,
        }
    }

    /// The answer's body, one line.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            HeadError::Malformed => "malformed request",
            HeadError::TooLong => "request head too long",
            HeadError::TooManyHeaders => "too many header lines",
            HeadError::Host => "exactly one Host expected",
            HeadError::ContentLength => "bad Content-Length",
            HeadError::TransferEncoding => "bad Transfer-Encoding",
            HeadError::Expectation => "unknown expectation",
        }
    }
}

/// Reads the head at the start of `bytes`, and says how many bytes it has; none until its empty line
/// is there. `searched` is how far earlier calls looked (0 for a new head): bytes that drip in are
/// looked at once.
///
/// # Errors
/// As soon as no bytes to come could make it a head that is served.
pub fn parse<'a>(
    bytes: &'a [u8],
    searched: &mut usize,
) -> Result<Option<(Head<'a>, usize)>, HeadError> {
    if bytes.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
        return Err(HeadError::Malformed);
    }
    let window = &bytes[..bytes.len().min(limits::HTTP_HEAD_BYTES)];
    let Some(len) = find_end(window, searched)? else {
        let full = window.len() == limits::HTTP_HEAD_BYTES;
        return if full { Err(HeadError::TooLong) } else { Ok(None) };
    };
    let mut lines = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(&bytes[..len]) {
        Ok(httparse::Status::Complete(parsed)) if parsed == len => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
        _ => return Err(HeadError::Malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(HeadError::Malformed);
    };
    Head::new(method, target, minor == 1, request.headers).map(|head| Some((head, len)))
}

/// The length of the head, once its empty line is there. Every LF must follow a CR.
fn find_end(bytes: &[u8], searched: &mut usize) -> Result<Option<usize>, HeadError> {
    let mut at = (*searched).min(bytes.len());
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line_end = at + found;
        let line = &bytes[..line_end];
        if !line.ends_with(b"\r") {
            return Err(HeadError::Malformed);
        }
        if line.ends_with(b"\r\n\r") {
            return Ok(Some(line_end + 1));
        }
        at = line_end + 1;
    }
    *searched = bytes.len();
    Ok(None)
}

impl<'a> Head<'a> {
    fn new(
        method: &'a str,
        target: &'a str,
        http_1_1: bool,
        lines: &[httparse::Header<'a>],
    ) -> Result<Head<'a>, HeadError> {
        let (path, query) = split_target(target);
        let mut head = Head {
            method,
            path,
            query,
            http_1_1,
            keep_alive: http_1_1,
            expects_continue: false,
            framing: Framing::None,
            headers: [("", &[]); limits::HTTP_HEADERS],
            header_count: lines.len(),
        };
        for (slot, line) in head.headers.iter_mut().zip(lines) {
            *slot = (line.name, line.value);
        }
        head.framing = head.read_framing()?;
        head.read_connection()?;
        Ok(head)
    }

    /// All header lines in order, values without surrounding white space.
    #[must_use]
    pub fn headers(&self) -> &[(&'a str, &'a [u8])] {
        &self.headers[..self.header_count]
    }

    /// The first value of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Whether a body follows.
    #[must_use]
    pub fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::None | Framing::Length(0))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers()
            .iter()
            .filter(move |line| line.0.eq_ignore_ascii_case(name))
            .map(|line| line.1)
    }

    /// Section 6.3: how long the body is, when that can be read in one way only.
    fn read_framing(&self) -> Result<Framing, HeadError> {
        let mut lengths = self.all("Content-Length");
        let length = lengths.next().map(parse_length).transpose()?;
        if lengths.next().is_some() {
            return Err(HeadError::ContentLength);
        }
        let mut encodings = self.all("Transfer-Encoding");
        let Some(encoding) = encodings.next() else {
            return Ok(length.map_or(Framing::None, Framing::Length));
        };
        let chunked = encoding.eq_ignore_ascii_case(b"chunked") && encodings.next().is_none();
        if !chunked || length.is_some() || !self.http_1_1 {
            return Err(HeadError::TransferEncoding);
        }
        Ok(Framing::Chunked)
    }

    fn read_connection(&mut self) -> Result<(), HeadError> {
        let hosts = self.all("Host").count();
        if hosts > 1 || (self.http_1_1 && hosts == 0) {
            return Err(HeadError::Host);
        }
        let named = |option: &[u8]| {
            self.all("Connection")
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|element| element.trim_ascii().eq_ignore_ascii_case(option))
        };
        let keep_alive = !named(b"close") && (self.http_1_1 || named(b"keep-alive"));
        self.keep_alive = keep_alive;
        // An expectation in HTTP/1.0 is not one.
        let expect = self.header("Expect").filter(|_| self.http_1_1);
        if expect.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
            return Err(HeadError::Expectation);
        }
        self.expects_continue = expect.is_some();
        Ok(())
    }
}

/// A length of more digits than a number holds is over every bound, not malformed.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// Path and query of a target; of the absolute form (section 3.2.2) those behind the authority.
fn split_target(target: &str) -> (&str, &str) {
    let target = match target.strip_prefix("http://").or(target.strip_prefix("https://")) {
        Some(rest) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}
