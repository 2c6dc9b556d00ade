//! `connections_per_worker`: further ones are refused, the process stays idle meanwhile, and slots
//! become free again.

use crate::client::{Client, UPGRADE};
use crate::server::{Server, limits, until};
use crate::{on_both_drivers, serve};
use std::time::Duration;

on_both_drivers!(full_is_said_and_costs_nothing, places_cost_nothing_until_they_are_taken);

const PLACES: usize = 8;
const REFUSAL_SLOTS: usize = 64;
/// Share of a core above which a server counts as spinning; the neighbour's own traffic is far
/// below.
const SPINS: f64 = 0.3;
const WATCH: Duration = Duration::from_millis(400);

/// Tables are reserved for the most connections, and use memory only for those that exist.
fn places_cost_nothing_until_they_are_taken(driver: &str) {
    let few = serve!(driver, limits("connections_per_worker = 100"));
    let most = serve!(driver, limits("connections_per_worker = 0"));
    let (few_bytes, most_bytes) = (few.rss(), most.rss());
    let within = few_bytes.abs_diff(most_bytes) < 1 << 20;
    assert!(within, "{few_bytes} bytes for 100 places, {most_bytes} for the most");
    few.end();
    most.end();
}

fn full_is_said_and_costs_nothing(driver: &str) {
    let server = serve!(driver, limits("connections_per_worker = 8"));
    // The connection that asked for /health may still hold its place.
    until("a place for the neighbour", || Client::try_connected(server.addr).is_some());
    let neighbour = server.neighbour();
    let mut inside = fill(&server);
    assert!(inside.len() < PLACES, "{} beside the neighbour in {PLACES} places", inside.len());
    is_told(&server);

    // Refused connections that stay open silently, as many as there are slots for refusals, and
    // more.
    let mut silent: Vec<Client> =
        (0..REFUSAL_SLOTS + 16).map(|_| Client::open(server.addr)).collect();
    let before = server.cpu();
    std::thread::sleep(WATCH);
    let share = (server.cpu() - before).as_secs_f64() / WATCH.as_secs_f64();
    assert!(share < SPINS, "{:.0} % of a core while nothing happens", share * 100.0);
    neighbour.receives();
    assert!(inside.iter_mut().all(Client::lives), "connections with a slot stay");
    assert!(silent.iter_mut().all(|client| client.answer().is_none_or(|it| it.status == 503)));

    drop(silent);
    drop(inside);
    let mut again = Vec::new();
    until("every place is free again", || {
        again.extend(Client::try_connected(server.addr));
        again.len() == PLACES - 1
    });
    neighbour.end();
    server.end();
}

/// Connects until it is refused.
fn fill(server: &Server) -> Vec<Client> {
    let mut inside = Vec::new();
    while let Some(client) = Client::try_connected(server.addr) {
        inside.push(client);
        assert!(inside.len() <= PLACES, "nobody is refused");
    }
    inside
}

fn is_told(server: &Server) {
    let mut client = Client::open(server.addr);
    client.send(UPGRADE.as_bytes());
    let answer = client.answer().expect("a refusal in words");
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("\r\nretry-after: 5\r\n"), "{}", answer.head);
    assert!(client.is_ended());
}
