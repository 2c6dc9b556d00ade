//! Writes HTTP/1.1 responses.
//!
//! Must not know requests or what is served. Invariant: every response has its length, so the
//! client of a connection that stays open knows where the next one begins.

/// A response's status (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    pub const OK: Status = Status(200);
    pub const BAD_REQUEST: Status = Status(400);
    pub const UNAUTHORIZED: Status = Status(401);
    pub const FORBIDDEN: Status = Status(403);
    pub const NOT_FOUND: Status = Status(404);
    pub const METHOD_NOT_ALLOWED: Status = Status(405);
    pub const REQUEST_TIMEOUT: Status = Status(408);
    pub const CONTENT_TOO_LARGE: Status = Status(413);
    pub const RANGE_NOT_SATISFIABLE: Status = Status(416);
    pub const EXPECTATION_FAILED: Status = Status(417);
    pub const TOO_MANY_REQUESTS: Status = Status(429);
    pub const HEAD_TOO_LARGE: Status = Status(431);
    pub const INTERNAL_ERROR: Status = Status(500);
    pub const NOT_IMPLEMENTED: Status = Status(501);
    pub const UNAVAILABLE: Status = Status(503);

    /// The phrase after the number; empty for a number that is not listed here.
    #[must_use]
    fn phrase(self) -> &'static str {
        match self.0 {
            200 => "OK",
            204 => "No Content",
            304 => "Not Modified",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            413 => "Content Too Large",
            416 => "Range Not Satisfiable",
            417 => "Expectation Failed",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            _ => "",
        }
    }

    /// Whether responses of this status have a body at all (RFC 9110 section 6.4.1).
    fn has_body(self) -> bool {
        !matches!(self.0, 100..200 | 204 | 304)
    }
}

/// The interim answer to `Expect: 100-continue`, before the body is read.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a response. `headers` are those besides Date, Content-Length and Connection; neither
/// names nor values may contain CR or LF.
pub fn write(
    out: &mut Vec<u8>,
    status: Status,
    date: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    keep_alive: bool,
) {
    write_head(out, status, date, headers, body.len(), keep_alive);
    if status.has_body() {
        out.extend_from_slice(body);
    }
}

/// Appends only the head: the answer to HEAD, with the length that GET's body would have.
pub fn write_head(
    out: &mut Vec<u8>,
    status: Status,
    date: &str,
    headers: &[(&str, &str)],
    content_len: usize,
    keep_alive: bool,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_decimal(out, u64::from(status.0));
    out.push(b' ');
    out.extend_from_slice(status.phrase().as_bytes());
    write_header(out, "Date", date);
    for (name, value) in headers {
        debug_assert!(![name, value].iter().any(|text| text.contains(['\r', '\n'])));
        write_header(out, name, value);
    }
    if status.has_body() {
        out.extend_from_slice(b"\r\nContent-Length: ");
        write_decimal(out, content_len as u64);
    }
    write_header(out, "Connection", if keep_alive { "keep-alive" } else { "close" });
    out.extend_from_slice(b"\r\n\r\n");
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
}

/// Appends a number without the formatting machinery, because API answers are frequent.
fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_tells_its_length_and_whether_the_connection_stays() {
        let mut out = Vec::new();
        write(&mut out, Status::UNAVAILABLE, "now", &[("Retry-After", "5")], b"full\n", false);
        let expected = "HTTP/1.1 503 Service Unavailable\r\nDate: now\r\nRetry-After: 5\r\n\
                        Content-Length: 5\r\nConnection: close\r\n\r\nfull\n";
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn responses_without_body_carry_none() {
        let mut head = Vec::new();
        write_head(&mut head, Status::OK, "now", &[], 1_234_567_890, true);
        assert!(
            head.ends_with(b"\r\nContent-Length: 1234567890\r\nConnection: keep-alive\r\n\r\n")
        );
        let mut empty = Vec::new();
        write(&mut empty, Status(204), "now", &[], b"no", true);
        assert_eq!(
            empty,
            b"HTTP/1.1 204 No Content\r\nDate: now\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn decimals() {
        for number in [0, 9, 10, 200, 65_536, u64::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
