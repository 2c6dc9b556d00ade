//! Shared tables: channels, filters, subscriber lists.
//!
//! Must not know how they are divided. An error is an acceptable answer here; what counts is that
//! other clients are served.

use super::super::wire::Wire;
use super::super::{Site, expect};
use super::Attack;
use super::crowd::{self, Member};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Connections that cause new channels, and names of one message.
const NAMERS: usize = 8;
const NAMES: usize = 100;
const FILTERERS: usize = 20;
/// Interval of new channels of the other client.
const OTHERS_NAME: Duration = Duration::from_millis(50);
/// Bytes of one filter, which fit into a message.
const FILTER: usize = 60_000;
const LEAVERS: usize = 4;

/// Numbers that no name of this process has had.
fn fresh() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn subscribe(channel: &str) -> String {
    json!({"id": 2, "subscribe": {"channel": channel}}).to_string()
}

fn unsubscribe(channel: &str) -> String {
    json!({"id": 3, "unsubscribe": {"channel": channel}}).to_string()
}

/// Subscribes to new names in a namespace with history, and leaves them, while another client
/// subscribes to new channels successfully.
pub fn new_names(site: &Site) -> Result<Attack, String> {
    let target = site.target.clone();
    let mut members = crowd::members(&target, NAMERS, |_| Vec::new())?;
    let mut other = Wire::connected(&target)?;
    Ok(Box::new(move |until| {
        let (mut names, mut served) = (0, 0);
        let mut bytes = vec![0; 64 << 10];
        let mut next = Instant::now();
        while Instant::now() < until || served == 0 {
            for member in members.iter_mut().filter(|member| !member.is_closed) {
                while member.drain(&mut bytes) > 0 {}
                if member.sent < member.block.len() {
                    member.push_to_end();
                    continue;
                }
                let new: Vec<String> = (0..NAMES).map(|_| format!("kept:{}", fresh())).collect();
                let lines: Vec<String> =
                    new.iter().flat_map(|name| [subscribe(name), unsubscribe(name)]).collect();
                names += NAMES;
                member.again(crowd::text(&lines.join("\n")));
            }
            // Others come to new channels at a rate that anybody may have.
            if Instant::now() < next && served > 0 {
                continue;
            }
            next = Instant::now() + OTHERS_NAME;
            let answer = other.ask(&subscribe(&format!("kept:other-{}", fresh())))?;
            expect(answer["subscribe"].is_object(), || {
                format!("after {names} names somebody else's is answered {answer}")
            })?;
            served += 1;
        }
        Ok(format!("{names} names, {served} of others"))
    }))
}

/// Filters of as many bytes as a message has, all different.
pub fn filter_bytes(site: &Site) -> Result<Attack, String> {
    let mut members = crowd::members(&site.target, FILTERERS, |_| Vec::new())?;
    let value = "x".repeat(FILTER);
    Ok(Box::new(move |until| {
        let mut bytes = vec![0; 64 << 10];
        let mut filters = 0;
        while Instant::now() < until {
            for member in members.iter_mut().filter(|member| !member.is_closed) {
                while member.drain(&mut bytes) > 0 {}
                if member.sent < member.block.len() {
                    member.push_to_end();
                    continue;
                }
                let number = fresh();
                let filter = json!({"key": "k", "cmp": "eq", "val": format!("{number}{value}")});
                let body = json!({"channel": format!("tagged:{number}"), "tf": filter});
                member.again(crowd::text(&json!({"id": 2, "subscribe": body}).to_string()));
                filters += 1;
            }
        }
        Ok(format!("{filters} filters of {FILTER} bytes"))
    }))
}

/// The most subscriptions of a connection, left one by one in the order of subscribing and in
/// reverse, subscribed again, and left by disconnecting.
pub fn leaving(site: &Site) -> Result<Attack, String> {
    let (target, count) = (site.target.clone(), site.channels_per_connection);
    let mut members = crowd::members(&target, LEAVERS, |_| Vec::new())?;
    members.iter_mut().try_for_each(|member| join(member, count))?;
    Ok(Box::new(move |until| {
        let mut left = 0;
        let mut rounds = 0_usize;
        while Instant::now() < until {
            for member in &mut members {
                let mut numbers: Vec<usize> = (0..count).collect();
                if rounds.is_multiple_of(2) {
                    numbers.reverse();
                }
                all(member, &numbers, unsubscribe)?;
                join(member, count)?;
                left += count;
            }
            rounds += 1;
            // A connection that is closed leaves all at once.
            members[0] = crowd::member(&target, &[])?;
            join(&mut members[0], count)?;
            left += count;
        }
        Ok(format!("{left} left"))
    }))
}

fn join(member: &mut Member, count: usize) -> Result<(), String> {
    all(member, &(0..count).collect::<Vec<_>>(), subscribe)
}

/// One command for each of these channels, and all answers.
fn all(member: &mut Member, numbers: &[usize], command: fn(&str) -> String) -> Result<(), String> {
    for numbers in numbers.chunks(NAMES) {
        let lines: Vec<String> =
            numbers.iter().map(|number| command(&format!("plain:leave-{number}"))).collect();
        member.again(crowd::text(&lines.join("\n")));
        let sent = member.push_once() && member.read_answers(numbers.len());
        expect(sent, || "the server ends who comes and goes".to_owned())?;
    }
    Ok(())
}
