//! Bad input before the upgrade: HTTP heads and origins.
//!
//! Must not know frames.

use super::wire::Wire;
use super::{Checked, Site, expect};
use crate::ws;
use std::time::{Duration, Instant};

/// A change to a good upgrade request, and the status that answers it.
const REFUSALS: &[(&str, &str, u16)] = &[
    ("GET ", "POST ", 405),
    ("HTTP/1.1", "HTTP/1.0", 400),
    ("Upgrade: websocket\r\n", "", 400),
    ("Upgrade: websocket", "Upgrade: h2c", 400),
    ("Connection: Upgrade\r\n", "", 400),
    ("Connection: Upgrade", "Connection: keep-alive", 400),
    ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
    ("Sec-WebSocket-Version: 13\r\n", "", 426),
    ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 400),
    ("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!!!!!", 400),
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
    ("Host: ", "Host: twice.example\r\nHost: ", 400),
    ("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("\r\n\r\n", "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("\r\n\r\n", "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ("Host: ", "Bad Name: x\r\nHost: ", 400),
    ("Host: ", "Folded: a\r\n b\r\nHost: ", 400),
    ("GET ", "\u{1}\u{2}GET ", 400),
    ("GET ", "nonsense\r\nGET ", 400),
];

/// Malformed upgrades: 400, 405 or 426, each with an answer of its own.
pub fn malformed(site: &Site) -> Checked {
    for (from, to, status) in REFUSALS {
        let mut wire = Wire::open(&site.target)?;
        wire.upgrade_with(from, to);
        let answer = wire.answer().map_err(|error| format!("{to:?}: {error}"))?;
        expect(answer.status == *status, || format!("{to:?}: {} not {status}", answer.status))?;
        if *status == 426 {
            let told = answer.head.contains("sec-websocket-version: 13");
            expect(told, || format!("426 without the version: {}", answer.head))?;
        }
    }
    Ok(format!("{} requests", REFUSALS.len()))
}

/// Too many, too long, or without end: 431.
pub fn large_heads(site: &Site) -> Checked {
    let many: String = (0..2_000).map(|number| format!("X-{number}: y\r\n")).collect();
    let some: String = (0..80).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(16 << 10));
    for (what, extra) in [("2,000 headers", many), ("80 headers", some), ("16 KiB", long)] {
        let mut wire = Wire::open(&site.target)?;
        wire.upgrade(&extra);
        let answer = wire.answer().map_err(|error| format!("{what}: {error}"))?;
        expect(answer.status == 431, || format!("{what}: {}", answer.status))?;
    }
    let mut wire = Wire::open(&site.target)?;
    let endless = format!("GET /{} HTTP/1.1\r\n", "a".repeat(64 << 10));
    wire.send(endless.as_bytes());
    let status = wire.answer()?.status;
    expect(matches!(status, 414 | 431), || format!("64 KiB of path: {status}"))?;
    Ok("4 heads".to_owned())
}

/// A head that drips: 408 after 5 s, however lively the drip.
pub fn drip(site: &Site) -> Checked {
    let mut wire = Wire::open(&site.target)?;
    let started = Instant::now();
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n");
    let mut drops = 0;
    while started.elapsed() < Duration::from_millis(4_500) && wire.send(b"X: y\r\n") {
        drops += 1;
        std::thread::sleep(Duration::from_millis(300));
    }
    let status = wire.answer()?.status;
    let after = started.elapsed();
    expect(status == 408, || format!("{status} not 408"))?;
    let in_time = (Duration::from_millis(4_500)..Duration::from_millis(7_000)).contains(&after);
    expect(in_time, || format!("408 after {after:?}"))?;
    expect(wire.ended(), || "the connection stays open after 408".to_owned())?;
    Ok(format!("408 after {:.1} s and {drops} drops", after.as_secs_f64()))
}

/// Origins that are not listed: 403; the listed one, and requests without one, are accepted.
pub fn origins(site: &Site) -> Checked {
    let listed = &site.origin;
    let mut refused = vec![
        "null".to_owned(),
        "https://evil.example".to_owned(),
        format!("{listed}.evil.example"),
        format!("{listed}:8443"),
        listed.replacen("https://", "http://", 1),
        listed.replacen("https://", "https://evil-", 1),
        String::new(),
    ];
    refused.push(format!("{listed}, https://evil.example"));
    for origin in &refused {
        let mut wire = Wire::open(&site.target)?;
        wire.upgrade(&format!("Origin: {origin}\r\n"));
        let status = wire.answer()?.status;
        expect(status == 403, || format!("Origin {origin:?}: {status}"))?;
    }
    let mut wire = Wire::open(&site.target)?;
    wire.upgrade(&format!("Origin: {listed}\r\n"));
    let status = wire.answer()?.status;
    expect(status == 101, || format!("the listed Origin {listed}: {status}"))?;
    Ok(format!("{} refused, 1 let in", refused.len()))
}

/// Frames in the same packet as the upgrade: nothing of them is lost.
pub fn early_frames(site: &Site) -> Checked {
    let mut wire = Wire::open(&site.target)?;
    let mut bytes = ws::upgrade_request("x", &site.target.path, "");
    for command in [r#"{"id":1,"connect":{}}"#, r#"{"id":2,"ping":{}}"#] {
        ws::encode(&mut bytes, 0x80 | ws::TEXT, [9, 8, 7, 6], command.as_bytes());
    }
    wire.send(&bytes);
    let status = wire.answer()?.status;
    expect(status == 101, || format!("status {status}"))?;
    let answer = wire.ask(r#"{"id":3,"ping":{}}"#)?;
    expect(answer["connect"].is_object(), || format!("connect got {answer}"))?;
    Ok(String::new())
}
