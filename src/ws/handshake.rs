//! The answer to an upgrade request (RFC 6455 section 4.2).
//!
//! Must not know HTTP's parser, paths or the Origin policy: the caller passes the contents of the
//! request head. Invariant: every accepted request is one that any RFC 6455 server may accept.

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};
use sha1::{Digest, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Decodes keys as leniently as other servers: the two unused bits may be set.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// The contents of an HTTP request head.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    pub method: &'a str,
    /// HTTP/1.1, not 1.0.
    pub http_1_1: bool,
    /// Content-Length above 0, or Transfer-Encoding.
    pub has_body: bool,
    /// All header lines in order, values without surrounding white space.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// An upgrade to answer with 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<'s> {
    /// The subprotocol: the first that the client offers and the server supports. `None` if it
    /// offers none, or only unknown ones: Centrifugo accepts those too, and a client that insists
    /// on its own fails the connection itself (section 4.1).
    pub protocol: Option<&'s str>,
    accept: [u8; 28],
}

/// Why an upgrade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not GET.
    Method,
    /// Not HTTP/1.1.
    HttpVersion,
    /// An upgrade has no body.
    Body,
    /// No Host, or more than one.
    Host,
    /// Neither Upgrade nor a key: a plain request to a WebSocket's path.
    NotUpgrade,
    /// Upgrade does not name websocket.
    Upgrade,
    /// Connection does not name Upgrade.
    Connection,
    /// Sec-WebSocket-Version is not 13.
    Version,
    /// No Sec-WebSocket-Key, more than one, or not 16 bytes in base64.
    Key,
}

impl Refusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Refusal::Method => 405,
            Refusal::NotUpgrade | Refusal::Version => 426,
            _ => 400,
        }
    }

    /// The answer's body, one line.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Method => "upgrade with GET",
            Refusal::HttpVersion => "upgrade with HTTP/1.1",
            Refusal::Body => "an upgrade has no body",
            Refusal::Host => "exactly one Host expected",
            Refusal::NotUpgrade => "this is a WebSocket endpoint",
            Refusal::Upgrade => "Upgrade does not name websocket",
            Refusal::Connection => "Connection does not name Upgrade",
            Refusal::Version => "Sec-WebSocket-Version 13 expected",
            Refusal::Key => "one Sec-WebSocket-Key of 16 bytes expected",
        }
    }

    /// Headers that the status requires (RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455 section
    /// 4.4).
    #[must_use]
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self.status() {
            405 => &[("Allow", "GET")],
            426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }
}

/// The relevant header lines, collected in one pass.
#[derive(Default)]
struct Fields<'a> {
    hosts: u32,
    upgrade: Option<bool>,
    connection: bool,
    versions: u32,
    version_13: bool,
    keys: u32,
    key: &'a [u8],
}

impl<'a> Fields<'a> {
    fn gather(headers: &[(&str, &'a [u8])]) -> Fields<'a> {
        let mut fields = Fields::default();
        for (name, value) in headers {
            match name.len() {
                4 if name.eq_ignore_ascii_case("Host") => fields.hosts += 1,
                7 if name.eq_ignore_ascii_case("Upgrade") => {
                    let named = fields.upgrade.unwrap_or(false) || names(value, b"websocket");
                    fields.upgrade = Some(named);
                }
                10 if name.eq_ignore_ascii_case("Connection") => {
                    fields.connection |= names(value, b"upgrade");
                }
                17 if name.eq_ignore_ascii_case("Sec-WebSocket-Key") => {
                    fields.keys += 1;
                    fields.key = value;
                }
                21 if name.eq_ignore_ascii_case("Sec-WebSocket-Version") => {
                    fields.versions += 1;
                    fields.version_13 = *value == b"13";
                }
                _ => {}
            }
        }
        fields
    }
}

/// Decides on an upgrade. `supported` are the subprotocols of this endpoint.
///
/// # Errors
/// The first error, in the order of `Refusal`.
pub fn accept<'s>(offer: &Offer<'_>, supported: &[&'s str]) -> Result<Accepted<'s>, Refusal> {
    let fields = Fields::gather(offer.headers);
    let refusals = [
        (offer.method != "GET", Refusal::Method),
        (!offer.http_1_1, Refusal::HttpVersion),
        (offer.has_body, Refusal::Body),
        (fields.hosts != 1, Refusal::Host),
        (fields.upgrade.is_none() && fields.keys == 0, Refusal::NotUpgrade),
        (fields.upgrade != Some(true), Refusal::Upgrade),
        (!fields.connection, Refusal::Connection),
        (fields.versions != 1 || !fields.version_13, Refusal::Version),
        (fields.keys != 1 || !is_key(fields.key), Refusal::Key),
    ];
    if let Some((_, refusal)) = refusals.into_iter().find(|(wrong, _)| *wrong) {
        return Err(refusal);
    }
    Ok(Accepted { protocol: choose(offer, supported), accept: accept_key(fields.key) })
}

/// Appends the 101 answer.
pub fn write_response(out: &mut Vec<u8>, accepted: &Accepted<'_>, date: &str) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(
        b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(&accepted.accept);
    if let Some(protocol) = accepted.protocol {
        out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// The first subprotocol offered that is supported; names are compared exactly (section 4.1).
fn choose<'s>(offer: &Offer<'_>, supported: &[&'s str]) -> Option<&'s str> {
    offer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Protocol"))
        .flat_map(|(_, value)| elements(value))
        .find_map(|offered| supported.iter().find(|name| name.as_bytes() == offered).copied())
}

/// Whether a comma-separated list has this element, without regard to case.
fn names(list: &[u8], element: &[u8]) -> bool {
    elements(list).any(|e| e.eq_ignore_ascii_case(element))
}

fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is_key(key: &[u8]) -> bool {
    let mut decoded = [0; 18];
    matches!(LENIENT.decode_slice(key, &mut decoded), Ok(16))
}

/// Section 4.2.2, step 5.4.
fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert!(matches!(written, Ok(28)), "20 bytes are 28 in base64");
    accept
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (&'static str, &'static [u8]);

    const SUPPORTED: [&str; 2] = ["centrifuge-json", "centrifuge-protobuf"];
    const UPGRADE: [Line; 5] = [
        ("Host", b"example.com"),
        ("upgrade", b"WebSocket"),
        ("Connection", b"keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", b"13"),
    ];

    fn offer(headers: &[Line]) -> Offer<'_> {
        Offer { method: "GET", http_1_1: true, has_body: false, headers }
    }

    fn without(name: &str) -> Vec<Line> {
        UPGRADE.into_iter().filter(|line| line.0 != name).collect()
    }

    fn with(name: &'static str, value: &'static [u8]) -> Vec<Line> {
        UPGRADE.into_iter().map(|line| if line.0 == name { (name, value) } else { line }).collect()
    }

    fn twice(name: &str) -> Vec<Line> {
        UPGRADE.into_iter().chain(UPGRADE.into_iter().filter(|line| line.0 == name)).collect()
    }

    #[test]
    fn the_rfc_example_is_answered_with_its_accept() {
        let headers = [&UPGRADE[..], &[("Sec-WebSocket-Protocol", b"chat, centrifuge-protobuf")]];
        let headers = headers.concat();
        let mut out = Vec::new();
        write_response(&mut out, &accept(&offer(&headers), &SUPPORTED).unwrap(), "now");
        let expected = "HTTP/1.1 101 Switching Protocols\r\nDate: now\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                        Sec-WebSocket-Protocol: centrifuge-protobuf\r\n\r\n";
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn lists_may_stand_on_several_lines() {
        let mut headers = UPGRADE.to_vec();
        headers.push(("connection", b"keep-alive"));
        headers.push(("Upgrade", b"h2c"));
        assert_eq!(accept(&offer(&headers), &SUPPORTED).map(drop), Ok(()));
    }

    #[test]
    fn the_clients_order_of_subprotocols_decides() {
        let table: [(&[&'static [u8]], Option<&str>); 6] = [
            (&[], None),
            (&[b"mqtt"], None),
            (&[b"Centrifuge-JSON"], None),
            (&[b" ,,centrifuge-protobuf ,centrifuge-json"], Some("centrifuge-protobuf")),
            (&[b"mqtt", b"centrifuge-json"], Some("centrifuge-json")),
            (&[b"centrifuge-json-2"], None),
        ];
        for (lines, chosen) in table {
            let mut headers = UPGRADE.to_vec();
            headers.extend(lines.iter().map(|value| ("sec-websocket-protocol", *value)));
            assert_eq!(accept(&offer(&headers), &SUPPORTED).unwrap().protocol, chosen, "{lines:?}");
        }
    }

    #[test]
    fn every_refusal_has_its_status() {
        let plain = offer(&UPGRADE);
        let requests = [
            (Offer { method: "POST", ..plain }, Refusal::Method, 405),
            (Offer { method: "get", ..plain }, Refusal::Method, 405),
            (Offer { http_1_1: false, ..plain }, Refusal::HttpVersion, 400),
            (Offer { has_body: true, ..plain }, Refusal::Body, 400),
        ];
        for (request, refusal, status) in requests {
            assert_eq!(accept(&request, &SUPPORTED), Err(refusal));
            assert_eq!(refusal.status(), status);
        }
        let key = "Sec-WebSocket-Key";
        let heads = [
            (without("Host"), Refusal::Host, 400),
            (twice("Host"), Refusal::Host, 400),
            (vec![UPGRADE[0]], Refusal::NotUpgrade, 426),
            (without("upgrade"), Refusal::Upgrade, 400),
            (with("upgrade", b"h2c"), Refusal::Upgrade, 400),
            (with("upgrade", b"websockets"), Refusal::Upgrade, 400),
            (without("Connection"), Refusal::Connection, 400),
            (with("Connection", b"keep-alive"), Refusal::Connection, 400),
            (without("Sec-WebSocket-Version"), Refusal::Version, 426),
            (with("Sec-WebSocket-Version", b"8"), Refusal::Version, 426),
            (with("Sec-WebSocket-Version", b"13, 8"), Refusal::Version, 426),
            (twice("Sec-WebSocket-Version"), Refusal::Version, 426),
            (without(key), Refusal::Key, 400),
            (twice(key), Refusal::Key, 400),
            (with(key, b""), Refusal::Key, 400),
            // 15 and 17 bytes, no base64, and 16 bytes without padding.
            (with(key, b"dGhlIHNhbXBsZSBub25j"), Refusal::Key, 400),
            (with(key, b"dGhlIHNhbXBsZSBub25jZTE="), Refusal::Key, 400),
            (with(key, b"dGhlIHNhbXBsZSBub25j!Q=="), Refusal::Key, 400),
            (with(key, b"dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ=="), Refusal::Key, 400),
            (with(key, b"dGhlIHNhbXBsZSBub25jZQ"), Refusal::Key, 400),
        ];
        for (head, refusal, status) in heads {
            assert_eq!(accept(&offer(&head), &SUPPORTED), Err(refusal), "{head:?}");
            assert_eq!(refusal.status(), status);
        }
        assert!(Refusal::Version.headers().contains(&("Sec-WebSocket-Version", "13")));
        assert_eq!(Refusal::Method.headers(), [("Allow", "GET")]);
    }
}
