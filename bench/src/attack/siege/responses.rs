//! HTTP responses that are not read, or late.
//!
//! Must not know WebSocket beyond its first bytes.

use super::super::{Site, expect};
use super::Attack;
use super::crowd::{self, Member};
use crate::ws;
use std::time::{Duration, Instant};

const READERS: usize = 40;
/// Requests of a connection whose answers are read late, and such connections.
const BEHIND: usize = 100;
const LATE: usize = 8;
/// Time in which all that was answered can be read.
const PATIENCE: Duration = Duration::from_secs(20);

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Pipelined requests for the longest pages, of which no answer is read.
pub fn unread(site: &Site) -> Result<Attack, String> {
    let pages = ["/api/openapi.json", "/metrics"];
    let open = |number: usize| {
        let block = request(pages[number % pages.len()]).repeat(100).into_bytes();
        Member::open(&site.target, block)
    };
    let mut members = (0..READERS).map(open).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |until| Ok(crowd::press(&mut members, until, false).to_string())))
}

/// Pipelined requests, an upgrade, a ping and a connect at once, read at the end: after the
/// responses the answer to the upgrade must come first.
pub fn late_upgrades(site: &Site) -> Result<Attack, String> {
    let mut block = request("/api/openapi.json").repeat(BEHIND).into_bytes();
    block.extend(ws::upgrade_request(&site.target.address.to_string(), &site.target.path, ""));
    ws::encode(&mut block, 0x80 | ws::PING, [1, 2, 3, 4], b"?");
    block.extend(crowd::text(r#"{"id":1,"connect":{}}"#));
    let open = |_| Member::open(&site.target, block.clone());
    let mut members = (0..LATE).map(open).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |until| {
        while Instant::now() < until {
            members.iter_mut().for_each(Member::push_to_end);
            std::thread::sleep(Duration::from_millis(10));
        }
        members.iter_mut().try_for_each(read_late)?;
        Ok(format!("{LATE} times {BEHIND} responses, then 101"))
    }))
}

fn read_late(member: &mut Member) -> Result<(), String> {
    let mut inbox = Vec::new();
    let mut bytes = vec![0; 256 << 10];
    let until = Instant::now() + PATIENCE;
    let mut answered = 0;
    loop {
        member.push_to_end();
        let length = member.drain(&mut bytes);
        inbox.extend_from_slice(&bytes[..length]);
        while let Some((status, whole)) = response(&inbox) {
            if inbox.len() < whole {
                break;
            }
            if status == "101" {
                let frame = inbox.get(whole).is_none_or(|first| matches!(first, 0x8a | 0x81));
                expect(frame, || format!("{:x?} behind the 101", &inbox[whole..]))?;
                return expect(answered == BEHIND, || format!("101 behind {answered} responses"));
            }
            expect(status == "200", || format!("status {status}"))?;
            answered += 1;
            inbox.drain(..whole);
        }
        let begins = inbox.iter().zip(b"HTTP/1.1 ").all(|(byte, expected)| byte == expected);
        expect(begins, || format!("{:x?} behind {answered} responses", &inbox[..8]))?;
        let ends = member.is_closed || Instant::now() > until;
        expect(!ends, || format!("{answered} responses, and no 101"))?;
        if length == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The status of a response whose head has come, and its bytes with the body.
fn response(inbox: &[u8]) -> Option<(&str, usize)> {
    let head = inbox.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&inbox[..head]).ok()?;
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let body = length.and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    Some((text.split(' ').nth(1)?, head + body))
}
