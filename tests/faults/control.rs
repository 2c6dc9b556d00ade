//! The same faults on Centrifugo with its Redis engine, as a control: what the ledger says of it is
//! printed, and nothing is asked of it.
//!
//! `CORECAST_TEST_CENTRIFUGO` names the program; without it nothing is run.

use crate::crowd::{Crowd, USUAL};
use crate::node::Node;
use crate::redis::Redis;
use std::time::{Duration, Instant};

fn nodes(redis: &Redis) -> Option<Vec<Node>> {
    let program = std::env::var("CORECAST_TEST_CENTRIFUGO").unwrap_or_default();
    if program.is_empty() {
        println!("SKIPPED: CORECAST_TEST_CENTRIFUGO names no program");
        return None;
    }
    Some((0..2).map(|_| Node::start_centrifugo(&program, redis.port)).collect())
}

/// Lets the crowd go on for a while, whatever is answered.
fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

#[test]
fn killed_with_an_older_snapshot() {
    let mut redis = Redis::start();
    let Some(nodes) = nodes(&redis) else { return };
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(300);
    redis.must(&["SAVE"]);
    crowd.goes_on(500);
    redis.kill();
    redis.start_again();
    wait(10);
    crowd.report("Centrifugo, Redis killed and started from an older snapshot");
}

#[test]
fn it_hangs_for_ten_seconds() {
    let redis = Redis::start();
    let Some(nodes) = nodes(&redis) else { return };
    let crowd = Crowd::start(&nodes, USUAL);
    crowd.goes_on(300);
    redis.freeze();
    let frozen = Instant::now();
    let mut first_red = None;
    while frozen.elapsed() < Duration::from_secs(10) {
        if first_red.is_none() && !nodes[0].is_healthy() {
            first_red = Some(frozen.elapsed());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    redis.thaw();
    match first_red {
        Some(after) => println!("Centrifugo: /health is red {after:?} after SIGSTOP"),
        None => println!("Centrifugo: /health stays green for the 10 s of SIGSTOP"),
    }
    wait(10);
    crowd.report("Centrifugo, SIGSTOP for 10 s");
}
