//! Reads HTTP/1.1 request heads (RFC 9112 sections 2 to 6).
//!
//! Must not know what is served. Invariant: a head is parsed once, when it is complete. What
//! could be read in two ways (bare LF, folded lines, two lengths) is refused, so that no proxy in
//! front can disagree about where a request ends.

use super::response::Status;
use crate::limits;

pub use super::body::{Body, BodyError, Framing};

const EMPTY_LINE: &[u8] = b"\r\n";

/// A request's head, borrowed from the bytes received.
#[derive(Debug)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The target's path, with its first slash; `*` and authorities as they were sent.
    pub path: &'a str,
    /// The part of the target after `?`; empty if there is none.
    pub query: &'a str,
    /// HTTP/1.1, not 1.0.
    pub http_1_1: bool,
    /// Whether the connection may stay open after the response (section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    pub framing: Framing,
    headers: [(&'a str, &'a [u8]); limits::HTTP_HEADERS],
    header_count: usize,
}

/// Why a head is refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not of the grammar, a bare LF, or other bytes than an empty line before the request line.
    Malformed,
    /// Over `Limits::http_head_bytes`.
    TooLong,
    /// Over `limits::HTTP_HEADERS`.
    TooManyHeaders,
    /// HTTP/1.1 without Host, or more than one Host (section 3.2).
    Host,
    /// More than one Origin, so the page that sent it is not known.
    Origin,
    /// Content-Length twice, or not a number (section 6.3).
    ContentLength,
    /// Transfer-Encoding that does not end in `chunked`, is in HTTP/1.0, or is beside
    /// Content-Length (section 6.1), so the end of the body is not known.
    TransferEncoding,
    /// Another transfer coding under `chunked`: the body's end could be found, but not its content.
    TransferCoding,
    /// An expectation other than 100-continue (RFC 9110 section 10.1.1).
    Expectation,
}

impl HeadError {
    #[must_use]
    pub fn status(self) -> Status {
        self.parts().0
    }

    #[must_use]
    pub fn reason(self) -> &'static str {
        self.parts().1
    }

    fn parts(self) -> (Status, &'static str) {
        match self {
            HeadError::Malformed => (Status::BAD_REQUEST, "malformed request"),
            HeadError::TooLong => (Status::HEAD_TOO_LARGE, "request head too long"),
            HeadError::TooManyHeaders => (Status::HEAD_TOO_LARGE, "too many header lines"),
            HeadError::Host => (Status::BAD_REQUEST, "exactly one Host expected"),
            HeadError::Origin => (Status::BAD_REQUEST, "at most one Origin expected"),
            HeadError::ContentLength => (Status::BAD_REQUEST, "bad Content-Length"),
            HeadError::TransferEncoding => (Status::BAD_REQUEST, "bad Transfer-Encoding"),
            HeadError::TransferCoding => {
                (Status::NOT_IMPLEMENTED, "transfer coding other than chunked")
            }
            HeadError::Expectation => (Status::EXPECTATION_FAILED, "unknown expectation"),
        }
    }
}

/// Reads the head at the start of `bytes`, and returns its length; `None` until its empty line has
/// arrived. `searched` is how far earlier calls have looked (0 for a new head), so no byte is
/// searched twice. A head over `max_bytes` is refused. One empty line before it is skipped and
/// counted (section 2.2), because some clients end a body with one.
///
/// # Errors
/// As soon as no further bytes could complete a valid head.
pub fn parse<'a>(
    bytes: &'a [u8],
    searched: &mut usize,
    max_bytes: usize,
) -> Result<Option<(Head<'a>, usize)>, HeadError> {
    if !begins_a_head(bytes) {
        return Ok(None);
    }
    let start = if bytes.starts_with(EMPTY_LINE) { EMPTY_LINE.len() } else { 0 };
    if !bytes[start..].first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(HeadError::Malformed);
    }
    let window = &bytes[..bytes.len().min(max_bytes)];
    *searched = start.max(*searched);
    let Some(len) = find_end(window, searched)? else {
        let full = window.len() == max_bytes;
        return if full { Err(HeadError::TooLong) } else { Ok(None) };
    };
    let mut lines = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(&bytes[start..len]) {
        // Both parsers looked for the same empty line. If they ever disagree, the head is refused.
        Ok(httparse::Status::Complete(parsed)) if parsed == len - start => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
        _ => return Err(HeadError::Malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(HeadError::Malformed);
    };
    Head::new(method, target, minor == 1, request.headers).map(|head| Some((head, len)))
}

/// Is there more than the empty line that may come before a head?
#[must_use]
pub fn begins_a_head(bytes: &[u8]) -> bool {
    !EMPTY_LINE.starts_with(bytes)
}

/// The length of the head, once its empty line has arrived. Every LF must follow a CR.
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

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers()
            .iter()
            .filter(move |line| line.0.eq_ignore_ascii_case(name))
            .map(|line| line.1)
    }

    /// Section 6.3: how long the body is, if that can be read in only one way.
    fn read_framing(&self) -> Result<Framing, HeadError> {
        let mut lengths = self.all("Content-Length");
        let length = lengths.next().map(parse_length).transpose()?;
        if lengths.next().is_some() {
            return Err(HeadError::ContentLength);
        }
        if self.header("Transfer-Encoding").is_none() {
            return Ok(length.map_or(Framing::None, Framing::Length));
        }
        if length.is_some() || !self.http_1_1 {
            return Err(HeadError::TransferEncoding);
        }
        // Several lines are one list (RFC 9110 section 5.2).
        let lines = self.all("Transfer-Encoding");
        let codings = lines.flat_map(|line| line.split(|byte| *byte == b','));
        let mut chunked_at = None;
        for (place, coding) in codings.map(<[u8]>::trim_ascii).enumerate() {
            if chunked_at.is_some() || !is_coding(coding) {
                // Chunked ends the list, and may appear only once.
                return Err(HeadError::TransferEncoding);
            }
            if coding.eq_ignore_ascii_case(b"chunked") {
                chunked_at = Some(place);
            }
        }
        match chunked_at {
            None => Err(HeadError::TransferEncoding),
            Some(0) => Ok(Framing::Chunked),
            Some(_) => Err(HeadError::TransferCoding),
        }
    }

    fn read_connection(&mut self) -> Result<(), HeadError> {
        let hosts = self.all("Host").count();
        if hosts > 1 || (self.http_1_1 && hosts == 0) {
            return Err(HeadError::Host);
        }
        let one_page = self.all("Origin").count() <= 1;
        one_page.then_some(()).ok_or(HeadError::Origin)?;
        let named = |option: &[u8]| {
            self.all("Connection")
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|element| element.trim_ascii().eq_ignore_ascii_case(option))
        };
        let keep_alive = !named(b"close") && (self.http_1_1 || named(b"keep-alive"));
        self.keep_alive = keep_alive;
        // HTTP/1.0 has no expectations.
        let expect = self.header("Expect").filter(|_| self.http_1_1);
        if expect.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) {
            return Err(HeadError::Expectation);
        }
        self.expects_continue = expect.is_some();
        Ok(())
    }
}

/// Is it a transfer coding by the grammar, without its parameters (section 7)? A text that another
/// parser might take for `chunked` is not.
fn is_coding(coding: &[u8]) -> bool {
    let name = coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// A length with more digits than a number holds is over every bound, but not malformed.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLength);
    }
    Ok(value
        .iter()
        .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// Path and query of a target; in the absolute form (section 3.2.2) those after the authority.
fn split_target(target: &str) -> (&str, &str) {
    let absolute = target.split_once("://").filter(|(scheme, _)| {
        ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    });
    let target = match absolute {
        Some((_, rest)) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 16 << 10;

    fn head(text: &str) -> Result<Option<(Head<'_>, usize)>, HeadError> {
        parse(text.as_bytes(), &mut 0, MAX)
    }

    fn whole(text: &str) -> Head<'_> {
        let (head, len) = head(text).unwrap().unwrap();
        assert_eq!(len, text.len());
        head
    }

    #[test]
    fn a_head_is_read_when_its_empty_line_is_there_and_not_before() {
        let text = "GET /connection/websocket?format=protobuf&a=b?c HTTP/1.1\r\n\
                    Host: example.com\r\nX-A:  first \r\nx-a: second\r\n\r\n";
        let piped = format!("{text}GET / HTTP/1.1\r\n\r\n");
        let mut searched = 0;
        for cut in 0..text.len() {
            assert!(
                parse(&piped.as_bytes()[..cut], &mut searched, MAX).unwrap().is_none(),
                "{cut}"
            );
            assert_eq!(searched, cut);
        }
        let (head, len) = parse(piped.as_bytes(), &mut searched, MAX).unwrap().unwrap();
        assert_eq!(len, text.len());
        assert_eq!((head.method, head.path), ("GET", "/connection/websocket"));
        assert_eq!(head.query, "format=protobuf&a=b?c");
        assert_eq!(head.header("X-a"), Some(&b"first"[..]));
        let all: Vec<_> = head.headers().iter().map(|line| line.1).collect();
        assert_eq!(all, [&b"example.com"[..], b"first", b"second"]);
        assert!(head.http_1_1 && head.keep_alive && !head.has_body() && !head.expects_continue);
    }

    #[test]
    fn an_empty_line_before_a_head_is_passed_over() {
        let text = "\r\nGET /a HTTP/1.1\r\nHost: b\r\n\r\n";
        let mut searched = 0;
        for cut in 0..text.len() {
            assert!(parse(&text.as_bytes()[..cut], &mut searched, MAX).unwrap().is_none());
            assert_eq!(begins_a_head(&text.as_bytes()[..cut]), cut > 2, "{cut}");
        }
        let (head, len) = parse(text.as_bytes(), &mut searched, MAX).unwrap().unwrap();
        assert_eq!((head.path, len), ("/a", text.len()));
    }

    #[test]
    fn targets_of_the_absolute_form_are_served_by_their_path() {
        let table = [
            ("/", "/", ""),
            ("/a?", "/a", ""),
            ("http://host:80/a?b", "/a", "b"),
            ("http://host", "/", ""),
            ("https://host?b", "/", "b"),
            ("ws://host:8000/a?b", "/a", "b"),
            ("WSS://host/a", "/a", ""),
            ("ftp://host/a", "ftp://host/a", ""),
            ("/a?http://host/b", "/a", "http://host/b"),
            ("*", "*", ""),
        ];
        for (target, path, query) in table {
            assert_eq!(split_target(target), (path, query), "{target}");
        }
    }

    #[test]
    fn connections_stay_as_the_version_and_the_client_say() {
        let table = [
            ("HTTP/1.1", "", true),
            ("HTTP/1.1", "Connection: foo, Close\r\n", false),
            ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("HTTP/1.0", "", false),
            ("HTTP/1.0", "connection: Keep-Alive\r\n", true),
        ];
        for (version, line, keep_alive) in table {
            let text = format!("GET / {version}\r\nHost: a\r\n{line}\r\n");
            assert_eq!(whole(&text).keep_alive, keep_alive, "{text}");
        }
    }

    #[test]
    fn a_body_is_announced_in_one_way() {
        let table = [
            ("", Framing::None),
            ("Content-Length: 0\r\n", Framing::Length(0)),
            ("content-length: 17\r\n", Framing::Length(17)),
            ("Content-Length: 99999999999999999999999\r\n", Framing::Length(u64::MAX)),
            ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
        ];
        for (lines, framing) in table {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            assert_eq!(whole(&text).framing, framing, "{lines}");
        }
        let expecting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n";
        assert!(whole(expecting).expects_continue);
        let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n";
        assert!(!whole(old).expects_continue);
    }

    #[test]
    fn every_refusal_has_its_status() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(limits::HTTP_HEADERS + 1));
        let lines = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let table = [
            (HeadError::TooLong, 431, long),
            (HeadError::TooManyHeaders, 431, many),
            (HeadError::Malformed, 400, "\0GET / HTTP/1.1\r\n\r\n".into()),
            (HeadError::Malformed, 400, "\r\n\r\nGET / HTTP/1.1\r\n\r\n".into()),
            (HeadError::Malformed, 400, "\nGET / HTTP/1.1\r\n\r\n".into()),
            (HeadError::Malformed, 400, "\r\r\nGET / HTTP/1.1\r\n\r\n".into()),
            (HeadError::Malformed, 400, "\r\n GET / HTTP/1.1\r\n\r\n".into()),
            (HeadError::Malformed, 400, "\u{16}\u{3}".into()),
            (HeadError::Malformed, 400, "GET / HTTP/1.1\n".into()),
            (HeadError::Malformed, 400, "GET / HTTP/2.0\r\n\r\n".into()),
            (HeadError::Malformed, 400, "GET /\r\n\r\n".into()),
            (HeadError::Malformed, 400, lines("A : b\r\n")),
            (HeadError::Malformed, 400, lines("A: b\r\n c\r\n")),
            (HeadError::Malformed, 400, lines("A: b\0\r\n")),
            (HeadError::Malformed, 400, lines("A: b\rc\r\n")),
            (HeadError::Host, 400, lines("Host: b\r\n")),
            (HeadError::Host, 400, "GET / HTTP/1.1\r\n\r\n".into()),
            (HeadError::Origin, 400, lines("Origin: null\r\norigin: https://a\r\n")),
            (HeadError::ContentLength, 400, lines("Content-Length: +1\r\n")),
            (HeadError::ContentLength, 400, lines("Content-Length: \r\n")),
            (HeadError::ContentLength, 400, lines("Content-Length: 5, 5\r\n")),
            (HeadError::ContentLength, 400, lines("Content-Length: 5\r\nContent-Length: 5\r\n")),
            (HeadError::TransferCoding, 501, lines("Transfer-Encoding: gzip, chunked\r\n")),
            (HeadError::TransferCoding, 501, lines("Transfer-Encoding: x;q=1 ,\tChunked\r\n")),
            (
                HeadError::TransferCoding,
                501,
                lines("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            ),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: gzip\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: chunked, gzip\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: identity\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: \r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: , chunked\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: chunked,\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: chunked;x\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: x chunked\r\n")),
            (HeadError::TransferEncoding, 400, lines("Transfer-Encoding: \"x\", chunked\r\n")),
            (
                HeadError::TransferEncoding,
                400,
                lines("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            ),
            (
                HeadError::TransferEncoding,
                400,
                lines("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            ),
            (
                HeadError::TransferEncoding,
                400,
                "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            ),
            (HeadError::Expectation, 417, lines("Expect: a miracle\r\n")),
        ];
        for (error, status, text) in table {
            assert_eq!(head(&text).map(drop), Err(error), "{text:?}");
            assert_eq!(error.status().0, status);
        }
    }

    #[test]
    fn the_longest_head_with_the_most_headers_is_served() {
        let lines = "A: b\r\n".repeat(limits::HTTP_HEADERS - 1);
        let frame = "GET / HTTP/1.1\r\nHost: \r\n\r\n".len() + lines.len();
        let host = "h".repeat(MAX - frame);
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        assert_eq!(text.len(), MAX);
        assert_eq!(whole(&text).headers().len(), limits::HTTP_HEADERS);
        assert_eq!(head(&text.replace("Host: ", "Host:  ")).map(drop), Err(HeadError::TooLong));
    }

    /// Pieces of heads, so that the test gets past the first byte.
    fn loose_head() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(b"Host: a\r\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()),
            Just(b"Transfer-Encoding: gzip\r\n".to_vec()),
            Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            "[A-Za-z-]{1,9}: [ -~]{0,9}\r\n".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..4),
        ];
        proptest::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_head_that_drips_in_has_the_verdict_of_the_whole(bytes in loose_head()) {
            let verdict = |result: Result<Option<(Head<'_>, usize)>, HeadError>| {
                result.map(|head| head.map(|(head, len)| (head.headers().len(), len)))
            };
            let mut searched = 0;
            let dripped = (0..=bytes.len())
                .map(|cut| verdict(parse(&bytes[..cut], &mut searched, MAX)))
                .find(|verdict| *verdict != Ok(None));
            prop_assert_eq!(dripped.unwrap_or(Ok(None)), verdict(parse(&bytes, &mut 0, MAX)));
        }
    }
}
