//! Errors of a real server, each with its cause, and what was done of a batch that met them.

use crate::rig::{CLASS, Client, Redis, at, begin, item};
use corecast::bridge::redis::error::{Cause, Remedy, StoreError};
use corecast::bridge::redis::resp::{Value, encode};
use corecast::bridge::redis::script::{Begin, By, Outcome, begun, outcomes};
use corecast::contract::position::Epoch;
use std::time::{Duration, Instant};

const SEVEN: Epoch = Epoch(7);

/// The causes of the failures of a batch of two.
fn causes(client: &mut Client) -> Vec<Cause> {
    let answers = client.outcomes(&[item("a", SEVEN, b"x"), item("a", SEVEN, b"y")]);
    let cause = |outcome: &Outcome| match outcome {
        Outcome::Failed(error) => error.cause(),
        outcome => panic!("{outcome:?}"),
    };
    answers.iter().map(cause).collect()
}

/// The cause for which a whole request failed.
fn whole(client: &mut Client, by: By) -> Cause {
    let answer = client.publish(by, CLASS, &[item("a", SEVEN, b"x")]);
    outcomes(answer, 1).expect_err("it fails").cause()
}

/// The cause for which an epoch was not begun.
fn begins(client: &mut Client, begin: &Begin<'_>) -> Cause {
    let mut out = Vec::new();
    client.scripts.begin(&mut out, By::Text, begin);
    client.send(&out);
    begun(client.answer()).expect_err("it fails").cause()
}

#[test]
fn scripts_that_were_flushed_are_loaded_again() {
    let redis = Redis::start();
    let mut client = redis.connect();
    assert_eq!(whole(&mut client, By::Digest), Cause::NoScript);
    client.load();
    client.begin_at("a", 7, b"1");
    client.ask(&["SCRIPT", "FLUSH"]);
    // Of what is under way, nothing is carried out, so that it can be sent again in order.
    let mut out = Vec::new();
    for _ in 0..3 {
        client.scripts.publish(&mut out, By::Digest, CLASS, [item("a", SEVEN, b"2")].into_iter());
    }
    client.scripts.begin(&mut out, By::Digest, &begin("a", b"3"));
    client.send(&out);
    for _ in 0..3 {
        let error = outcomes(client.answer(), 1).expect_err("it is not there");
        assert_eq!(error.cause().remedy(), Remedy::Reload);
    }
    assert_eq!(begun(client.answer()).expect_err("neither").cause(), Cause::NoScript);
    client.load();
    let answer = client.publish(By::Digest, CLASS, &[item("a", SEVEN, b"2")]);
    assert_eq!(outcomes(answer, 1), Ok(vec![Outcome::Published(at(SEVEN, 2))]));
}

#[test]
fn without_memory_each_item_is_refused() {
    let redis = Redis::start();
    let mut client = redis.connect();
    client.begin_at("a", 7, b"1");
    client.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(causes(&mut client), [Cause::OutOfMemory; 2]);
    assert_eq!(begins(&mut client, &begin("b", b"1")), Cause::OutOfMemory);
    client.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(client.all("a").top, 1, "nothing was carried out");
}

#[test]
fn a_replica_refuses() {
    let redis = Redis::start();
    let mut client = redis.connect();
    client.begin_at("a", 7, b"1");
    client.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(causes(&mut client), [Cause::ReadOnly; 2]);
    client.ask(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    assert_eq!(whole(&mut client, By::Text), Cause::MasterDown);
    client.ask(&["REPLICAOF", "NO", "ONE"]);
    client.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(causes(&mut client), [Cause::NoReplicas; 2]);
}

#[test]
fn permissions_are_those_of_the_user() {
    let redis = Redis::start();
    let mut client = redis.connect();
    client.begin_at("a", 7, b"1");
    client.ask(&["ACL", "SETUSER", "narrow", "on", ">pw", "+@all", "~cc:*", "resetchannels"]);
    client.ask(&["ACL", "SETUSER", "none", "on", ">pw", "+@all", "~dd:*", "allchannels"]);
    client.ask(&["ACL", "SETUSER", "blind", "on", ">pw", "+@all", "-xinfo", "~*", "allchannels"]);
    client.ask(&["AUTH", "none", "pw"]);
    // The keys of a script are looked at before it runs.
    assert_eq!(whole(&mut client, By::Text), Cause::NoPermission);
    client.ask(&["AUTH", "narrow", "pw"]);
    // It may not be heard, and yet is in the stream.
    assert_eq!(client.outcomes(&[item("a", SEVEN, b"2")]), [Outcome::Published(at(SEVEN, 2))]);
    assert_eq!(client.all("a").top, 2);
    // Who may not look at a stream does not begin an epoch with each publication.
    client.ask(&["AUTH", "blind", "pw"]);
    assert_eq!(begins(&mut client, &begin("a", b"3")), Cause::NoPermission);
    assert_eq!(client.all("a").top, 2);
}

#[test]
fn who_does_not_say_a_password_is_told_so() {
    let redis = Redis::start_with(&["--requirepass", "secret"]);
    let mut client = redis.connect_plainly();
    let cause = |answer: Value| StoreError::of(&answer).cause();
    assert_eq!(cause(client.ask(&["HELLO", "3"])), Cause::NoAuth);
    assert_eq!(cause(client.ask(&["AUTH", "wrong"])), Cause::NoAuth);
    // Redis ends a connection that says more than ten words before it says who it is.
    assert_eq!(cause(client.ask(&["XLEN", "a"])), Cause::NoAuth);
}

#[test]
fn a_server_that_runs_another_script_is_busy() {
    let redis = Redis::start_with(&["--busy-reply-threshold", "1"]);
    let (mut client, mut looping) = (redis.connect(), redis.connect());
    client.begin_at("a", 7, b"1");
    let mut out = Vec::new();
    encode::command(&mut out, &[b"EVAL", b"while true do end", b"0"]);
    looping.send(&out);
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        // Until it has begun, ours are served.
        let answer = client.publish(By::Text, CLASS, &[item("a", SEVEN, b"x")]);
        if let Err(error) = outcomes(answer, 1) {
            assert_eq!((error.cause(), error.cause().remedy()), (Cause::Busy, Remedy::Later));
            break;
        }
        assert!(Instant::now() < until, "it is never busy");
    }
    client.ask(&["SCRIPT", "KILL"]);
    let killed = looping.answer();
    assert!(matches!(&killed, Value::Error(text) if text.contains("killed")), "{killed:?}");
    let before = client.all("a").top;
    assert_eq!(
        client.outcomes(&[item("a", SEVEN, b"2")]),
        [{ Outcome::Published(at(SEVEN, before + 1)) }]
    );
}
