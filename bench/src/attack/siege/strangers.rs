//! Partial messages and heads, which a server has to keep while other clients connect.
//!
//! Must not know how waiting bytes are counted.

use super::super::wire::Wire;
use super::super::{Site, expect};
use super::crowd::{self, Member};
use super::{Attack, get};
use std::net::SocketAddr;
use std::time::Instant;

/// Sessions with half a message each, more than the server may keep of all workers' sessions.
const MESSAGES: usize = 600;
const HEADS: usize = 100;
const HALF_HEAD: usize = 15_000;

/// Half messages of sessions, and half heads of strangers, as many as fit and more; newcomers,
/// health and the internal listener are served meanwhile.
pub fn halves(site: &Site) -> Result<Attack, String> {
    let target = site.target.clone();
    let internal = SocketAddr::V4(site.internal.ok_or("there is no internal listener")?);
    // All of a message but its last eighth.
    let mut half = crowd::text(&"x".repeat(site.message_bytes));
    half.truncate(site.message_bytes / 8 * 7);
    let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HALF_HEAD)).into_bytes();
    let mut sessions = crowd::members(&target, MESSAGES, |_| Vec::new())?;
    sessions.iter_mut().for_each(|it| it.block.clone_from(&half));
    let mut strangers =
        (0..HEADS).map(|_| Member::open(&target, head.clone())).collect::<Result<Vec<_>, _>>()?;
    Ok(Box::new(move |until| {
        let (mut ended, mut served) = (0, 0);
        let mut bytes = [0; 4 << 10];
        while Instant::now() < until || served == 0 {
            for member in sessions.iter_mut().chain(&mut strangers) {
                member.push_to_end();
                member.drain(&mut bytes);
            }
            newcomer(&target)?;
            get(target.address.into(), "/health")?;
            for path in ["/health", "/ready", "/metrics"] {
                get(internal, path)?;
            }
            served += 1;
            for member in strangers.iter_mut().filter(|member| member.is_closed) {
                ended += 1;
                *member = Member::open(&target, head.clone())?;
            }
            for member in sessions.iter_mut().filter(|member| member.is_closed) {
                ended += 1;
                *member = crowd::member(&target, &[])?;
                member.block.clone_from(&half);
            }
        }
        Ok(format!("{served} newcomers served, {ended} attackers ended"))
    }))
}

/// A client that connects and works.
fn newcomer(target: &crate::net::Target) -> Result<(), String> {
    let mut wire = Wire::connected(target).map_err(|wrong| format!("a newcomer: {wrong}"))?;
    let answer = wire.ask(r#"{"id":2,"ping":{}}"#)?;
    expect(answer["id"] == 2, || format!("a newcomer is answered {answer}"))
}
