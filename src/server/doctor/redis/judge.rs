//! What the answers of a Redis mean for a server: findings, each with its effect.
//!
//! Must not know sockets. Invariants: what could not be learned is said, and is no shortfall; no
//! password is in a finding.

use super::attempts::Outcome;
use crate::bridge::redis::greeting::Timeouts;
use crate::server::doctor::finding::{Bite, Finding};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is asked for by CONFIG GET, which a user may be forbidden.
pub const SETTINGS: &[&str] = &[
    "busy-reply-threshold",
    "client-output-buffer-limit",
    "min-replicas-to-write",
    "save",
    "stream-node-max-bytes",
];

/// The hard limit of Redis' own configuration: it holds the confirmations of as many names as are
/// sent at once (3 MB), and a burst of 25,000 publications of 1 KB.
const PUBSUB_BYTES: u64 = 32 << 20;
/// Bytes of a stream's node that are set aside at once: with Redis' 4,096 a channel with one
/// publication takes 4.7 KB, with these 1.1 KB.
const NODE_BYTES: u64 = 512;
/// Publications of a short history. From 22 of 100 bytes on, smaller nodes take more memory, by
/// half in the end.
const SHORT_HISTORY: u32 = 20;

/// How what is said gets to a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// TLS, with a certificate that was verified.
    Sealed,
    /// A socket file of this host.
    Socket,
    /// TCP to this address.
    Plain(IpAddr),
}

/// What a Redis answered to a user that may log in.
#[derive(Clone, Debug)]
pub struct Answers {
    pub place: String,
    pub way: Way,
    pub version: Box<str>,
    /// The text of INFO; "" where it is forbidden.
    pub info: String,
    /// Settings by name, or why they may not be read.
    pub settings: Result<Vec<(String, String)>, Box<str>>,
    pub tried: Vec<(&'static str, Outcome)>,
    /// Publications that a channel keeps by the configuration, at most.
    pub history_size: u32,
}

impl Answers {
    fn info(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.strip_prefix(name).is_some_and(|it| it.starts_with(':'));
        let line = self.info.lines().find(|line| of(line))?;
        Some(line[name.len() + 1..].trim())
    }

    fn setting(&self, name: &str) -> Option<&str> {
        let settings = self.settings.as_ref().ok()?;
        settings.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.setting(name)?.parse().ok()
    }
}

/// What is said of a Redis that cannot be reached, or not be used.
pub fn unusable(place: &str, why: &str) -> Finding {
    let want = "a Redis of version 7.0 or newer, or Valkey, that is a master";
    let cost = "every publish to a channel with history is answered with error 100, other nodes \
                are not heard, and /ready says 503 unless redis.ready = \"self\"";
    Finding::short("Redis", format!("{place}: {why}"), want, cost).bites(Bite::Refuses)
}

/// The findings.
pub fn findings(answers: &Answers) -> Vec<Finding> {
    if answers.info("cluster_enabled") == Some("1") {
        let cost = "Redis Cluster is not supported yet: most of what is published is refused";
        let found = format!("{} is a node of a cluster", answers.place);
        return vec![Finding::short("Redis", found, "a single Redis", cost).bites(Bite::Refuses)];
    }
    let mut found = vec![who(answers), way(answers), permissions(answers), writes(answers)];
    found.extend(eviction(answers));
    found.extend(persistence(answers));
    found.extend(replicas(answers));
    found.extend(pubsub_buffer(answers));
    found.extend(stream_nodes(answers));
    found.extend(busy(answers));
    if let Err(why) = &answers.settings {
        let current = format!("{}: they may not be read: {why}", SETTINGS.join(", "));
        found.push(Finding::absent("Redis settings", current));
    }
    found
}

fn who(answers: &Answers) -> Finding {
    let valkey = answers.info("valkey_version");
    let (name, version) = valkey.map_or(("Redis", &*answers.version), |it| ("Valkey", it));
    Finding::ok("Redis", format!("{} is a master, {name} {version}", answers.place))
}

fn way(answers: &Answers) -> Finding {
    let name = "TLS to Redis";
    let address = match answers.way {
        Way::Sealed => return Finding::ok(name, "the certificate was verified"),
        Way::Socket => return Finding::ok(name, "none, by a file of this host"),
        Way::Plain(address) => address,
    };
    let is_own = match address {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
    };
    if is_own {
        return Finding::ok(name, format!("none, to {address}: for a network that is all yours"));
    }
    let cost =
        "whoever is on the way reads the password and all that is published, and can change it";
    Finding::short(name, format!("none, to {address}"), "rediss:// in redis.url", cost)
}

fn permissions(answers: &Answers) -> Finding {
    let name = "Redis user";
    let forbidden = answers.tried.iter().filter_map(|(attempt, outcome)| match outcome {
        Outcome::Forbidden(why) => Some((*attempt, why)),
        Outcome::Allowed | Outcome::NotNow(_) => None,
    });
    let mut forbidden = forbidden.peekable();
    let Some((_, why)) = forbidden.peek() else {
        return Finding::ok(name, "may do all that a node does");
    };
    let why = why.to_string();
    let commands: BTreeSet<&str> =
        forbidden.filter_map(|(attempt, _)| attempt.split(' ').next()).collect();
    let commands = commands.into_iter().collect::<Vec<_>>().join(", ");
    let cost =
        "what needs these is refused or not heard: clients get error 100, or /ready says 503";
    let want = "the permissions that docs/redis.md names";
    Finding::short(name, format!("may not {commands} ({why})"), want, cost).bites(Bite::Refuses)
}

fn writes(answers: &Answers) -> Finding {
    let name = "Redis writes";
    let refused = answers.tried.iter().find_map(|(_, outcome)| match outcome {
        Outcome::NotNow(why) => Some(why),
        Outcome::Allowed | Outcome::Forbidden(_) => None,
    });
    let Some(why) = refused else { return Finding::ok(name, "are taken") };
    let cost = "every publish to a channel with history is answered with error 100";
    Finding::short(name, &**why, "a Redis that writes", cost).bites(Bite::Refuses)
}

fn eviction(answers: &Answers) -> Option<Finding> {
    let name = "Redis maxmemory-policy";
    let policy = answers.info("maxmemory_policy")?;
    if policy == "noeviction" {
        return Some(Finding::ok(name, policy));
    }
    let cost = "at maxmemory Redis drops streams without a word: their histories are gone, and \
                their subscribers are told that they missed something, and load their state again";
    Some(Finding::short(name, policy, "noeviction", cost))
}

fn persistence(answers: &Answers) -> Option<Finding> {
    let name = "Redis persistence";
    if answers.info("aof_enabled")? == "1" {
        return Some(Finding::ok(name, "a log of what was written (AOF)"));
    }
    let snapshots = answers.setting("save")?;
    if !snapshots.is_empty() {
        return Some(Finding::ok(name, format!("snapshots: save {snapshots}")));
    }
    let cost = "a restart forgets which idempotency keys were carried out, so that what is sent again \
                is delivered again. Histories begin anew at a restart in any case";
    let found = Finding::short(name, "none", "appendonly yes, or save", cost);
    Some(found.bites(Bite::Forgets))
}

fn replicas(answers: &Answers) -> Option<Finding> {
    let name = "Redis min-replicas-to-write";
    let replicas: u64 = answers.info("connected_slaves")?.parse().ok()?;
    if replicas == 0 {
        return Some(Finding::ok(name, "there is no replica"));
    }
    let least = answers.number("min-replicas-to-write")?;
    let found = format!("{least}, of {replicas} connected");
    if least > 0 {
        return Some(Finding::ok(name, found));
    }
    let cost = "a master that lost its replicas goes on to acknowledge what is lost when one of \
                them takes over";
    Some(Finding::short(name, found, "at least 1, with min-replicas-max-lag", cost))
}

fn pubsub_buffer(answers: &Answers) -> Option<Finding> {
    let name = "Redis client-output-buffer-limit pubsub";
    let classes =
        answers.setting("client-output-buffer-limit")?.split_whitespace().collect::<Vec<_>>();
    let at = classes.iter().position(|word| *word == "pubsub")?;
    let hard: u64 = classes.get(at + 1)?.parse().ok()?;
    if hard == 0 || hard >= PUBSUB_BYTES {
        let text = if hard == 0 { "without limit".to_owned() } else { format!("{hard} bytes") };
        return Some(Finding::ok(name, text));
    }
    let cost = "Redis ends a node's connection in a burst, or when many channels are subscribed to \
                at once; its clients wait until what they missed was read";
    let found = format!("{hard} bytes");
    Some(Finding::short(name, found, format!("at least {PUBSUB_BYTES}"), cost))
}

fn stream_nodes(answers: &Answers) -> Option<Finding> {
    let name = "Redis stream-node-max-bytes";
    let bytes = answers.number("stream-node-max-bytes")?;
    let has_short = (1..=SHORT_HISTORY).contains(&answers.history_size);
    if (1..=NODE_BYTES).contains(&bytes) || !has_short {
        return Some(Finding::ok(name, bytes.to_string()));
    }
    let cost = "a channel with a short history takes four times the memory";
    Some(Finding::short(name, bytes.to_string(), NODE_BYTES.to_string(), cost))
}

fn busy(answers: &Answers) -> Option<Finding> {
    let name = "Redis busy-reply-threshold";
    let threshold_ms = answers.number("busy-reply-threshold")?;
    let silence_ms = Timeouts::default().silence_us / 1_000;
    let found = format!("{threshold_ms} ms");
    if (1..silence_ms).contains(&threshold_ms) {
        return Some(Finding::ok(name, found));
    }
    let cost = "while a script of somebody else runs for long, nodes hear nothing and take Redis for \
                dead, instead of waiting until it is not busy";
    Some(Finding::short(name, found, format!("1 to {} ms", silence_ms - 1), cost))
}

#[cfg(test)]
mod tests {
    use super::super::attempts::ATTEMPTS;
    use super::*;
    use crate::server::doctor::finding::State;

    /// A Redis of which nothing is to be said.
    fn good() -> Answers {
        let settings = [
            ("busy-reply-threshold", "2000"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 1 1 60 pubsub 33554432 8388608 60"),
            ("min-replicas-to-write", "0"),
            ("save", "3600 1"),
            ("stream-node-max-bytes", "512"),
        ];
        Answers {
            place: "localhost:6379".into(),
            way: Way::Socket,
            version: "7.0.15".into(),
            info: "# Memory\r\nmaxmemory_policy:noeviction\r\naof_enabled:0\r\n\
                   connected_slaves:0\r\ncluster_enabled:0\r\n"
                .into(),
            settings: Ok(settings.map(|(name, value)| (name.into(), value.into())).to_vec()),
            tried: ATTEMPTS.iter().map(|attempt| (*attempt, Outcome::Allowed)).collect(),
            history_size: SHORT_HISTORY,
        }
    }

    fn short(answers: &Answers) -> Vec<String> {
        let all = findings(answers);
        assert!(all.iter().all(|it| (it.state == State::Differs) != it.cost.is_empty()), "{all:?}");
        let short = all.into_iter().filter(|finding| finding.state == State::Differs);
        short.map(|finding| finding.name).collect()
    }

    #[test]
    fn of_a_good_one_nothing_is_said() {
        assert_eq!(short(&good()), [""; 0]);
        assert_eq!(findings(&good()).len(), 10, "each thing has its line");
    }

    #[test]
    fn settings_are_judged() {
        let pubsub = |limit: &str| format!("normal 0 0 0 slave 1 1 60 pubsub {limit} 0 0");
        let table = [
            ("busy-reply-threshold", "0".to_owned(), true),
            ("busy-reply-threshold", "5000".to_owned(), true),
            ("busy-reply-threshold", "1".to_owned(), false),
            ("client-output-buffer-limit", pubsub("33554431"), true),
            ("client-output-buffer-limit", pubsub("0"), false),
            ("save", String::new(), true),
            ("stream-node-max-bytes", "4096".to_owned(), true),
            ("stream-node-max-bytes", "0".to_owned(), true),
            ("stream-node-max-bytes", "256".to_owned(), false),
        ];
        for (name, value, is_short) in table {
            let mut answers = good();
            let settings = answers.settings.as_mut().expect("they are known");
            let setting =
                settings.iter_mut().find(|(other, _)| other == name).expect("it is asked");
            setting.1 = value;
            assert_eq!(short(&answers).len(), usize::from(is_short), "{name}");
        }
    }

    #[test]
    fn what_info_says_is_judged() {
        let with = |from: &str, to: &str| {
            let mut answers = good();
            assert!(answers.info.contains(from), "{from}");
            answers.info = answers.info.replace(from, to);
            short(&answers)
        };
        assert_eq!(with("noeviction", "allkeys-lru"), ["Redis maxmemory-policy"]);
        assert_eq!(with("slaves:0", "slaves:2"), ["Redis min-replicas-to-write"]);
        assert_eq!(with("aof_enabled:0", "aof_enabled:1"), [""; 0]);
        let mut long = Answers { history_size: SHORT_HISTORY + 1, ..good() };
        long.settings = Ok(vec![("stream-node-max-bytes".into(), "4096".into())]);
        assert_eq!(short(&long), [""; 0], "larger nodes suit longer histories");
        let mut cluster = good();
        cluster.info = cluster.info.replace("cluster_enabled:0", "cluster_enabled:1");
        let found = findings(&cluster);
        assert_eq!((found.len(), found[0].state), (1, State::Differs), "one line: {found:?}");
        assert!(found[0].cost.contains("Cluster"), "{found:?}");
    }

    #[test]
    fn what_is_forbidden_is_named_once() {
        let mut answers = good();
        let why = "NOPERM this user has no permissions";
        for (attempt, outcome) in &mut answers.tried {
            if attempt.starts_with("XADD") || attempt.starts_with("PUBLISH") {
                *outcome = Outcome::Forbidden(why.into());
            }
        }
        let found = permissions(&answers);
        assert_eq!(found.current, format!("may not PUBLISH, XADD ({why})"));
        let mut full = good();
        full.tried[7].1 = Outcome::NotNow("OOM command not allowed".into());
        assert_eq!(short(&full), ["Redis writes"]);
    }

    #[test]
    fn what_may_not_be_read_is_no_shortfall() {
        let mut answers = good();
        answers.settings = Err("NOPERM no".into());
        answers.info = String::new();
        assert_eq!(short(&answers), [""; 0]);
        let all = findings(&answers);
        assert!(all.iter().any(|it| it.state == State::Absent && it.current.contains("NOPERM")));
    }

    #[test]
    fn only_a_network_of_ones_own_goes_without_tls() {
        let table = [("127.0.0.1", true), ("10.1.2.3", true), ("::1", true), ("fd00::1", true)];
        let others = [("8.8.8.8", false), ("2001:4860:4860::8888", false), ("172.32.0.1", false)];
        for (address, is_fine) in table.into_iter().chain(others) {
            let address = address.parse().expect("an address");
            let found = way(&Answers { way: Way::Plain(address), ..good() });
            assert_eq!(found.state == State::Ok, is_fine, "{address}");
        }
    }
}
