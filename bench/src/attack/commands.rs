//! Bad commands: valid in the protocol, but wrong, too many or too large.
//!
//! Must not know frames beyond whole messages.

use super::wire::{Next, Wire};
use super::{Checked, Site, expect};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Names that meet in the low bits of the hash with seed 0.
const COLLIDING: usize = 10_000;
const SUBSCRIPTIONS: usize = 100_000;
const LONGEST_NAME: usize = 255;
/// Subscribe commands that are one message, below `message_bytes` with the longest names.
const NAMES_PER_MESSAGE: usize = 200;

fn ends(site: &Site, what: &str, code: u16, message: &str) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    wire.text(message);
    let got = wire.close_code().map_err(|error| format!("{what}: {error}"))?;
    expect(got == code, || format!("{what}: {got} not {code}"))?;
    Ok(String::new())
}

fn code(answer: &Value) -> u64 {
    answer["error"]["code"].as_u64().unwrap_or(0)
}

/// Not of the grammar: 3501.
pub fn malformed(site: &Site) -> Checked {
    let deep = format!(r#"{{"id":2,"publish":{{"x":{}"#, "[".repeat(10_000));
    let deep_whole =
        format!(r#"{{"id":2,"nothing":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        ("no JSON", "hello"),
        ("cut", r#"{"id":2,"#),
        ("an array", r#"[{"id":2,"ping":{}}]"#),
        ("a wrong type", r#"{"id":"two","ping":{}}"#),
        ("no method", r#"{"id":2}"#),
        ("two methods", r#"{"id":2,"ping":{},"history":{"channel":"a"}}"#),
        ("a trailing comma", r#"{"id":2,"ping":{},}"#),
        ("no channel", r#"{"id":2,"publish":{"channel":"","data":1}}"#),
        ("no id", r#"{"publish":{"channel":"plain:a","data":1}}"#),
        ("a NaN", r#"{"id":NaN,"ping":{}}"#),
        ("10,000 deep and cut", &deep),
        ("10,000 deep", &deep_whole),
    ];
    for (what, message) in cases {
        ends(site, what, 3501, message)?;
    }
    Ok(format!("{} messages", cases.len()))
}

/// The order of a session: connect first, once, and in time.
pub fn session_order(site: &Site) -> Checked {
    let mut wire = Wire::upgraded(&site.target)?;
    wire.text(r#"{"id":1,"subscribe":{"channel":"plain:a"}}"#);
    let got = wire.close_code().map_err(|error| format!("subscribe first: {error}"))?;
    expect(got == 3501, || format!("subscribe first: {got} not 3501"))?;
    ends(site, "connect twice", 3501, r#"{"id":2,"connect":{}}"#)?;
    let started = Instant::now();
    let mut wire = Wire::upgraded(&site.target)?;
    let got = wire.close_code().map_err(|error| format!("no command at all: {error}"))?;
    expect(got == 3502, || format!("no command at all: {got} not 3502"))?;
    Ok(format!("3502 after {:.1} s", started.elapsed().as_secs_f64()))
}

/// Payloads and names: an error of their own, and the connection lives on.
pub fn refused(site: &Site) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long = "x".repeat(256);
    let publish = |channel: &str, data: &str| {
        format!(r#"{{"id":2,"publish":{{"channel":"{channel}","data":{data}}}}}"#)
    };
    let cases: Vec<(&str, String, u64)> = vec![
        ("data 10,000 deep", publish("plain:a", &deep), 107),
        ("no data", r#"{"id":2,"publish":{"channel":"plain:a"}}"#.to_owned(), 107),
        ("a long name", publish(&format!("plain:{long}"), "1"), 107),
        ("an unknown namespace", publish("nowhere:a", "1"), 102),
        ("a feature that is off", r#"{"id":2,"presence":{"channel":"plain:a"}}"#.to_owned(), 108),
        ("history that is off", r#"{"id":2,"history":{"channel":"plain:a"}}"#.to_owned(), 108),
        ("an unknown method", r#"{"id":2,"rpc":{"method":"nonsense"}}"#.to_owned(), 104),
        ("not permitted", publish("closed:a", "1"), 103),
    ];
    for (what, command, expected) in &cases {
        let answer = wire.ask(command).map_err(|error| format!("{what}: {error}"))?;
        expect(code(&answer) == *expected, || format!("{what}: {answer} not {expected}"))?;
    }
    let answer = wire.ask(r#"{"id":3,"ping":{}}"#)?;
    expect(answer["id"] == 3, || format!("afterwards: {answer}"))?;
    Ok(format!("{} commands, and the connection lives on", cases.len()))
}

/// Subscriptions over `channels_per_connection`: 106; the others stay.
pub fn over_limits(site: &Site) -> Checked {
    let mut wire = Wire::connected(&site.target)?;
    for number in 0..site.channels_per_connection {
        let answer = wire.ask(&subscribe(&format!("plain:limit-{number}")))?;
        expect(answer["subscribe"].is_object(), || format!("number {number}: {answer}"))?;
    }
    let answer = wire.ask(&subscribe("plain:one-more"))?;
    expect(code(&answer) == 106, || format!("one more: {answer} not 106"))?;
    let answer = wire.ask(&subscribe("plain:limit-0"))?;
    expect(code(&answer) == 105, || format!("twice: {answer} not 105"))?;
    let answer = wire.ask(r#"{"id":2,"publish":{"channel":"plain:limit-1","data":7}}"#)?;
    let pushed = answer["push"]["pub"]["data"] == 7;
    let push = if pushed { answer } else { follow(&mut wire)? };
    expect(push["push"]["pub"]["data"] == 7, || format!("the subscriptions are gone: {push}"))?;
    Ok(format!("{} subscriptions, then 106", site.channels_per_connection))
}

fn follow(wire: &mut Wire) -> Result<Value, String> {
    match wire.next(Duration::from_secs(5)) {
        Next::Text(text) => serde_json::from_str(text.lines().next().unwrap_or_default())
            .map_err(|error| format!("{error}: {text}")),
        other => Err(format!("{other:?} instead of a push")),
    }
}

fn subscribe(channel: &str) -> String {
    format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#)
}

/// 10,000 names that collide in all bits under foldhash's seed 0 take as long as any others: the
/// server's hash is another, under a key of its own.
pub fn colliding_names(site: &Site) -> Checked {
    let colliding = super::ids::colliding(0, COLLIDING);
    let others: Vec<String> =
        (0..COLLIDING).map(|number| format!("plain:{number:0>194}")).collect();
    let (plain, _) = subscribe_all(site, &others)?;
    let (collided, _) = subscribe_all(site, &colliding)?;
    let bound = plain * 3 + Duration::from_millis(500);
    expect(collided < bound, || format!("{collided:?}, other names {plain:?}"))?;
    Ok(format!("{} ms, other names {} ms", collided.as_millis(), plain.as_millis()))
}

/// 100,000 subscriptions at once, to as many channels with the longest names: all are answered, and
/// when their connections are gone so are they.
pub fn subscription_bomb(site: &Site) -> Checked {
    let name = |number: usize| format!("plain:{number:0>width$}", width = LONGEST_NAME - 6);
    let names: Vec<String> = (0..SUBSCRIPTIONS).map(name).collect();
    let (took, wires) = subscribe_all(site, &names)?;
    let subscribed = wires.len();
    drop(wires);
    // Freed, all of them: the same again finds room.
    let (again, _wires) = subscribe_all(site, &names)?;
    Ok(format!("on {subscribed} connections in {:.1?}, again in {:.1?}", took, again))
}

/// Subscribes to all names, as many to a connection as it may have; the time that took, and the
/// connections.
fn subscribe_all(site: &Site, names: &[String]) -> Result<(Duration, Vec<Wire>), String> {
    let mut wires = Vec::new();
    let started = Instant::now();
    for names in names.chunks(site.channels_per_connection) {
        let mut wire = Wire::connected(&site.target)?;
        for names in names.chunks(NAMES_PER_MESSAGE) {
            let commands: Vec<String> = names.iter().map(|name| subscribe(name)).collect();
            wire.text(&commands.join("\n"));
        }
        let mut answered = 0;
        while answered < names.len() {
            match wire.next(Duration::from_secs(10)) {
                Next::Text(text) => {
                    expect(!text.contains("\"error\""), || format!("refused: {text}"))?;
                    answered += text.lines().count();
                }
                other => return Err(format!("{other:?} after {answered} answers")),
            }
        }
        wires.push(wire);
    }
    Ok((started.elapsed(), wires))
}
