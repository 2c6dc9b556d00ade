//! Bad frames after the upgrade: each ends its own connection with the code of RFC 6455.
//!
//! Must not know commands.

use super::wire::{Next, Wire};
use super::{Checked, Site, expect};
use crate::{proc, ws};
use std::time::Duration;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;

/// Sends to a fresh connection, and expects its end with a code.
fn ends(site: &Site, what: &str, code: u16, send: impl FnOnce(&mut Wire) -> bool) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    send(&mut wire);
    let got = wire.close_code().map_err(|error| format!("{what}: {error}"))?;
    expect(got == code, || format!("{what}: {got} not {code}"))?;
    Ok(String::new())
}

/// Frames that break the protocol: 1002.
pub fn protocol_errors(site: &Site) -> Checked {
    let unmasked = [FIN | ws::TEXT, 2, b'{', b'}'];
    ends(site, "unmasked", 1002, |wire| wire.send(&unmasked))?;
    let firsts: &[(&str, u8)] = &[
        ("RSV1", FIN | 0x40 | ws::TEXT),
        ("RSV2", FIN | 0x20 | ws::TEXT),
        ("RSV3", FIN | 0x10 | ws::TEXT),
        ("opcode 3", FIN | 3),
        ("opcode 7", FIN | 7),
        ("opcode 11", FIN | 11),
        ("opcode 15", FIN | 15),
        ("a fragmented ping", ws::PING),
        ("a fragmented close", ws::CLOSE),
        ("a continuation of nothing", FIN | CONTINUATION),
    ];
    for (what, first) in firsts {
        ends(site, what, 1002, |wire| wire.frame(*first, b"{}"))?;
    }
    ends(site, "a long ping", 1002, |wire| wire.frame(FIN | ws::PING, &[b'x'; 126]))?;
    ends(site, "a text within a text", 1002, |wire| {
        wire.frame(ws::TEXT, b"{") && wire.frame(FIN | ws::TEXT, b"}")
    })?;
    ends(site, "a close of one byte", 1002, |wire| wire.frame(FIN | ws::CLOSE, &[3]))?;
    ends(site, "close code 1005", 1002, |wire| {
        wire.frame(FIN | ws::CLOSE, &1005u16.to_be_bytes())
    })?;
    let negative = [FIN | ws::TEXT, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    ends(site, "a length with its top bit", 1002, |wire| wire.send(&negative))?;
    let padded = [FIN | ws::TEXT, 0x80 | 126, 0, 2, 0, 0, 0, 0, b'{', b'}'];
    ends(site, "a length longer than needed", 1002, |wire| wire.send(&padded))?;
    Ok(format!("{} frames", firsts.len() + 7))
}

/// More than `message_bytes`: 1009 from the header, before anything is allocated.
pub fn oversize(site: &Site) -> Checked {
    let over = site.message_bytes + 1;
    ends(site, "one byte over", 1009, |wire| wire.frame(FIN | ws::TEXT, &vec![b' '; over]))?;
    ends(site, "fragments over", 1009, |wire| {
        wire.frame(ws::TEXT, &vec![b' '; over / 2]);
        wire.frame(CONTINUATION, &vec![b' '; over / 2]);
        wire.frame(FIN | CONTINUATION, b"  ")
    })?;
    let before = proc::rss(site.server_pid).map_err(|error| error.to_string())?;
    // 40 connections announce 1 GiB each, and send nothing of it.
    for _ in 0..40 {
        ends(site, "1 GiB announced", 1009, |wire| {
            wire.send(&[FIN | ws::TEXT, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4])
        })?;
    }
    let after = proc::rss(site.server_pid).map_err(|error| error.to_string())?;
    let grown = after.saturating_sub(before) >> 20;
    expect(grown < 16, || format!("the server grew by {grown} MiB"))?;
    Ok("42 messages".to_owned())
}

/// Text that is not UTF-8: 1007, at the first byte that cannot be.
pub fn bad_utf8(site: &Site) -> Checked {
    let cases: &[(&str, &[u8])] = &[
        ("0xff", b"{\"id\":2,\"ping\":\xff{}}"),
        ("overlong", b"\xc0\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("above U+10FFFF", b"\xf4\x90\x80\x80"),
        ("cut", b"{}\xe2\x82"),
    ];
    for (what, bytes) in cases {
        ends(site, what, 1007, |wire| wire.frame(FIN | ws::TEXT, bytes))?;
    }
    ends(site, "fail fast", 1007, |wire| {
        // Without an end: the message can no longer be right.
        wire.frame(ws::TEXT, b"\xce\xba\xe1") && wire.frame(CONTINUATION, b"\xff")
    })?;
    ends(site, "a close reason", 1007, |wire| wire.frame(FIN | ws::CLOSE, b"\x03\xe8\xff\xfe"))?;
    Ok(format!("{} texts", cases.len() + 2))
}

/// Pings without end: 1008.
pub fn ping_flood(site: &Site) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        ws::encode(&mut flood, FIN | ws::PING, [1, 2, 3, 4], b"x");
    }
    let sent = (0..100).take_while(|_| wire.send(&flood)).count();
    let code = wire.close_code()?;
    expect(code == 1008, || format!("{code} not 1008"))?;
    Ok(format!("1008 within {sent},000 pings"))
}

/// Empty fragments without end: 1008.
pub fn fragment_flood(site: &Site) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    wire.frame(ws::TEXT, b"{");
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        ws::encode(&mut flood, CONTINUATION, [1, 2, 3, 4], b"");
    }
    let sent = (0..1_000).take_while(|_| wire.send(&flood)).count();
    let code = wire.close_code()?;
    expect(code == 1008, || format!("{code} not 1008"))?;
    Ok(format!("1008 within {sent},000 fragments"))
}

/// A close is answered with a close, and a peer that never reads it is closed after a while.
pub fn close_handshake(site: &Site) -> Checked {
    ends(site, "close 1000", 1000, |wire| wire.frame(FIN | ws::CLOSE, &1000u16.to_be_bytes()))?;
    let mut wire = Wire::connected(&site.target)?;
    wire.frame(FIN | 3, b"");
    let code = wire.close_code()?;
    expect(code == 1002, || format!("{code} not 1002"))?;
    // It is sent 1002 and does not answer: the server waits 5 s, and closes it.
    expect(wire.next(Duration::from_secs(7)) == Next::End, || "left open".to_owned())?;
    Ok(String::new())
}

/// Binary frames are no JSON text: an orderly end, not silence.
pub fn binary(site: &Site) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    wire.frame(FIN | ws::BINARY, &[0xff, 0xfe, 0xfd]);
    let code = wire.close_code()?;
    expect(matches!(code, 1003 | 1007 | 3501), || format!("closed with {code}"))?;
    Ok(format!("closed with {code}"))
}
