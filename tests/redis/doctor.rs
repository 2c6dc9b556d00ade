//! `corecast doctor` about a Redis: each finding seen on and off, and a Redis that is none.

use crate::rig::Redis;
use corecast::bridge::redis::resp::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

/// The findings about Redis by their names: state, and all that is said.
pub type Found = BTreeMap<String, (String, String)>;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/short_histories.toml");

/// What the doctor finds about the Redis of a URL.
pub fn doctor(url: &str) -> Found {
    let output = Command::new(env!("CARGO_BIN_EXE_corecast"))
        .args(["doctor", "--json", "--connections", "1", "--config", CONFIG])
        .env("CORECAST_DRIVER", "epoll")
        .env("CORECAST_ENGINE", "redis")
        .env("CORECAST_REDIS_URL", url)
        .output()
        .expect("the program runs");
    let report = serde_json::from_slice::<serde_json::Value>(&output.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = report["findings"].as_array().expect("a list").iter();
    let text = |finding: &serde_json::Value, name: &str| {
        finding[name].as_str().unwrap_or_default().to_owned()
    };
    let about = findings.filter(|finding| text(finding, "name").contains("Redis"));
    let said = |it: &serde_json::Value| format!("{} {}", text(it, "current"), text(it, "cost"));
    about.map(|it| (text(it, "name"), (text(it, "state"), said(it)))).collect()
}

fn url(redis: &Redis) -> String {
    format!("redis://127.0.0.1:{}", redis.port())
}

pub fn short(found: &Found) -> Vec<&str> {
    let short = found.iter().filter(|(_, (state, _))| state == "differs");
    short.map(|(name, _)| name.strip_prefix("Redis ").unwrap_or(name)).collect()
}

/// The settings that docs/redis.md recommends, as options.
const GOOD: &[&str] =
    &["--appendonly", "yes", "--stream-node-max-bytes", "512", "--busy-reply-threshold", "2000"];

#[test]
fn each_setting_is_found_wanting_and_found_good() {
    let redis = Redis::start_with(GOOD);
    let good = doctor(&url(&redis));
    assert_eq!(short(&good), [""; 0], "{good:?}");
    assert!(good["Redis"].1.contains("is a master, Redis 7."), "{good:?}");
    let mut client = redis.connect();
    for (name, value, finding) in [
        ("maxmemory-policy", "allkeys-lru", "maxmemory-policy"),
        ("client-output-buffer-limit", "pubsub 1mb 1mb 60", "client-output-buffer-limit pubsub"),
        ("stream-node-max-bytes", "4096", "stream-node-max-bytes"),
        ("busy-reply-threshold", "5000", "busy-reply-threshold"),
        ("appendonly", "no", "persistence"),
        ("min-replicas-to-write", "1", "writes"),
        ("maxmemory", "1", "writes"),
    ] {
        let before = client.ask(&["CONFIG", "GET", name]);
        let Value::Map(pairs) = before else { panic!("{before:?}") };
        let Value::Blob(before) = &pairs[0].1 else { panic!("{pairs:?}") };
        let before = String::from_utf8(before.to_vec()).expect("text");
        client.ask(&["CONFIG", "SET", name, value]);
        assert_eq!(short(&doctor(&url(&redis))), [finding], "{name} {value}");
        client.ask(&["CONFIG", "SET", name, &before]);
    }
    assert_eq!(short(&doctor(&url(&redis))), [""; 0]);
    assert_eq!(client.integer(&["DBSIZE"]), 0, "it leaves nothing behind");
}

#[test]
fn replicas_and_clusters_are_told() {
    let master = Redis::start_with(GOOD);
    let port = master.port().to_string();
    let replica =
        Redis::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
    let mut client = master.connect();
    let until = Instant::now() + Duration::from_secs(20);
    while client.integer(&["WAIT", "1", "1000"]) < 1 {
        assert!(Instant::now() < until, "the replica comes");
        client.ask(&["SET", "any", "1"]);
    }
    assert_eq!(short(&doctor(&url(&master))), ["min-replicas-to-write"]);
    client.ask(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(short(&doctor(&url(&master))), [""; 0]);
    let found = doctor(&url(&replica));
    assert_eq!((found.len(), short(&found)), (1, vec!["Redis"]));
    assert!(found["Redis"].1.contains("the address of the master is needed"), "{found:?}");
    let cluster = Redis::start_with(&["--cluster-enabled", "yes"]);
    let found = doctor(&url(&cluster));
    assert_eq!((found.len(), short(&found)), (1, vec!["Redis"]));
    assert!(found["Redis"].1.contains("Cluster is not supported yet"), "{found:?}");
}

#[test]
fn what_a_user_may_not_is_named() {
    let redis = Redis::start_with(GOOD);
    let mut client = redis.connect();
    client.ask(&["ACL", "SETUSER", "me", "on", ">secret", "+@all", "~cc:*", "&cc:*"]);
    let url = url(&redis).replace("://", "://me:secret@");
    assert_eq!(short(&doctor(&url)), [""; 0]);
    for (change, back, says) in [
        ("-xadd", "+xadd", "may not XADD ("),
        ("-client|kill", "+client|kill", "may not CLIENT ("),
        ("resetchannels", "&cc:*", "may not PUBLISH, SUBSCRIBE ("),
        ("resetkeys", "~cc:*", "may not DEL, EXPIRE, GET, HDEL, HGET"),
    ] {
        client.ask(&["ACL", "SETUSER", "me", change]);
        let found = doctor(&url);
        assert_eq!(short(&found), ["user"], "{change}");
        assert!(found["Redis user"].1.contains(says), "{change}: {found:?}");
        client.ask(&["ACL", "SETUSER", "me", back]);
    }
    client.ask(&["ACL", "SETUSER", "me", "-config"]);
    let found = doctor(&url);
    assert_eq!((short(&found), found["Redis settings"].0.as_str()), (vec![], "not available"));
    let wrong = doctor(&url.replace("secret", "wrong"));
    assert_eq!((wrong.len(), short(&wrong)), (1, vec!["Redis"]));
    let said = &wrong["Redis"].1;
    assert!(said.contains("the login was refused") && !said.contains("wrong "), "{said}");
}

#[test]
fn what_is_no_redis_is_told_quickly() {
    let bound = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = bound.local_addr().expect("it is bound");
    let url = format!("redis://{address}");
    let told = |says: &str| {
        let begun = Instant::now();
        let found = doctor(&url);
        assert_eq!((found.len(), short(&found)), (1, vec!["Redis"]));
        assert!(found["Redis"].1.contains(says), "{says}: {found:?}");
        // Most of it is for wake-ups on a host that is busy with other tests.
        assert!(begun.elapsed() < Duration::from_secs(20), "{says}");
    };
    told("no answer in time");
    let web = std::thread::spawn(move || {
        // The first is left from before.
        for _ in 0..2 {
            let (mut stream, _) = bound.accept().expect("it dials");
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
        bound
    });
    told("it does not speak RESP");
    drop(web.join().expect("it ends"));
    told("there is no connection");
}
