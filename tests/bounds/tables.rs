//! Bounds on numbers: subscriptions, channels, members. Over each 106; what leaves makes room.

use crate::client::Client;
use crate::server::{Server, Setup, limits, until};
use crate::{on_both_drivers, serve};
use serde_json::json;

on_both_drivers!(per_connection, subscriptions, channels, channels_at_home, presence, many_workers);

const OVER: u64 = 106;

fn unsubscribe(client: &mut Client, channel: &str) {
    assert!(client.ask("unsubscribe", json!({"channel": channel}))["error"].is_null());
}

fn per_connection(driver: &str) {
    let server = serve!(driver, limits("channels_per_connection = 3"));
    let neighbour = server.neighbour();
    let mut client = server.client();
    for channel in ["n:a", "n:b", "n:c"] {
        assert_eq!(client.subscribe_error(channel), 0);
    }
    assert_eq!(client.subscribe_error("n:d"), OVER);
    assert_eq!(client.subscribe_error("n:a"), 105, "and not 106");
    unsubscribe(&mut client, "n:b");
    assert_eq!(client.subscribe_error("n:d"), 0, "what left makes room");
    client.ask("publish", json!({"channel": "n:d", "data": 7}));
    assert_eq!(client.publication()["data"], 7);
    neighbour.end();
    server.end();
}

fn subscriptions(driver: &str) {
    let server = serve!(driver, limits("subscriptions_per_worker = 4"));
    let neighbour = server.neighbour();
    let mut holder = server.client();
    let mut other = server.client();
    for channel in ["n:a", "n:b", "n:c"] {
        assert_eq!(holder.subscribe_error(channel), 0);
    }
    assert_eq!(other.subscribe_error("n:a"), OVER, "the neighbour has the fourth");
    assert!(other.lives());
    drop(holder);
    server.settles("subscriptions", 1);
    for channel in ["n:a", "n:b", "n:c"] {
        assert_eq!(other.subscribe_error(channel), 0);
    }
    assert_eq!(other.subscribe_error("n:d"), OVER);
    neighbour.end();
    server.end();
}

fn channels(driver: &str) {
    let server = serve!(driver, limits("channels_per_worker = 3"));
    let neighbour = server.neighbour();
    let mut holder = server.client();
    assert_eq!(holder.subscribe_error("n:a"), 0);
    assert_eq!(holder.subscribe_error("n:b"), 0);
    assert_eq!(holder.subscribe_error("n:c"), OVER, "the neighbour has the third");
    let mut other = server.client();
    assert_eq!(other.subscribe_error("n:a"), 0, "a channel that is there costs nothing");
    drop(holder);
    server.settles("channels", 2);
    assert_eq!(other.subscribe_error("n:c"), 0);
    neighbour.end();
    server.end();
}

/// Channels without subscribers count at home too: a publication that cannot be kept, because all
/// other channels have subscribers, is not acknowledged.
fn channels_at_home(driver: &str) {
    let server = serve!(driver, limits("channels_per_worker = 2"));
    let neighbour = server.neighbour();
    let mut client = server.client();
    assert!(client.ask("publish", json!({"channel": "h:a", "data": 1}))["error"].is_null());
    assert_eq!(client.subscribe_error("h:a"), 0);
    server.settles("home_channels", 2);
    let refused = client.ask("publish", json!({"channel": "h:b", "data": 1}));
    assert_eq!(refused["error"]["code"], OVER, "{refused}");
    let refused = server.publish("h:b", "1");
    assert_eq!(refused["error"]["code"], OVER, "{refused}");
    assert_eq!(client.subscribe_error("h:b"), OVER);
    assert!(client.ask("publish", json!({"channel": "n:b", "data": 1}))["error"].is_null());
    unsubscribe(&mut client, "h:a");
    // Its expired history makes room.
    until("room for another", || client.subscribe_error("h:b") == 0);
    neighbour.end();
    server.end();
}

fn presence(driver: &str) {
    let server = serve!(driver, limits("presence_per_channel = 2"));
    let neighbour = server.neighbour();
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    assert_eq!(clients[0].subscribe_error("p:room"), 0);
    assert_eq!(clients[1].subscribe_error("p:room"), 0);
    assert_eq!(clients[2].subscribe_error("p:room"), OVER);
    assert_eq!(clients[2].subscribe_error("p:other"), 0, "another room is another count");
    let here = clients[2].ask("presence", json!({"channel": "p:room"}));
    assert_eq!(here["presence"]["presence"].as_object().map(|all| all.len()), Some(2), "{here}");
    unsubscribe(&mut clients[0], "p:room");
    until("room for a third", || clients[2].subscribe_error("p:room") == 0);
    clients[0].ask("publish", json!({"channel": "p:room", "data": 7}));
    assert_eq!(clients[2].publication()["data"], 7);
    neighbour.end();
    server.end();
}

/// Lanes are small with many workers, and everything still arrives.
fn many_workers(driver: &str) {
    // A ring has memory of its own; sixteen are enough.
    let workers = if driver == "io_uring" { 16 } else { 63 };
    let server = serve!(driver, Setup { workers, ..Setup::default() });
    let neighbour = server.neighbour();
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    let channels: Vec<String> = (0..64).map(|number| format!("h:{number}")).collect();
    for client in &mut clients {
        assert!(channels.iter().all(|channel| client.subscribe_error(channel) == 0));
    }
    let ids: Vec<u32> = (0..10)
        .flat_map(|round| channels.iter().map(move |channel| (round, channel)))
        .map(|(round, channel)| {
            clients[0].tell("publish", json!({"channel": channel, "data": round}))
        })
        .collect();
    assert!(ids.into_iter().all(|id| clients[0].answer_to(id)["error"].is_null()));
    for client in &mut clients {
        // Each channel has one order; publications in different channels may overtake each other.
        let mut offsets: Vec<(u64, u64)> = Vec::new();
        for _ in 0..10 * channels.len() {
            let it = client.publication();
            offsets.push((it["offset"].as_u64().unwrap(), it["data"].as_u64().unwrap()));
        }
        assert!(offsets.iter().all(|(offset, round)| *offset == round + 1));
    }
    assert_eq!(Server::metric(&server, "corecast_parked{"), 0);
    neighbour.end();
    server.end();
}
