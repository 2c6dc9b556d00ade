//! A server is stopped by SIGTERM. Its clients are told one after the other, where that is wanted.
//! Other nodes learn it at once, each leave is told once, and a Redis that says nothing does not
//! hold it up.

use crate::client::{Client, Event};
use crate::presence::{know_each_other, listed, named, node, stats};
use crate::redis::redis;
use crate::server::{Server, Setup, until};
use crate::users::{call, done, ready, user, with_users};
use crate::{on_both_drivers, serve};
use serde_json::json;
use std::net::TcpStream;
use std::time::{Duration, Instant};

on_both_drivers!(
    a_node_that_stops_leaves_at_once_and_each_leave_is_told_once,
    a_command_does_not_wait_for_a_node_that_stopped,
    a_frozen_redis_does_not_hold_a_stop_up,
    clients_are_told_one_after_the_other,
    nobody_is_waited_for_where_nobody_is,
);

/// Clients of the node that stops, for each way in which they end.
const CLIENTS: usize = 10;
/// Others know of a stop within this.
const SOON: Duration = Duration::from_secs(3);

/// How many nodes a node tells of.
fn nodes(server: &Server) -> usize {
    let answer = call(server, "info", &json!({}));
    answer["result"]["nodes"].as_array().map_or(0, Vec::len)
}

/// Whose leaves a client is told before the next publication.
fn leaves(client: &mut Client) -> Vec<String> {
    let mut left = Vec::new();
    loop {
        let Event::Message(message) = client.next() else { panic!("its connection ended") };
        let push = &message["push"];
        if let Some(who) = push["leave"]["info"]["client"].as_str() {
            left.push(who.to_owned());
        }
        if push["pub"].is_object() {
            left.sort_unstable();
            return left;
        }
    }
}

fn a_node_that_stops_leaves_at_once_and_each_leave_is_told_once(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, node(&config)), serve!(driver, node(&config)));
    know_each_other(&one, &two);
    let (mut here, here_id) = named(&one);
    assert!(here.subscribe("j:x")["error"].is_null());
    let mut there: Vec<(Client, String)> = (0..3 * CLIENTS).map(|_| named(&two)).collect();
    for (client, _) in &mut there {
        assert!(client.subscribe("j:x")["error"].is_null());
    }
    let all = there.len() as u64 + 1;
    until("all are counted", || stats(&one, "j:x") == Some((all, 1)));
    let mut expected: Vec<String> = there.iter().map(|(_, id)| id.clone()).collect();
    expected.sort_unstable();
    // Some leave just before, some as soon as they are told, and some keep their connection.
    there.drain(..CLIENTS);
    let stopped = Instant::now();
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| two.end());
        for (mut client, _) in there.drain(..CLIENTS) {
            scope.spawn(move || while !matches!(client.next(), Event::Close(_) | Event::End) {});
        }
        until("it is counted no more", || stats(&one, "j:x") == Some((1, 1)));
        assert_eq!(listed(&one, "j:x"), [here_id]);
        until("it is told of no more", || nodes(&one) == 1);
        assert!(stopped.elapsed() < SOON, "{:?}", stopped.elapsed());
        // Those who keep their connection hold the stop up, and the others beat meanwhile.
        stop.join().expect("it ends well");
    });
    assert!(stopped.elapsed() > SOON, "{:?}", stopped.elapsed());
    one.publish("j:x", "1");
    assert_eq!(leaves(&mut here), expected);
}

fn a_command_does_not_wait_for_a_node_that_stopped(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    until("both tell of both", || nodes(&one) == 2 && nodes(&two) == 2);
    let mut clients = [user(&two, "u"), user(&two, "v")];
    let readers = std::thread::spawn(move || {
        for client in &mut clients {
            assert_eq!(client.close_code(), Some(3_001));
        }
    });
    two.end();
    readers.join().expect("they were told");
    for name in ["u", "v", "nobody"] {
        let asked = Instant::now();
        done(&one, "disconnect", &json!({ "user": name }));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
}

fn a_frozen_redis_does_not_hold_a_stop_up(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let server = serve!(driver, with_users(&config));
    ready(&[&server]);
    redis.freeze();
    let stopped = Instant::now();
    server.end();
    assert!(stopped.elapsed() < SOON, "{:?}", stopped.elapsed());
    redis.thaw();
}

fn clients_are_told_one_after_the_other(driver: &str) {
    const CLIENTS: usize = 200;
    const DRAIN_MS: u64 = 2_000;
    let top = format!("drain_ms = {DRAIN_MS}");
    let server = serve!(driver, Setup { workers: 2, top: &top, ..Setup::default() });
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.client()).collect();
    for client in &mut clients {
        assert!(client.subscribe("h:x")["error"].is_null());
    }
    let addr = server.addr;
    let begun = Instant::now();
    let stop = std::thread::spawn(move || server.end());
    let told = |mut client: Client| {
        std::thread::spawn(move || {
            // Whoever is not told yet publishes, and hears the others; nothing is lost on the way.
            let mut heard = 0;
            let mut next = 1;
            loop {
                match client.next() {
                    Event::Message(message) => {
                        if let Some(offset) = message["push"]["pub"]["offset"].as_u64() {
                            assert_eq!(offset, next, "in order");
                            (heard, next) = (heard + 1, next + 1);
                        }
                        assert!(message["error"].is_null(), "{message}");
                    }
                    Event::Close(code) => {
                        assert_eq!(code, 3_001);
                        return (begun.elapsed(), heard);
                    }
                    Event::End => panic!("it was told nothing"),
                    _ => {}
                }
            }
        })
    };
    let mut publisher = clients.pop().expect("there are some");
    let readers: Vec<_> = clients.into_iter().map(told).collect();
    let mut published = 0;
    while publisher.text(r#"{"id":9,"publish":{"channel":"h:x","data":1}}"#) {
        match publisher.next() {
            Event::Close(code) => {
                assert_eq!(code, 3_001);
                break;
            }
            Event::Message(message) => published += u64::from(message["id"] == 9),
            Event::End => panic!("it was told nothing"),
            _ => {}
        }
    }
    let mut ends: Vec<(Duration, u64)> =
        readers.into_iter().map(|it| it.join().expect("a reader")).collect();
    ends.sort_unstable();
    let log = stop.join().expect("it ends well");
    assert!(log.contains("draining"), "{log}");
    assert!(TcpStream::connect(addr).is_err(), "nobody is accepted");
    // A busy machine may be late, and is never early.
    let early = ends.iter().filter(|(at, _)| at.as_millis() < DRAIN_MS as u128 / 2).count();
    assert!((1..=CLIENTS * 6 / 10).contains(&early), "{early} in the first half");
    let last = ends.last().expect("there are some").0;
    assert!(last > Duration::from_millis(DRAIN_MS * 8 / 10), "{last:?}");
    assert!(published > 0 && ends.iter().any(|(_, heard)| *heard > 0), "it was served meanwhile");
}

fn nobody_is_waited_for_where_nobody_is(driver: &str) {
    let top = "drain_ms = 60000";
    let server = serve!(driver, Setup { workers: 2, top, ..Setup::default() });
    let mut client = server.client();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let addr = server.addr;
        let stop = scope.spawn(|| server.end());
        until("it accepts nobody", || TcpStream::connect(addr).is_err());
        client.half_close();
        while !matches!(client.next(), Event::Close(_) | Event::End) {}
        stop.join().expect("it ends well");
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
