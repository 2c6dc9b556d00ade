//! A node that shares a Redis is stopped by SIGTERM: the others learn it at once, each leave is
//! told once, and a Redis that says nothing does not hold it up.

use crate::client::{Client, Event};
use crate::presence::{know_each_other, listed, named, node, stats};
use crate::redis::redis;
use crate::server::{Server, until};
use crate::users::{call, done, ready, user, with_users};
use crate::{on_both_drivers, serve};
use serde_json::json;
use std::time::{Duration, Instant};

on_both_drivers!(
    a_node_that_stops_leaves_at_once_and_each_leave_is_told_once,
    a_command_does_not_wait_for_a_node_that_stopped,
    a_frozen_redis_does_not_hold_a_stop_up,
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
